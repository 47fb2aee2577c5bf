"""What all cells share: how they check what they are made of and given, and how they print."""

import dataclasses
import operator
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

N = TypeVar("N", bound=NamedTuple)


def settle_fields(cell: Any) -> None:
    """Check the sizes of a new cell and give its dtype one spelling, so that equal cells are equal.

    Args:
      cell: a frozen dataclass with integer fields that end in ``_size``, and a field ``dtype``.

    Raises:
      TypeError: when a size is not an integer.
      ValueError: when a size is below 1.

    >>> from lstm_jax import LSTM
    >>> LSTM(3, 5, dtype="float32") == LSTM(3, 5)
    True
    """
    for field in dataclasses.fields(cell):
        if field.name.endswith("_size"):
            check_size(type(cell).__name__, field.name, getattr(cell, field.name))
    object.__setattr__(cell, "dtype", jnp.dtype(cell.dtype))


def check_size(function: str, name: str, size: Any) -> None:
    """Raise unless `size` is a whole number of at least 1.

    >>> check_size("LSTM", "hidden_size", 0)
    Traceback (most recent call last):
    ValueError: LSTM: hidden_size must be at least 1; got 0
    """
    try:
        operator.index(size)
    except TypeError:
        raise TypeError(f"{function}: {name} must be an integer; got {size!r}") from None
    if size < 1:
        raise ValueError(f"{function}: {name} must be at least 1; got {size}")


def as_state(function: str, kind: type[N], state: Any) -> N:
    """A state of arrays from a tuple or list of its fields.

    Args:
      function: the public function to name in errors.
      kind: the NamedTuple to make.
      state: the fields in order.

    Returns:
      A `kind` of arrays.

    Raises:
      TypeError: when `state` is no such tuple. An array is none: it would come apart along its
        first axis.

    >>> from lstm_jax import LSTMState
    >>> as_state("lstm_step", LSTMState, jnp.zeros((2, 5)))
    Traceback (most recent call last):
    TypeError: lstm_step: state must be a tuple (h, c); got an array of shape (2, 5)
    """
    if not isinstance(state, tuple | list) or len(state) != len(kind._fields):
        if isinstance(state, tuple | list):
            got = f"a {type(state).__name__} of {len(state)}"
        elif hasattr(state, "shape"):
            got = f"an array of shape {state.shape}"
        else:
            got = type(state).__name__
        wanted = str(kind._fields).replace("'", "")
        raise TypeError(f"{function}: state must be a tuple {wanted}; got {got}")
    return kind._make(map(jnp.asarray, state))


def check_shapes(function: str, params: Any, state: Any, x: jax.Array, *, gates: int) -> None:
    """Raise unless parameters, state and input of one step fit together.

    The batch axes must be equal: a state that broadcasts would not keep its shape in a scan.

    Args:
      function: the public function to name in errors.
      params: kernel ``[I, k*H]``, recurrent_kernel ``[H, k*H]`` and bias ``[k*H]``.
      state: a NamedTuple of arrays ``[..., H]``.
      x: input ``[..., I]``.
      gates: the number ``k`` of gate blocks.

    Raises:
      ValueError: when they do not.

    >>> from lstm_jax import LSTM
    >>> cell = LSTM(3, 5)
    >>> params = cell.init(jax.random.key(0))
    >>> check_shapes("lstm_step", params, cell.initial_state(), jnp.zeros((2, 3)), gates=4)
    Traceback (most recent call last):
    ValueError: lstm_step: h must have shape (2, 5), the batch axes of x and H; got (5,)
    """
    input_size, hidden_size = (
        next(iter(kernel.shape), 0) for kernel in (params.kernel, params.recurrent_kernel)
    )
    width, letters = gates * hidden_size, f"{gates if gates > 1 else ''}H"
    for name, shape, axes in (
        ("kernel", (input_size, width), f"[I, {letters}]"),
        ("recurrent_kernel", (hidden_size, width), f"[H, {letters}]"),
        ("bias", (width,), f"[{letters}]"),
    ):
        if (got := getattr(params, name).shape) != shape:
            raise ValueError(
                f"{function}: params.{name} must have shape {axes} with H = {hidden_size};"
                f" got {got}"
            )
    _check_features(function, "x", x.shape, input_size, "I")
    for name, array in state._asdict().items():
        _check_features(function, name, array.shape, hidden_size, "H")
        if array.shape[:-1] != x.shape[:-1]:
            raise ValueError(
                f"{function}: {name} must have shape {(*x.shape[:-1], hidden_size)}, the batch"
                f" axes of x and H; got {array.shape}"
            )


def _check_features(function: str, name: str, shape: tuple[int, ...], size: int, axis: str) -> None:
    if not shape or shape[-1] != size:
        raise ValueError(
            f"{function}: {name} must have shape [..., {axis}] with {axis} = {size} to fit params;"
            f" got {shape}"
        )


def short_repr(cell: Any) -> str:
    """A cell as it would be written: the sizes, and what is not as by default.

    >>> from lstm_jax import LSTM, initializers
    >>> LSTM(3, 5, bias_init=initializers.Chrono(100))
    LSTM(input_size=3, hidden_size=5, bias_init=Chrono(t_max=100))
    """
    shown = []
    for field in dataclasses.fields(cell):
        value = getattr(cell, field.name)
        if field.default is dataclasses.MISSING or value != field.default:
            written = value.name if isinstance(value, np.dtype) else value
            shown.append(f"{field.name}={written!r}")
    return f"{type(cell).__name__}({', '.join(shown)})"
