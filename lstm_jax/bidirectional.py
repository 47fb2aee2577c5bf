"""Two cells over one sequence, one in each direction of time."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, Self

import jax
import jax.numpy as jnp

from lstm_jax.arrays import described
from lstm_jax.transforms.step_rng import StepRng, child_key
from lstm_jax.transforms.transform import (
    AnyCell,
    SequenceCall,
    Transform,
    initial_state,
    input_size,
    output_of,
    output_size,
    sample_params,
)
from lstm_jax.transforms.wrap import check_is_cell
from lstm_jax.types import PRNGKey, PyTree, promote_dtypes

Merge = Literal["concat", "sum", "mean", "multiply", "none"]

_MERGES: dict[str, Callable[[jax.Array, jax.Array], Any]] = {
    "concat": lambda a, b: jnp.concatenate([a, b], axis=-1),
    "sum": jnp.add,
    "mean": lambda a, b: (a + b) / 2,
    "multiply": jnp.multiply,
    "none": lambda a, b: (a, b),
}


class Directions(NamedTuple):
    """Parameters or states of the two directions of time.

    Attributes:
      forward: of the cell that is unrolled from the first step to the last.
      backward: of the cell that is unrolled from the last step to the first.
    """

    forward: Any
    backward: Any


class _SampledDirections(NamedTuple):
    """Parameters of tied directions, sampled for each; a type that no cell has for its own."""

    forward: Any
    backward: Any


def bidirectional(
    forward: AnyCell,
    backward: AnyCell | None = None,
    *,
    merge: Merge = "concat",
    tied: bool = False,
) -> "Bidirectional":
    """Two cells over one sequence, one in each direction: ``y_t = merge(h_t, h'_t)``.

    The backward direction of a short row starts at the end of that row, and resets cut both
    directions at the same places.

    Args:
      forward: the cell that is unrolled from the first step to the last.
      backward: the cell that is unrolled from the last step to the first; a copy of `forward` with
        its own parameters when not given.
      merge: ``"concat"``, ``"sum"``, ``"mean"``, ``"multiply"``, or ``"none"`` for the pair.
      tied: whether both directions have the same parameters, those of `forward`. Random numbers,
        such as masks of dropout, are drawn for each direction.

    Returns:
      A cell for `unroll`, with `Directions` of states and of parameters; with `tied` the parameters
      of one cell. It has no single step, as the backward direction starts at the end.

    Raises:
      TypeError: when a cell is not a cell.
      ValueError: when `merge` has no such value, the input sizes differ, the output sizes cannot
        be merged, or `tied` is given with a different cell for the backward direction.

    Reference:
      Schuster & Paliwal (1997), *Bidirectional recurrent neural networks*; Graves & Schmidhuber
      (2005), *Framewise phoneme classification with bidirectional LSTM*.

    >>> import lstm_jax as lj
    >>> cell = lj.bidirectional(lj.LSTM(3, 5))
    >>> params, xs = cell.init(jax.random.key(0)), jnp.ones((7, 2, 3))
    >>> final, outputs = lj.unroll(cell, params, xs, lengths=jnp.array([7, 4]))
    >>> outputs.shape, final.backward.h.shape
    ((7, 2, 10), (2, 5))
    >>> jax.tree.map(jnp.shape, lj.bidirectional(lj.LSTM(3, 5), tied=True).init(jax.random.key(0)))
    LSTMParams(kernel=(3, 20), recurrent_kernel=(5, 20), bias=(20,))
    """
    backward = forward if backward is None else backward
    for cell in (forward, backward):
        check_is_cell("bidirectional", cell)
    check_merge("bidirectional", merge)
    inputs = input_size(forward), input_size(backward)
    if None not in inputs and inputs[0] != inputs[1]:
        raise ValueError(f"bidirectional: both cells must have one input size; got {inputs}")
    sizes = output_size(forward), output_size(backward)
    if merge not in ("concat", "none") and sizes[0] != sizes[1]:
        raise ValueError(
            f"bidirectional: merge={merge!r} needs cells of one output size; got {sizes}"
        )
    if tied and backward != forward:
        raise ValueError(
            f"bidirectional: with tied=True both directions are one cell; got {forward} and"
            f" {backward}"
        )
    return Bidirectional(forward, backward, merge, tied)


def check_merge(function: str, merge: Any) -> None:
    """Raise unless `merge` is a way to merge.

    >>> check_merge("LSTM", "sun")
    Traceback (most recent call last):
    ValueError: LSTM: merge must be one of ('concat', 'sum', 'mean', 'multiply', 'none'); got 'sun'
    """
    if merge not in (*_MERGES,):
        raise ValueError(f"{function}: merge must be one of {(*_MERGES,)}; got {merge!r}")


@dataclass(frozen=True, repr=False)
class Bidirectional(Transform):
    """The result of `bidirectional`."""

    has_steps: ClassVar[bool] = False

    forward: AnyCell
    backward: AnyCell
    merge: Merge = "concat"
    tied: bool = False

    def children(self) -> tuple[AnyCell, AnyCell]:
        """The cells of the two directions."""
        return self.forward, self.backward

    def with_children(self, cells: Sequence[AnyCell]) -> Self:
        """The same with other cells."""
        forward, backward = cells
        return dataclasses.replace(self, forward=forward, backward=backward)

    def init(self, key: PRNGKey) -> PyTree:
        """Draw parameters for each direction; those of one cell if the directions are tied.

        Args:
          key: typed random key.

        Returns:
          `Directions` of parameters, or the parameters of one cell.
        """
        if self.tied:
            return self.forward.init(key)
        k_forward, k_backward = jax.random.split(key)
        return Directions(self.forward.init(k_forward), self.backward.init(k_backward))

    def initial_state(self, batch_shape: Sequence[int] = (), params: PyTree = None) -> Directions:
        """The initial states of the two directions, each for its own end of the sequence."""
        p_forward, p_backward = (None, None) if params is None else self._params_of_both(params)
        return Directions(
            initial_state(self.forward, p_forward, batch_shape),
            initial_state(self.backward, p_backward, batch_shape),
        )

    def apply(
        self, params: PyTree, state: PyTree, x: PyTree, rng: StepRng | None = None
    ) -> tuple[PyTree, PyTree]:
        """Raise: the backward direction starts at the end, so there is no single step.

        Raises:
          TypeError: always.
        """
        raise TypeError(
            "bidirectional: there is no single step, as one direction starts at the end; use unroll"
        )

    def gates(self, params: PyTree, state: PyTree, x: PyTree, rng: StepRng | None = None) -> PyTree:
        """Raise, as `apply`."""
        return self.apply(params, state, x, rng)

    def output_of(self, state: Directions, x: PyTree) -> PyTree:
        """The merged output of states that no step has computed."""
        pairs = zip(self.children(), _of_both("state", state), strict=True)
        ys = (output_of(cell, s, x) for cell, s in pairs)
        return self._merged(*ys)

    def sample_params(self, params: PyTree, key: PRNGKey) -> PyTree:
        """The parameters for one sequence, where a part of them is random."""
        forward, backward = self._params_of_both(params)
        return (_SampledDirections if self.tied else Directions)(
            sample_params(self.forward, forward, child_key(key, 0)),
            sample_params(self.backward, backward, child_key(key, 1)),
        )

    def apply_sequence(
        self,
        call: SequenceCall,
        params: PyTree,
        xs: PyTree,
        state: Directions,
        key: PRNGKey | None,
    ) -> tuple[Directions, PyTree, Directions]:
        """Unroll both cells over the whole sequence, and merge their outputs."""
        s_forward, s_backward = _of_both("state", state)
        p_forward, p_backward = self._params_of_both(params)
        final, ys, states = call.unroll_child(
            self.forward, p_forward, xs, s_forward, child_key(key, 0)
        )
        back_final, back_ys, back_states = call.unroll_child(
            self.backward, p_backward, xs, s_backward, child_key(key, 1), opposite=True
        )
        merged = self._merged(ys, back_ys)
        return Directions(final, back_final), merged, Directions(states, back_states)

    def _params_of_both(self, params: PyTree) -> tuple[PyTree, PyTree]:
        """The parameters of the two directions."""
        if self.tied and not isinstance(params, _SampledDirections):
            return params, params
        return _of_both("params", params)

    def _merged(self, y: PyTree, back_y: PyTree) -> PyTree:
        if self.merge != "none":
            dtype = promote_dtypes(y.dtype, back_y.dtype)
            y, back_y = y.astype(dtype), back_y.astype(dtype)
        return _MERGES[self.merge](y, back_y)

    @property
    def output_size(self) -> int | None:
        """Number of output features, or None where it is not known."""
        sizes = [output_size(cell) for cell in self.children()]
        if self.merge == "none" or None in sizes:
            return None
        return sum(filter(None, sizes)) if self.merge == "concat" else sizes[0]


def _of_both(name: str, tree: PyTree) -> tuple[PyTree, PyTree]:
    """A pair, one for each direction. An array would be split along its first axis."""
    if isinstance(tree, tuple | list) and len(tree) == 2:
        forward, backward = tree
        return forward, backward
    raise ValueError(
        f"bidirectional: {name} must be a tuple of 2, one for each direction; got {described(tree)}"
    )
