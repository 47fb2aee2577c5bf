"""Experiment 5 of 1997: the product of two marked numbers.

Values are from [0, 1], and sequences are those of `experiments.tasks.hs1997.marked_pairs`. The
target at the last step is ``X_1 X_2`` for the marked values X. In a share P of the sequences one of
the two is 1, since it is the first of the sequence. So the target has the mean
``m = (1 - P)/4 + P/2``, and always answering m has the mean squared error
``(1 - P)/9 + P/3 - m^2``, the variance. The paper has a logistic output; here it is linear.

Reference: Hochreiter & Schmidhuber (1997), section 5.5.
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
class Multiplication1997:
    """Experiment 5: multiplication."""

    metric: ClassVar[str] = "mse"
    metric_scale: ClassVar[Literal["linear", "log"]] = "log"
    # Fewer than 140, and fewer than 13, of 2,000 sequences.
    solved: ClassVar[Goal] = Goal("wrong", "<", 140 / 2000)
    mastered: ClassVar[Goal | None] = Goal("wrong", "<", 13 / 2000)
    input_size: ClassVar[int] = 2
    output_size: ClassVar[int] = 1

    name: Literal["multiplication_1997"] = "multiplication_1997"
    length: Annotated[int, Field(ge=SHORTEST, le=9 * 10**6)] = 100
    """fewest pairs T of a sequence; the longest has T + T/10"""

    def load(self) -> tuple[()]:
        """Load nothing: sequences are drawn from the key."""
        return ()

    def sample(self, data: tuple[()], split: Split, key: PRNGKey, batch_size: int) -> Batch:
        """Inputs ``[T + T/10, B, 2]`` of value and marker, and targets ``[1, B]``."""
        del data, split
        pairs = draw_pairs(key, self.length, batch_size, low=0.0, neutral=1.0)
        products = jnp.prod(pairs.marked, axis=0, keepdims=True)
        return Batch(inputs=pairs.inputs, targets=products, lengths=pairs.lengths)

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
        p = first_pair_marked(self.length)
        mean = (1 - p) / 4 + p / 2
        return {"always answer the mean": (1 - p) / 9 + p / 3 - mean**2}

    def figures(
        self, model: "Model", params: "ModelParams", data: tuple[()], key: PRNGKey, sequences: int
    ) -> "dict[str, Figure | str]":
        """The cell state over a sequence."""
        from experiments.tasks.hs1997.figures import draw_memory

        del data, sequences
        return draw_memory(self, model, params, key)
