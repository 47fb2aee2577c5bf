"""The associative recall task: read pairs of a letter and a digit, and say the digit of one letter.

The input is ``K`` pairs of a letter and a digit, then two question marks, then one of the letters:
``2 K + 3`` steps, for example ``c9k8j3f1??c``. The target, at the last step, is the digit of that
letter, here 9. The letters of a sequence are different, drawn from 26; the digits are drawn from
ten and may repeat. With a ``delay`` of more question marks than two the pairs must be kept for
longer.

Guessing gives a cross-entropy of ``ln 10``. A solution that remembers which digits came, but not
the letter of each, gives the digit ``d``, which came ``n_d`` times, the probability ``n_d / K``.
The digit asked for came ``1 + n`` times, where ``n`` is binomial with ``K - 1`` trials and the
probability 1/10: a cross-entropy of ``E ln(K / (1 + n))``.

Reference: Ba, Hinton, Mnih, Leibo & Ionescu (2016), *Using fast weights to attend to the recent
past*.
"""

import math
import string
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int
from pydantic import Field
from pydantic.dataclasses import dataclass

from experiments.config.fields import STRICT
from experiments.tasks.goal import Goal
from experiments.tasks.task import Batch, Split
from lstm_jax.types import PRNGKey

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from experiments.model import Model, ModelParams

DIGITS, LETTERS = 10, 26
QUESTION = DIGITS + LETTERS
CHARACTERS = string.digits + string.ascii_lowercase + "?"
"""The character of every input class."""


@dataclass(frozen=True, config=STRICT)
class AssociativeRecall:
    """The associative recall task."""

    metric: ClassVar[str] = "cross_entropy"
    metric_scale: ClassVar[Literal["linear", "log"]] = "log"
    solved: ClassVar[Goal] = Goal("accuracy", ">=", 0.99)
    mastered: ClassVar[Goal | None] = Goal("accuracy", ">=", 0.999)
    input_size: ClassVar[int] = QUESTION + 1
    output_size: ClassVar[int] = DIGITS

    name: Literal["associative_recall"] = "associative_recall"
    delay: Annotated[int, Field(ge=1, le=10**7)] = 2
    """question marks between the pairs and the letter asked for"""
    pairs: Annotated[int, Field(ge=1, le=LETTERS)] = 4
    """number of pairs K of a letter and a digit"""

    @property
    def length(self) -> int:
        """Time steps of a sequence."""
        return 2 * self.pairs + self.delay + 1

    def load(self) -> tuple[()]:
        """Load nothing: sequences are drawn from the key."""
        return ()

    def sample(self, data: tuple[()], split: Split, key: PRNGKey, batch_size: int) -> Batch:
        """Inputs ``[2 K + 3, B]`` of 37 classes, digits first, and targets ``[1, B]`` of ten."""
        del data, split
        k_letters, k_digits, k_asked = jax.random.split(key, 3)
        # The order of random numbers is a permutation of the letters.
        order = jnp.argsort(jax.random.uniform(k_letters, (LETTERS, batch_size)), axis=0)
        letters = DIGITS + order[: self.pairs]
        digits = jax.random.randint(k_digits, (self.pairs, batch_size), 0, DIGITS)
        asked = jax.random.randint(k_asked, (1, batch_size), 0, self.pairs)
        return Batch(
            inputs=self.sequences(letters, digits, jnp.take_along_axis(letters, asked, axis=0)),
            targets=jnp.take_along_axis(digits, asked, axis=0),
        )

    def sequences(
        self, letters: Int[Array, "K B"], digits: Int[Array, "K B"], asked: Int[Array, "1 B"]
    ) -> Int[Array, "T B"]:
        """Input classes of sequences with these letters, digits, and letters asked for."""
        batch_size = letters.shape[1]
        pairs = jnp.stack([letters, digits], axis=1).reshape(2 * self.pairs, batch_size)
        return jnp.concatenate([pairs, jnp.full((self.delay, batch_size), QUESTION), asked])

    def loss(self, outputs: Float[Array, "T B 10"], batch: Batch) -> Float[Array, ""]:
        """Mean cross-entropy of the last step, in nats."""
        losses = optax.softmax_cross_entropy_with_integer_labels(outputs[-1:], batch.targets)
        return jnp.mean(losses)

    def metrics(self, outputs: Float[Array, "T B 10"], batch: Batch) -> dict[str, Float[Array, ""]]:
        """Cross-entropy, and the share of right digits."""
        right = self.answers(outputs) == batch.targets
        return {
            "cross_entropy": self.loss(outputs, batch),
            "accuracy": jnp.mean(right.astype(outputs.dtype)),
        }

    def baselines(self, data: tuple[()], split: Split) -> dict[str, float]:
        """Cross-entropy without memory, and with memory of the digits without their letters."""
        del data, split
        others, p = self.pairs - 1, 1 / DIGITS
        digits_alone = sum(
            math.comb(others, n) * p**n * (1 - p) ** (others - n) * math.log(self.pairs / (1 + n))
            for n in range(self.pairs)
        )
        return {"guess": math.log(DIGITS), "digits without letters": digits_alone}

    def answers(self, outputs: Float[Array, "T B 10"]) -> Int[Array, "1 B"]:
        """The most likely digit at the last step."""
        return jnp.argmax(outputs[-1:], axis=-1)

    def figures(
        self,
        model: "Model",
        params: "ModelParams",
        data: tuple[()],
        key: PRNGKey,
        sequences: int,
    ) -> "dict[str, Figure | str]":
        """Answers to every letter of some sequences, and which digits the units keep."""
        from experiments.tasks.associative_recall_figures import draw_associative_recall

        del data
        return {**draw_associative_recall(self, model, params, key, sequences)}
