"""The readout of a model: an affine map of the last layer's outputs, and an activation."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from experiments.config.calls import activation, initializer
from experiments.config.components import short_text, where
from experiments.config.fields import FieldErrors
from experiments.config.readout import ReadoutConfig
from lstm_jax.cells.cell import Activation
from lstm_jax.initializers import lecun_normal, zeros
from lstm_jax.types import Initializer, PRNGKey


class ReadoutParams(NamedTuple):
    """Parameters of the readout, for ``O`` outputs.

    Attributes:
      kernel: kernel ``[H, O]``.
      bias: bias ``[O]``, or None.
    """

    kernel: Float[Array, "H O"]
    bias: Any  # Optax's types of parameters have no None


@dataclass(frozen=True)
class Readout:
    """The readout ``y_t = a(h_t W + b)``.

    Attributes:
      bias: whether there is a bias.
      activation: the function a; None for the identity.
      kernel_init: initializer of the kernel ``[H, O]``.
      bias_init: initializer of the bias ``[O]``.

    >>> readout = Readout(activation=jax.nn.sigmoid)
    >>> params = readout.init(jax.random.key(0), 3, 2)
    >>> readout(params, jnp.zeros((5, 3))).shape
    (5, 2)
    """

    bias: bool = True
    activation: Activation | None = None
    kernel_init: Initializer = lecun_normal
    bias_init: Initializer = zeros

    def init(self, key: PRNGKey, features: int, outputs: int) -> ReadoutParams:
        """Initial parameters, drawn from a key."""
        kernel = self.kernel_init(key, (features, outputs), jnp.float32)
        if not self.bias:
            return ReadoutParams(kernel, None)
        k_bias = jax.random.fold_in(key, 1)
        return ReadoutParams(kernel, self.bias_init(k_bias, (outputs,), jnp.float32))

    def __call__(self, params: ReadoutParams, h: Float[Array, "... H"]) -> Float[Array, "... O"]:
        """The outputs for hidden states ``h``, in the dtype of the readout's own parameters."""
        y = h.astype(params.kernel.dtype) @ params.kernel
        if params.bias is not None:
            y = y + jax.lax.broadcast_to_rank(params.bias, y.ndim)
        return y if self.activation is None else self.activation(y)


LINEAR = Readout()
"""The linear readout that models have by default."""


def make_readout(config: ReadoutConfig, features: int, outputs: int) -> Readout:
    """The readout of a config, once it has been tried.

    Args:
      config: the section ``model.readout``.
      features: number of features ``H`` that it reads.
      outputs: number of outputs ``O``.

    Raises:
      FieldErrors: if an initializer or the activation fails for these sizes.

    >>> make_readout(ReadoutConfig(activation="tanh", bias=False), 3, 1).activation is jnp.tanh
    True
    """
    made = {
        name: make(text)
        for name, make in _MAKE.items()
        if (text := getattr(config, name)) is not None
    }
    readout = Readout(bias=config.bias, **made)
    key = jax.eval_shape(lambda: jax.random.key(0))
    shapes = {"kernel_init": (features, outputs), "bias_init": (outputs,)}
    for name, shape in shapes.items():
        if name in made:
            _try(name, lambda key, of=made[name], to=shape: of(key, to, jnp.float32), key, shape)
    if "activation" in made:
        y = jax.ShapeDtypeStruct((1, outputs), jnp.float32)
        _try("activation", made["activation"], y, y.shape)
    return readout


_MAKE = {"activation": activation, "kernel_init": initializer, "bias_init": initializer}


def _try(name: str, function: object, argument: object, shape: tuple[int, ...]) -> None:
    """Raise unless a function of the config gives an array of this shape."""
    try:
        found = jax.eval_shape(function, argument).shape  # type: ignore[arg-type, union-attr]
    # A function of one's own may raise anything.
    except (TypeError, ValueError) as error:
        raise FieldErrors({name: short_text(str(error), 150)}) from None
    except Exception as error:
        raise FieldErrors({name: where(error)}) from None
    if found != shape:
        raise FieldErrors({name: f"must give an array of the shape {shape}; it gave {found}"})
