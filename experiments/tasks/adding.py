"""The adding task: remember two marked numbers in a long sequence, and add them.

Each input is a value drawn from U[0, 1] and a marker. The marker is 1 at one position of the first
half and at one position of the second half, and 0 elsewhere. The target, at the last step, is the
sum of the two marked values. Always answering 1 gives a mean squared error of 1/6, the variance of
the sum; a solution that has one of the two values gives 1/12.

A network that is trained on sequences of one length may count their steps, and answer wrongly on
any other length. ``min_length`` trains on lengths from there to ``length``.

``markers: anywhere`` marks any two steps, all pairs equally likely, as in the code of Bai, Kolter &
Koltun (2018). Targets and baselines are the same.

Reference: Hochreiter & Schmidhuber (1997), experiment 4, in the form of Le, Jaitly & Hinton (2015)
and Arjovsky, Shah & Bengio (2016).
"""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from pydantic import Field
from pydantic.dataclasses import dataclass

from experiments.config.fields import STRICT
from experiments.tasks.goal import Goal
from experiments.tasks.lengths import HeldOut, draw_lengths, last_steps
from experiments.tasks.positions import distinct_steps
from experiments.tasks.task import Batch, Split
from lstm_jax.types import PRNGKey

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from experiments.model import Model, ModelParams

TOLERANCE = 0.04
"""Largest absolute error of a correct answer (Hochreiter & Schmidhuber 1997)."""


@dataclass(frozen=True, config=STRICT)
class Adding:
    """The adding task."""

    metric: ClassVar[str] = "mse"
    metric_scale: ClassVar[Literal["linear", "log"]] = "log"
    solved: ClassVar[Goal] = Goal("mse", "<", 1e-3)
    mastered: ClassVar[Goal | None] = Goal("within_0.04", ">=", 0.99)
    input_size: ClassVar[int] = 2
    output_size: ClassVar[int] = 1

    name: Literal["adding"] = "adding"
    length: Annotated[int, Field(ge=2, le=10**7)] = 200
    """time steps T of a sequence"""
    min_length: Annotated[int, Field(ge=2, le=10**7)] | None = None
    """shortest training sequence, of lengths drawn uniformly up to length; none for one length"""
    held_out: HeldOut = "longest"
    """held-out sequences: all with length, or with lengths drawn as those of training"""
    markers: Literal["halves", "anywhere"] = "halves"
    """where the two markers are: one in each half, or at any two steps"""

    def load(self) -> tuple[()]:
        """Load nothing: sequences are drawn from the key."""
        return ()

    def sample(self, data: tuple[()], split: Split, key: PRNGKey, batch_size: int) -> Batch:
        """Inputs ``[T, B, 2]`` of value and marker, and targets ``[1, B]``.

        With ``min_length``, training sequences have lengths ``[B]``, and zeros after them;
        held-out sequences too, with ``held_out: drawn``.

        Raises:
          ValueError: if ``min_length`` is above ``length``, or missing with ``held_out: drawn``.
        """
        del data
        lengths = draw_lengths(self, "min_length", "length", split, key, batch_size)
        return self.sequences(key, batch_size, lengths)

    def sequences(
        self, key: PRNGKey, batch_size: int, lengths: Int[Array, " B"] | None = None
    ) -> Batch:
        """Draw sequences of the task's length, or of lengths of their own, with zeros after them.

        Args:
          key: the key to draw from.
          batch_size: number of sequences.
          lengths: the length of every sequence, at most that of the task; None for that.
        """
        k_values, k_first, k_second = jax.random.split(key, 3)
        t, steps = jnp.arange(self.length)[:, None], jnp.full(batch_size, self.length)
        values = jax.random.uniform(k_values, (self.length, batch_size))
        if lengths is not None:
            steps, values = lengths, jnp.where(t < lengths[None], values, 0)
        if self.markers == "anywhere":
            first, second = distinct_steps(k_first, 2, steps)
        else:
            half = steps // 2
            first = jax.random.randint(k_first, (batch_size,), 0, half)
            second = jax.random.randint(k_second, (batch_size,), half, steps)
        markers = ((t == first[None]) | (t == second[None])).astype(values.dtype)
        return Batch(
            inputs=jnp.stack([values, markers], axis=-1),
            targets=jnp.sum(values * markers, axis=0, keepdims=True),
            lengths=lengths,
        )

    def loss(self, outputs: Float[Array, "T B 1"], batch: Batch) -> Float[Array, ""]:
        """Mean squared error of the last valid step's output."""
        return jnp.mean(jnp.square(self.answers(outputs, batch.lengths) - batch.targets))

    def metrics(self, outputs: Float[Array, "T B 1"], batch: Batch) -> dict[str, Float[Array, ""]]:
        """Mean squared error, and the share of answers within 0.04 of the target."""
        error = self.answers(outputs, batch.lengths) - batch.targets
        return {
            "mse": jnp.mean(jnp.square(error)),
            "within_0.04": jnp.mean((jnp.abs(error) < TOLERANCE).astype(error.dtype)),
        }

    def baselines(self, data: tuple[()], split: Split) -> dict[str, float]:
        """Mean squared error without memory, and with memory of one of the two values."""
        del data, split
        return {"always answer 1": 1 / 6, "one operand known": 1 / 12}

    def answers(
        self, outputs: Float[Array, "T B 1"], lengths: Int[Array, " B"] | None = None
    ) -> Float[Array, "1 B"]:
        """The network's answers: the outputs of the last valid step."""
        return last_steps(outputs, lengths, 1)[..., 0]

    def figures(
        self,
        model: "Model",
        params: "ModelParams",
        data: tuple[()],
        key: PRNGKey,
        sequences: int,
    ) -> "dict[str, Figure | str]":
        """Predictions, errors at other lengths and, for an LSTM, its cell state over a sequence."""
        from experiments.tasks.adding_figures import draw_adding

        del data
        return {**draw_adding(self, model, params, key, sequences)}
