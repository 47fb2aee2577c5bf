"""The sequences of experiments 4 and 5 of 1997: pairs of a number and a marker, two of them marked.

One of the first ten pairs is marked, then one of the first T/2 - 1 pairs that are not: their
markers are 1. The first and the last pair have the marker -1, all others 0. There are T to T + T/10
pairs. If a draw marks the first pair, its number is set to one that does not change the answer,
and its marker remains -1.
"""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int
from pydantic import Field
from pydantic.dataclasses import dataclass

from experiments.config.fields import STRICT
from experiments.tasks.hs1997.last_step import (
    at_end,
    draw_lengths,
    error_metrics,
    longest,
)
from experiments.tasks.lengths import valid_steps
from experiments.tasks.task import Batch
from lstm_jax.types import PRNGKey

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from experiments.model import Model, ModelParams

FIRST_PAIRS = 10
"""Pairs of which one is marked first."""
SHORTEST = 2 * FIRST_PAIRS
"""The smallest T for which the first mark is in the first half."""
TOLERANCE = 0.04
"""Largest absolute error of a right answer."""


class MarkedPairs(NamedTuple):
    """Sequences of pairs.

    Attributes:
      inputs: values and markers ``[T + T/10, B, 2]``, zeros after the end.
      marked: the values of the first and of the second marked pair ``[2, B]``.
      lengths: valid steps ``[B]``.
    """

    inputs: Float[Array, "T B 2"]
    marked: Float[Array, "2 B"]
    lengths: Int[Array, " B"]


def draw_pairs(
    key: PRNGKey, length: int, batch_size: int, low: float, neutral: float
) -> MarkedPairs:
    """Draw sequences of pairs.

    Args:
      key: the key to draw from.
      length: the minimal length T, at least `SHORTEST`.
      batch_size: number of sequences.
      low: values are drawn from U[low, 1].
      neutral: the value of the first pair if it is marked.
    """
    k_values, k_first, k_second, k_length = jax.random.split(key, 4)
    steps, rows = longest(length), jnp.arange(batch_size)
    lengths = draw_lengths(k_length, length, batch_size)
    first = jax.random.randint(k_first, (batch_size,), 0, FIRST_PAIRS)
    # The second is one of the first T/2 pairs, without the one that is marked already.
    second = jax.random.randint(k_second, (batch_size,), 0, length // 2 - 1)
    second += (second >= first).astype(second.dtype)
    t = jnp.arange(steps)[:, None]
    marks = (t == first[None]) | (t == second[None])
    values = jax.random.uniform(k_values, (steps, batch_size), minval=low)
    values = jnp.where(marks & (t == 0), neutral, values)
    markers = jnp.where((t == 0) | (t == lengths[None] - 1), -1.0, marks.astype(values.dtype))
    inputs = jnp.stack([values, markers], axis=-1)
    return MarkedPairs(
        inputs=jnp.where(valid_steps(lengths, steps)[..., None], inputs, 0.0),
        marked=jnp.stack([values[first, rows], values[second, rows]]),
        lengths=lengths,
    )


def first_pair_marked(length: int) -> float:
    """The probability that the first pair of a sequence is marked.

    >>> round(first_pair_marked(100), 4)
    0.1184
    """
    return 1 / FIRST_PAIRS + (1 - 1 / FIRST_PAIRS) / (length // 2 - 1)


@dataclass(frozen=True, config=STRICT)
class MarkedPairsTask:
    """What adding and multiplication have in common: an answer to two marked numbers."""

    metric: ClassVar[str] = "mse"
    metric_scale: ClassVar[Literal["linear", "log"]] = "log"
    input_size: ClassVar[int] = 2
    output_size: ClassVar[int] = 1

    name: str
    length: Annotated[int, Field(ge=SHORTEST, le=9 * 10**6)] = 100
    """fewest pairs T of a sequence; the longest has T + T/10"""

    def load(self) -> tuple[()]:
        """Load nothing: sequences are drawn from the key."""
        return ()

    def loss(self, outputs: Float[Array, "T B 1"], batch: Batch) -> Float[Array, ""]:
        """Mean squared error of the last valid step's output."""
        return jnp.mean(jnp.square(at_end(outputs, batch.lengths)[:, 0] - batch.targets[0]))

    def metrics(self, outputs: Float[Array, "T B 1"], batch: Batch) -> dict[str, Float[Array, ""]]:
        """Mean squared and mean absolute error, and the share of wrong sequences."""
        answers = at_end(outputs, batch.lengths)
        errors = error_metrics(answers, batch.targets[0][:, None], TOLERANCE)
        return {"mse": self.loss(outputs, batch), **errors}

    def units(self, outputs: Float[Array, "... 1"]) -> Float[Array, "... 1"]:
        """The output unit, which is linear."""
        return outputs

    def informative(self, batch: Batch) -> Bool[Array, "T B"]:
        """The steps whose numbers are marked."""
        return batch.inputs[..., 1] == 1

    def figures(
        self, model: "Model", params: "ModelParams", data: tuple[()], key: PRNGKey, sequences: int
    ) -> "dict[str, Figure | str]":
        """The cell state over a sequence."""
        from experiments.tasks.hs1997.figures import draw_memory

        del data, sequences
        return draw_memory(self, model, params, key)
