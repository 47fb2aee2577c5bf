"""Convolution windows: sizes, strides, padding, and the convolution itself."""

import contextlib
import math
import operator
from collections.abc import Sequence
from typing import Any, Literal

import jax
from jaxtyping import Array, Float

from lstm_jax.types import DType, check_size

Padding = Literal["SAME", "VALID"] | Sequence[tuple[int, int]]
"""Padding of the input: a name, or ``(before, after)`` for each spatial axis."""


def convolve(
    x: Float[Array, "... n"],
    kernel: Float[Array, "*K n m"],
    strides: tuple[int, ...],
    padding: Padding,
    dtype: DType,
    dilation: tuple[int, ...] | None = None,
) -> Float[Array, "... m"]:
    """``x * kernel``: multiplied in the kernel's dtype, accumulated in `dtype`.

    Args:
      x: input ``[..., *spatial, n]`` with any number of batch axes.
      kernel: a window of one to three axes ``[*K, n, m]``.
      strides: stride of the window along each spatial axis.
      padding: "SAME", "VALID", or pairs.
      dtype: dtype of the result.
      dilation: distance between neighbours in the window along each spatial axis; 1 when not given.

    Returns:
      The output ``[..., *grid, m]``, with the spatial axes of `output_grid`.

    >>> import jax.numpy as jnp
    >>> convolve(jnp.ones((2, 5, 8, 3)), jnp.ones((3, 3, 4)), (2,), "VALID", jnp.float32).shape
    (2, 5, 3, 4)
    """
    axes = "DHW"[-len(strides) :]
    feature_axes = kernel.ndim - 1
    batch_shape, features = x.shape[:-feature_axes], x.shape[-feature_axes:]
    z = jax.lax.conv_general_dilated(
        x.astype(kernel.dtype).reshape(math.prod(batch_shape), *features),
        kernel,
        strides,
        padding,
        rhs_dilation=dilation,
        dimension_numbers=(f"N{axes}C", f"{axes}IO", f"N{axes}C"),
        preferred_element_type=dtype,
    )
    return z.reshape(*batch_shape, *z.shape[1:])


def output_grid(
    sizes: tuple[int, ...],
    window: tuple[int, ...],
    strides: tuple[int, ...],
    padding: Padding,
    dilation: tuple[int, ...],
) -> tuple[int, ...]:
    """The spatial axes of a convolution's output; below 1 where the window does not fit.

    >>> output_grid((9, 8), (3, 3), (2, 2), "VALID", (1, 1))
    (4, 3)
    >>> output_grid((9, 8), (3, 3), (2, 2), "VALID", (2, 3))
    (3, 1)
    """
    if padding == "SAME":
        return tuple(-(-n // s) for n, s in zip(sizes, strides, strict=True))
    pairs = ((0, 0),) * len(sizes) if isinstance(padding, str) else padding
    return tuple(
        (n + before + after - (k - 1) * d - 1) // s + 1
        for n, k, s, d, (before, after) in zip(sizes, window, strides, dilation, pairs, strict=True)
    )


def as_shape(function: str, name: str, sizes: Any) -> tuple[int, ...]:
    """A shape as a tuple of integers of at least 1.

    >>> as_shape("ConvLSTM", "input_shape", 8)
    Traceback (most recent call last):
    TypeError: ConvLSTM: input_shape must be a tuple of integers; got 8
    """
    if not isinstance(sizes, Sequence) or isinstance(sizes, str):
        raise TypeError(f"{function}: {name} must be a tuple of integers; got {sizes!r}")
    for size in sizes:
        check_size(function, name, size)
    return tuple(map(operator.index, sizes))


def as_window(function: str, name: str, size: Any, axes: int) -> int | tuple[int, ...]:
    """A size for each spatial axis; a single number when all are equal.

    >>> as_window("ConvLSTM", "strides", (2, 2), 2), as_window("ConvLSTM", "strides", [2, 1], 2)
    (2, (2, 1))
    """
    if not isinstance(size, Sequence):
        check_size(function, name, size)
        return operator.index(size)
    sizes = as_shape(function, name, size)
    if len(sizes) != axes:
        raise ValueError(
            f"{function}: {name} must have a number for each of {axes} spatial axes; got {sizes}"
        )
    return sizes[0] if len(set(sizes)) == 1 else sizes


def as_padding(function: str, padding: Any, axes: int) -> Padding:
    """The padding as a name, or as a tuple of pairs.

    >>> as_padding("ConvLSTM", [[1, 0]], 1)
    ((1, 0),)
    """
    pairs = ()
    if not isinstance(padding, str):
        with contextlib.suppress(TypeError, ValueError):
            pairs = tuple((operator.index(low), operator.index(high)) for low, high in padding)
    elif padding in ("SAME", "VALID"):
        return padding
    if len(pairs) != axes:
        raise ValueError(
            f"{function}: padding must be 'SAME', 'VALID' or a pair (before, after) for each of"
            f" {axes} spatial axes; got {padding!r}"
        )
    return pairs
