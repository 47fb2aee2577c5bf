"""Random keys: one stream of keys per purpose.

The purpose is folded into the root key first, so that training data and held-out data never use
the same key, for any seed and any number of updates.
"""

import jax
from jaxtyping import Array, Int

from experiments.tasks import Split
from lstm_jax.types import PRNGKey

Seed = int | Int[Array, ""]

PURPOSES = {"init": 0, "train": 1, "validation": 2, "test": 3, "draws": 4}
HELD_OUT_SEED = 0


def init_key(seed: Seed) -> PRNGKey:
    """The key of a model's initial parameters."""
    return jax.random.fold_in(jax.random.key(seed), PURPOSES["init"])


def batch_key(seed: Seed, batch: Seed) -> PRNGKey:
    """The key of the training sequences of one batch, by its number."""
    return jax.random.fold_in(data_key("train", seed), batch)


def draws_key(seed: Seed, batch: Seed) -> PRNGKey:
    """The key of what a model draws in one batch, such as dropout."""
    root = jax.random.fold_in(jax.random.key(seed), PURPOSES["draws"])
    return jax.random.fold_in(root, batch)


def data_key(split: Split, seed: Seed) -> PRNGKey:
    """The key of the sequences of a split; held-out sequences are the same for every seed."""
    root = jax.random.key(seed if split == "train" else HELD_OUT_SEED)
    return jax.random.fold_in(root, PURPOSES[split])
