"""The optimizer section of a config: what all optimizers have in common, and one class for each."""

import functools
import inspect
from typing import Annotated, Any, Literal

import optax
from pydantic import Field
from pydantic.dataclasses import dataclass

from experiments.config.components import find_component
from experiments.config.fields import (
    STRICT,
    Decay,
    FieldErrors,
    Integer,
    Lane,
    NotNegative,
    Positive,
    Real,
)
from experiments.config.section_class import section_class
from experiments.kernels import are_kernels

LearningRate = Any
"""A number, or a schedule from the number of updates to one."""


@dataclass(frozen=True, config=STRICT)
class OptimizerConfig:
    """Gradient clipping, the optimizer, its learning-rate schedule, and averaged weights."""

    name: str
    """update rule"""
    learning_rate: Annotated[Positive, Lane()] = 1e-3
    """peak learning rate of the schedule"""
    schedule: Literal["constant", "cosine", "linear"] = "constant"
    """learning rate over the updates; cosine and linear fall to final_learning_rate at the end"""
    final_learning_rate: Annotated[NotNegative, Lane()] = 0.0
    """learning rate at the last update of a cosine or linear schedule"""
    warmup_updates: Annotated[int, Field(ge=0, le=10**9)] = 0
    """updates of the linear warm-up from zero"""
    clip_norm: Annotated[Positive, Lane()] | None = 1.0
    """maximum global norm of the gradient; none for no clipping"""
    clip_value: Annotated[Positive, Lane()] | None = None
    """maximum absolute value of each element of the gradient; none for no clipping"""
    average: Annotated[Decay, Lane()] | None = None
    """decay of the moving average of the weights that is evaluated; none to evaluate the weights"""

    def rule(self, learning_rate: LearningRate) -> optax.GradientTransformation:
        """The update rule, without clipping."""
        raise NotImplementedError(f"{type(self).__name__} has no rule")


@dataclass(frozen=True, config=STRICT)
class Adam(OptimizerConfig):
    """Adam (Kingma & Ba 2015)."""

    name: str = "adam"
    """update rule"""
    b1: Annotated[Decay, Lane()] = 0.9
    """decay of the mean of the gradients"""
    b2: Annotated[Decay, Lane()] = 0.999
    """decay of the mean of the squared gradients"""
    eps: Annotated[Positive, Lane()] = 1e-8
    """added to the root of the mean square"""

    def rule(self, learning_rate: LearningRate) -> optax.GradientTransformation:
        """``m / (sqrt(v) + eps)``, times the learning rate."""
        return optax.adam(learning_rate, b1=self.b1, b2=self.b2, eps=self.eps)


@dataclass(frozen=True, config=STRICT)
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""

    name: str = "adamw"
    """update rule"""
    weight_decay: Annotated[NotNegative, Lane()] = 1e-4
    """share of the kernels, times the learning rate, that is subtracted in every update"""

    def rule(self, learning_rate: LearningRate) -> optax.GradientTransformation:
        """Adam's update, and ``weight_decay * kernel``."""
        return optax.adamw(
            learning_rate,
            b1=self.b1,
            b2=self.b2,
            eps=self.eps,
            weight_decay=self.weight_decay,
            mask=are_kernels,
        )


@dataclass(frozen=True, config=STRICT)
class SGD(OptimizerConfig):
    """Stochastic gradient descent, with momentum."""

    name: str = "sgd"
    """update rule"""
    momentum: Annotated[Decay, Lane()] | None = None
    """decay of the sum of the gradients; none for no momentum"""
    nesterov: bool = False
    """whether the momentum is Nesterov's"""

    def __post_init__(self) -> None:
        if self.nesterov and self.momentum is None:
            raise FieldErrors({"nesterov": "has no effect without momentum"})

    def rule(self, learning_rate: LearningRate) -> optax.GradientTransformation:
        """The gradient or its decaying sum, times the learning rate."""
        return optax.sgd(learning_rate, momentum=self.momentum, nesterov=self.nesterov)


@dataclass(frozen=True, config=STRICT)
class RMSprop(OptimizerConfig):
    """RMSprop (Tieleman & Hinton 2012)."""

    name: str = "rmsprop"
    """update rule"""
    decay: Annotated[Decay, Lane()] = 0.9
    """decay of the mean of the squared gradients"""
    eps: Annotated[Positive, Lane()] = 1e-8
    """added to the root of the mean square"""
    momentum: Annotated[Decay, Lane()] | None = None
    """decay of the sum of the updates; none for no momentum"""

    def rule(self, learning_rate: LearningRate) -> optax.GradientTransformation:
        """``gradient / sqrt(v)``, times the learning rate."""
        return optax.rmsprop(learning_rate, decay=self.decay, eps=self.eps, momentum=self.momentum)


