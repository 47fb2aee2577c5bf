"""Initializers of kernels and biases, and presets that match other libraries.

Every initializer is called as ``(key, shape, dtype) -> array``, the protocol of
`jax.nn.initializers`, so both kinds are interchangeable. Initializers with settings are frozen
dataclasses: they print, compare and hash, so that a cell with one as a field is a valid static
argument of `jax.jit`. Arrays of low-precision dtypes are drawn in float32 and rounded.
"""

from lstm_jax.initializers.biases import GATES, Chrono, ForgetBias, UniformGate, zeros
from lstm_jax.initializers.presets import PRESETS, Preset, preset
from lstm_jax.initializers.weights import (
    PerGate,
    TruncatedNormal,
    Uniform,
    glorot_uniform,
    lecun_normal,
    orthogonal,
    orthogonal_per_gate,
    per_gate,
)

__all__ = [
    "GATES",
    "PRESETS",
    "Chrono",
    "ForgetBias",
    "PerGate",
    "Preset",
    "TruncatedNormal",
    "Uniform",
    "UniformGate",
    "glorot_uniform",
    "lecun_normal",
    "orthogonal",
    "orthogonal_per_gate",
    "per_gate",
    "preset",
    "zeros",
]
