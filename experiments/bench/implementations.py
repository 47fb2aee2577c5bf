"""Who is measured: this library's implementations and other libraries, by name.

Nothing heavy is imported here: a worker reads this before it has chosen its processor cores.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

REFERENCE = "default"
TUNED = ", tuned malloc"
KEPT_PAGES = str(2**30)
KEEPING_PAGES = {"MALLOC_MMAP_THRESHOLD_": KEPT_PAGES, "MALLOC_TRIM_THRESHOLD_": KEPT_PAGES}


@dataclass(frozen=True)
class Implementation:
    """One implementation, and where its worker finds it.

    Attributes:
      name: its name on the command line and in files.
      label: what tables call it.
      runner: ``module:class`` within this package.
      sequence: what runs a sequence.
      step: what runs a single step.
      package: what must be installed, as it is imported.
      ours: whether it is this library's.
      environment: variables of its process.
    """

    name: str
    label: str
    runner: str
    sequence: str
    step: str
    package: str
    ours: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


FLAX = Implementation(
    "flax",
    "flax",
    "jax_peers:Flax",
    "`nn.RNN(nn.OptimizedLSTMCell(H), time_major=True)` of linen, jit",
    "`nn.OptimizedLSTMCell(H)` of linen, jit",
    "flax",
)
FLAX_TUNED = Implementation(
    f"flax{TUNED}",
    f"flax{TUNED}",
    FLAX.runner,
    "the same with memory that is kept",
    "the same with memory that is kept",
    FLAX.package,
    environment=KEEPING_PAGES,
)
FLAX_NNX = Implementation(
    "flax-nnx",
    "flax, nnx",
    "jax_peers:FlaxNNX",
    "`nnx.RNN(nnx.OptimizedLSTMCell(I, H))`, time first, its carry given, jit over `nnx.merge`",
    "",
    "flax",
)
TORCH = Implementation(
    "torch",
    "torch",
    "torch_peer:Torch",
    "`nn.LSTM`, time first",
    "`nn.LSTMCell`, which is faster than `nn.LSTM` on one step",
    "torch",
)
TORCH_TUNED = Implementation(
    f"torch{TUNED}",
    f"torch{TUNED}",
    TORCH.runner,
    f"the same with `MALLOC_MMAP_THRESHOLD_` and `MALLOC_TRIM_THRESHOLD_` at {KEPT_PAGES}, so that"
    " memory once taken is kept and no page is mapped again",
    "the same with memory that is kept",
    TORCH.package,
    environment=KEEPING_PAGES,
)
HAIKU = Implementation(
    "haiku",
    "haiku",
    "jax_peers:Haiku",
    "`hk.dynamic_unroll(hk.LSTM(H), ...)`, time first, jit",
    "`hk.LSTM(H)`, jit",
    "haiku",
)
EQUINOX = Implementation(
    "equinox",
    "equinox",
    "jax_peers:Equinox",
    "`eqx.nn.LSTMCell` under `vmap` and `lax.scan`, time first, jit",
    "`eqx.nn.LSTMCell` under `vmap`, jit",
    "equinox",
)
KERAS = Implementation(
    "keras",
    "keras",
    "jax_peers:Keras",
    "`keras.layers.LSTM` on its JAX backend, `stateless_call`, batch first, jit",
    "`keras.layers.LSTMCell` on its JAX backend, `stateless_call`, jit",
    "keras",
    environment={"KERAS_BACKEND": "jax"},
)
NUMPY = Implementation(
    "numpy", "numpy", "numpy_peer:NumPy", "", "two products and the gates, in NumPy", "numpy"
)
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
FLAX_LAYERS = (LINEN_LAYER, NNX_LAYER)
CEILING = Implementation(
    "ceiling", "matrix products", "ceiling:Ceiling", "`jnp.matmul` of square matrices", "", "jax"
)

VARIANTS: dict[str, tuple[Implementation, ...]] = {
    "flax": (FLAX, FLAX_TUNED),
    "flax-nnx": (FLAX_NNX,),
    "torch": (TORCH, TORCH_TUNED),
    "haiku": (HAIKU,),
    "equinox": (EQUINOX,),
    "keras": (KERAS,),
    "numpy": (NUMPY,),
}
NAMED = {c.name: c for some in (*VARIANTS.values(), FLAX_LAYERS, (CEILING,)) for c in some}


def ours(implementation: str) -> Implementation:
    """This library, by one of its implementations.

    Args:
      implementation: what `lstm_jax.unroll` takes, or ``"default"`` for its own choice; with
        `TUNED` after it, in a process whose memory is kept.
    """
    name = implementation.removesuffix(TUNED)
    argument = None if name == REFERENCE else name
    kept = ", memory that is kept" if name != implementation else ""
    return Implementation(
        name=implementation,
        label=f"lstm_jax, {implementation}",
        runner="unroll_runner:UnrollRunner",
        sequence=f"`lj.unroll(..., implementation={argument!r})`, time first, jit{kept}",
        step="`lj.lstm_step`, jit, its state donated",
        package="lstm_jax",
        ours=True,
        environment=KEEPING_PAGES if kept else {},
    )


def backend_names() -> tuple[str, ...]:
    """Every name that `ours` takes."""
    from lstm_jax.backends import IMPLEMENTATIONS

    return (REFERENCE, REFERENCE + TUNED, *IMPLEMENTATIONS)


def peers(names: Sequence[str], device: str, *, keeps_pages: bool = False) -> list[Implementation]:
    """Other libraries by name; one that depends on how memory is kept comes in both ways.

    Args:
      names: keys of `VARIANTS`.
      device: ``"cpu"`` or ``"gpu"``; memory of a GPU is not malloc's.
      keeps_pages: whether libraries in JAX come in both ways as well.

    >>> [peer.name for peer in peers(["torch", "flax"], "cpu")]
    ['torch', 'torch, tuned malloc', 'flax']
    """
    found = [implementation for name in names for implementation in VARIANTS[name]]
    if device != "cpu":
        return [c for c in found if not c.name.endswith(TUNED)]
    return [c for c in found if keeps_pages or c is not FLAX_TUNED]


def find_implementation(name: str) -> Implementation:
    """The implementation of a name; names that are nobody else's are this library's.

    Args:
      name: `Implementation.name`.
    """
    return NAMED[name] if name in NAMED else ours(name)
