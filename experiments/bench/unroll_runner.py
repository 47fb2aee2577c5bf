"""The runner of this library: `lstm_jax.unroll` with one of its backends."""

from typing import Any

import jax
import jax.numpy as jnp

import lstm_jax as lj
from experiments.bench.cases import Case
from experiments.bench.implementation import REFERENCE, TUNED
from experiments.bench.jax_runner import CellStep, JaxRunner, Network, inputs
from experiments.bench.runner import Unavailable
from experiments.bench.timing import Values


class UnrollRunner(JaxRunner):
    """`lstm_jax.unroll`, whose argument ``implementation`` is the name of the runner."""

    @property
    def implementation(self) -> Any:
        """The argument ``implementation`` of `unroll`."""
        name = self.name.removesuffix(TUNED)
        return None if name == REFERENCE else name

    def network(self, case: Case) -> Network:
        """One layer, time first."""
        cell = lj.LSTM(case.I, case.H)
        implementation: Any = self.implementation
        remat: Any = case.remat

        def apply(params: lj.LSTMParams, xs: jax.Array) -> tuple[jax.Array, jax.Array]:
            final, outputs = lj.unroll(cell, params, xs, implementation=implementation, remat=remat)
            return final.h, outputs

        return cell.init(jax.random.key(0)), inputs(case.T, case.B, case.I), apply

    def cell(self, case: Case) -> CellStep:
        """`lstm_step`."""
        cell = lj.LSTM(case.I, case.H)
        params, state = cell.init(jax.random.key(0)), cell.initial_state((case.B,))
        return params, state, inputs(case.B, case.I), lj.lstm_step

    def measure(self, quantity: str, case: Case, budget: float) -> Values:
        """Measure a quantity, if `unroll` selects the requested backend.

        Args:
          quantity: the quantity to measure.
          case: the case.
          budget: seconds for which the call is repeated.

        Raises:
          Unavailable: if `unroll` would use another backend.
        """
        if self.implementation is not None and quantity != "step":
            explanation = self._explain(case)
            if explanation.implementations != (self.implementation,):
                raise Unavailable(explanation.selections[0].reasons[self.implementation])
        return super().measure(quantity, case, budget)

    def backend(self, quantity: str, case: Case) -> str | None:
        """The selected backend, and its instruction set if it has one; None for a single step.

        Args:
          quantity: the quantity to measure.
          case: the case.
        """
        if quantity == "step":
            return None
        _, backend, *_ = str(self._explain(case)).splitlines()
        return backend.strip()

    def _explain(self, case: Case) -> lj.Explanation:
        xs = jax.ShapeDtypeStruct((case.T, case.B, case.I), jnp.float32)
        options: Any = {"implementation": self.implementation, "remat": case.remat}
        try:
            return lj.explain(lj.LSTM(case.I, case.H), xs, **options)
        except ValueError as error:
            raise Unavailable(str(error)) from error
