"""Experiment 3 of 1997: noise and signal on the same input line.

A sequence has one number a step. The first N are 1 in class 1 and -1 in class 2; all later ones are
noise from N(0, 0.2), of variance 0.2. There are T to T + T/10 steps, and the answer is at the last.

  3a: targets 1 and 0.
  3b: the same, with the noise on the first N numbers as well.
  3c: targets 0.2 and 0.8, to which noise from N(0, 0.1) is added in training, so that the network
      has to learn their expectations. Its errors are of the targets without noise.

In 3b with N = 1 the best probabilities are not enough: the class is less probable than 0.8 in 2.7 %
of the sequences, and 6 of 256 are 2.3 %; a network that is too sure, always 0 or 1, is wrong in
1.3 %.

Without memory every constant between the targets has the same mean absolute error, half of their
distance: 0.5, and 0.3 in 3c. The output is the logit z of a logistic unit. The paper minimises the
squared error of that unit; the cross-entropy ``softplus(z) - y z`` has the error as its gradient by
z, and is least at the expectation of y as well.

Reference: Hochreiter & Schmidhuber (1997), section 5.3; 3a is of Bengio, Simard & Frasconi (1994).
"""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float
from pydantic import Field
from pydantic.dataclasses import dataclass

from experiments.config.fields import STRICT
from experiments.tasks.goal import Goal
from experiments.tasks.hs1997.last_step import (
    Objective,
    at_end,
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

INPUT_VARIANCE = 0.2
TARGET_VARIANCE = 0.1
TARGETS = {"3a": (1.0, 0.0), "3b": (1.0, 0.0), "3c": (0.2, 0.8)}
"""Targets of class 1 and of class 2."""
TOLERANCE = {"3a": 0.2, "3b": 0.2, "3c": 0.1}
"""Largest absolute error of a sequence that is classified correctly."""
WRONG = {"3a": 1 / 256, "3b": 6 / 256, "3c": 1 / 256}
"""Of 256 sequences, none may be wrong, or fewer than six in 3b: the paper's ST1."""
MEAN_ERROR = {"3a": 0.01, "3b": 0.04, "3c": 0.015}
"""Bounds of the mean absolute error: the paper's ST2, and in 3c part of its only criterion."""


class ClassTargets(NamedTuple):
    """Targets of the loss, and those without noise, which errors are of.

    Attributes:
      noisy: ``[1, B]``; in 3a and 3b they have no noise.
      expected: ``[1, B]``.
    """

    noisy: Float[Array, "1 B"]
    expected: Float[Array, "1 B"]


@dataclass(frozen=True, config=STRICT)
class TwoSequences1997:
    """Experiment 3: noise and signal on one line."""

    metric: ClassVar[str] = "mean_error"
    metric_scale: ClassVar[Literal["linear", "log"]] = "log"
    input_size: ClassVar[int] = 1
    output_size: ClassVar[int] = 1

    name: Literal["two_sequences_1997"] = "two_sequences_1997"
    experiment: Literal["3a", "3b", "3c"] = "3a"
    """3a: signal without noise; 3b: with noise; 3c: noise on the targets"""
    length: Annotated[int, Field(ge=1, le=9 * 10**6)] = 100
    """fewest time steps T of a sequence; the longest has T + T/10"""
    signal: Annotated[int, Field(ge=1, le=9 * 10**6)] = 3
    """steps N at the beginning that tell the class"""
    objective: Objective = "cross_entropy"
    """of the logistic output unit; or its squared error, as in 1997"""

    @property
    def solved(self) -> Goal:
        """The paper's ST1, and in 3c its only criterion."""
        st1 = Goal("wrong", "<", WRONG[self.experiment])
        return self._st2 if self.experiment == "3c" else st1

    @property
    def mastered(self) -> Goal | None:
        """The paper's ST2."""
        return None if self.experiment == "3c" else self._st2

    @property
    def _st2(self) -> Goal:
        small = Goal("mean_error", "<", MEAN_ERROR[self.experiment])
        return Goal("wrong", "<", WRONG[self.experiment], also=small)

    def load(self) -> tuple[()]:
        """Load nothing: sequences are drawn from the key."""
        return ()

    def sample(self, data: tuple[()], split: Split, key: PRNGKey, batch_size: int) -> Batch:
        """Inputs ``[T + T/10, B, 1]``, and `ClassTargets`.

        Raises:
          ValueError: if more steps tell the class than the shortest sequence has.
        """
        del data, split
        if self.signal > self.length:
            raise ValueError(
                f"task.signal: must be at most task.length ({self.length}); got {self.signal}"
            )
        k_class, k_noise, k_length, k_target = jax.random.split(key, 4)
        steps = longest(self.length)
        lengths = draw_lengths(k_length, self.length, batch_size)
        second = jax.random.bernoulli(k_class, 0.5, (batch_size,))
        noise = jax.random.normal(k_noise, (steps, batch_size)) * INPUT_VARIANCE**0.5
        told = jnp.arange(steps)[:, None] < self.signal
        own = jnp.where(second, -1.0, 1.0)[None] + (noise if self.experiment == "3b" else 0.0)
        values = jnp.where(told, own, noise)
        of_first, of_second = TARGETS[self.experiment]
        expected = jnp.where(second, of_second, of_first)[None]
        noisy = expected
        if self.experiment == "3c":
            noisy += jax.random.normal(k_target, (1, batch_size)) * TARGET_VARIANCE**0.5
        return Batch(
            inputs=jnp.where(valid_steps(lengths, steps), values, 0.0)[..., None],
            targets=ClassTargets(noisy, expected),
            lengths=lengths,
        )

    def loss(self, outputs: Float[Array, "T B 1"], batch: Batch) -> Float[Array, ""]:
        """The mean loss of the last step's output: ``softplus(z) - y z``, or its squared error."""
        z, y = at_end(outputs, batch.lengths)[:, 0], batch.targets.noisy[0]
        if self.objective == "squared":
            return jnp.mean(jnp.square(self.units(z) - y))
        return jnp.mean(jax.nn.softplus(z) - y * z)

    def metrics(self, outputs: Float[Array, "T B 1"], batch: Batch) -> dict[str, Float[Array, ""]]:
        """Mean absolute error to the target without noise, and the share of wrong sequences."""
        units = self.units(at_end(outputs, batch.lengths))
        expected = batch.targets.expected[0][:, None]
        return error_metrics(units, expected, TOLERANCE[self.experiment])

    def units(self, outputs: Float[Array, "..."]) -> Float[Array, "..."]:
        """The activation of the output unit."""
        return jax.nn.sigmoid(outputs)

    def informative(self, batch: Batch) -> Bool[Array, "T B"]:
        """The steps that tell the class: the first N."""
        t = jnp.arange(len(batch.inputs))[:, None]
        return jnp.broadcast_to(t < self.signal, batch.inputs.shape[:2])

    def baselines(self, data: tuple[()], split: Split) -> dict[str, float]:
        """The mean absolute error of a constant answer."""
        del data, split
        of_first, of_second = TARGETS[self.experiment]
        return {"memoryless": abs(of_first - of_second) / 2}

    def figures(
        self, model: "Model", params: "ModelParams", data: tuple[()], key: PRNGKey, sequences: int
    ) -> "dict[str, Figure | str]":
        """The cell state over a sequence."""
        from experiments.tasks.hs1997.figures import draw_memory

        del data, sequences
        return draw_memory(self, model, params, key)
