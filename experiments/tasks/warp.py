"""The warp task: say the character before the current one, in a sequence that is warped in time.

A sequence of characters, each different from the one before it, is warped: each character is
repeated, ``max_warp`` times with uniform warping, or a number of times drawn from 1 to ``max_warp``
with variable warping. The target at every step is the last character that differs from the current
one, and blank during the first character. The sequence is cut off after ``length`` steps. Without
warping it is a task of one step of memory; with it, a character must be kept while the next one is
read, for up to ``2 max_warp`` steps.

The best solution without memory knows the step and the current character. With ``A`` characters it
guesses among the other ``A - 1``, after the chance that the first character goes on, which is

    p_t = 1 for t < max_warp (uniform),   p_t = max(0, (max_warp - t) / max_warp) (variable)

for steps ``t`` from 0: a cross-entropy of the mean over ``t`` of ``H(p_t) + (1 - p_t) ln(A - 1)``,
where ``H`` is the entropy of a binary choice.

Reference: Tallec & Ollivier (2018), *Can recurrent neural networks warp time?*, who have ten
symbols, blank among them, in sequences of 500 steps.
"""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int
from pydantic import Field
from pydantic.dataclasses import dataclass

from experiments.config.fields import STRICT, Steps
from experiments.tasks.goal import Goal
from experiments.tasks.task import Batch, Split
from lstm_jax.types import PRNGKey

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from experiments.model import Model, ModelParams

ALPHABET = 9
BLANK = ALPHABET


@dataclass(frozen=True, config=STRICT)
class Warp:
    """The warp task."""

    metric: ClassVar[str] = "cross_entropy"
    metric_scale: ClassVar[Literal["linear", "log"]] = "log"
    solved: ClassVar[Goal] = Goal("accuracy", ">=", 0.99)
    mastered: ClassVar[Goal | None] = Goal("perfect_sequences", ">=", 0.99)
    input_size: ClassVar[int] = ALPHABET
    output_size: ClassVar[int] = ALPHABET + 1

    name: Literal["warp"] = "warp"
    length: Steps = 500
    """time steps T of a sequence"""
    max_warp: Annotated[int, Field(ge=1, le=10**6)] = 20
    """largest number of steps of a character"""
    warping: Literal["uniform", "variable"] = "variable"
    """whether each character takes max_warp steps, or a number of steps drawn from 1 to max_warp"""

    def load(self) -> tuple[()]:
        """Load nothing: sequences are drawn from the key."""
        return ()

    def sample(self, data: tuple[()], split: Split, key: PRNGKey, batch_size: int) -> Batch:
        """Inputs ``[T, B]`` of nine classes, and targets ``[T, B]`` of ten, the last one blank."""
        del data, split
        k_characters, k_steps = jax.random.split(key)
        shape, rows = (self.length, batch_size), jnp.arange(batch_size)
        characters = self.characters(k_characters, self.length, batch_size)
        steps = jnp.full(shape, self.max_warp)
        if self.warping == "variable":
            steps = jax.random.randint(k_steps, shape, 1, self.max_warp + 1)
        # A sum that stops at the length, where the sum of many long characters would overflow.
        ends = jax.lax.associative_scan(lambda a, b: jnp.minimum(a + b, self.length), steps)
        # A one where a character begins, so that the sum counts characters.
        begins = jnp.zeros(shape, int).at[ends, rows].set(1, mode="drop")
        return self.warped(characters, jnp.cumsum(begins, axis=0))

    def characters(self, key: PRNGKey, count: int, batch_size: int) -> Int[Array, "K B"]:
        """Draw ``count`` characters, each different from the one before it."""
        k_first, k_changes = jax.random.split(key)
        first = jax.random.randint(k_first, (1, batch_size), 0, ALPHABET)
        changes = jax.random.randint(k_changes, (count - 1, batch_size), 1, ALPHABET)
        return jnp.cumsum(jnp.concatenate([first, changes]), axis=0) % ALPHABET

    def warped(self, characters: Int[Array, "K B"], number: Int[Array, "T B"]) -> Batch:
        """Sequences with these characters, of which each step has the one of that number."""
        blank = jnp.full((1, characters.shape[1]), BLANK)
        before = jnp.concatenate([blank, characters[:-1]])
        return Batch(
            inputs=jnp.take_along_axis(characters, number, axis=0),
            targets=jnp.take_along_axis(before, number, axis=0),
        )

    def loss(self, outputs: Float[Array, "T B 10"], batch: Batch) -> Float[Array, ""]:
        """Mean cross-entropy over all steps, in nats."""
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(outputs, batch.targets))

    def metrics(self, outputs: Float[Array, "T B 10"], batch: Batch) -> dict[str, Float[Array, ""]]:
        """Cross-entropy, and the shares of right steps and of sequences without an error."""
        right = self.answers(outputs) == batch.targets
        return {
            "cross_entropy": self.loss(outputs, batch),
            "accuracy": jnp.mean(right.astype(outputs.dtype)),
            "perfect_sequences": jnp.mean(jnp.all(right, axis=0).astype(outputs.dtype)),
        }

    def baselines(self, data: tuple[()], split: Split) -> dict[str, float]:
        """The cross-entropy of the best solution without memory."""
        del data, split
        t, most = np.arange(min(self.length, self.max_warp)), self.max_warp
        p = np.ones(len(t)) if self.warping == "uniform" else (most - t) / most
        binary = -(p * np.log(p) + (1 - p) * np.log(np.where(p < 1, 1 - p, 1)))
        guesses = (self.length - len(t)) + np.sum(1 - p)
        total = np.sum(binary) + guesses * np.log(ALPHABET - 1)
        return {"memoryless": float(total) / self.length}

    def answers(self, outputs: Float[Array, "T B 10"]) -> Int[Array, "T B"]:
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
        """The answers to eight sequences, and which characters the units keep at every step."""
        from experiments.tasks.warp_figures import draw_warp

        del data
        return {**draw_warp(self, model, params, key, sequences)}
