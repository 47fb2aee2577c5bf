"""Figures of the digits task: answers after every pixel, and what the last one depends on."""

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from matplotlib.figure import Figure

from experiments.tasks.digits import CLASSES, SIDE, STEPS, Digits, Images
from experiments.tasks.figure_style import BLUE, INK, ORANGE, new_figure, reference_style

if TYPE_CHECKING:
    from experiments.model import Model, ModelParams


def draw_images(
    task: Digits, model: "Model", params: "ModelParams", data: dict[str, Images]
) -> Figure:
    """Test images, the gradient of the answer by every pixel, and the answers after every pixel.

    The gradient is that of the logit of the right class at the end: pixels that were read long
    before have a part in it if they are remembered.

    Args:
      task: the task.
      model: the model.
      params: its parameters.
      data: the images.
    """

    @jax.jit
    def answered(
        params: "ModelParams", pixels: Float[Array, "64 N"], labels: Array
    ) -> tuple[Float[Array, "64 N 10"], Float[Array, "64 N"]]:
        def right_logits(pixels: Array) -> tuple[Array, Array]:
            outputs = model.apply(params, pixels[..., None])
            chosen = jnp.take_along_axis(outputs[-1], labels[:, None], axis=-1)
            return jnp.sum(chosen), outputs

        # The logits of the images are independent, so that the gradient of their sum is of each.
        gradient, outputs = jax.grad(right_logits, has_aux=True)(pixels)
        return jax.nn.softmax(outputs), gradient

    # The first image of every digit.
    _, first = np.unique(np.asarray(data["test"].labels), return_index=True)
    pixels, labels = jax.tree.map(lambda leaf: leaf[..., first], data["test"])
    chances, gradients = jax.tree.map(np.asarray, answered(params, pixels, labels))
    figure = Figure(figsize=(9.0, 0.5 + 1.05 * len(first)), layout="constrained", dpi=150)
    grid = figure.subplots(len(first), 3, squeeze=False, width_ratios=[1, 1, 6])
    for k, (image, slope, answers) in enumerate(grid):
        image.imshow(_as_image(task, np.asarray(pixels)[:, k]), cmap="Greys", vmin=0, vmax=1)
        of_pixels = _as_image(task, gradients[:, k])
        bound = max(float(np.abs(of_pixels).max()), 1e-6)
        slope.imshow(of_pixels, cmap="RdBu_r", vmin=-bound, vmax=bound)
        answers.imshow(
            chances[:, k].T.astype(np.float32), cmap="Blues", vmin=0, vmax=1, aspect="auto",
            interpolation="none",
        )  # fmt: skip
        answers.plot(STEPS - 1, int(labels[k]), "s", color=ORANGE, fillstyle="none", markersize=6)
        answers.set_yticks(range(0, CLASSES, 3))
        answers.tick_params(labelsize=6)
        for axes in (image, slope):
            axes.set(xticks=[], yticks=[])
        if k < len(first) - 1:
            answers.set(xticklabels=[])
    for axes, title in zip(
        grid[0], ("image", "gradient", "answer, if read after each pixel; framed: the digit"),
        strict=True,
    ):  # fmt: skip
        axes.set_title(title, fontsize=10, loc="left")
    grid[-1, 2].set(xlabel="pixels read")
    return figure


def draw_accuracy(
    task: Digits,
    model: "Model",
    params: "ModelParams",
    data: dict[str, Images],
    sequences: int,
) -> Figure:
    """The share of right answers if they were read after every pixel.

    Args:
      task: the task.
      model: the model.
      params: its parameters.
      data: the images.
      sequences: number of test images.
    """

    @jax.jit
    def shares(params: "ModelParams") -> Float[Array, " 64"]:
        batch = task.sample(data, "test", jax.random.key(0), sequences)
        answers = jnp.argmax(model.apply(params, batch.inputs), axis=-1)
        return jnp.mean((answers == batch.targets).astype(jnp.float32), axis=1)

    figure, axes = new_figure(6.5, 4.0)
    axes.plot(np.arange(1, STEPS + 1), np.asarray(shares(params)), color=BLUE, label="network")
    for k, (name, value) in enumerate(task.baselines(data, "test").items()):
        axes.axhline(value, label=f"{name}: {value:.1%}", **reference_style(k))
    for row in range(SIDE, STEPS, SIDE):
        if not task.permuted:
            axes.axvline(row, color=INK, linewidth=0.3, alpha=0.4)
    axes.set(xlabel="pixels read", ylabel="accuracy", ylim=(0, 1.02), xlim=(1, STEPS))
    axes.set_title(f"{sequences} test images, " + ("permuted" if task.permuted else "row by row"))
    axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(0, 0.75))
    return figure


def _as_image(task: Digits, values: Float[np.ndarray, " 64"]) -> Float[np.ndarray, "8 8"]:
    """Values of every step as an image, each at the place of its pixel."""
    image = np.zeros(STEPS, np.float32)
    image[task.order()] = values
    return image.reshape(SIDE, SIDE)
