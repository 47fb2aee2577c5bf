"""The embedded Reber grammar: predict the next symbol of strings, up to the second-last.

The network reads a string of the grammar one symbol a step and predicts the next one. The
second-last symbol is the same as the second, T or P, and all between them, which may be of any
length, is independent of it. A string is right if at every step all symbols that the grammar allows
next have higher outputs than all that it does not.

Three symbols tell all that is possible next but the second-last symbol, of which T and P have equal
probability without memory of the second one: half of the strings are right then.

As published, 256 training strings are drawn once, and 256 test strings that are not among them, and
a trial succeeds if all strings are right: ``strings: 256`` and *mastered*. A sigmoid of each output
with the squared error is what was trained; a softmax with the cross-entropy is today's form. Both
keep the order of the outputs, so that the criterion is the same.

Reference: Hochreiter & Schmidhuber (1997), experiment 1; after Smith & Zipser (1989), Cleeremans,
Servan-Schreiber & McClelland (1989) and Fahlman (1991).
"""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from pydantic import Field
from pydantic.dataclasses import dataclass

from experiments.config.fields import STRICT
from experiments.tasks.goal import ALL, Goal
from experiments.tasks.lengths import last_steps, valid_steps
from experiments.tasks.reber_grammar import (
    LOSSES,
    SHORTEST,
    SYMBOLS,
    Activation,
    Walk,
    activations,
    draw_strings,
    losses,
    possible_highest,
    what_is_next,
)
from experiments.tasks.task import Batch, Split
from lstm_jax.types import PRNGKey

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from experiments.model import Model, ModelParams

DATA_SEED = 0
"""Seed of the fixed sets of strings, the same for every seed of a training."""
CANDIDATES = 32
"""Strings drawn for the held-out sets, as multiples of the training set."""


class Strings(NamedTuple):
    """A set of strings.

    Attributes:
      walk: their symbols ``[T + 1, N]``, with E after the ends.
      counts: numbers of symbols ``[N]``.
    """

    walk: Walk
    counts: Int[Array, " N"]


