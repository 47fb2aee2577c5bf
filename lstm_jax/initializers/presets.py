"""Presets: the initializers of a cell, named after the library or paper they come from."""

import math
from typing import Literal, NotRequired, TypedDict, get_args

from lstm_jax.did_you_mean import did_you_mean
from lstm_jax.initializers.biases import Chrono, ForgetBias, UniformGate, zeros
from lstm_jax.initializers.gates import EachGate, ForgetGateOf
from lstm_jax.initializers.weights import (
    TruncatedNormal,
    Uniform,
    glorot_uniform,
    lecun_normal,
    orthogonal,
    orthogonal_per_gate,
)
from lstm_jax.types import Initializer, check_size

PresetName = Literal["torch", "equinox", "keras", "haiku", "flax", "nnx", "chrono", "uniform_gate"]
"""The names of the presets."""

PRESETS: tuple[PresetName, ...] = get_args(PresetName)
"""The valid names for `preset`."""

CellName = Literal[
    "LSTM",
    "ProjectedLSTM",
    "PeepholeLSTM",
    "LayerNormLSTM",
    "CoupledLSTM",
    "RefinedLSTM",
    "GRU",
    "TanhRNN",
]
"""The cells that have presets."""

CELLS: tuple[CellName, ...] = get_args(CellName)


class Preset(TypedDict):
    """The initializers of a cell, as keywords of the cell with ``k`` gate blocks.

    Attributes:
      kernel_init: initializer of the input kernel ``[I, kH]``.
      recurrent_kernel_init: initializer of the recurrent kernel ``[H, kH]``.
      bias_init: initializer of the bias ``[kH]``.
      recurrent_bias_init: initializer of the recurrent bias ``[H]``; of a GRU.
      projection_init: initializer of the projection ``[H, P]``; of a projected LSTM.
    """

    kernel_init: Initializer
    recurrent_kernel_init: Initializer
    bias_init: Initializer
    recurrent_bias_init: NotRequired[Initializer]
    projection_init: NotRequired[Initializer]


def preset(
    name: str,
    input_size: int,
    hidden_size: int,
    *,
    cell: CellName = "LSTM",
    t_max: float | None = None,
) -> Preset:
    """The initializers of a cell in another library or a paper; for the LSTM:

    ================ ================================= ============================ ==============
    name             kernel                            recurrent kernel             bias
    ================ ================================= ============================ ==============
    ``torch``        U(-a, a), a = 1 / sqrt(H)         the same                     sum of two
    ``equinox``      U(-a, a), a = 1 / sqrt(H)         the same                     the same
    ``keras``        Glorot uniform, all gates as one  orthogonal, all gates as one 0, forget 1
    ``haiku``        truncated normal, 1 / sqrt(I + H) the same                     0, forget 1
    ``flax``         LeCun normal                      orthogonal, gate by gate     0
    ``nnx``          LeCun normal                      orthogonal, all gates as one 0
    ``chrono``       LeCun normal                      orthogonal, gate by gate     `Chrono`
    ``uniform_gate`` LeCun normal                      orthogonal, gate by gate     `UniformGate`
    ================ ================================= ============================ ==============

    The values are those that enter the equations. Haiku adds 1 to the forget gate in the step; here
    the 1 is part of the stored bias, so weight decay applies to it. Torch has two biases; here the
    bias is their sum. Torch trains both, so that a gradient step changes their sum twice as much.
    ``flax`` is linen and `nnx.LSTMCell`; ``nnx`` is `nnx.OptimizedLSTMCell` and `nnx.GRUCell`. The
    last two only change the bias; their kernels are the defaults of `LSTM`.

    A GRU has no forget gate: its bias is 0 in Keras, Haiku and Flax, and in ``chrono`` and
    ``uniform_gate`` that of its update gate is what the LSTM's forget gate has. Torch adds two
    biases for its gates only, as the candidate's stay apart. Haiku's GRU has the LeCun normal for
    both kernels. A tanh RNN has one block, so that ``flax`` and ``nnx`` are the same; Haiku draws
    its kernels with 1 / sqrt(I) and 1 / sqrt(H). Of a projected LSTM, ``torch`` draws the
    projection as the kernels, and the last two presets keep the cell's kernels. The other cells
    have the last two alone; the gates of a coupled LSTM have no ``b_i``, and the refine gate of a
    refined LSTM starts with ``-b_f``.

    Args:
      name: a name of the table, one of `PRESETS`.
      input_size: number of input features ``I`` of the cell.
      hidden_size: number of hidden units ``H`` of the cell.
      cell: one of `CELLS`, the class of the cell.
      t_max: the longest expected dependency, in time steps; for ``chrono``, which requires it.

    Returns:
      `Preset`, a dict of keywords for the cell.

    Raises:
      TypeError: when a size is not an integer.
      ValueError: when `name` is not a preset, the library or paper has no such cell, a size is
        below 1, or `t_max` is missing, out of range, or given for another preset than ``chrono``.

    Reference:
      PyTorch, Keras 3, Flax, Haiku and Equinox: the source code of their recurrent layers. Tallec &
      Ollivier (2018), *Can recurrent neural networks warp time?* (``chrono``). Gu, Gulcehre, Paine,
      Hoffman & Pascanu (2020), *Improving the gating mechanism of recurrent neural networks*
      (``uniform_gate``).

    >>> from lstm_jax import GRU, LSTM
    >>> LSTM(3, 4, **preset("torch", 3, 4)).bias_init
    Uniform(bound=0.5, terms=2)
    >>> GRU(3, 4, **preset("torch", 3, 4, cell="GRU")).recurrent_bias_init
    Uniform(bound=0.5, terms=1)
    >>> preset("pytorch", 3, 4)
    Traceback (most recent call last):
    ValueError: preset: no preset 'pytorch'; did you mean 'torch'? There are torch, equinox, keras,\
 haiku, flax, nnx, chrono, uniform_gate
    """
    if name not in PRESETS:
        hint = did_you_mean(name, PRESETS, quoted=True) or "."
        raise ValueError(f"preset: no preset {name!r}{hint} There are {', '.join(PRESETS)}")
    if cell not in CELLS:
        hint = did_you_mean(cell, CELLS, quoted=True)
        raise ValueError(f"preset: cell must be one of {', '.join(CELLS)}; got {cell!r}{hint}")
    if name in _WITHOUT.get(cell, ()):
        raise ValueError(f"preset: there is no {name!r} for {cell}, which {name} does not have")
    check_size("preset", "input_size", input_size)
    check_size("preset", "hidden_size", hidden_size)
    if t_max is not None and name != "chrono":
        raise ValueError(f"preset: t_max is for chrono; got t_max={t_max} with {name!r}")
    if t_max is None and name == "chrono":
        raise ValueError("preset: chrono needs t_max, the longest dependency in time steps")
    kernel_init, recurrent_kernel_init = _kernels(name, cell, input_size, hidden_size)
    made: Preset = {
        "kernel_init": kernel_init,
        "recurrent_kernel_init": recurrent_kernel_init,
        "bias_init": _bias(name, cell, hidden_size, t_max),
    }
    uniform = Uniform(1.0 / math.sqrt(hidden_size))
    if cell == "GRU":
        made["recurrent_bias_init"] = uniform if name in _UNIFORM else zeros
    if cell == "ProjectedLSTM":
        made["projection_init"] = uniform if name in _UNIFORM else lecun_normal
    return made


