"""Handwritten digits pixel by pixel: which digit was it?

An image of 8 x 8 pixels is read row by row, one pixel a step, and after the last of the 64 steps
the network answers with one of ten classes. With ``permuted`` the pixels are in an order drawn
once, the same for all images, so that neighbours are far apart in time: a network has to relate
inputs over the whole sequence.

The 1,797 images of scikit-learn (the test set of Alpaydin & Kaynak, 1998) are split by their
numbers: of five in a row the first is a test image, the second one for validation, and the other
three are for training. The most frequent class of the training images is right for 7 % of the test
images, a linear classifier of all pixels at once, a logistic regression, for 96 %: *mastered* is
better than both.

Reference: Le, Jaitly & Hinton (2015), *A simple way to initialize recurrent networks of rectified
linear units*, with 28 x 28 pixels of MNIST. There are no published figures for 8 x 8.
"""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
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

CLASSES = 10
SIDE = 8
STEPS = SIDE * SIDE
BRIGHTEST = 16
"""The largest value of a pixel."""
PARTS: dict[Split, tuple[int, ...]] = {"test": (0,), "validation": (1,), "train": (2, 3, 4)}
"""Which of five images in a row belong to a split."""


class Images(NamedTuple):
    """Images of one split.

    Attributes:
      pixels: from 0 to 1, in the order in which they are read ``[64, N]``.
      labels: the digits ``[N]``.
    """

    pixels: Float[Array, "64 N"]
    labels: Int[Array, " N"]


@dataclass(frozen=True, config=STRICT)
class Digits:
    """The digits task."""

    metric: ClassVar[str] = "accuracy"
    metric_scale: ClassVar[Literal["linear", "log"]] = "linear"
    solved: ClassVar[Goal] = Goal("accuracy", ">=", 0.9)
    mastered: ClassVar[Goal | None] = Goal("accuracy", ">=", 0.97)
    input_size: ClassVar[int] = 1
    output_size: ClassVar[int] = CLASSES

    name: Literal["digits"] = "digits"
    permuted: bool = False
    """whether the pixels are read in an order drawn at random, the same for all images"""
    permutation_seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """seed of the order of permuted pixels"""

    def order(self) -> Int[np.ndarray, " 64"]:
        """The pixel that is read at every step, as its number row by row."""
        if not self.permuted:
            return np.arange(STEPS)
        return np.random.default_rng(self.permutation_seed).permutation(STEPS)

    def load(self) -> dict[str, Images]:
        """Load the images of every split.

        Raises:
          ValueError: if scikit-learn is not installed.
        """
        try:
            from sklearn.datasets import load_digits
        except ImportError:
            raise ValueError(
                "digits needs scikit-learn, which is not installed:"
                " pip install -r requirements/digits.txt"
            ) from None
        images, labels = load_digits(return_X_y=True)
        pixels = (images[:, self.order()] / BRIGHTEST).astype(np.float32).T
        part = np.arange(len(labels)) % 5
        return {
            split: Images(
                jnp.asarray(pixels[:, np.isin(part, parts)]),
                jnp.asarray(labels[np.isin(part, parts)], jnp.int32),
            )
            for split, parts in PARTS.items()
        }

    def sample(self, data: dict[str, Images], split: Split, key: PRNGKey, batch_size: int) -> Batch:
        """Inputs ``[64, B, 1]`` and targets ``[1, B]``.

        Training images are drawn with replacement. Held-out images do not depend on the key and are
        evenly spaced.

        Raises:
          ValueError: if there are fewer held-out images than the batch has.
        """
        pixels, labels = data[split]
        if split == "train":
            chosen = jax.random.randint(key, (batch_size,), 0, len(labels))
        elif batch_size <= len(labels):
            chosen = jnp.arange(batch_size) * len(labels) // batch_size
        else:
            raise ValueError(
                f"digits: there are {len(labels)} {split} images; got a batch size of {batch_size}"
            )
        return Batch(inputs=pixels[:, chosen, None], targets=labels[None, chosen])

    def loss(self, outputs: Float[Array, "64 B 10"], batch: Batch) -> Float[Array, ""]:
        """Mean cross-entropy of the answer after the last pixel, in nats."""
        losses = optax.softmax_cross_entropy_with_integer_labels(outputs[-1:], batch.targets)
        return jnp.mean(losses)

    def metrics(
        self, outputs: Float[Array, "64 B 10"], batch: Batch
    ) -> dict[str, Float[Array, ""]]:
        """The share of right answers, and the cross-entropy."""
        right = jnp.argmax(outputs[-1:], axis=-1) == batch.targets
        return {
            "accuracy": jnp.mean(right.astype(outputs.dtype)),
            "cross_entropy": self.loss(outputs, batch),
        }

    def baselines(self, data: dict[str, Images], split: Split) -> dict[str, float]:
        """The accuracy of the most frequent class, and of a linear classifier of all pixels.

        The classifier is a logistic regression, fitted to the training images with the defaults of
        scikit-learn.
        """
        from sklearn.linear_model import LogisticRegression

        train, held_out = (jax.tree.map(np.asarray, data[name]) for name in ("train", split))
        most_frequent = np.bincount(train.labels).argmax()
        linear = LogisticRegression(max_iter=1000).fit(train.pixels.T, train.labels)
        return {
            "most frequent class": float(np.mean(held_out.labels == most_frequent)),
            "linear classifier": float(linear.score(held_out.pixels.T, held_out.labels)),
        }

    def figures(
        self,
        model: "Model",
        params: "ModelParams",
        data: dict[str, Images],
        key: PRNGKey,
        sequences: int,
    ) -> "dict[str, Figure | str]":
        """Some images with what the answer depends on, and the accuracy after every pixel."""
        from experiments.tasks.digits_figures import draw_accuracy, draw_images

        del key
        return {
            "images.png": draw_images(self, model, params, data),
            "accuracy.png": draw_accuracy(self, model, params, data, sequences),
        }
