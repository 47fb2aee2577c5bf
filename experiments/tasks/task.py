"""The interface of a task: its data, loss, metrics, goals and figures."""

from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, Protocol

from jaxtyping import Array, Float, Int

from experiments.tasks.goal import Goal
from lstm_jax.types import PRNGKey, PyTree

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from experiments.model import Model, ModelParams

Split = Literal["train", "validation", "test"]


class Batch(NamedTuple):
    """A batch of sequences: in every array, time is axis 0 and the batch is axis 1.

    Attributes:
      inputs: features ``[T, B, I]``, or class indices ``[T, B]``, which the model encodes one-hot.
      targets: the targets of the loss, arrays ``[T, B]``, or ``[1, B]`` if only the last step
        has a target.
      lengths: the valid steps of every sequence ``[B]``, with padding after them; None if all are
        valid. The model is unrolled with them, and `Task.loss` must not read padding.
    """

    inputs: Array
    targets: PyTree
    lengths: Int[Array, " B"] | None = None


class Task(Protocol):
    """A frozen dataclass of settings with pure functions; its fields are config fields.

    What is a class variable here is a property in a task where it depends on the fields.

    Attributes:
      metric: the metric of the learning curve and of the baselines.
      metric_scale: the axis of the learning curve.
      solved: the goal at which training can stop.
      mastered: a stricter goal, or None.
      input_size: input features ``I``, or the number of input classes.
      output_size: outputs ``O`` per step.
    """

    metric: ClassVar[str]
    metric_scale: ClassVar[Literal["linear", "log"]]
    solved: ClassVar[Goal]
    mastered: ClassVar[Goal | None]
    input_size: ClassVar[int]
    output_size: ClassVar[int]

    @property
    def name(self) -> str:
        """The name of the task in config files."""
        ...

    def load(self) -> PyTree:
        """Load the arrays that `sample` needs; empty if sequences are drawn from the key alone."""
        ...

    def sample(self, data: PyTree, split: Split, key: PRNGKey, batch_size: int) -> Batch:
        """Draw sequences: a pure function of the key, called inside the jitted update."""
        ...

    def loss(self, outputs: Float[Array, "T B O"], batch: Batch) -> Float[Array, ""]:
        """The training loss, a mean over the batch."""
        ...

    def metrics(self, outputs: Float[Array, "T B O"], batch: Batch) -> dict[str, Float[Array, ""]]:
        """The reported metrics, each a mean over the batch."""
        ...

    def baselines(self, data: PyTree, split: Split) -> dict[str, float]:
        """Values of `metric` for solutions with little memory or none, by their names."""
        ...

    def figures(
        self, model: "Model", params: "ModelParams", data: PyTree, key: PRNGKey, sequences: int
    ) -> "dict[str, Figure | str]":
        """Draw the figures of a trained model.

        Import matplotlib inside this method, not with the task.

        Args:
          model: the trained model.
          params: its parameters, of one seed.
          data: the data from `load`.
          key: the key of the test sequences.
          sequences: the number of test sequences in an evaluation.

        Returns:
          Figures and texts by file name, for example ``{"recall.png": figure}``.
        """
        ...


def goals(task: Task) -> dict[str, Goal]:
    """The goals of a task, by name."""
    named = {"solved": task.solved, "mastered": task.mastered}
    return {name: goal for name, goal in named.items() if goal is not None}
