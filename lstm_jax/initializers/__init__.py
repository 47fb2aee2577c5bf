"""Initializers of kernels and biases, and presets that match other libraries.

Every initializer is called as ``(key, shape, dtype) -> array``, the protocol of
`jax.nn.initializers`, so both kinds are interchangeable. Initializers with settings are frozen
dataclasses: they print, compare and hash, so that a cell with one as a field is a valid static
argument of `jax.jit`. Arrays of low-precision dtypes are drawn in float32 and rounded.
"""

from lstm_jax.initializers.biases import GATES, Chrono, ForgetBias, UniformGate, zeros
from lstm_jax.initializers.gates import EachGate, ForgetGateOf, PerGate, per_gate
from lstm_jax.initializers.presets import PRESETS, Preset, PresetName, preset
from lstm_jax.initializers.weights import (
    TruncatedNormal,
    Uniform,
    glorot_uniform,
    lecun_normal,
    orthogonal,
    orthogonal_per_gate,
)

__all__ = [
    "GATES",
    "PRESETS",
    "Chrono",
    "EachGate",
    "ForgetBias",
    "ForgetGateOf",
    "PerGate",
    "Preset",
    "PresetName",
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
