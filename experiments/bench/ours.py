"""This library, by one of the implementations of its unroll."""

from typing import Any

import jax

import lstm_jax as lj
from experiments.bench.cases import Case
from experiments.bench.contender import Unavailable
from experiments.bench.contenders import REFERENCE
from experiments.bench.jax_runner import CellStep, JaxRunner, Network, inputs
from experiments.bench.timing import Values


class Ours(JaxRunner):
    """``lstm_jax.unroll`` with ``implementation=`` the contender's name."""

    def network(self, case: Case) -> Network:
        """One layer, time first."""
        cell = lj.LSTM(case.I, case.H)
        implementation: Any = None if self.name == REFERENCE else self.name
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
        """Measure a quantity; what `unroll` refuses is not there.

        Args:
          quantity: what to measure.
          case: on which problem.
          budget: seconds to repeat a call for.
        """
        try:
            return super().measure(quantity, case, budget)
        except ValueError as error:
            raise Unavailable(str(error)) from error
