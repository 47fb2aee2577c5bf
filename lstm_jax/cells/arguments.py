"""The arguments of one step: in the containers of a cell, and checked."""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from lstm_jax.containers import fields_of, is_array
from lstm_jax.types import Policy, in_float

N = TypeVar("N", bound=NamedTuple)


class Shapes(NamedTuple):
    """The shapes that one step expects, each with its axes as text for errors.

    Attributes:
      params: the shape of each parameter, such as ``((3, 20), "[I, 4H]")``; None for one that must
        be None.
      x: the feature axes of the input: ``((3,), "I")``, or ``((8, 3), "[X, I]")`` for several.
      state: the feature axes of each field of the state, likewise.
      sizes: the values of the letters, such as ``"H = 5"``.
    """

    params: Mapping[str, tuple[tuple[int, ...] | None, str]]
    x: tuple[tuple[int, ...], str]
    state: Mapping[str, tuple[tuple[int, ...], str]]
    sizes: str


def as_params(kind: type[Any], params: Any) -> Any:
    """Parameters from a mapping with their names, or a tuple or list of them in order.

    Args:
      kind: the NamedTuple to make.
      params: its fields; anything else is returned as it is.

    Returns:
      A `kind`.

    >>> from lstm_jax.cells import TanhRNNState
    >>> as_params(TanhRNNState, {"h": [0.0]})
    TanhRNNState(h=Array([0.], dtype=float32))
    """
    if type(params) is kind or is_array(params):
        return params
    fields = fields_of(kind, params)
    if fields is None or hasattr(params, "_fields"):  # the parameters of another cell
        return params
    return kind._make([None if field is None else jnp.asarray(field) for field in fields])


def as_state(function: str, kind: type[N], state: Any, policy: Policy | None = None) -> N:
    """A state of arrays from its fields, or from the array where it has one field.

    Args:
      function: the public function to name in errors.
      kind: the NamedTuple to make.
      state: a tuple or list of the fields in order, a mapping with their names, or the one field.
      policy: the dtypes of integers and booleans: its output for the first field, its cell state
        for the others. Without it they keep theirs.

    Returns:
      A `kind` of arrays.

    Raises:
      TypeError: when `state` is none of these. An array would be split along its first axis.

    >>> from lstm_jax import LSTMState
    >>> as_state("lstm_step", LSTMState, jnp.zeros((2, 5)))
    Traceback (most recent call last):
    TypeError: lstm_step: state must be a tuple (h, c); got an array of shape (2, 5)
    """
    fields = state if type(state) is kind else fields_of(kind, state)
    if fields is None:
        if isinstance(state, tuple | list):
            got = f"a {type(state).__name__} of {len(state)}"
        elif hasattr(state, "shape"):
            got = f"an array of shape {state.shape}"
        else:
            got = type(state).__name__
        names = str(kind._fields).replace("'", "")
        raise TypeError(f"{function}: state must be a tuple {names}; got {got}")
    arrays = list(map(jnp.asarray, fields))
    if policy is not None:
        dtypes = (policy.output, *[policy.cell_state] * (len(arrays) - 1))
        arrays = list(map(in_float, arrays, dtypes))
    return kind._make(arrays)


def check_step(function: str, params: Any, state: Any, x: jax.Array, shapes: Shapes) -> None:
    """Raise unless parameters, state and input of one step have the expected shapes.

    The batch axes of state and input must be equal: a state that broadcasts would not keep its
    shape in a scan.

    Args:
      function: the public function to name in errors.
      params: a NamedTuple of arrays.
      state: a NamedTuple of arrays.
      x: input ``[..., I]``.
      shapes: the expected shapes.

    Raises:
      ValueError: when a shape is another one.
      TypeError: when the input or the state is complex, as the imaginary part would be dropped.

    >>> from lstm_jax import LSTM
    >>> cell = LSTM(3, 5)
    >>> params = cell.init(jax.random.key(0))
    >>> check_step("step", params, cell.initial_state(), jnp.zeros((2, 3)), cell.shapes(params))
    Traceback (most recent call last):
    ValueError: step: h must have shape (2, 5), the batch axes of x and H; got (5,)
    """
    for name, (shape, axes) in shapes.params.items():
        if (got := getattr(getattr(params, name), "shape", None)) != shape:
            expected = "be None" if shape is None else f"have shape {axes}"
            raise ValueError(
                f"{function}: params.{name} must {expected} with {shapes.sizes}; got {got}"
            )
    batch_shape = ()
    for name, (features, axes) in (("x", shapes.x), *shapes.state.items()):
        array = x if name == "x" else getattr(state, name)
        got = array.shape
        if jnp.issubdtype(array.dtype, jnp.complexfloating):
            raise TypeError(f"{function}: {name} must be of real numbers; got {array.dtype}")
        if axes[0] != "[" and got[-1:] != features:
            raise ValueError(
                f"{function}: {name} must have shape [..., {axes}] with {axes} = {features[0]} to"
                f" fit params; got {got}"
            )
        if name == "x":
            batch_shape = got[: -len(features)]
        elif got != (*batch_shape, *features):
            raise ValueError(
                f"{function}: {name} must have shape {(*batch_shape, *features)}, the batch axes"
                f" of x and {axes}; got {got}"
            )
