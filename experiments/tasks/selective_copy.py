"""The selective copy task: ten symbols scattered among blanks, recalled in order at the end.

The input is ``T + 9`` steps with ten symbols, drawn from an alphabet of eight, at random positions
and blanks elsewhere, then a delimiter and ten more blanks: ``T + 20`` steps. The target is blank at
every step except the last ten, where it is the ten symbols in order. The network has to tell what
to remember from what to skip, and cannot use the time at which a symbol comes. Without memory the
best cross-entropy is that of the copy task, ``10 ln 8 / (T + 20)`` per step.

The form is that of the denoising task of Jing et al. (2019), whose alphabet has nine symbols. Gu &
Dao (2023) have 16 symbols of an alphabet of 14 in 4096 steps, and delimiters in place of the last
blanks, each of which is answered: ``symbols: 16``, ``alphabet: 14``, ``delay: 4064``,
``recall: on``, ``delimiter: repeated``, ``loss_steps: recall``.

Reference: Jing, Gülçehre, Peurifoy, Shen, Tegmark, Soljačić & Bengio (2019), *Gated orthogonal
recurrent units: on learning to forget*; Gu & Dao (2023), *Mamba: linear-time sequence modeling with
selective state spaces*.
"""

from typing import Literal

from jaxtyping import Array, Int
from pydantic.dataclasses import dataclass

from experiments.config.fields import STRICT
from experiments.tasks.positions import distinct_steps
from experiments.tasks.recall import Recall
from lstm_jax.types import PRNGKey


@dataclass(frozen=True, config=STRICT)
class SelectiveCopy(Recall):
    """The selective copy task."""

    name: Literal["selective_copy"] = "selective_copy"

    def positions(self, key: PRNGKey, steps: Int[Array, " B"]) -> Int[Array, "S B"]:
        """Different steps before the delimiter, drawn uniformly."""
        return distinct_steps(key, self.symbols, steps)
