"""A layer of the model in a config: a cell with its own fields, directions and transforms."""

import collections.abc
import dataclasses
import functools
import inspect
import re
import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import Field
from pydantic.dataclasses import dataclass

import lstm_jax as lj
from experiments.config.components import find_component
from experiments.config.fields import STRICT, Count, Lane, Positive, Rate, Real
from experiments.config.section_class import section_class
from lstm_jax.initializers import PresetName
from lstm_jax.types import Policy

CELLS: dict[str, type[Any]] = {
    "lstm": lj.LSTM,
    "gru": lj.GRU,
    "tanh_rnn": lj.TanhRNN,
    "original_lstm": lj.OriginalLSTM,
    "peephole_lstm": lj.PeepholeLSTM,
    "coupled_lstm": lj.CoupledLSTM,
    "layer_norm_lstm": lj.LayerNormLSTM,
    "projected_lstm": lj.ProjectedLSTM,
    "conv_lstm": lj.ConvLSTM,
    "slstm": lj.SLSTM,
    "mlstm": lj.MLSTM,
    "min_lstm": lj.MinLSTM,
}
"""The cells of the library by their names in a config."""

DType = Literal["float16", "bfloat16", "float32", "float64"]


@dataclass(frozen=True, config=STRICT)
class Dtypes:
    """Dtypes of a layer; none takes the default of `lstm_jax.Policy`."""

    param: DType = "float32"
    """parameters, and their gradients summed over time"""
    compute: DType | None = None
    """the two factors of every product with a weight; none for that of the parameters"""
    cell_state: DType | None = None
    """the memory, sums of products, and gates; none for compute, float32 at least"""
    output: DType | None = None
    """the hidden state; none for compute"""


@dataclass(frozen=True, config=STRICT)
class Zoneout:
    """Probabilities that a unit keeps its value of the step before."""

    h: Rate = 0.0
    """of the hidden state"""
    c: Rate = 0.0
    """of the cell state"""


@dataclass(frozen=True, config=STRICT)
class Clip:
    """Bounds of the state; none for no bound."""

    h: Positive | None = None
    """largest absolute value of the hidden state"""
    c: Positive | None = None
    """largest absolute value of the cell state"""


@dataclass(frozen=True, config=STRICT, kw_only=True)
class LayerConfig:
    """A cell, its directions, and the transforms around it, the innermost first."""

    cell: str = "lstm"
    """the recurrence"""
    preset: PresetName | None = None
    """initial weights as another library or a paper draws them; none for the cell's own"""
    forget_bias: Annotated[Real, Lane()] | None = None
    """initial bias of the forget gate; none for the cell's own, which is 1"""
    chrono_t_max: Annotated[float, Field(ge=2, le=1e30, allow_inf_nan=False), Lane()] | None = None
    """longest expected dependency in steps, for the chrono initialisation; none for none"""
    init_scale: Annotated[Positive, Lane()] = 1.0
    """factor of the initial kernels"""
    dtype: DType | Dtypes = "float32"
    """dtype of the parameters, or a dtype for each use"""
    weight_drop: Rate = 0.0
    """dropout of the recurrent kernel, one mask a sequence (DropConnect)"""
    candidate_dropout: Rate = 0.0
    """dropout of the candidate"""
    recurrent_dropout: Rate = 0.0
    """dropout of the hidden state as input of the gates, one mask a sequence"""
    zoneout: Zoneout = Zoneout()
    """probabilities that a unit keeps its value of the step before"""
    clip: Clip = Clip()
    """bounds of the state"""
    learned_initial_state: bool = False
    """whether the state before the first step is a parameter"""
    bidirectional: bool = False
    """whether the sequence is read in both directions"""
    merge: Literal["concat", "sum", "mean", "multiply"] = "concat"
    """how the outputs of the two directions become one"""
    tied: bool = False
    """whether the two directions share their parameters"""
    input_dropout: Rate = 0.0
    """dropout of the inputs"""
    residual: bool = False
    """whether the inputs are added to the outputs, which have to be as many"""
    skip: bool = False
    """whether the inputs are concatenated to the outputs"""


