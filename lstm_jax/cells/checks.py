"""How cells check what they are given."""

import operator
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp


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


def check_shapes(function: str, params: Any, state: Any, x: jax.Array, *, gates: int) -> None:
    """Raise unless parameters, state and input of one step fit together.

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
    shapes = {
        "kernel": ((input_size, width), f"[I, {letters}]"),
        "recurrent_kernel": ((hidden_size, width), f"[H, {letters}]"),
        "bias": ((width,), f"[{letters}]"),
    }
    check_params(function, params, shapes, f"H = {hidden_size}")
    sizes = dict.fromkeys(state._asdict(), (hidden_size, "H"))
    check_axes(function, state, x, input_size, sizes)


def check_params(
    function: str, params: Any, shapes: Mapping[str, tuple[tuple[int, ...] | None, str]], sizes: str
) -> None:
    """Raise unless the fields of `params` have the shapes wanted.

    Args:
      function: the public function to name in errors.
      params: a NamedTuple of arrays.
      shapes: for each field its shape, and how it is written, such as ``"[I, 4H]"``; the shape is
        None for a field that must be None.
      sizes: what the letters stand for, such as ``"H = 5"``.

    Raises:
      ValueError: when they do not.

    >>> from lstm_jax import LSTM
    >>> params = LSTM(3, 5).init(jax.random.key(0))
    >>> check_params("step", params, {"bias": ((24,), "[4H]")}, "H = 6")
    Traceback (most recent call last):
    ValueError: step: params.bias must have shape [4H] with H = 6; got (20,)
    """
    for name, (shape, axes) in shapes.items():
        if (got := getattr(getattr(params, name), "shape", None)) != shape:
            wanted = "be None" if shape is None else f"have shape {axes}"
            raise ValueError(f"{function}: params.{name} must {wanted} with {sizes}; got {got}")


def check_axes(
    function: str,
    state: Any,
    x: jax.Array,
    input_size: int,
    sizes: Mapping[str, tuple[int, str]],
) -> None:
    """Raise unless input and state have the last axes wanted, and the same batch axes.

    The batch axes must be equal: a state that broadcasts would not keep its shape in a scan.

    Args:
      function: the public function to name in errors.
      state: a NamedTuple of arrays.
      x: input ``[..., I]``.
      input_size: ``I``.
      sizes: for each field of the state its last axis, and the letter of it.

    Raises:
      ValueError: when they do not.
      TypeError: when one is complex.

    >>> from lstm_jax import LSTMState
    >>> state = LSTMState(jnp.zeros(4), jnp.zeros(5))
    >>> check_axes("step", state, jnp.zeros(3), 3, {"h": (4, "P"), "c": (6, "H")})
    Traceback (most recent call last):
    ValueError: step: c must have shape [..., H] with H = 6 to fit params; got (5,)
    """
    check_real(function, {"x": x, **{name: getattr(state, name) for name in sizes}})
    _check_features(function, "x", x.shape, input_size, "I")
    for name, (size, axis) in sizes.items():
        array = getattr(state, name)
        _check_features(function, name, array.shape, size, axis)
        if array.shape[:-1] != x.shape[:-1]:
            raise ValueError(
                f"{function}: {name} must have shape {(*x.shape[:-1], size)}, the batch"
                f" axes of x and {axis}; got {array.shape}"
            )


def check_real(function: str, arrays: Mapping[str, jax.Array]) -> None:
    """Raise where an array is complex, as its imaginary part would be lost in silence.

    Args:
      function: the public function to name in errors.
      arrays: by their names.

    Raises:
      TypeError: when one is complex.
    """
    for name, array in arrays.items():
        if jnp.issubdtype(array.dtype, jnp.complexfloating):
            raise TypeError(f"{function}: {name} must be of real numbers; got {array.dtype}")


def check_features(
    function: str,
    arrays: Mapping[str, Any],
    batch_shape: tuple[int, ...],
    features: Mapping[str, tuple[tuple[int, ...], str]],
) -> None:
    """Raise unless every array has the batch axes of the input, and then its own feature axes.

    Args:
      function: the public function to name in errors.
      arrays: arrays by name; a state's are `state._asdict()`.
      batch_shape: the batch axes of the input.
      features: for each name the sizes of its feature axes, and how they are written.

    Raises:
      ValueError: when one has another shape.

    >>> import jax.numpy as jnp
    >>> check_features("step", {"C": jnp.zeros((5, 3))}, (2,), {"C": ((5, 3), "[V, K]")})
    Traceback (most recent call last):
    ValueError: step: C must have shape (2, 5, 3), the batch axes of x and [V, K]; got (5, 3)
    """
    for name, (sizes, axes) in features.items():
        wanted = (*batch_shape, *sizes)
        if (got := arrays[name].shape) != wanted:
            raise ValueError(
                f"{function}: {name} must have shape {wanted}, the batch axes of x and {axes};"
                f" got {got}"
            )


def check_heads(function: str, num_heads: Any, hidden_size: int) -> None:
    """Raise unless the hidden units can be dealt out evenly to the heads.

    Args:
      function: the public function to name in errors.
      num_heads: number of heads ``N``.
      hidden_size: number of hidden units ``H``.

    Raises:
      TypeError: when `num_heads` is not an integer.
      ValueError: when it is below 1, or does not divide `hidden_size`.

    >>> check_heads("SLSTM", 3, 8)
    Traceback (most recent call last):
    ValueError: SLSTM: num_heads must divide hidden_size = 8; got 3
    """
    check_size(function, "num_heads", num_heads)
    if hidden_size % num_heads:
        raise ValueError(
            f"{function}: num_heads must divide hidden_size = {hidden_size}; got {num_heads}"
        )


def _check_features(function: str, name: str, shape: tuple[int, ...], size: int, axis: str) -> None:
    if not shape or shape[-1] != size:
        raise ValueError(
            f"{function}: {name} must have shape [..., {axis}] with {axis} = {size} to fit params;"
            f" got {shape}"
        )