@dataclass(frozen=True, config=STRICT)
class Reber:
    """The embedded Reber grammar task."""

    metric: ClassVar[str] = "right_strings"
    metric_scale: ClassVar[Literal["linear", "log"]] = "linear"
    solved: ClassVar[Goal] = Goal("right_strings", ">=", 0.99)
    mastered: ClassVar[Goal | None] = Goal("right_strings", ">=", ALL)
    input_size: ClassVar[int] = len(SYMBOLS)
    output_size: ClassVar[int] = len(SYMBOLS)

    name: Literal["reber"] = "reber"
    length: Annotated[int, Field(ge=SHORTEST - 1, le=1000)] = 60
    """time steps T of the longest strings, of T + 1 symbols; one in 20 million is longer than 61"""
    strings: Annotated[int, Field(ge=1, le=5000)] | None = None
    """size of a fixed training set and of each held-out set; none to draw every string anew"""
    activation: Activation = "softmax"
    """softmax with cross-entropy, or sigmoid with squared error"""

    def load(self) -> dict[str, Strings]:
        """Draw the fixed sets of strings; an empty dict if every string is drawn anew.

        A string of one set is in no other one, though it may be in its own several times.

        Raises:
          ValueError: if there are too few strings of this length.
        """
        if self.strings is None:
            return {}
        drawn = draw_strings(
            jax.random.key(DATA_SEED), self.length + 1, (1 + CANDIDATES) * self.strings
        )
        walk, counts = jax.tree.map(np.asarray, drawn)
        columns = list(map(bytes, walk.symbols.T.astype(np.uint8)))
        rows, known = {"train": [*range(self.strings)]}, set(columns[: self.strings])
        for split in ("validation", "test"):
            new = [k for k, column in enumerate(columns) if column not in known][: self.strings]
            if len(new) < self.strings:
                raise ValueError(
                    f"task.strings: of {CANDIDATES * self.strings} further strings only {len(new)}"
                    f" are left for the {split} set, which needs {self.strings} that are in no"
                    f" other set: choose fewer strings, or a length above {self.length}"
                )
            rows[split] = new
            known.update(columns[k] for k in new)
        every = Strings(walk, counts)
        return {
            split: jax.tree.map(lambda leaf, of=of: jnp.asarray(leaf[..., of]), every)
            for split, of in rows.items()
        }

    def sample(
        self, data: dict[str, Strings], split: Split, key: PRNGKey, batch_size: int
    ) -> Batch:
        """Inputs ``[T, B]`` of seven classes, targets `Next`, and lengths ``[B]``.

        Of a fixed set, training strings are drawn with replacement; held-out ones are the first,
        whatever the key.

        Raises:
          ValueError: if a fixed held-out set is smaller than the batch.
        """
        if self.strings is None:
            strings = Strings(*draw_strings(key, self.length + 1, batch_size))
        elif split == "train":
            of = jax.random.randint(key, (batch_size,), 0, self.strings)
            strings = jax.tree.map(lambda leaf: leaf[..., of], data[split])
        elif batch_size <= self.strings:
            strings = jax.tree.map(lambda leaf: leaf[..., :batch_size], data[split])
        else:
            raise ValueError(
                f"reber: the {split} set has as many strings as the training set, {self.strings};"
                f" got a batch size of {batch_size}"
            )
        inputs, following = what_is_next(strings.walk)
        return Batch(inputs=inputs, targets=following, lengths=strings.counts - 1)

    def loss(self, outputs: Float[Array, "T B 7"], batch: Batch) -> Float[Array, ""]:
        """Mean loss of the valid steps: cross-entropy in nats, or squared error of all outputs."""
        following = batch.targets
        next_symbol = None
        if self.activation == "sigmoid":
            next_symbol = jax.nn.one_hot(following.symbols, len(SYMBOLS), dtype=bool)
        return jnp.mean(losses(outputs, following, next_symbol), where=self.valid(batch))

    def metrics(self, outputs: Float[Array, "T B 7"], batch: Batch) -> dict[str, Float[Array, ""]]:
        """The loss, and the shares of right strings, right steps and right second-last symbols."""
        right, valid = self.right(outputs, batch), self.valid(batch)
        second_last = last_steps(right, batch.lengths, 2)[0]
        return {
            "right_strings": jnp.mean(jnp.all(right | ~valid, axis=0).astype(outputs.dtype)),
            "right_steps": jnp.mean(right.astype(outputs.dtype), where=valid),
            "right_second_last": jnp.mean(second_last.astype(outputs.dtype)),
            LOSSES[self.activation]: self.loss(outputs, batch),
        }

    def baselines(self, data: dict[str, Strings], split: Split) -> dict[str, float]:
        """The share of right strings without memory of the second symbol."""
        del data, split
        return {"second symbol forgotten": 1 / 2}

    def right(self, outputs: Float[Array, "T B 7"], batch: Batch) -> Bool[Array, "T B"]:
        """Whether a step is right; of padding it has no meaning."""
        return possible_highest(outputs, batch.targets.possible)

    def probabilities(self, outputs: Float[Array, "... 7"]) -> Float[Array, "... 7"]:
        """The activations of the outputs, from 0 to 1."""
        return activations(outputs, self.activation)

    def valid(self, batch: Batch) -> Bool[Array, "T B"]:
        """The steps of the strings, without padding."""
        return valid_steps(jnp.asarray(batch.lengths), self.length)

    def figures(
        self,
        model: "Model",
        params: "ModelParams",
        data: dict[str, Strings],
        key: PRNGKey,
        sequences: int,
    ) -> "dict[str, Figure | str]":
        """A long string with each of the second symbols, and the units that remember it."""
        from experiments.tasks.reber_figures import memory

        del data, sequences
        return {"memory.png": memory(self, model, params, key)}
