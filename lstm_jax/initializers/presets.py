"""Presets: the three initializers of an LSTM, named after the library or paper they come from."""

import math
from typing import TypedDict

from lstm_jax.did_you_mean import did_you_mean
from lstm_jax.initializers.biases import Chrono, ForgetBias, UniformGate, zeros
from lstm_jax.initializers.weights import (
    TruncatedNormal,
    Uniform,
    glorot_uniform,
    lecun_normal,
    orthogonal,
    orthogonal_per_gate,
)
from lstm_jax.types import Initializer, check_size

PRESETS = ("torch", "equinox", "keras", "haiku", "flax", "chrono", "uniform_gate")
"""The valid names for `preset`."""


class Preset(TypedDict):
    """The initializers of an LSTM, as keywords of the cell.

    Attributes:
      kernel_init: initializer of the input kernel ``[I, 4H]``.
      recurrent_kernel_init: initializer of the recurrent kernel ``[H, 4H]``.
      bias_init: initializer of the bias ``[4H]``.
    """

    kernel_init: Initializer
    recurrent_kernel_init: Initializer
    bias_init: Initializer


def preset(name: str, input_size: int, hidden_size: int, *, t_max: float | None = None) -> Preset:
    """The initializers of an LSTM in another library or a paper.

    ================ ================================= ============================ ==============
    name             kernel                            recurrent kernel             bias
    ================ ================================= ============================ ==============
    ``torch``        U(-a, a), a = 1 / sqrt(H)         the same                     sum of two
    ``equinox``      U(-a, a), a = 1 / sqrt(H)         the same                     the same
    ``keras``        Glorot uniform, all gates as one  orthogonal, all gates as one 0, forget 1
    ``haiku``        truncated normal, 1 / sqrt(I + H) the same                     0, forget 1
    ``flax``         LeCun normal                      orthogonal, gate by gate     0
    ``chrono``       LeCun normal                      orthogonal, gate by gate     `Chrono`
    ``uniform_gate`` LeCun normal                      orthogonal, gate by gate     `UniformGate`
    ================ ================================= ============================ ==============

    The values are those that enter the equations. Haiku adds 1 to the forget gate in the step; here
    the 1 is part of the stored bias, so weight decay applies to it. Torch has two biases; here the
    bias is their sum. Torch trains both, so that a gradient step changes their sum twice as much.
    ``flax`` is `linen` and `nnx.LSTMCell`; `nnx.OptimizedLSTMCell` has the recurrent kernel of
    ``keras``. The last two only change the bias; their kernels are the defaults of `LSTM`.

    Args:
      name: a name of the table, one of `PRESETS`.
      input_size: number of input features ``I`` of the cell.
      hidden_size: number of hidden units ``H`` of the cell.
      t_max: the longest expected dependency, in time steps; for ``chrono``, which requires it.

    Returns:
      `Preset`, a dict of keywords for the cell.

    Raises:
      TypeError: when a size is not an integer.
      ValueError: when `name` is not a preset, a size is below 1, or `t_max` is missing, out of
        range, or given for another preset than ``chrono``.

    Reference:
      PyTorch, Keras 3, Flax, Haiku and Equinox: the source code of their LSTM layers. Tallec &
      Ollivier (2018), *Can recurrent neural networks warp time?* (``chrono``). Gu, Gulcehre, Paine,
      Hoffman & Pascanu (2020), *Improving the gating mechanism of recurrent neural networks*
      (``uniform_gate``).

    >>> from lstm_jax import LSTM
    >>> LSTM(3, 4, **preset("torch", 3, 4)).bias_init
    Uniform(bound=0.5, terms=2)
    >>> preset("pytorch", 3, 4)
    Traceback (most recent call last):
    ValueError: preset: no preset 'pytorch'; did you mean 'torch'? There are torch, equinox, keras,\
 haiku, flax, chrono, uniform_gate
    """
    if name not in PRESETS:
        hint = did_you_mean(name, PRESETS, quoted=True) or "."
        raise ValueError(f"preset: no preset {name!r}{hint} There are {', '.join(PRESETS)}")
    check_size("preset", "input_size", input_size)
    check_size("preset", "hidden_size", hidden_size)
    if t_max is not None and name != "chrono":
        raise ValueError(f"preset: t_max is for chrono; got t_max={t_max} with {name!r}")
    bound = 1.0 / math.sqrt(hidden_size)
    normal = TruncatedNormal(1.0 / math.sqrt(input_size + hidden_size))
    match name:
        case "torch":
            return _preset(Uniform(bound), Uniform(bound), Uniform(bound, terms=2))
        case "equinox":
            return _preset(Uniform(bound), Uniform(bound), Uniform(bound))
        case "keras":
            return _preset(glorot_uniform, orthogonal, ForgetBias(1.0))
        case "haiku":
            return _preset(normal, normal, ForgetBias(1.0))
        case "flax":
            bias_init = zeros
        case "uniform_gate":
            bias_init = UniformGate()
        case _:  # chrono
            if t_max is None:
                raise ValueError("preset: chrono needs t_max, the longest dependency in time steps")
            bias_init = Chrono(t_max)
    return _preset(lecun_normal, orthogonal_per_gate, bias_init)


def _preset(
    kernel_init: Initializer, recurrent_kernel_init: Initializer, bias_init: Initializer
) -> Preset:
    return {
        "kernel_init": kernel_init,
        "recurrent_kernel_init": recurrent_kernel_init,
        "bias_init": bias_init,
    }
