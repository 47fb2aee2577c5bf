"""Where randomness comes from: one stream of keys for each purpose.

A purpose is folded into the root before anything else, so a key for training data and a key for
held-out data never meet, whatever the seed and however long the training.
"""

import jax

from experiments.tasks import Split
from lstm_jax.types import PRNGKey

PURPOSES = {"init": 0, "train": 1, "validation": 2, "test": 3}
HELD_OUT_SEED = 0


def init_key(seed: int) -> PRNGKey:
    """The key that draws a model's parameters."""
    return jax.random.fold_in(jax.random.key(seed), PURPOSES["init"])


def data_key(split: Split, seed: int) -> PRNGKey:
    """The key that sequences are drawn from; held-out sequences are the same for every seed."""
    root = jax.random.key(seed if split == "train" else HELD_OUT_SEED)
    return jax.random.fold_in(root, PURPOSES[split])
