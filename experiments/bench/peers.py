"""The peers: other libraries whose LSTM is measured, by name.

This module imports nothing heavy: a worker imports it before it sets its processor cores.
"""

from collections.abc import Sequence

from experiments.bench.implementation import (
    CEILING,
    MALLOC_THRESHOLD,
    TUNED,
    TUNED_MALLOC,
    Implementation,
    own_implementation,
)

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
    "the same with tuned malloc",
    "the same with tuned malloc",
    FLAX.package,
    environment=TUNED_MALLOC,
)
FLAX_NNX = Implementation(
    "flax-nnx",
    "flax, nnx",
    "jax_peers:FlaxNNX",
    "`nnx.RNN(nnx.OptimizedLSTMCell(I, H))`, time first, with an initial carry, jit over"
    " `nnx.merge`",
    "",
    "flax",
)
TORCH = Implementation(
    "torch",
    "torch",
    "torch_peer:Torch",
    "`nn.LSTM`, time first",
    "`nn.LSTMCell`, which is faster than `nn.LSTM` for one step",
    "torch",
)
TORCH_TUNED = Implementation(
    f"torch{TUNED}",
    f"torch{TUNED}",
    TORCH.runner,
    f"the same with `MALLOC_MMAP_THRESHOLD_` and `MALLOC_TRIM_THRESHOLD_` at {MALLOC_THRESHOLD}, so"
    " that malloc keeps freed memory",
    "the same with tuned malloc",
    TORCH.package,
    environment=TUNED_MALLOC,
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
PEERS: dict[str, tuple[Implementation, ...]] = {
    "flax": (FLAX, FLAX_TUNED),
    "flax-nnx": (FLAX_NNX,),
    "torch": (TORCH, TORCH_TUNED),
    "haiku": (HAIKU,),
    "equinox": (EQUINOX,),
    "keras": (KERAS,),
    "numpy": (NUMPY,),
}
"""The implementations of each peer."""

OTHERS = {each.name: each for each in (CEILING, *(i for peer in PEERS.values() for i in peer))}


def peer_implementations(
    names: Sequence[str], device: str, *, tuned_jax: bool = False
) -> list[Implementation]:
    """The implementations of peers; on a CPU, PyTorch also with tuned malloc.

    Args:
      names: keys of `PEERS`.
      device: ``"cpu"`` or ``"gpu"``; malloc does not allocate the memory of a GPU.
      tuned_jax: whether to add peers in JAX with tuned malloc as well.

    >>> [each.name for each in peer_implementations(["torch", "flax"], "cpu")]
    ['torch', 'torch, tuned malloc', 'flax']
    """
    found = [implementation for name in names for implementation in PEERS[name]]
    if device != "cpu":
        return [i for i in found if not i.name.endswith(TUNED)]
    return [i for i in found if tuned_jax or i is not FLAX_TUNED]


def find_implementation(name: str) -> Implementation:
    """The implementation with a name: a peer's, the ceiling, or else this library's.

    Args:
      name: `Implementation.name`.
    """
    return OTHERS[name] if name in OTHERS else own_implementation(name)
