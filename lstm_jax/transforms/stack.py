"""Layers on top of each other: the output of one is the input of the next."""

import dataclasses
import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import jax

from lstm_jax.containers import in_containers_of
from lstm_jax.transforms.dropout import dropout as drop_inputs
from lstm_jax.transforms.mapped import MappedInputs, MappedOutputs, check_axes, is_function
from lstm_jax.transforms.step_rng import StepRng, check_rate, child_key, child_rng
from lstm_jax.transforms.transform import (
    AnyCell,
    SequenceCall,
    Transform,
    apply,
    gates,
    initial_state,
    input_size,
    output_of,
    output_size,
    sample_params,
)
from lstm_jax.transforms.wrap import check_is_cell
from lstm_jax.types import PRNGKey, PyTree


def stack(*cells: Any, dropout: float = 0.0) -> "Stack":
    """Layers on top of each other: ``x^{l+1}_t = y^l_t``.

    Layers may be different cells of different sizes. The same cell twice is two layers, each with
    its own parameters. A plain function between cells is applied to what the next one reads, and
    adds no entry to parameters and states: it belongs to the layer below, see `map_outputs`. It
    must act on the features alone, each row by itself: it gets one step ``[..., n]`` or a whole
    sequence ``[T, ..., n]``, as the backend needs.

    Args:
      cells: the layers from the input up, as arguments or as one sequence: cells, and functions of
        arrays ``[..., n]`` such as `jax.nn.relu`, elementwise or of the last axis.
      dropout: rate of dropout between layers, with a new mask at every step.

    Returns:
      A cell with a tuple of parameters and a tuple of states, one for each layer, and the output
      of the last layer.

    Raises:
      TypeError: when a layer is neither a cell nor a function of an array, or there is no cell.
      ValueError: when there is no layer, the input size of a layer is not the output size of the
        one below, a function does not keep the leading axes, or `dropout` is not a probability.

    Reference:
      Graves, Mohamed & Hinton (2013), *Speech recognition with deep recurrent neural networks*.

    >>> import jax.numpy as jnp
    >>> import lstm_jax as lj
    >>> cell = lj.stack(lj.LSTM(3, 5), lj.LSTM(5, 4))
    >>> final, outputs = lj.unroll(cell, cell.init(jax.random.key(0)), jnp.ones((7, 2, 3)))
    >>> final[0].h.shape, final[1].h.shape, outputs.shape
    ((2, 5), (2, 4), (7, 2, 4))
    >>> twice = lambda h: jnp.concatenate([h, -h], axis=-1)
    >>> cell = lj.stack(lj.LSTM(3, 5), jax.nn.relu, twice, lj.LSTM(10, 4))
    >>> len(cell.init(jax.random.key(0)))
    2
    """
    if len(cells) == 1 and isinstance(cells[0], list | tuple):
        cells = tuple(cells[0])
    if not cells:
        raise ValueError("stack: at least one layer is needed; got none")
    check_rate("stack", "dropout", dropout)
    first, *others = _layers(cells)
    if dropout:
        others = [drop_inputs(cell, dropout) for cell in others]
    return Stack((first, *others))


def _layers(cells: Sequence[Any]) -> list[AnyCell]:
    """The cells, each with the functions that follow it; the first with those before it as well."""
    layers: list[AnyCell] = []
    before = []
    for cell in cells:
        if is_function(cell) and layers:
            check_axes("stack", layers[-1], cell)
            layers[-1] = MappedOutputs(layers[-1], cell)
        elif is_function(cell):
            before.append(cell)
        else:
            check_is_cell("stack", cell)
            layers.append(functools.reduce(MappedInputs, reversed(before), cell))
            before = []
    if not layers:
        check_is_cell("stack", cells[0])
    return layers


