"""This library, by one of the implementations of its unroll."""

from typing import Any

import jax
import jax.numpy as jnp

import lstm_jax as lj
from experiments.bench.cases import Case
from experiments.bench.runner import Unavailable
from experiments.bench.implementations import REFERENCE, TUNED
from experiments.bench.jax_runner import CellStep, JaxRunner, Network, inputs
from experiments.bench.timing import Values


class UnrollRunner(JaxRunner):
    """``lstm_jax.unroll`` with ``implementation=`` the implementation's name."""

    @property
    def implementation(self) -> Any:
        """What `unroll` is asked for."""
        name = self.name.removesuffix(TUNED)
        return None if name == REFERENCE else name

    def network(self, case: Case) -> Network:
        """One layer, time first."""
        cell = lj.LSTM(case.I, case.H)
        implementation: Any = self.implementation
        remat: Any = case.remat

        def run(params: lj.LSTMParams, xs: jax.Array) -> tuple[jax.Array, jax.Array]:
            final, outputs = lj.unroll(cell, params, xs, implementation=implementation, remat=remat)
            return final.h, outputs

        return cell.init(jax.random.key(0)), inputs(case.T, case.B, case.I), run

    def cell(self, case: Case) -> CellStep:
        """`lstm_step`."""
        cell = lj.LSTM(case.I, case.H)
        params, state = cell.init(jax.random.key(0)), cell.initial_state((case.B,))
        return params, state, inputs(case.B, case.I), lj.lstm_step

    def measure(self, quantity: str, case: Case, budget: float) -> Values:
        """Measure a quantity, if the kernel that is asked for is the one that is taken.

        Args:
          quantity: what to measure.
          case: on which problem.
          budget: seconds to repeat a call for.
        """
        if self.implementation is not None and quantity != "step":
            (choice,) = self._explained(case).choices
            if choice.kernel != self.implementation:
                raise Unavailable(choice.others[self.implementation])
        return super().measure(quantity, case, budget)

    def taken(self, quantity: str, case: Case) -> str | None:
        """The kernel, with its instruction set where it has one; a single step has none.

        Args:
          quantity: what is measured.
          case: on which problem.
        """
        if quantity == "step":
            return None
        _, kernel, *_ = str(self._explained(case)).splitlines()
        return kernel.strip()

    def _explained(self, case: Case) -> lj.Explanation:
        xs = jax.ShapeDtypeStruct((case.T, case.B, case.I), jnp.float32)
        options: Any = {"implementation": self.implementation, "remat": case.remat}
        try:
            return lj.explain(lj.LSTM(case.I, case.H), xs, **options)
        except ValueError as error:
            raise Unavailable(str(error)) from error
