"""The calls into C++, if the distribution ``lstm_jax_native`` is installed.

Each computes whole sequences of one or more networks: arrays have an axis ``G`` of networks first.
An empty array stands for one that is absent or not needed.
"""

import functools
from importlib import import_module
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

ABI_VERSION = 2
"""Version of the arguments of the calls; that of ``lstm_jax_native`` must be equal."""


@functools.cache
def load() -> str | None:
    """Register the calls with JAX.

    Returns:
      Why they are not available, or None.

    >>> load() is None or "native" in load()
    True
    """
    try:
        native = import_module("lstm_jax_native")
    except ImportError:
        return "lstm_jax_native is not installed (building it needs a C++17 compiler)"
    if (version := getattr(native, "ABI_VERSION", 1)) != ABI_VERSION:
        return (
            "ABI version mismatch: reinstall lstm_jax_native"
            f" (it has version {version}, this lstm_jax needs {ABI_VERSION})"
        )
    try:
        for target in native.TARGETS:
            capsule = jax.ffi.pycapsule(native.handler(target))
            jax.ffi.register_ffi_target(target, capsule, platform="cpu")
    except Exception as error:  # such as a library built for another JAX
        return f"the library of lstm_jax_native cannot be loaded: {error}"
    return None


INSTRUCTION_SETS = ("avx512", "avx2", "baseline")


def instruction_set() -> str:
    """The instruction set in use: one of `INSTRUCTION_SETS`."""
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
    """The forward pass: ``(hs, h_T, c_T, cs, gates)``, the last two empty unless requested.

    Args:
      x: inputs, zero at masked steps.
      kernel: input kernels.
      recurrent_kernel: recurrent kernels.
      bias: biases.
      h_0: hidden states before the first step.
      c_0: cell states before the first step.
      valid: true at valid steps, or None if all are.
      reset: true where a row restarts from zeros before a valid step, or None.
      reverse: run from the last step to the first.
      rounds: round hidden states to bfloat16.
      states: whether to return the cell states ``[G, T, B, H]``.
      gates: whether to return the gates ``[G, T, B, 4H]``, zero at masked steps.

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
    """The backward pass: ``(dx, dkernel, drecurrent_kernel, dbias, dh_0, dc_0)``.

    Args:
      x: inputs, zero at masked steps.
      kernel: input kernels.
      recurrent_kernel: recurrent kernels.
      h_0: hidden states before the first step.
      c_0: cell states before the first step.
      valid: true at valid steps, or None if all are.
      reset: true where a row restarts from zeros before a valid step, or None.
      saved: hidden states, cell states and gates of the forward pass.
      cotangents: of ``hs`` and ``cs`` (each None for zeros), ``h_T`` and ``c_T``.
      reverse: whether the forward pass ran from the last step to the first.
      inputs: whether the gradient of `x` is needed; else it is empty.
      weights: whether those of the weights are needed; else they are empty.

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
