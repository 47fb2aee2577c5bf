"""The typed schema of a config file. All parts are frozen, and unknown fields are errors."""

from typing import Annotated, Literal

from pydantic import Field, InstanceOf, PlainValidator, model_validator
from pydantic.dataclasses import dataclass

from experiments.config.fields import STRICT, Count
from experiments.config.model import ModelConfig
from experiments.config.optimizer import Adam, OptimizerConfig
from experiments.model import make_model
from experiments.tasks import Task


@dataclass(frozen=True, config=STRICT)
class TrainConfig:
    """The length of the training, and the intervals of logs, evaluations and checkpoints."""

    batch_size: Count = 32
    """sequences per batch"""
    accumulate: Count = 1
    """batches per update, of which the mean of the gradients is used"""
    updates: Count = 10_000
    """maximum number of updates"""
    stop_when: Literal["solved", "mastered", "never"] = "solved"
    """goal on held-out sequences at which a seed stops"""
    log_every: Count = 50
    """updates per line of metrics.jsonl, and per dispatch to the device"""
    eval_every: Count = 100
    """updates between evaluations on held-out sequences"""
    checkpoint_every: Count = 1000
    """updates between checkpoints"""


@dataclass(frozen=True, config=STRICT)
class EvalConfig:
    """Evaluation on held-out sequences."""

    sequences: Count = 2000
    """number of held-out sequences"""
    batch_size: Count = 500
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
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """the first seed"""
    seeds: Count = 1
    """number of models to train at once, with the seeds seed, seed + 1, ..."""

    @model_validator(mode="after")
    def _fields_fit_together(self) -> "Config":
        for name in ("eval_every", "checkpoint_every"):
            if getattr(self.train, name) % self.train.log_every:
                raise ValueError(
                    f"train.{name}: must be a multiple of train.log_every"
                    f" ({self.train.log_every}); got {getattr(self.train, name)}"
                )
        if self.eval.sequences % self.eval.batch_size:
            raise ValueError(
                f"eval.sequences: must be a multiple of eval.batch_size"
                f" ({self.eval.batch_size}); got {self.eval.sequences}"
            )
        if self.optimizer.warmup_updates >= self.train.updates:
            raise ValueError(
                f"optimizer.warmup_updates: must be less than train.updates"
                f" ({self.train.updates}); got {self.optimizer.warmup_updates}"
            )
        if self.train.stop_when == "mastered" and self.task.mastered is None:
            raise ValueError(
                f"train.stop_when: the task {self.task.name!r} defines no 'mastered'; use 'solved'"
            )
        try:
            make_model(self.model, self.task)
        except (TypeError, ValueError) as error:
            raise ValueError(f"model: {str(error).splitlines()[0]}") from None
        return self
