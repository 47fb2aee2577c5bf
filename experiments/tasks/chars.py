"""The chars task: predict the next character of Python's standard library.

The network reads source text one character per step and outputs, at every step, a distribution over
the next character. The metric is bits per character on held-out files. The baseline is a 5-gram
with modified Kneser-Ney smoothing, fitted to the same training files and evaluated on the same
characters: a model with fewer bits than the 5-gram remembers more than four characters.

The network starts every sequence from the initial state. The 5-gram also has the four characters
before the window.

Reference: Karpathy, Johnson & Fei-Fei (2015), *Visualizing and understanding recurrent networks*,
which compares an LSTM with n-grams on source text.
"""

import math
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, UInt8
from pydantic.dataclasses import dataclass

from experiments.config.fields import STRICT, Steps
from experiments.tasks import ngram
from experiments.tasks.corpus import VOCABULARY_SIZE, load_corpus
from experiments.tasks.goal import Goal
from experiments.tasks.task import Batch, Split
from lstm_jax.types import PRNGKey

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from experiments.model import Model, ModelParams

SAMPLE_CHARACTERS = 1200
"""Length of the generated text."""


class HeldOut(NamedTuple):
    """A held-out text, and the bits of its characters under the n-grams.

    Attributes:
      ids: class indices ``[N]``.
      fivegram_bits: bits of each character under the 5-gram ``[N]``.
      unigram_bits: bits of each character under the unigram ``[N]``.
    """

    ids: UInt8[Array, " N"]
    fivegram_bits: Float[Array, " N"]
    unigram_bits: Float[Array, " N"]


class CharsData(NamedTuple):
    """Class indices ``[N]`` of the training text, and the two held-out texts."""

    train: UInt8[Array, " N"]
    validation: HeldOut
    test: HeldOut


class CharsTargets(NamedTuple):
    """The next character at every step and, for held-out text, its bits under the n-grams.

    Attributes:
      ids: class indices ``[T, B]``.
      fivegram_bits: ``[T, B]``, or None on the training split.
      unigram_bits: ``[T, B]``, or None on the training split.
    """

    ids: Int[Array, "T B"]
    fivegram_bits: Float[Array, "T B"] | None
    unigram_bits: Float[Array, "T B"] | None


@dataclass(frozen=True, config=STRICT)
class Chars:
    """The chars task."""

    metric: ClassVar[str] = "bits_per_character"
    metric_scale: ClassVar[Literal["linear", "log"]] = "linear"
    solved: ClassVar[Goal] = Goal("bits_over_fivegram", "<", 0.0)
    mastered: ClassVar[Goal | None] = None
    input_size: ClassVar[int] = VOCABULARY_SIZE
    output_size: ClassVar[int] = VOCABULARY_SIZE

    name: Literal["chars"] = "chars"
    length: Steps = 128
    """time steps T of a training sequence"""
    eval_length: Steps = 1024
    """time steps T of a held-out sequence"""

    def load(self) -> CharsData:
        """Load the text, and compute the bits of the held-out texts under the n-grams.

        Raises:
          ValueError: if this Python has no source files of its standard library.
        """
        corpus = load_corpus()
        fivegram = ngram.fit(corpus.train, 5, VOCABULARY_SIZE)
        unigram = ngram.fit(corpus.train, 1, VOCABULARY_SIZE)

        def held_out(ids: np.ndarray) -> HeldOut:
            return HeldOut(
                ids=jnp.asarray(ids),
                fivegram_bits=jnp.asarray(ngram.bits(fivegram, ids), jnp.float32),
                unigram_bits=jnp.asarray(ngram.bits(unigram, ids), jnp.float32),
            )

        return CharsData(
            train=jnp.asarray(corpus.train),
            validation=held_out(corpus.validation),
            test=held_out(corpus.test),
        )

    def sample(self, data: CharsData, split: Split, key: PRNGKey, batch_size: int) -> Batch:
        """Windows of text: inputs ``[T, B]``, and as targets the next characters.

        Training windows are ``length`` steps long, at positions drawn from the key. Held-out
        windows are ``eval_length`` steps long; they do not depend on the key, are evenly spaced,
        and have no target in common.

        Raises:
          ValueError: if the text is too short for the windows.
        """
        if split == "train":
            last = len(data.train) - self.length - 1
            if last < 0:
                raise ValueError(
                    f"chars: length must be below the {len(data.train)} characters of the"
                    f" training text; got {self.length}"
                )
            starts = jax.random.randint(key, (batch_size,), 0, last + 1)
            ids = _windows(data.train, starts, self.length + 1).astype(jnp.int32)
            return Batch(inputs=ids[:-1], targets=CharsTargets(ids[1:], None, None))

        held_out = data.validation if split == "validation" else data.test
        windows = (len(held_out.ids) - 1) // self.eval_length
        if windows < batch_size:
            raise ValueError(
                f"chars: the {split} text has room for {windows} windows of eval_length"
                f" {self.eval_length}; got a batch size of {batch_size}"
            )
        starts = jnp.arange(batch_size) * ((len(held_out.ids) - 1) // batch_size)
        chosen = jax.tree.map(lambda text: _windows(text, starts, self.eval_length + 1), held_out)
        ids = chosen.ids.astype(jnp.int32)
        return Batch(
            inputs=ids[:-1],
            targets=CharsTargets(ids[1:], chosen.fivegram_bits[1:], chosen.unigram_bits[1:]),
        )

    def loss(self, outputs: Float[Array, "T B V"], batch: Batch) -> Float[Array, ""]:
        """Mean cross-entropy over all positions, in bits per character."""
        nats = optax.softmax_cross_entropy_with_integer_labels(outputs, batch.targets.ids)
        return jnp.mean(nats) / math.log(2)

    def metrics(self, outputs: Float[Array, "T B V"], batch: Batch) -> dict[str, Float[Array, ""]]:
        """Bits per character and, for held-out text, those of the n-grams."""
        bits = self.loss(outputs, batch)
        targets: CharsTargets = batch.targets
        if targets.fivegram_bits is None or targets.unigram_bits is None:
            return {"bits_per_character": bits}
        fivegram = jnp.mean(targets.fivegram_bits)
        return {
            "bits_per_character": bits,
            "fivegram_bits": fivegram,
            "unigram_bits": jnp.mean(targets.unigram_bits),
            "bits_over_fivegram": bits - fivegram,
        }

    def baselines(self, data: CharsData, split: Split) -> dict[str, float]:
        """Bits per character of the n-grams on the whole text of a held-out split."""
        text = data.validation if split == "validation" else data.test
        return {
            "5-gram": float(np.asarray(text.fivegram_bits).mean(dtype=np.float64)),
            "unigram": float(np.asarray(text.unigram_bits).mean(dtype=np.float64)),
        }

    def figures(
        self,
        model: "Model",
        params: "ModelParams",
        data: CharsData,
        key: PRNGKey,
        sequences: int,
    ) -> "dict[str, Figure | str]":
        """A text that the model generates, as text and as a figure.

        There is none from a model that reads in both directions: it has no single next character.
        """
        from experiments.generate import generate, generates
        from experiments.tasks.chars_figures import page_of_text

        del data, sequences
        if not generates(model):
            return {}
        text = generate(model, params, key, SAMPLE_CHARACTERS)
        figure = page_of_text("Sampled from the model", text)
        return {"sample.txt": text + "\n", "sample.png": figure}


def _windows(text: Array, starts: Int[Array, " B"], length: int) -> Array:
    """Slices of a text ``[N]`` as columns, ``[length, B]``."""
    return text[jnp.arange(length)[:, None] + starts[None]]