@functools.cache
def layer_class(cell: Any) -> type[LayerConfig]:
    """The class of a layer with a cell: the fields of every layer, and those of the cell.

    Args:
      cell: a name of `CELLS`, or the import path of a cell of one's own: a frozen dataclass with a
        field ``input_size``. Its fields of plain types, initializers and activations become fields
        of the layer.

    Returns:
      The class.

    Raises:
      ValueError: if there is no such cell.

    >>> layer_class("projected_lstm")(hidden_size=8, projection_size=4).projection_size
    4
    """
    found = find_component("cell", cell, CELLS)
    inputs = {"input_size", "input_shape"}
    if not dataclasses.is_dataclass(found) or not inputs & {
        each.name for each in dataclasses.fields(found)
    }:
        raise ValueError(f"{cell} is not a cell: a frozen dataclass with a field input_size")
    hints, docs = get_type_hints(found), _documented(found)
    taken = inputs | {each.name for each in dataclasses.fields(LayerConfig)}
    own: list[Any] = [("cell", str, cell, "the recurrence")]
    for field in dataclasses.fields(found):
        if field.name not in taken and field.init:
            kind, default = config_type(hints[field.name]), _config_default(field)
            if default is None and not _takes_none(kind):
                kind = kind | None
            own.append((field.name, kind, default, docs.get(field.name, "")))
    return section_class(
        f"{found.__name__}Layer", LayerConfig, own, f"A layer with the cell {cell}."
    )


def own_fields(cls: type[LayerConfig]) -> list[str]:
    """The names of the fields of a layer that are those of its cell.

    >>> own_fields(layer_class("tanh_rnn"))
    ['hidden_size', 'kernel_init', 'recurrent_kernel_init', 'bias_init', 'activation']
    """
    common = {field.name for field in dataclasses.fields(LayerConfig)}
    return [field.name for field in dataclasses.fields(cls) if field.name not in common]


def layer(cell: str = "lstm", **fields: Any) -> LayerConfig:
    """A layer of a config, with the fields of its cell.

    >>> layer("gru", hidden_size=64, residual=True).hidden_size
    64
    """
    return layer_class(cell)(cell=cell, **fields)


def config_type(hint: Any) -> Any:
    """The type in a config of a cell's field: text for functions, and the same for plain types.

    >>> config_type(collections.abc.Callable[[int], int]), config_type(float | None)
    (<class 'str'>, float | None)
    """
    origin = get_origin(hint)
    if origin is collections.abc.Callable:
        return str
    if hint is int:
        return Count
    if hint in (float, bool, str, type(None)) or origin is Literal:
        return hint
    if origin in (Union, types.UnionType):
        kinds = tuple(config_type(each) for each in get_args(hint))
        return Union[kinds]  # noqa: UP007
    if origin in (tuple, list, collections.abc.Sequence):
        return tuple[config_type(get_args(hint)[0]), ...]
    return str


def _config_default(field: dataclasses.Field[Any]) -> Any:
    """The default of a cell's field as it stands in a config."""
    if field.name == "hidden_size" and field.default is dataclasses.MISSING:
        return 128
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    if field.default is dataclasses.MISSING:
        return ...
    default = field.default
    if isinstance(default, bool | int | float | str | tuple | type(None)):
        return default
    # A function that stays as it is: none.
    return None


def _takes_none(kind: Any) -> bool:
    return type(None) in get_args(kind)


def _documented(cls: type[Any]) -> dict[str, str]:
    """What the section ``Args:`` of a class says of each argument."""
    doc = inspect.getdoc(cls) or ""
    section = doc.partition("Args:\n")[2].partition("\n\n")[0]
    found = re.findall(r"^ {2}(\w+): (.*(?:\n {4}.*)*)", section, re.MULTILINE)
    return {name: " ".join(text.split()).rstrip(".") for name, text in found}


def policy_of(dtype: DType | Dtypes) -> Policy:
    """The `Policy` that the dtypes of a config describe."""
    if isinstance(dtype, str):
        return Policy(param=dtype)
    return Policy(dtype.param, dtype.compute, dtype.cell_state, dtype.output)
