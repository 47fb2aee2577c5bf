"""Strings of the embedded Reber grammar without end: predict the next symbol of a stream.

Strings follow each other without a mark or a reset of the network, which has to find out by itself
when a string ends, and to forget it. What counts is the number of symbols predicted before the
first error of a stream. As published, a network trains on one stream at a time, up to its first
error or 100,000 symbols, and a solution is perfect if ten test streams of a million symbols have no
error. Here many streams of ``length`` steps from the initial state train at once, errors or not,
and *mastered* is no error in all test streams of ``eval_length`` steps.

Without memory of the second symbol of a string, its second-last is wrong half of the time: one
error in 24 symbols, as a string has 12 on average. The first is then in the second string on
average, after 21 symbols: 12 of a whole string and 10 of the next, less the first, which nobody
predicts.

A step is right if all symbols that may be next have higher outputs than all others. With
``activation: sigmoid`` it is as published: the outputs should be 1 for all symbols that may be next
and 0 for others, and are right within 0.49. (With the next symbol alone as a target no outputs are
that close where two are possible.)

Reference: Gers, Schmidhuber & Cummins (2000), *Learning to forget: continual prediction with LSTM*.
"""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from pydantic import Field
from pydantic.dataclasses import dataclass

from experiments.config.fields import STRICT, Steps
from experiments.tasks.goal import ALL, Goal
from experiments.tasks.reber_grammar import (
    CLOSING,
    EDGE_NODES,
    LOSSES,
    SYMBOLS,
    Activation,
    activations,
    draw_streams,
    endless,
    losses,
    possible_highest,
    what_is_next,
)
from experiments.tasks.task import Batch, Split
from lstm_jax.types import PRNGKey

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from experiments.model import Model, ModelParams

TOLERANCE = 0.49
"""Errors of right outputs are below it (Gers, Schmidhuber & Cummins 2000)."""
SMALL = 1e-12
"""A probability that is left out of a sum."""


@dataclass(frozen=True, config=STRICT)
class ContinualReber:
    """The continual embedded Reber grammar task."""

    metric: ClassVar[str] = "symbols_to_first_error"
    metric_scale: ClassVar[Literal["linear", "log"]] = "log"
    solved: ClassVar[Goal] = Goal("symbols_to_first_error", ">=", 1000.0)
    mastered: ClassVar[Goal | None] = Goal("perfect_streams", ">=", ALL)
    input_size: ClassVar[int] = len(SYMBOLS)
    output_size: ClassVar[int] = len(SYMBOLS)

    name: Literal["continual_reber"] = "continual_reber"
    length: Steps = 200
    """time steps T of a training stream"""
    eval_length: Annotated[int, Field(ge=1000, le=10**7)] = 5000
    """time steps T of a held-out stream"""
    activation: Activation = "softmax"
    """softmax with cross-entropy, or sigmoid with squared error"""

    def load(self) -> tuple[()]:
        """Load nothing: streams are drawn from the key."""
        return ()

    def sample(self, data: tuple[()], split: Split, key: PRNGKey, batch_size: int) -> Batch:
        """Inputs ``[T, B]`` of seven classes, and targets `Next`."""
        del data
        steps = self.length if split == "train" else self.eval_length
        inputs, following = what_is_next(draw_streams(key, steps + 1, batch_size))
        return Batch(inputs=inputs, targets=following)

    def loss(self, outputs: Float[Array, "T B 7"], batch: Batch) -> Float[Array, ""]:
        """Mean loss: cross-entropy in nats, or squared error of all outputs."""
        following = batch.targets
        possible = following.possible if self.activation == "sigmoid" else None
        return jnp.mean(losses(outputs, following, possible))

    def metrics(self, outputs: Float[Array, "T B 7"], batch: Batch) -> dict[str, Float[Array, ""]]:
        """Right predictions before the first error, share of streams without one, and errors.

        A stream without an error counts with all its steps.
        """
        right = self.right(outputs, batch)
        before = jnp.cumprod(right.astype(jnp.int32), axis=0).sum(axis=0)
        return {
            "symbols_to_first_error": jnp.mean(before.astype(outputs.dtype)),
            "perfect_streams": jnp.mean(jnp.all(right, axis=0).astype(outputs.dtype)),
            "errors_per_symbol": jnp.mean((~right).astype(outputs.dtype)),
            LOSSES[self.activation]: self.loss(outputs, batch),
        }

    def baselines(self, data: tuple[()], split: Split) -> dict[str, float]:
        """Symbols to the first error without memory of a string's second symbol.

        The sum over ``t`` of the probability that the first ``t`` predictions are right, where each
        of a second-last symbol is right half of the time.
        """
        del data
        steps = self.length if split == "train" else self.eval_length
        edges = endless(EDGE_NODES)
        share = np.where(np.isin(np.arange(len(edges)), CLOSING), 0.5, 1.0)
        # The first symbol is read without being predicted.
        at_node = np.zeros(len(edges))
        at_node[edges[0, 0]] = 1
        expected = 0.0
        for _ in range(steps):
            at_node = at_node * share
            if at_node.sum() < SMALL:
                break
            expected += at_node.sum()
            moved = np.zeros_like(at_node)
            np.add.at(moved, edges, at_node[:, None] / 2)
            at_node = moved
        return {"second symbol forgotten": float(expected)}

    def right(self, outputs: Float[Array, "T B 7"], batch: Batch) -> Bool[Array, "T B"]:
        """Whether a step is right."""
        possible = batch.targets.possible
        if self.activation == "softmax":
            return possible_highest(outputs, possible)
        errors = jnp.abs(self.probabilities(outputs) - possible.astype(outputs.dtype))
        return jnp.all(errors < TOLERANCE, axis=-1)

    def probabilities(self, outputs: Float[Array, "... 7"]) -> Float[Array, "... 7"]:
        """The activations of the outputs, from 0 to 1."""
        return activations(outputs, self.activation)

    def figures(
        self,
        model: "Model",
        params: "ModelParams",
        data: tuple[()],
        key: PRNGKey,
        sequences: int,
    ) -> "dict[str, Figure | str]":
        """The gate that forgets at the ends of strings, and the cell state of a long stream."""
        from experiments.tasks.continual_reber_figures import forgetting

        del data, sequences
        return {"memory.png": forgetting(self, {"network": (model, params)}, key)}
