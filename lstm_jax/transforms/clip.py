"""States clipped to bounds after every step."""

from dataclasses import dataclass

import jax

from lstm_jax.cells.projected import clipped
from lstm_jax.transforms.step_rng import StepRng, child_rng
from lstm_jax.transforms.transform import AnyCell, StateTransform, step
from lstm_jax.transforms.wrap import check_is_cell, over_single_cells
from lstm_jax.types import PyTree


def clip(cell: AnyCell, *, h: float | None = None, c: float | None = None) -> AnyCell:
    """Clip a state after every step: ``c_t <- min(max(c_t, -c), c)``, and ``h_t`` likewise.

    Args:
      cell: any cell; each single cell inside of a stack or transform is clipped.
      h: bound of the first field of the state; none when not given.
      c: bound of the second field; none when not given.

    Returns:
      A cell with the parameters and the state of `cell`.

    Raises:
      TypeError: when `cell` is not a cell.
      ValueError: when a bound is not positive, or none is given.

    Reference:
      Sak, Senior & Beaufays (2014), *Long short-term memory recurrent neural network architectures
      for large scale acoustic modeling*.

    >>> import lstm_jax as lj
    >>> clip(lj.LSTM(3, 5), c=10.0)
    Clip(cell=LSTM(input_size=3, hidden_size=5), c=10.0)
    """
    check_is_cell("clip", cell)
    for name, bound in (("h", h), ("c", c)):
        if bound is not None and not bound > 0:
            raise ValueError(f"clip: {name} must be above 0; got {bound}")
    if h is None and c is None:
        raise ValueError("clip: a bound for h or c is needed; got none")
    return over_single_cells(cell, lambda single: Clip(single, h, c))


@dataclass(frozen=True, repr=False)
class Clip(StateTransform):
    """The result of `clip` for a single cell."""

    cell: AnyCell
    h: float | None = None
    c: float | None = None

    def step(self, params: PyTree, state: PyTree, x: PyTree, rng: StepRng | None = None) -> PyTree:
        """Advance one time step, then clip."""
        new = step(self.cell, params, state, x, child_rng(rng))
        fields, structure = jax.tree.flatten(new)
        for k, bound in enumerate((self.h, self.c)[: len(fields)]):
            fields[k] = clipped(fields[k], bound)
        return jax.tree.unflatten(structure, fields)
