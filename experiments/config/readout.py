"""The readout of a model in a config: its activation, bias and initial weights."""

from pydantic.dataclasses import dataclass

from experiments.config.calls import ActivationText, InitializerText
from experiments.config.fields import STRICT, FieldErrors


@dataclass(frozen=True, config=STRICT)
class ReadoutConfig:
    """The affine readout of the last layer's outputs."""

    bias: bool = True
    """whether the readout has a bias"""
    activation: ActivationText | None = None
    """function of the outputs, such as sigmoid; none for linear outputs"""
    kernel_init: InitializerText | None = None
    """initializer of the kernel; none for lecun_normal"""
    bias_init: InitializerText | None = None
    """initializer of the bias; none for zeros"""

    def __post_init__(self) -> None:
        if self.bias_init is not None and not self.bias:
            raise FieldErrors({"bias_init": "has no effect without bias"})
