"""The typed schema of a config file. All parts are frozen, and unknown fields are errors."""

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from experiments.tasks import AnyTask
from experiments.tasks.task import STRICT

Count = Annotated[int, Field(ge=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True, config=STRICT)
class ModelConfig:
    """A recurrent layer and a linear readout."""

    cell: Literal["lstm", "tanh_rnn"] = "lstm"
    """the recurrence"""
    hidden_size: Count = 128
    """hidden units H"""
    forget_bias: Annotated[float, Field(allow_inf_nan=False)] = 1.0
    """initial bias of the LSTM's forget gate, if chrono_t_max is none"""
    chrono_t_max: Annotated[float, Field(ge=2, allow_inf_nan=False)] | None = None
    """longest expected dependency in steps, for the LSTM's chrono initialisation"""
    implementation: Literal["scan", "cpu", "cudnn"] | None = None
    """backend of the layer; none to select the fastest that supports it"""
    remat: Count | None = None
    """steps between the states kept for the gradient, to save memory; none to keep every step"""


@dataclass(frozen=True, config=STRICT)
class OptimizerConfig:
    """Gradient clipping, then the optimizer, with its learning-rate schedule."""

    name: Literal["adam", "rmsprop"] = "adam"
    """update rule"""
    learning_rate: Positive = 1e-3
    """peak learning rate of the schedule"""
    b1: Decay = 0.9
    """decay of the mean of the gradients in Adam"""
    b2: Decay = 0.999
    """decay of the mean of the squared gradients in Adam and RMSprop"""
    schedule: Literal["constant", "cosine"] = "constant"
    """learning-rate schedule over the updates; cosine ends at zero"""
    warmup_updates: Annotated[int, Field(ge=0)] = 0
    """updates of the linear warmup from zero"""
    clip_norm: Positive | None = 1.0
    """maximum global norm of the gradient; none for no clipping"""


@dataclass(frozen=True, config=STRICT)
class TrainConfig:
    """The length of the training, and the intervals of logs, evaluations and checkpoints."""

    batch_size: Count = 32
    """sequences per update"""
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


@dataclass(frozen=True, config=STRICT)
class Config:
    """One experiment."""

    task: Annotated[AnyTask, Field(discriminator="name")]
    model: ModelConfig = ModelConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
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
        if self.model.cell != "lstm" and self.model.chrono_t_max is not None:
            raise ValueError(
                f"model.chrono_t_max: must be none for the cell {self.model.cell!r}, which has no"
                f" forget gate; got {self.model.chrono_t_max:g}"
            )
        if self.train.stop_when == "mastered" and self.task.mastered is None:
            raise ValueError(
                f"train.stop_when: the task {self.task.name!r} defines no 'mastered'; use 'solved'"
            )
        return self
