"""An LSTM implementation to measure, and the implementations of this library.

This module imports nothing heavy: a worker imports it before it sets its processor cores.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

REFERENCE = "default"
"""The name of `lstm_jax.unroll` with the backend that it selects."""

TUNED = ", tuned malloc"
"""The end of a name whose process keeps freed memory, see `TUNED_MALLOC`."""

MALLOC_THRESHOLD = str(2**30)
TUNED_MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": MALLOC_THRESHOLD,
    "MALLOC_TRIM_THRESHOLD_": MALLOC_THRESHOLD,
}
"""Variables with which glibc's malloc keeps freed memory for the next call."""


@dataclass(frozen=True)
class Implementation:
    """One LSTM implementation, and the class that measures it.

    Attributes:
      name: its name on the command line and in files.
      label: its name in tables.
      runner: ``module:class`` of its `Runner`, in this package.
      sequence: how it computes a sequence, as Markdown.
      step: how it computes a single step, as Markdown.
      package: the package that it needs, as it is imported.
      ours: whether it is part of this library.
      environment: environment variables of its process.
    """

    name: str
    label: str
    runner: str
    sequence: str
    step: str
    package: str
    ours: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


LINEN_LAYER = Implementation(
    "linen",
    "lstm_jax, linen",
    "flax_layers:Linen",
    "`lstm_jax.linen.LSTM(H)`, time first, jit",
    "",
    "lstm_jax",
    ours=True,
)
NNX_LAYER = Implementation(
    "nnx",
    "lstm_jax, nnx",
    "flax_layers:NNX",
    "`lstm_jax.nnx.LSTM(I, H)`, time first, jit over `nnx.merge`",
    "",
    "lstm_jax",
    ours=True,
)
FLAX_LAYERS = {layer.name: layer for layer in (LINEN_LAYER, NNX_LAYER)}
CEILING = Implementation(
    "ceiling", "matrix products", "ceiling:Ceiling", "`jnp.matmul` of square matrices", "", "jax"
)


def own_implementation(name: str) -> Implementation:
    """An implementation of this library.

    Args:
      name: a Flax layer; a backend of `lstm_jax.unroll`; or `REFERENCE` for the backend that
        `unroll` selects, optionally followed by `TUNED`.
    """
    if name in FLAX_LAYERS:
        return FLAX_LAYERS[name]
    backend = name.removesuffix(TUNED)
    argument = None if backend == REFERENCE else backend
    tuned = ", tuned malloc" if backend != name else ""
    return Implementation(
        name=name,
        label=f"lstm_jax, {name}",
        runner="unroll_runner:UnrollRunner",
        sequence=f"`lj.unroll(..., implementation={argument!r})`, time first, jit{tuned}",
        step="`lj.lstm_step`, jit, with its state donated",
        package="lstm_jax",
        ours=True,
        environment=TUNED_MALLOC if tuned else {},
    )


def backend_names() -> tuple[str, ...]:
    """The names of `lstm_jax.unroll` with each of its backends."""
    from lstm_jax.options import IMPLEMENTATIONS

    return (REFERENCE, REFERENCE + TUNED, *IMPLEMENTATIONS)
