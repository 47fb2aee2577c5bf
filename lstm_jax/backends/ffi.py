"""The kernels in C++ as calls, where the distribution ``lstm_jax_native`` is installed.

Each runs whole sequences of one or more networks: arrays have an axis ``G`` of networks first. An
array of no elements stands for one that is not there, or not wanted.
"""

import functools
from importlib import import_module
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

INTERFACE = 2
"""The calls as they are made here; counted up, there as well, whenever their arguments change."""


@functools.cache
def load() -> str | None:
    """Make the kernels known to JAX.

    Returns:
      Why they cannot be called, or None.

    >>> load() is None or "native" in load()
    True
    """
    try:
        native = import_module("lstm_jax_native")
    except ImportError:
        return "the distribution lstm_jax_native is not installed (it takes a C++17 compiler)"
    if (theirs := getattr(native, "INTERFACE", 1)) != INTERFACE:
        return (
            "the calls of lstm_jax_native are those of another release"
            f" ({theirs}, not {INTERFACE}); install it anew"
        )
    try:
        for target in native.TARGETS:
            capsule = jax.ffi.pycapsule(native.handler(target))
            jax.ffi.register_ffi_target(target, capsule, platform="cpu")
    except Exception as error:  # as of a library for another JAX: the scan does without
        return f"the library of lstm_jax_native cannot be loaded: {error}"
    return None


INSTRUCTION_SETS = ("avx512", "avx2", "baseline")


def instruction_set() -> str:
    """The vectors in use: one of `INSTRUCTION_SETS`."""
    return import_module("lstm_jax_native").instruction_set()


def forward(
    x: Float[Array, "G T B I"],
    kernel: Float[Array, "G I 4*H"],
    recurrent_kernel: Float[Array, "G H 4*H"],
    bias: Float[Array, "G 4*H"],
    h_0: Float[Array, "G B H"],
    c_0: Float[Array, "G B H"],
    valid: Bool[Array, "G T B"] | None,
    reset: Bool[Array, "G T B"] | None,
    *,
    reverse: bool,
    rounds: bool,
    states: bool,
    gates: bool,
) -> tuple[jax.Array, ...]:
    """A layer over time: ``(hs, h_T, c_T, cs, gates)``, the last two empty if not asked for.

    Args:
      x: inputs, zero at masked steps.
      kernel: input kernels.
      recurrent_kernel: recurrent kernels.
      bias: biases.
      h_0: hidden states before the first step.
      c_0: cell states before the first step.
      valid: which steps are there, or None for all.
      reset: where rows start anew from zeros, or None for nowhere.
      reverse: run from the last step to the first.
      rounds: round hidden states to bfloat16.
      states: whether to give the cell states ``[G, T, B, H]``.
      gates: whether to give the gates ``[G, T, B, 4H]``.

    Returns:
      Arrays of the dtype of `x`.
    """
    (G, T, B, _), H = x.shape, recurrent_kernel.shape[1]
    out = [(G, T, B, H), (G, B, H), (G, B, H)]
    out += [(G, T, B, H) if states else (0,), (G, T, B, 4 * H) if gates else (0,)]
    call = jax.ffi.ffi_call("lstm_jax_forward", [jax.ShapeDtypeStruct(s, x.dtype) for s in out])
    arrays = (x, kernel, recurrent_kernel, bias, h_0, c_0, _flags(valid), _flags(reset))
    return tuple(call(*arrays, reverse=np.bool_(reverse), round=np.bool_(rounds)))


def backward(
    x: Float[Array, "G T B I"],
    kernel: Float[Array, "G I 4*H"],
    recurrent_kernel: Float[Array, "G H 4*H"],
    h_0: Float[Array, "G B H"],
    c_0: Float[Array, "G B H"],
    valid: Bool[Array, "G T B"] | None,
    reset: Bool[Array, "G T B"] | None,
    saved: tuple[Float[Array, "G T B H"], Float[Array, "G T B H"], Float[Array, "G T B 4*H"]],
    cotangents: tuple[
        Float[Array, "G T B H"] | None,
        Float[Array, "G T B H"] | None,
        Float[Array, "G B H"],
        Float[Array, "G B H"],
    ],
    *,
    reverse: bool,
    inputs: bool,
    weights: bool,
) -> tuple[jax.Array, ...]:
    """Gradients of a layer over time: ``(dx, dkernel, drecurrent_kernel, dbias, dh_0, dc_0)``.

    Args:
      x: inputs, zero at masked steps.
      kernel: input kernels.
      recurrent_kernel: recurrent kernels.
      h_0: hidden states before the first step.
      c_0: cell states before the first step.
      valid: which steps are there, or None for all.
      reset: where rows start anew from zeros, or None for nowhere.
      saved: hidden states, cell states and gates of the forward pass.
      cotangents: of ``hs`` and ``cs`` (each None for zeros), ``h_T`` and ``c_T``.
      reverse: whether the forward pass ran from the last step to the first.
      inputs: whether the gradient of `x` is wanted; else it is empty.
      weights: whether those of the weights are wanted; else they are empty.

    Returns:
      Arrays of the dtype of `x`.
    """
    shapes = [a.shape for a in (x, kernel, recurrent_kernel, h_0, c_0)]
    bias = (kernel.shape[0], kernel.shape[2])
    of_weights = [*shapes[1:3], bias] if weights else [(0,)] * 3
    out = [shapes[0] if inputs else (0,), *of_weights, *shapes[3:]]
    call = jax.ffi.ffi_call("lstm_jax_backward", [jax.ShapeDtypeStruct(s, x.dtype) for s in out])
    absent = jnp.zeros((0,), x.dtype)
    return tuple(
        call(
            *(x, kernel, recurrent_kernel, h_0, c_0, _flags(valid), _flags(reset)),
            *saved,
            *(absent if cotangent is None else cotangent for cotangent in cotangents),
            reverse=np.bool_(reverse),
        )
    )


def _flags(array: Any) -> jax.Array:
    return jnp.zeros((0,), bool) if array is None else array
