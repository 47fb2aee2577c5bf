"""The activations of recurrent ONNX nodes: their names, and functions of JAX that compute them.

A node lists the names of its activations, and their parameters ``alpha`` and ``beta`` in the order
in which the activations need them. Its ``clip`` bounds the pre-activations, which are the inputs of
all activations but that of the cell state in ``h_t``, as in onnxruntime.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lstm_jax.cells.cell import Activation, identity
from lstm_jax.cells.original import squash_g, squash_h
from lstm_jax.did_you_mean import did_you_mean


def _rounded(value: float) -> float:
    """The shortest decimal number that is this float32, as attributes are stored in float32."""
    return float(str(np.float32(value)))


class _Kind(NamedTuple):
    """An activation of ONNX: its equation, and the defaults of alpha and beta.

    A default is None where the activation has no such parameter, and NaN where it has no default.
    """

    equation: Callable[[jax.Array, Any, Any], jax.Array]
    alpha: float | None = None
    beta: float | None = None


_KINDS: Mapping[str, _Kind] = {
    "Sigmoid": _Kind(lambda x, a, b: jax.nn.sigmoid(x)),
    "Tanh": _Kind(lambda x, a, b: jnp.tanh(x)),
    "Relu": _Kind(lambda x, a, b: jax.nn.relu(x)),
    "Softplus": _Kind(lambda x, a, b: jax.nn.softplus(x)),
    "Softsign": _Kind(lambda x, a, b: jax.nn.soft_sign(x)),
    "Affine": _Kind(lambda x, a, b: a * x + b, math.nan, math.nan),
    "LeakyRelu": _Kind(lambda x, a, b: jnp.where(x >= 0, x, a * x), 0.01),
    "ThresholdedRelu": _Kind(lambda x, a, b: jnp.where(x > a, x, 0.0), 1.0),
    "ScaledTanh": _Kind(lambda x, a, b: a * jnp.tanh(b * x), math.nan, math.nan),
    "HardSigmoid": _Kind(lambda x, a, b: jnp.clip(a * x + b, 0.0, 1.0), 0.2, 0.5),
    "Elu": _Kind(lambda x, a, b: jax.nn.elu(x, a), 1.0),
}


@dataclass(frozen=True, repr=False)
class OnnxActivation:
    """An activation of ONNX as a function: ``f(min(max(x, -clip), clip))``.

    Args:
      name: its name in ONNX, such as ``"HardSigmoid"``.
      alpha, beta: its parameters; None where it has none.
      clip: bound of its input; None for no bound.

    >>> OnnxActivation("HardSigmoid", 0.5, 0.5)(jnp.array([-3.0, 0.0, 3.0])).tolist()
    [0.0, 0.5, 1.0]
    """

    name: str
    alpha: float | None = None
    beta: float | None = None
    clip: float | None = None

    def __call__(self, x: jax.Array) -> jax.Array:
        """The activation of `x`, with its shape and dtype."""
        if self.clip is not None:
            x = jnp.clip(x, -self.clip, self.clip)
        return _KINDS[self.name].equation(x, self.alpha, self.beta)

    def __repr__(self) -> str:
        fields = [("alpha", self.alpha), ("beta", self.beta), ("clip", self.clip)]
        given = "".join(f", {name}={value:g}" for name, value in fields if value is not None)
        return f"OnnxActivation({self.name!r}{given})"

    @property
    def is_symmetric(self) -> bool:
        """Whether ``1 - f(x) = f(-x)``, so that a gate and its complement are one kind of gate."""
        return self.name == "Sigmoid" or (self.name == "HardSigmoid" and self.beta == 0.5)


_FUNCTIONS: Mapping[OnnxActivation, Activation] = {
    OnnxActivation("Sigmoid"): jax.nn.sigmoid,
    OnnxActivation("Tanh"): jnp.tanh,
    OnnxActivation("Relu"): jax.nn.relu,
    OnnxActivation("Softplus"): jax.nn.softplus,
    OnnxActivation("Softsign"): jax.nn.soft_sign,
    OnnxActivation("LeakyRelu", 0.01): jax.nn.leaky_relu,
    OnnxActivation("Elu", 1.0): jax.nn.elu,
    OnnxActivation("HardSigmoid", _rounded(1 / 6), 0.5): jax.nn.hard_sigmoid,
    OnnxActivation("ScaledTanh", 2.0, 0.5): squash_g,
    OnnxActivation("ScaledTanh", 1.0, 0.5): squash_h,
    OnnxActivation("Affine", 1.0, 0.0): identity,
}


def read_activations(
    function: str,
    names: Sequence[str],
    alphas: Sequence[float],
    betas: Sequence[float],
) -> list[OnnxActivation]:
    """The activations of a node, from its attributes.

    Args:
      function: the public function and the node to name in errors.
      names: the attribute ``activations``.
      alphas: the attribute ``activation_alpha``.
      betas: the attribute ``activation_beta``.

    Returns:
      One for each name.

    Raises:
      ValueError: when a name is not one of ONNX, or a parameter without a default is missing.

    >>> read_activations("to_params", ["Tanh", "LeakyRelu"], [], [])[1].alpha
    0.01
    >>> read_activations("to_params", ["Tahn"], [], [])
    Traceback (most recent call last):
    ValueError: to_params: activations must be Sigmoid, Tanh, Relu, Softplus, Softsign, Affine,\
 LeakyRelu, ThresholdedRelu, ScaledTanh, HardSigmoid, Elu; got Tahn; did you mean Tanh?
    """
    valid = {name.lower(): name for name in _KINDS}
    left = {"alpha": [*alphas], "beta": [*betas]}
    found = []
    for given in names:
        name = valid.get(given.lower())
        if name is None:
            raise ValueError(
                f"{function}: activations must be {', '.join(_KINDS)}; got"
                f" {given}{did_you_mean(given, _KINDS)}"
            )
        values = {}
        for parameter, queue in left.items():
            default = getattr(_KINDS[name], parameter)
            if default is None:
                continue
            value = _rounded(queue.pop(0)) if queue else default
            if math.isnan(value):
                raise ValueError(f"{function}: {name} needs activation_{parameter}; got none")
            values[parameter] = value
        found.append(OnnxActivation(name, **values))
    return found


def to_function(activation: OnnxActivation) -> Activation:
    """The function of JAX that computes an activation, where there is one; else itself.

    >>> to_function(OnnxActivation("Tanh")) is jnp.tanh
    True
    """
    return _FUNCTIONS.get(activation, activation)


def to_activation(function: str, given: Activation) -> OnnxActivation:
    """The activation of ONNX that computes a function.

    Args:
      function: the public function to name in errors.
      given: the activation of a cell.

    Returns:
      The activation.

    Raises:
      TypeError: when ONNX has no such activation.

    >>> to_activation("onnx.from_params", jnp.sin)
    Traceback (most recent call last):
    TypeError: onnx.from_params: activations must be sigmoid, tanh, relu, softplus, soft_sign,\
 leaky_relu, elu, hard_sigmoid, squash_g, squash_h, identity, or an OnnxActivation; got sin
    """
    if isinstance(given, OnnxActivation):
        return given
    for activation, known in _FUNCTIONS.items():
        if known == given:
            return activation
    names = ", ".join(known.__name__ for known in _FUNCTIONS.values())
    raise TypeError(
        f"{function}: activations must be {names}, or an OnnxActivation; got"
        f" {getattr(given, '__name__', given)}"
    )


def to_attributes(activations: Sequence[OnnxActivation]) -> dict[str, Any]:
    """The attributes of a node with these activations: the inverse of `read_activations`.

    >>> to_attributes([OnnxActivation("Tanh"), OnnxActivation("Elu", 1.0)])
    {'activations': ['Tanh', 'Elu'], 'activation_alpha': [1.0]}
    """
    attributes: dict[str, Any] = {"activations": [each.name for each in activations]}
    for parameter in ("alpha", "beta"):
        values = [getattr(each, parameter) for each in activations]
        if values := [value for value in values if value is not None]:
            attributes[f"activation_{parameter}"] = values
    return attributes
