"""Experiment 4 of 1997: the adding problem as it was first posed.

Values are from [-1, 1], and sequences are those of `experiments.tasks.hs1997.marked_pairs`. The
target at the last step is ``0.5 + (X_1 + X_2) / 4`` for the marked values X. The variance of a
value is 1/3, and in a share P of the sequences one of the two is 0, since it is the first of the
sequence; so always answering 0.5 has a mean squared error of ``(2 - P) / 48``. The paper has a
logistic output; here it is linear.

Reference: Hochreiter & Schmidhuber (1997), section 5.4.
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
class Adding1997(MarkedPairsTask):
    """Experiment 4: adding."""

    solved: ClassVar[Goal] = Goal("wrong", "<", 1 / 2000, also=Goal("mean_error", "<", 0.01))
    mastered: ClassVar[Goal | None] = None

    name: Literal["adding_1997"] = "adding_1997"

    def sample(self, data: tuple[()], split: Split, key: PRNGKey, batch_size: int) -> Batch:
        """Inputs ``[T + T/10, B, 2]`` of value and marker, and targets ``[1, B]``."""
        del data, split
        pairs = draw_pairs(key, self.length, batch_size, low=-1.0, neutral=0.0)
        sums = jnp.sum(pairs.marked, axis=0, keepdims=True)
        return Batch(inputs=pairs.inputs, targets=0.5 + sums / 4, lengths=pairs.lengths)

    def baselines(self, data: tuple[()], split: Split) -> dict[str, float]:
        """The mean squared error of a constant answer."""
        del data, split
        return {"always answer 0.5": (2 - first_pair_marked(self.length)) / 48}