_UNIFORM = ("torch", "equinox")
_GATED = ("chrono", "uniform_gate")
_LIBRARIES = ("torch", "equinox", "keras", "haiku", "flax", "nnx")
_WITHOUT = {
    "ProjectedLSTM": ("equinox", "keras", "haiku", "flax", "nnx"),
    **dict.fromkeys(("PeepholeLSTM", "LayerNormLSTM", "CoupledLSTM", "RefinedLSTM"), _LIBRARIES),
    "TanhRNN": ("equinox", *_GATED),
}
"""The presets that a cell does not have."""


def _kernels(
    name: str, cell: str, input_size: int, hidden_size: int
) -> tuple[Initializer, Initializer]:
    """The initializers of the two kernels."""
    match name, cell:
        case "torch" | "equinox", _:
            uniform = Uniform(1.0 / math.sqrt(hidden_size))
            return uniform, uniform
        case "keras", _:
            return glorot_uniform, orthogonal
        case "haiku", "GRU":
            return lecun_normal, lecun_normal
        case "haiku", "TanhRNN":
            inputs, hidden = (1.0 / math.sqrt(size) for size in (input_size, hidden_size))
            return TruncatedNormal(inputs), TruncatedNormal(hidden)
        case "haiku", _:
            normal = TruncatedNormal(1.0 / math.sqrt(input_size + hidden_size))
            return normal, normal
        case "nnx", _:
            return lecun_normal, orthogonal
        case _, "ProjectedLSTM":
            return lecun_normal, lecun_normal
    return lecun_normal, orthogonal_per_gate


def _bias(name: str, cell: str, hidden_size: int, t_max: float | None) -> Initializer:
    """The initializer of the bias of all gates."""
    bound = 1.0 / math.sqrt(hidden_size)
    match name:
        case "torch":
            two = Uniform(bound, terms=2)
            return EachGate((two, two, Uniform(bound))) if cell == "GRU" else two
        case "equinox":
            return Uniform(bound)
        case "keras" | "haiku":
            return ForgetBias(1.0) if cell == "LSTM" else zeros
        case "flax" | "nnx":
            return zeros
    of_lstm = UniformGate() if t_max is None else Chrono(t_max)
    match cell:
        case "GRU":
            return EachGate((zeros, ForgetGateOf(of_lstm), zeros))
        case "CoupledLSTM":
            return EachGate((ForgetGateOf(of_lstm), zeros, zeros))
    return of_lstm
