"""The typed schema of a config file. All parts are frozen, and unknown fields are errors."""

from typing import Annotated, Literal

from pydantic import Field, InstanceOf, PlainValidator, model_validator
from pydantic.dataclasses import dataclass

from experiments.config.devices import DevicesConfig
from experiments.config.fields import STRICT, Count, FieldErrors
from experiments.config.model import ModelConfig
from experiments.config.optimizer import Adam, OptimizerConfig
from experiments.model import layer_shapes, make_model
from experiments.tasks import Task

BatchSize = Annotated[int, Field(ge=1, le=10**7)]


@dataclass(frozen=True, config=STRICT)
class TrainConfig:
    """The length of the training, and the intervals of logs, evaluations and checkpoints."""

    batch_size: BatchSize = 32
    """sequences per batch"""
    accumulate: Annotated[int, Field(ge=1, le=10**4)] = 1
    """batches per update, of which the mean of the gradients is used"""
    updates: Count = 10_000
    """maximum number of updates"""
    stop_when: Literal["solved", "mastered", "never"] = "solved"
    """goal at which a seed stops"""
    window: Count | None = None
    """most recent training sequences on which goals are measured, each before its update; none to
    measure them on held-out sequences, at every evaluation"""
    log_every: Annotated[int, Field(ge=1, le=10**6)] = 50
    """updates per line of metrics.jsonl, and per dispatch to the device"""
    eval_every: Count = 100
    """updates between evaluations on held-out sequences"""
    checkpoint_every: Count = 1000
    """updates between checkpoints"""

    @property
    def sequences_per_update(self) -> int:
        """Sequences of all batches of an update."""
        return self.batch_size * self.accumulate


@dataclass(frozen=True, config=STRICT)
class EvalConfig:
    """Evaluation on held-out sequences."""

    sequences: Annotated[int, Field(ge=1, le=10**8)] = 2000
    """number of held-out sequences"""
    batch_size: BatchSize = 500
    """held-out sequences per batch"""


def _checked_already(task: Task) -> Task:
    """The task as it is: its own class has checked it."""
    return task


@dataclass(frozen=True, config=STRICT)
class Config:
    """One experiment."""

    task: Annotated[Task, PlainValidator(_checked_already)]
    model: InstanceOf[ModelConfig] = ModelConfig()
    optimizer: InstanceOf[OptimizerConfig] = Adam()
    train: TrainConfig = TrainConfig()
    eval: EvalConfig = EvalConfig()
    devices: DevicesConfig = DevicesConfig()
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """the first seed"""
    seeds: Annotated[int, Field(ge=1, le=10_000)] = 1
    """number of models to train at once, with the seeds seed, seed + 1, ..."""

    @model_validator(mode="after")
    def _fields_fit_together(self) -> "Config":
        train, optimizer = self.train, self.optimizer
        errors: dict[str, str] = {}
        for name in ("eval_every", "checkpoint_every"):
            if (every := getattr(train, name)) % train.log_every:
                errors[f"train.{name}"] = (
                    f"must be a multiple of train.log_every ({train.log_every}); got {every}"
                )
        if train.window is not None and train.window % train.sequences_per_update:
            errors["train.window"] = (
                f"must be a multiple of the sequences of an update ({train.sequences_per_update});"
                f" got {train.window}"
            )
        if self.eval.sequences % self.eval.batch_size:
            errors["eval.sequences"] = (
                f"must be a multiple of eval.batch_size ({self.eval.batch_size});"
                f" got {self.eval.sequences}"
            )
        if optimizer.warmup_updates >= train.updates:
            errors["optimizer.warmup_updates"] = (
                f"must be less than train.updates ({train.updates}); got {optimizer.warmup_updates}"
            )
        if train.stop_when == "mastered" and self.task.mastered is None:
            errors["train.stop_when"] = (
                f"the task {self.task.name!r} defines no 'mastered'; use 'solved'"
            )
        if self.seed + self.seeds > 2**31:
            errors["seeds"] = f"seed + seeds must be at most {2**31}; got {self.seed + self.seeds}"
        try:
            make_model(self.model, self.task)
            layer_shapes(self.model, self.task)
        except FieldErrors as error:
            errors |= error.below("model").errors
        if errors:
            raise FieldErrors(errors)
        return self
