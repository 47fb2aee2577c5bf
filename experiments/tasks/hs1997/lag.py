"""Experiment 2 of 1997: the first symbol is to be named after a long lag.

Sequences begin with x or y, and end with the same symbol:

  2a: ``x, a_1, ..., a_{p-1}, x`` or the same with y. There are no other sequences.
  2b: the middle is ``p - 1`` symbols drawn from ``a_1 ... a_{p-1}``.
  2c: ``b, x, (q + k symbols of a_1 ... a_p), e, x`` or with y, where k has a geometric distribution
      with mean 9, so that e tells when the answer is due.

In 2a and 2b the network predicts every next symbol out of ``p + 1``, though the middle of 2b cannot
be predicted, so that a network has to count the steps until the end; in 2c it has two outputs, and
answers once. Without memory x and y are equally likely:
a cross-entropy of ln 2 at the end. Errors are of the output units: the probabilities of a softmax,
or logistic units with squared errors, as in the paper.

Reference: Hochreiter & Schmidhuber (1997), section 5.2.
"""

import math
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float
from pydantic import Field
from pydantic.dataclasses import dataclass

from experiments.config.fields import STRICT, Steps
from experiments.tasks.goal import Goal
from experiments.tasks.hs1997.last_step import (
    Objective,
    at_end,
    class_losses,
    class_units,
    error_metrics,
)
from experiments.tasks.task import Batch, Split
from lstm_jax.types import PRNGKey

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from experiments.model import Model, ModelParams

STOP = 0.1
"""Probability that e follows instead of another symbol in 2c."""
MOST_ADDED = 130
"""Largest k in 2c; without it, one sequence in a million would be longer."""
TOLERANCE = {"2a": 0.25, "2b": 0.25, "2c": 0.2}
"""Largest absolute error of an output unit."""
SEQUENCES = 10_000
"""Successive sequences without an error."""


