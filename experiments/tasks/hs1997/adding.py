"""Experiment 4 of 1997: the adding problem as it was first posed.

Values are from [-1, 1], and sequences are those of `experiments.tasks.hs1997.marked_pairs`. The
target at the last step is ``0.5 + (X_1 + X_2) / 4`` for the marked values X. The variance of a
value is 1/3, and in a share P of the sequences one of the two is 0, since it is the first of the
sequence; so always answering 0.5 has a mean squared error of ``(2 - P) / 48``. The paper has a
logistic output; here it is linear.

Reference: Hochreiter & Schmidhuber (1997), section 5.4.
"""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float
from pydantic import Field
from pydantic.dataclasses import dataclass

from experiments.config.fields import STRICT
from experiments.tasks.goal import Goal
from experiments.tasks.hs1997.marked_pairs import (
    SHORTEST,
    answer_metrics,
    draw_pairs,
    first_pair_marked,
    squared_error,
)
from experiments.tasks.task import Batch, Split
from lstm_jax.types import PRNGKey

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from experiments.model import Model, ModelParams


@dataclass(frozen=True, config=STRICT)
class Adding1997:
    """Experiment 4: adding."""

    metric: ClassVar[str] = "mse"
    metric_scale: ClassVar[Literal["linear", "log"]] = "log"
    solved: ClassVar[Goal] = Goal("wrong", "<", 1 / 2000, also=Goal("mean_error", "<", 0.01))
    mastered: ClassVar[Goal | None] = None
    input_size: ClassVar[int] = 2
    output_size: ClassVar[int] = 1

    name: Literal["adding_1997"] = "adding_1997"
    length: Annotated[int, Field(ge=SHORTEST, le=9 * 10**6)] = 100
    """fewest pairs T of a sequence; the longest has T + T/10"""

    def load(self) -> tuple[()]:
        """Load nothing: sequences are drawn from the key."""
        return ()

    def sample(self, data: tuple[()], split: Split, key: PRNGKey, batch_size: int) -> Batch:
        """Inputs ``[T + T/10, B, 2]`` of value and marker, and targets ``[1, B]``."""
        del data, split
        pairs = draw_pairs(key, self.length, batch_size, low=-1.0, neutral=0.0)
        sums = jnp.sum(pairs.marked, axis=0, keepdims=True)
        return Batch(inputs=pairs.inputs, targets=0.5 + sums / 4, lengths=pairs.lengths)

    def loss(self, outputs: Float[Array, "T B 1"], batch: Batch) -> Float[Array, ""]:
        """Mean squared error of the last step's output."""
        return squared_error(outputs, batch)

    def metrics(self, outputs: Float[Array, "T B 1"], batch: Batch) -> dict[str, Float[Array, ""]]:
        """Mean squared and mean absolute error, and the share of wrong sequences."""
        return answer_metrics(outputs, batch)

    def units(self, outputs: Float[Array, "... 1"]) -> Float[Array, "... 1"]:
        """The output unit, which is linear."""
        return outputs

    def informative(self, batch: Batch) -> Bool[Array, "T B"]:
        """The steps whose numbers are marked."""
        return batch.inputs[..., 1] == 1

    def baselines(self, data: tuple[()], split: Split) -> dict[str, float]:
        """The mean squared error of a constant answer."""
        del data, split
        return {"always answer 0.5": (2 - first_pair_marked(self.length)) / 48}

    def figures(
        self, model: "Model", params: "ModelParams", data: tuple[()], key: PRNGKey, sequences: int
    ) -> "dict[str, Figure | str]":
        """The cell state over a sequence."""
        from experiments.tasks.hs1997.figures import draw_memory

        del data, sequences
        return draw_memory(self, model, params, key)
