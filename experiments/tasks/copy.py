"""The copy task: read ten symbols, and output them in order after a delay.

The input is ten symbols drawn from an alphabet of eight, then blanks with a delimiter as the last
of them, then ten more blanks: ``T + 20`` steps. The target is blank at every step except the last
ten, where it is the ten symbols. The best solution without memory answers blank, then guesses among
eight symbols: a cross-entropy of ``10 ln 8 / (T + 20)`` per step.

The forms of other papers, as options:

- ``recall: on``: the delimiter is the first step of the recall, after ``T`` blanks, in the code of
  Lezcano-Casado & Martínez-Rubio (2019). Lengths, targets and baseline are the same.
- ``delimiter: repeated``: the delimiter stays until the end, 11 times in the code of Bai, Kolter &
  Koltun (2018). With ``recall: on`` and ``loss_steps: recall``: that of Gu, Goel & Ré (2022).
- A delay of ``T + 1`` is the form of van der Westhuizen & Lasenby (2018): ``T`` blanks, then the
  delimiter, in ``T + 21`` steps.
- ``min_delay`` draws a delay for every training sequence, and ``held_out: drawn`` for the held-out
  ones too: the network cannot count, and recalls when it reads the delimiter. This is the variable
  copy task of Henaff, Szlam & LeCun (2016) and Tallec & Ollivier (2018), who draw from 1 to ``T``
  blanks before the delimiter: ``min_delay: 2`` and ``delay: T + 1``. They fill up shorter sequences
  with blanks that count in the loss; here sequences end with their recall.

Reference: Hochreiter & Schmidhuber (1997), in the form of Arjovsky, Shah & Bengio (2016).
"""

from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Int
from pydantic.dataclasses import dataclass

from experiments.config.fields import STRICT
from experiments.tasks.recall import Recall
from lstm_jax.types import PRNGKey


@dataclass(frozen=True, config=STRICT)
class Copy(Recall):
    """The copy task."""

    name: Literal["copy"] = "copy"

    def positions(self, key: PRNGKey, steps: Int[Array, " B"]) -> Int[Array, "S B"]:
        """The first steps."""
        del key
        return jnp.broadcast_to(jnp.arange(self.symbols)[:, None], (self.symbols, len(steps)))
