"""Tasks of recall: read symbols, and output them in their order at the end of the sequence.

The symbols are drawn from an alphabet. A delimiter says when to recall them. The target is blank
until then, and the symbols at the last steps. The best solution without memory of a symbol answers
blank, then guesses: a cross-entropy of ``S ln A / (T + 2 S)`` per step, for ``S`` symbols of an
alphabet of ``A`` and a delay ``T``. With drawn delays, ``T`` in it is their mean.

Papers disagree on details, which are options here: where recall begins, whether the delimiter is
repeated, and of which steps the loss is. Lengths and baselines are the same for all of them.
"""

import math
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int
from pydantic import Field
from pydantic.dataclasses import dataclass

from experiments.config.fields import STRICT, Steps
from experiments.tasks.goal import Goal
from experiments.tasks.lengths import HeldOut, draw_lengths, last_steps, valid_steps
from experiments.tasks.task import Batch, Split
from lstm_jax.types import PRNGKey

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from experiments.model import Model, ModelParams

MOST_CLASSES = 10_000


@dataclass(frozen=True, config=STRICT)
class Recall:
    """A task of recall; where its symbols are is left to `positions`."""

    metric: ClassVar[str] = "cross_entropy"
    metric_scale: ClassVar[Literal["linear", "log"]] = "log"
    solved: ClassVar[Goal] = Goal("recall_accuracy", ">=", 0.99)
    mastered: ClassVar[Goal | None] = Goal("perfect_sequences", ">=", 0.99)

    name: str
    delay: Steps = 30
    """time steps T between the symbols and their recall, a delimiter before the recall included"""
    min_delay: Steps | None = None
    """shortest training delay, of delays drawn uniformly up to delay; none for one delay"""
    held_out: HeldOut = "longest"
    """held-out sequences: all with delay, or with delays drawn as those of training"""
    recall: Literal["after", "on"] = "after"
    """whether recall begins at the step after the delimiter, or on it"""
    delimiter: Literal["once", "repeated"] = "once"
    """whether the delimiter is given once, or at every step of the recall as well"""
    loss_steps: Literal["all", "recall"] = "all"
    """the steps of the training loss; the metric cross_entropy is of all steps"""
    symbols: Annotated[int, Field(ge=1, le=1000)] = 10
    """number of symbols S to remember"""
    alphabet: Annotated[int, Field(ge=2, le=MOST_CLASSES)] = 8
    """number of different symbols A"""

    @property
    def input_size(self) -> int:
        """The symbols, blank and the delimiter."""
        return self.alphabet + 2

    @property
    def output_size(self) -> int:
        """The symbols and blank."""
        return self.alphabet + 1

    @property
    def blank(self) -> int:
        """The class of the blank."""
        return self.alphabet

    @property
    def length(self) -> int:
        """Time steps of the longest sequence, ``T + 2 S``."""
        return self.delay + 2 * self.symbols

    def positions(self, key: PRNGKey, steps: Int[Array, " B"]) -> Int[Array, "S B"]:
        """The steps of the symbols, in ascending order.

        Args:
          key: the key to draw from.
          steps: the number of steps before the delimiter, of every sequence.
        """
        raise NotImplementedError(f"{type(self).__name__} has no positions")

    def load(self) -> tuple[()]:
        """Load nothing: sequences are drawn from the key."""
        return ()

    def sample(self, data: tuple[()], split: Split, key: PRNGKey, batch_size: int) -> Batch:
        """Inputs ``[T + 2 S, B]`` of ``A + 2`` classes, and targets of ``A + 1`` classes.

        With ``min_delay``, training sequences have delays and so lengths ``[B]`` of their own, and
        blanks after them; held-out sequences too, with ``held_out: drawn``.

        Raises:
          ValueError: if ``min_delay`` is above ``delay``, or missing with ``held_out: drawn``.
        """
        del data
        count, rows = self.symbols, jnp.arange(batch_size)
        symbols = jax.random.randint(key, (count, batch_size), 0, self.alphabet)
        drawn = draw_lengths(self, "min_delay", "delay", split, key, batch_size)
        delay = jnp.full(batch_size, self.delay) if drawn is None else drawn
        first = count + delay  # the first step of recall
        cue = first - 1 if self.recall == "after" else first
        last_cue = cue if self.delimiter == "once" else first + count - 1
        read = self.positions(jax.random.fold_in(key, 1), cue)
        answer = first[None] + jnp.arange(count)[:, None]
        blanks = jnp.full((self.length, batch_size), self.blank)
        t = jnp.arange(self.length)[:, None]
        cued = (t >= cue[None]) & (t <= last_cue[None])
        return Batch(
            inputs=jnp.where(cued, self.blank + 1, blanks.at[read, rows].set(symbols)),
            targets=blanks.at[answer, rows].set(symbols),
            lengths=None if drawn is None else first + count,
        )

    def loss(self, outputs: Float[Array, "T B O"], batch: Batch) -> Float[Array, ""]:
        """Mean cross-entropy in nats, over all valid steps or those of the recall."""
        if self.loss_steps == "all":
            return self.cross_entropy(outputs, batch)
        recalled, symbols = (
            last_steps(steps, batch.lengths, self.symbols) for steps in (outputs, batch.targets)
        )
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(recalled, symbols))

    def cross_entropy(self, outputs: Float[Array, "T B O"], batch: Batch) -> Float[Array, ""]:
        """Mean cross-entropy over all valid steps, in nats."""
        losses = optax.softmax_cross_entropy_with_integer_labels(outputs, batch.targets)
        if batch.lengths is None:
            return jnp.mean(losses)
        return jnp.mean(losses, where=valid_steps(batch.lengths, len(losses)))

    def metrics(self, outputs: Float[Array, "T B O"], batch: Batch) -> dict[str, Float[Array, ""]]:
        """Cross-entropy, and the shares of correct symbols and of sequences without an error."""
        recalled, symbols = (
            last_steps(classes, batch.lengths, self.symbols)
            for classes in (self.answers(outputs), batch.targets)
        )
        right = recalled == symbols
        return {
            "cross_entropy": self.cross_entropy(outputs, batch),
            "recall_accuracy": jnp.mean(right.astype(outputs.dtype)),
            "perfect_sequences": jnp.mean(jnp.all(right, axis=0).astype(outputs.dtype)),
        }

    def baselines(self, data: tuple[()], split: Split) -> dict[str, float]:
        """The cross-entropy of the best solution that remembers no symbol."""
        del data
        shortest = self.delay
        if self.min_delay is not None and (split == "train" or self.held_out == "drawn"):
            shortest = self.min_delay
        length = (shortest + self.delay) / 2 + 2 * self.symbols
        return {"memoryless": self.symbols * math.log(self.alphabet) / length}

    def answers(self, outputs: Float[Array, "T B O"]) -> Int[Array, "T B"]:
        """The most likely class at every step."""
        return jnp.argmax(outputs, axis=-1)

    def figures(
        self,
        model: "Model",
        params: "ModelParams",
        data: tuple[()],
        key: PRNGKey,
        sequences: int,
    ) -> "dict[str, Figure | str]":
        """The recalled symbols of eight sequences, and what the units keep at every step."""
        from experiments.tasks.recall_figures import draw_recall

        del data
        return {**draw_recall(self, model, params, key, sequences)}