@dataclass(frozen=True, config=STRICT)
class Lion(OptimizerConfig):
    """Lion: the sign of a mean of the gradients (Chen et al. 2023)."""

    name: str = "lion"
    """update rule"""
    b1: Annotated[Decay, Lane()] = 0.9
    """share of the mean in the update"""
    b2: Annotated[Decay, Lane()] = 0.99
    """decay of the mean of the gradients"""
    weight_decay: Annotated[NotNegative, Lane()] = 0.0
    """share of the kernels, times the learning rate, that is subtracted in every update"""

    def rule(self, learning_rate: LearningRate) -> optax.GradientTransformation:
        """The sign, times the learning rate, and ``weight_decay * kernel``."""
        return optax.lion(
            learning_rate,
            b1=self.b1,
            b2=self.b2,
            weight_decay=self.weight_decay,
            mask=are_kernels,
        )


OPTIMIZERS: dict[str, type[OptimizerConfig]] = {
    "adam": Adam,
    "adamw": AdamW,
    "sgd": SGD,
    "rmsprop": RMSprop,
    "lion": Lion,
}
"""The built-in optimizers by their names in a config."""


def optimizer_class(name: Any) -> type[OptimizerConfig]:
    """The class of the optimizer section that a name selects.

    Args:
      name: a built-in optimizer, or the import path of one's own: a subclass of `OptimizerConfig`,
        or a function of optax's form ``f(learning_rate, ...) -> GradientTransformation``, whose
        keywords with plain defaults become fields: ``optax:adabelief``.

    Returns:
      A class whose fields are those of the section.

    Raises:
      ValueError: if there is no such optimizer.

    >>> optimizer_class("optax:adabelief")(learning_rate=0.1).b2
    0.999
    """
    return _class_of(find_component("optimizer", name, OPTIMIZERS), name)


@functools.cache
def _class_of(found: Any, name: str) -> type[OptimizerConfig]:
    if isinstance(found, type) and issubclass(found, OptimizerConfig):
        if found.rule is OptimizerConfig.rule:
            raise ValueError(f"{name} is not an optimizer: it has no method rule")
        return found if name in OPTIMIZERS else _named(found, name)
    if not callable(found) or "learning_rate" not in _parameters(found):
        raise ValueError(
            f"{name} must be a subclass of OptimizerConfig, or a function of a learning_rate such"
            " as optax:adabelief"
        )
    return _class_of_function(name, found)


def _named(found: type[OptimizerConfig], name: str) -> type[OptimizerConfig]:
    """A class of one's own, with its import path as its name in the config."""
    field = ("name", str, name, "update rule: a name, or the import path of one's own")
    return section_class(found.__name__, found, [field], found.__doc__ or name)


def _class_of_function(name: str, function: Any) -> type[OptimizerConfig]:
    """A section with the keywords of a function as fields."""
    fields: list[Any] = [("name", str, name, "update rule: a name, or the import path")]
    masks = []
    for each in _parameters(function).values():
        if each.name in ("mask", "weight_decay_mask"):
            masks.append(each.name)
        elif each.name != "learning_rate" and type(each.default) in _PLAIN:
            kind = _RANGES.get(each.name, _PLAIN[type(each.default)])
            fields.append((each.name, kind, each.default, f"{each.name} of {name}"))
        elif each.name != "learning_rate" and each.default is inspect.Parameter.empty:
            if each.annotation not in _PLAIN:
                raise ValueError(f"{name} needs {each.name}, which no config has")
            kind = _PLAIN[each.annotation]
            fields.append((each.name, kind, ..., f"{each.name} of {name}"))

    def rule(self: OptimizerConfig, learning_rate: LearningRate) -> optax.GradientTransformation:
        chosen = {each: getattr(self, each) for each, *_ in fields[1:]}
        return function(learning_rate, **chosen, **dict.fromkeys(masks, are_kernels))

    summary = (inspect.getdoc(function) or "").splitlines()
    doc = summary[0] if summary else name
    return section_class(name.rpartition(":")[2], OptimizerConfig, fields, doc, rule=rule)


_PLAIN: dict[Any, Any] = {bool: bool, int: Integer, float: Real, str: str}
"""Types of keywords that become fields, and their types in a config."""

_RANGES = {
    **dict.fromkeys(("b1", "b2", "b3", "rho", "decay", "decay_rate", "momentum"), Decay),
    **dict.fromkeys(("eps", "eps_root", "weight_decay"), NotNegative),
}
"""Ranges of keywords that mean the same in all functions of Optax."""


def _parameters(function: Any) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return {}
