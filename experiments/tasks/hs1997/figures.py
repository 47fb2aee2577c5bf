"""The memory of a network over a sequence of the tasks of 1997, with the steps that count."""

from typing import TYPE_CHECKING, Any

from lstm_jax.types import PRNGKey

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from experiments.model import Model, ModelParams


def draw_memory(
    task: Any, model: "Model", params: "ModelParams", key: PRNGKey
) -> "dict[str, Figure | str]":
    """The cell state over one sequence."""
    del task, model, params, key
    return {}
