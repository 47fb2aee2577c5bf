"""Experiment 6 of 1997: the order of symbols that are far apart.

A sequence has 100 to 110 symbols: E, then symbols drawn from a, b, c, d, and B at the end. At two
positions t_1 in 10 ... 20 and t_2 in 50 ... 60 (6a), or at three, t_1 in 10 ... 20, t_2 in
33 ... 43 and t_3 in 66 ... 76 (6b), there is an X or a Y instead. The class, to be named at B, is
which of the four or eight orders it was. Without memory they are equally likely: a cross-entropy of
ln 4 or ln 8. Errors are of the output units: the probabilities of a softmax, or logistic units with
squared errors, as in the paper.

Reference: Hochreiter & Schmidhuber (1997), section 5.6.
"""

import itertools
import math
from typing import TYPE_CHECKING, ClassVar, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float
from pydantic.dataclasses import dataclass

from experiments.config.fields import STRICT
from experiments.tasks.goal import Goal
from experiments.tasks.hs1997.last_step import (
    Objective,
    at_end,
    class_losses,
    class_units,
    draw_lengths,
    error_metrics,
    longest,
)
from experiments.tasks.lengths import valid_steps
from experiments.tasks.task import Batch, Split
from lstm_jax.types import PRNGKey

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from experiments.model import Model, ModelParams

SYMBOLS = "EBabcdXY"
"""The input classes."""
LENGTH = 100
"""Fewest symbols of a sequence."""
POSITIONS = {"6a": (10, 50), "6b": (10, 33, 66)}
"""The first position, counted from 1, at which each X or Y can be; the last is ten later."""
TOLERANCE = 0.3
"""Largest absolute error of an output unit of a right sequence."""


@dataclass(frozen=True, config=STRICT)
class TemporalOrder1997:
    """Experiment 6: temporal order."""

    metric: ClassVar[str] = "cross_entropy"
    metric_scale: ClassVar[Literal["linear", "log"]] = "log"
    solved: ClassVar[Goal] = Goal("wrong", "<", 1 / 2000, also=Goal("mean_error", "<", 0.1))
    mastered: ClassVar[Goal | None] = None
    input_size: ClassVar[int] = len(SYMBOLS)

    name: Literal["temporal_order_1997"] = "temporal_order_1997"
    experiment: Literal["6a", "6b"] = "6a"
    """6a: two symbols that count; 6b: three"""
    objective: Objective = "cross_entropy"
    """of a softmax; or squared errors of logistic units, as in 1997"""

    @property
    def output_size(self) -> int:
        """Classes: the orders of X and Y."""
        return 2 ** len(POSITIONS[self.experiment])

    def load(self) -> tuple[()]:
        """Load nothing: sequences are drawn from the key."""
        return ()

    def sample(self, data: tuple[()], split: Split, key: PRNGKey, batch_size: int) -> Batch:
        """Inputs ``[110, B]`` of eight classes, and the class of the sequence ``[1, B]``.

        The classes are in the order of the paper: XX, XY, YX, YY, and likewise of three. Padding is
        -1, which is one-hot nothing.
        """
        del data, split
        k_symbols, k_at, k_xy, k_length = jax.random.split(key, 4)
        earliest = jnp.array(POSITIONS[self.experiment])[:, None]
        count, steps, rows = len(earliest), longest(LENGTH), jnp.arange(batch_size)
        lengths = draw_lengths(k_length, LENGTH, batch_size)
        distractors = (SYMBOLS.index("a"), SYMBOLS.index("d") + 1)
        symbols = jax.random.randint(k_symbols, (steps, batch_size), *distractors)
        at = earliest + jax.random.randint(k_at, (count, batch_size), 0, 11) - 1
        is_y = jax.random.bernoulli(k_xy, 0.5, (count, batch_size)).astype(jnp.int32)
        symbols = symbols.at[0].set(SYMBOLS.index("E"))
        symbols = symbols.at[at, rows].set(SYMBOLS.index("X") + is_y)
        symbols = symbols.at[lengths - 1, rows].set(SYMBOLS.index("B"))
        places = 2 ** jnp.arange(count)[::-1, None]
        return Batch(
            inputs=jnp.where(valid_steps(lengths, steps), symbols, -1),
            targets=jnp.sum(places * is_y, axis=0, keepdims=True),
            lengths=lengths,
        )

    def loss(self, outputs: Float[Array, "T B O"], batch: Batch) -> Float[Array, ""]:
        """The mean loss of the last step's output."""
        end = at_end(outputs, batch.lengths)
        return jnp.mean(class_losses(end, batch.targets[0], self.objective))

    def metrics(self, outputs: Float[Array, "T B O"], batch: Batch) -> dict[str, Float[Array, ""]]:
        """Cross-entropy, mean absolute error, and the share of wrong sequences."""
        end = at_end(outputs, batch.lengths)
        truth = jax.nn.one_hot(batch.targets[0], self.output_size)
        return {
            "cross_entropy": jnp.mean(class_losses(end, batch.targets[0], "cross_entropy")),
            **error_metrics(self.units(end), truth, TOLERANCE),
        }

    def units(self, outputs: Float[Array, "... O"]) -> Float[Array, "... O"]:
        """The activations of the output units, one for each class."""
        return class_units(outputs, self.objective)

    def informative(self, batch: Batch) -> Bool[Array, "T B"]:
        """The steps that tell the class: where X or Y is."""
        return batch.inputs >= SYMBOLS.index("X")

    def symbols(self) -> tuple[str, ...]:
        """The names of the input classes."""
        return tuple(SYMBOLS)

    def answers(self) -> tuple[str, ...]:
        """The orders that the output units stand for."""
        orders = itertools.product("XY", repeat=len(POSITIONS[self.experiment]))
        return tuple("".join(order) for order in orders)

    def baselines(self, data: tuple[()], split: Split) -> dict[str, float]:
        """The cross-entropy of a guess among all classes, and among those of the last symbol.

        A solution that knows only the last of the symbols that count has ln 2 less.
        """
        del data, split
        classes = self.output_size
        return {"memoryless": math.log(classes), "last symbol known": math.log(classes / 2)}

    def figures(
        self, model: "Model", params: "ModelParams", data: tuple[()], key: PRNGKey, sequences: int
    ) -> "dict[str, Figure | str]":
        """The cell state over a sequence."""
        from experiments.tasks.hs1997.figures import draw_memory

        del data, sequences
        return draw_memory(self, model, params, key)
