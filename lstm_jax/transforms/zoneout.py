"""Zoneout: at random, units keep their state of the step before."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import jax

from lstm_jax.masks import where_rows
from lstm_jax.sharding import match_sharding
from lstm_jax.transforms.own_structure import own_state
from lstm_jax.transforms.step_rng import StepRng, check_rate, child_rng, kept
from lstm_jax.transforms.transform import AnyCell, StateTransform, step
from lstm_jax.transforms.wrap import check_is_cell, over_single_cells
from lstm_jax.types import PyTree


def zoneout(cell: AnyCell, *, h: float = 0.0, c: float = 0.0) -> AnyCell:
    """Zoneout: ``h_t <- m * h_{t-1} + (1 - m) * h_t`` with ``m ~ Bernoulli(h)``; ``c_t`` likewise.

    Without a key the masks are replaced by their means, as at test time in the paper. In a state
    with more fields than ``h`` and ``c``, all fields after the first share the mask of ``c``, which
    is drawn over the axes that they have in common: a memory and its normaliser are kept together.
    (The means are those of the stored numbers, which the stabiliser has scaled.)

    Args:
      cell: any cell; each single cell inside of a stack or transform has its own masks.
      h: probability that an element of the first field keeps its value.
      c: probability that an element of the other fields keeps its value.

    Returns:
      A cell with the parameters and the state of `cell`.

    Raises:
      TypeError: when `cell` is not a cell.
      ValueError: when `h` or `c` is not a probability.

    Reference:
      Krueger et al. (2017), *Zoneout: regularizing RNNs by randomly preserving hidden activations*.

    >>> import lstm_jax as lj
    >>> zoneout(lj.LSTM(3, 5), h=0.05, c=0.5)
    Zoneout(cell=LSTM(input_size=3, hidden_size=5), h=0.05, c=0.5)
    """
    check_is_cell("zoneout", cell)
    check_rate("zoneout", "h", h)
    check_rate("zoneout", "c", c)
    return over_single_cells(cell, lambda single: Zoneout(single, float(h), float(c)))


@dataclass(frozen=True, repr=False)
class Zoneout(StateTransform):
    """The result of `zoneout` for a single cell."""

    draws: ClassVar[bool] = True

    cell: AnyCell
    h: float = 0.0
    c: float = 0.0

    def step(self, params: PyTree, state: PyTree, x: PyTree, rng: StepRng | None = None) -> PyTree:
        """Advance one time step; some elements keep their values."""
        state = own_state(self.cell, params, state)
        new = step(self.cell, params, state, x, child_rng(rng))
        (h_tm1, *memory_tm1), (h_t, *memory_t) = jax.tree.leaves(state), jax.tree.leaves(new)
        if rng is None:
            h_t = _mean(self.h, h_tm1, h_t)
            memory_t = [_mean(self.c, *pair) for pair in zip(memory_tm1, memory_t, strict=True)]
        else:
            k_h, k_c = jax.random.split(rng.step_key)
            if self.h:
                (h_t,) = _mixed(kept(k_h, self.h, h_t.shape), [h_tm1], [h_t])
            if self.c and memory_t:
                updated = kept(k_c, self.c, _shared_axes(memory_t))
                memory_t = _mixed(updated, memory_tm1, memory_t)
        return jax.tree.unflatten(jax.tree.structure(new), [h_t, *memory_t])


def _mean(rate: float, old: jax.Array, new: jax.Array) -> jax.Array:
    return rate * old + (1.0 - rate) * new


def _mixed(
    updated: jax.Array, old: Sequence[jax.Array], new: Sequence[jax.Array]
) -> list[jax.Array]:
    return [
        where_rows(match_sharding(updated, jax.typeof(b)), b, match_sharding(a, jax.typeof(b)))
        for a, b in zip(old, new, strict=True)
    ]


def _shared_axes(fields: Sequence[jax.Array]) -> tuple[int, ...]:
    """The leading axes that all fields have."""
    shared = []
    for sizes in zip(*(field.shape for field in fields), strict=False):
        if len(set(sizes)) > 1:
            break
        shared.append(sizes[0])
    return tuple(shared)
