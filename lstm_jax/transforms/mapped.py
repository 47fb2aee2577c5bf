"""Plain functions around a cell: of its outputs, or of its inputs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax

from lstm_jax.transforms.step_rng import StepRng, child_key, child_rng
from lstm_jax.transforms.transform import (
    AnyCell,
    SequenceCall,
    Transform,
    apply,
    batch_shape,
    gates,
    output_of,
    output_size,
)
from lstm_jax.transforms.wrap import check_is_cell
from lstm_jax.types import Cell, PRNGKey, PyTree

Function = Callable[[jax.Array], jax.Array]
"""A function of features ``[..., n]`` that keeps the leading axes, such as `jax.nn.relu`."""


def map_outputs(cell: AnyCell, function: Function) -> "MappedOutputs":
    """Apply a function to the outputs of a cell: ``y_t = f(h_t)``. The state is not changed.

    Args:
      cell: any cell.
      function: a function of arrays ``[..., n]`` for ``n`` output features: elementwise, or of the
        last axis. It is applied to one step or to all steps at once, and has no parameters.

    Returns:
      A cell with the parameters and the state of `cell`.

    Raises:
      TypeError: when `cell` is not a cell, or `function` not such a function.
      ValueError: when it does not keep the leading axes.

    Reference:
      Graves, Mohamed & Hinton (2013), *Speech recognition with deep recurrent neural networks*.

    >>> import jax.numpy as jnp
    >>> import lstm_jax as lj
    >>> cell = map_outputs(lj.LSTM(3, 5), jax.nn.relu)
    >>> cell
    MappedOutputs(cell=LSTM(input_size=3, hidden_size=5), function=relu)
    >>> final, outputs = lj.unroll(cell, cell.init(jax.random.key(0)), jnp.ones((7, 3)))
    >>> bool((outputs[-1] == jax.nn.relu(final.h)).all())
    True
    """
    check_is_cell("map_outputs", cell)
    check_is_function("map_outputs", function)
    check_axes("map_outputs", cell, function)
    return MappedOutputs(cell, function)


def map_inputs(cell: AnyCell, function: Function) -> "MappedInputs":
    """Apply a function to the inputs of a cell: ``x_t <- f(x_t)``.

    Args:
      cell: any cell.
      function: a function of arrays ``[..., n]``, as in `map_outputs`.

    Returns:
      A cell with the parameters and the state of `cell`, whose number of input features is not
      known.

    Raises:
      TypeError: when `cell` is not a cell, or `function` not a function.

    Reference:
      Graves, Mohamed & Hinton (2013), *Speech recognition with deep recurrent neural networks*.

    >>> import jax.numpy as jnp
    >>> import lstm_jax as lj
    >>> cell = map_inputs(lj.LSTM(2, 5), lambda x: x[..., :2])
    >>> lj.unroll(cell, cell.init(jax.random.key(0)), jnp.ones((7, 3)))[1].shape
    (7, 5)
    """
    check_is_cell("map_inputs", cell)
    check_is_function("map_inputs", function)
    return MappedInputs(cell, function)


def is_function(value: Any) -> bool:
    """Whether a value is called as a function, and is no cell, class, or module of Flax.

    >>> from lstm_jax import LSTM
    >>> is_function(jax.nn.relu), is_function(LSTM(3, 5)), is_function(LSTM)
    (True, False, False)
    """
    of_flax = any(kind.__module__.startswith("flax.") for kind in type(value).__mro__)
    return callable(value) and not isinstance(value, type | Cell) and not of_flax


def check_is_function(function: str, value: Any) -> None:
    """Raise unless `value` is a plain function.

    >>> check_is_function("map_outputs", 2)
    Traceback (most recent call last):
    TypeError: map_outputs: function must be a plain function of an array; got int
    """
    if not is_function(value):
        got = type(value).__name__
        raise TypeError(f"{function}: function must be a plain function of an array; got {got}")


def check_axes(name: str, cell: AnyCell, function: Function) -> None:
    """Raise unless a function takes the outputs of a cell, and keeps the axes before them.

    Args:
      name: the public function to name in errors.
      cell: any cell; nothing is checked where its number of output features is not known.
      function: the function.

    >>> from lstm_jax import LSTM
    >>> check_axes("map_outputs", LSTM(3, 5), jax.numpy.sum)
    Traceback (most recent call last):
    ValueError: map_outputs: sum must keep the leading axes of [..., 5]; it makes () of (2, 3, 5)
    """
    output = _output(cell)
    if output is None:
        return
    given = jax.ShapeDtypeStruct((2, 3, *output.shape), output.dtype)
    what = getattr(function, "__name__", repr(function))
    try:
        mapped = jax.eval_shape(function, given)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{name}: {what} must take an array [..., {output.shape[-1]}]; {error}"
        ) from error
    got = getattr(mapped, "shape", None)
    if got is None or got[:2] != (2, 3) or len(got) < 3:
        raise ValueError(
            f"{name}: {what} must keep the leading axes of [..., {output.shape[-1]}]; it makes"
            f" {jax.tree.structure(mapped) if got is None else got} of {given.shape}"
        )


@dataclass(frozen=True, repr=False)
class MappedOutputs(Transform):
    """The result of `map_outputs`."""

    cell: AnyCell
    function: Function

    def apply(
        self, params: PyTree, state: PyTree, x: PyTree, rng: StepRng | None = None
    ) -> tuple[PyTree, PyTree]:
        """Advance one time step, and apply the function to the output."""
        new, y = apply(self.cell, params, state, x, child_rng(rng))
        return new, self.function(y)

    def output_of(self, state: PyTree, x: PyTree) -> PyTree:
        """The function of the output of a state that no step has computed."""
        return self.function(output_of(self.cell, state, x))

    def apply_sequence(
        self, call: SequenceCall, params: PyTree, xs: PyTree, state: PyTree, key: PRNGKey | None
    ) -> tuple[PyTree, PyTree, PyTree]:
        """Unroll the cell over the whole sequence, and apply the function to all outputs."""
        final, ys, states = call.unroll_child(self.cell, params, xs, state, child_key(key, 0))
        # The function need not keep the zeros of masked steps.
        return final, call.zero_masked(self.function(ys)), states

    @property
    def output_size(self) -> int | None:
        """Number of output features, or None where it is not known."""
        output = _output(self.cell)
        return None if output is None else jax.eval_shape(self.function, output).shape[-1]


@dataclass(frozen=True, repr=False)
class MappedInputs(Transform):
    """The result of `map_inputs`."""

    cell: AnyCell
    function: Function

    def apply(
        self, params: PyTree, state: PyTree, x: PyTree, rng: StepRng | None = None
    ) -> tuple[PyTree, PyTree]:
        """Advance one time step with the function of the input."""
        return apply(self.cell, params, state, self.function(x), child_rng(rng))

    def gates(self, params: PyTree, state: PyTree, x: PyTree, rng: StepRng | None = None) -> PyTree:
        """The gate activations of one step with the function of the input."""
        return gates(self.cell, params, state, self.function(x), child_rng(rng))

    def output_of(self, state: PyTree, x: PyTree) -> PyTree:
        """The output of a state that no step has computed."""
        return output_of(self.cell, state, self.function(x))

    def apply_sequence(
        self, call: SequenceCall, params: PyTree, xs: PyTree, state: PyTree, key: PRNGKey | None
    ) -> tuple[PyTree, PyTree, PyTree]:
        """Unroll the cell with the function of its inputs, of zeros at masked steps."""
        xs = self.function(call.zero_masked(xs))
        return call.unroll_child(self.cell, params, xs, state, child_key(key, 0))

    def batch_shape(self, x: PyTree) -> tuple[int, ...]:
        """The batch axes of an input: those that the cell sees."""
        return batch_shape(self.cell, jax.eval_shape(self.function, x))

    @property
    def input_size(self) -> None:
        """Not known: a function may take any number of features to those of the cell."""
        return None


def _output(cell: AnyCell) -> jax.ShapeDtypeStruct | None:
    """Shape and dtype of one output, without batch axes; None where the shape is not known."""
    if isinstance(cell, MappedOutputs):
        inner = _output(cell.cell)
        return None if inner is None else jax.eval_shape(cell.function, inner)
    if not isinstance(cell, Transform):
        return jax.eval_shape(cell.initial_state)[0]
    size, inner = output_size(cell), _output(cell.children()[-1])
    if size is None or inner is None:
        return None
    return jax.ShapeDtypeStruct((*inner.shape[:-1], size), inner.dtype)
