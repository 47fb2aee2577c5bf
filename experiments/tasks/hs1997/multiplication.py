"""Experiment 5 of 1997: the product of two marked numbers.

Values are from [0, 1], and sequences are those of `experiments.tasks.hs1997.marked_pairs`. The
target at the last step is ``X_1 X_2`` for the marked values X. In a share P of the sequences one of
the two is 1, since it is the first of the sequence. So the target has the mean
``m = (1 - P)/4 + P/2``, and always answering m has the mean squared error
``(1 - P)/9 + P/3 - m^2``, the variance. The paper has a logistic output; here it is linear.

Reference: Hochreiter & Schmidhuber (1997), section 5.5.
"""

from typing import ClassVar, Literal

import jax.numpy as jnp
from pydantic.dataclasses import dataclass

from experiments.config.fields import STRICT
from experiments.tasks.goal import Goal
from experiments.tasks.hs1997.marked_pairs import (
    MarkedPairsTask,
    draw_pairs,
    first_pair_marked,
)
from experiments.tasks.task import Batch, Split
from lstm_jax.types import PRNGKey


@dataclass(frozen=True, config=STRICT)
class Multiplication1997(MarkedPairsTask):
    """Experiment 5: multiplication."""

    # Fewer than 140, and fewer than 13, of 2,000 sequences.
    solved: ClassVar[Goal] = Goal("wrong", "<", 140 / 2000)
    mastered: ClassVar[Goal | None] = Goal("wrong", "<", 13 / 2000)

    name: Literal["multiplication_1997"] = "multiplication_1997"

    def sample(self, data: tuple[()], split: Split, key: PRNGKey, batch_size: int) -> Batch:
        """Inputs ``[T + T/10, B, 2]`` of value and marker, and targets ``[1, B]``."""
        del data, split
        pairs = draw_pairs(key, self.length, batch_size, low=0.0, neutral=1.0)
        products = jnp.prod(pairs.marked, axis=0, keepdims=True)
        return Batch(inputs=pairs.inputs, targets=products, lengths=pairs.lengths)

    def baselines(self, data: tuple[()], split: Split) -> dict[str, float]:
        """The mean squared error of a constant answer."""
        del data, split
        p = first_pair_marked(self.length)
        mean = (1 - p) / 4 + p / 2
        return {"always answer the mean": (1 - p) / 9 + p / 3 - mean**2}
