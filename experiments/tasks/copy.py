"""The copy task: read ten symbols, and output them in order after a delay.

The input is ten symbols drawn from an alphabet of eight, then blanks with a delimiter as the last
of them, then ten more blanks: ``T + 20`` steps. The target is blank at every step except the last
ten, where it is the ten symbols. The best solution without memory answers blank, then guesses among
eight symbols: a cross-entropy of ``10 ln 8 / (T + 20)`` per step. ``min_delay`` trains on delays
from there to ``delay``.

Reference: Hochreiter & Schmidhuber (1997), in the form of Arjovsky, Shah & Bengio (2016).
"""

import math
from typing import TYPE_CHECKING, ClassVar, Literal

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float
from pydantic.dataclasses import dataclass

from experiments.config.fields import STRICT, Steps
from experiments.tasks.goal import Goal
from experiments.tasks.lengths import draw_lengths, last_steps
from experiments.tasks.task import Batch, Split
from lstm_jax.types import PRNGKey

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from experiments.model import Model, ModelParams

ALPHABET = 8
SYMBOLS = 10
BLANK, DELIMITER = ALPHABET, ALPHABET + 1


@dataclass(frozen=True, config=STRICT)
class Copy:
    """The copy task."""

    metric: ClassVar[str] = "cross_entropy"
    metric_scale: ClassVar[Literal["linear", "log"]] = "log"
    solved: ClassVar[Goal] = Goal("recall_accuracy", ">=", 0.99)
    mastered: ClassVar[Goal | None] = Goal("perfect_sequences", ">=", 0.99)
    input_size: ClassVar[int] = ALPHABET + 2
    output_size: ClassVar[int] = ALPHABET + 1

    name: Literal["copy"] = "copy"
    delay: Steps = 30
    """time steps T between the symbols and their recall, the delimiter included"""
    min_delay: Steps | None = None
    """shortest training delay, of delays drawn uniformly up to delay; none for one delay"""

    @property
    def length(self) -> int:
        """Time steps of a sequence, ``T + 20``."""
        return self.delay + 2 * SYMBOLS

    def load(self) -> tuple[()]:
        """Load nothing: sequences are drawn from the key."""
        return ()

    def sample(self, data: tuple[()], split: Split, key: PRNGKey, batch_size: int) -> Batch:
        """Inputs ``[T + 20, B]`` of ten classes, and targets ``[T + 20, B]`` of nine classes.

        With ``min_delay``, training sequences have delays and so lengths ``[B]`` of their own, and
        blanks after them.

        Raises:
          ValueError: if ``min_delay`` is above ``delay``.
        """
        del data
        symbols = jax.random.randint(key, (SYMBOLS, batch_size), 0, ALPHABET)
        blanks = jnp.full((self.length, batch_size), BLANK)
        lengths, delay = None, jnp.full(batch_size, self.delay)
        if split == "train" and self.min_delay is not None:
            delay = draw_lengths(self, "min_delay", "delay", key, batch_size)
            lengths = delay + 2 * SYMBOLS
        rows = jnp.arange(batch_size)
        recall = SYMBOLS + delay[None] + jnp.arange(SYMBOLS)[:, None]
        return Batch(
            inputs=blanks.at[:SYMBOLS].set(symbols).at[SYMBOLS + delay - 1, rows].set(DELIMITER),
            targets=blanks.at[recall, rows[None]].set(symbols),
            lengths=lengths,
        )

    def loss(self, outputs: Float[Array, "T+20 B 9"], batch: Batch) -> Float[Array, ""]:
        """Mean cross-entropy over all valid positions, in nats."""
        losses = optax.softmax_cross_entropy_with_integer_labels(outputs, batch.targets)
        if batch.lengths is None:
            return jnp.mean(losses)
        valid = jnp.arange(len(losses))[:, None] < batch.lengths[None]
        return jnp.mean(losses, where=valid)

    def metrics(
        self, outputs: Float[Array, "T+20 B 9"], batch: Batch
    ) -> dict[str, Float[Array, ""]]:
        """Cross-entropy, and the shares of correct symbols and of sequences without an error."""
        recalled, symbols = (
            last_steps(classes, batch.lengths, SYMBOLS)
            for classes in (self.answers(outputs), batch.targets)
        )
        right = recalled == symbols
        return {
            "cross_entropy": self.loss(outputs, batch),
            "recall_accuracy": jnp.mean(right.astype(outputs.dtype)),
            "perfect_sequences": jnp.mean(jnp.all(right, axis=0).astype(outputs.dtype)),
        }

    def baselines(self, data: tuple[()], split: Split) -> dict[str, float]:
        """The cross-entropy of the best solution without memory."""
        del data, split
        return {"memoryless": SYMBOLS * math.log(ALPHABET) / self.length}

    def answers(self, outputs: Float[Array, "T+20 B 9"]) -> Array:
        """The most likely class at every step ``[T + 20, B]``."""
        return jnp.argmax(outputs, axis=-1)

    def figures(
        self,
        model: "Model",
        params: "ModelParams",
        data: tuple[()],
        key: PRNGKey,
        sequences: int,
    ) -> "dict[str, Figure | str]":
        """The recalled symbols of eight sequences."""
        from experiments.tasks.copy_figures import recall

        del data, sequences
        return {"recall.png": recall(self, model, params, key)}