@dataclass(frozen=True, config=STRICT)
class Lag1997:
    """Experiment 2: long lags."""

    metric: ClassVar[str] = "end_cross_entropy"
    metric_scale: ClassVar[Literal["linear", "log"]] = "log"
    solved: ClassVar[Goal] = Goal("wrong", "<", 1 / SEQUENCES)
    mastered: ClassVar[Goal | None] = None

    name: Literal["lag_1997"] = "lag_1997"
    experiment: Literal["2a", "2b", "2c"] = "2a"
    """2a: one middle; 2b: a random middle; 2c: a random middle of a random length"""
    p: Annotated[int, Field(ge=2, le=10**5)] = 100
    """symbols without a meaning, and the lag in 2a and 2b, which have one symbol less"""
    q: Steps | None = None
    """fewest symbols in the middle of a sequence of 2c; none for p"""
    objective: Objective = "cross_entropy"
    """of a softmax; or squared errors of logistic units, as in 1997"""

    @property
    def input_size(self) -> int:
        """Symbols: ``p + 1``, or ``p + 4`` with e and b in 2c."""
        return self.p + (4 if self.experiment == "2c" else 1)

    @property
    def output_size(self) -> int:
        """All symbols, or x and y in 2c."""
        return 2 if self.experiment == "2c" else self.input_size

    @property
    def least(self) -> int:
        """Fewest symbols in the middle."""
        if self.experiment == "2c":
            return self.p if self.q is None else self.q
        return self.p - 1

    def load(self) -> tuple[()]:
        """Load nothing: sequences are drawn from the key."""
        return ()

    def sample(self, data: tuple[()], split: Split, key: PRNGKey, batch_size: int) -> Batch:
        """Inputs ``[T, B]`` of classes, and as targets the classes that come next.

        In 2a and 2b the targets are ``[p, B]``; in 2c they are ``[1, B]``, 0 for x and 1 for y. The
        symbol to predict is not among the inputs. Padding in 2c is -1, which is one-hot nothing.

        Raises:
          ValueError: if 2a or 2b is given a q, which is of 2c.
        """
        del data, split
        if self.experiment != "2c" and self.q is not None:
            raise ValueError(
                f"task.q: only experiment 2c has one; got {self.q} in {self.experiment}"
            )
        k_first, k_middle, k_added = jax.random.split(key, 3)
        is_y = jax.random.bernoulli(k_first, 0.5, (batch_size,)).astype(jnp.int32)
        if self.experiment == "2c":
            return self._with_end(is_y, k_middle, k_added)
        x, middle = self.p - 1, jnp.arange(self.p - 1)[:, None]
        if self.experiment == "2b":
            middle = jax.random.randint(k_middle, (self.p - 1, batch_size), 0, self.p - 1)
        middle = jnp.broadcast_to(middle, (self.p - 1, batch_size))
        symbols = jnp.concatenate([x + is_y[None], middle, x + is_y[None]])
        return Batch(inputs=symbols[:-1], targets=symbols[1:])

    def _with_end(self, is_y: Array, k_middle: PRNGKey, k_added: PRNGKey) -> Batch:
        """The sequences of 2c, in which e says that the answer is due."""
        e, b, x = self.p, self.p + 1, self.p + 2
        batch_size = len(is_y)
        uniform = jax.random.uniform(k_added, (batch_size,), minval=1e-7)
        added = jnp.floor(jnp.log(uniform) / math.log1p(-STOP)).astype(jnp.int32)
        count = self.least + jnp.minimum(added, MOST_ADDED)
        most = self.least + MOST_ADDED
        middle = jax.random.randint(k_middle, (most + 1, batch_size), 0, self.p)
        at = jnp.arange(most + 1)[:, None]
        middle = jnp.where(at < count[None], middle, jnp.where(at == count[None], e, -1))
        inputs = jnp.concatenate([jnp.full((1, batch_size), b), x + is_y[None], middle])
        return Batch(inputs=inputs, targets=is_y[None], lengths=count + 3)

    def loss(self, outputs: Float[Array, "T B O"], batch: Batch) -> Float[Array, ""]:
        """The mean loss of every next symbol, or in 2c of the last one."""
        if self.experiment == "2c":
            outputs = at_end(outputs, batch.lengths)[None]
        return jnp.mean(class_losses(outputs, batch.targets, self.objective))

    def metrics(self, outputs: Float[Array, "T B O"], batch: Batch) -> dict[str, Float[Array, ""]]:
        """Cross-entropy at the end, mean absolute error, and the share of wrong sequences.

        A sequence of 2a is wrong if a unit is wrong at any step; one of 2b and 2c, at the end.
        """
        if self.experiment == "2a":
            # All units of all steps of a sequence: [B, T * O].
            units, truth = (
                jnp.moveaxis(each, 0, 1).reshape(each.shape[1], -1)
                for each in (self.units(outputs), jax.nn.one_hot(batch.targets, self.output_size))
            )
        else:
            units = self.units(at_end(outputs, batch.lengths))
            truth = jax.nn.one_hot(batch.targets[-1], self.output_size)
        end = class_losses(at_end(outputs, batch.lengths), batch.targets[-1], "cross_entropy")
        return {
            "end_cross_entropy": jnp.mean(end),
            **error_metrics(units, truth, TOLERANCE[self.experiment]),
        }

    def units(self, outputs: Float[Array, "... O"]) -> Float[Array, "... O"]:
        """The activations of the output units, one for each symbol."""
        return class_units(outputs, self.objective)

    def informative(self, batch: Batch) -> Bool[Array, "T B"]:
        """The steps that tell the answer: where x or y is."""
        return batch.inputs >= self.input_size - 2

    def symbols(self) -> tuple[str, ...]:
        """The names of the input classes."""
        count = self.p if self.experiment == "2c" else self.p - 1
        ends = ("e", "b") if self.experiment == "2c" else ()
        return (*(f"a{k + 1}" for k in range(count)), *ends, "x", "y")

    def answers(self) -> tuple[str, ...]:
        """The names of the output units."""
        return ("x", "y") if self.experiment == "2c" else self.symbols()

    def baselines(self, data: tuple[()], split: Split) -> dict[str, float]:
        """The cross-entropy at the end of a guess between x and y."""
        del data, split
        return {"memoryless": math.log(2)}

    def figures(
        self, model: "Model", params: "ModelParams", data: tuple[()], key: PRNGKey, sequences: int
    ) -> "dict[str, Figure | str]":
        """The cell state over a sequence."""
        from experiments.tasks.hs1997.figures import draw_memory

        del data, sequences
        return draw_memory(self, model, params, key)