@dataclass(frozen=True, repr=False)
class Stack(Transform):
    """The result of `stack`.

    Args:
      cells: the layers from the input up.
    """

    cells: tuple[AnyCell, ...]

    def __post_init__(self) -> None:
        for k, (below, above) in enumerate(zip(self.cells, self.cells[1:], strict=False), start=1):
            outputs, inputs = output_size(below), input_size(above)
            if outputs is not None and inputs is not None and outputs != inputs:
                raise ValueError(
                    f"stack: layer {k + 1} must have input_size {outputs}, the output size of layer"
                    f" {k}; got {above} with input_size {inputs}"
                )

    def children(self) -> tuple[AnyCell, ...]:
        """The layers."""
        return self.cells

    def with_children(self, cells: Sequence[AnyCell]) -> Self:
        """A stack of other layers."""
        return dataclasses.replace(self, cells=tuple(cells))

    def init(self, key: PRNGKey) -> tuple[PyTree, ...]:
        """Draw parameters for each layer.

        Args:
          key: typed random key.

        Returns:
          A tuple, one for each layer.
        """
        keys = jax.random.split(key, len(self.cells))
        return tuple(cell.init(k) for cell, k in zip(self.cells, keys, strict=True))

    def initial_state(
        self, batch_shape: Sequence[int] = (), params: PyTree = None
    ) -> tuple[PyTree, ...]:
        """The state of every layer before the first step."""
        each = (None,) * len(self.cells) if params is None else self._of_layers("params", params)
        return tuple(
            initial_state(cell, p, batch_shape) for cell, p in zip(self.cells, each, strict=True)
        )

    def apply(
        self, params: PyTree, state: PyTree, x: PyTree, rng: StepRng | None = None
    ) -> tuple[tuple[PyTree, ...], PyTree]:
        """Advance every layer one time step; the output is that of the last one."""
        new = []
        for k, (cell, p, s) in enumerate(self._layers(params, state)):
            s_t, x = apply(cell, p, s, x, child_rng(rng, k))
            new.append(s_t)
        return tuple(new), x

    def gates(
        self, params: PyTree, state: PyTree, x: PyTree, rng: StepRng | None = None
    ) -> tuple[PyTree, ...]:
        """The gate activations of one step of every layer."""
        every = []
        for k, (cell, p, s) in enumerate(self._layers(params, state)):
            every.append(gates(cell, p, s, x, child_rng(rng, k)))
            _, x = apply(cell, p, s, x, child_rng(rng, k))
        return tuple(every)

    def output_of(self, state: PyTree, x: PyTree) -> PyTree:
        """The output of the last layer for states that no step has computed."""
        for cell, s in zip(self.cells, self._of_layers("state", state), strict=True):
            x = output_of(cell, s, x)
        return x

    def sample_params(self, params: PyTree, key: PRNGKey) -> tuple[PyTree, ...]:
        """The parameters for one sequence, where a part of them is random."""
        return tuple(
            sample_params(cell, p, child_key(key, k))
            for k, (cell, p) in enumerate(
                zip(self.cells, self._of_layers("params", params), strict=True)
            )
        )

    def apply_sequence(
        self, call: SequenceCall, params: PyTree, xs: PyTree, state: PyTree, key: PRNGKey | None
    ) -> tuple[PyTree, PyTree, PyTree]:
        """Unroll one layer after the other over the whole sequence."""
        finals, states = [], []
        for k, (cell, p, s) in enumerate(self._layers(params, state)):
            final, xs, all_states = call.unroll_child(cell, p, xs, s, child_key(key, k))
            finals.append(final)
            states.append(all_states)
        return tuple(finals), xs, tuple(states)

    def _layers(self, params: PyTree, state: PyTree) -> Iterable[tuple[AnyCell, PyTree, PyTree]]:
        """Each layer with its parameters and its state."""
        of_params, of_states = self._of_layers("params", params), self._of_layers("state", state)
        return zip(self.cells, of_params, of_states, strict=True)

    def _of_layers(self, name: str, tree: PyTree) -> Sequence[PyTree]:
        """A tuple with an element for each layer, after a check of its length."""
        tree = in_containers_of((0,) * len(self.cells), tree)
        if isinstance(tree, tuple | list) and len(tree) == len(self.cells):
            return tree
        got = f"{type(tree).__name__} of {len(tree)}" if hasattr(tree, "__len__") else repr(tree)
        raise ValueError(
            f"stack: {name} must be a tuple of {len(self.cells)}, one for each layer; got {got}"
        )
