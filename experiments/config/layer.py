"""A layer of the model in a config: a cell with its own fields, directions and transforms."""

import collections.abc
import dataclasses
import functools
import types
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Union, get_args, get_origin
from typing import get_type_hints as hints_of

from pydantic import Field
from pydantic.dataclasses import dataclass

import lstm_jax as lj
from experiments.config.calls import (
    ActivationText,
    InitializerText,
    activation,
    frozen,
    initializer,
)
from experiments.config.components import find_component
from experiments.config.fields import (
    LARGEST,
    STRICT,
    Integer,
    Lane,
    Positive,
    Rate,
    Real,
    Size,
)
from experiments.config.section_class import (
    documented_fields,
    is_config_type,
    section_class,
    type_name,
)
from lstm_jax.initializers import ForgetBias, PresetName

CELLS: dict[str, type[Any]] = {
    "lstm": lj.LSTM,
    "gru": lj.GRU,
    "tanh_rnn": lj.TanhRNN,
    "original_lstm": lj.OriginalLSTM,
    "peephole_lstm": lj.PeepholeLSTM,
    "coupled_lstm": lj.CoupledLSTM,
    "refined_lstm": lj.RefinedLSTM,
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
    """probability that a unit of the hidden state keeps its value"""
    c: Rate = 0.0
    """probability that a unit of the cell state keeps its value"""


@dataclass(frozen=True, config=STRICT)
class Clip:
    """Bounds of the state; none for no bound."""

    h: Positive | None = None
    """largest absolute value of the hidden state; none for no bound"""
    c: Positive | None = None
    """largest absolute value of the cell state; none for no bound"""


ONLY_WITH = {"merge": "bidirectional", "tied": "bidirectional", "variational": "input_dropout"}
"""Fields without an effect unless another field is set."""


class OwnField(NamedTuple):
    """A field of a layer that is an argument of its cell.

    Attributes:
      argument: the name of the argument.
      make: from the text of a config to the argument, where that is a function.
    """

    argument: str
    make: Callable[[str], Any] | None


@dataclass(frozen=True, config=STRICT, kw_only=True)
class LayerConfig:
    """A cell, its directions, and the transforms around it, the innermost first.

    Attributes:
      own: the fields that are arguments of the cell.
    """

    own: ClassVar[Mapping[str, OwnField]] = {}

    cell: str = "lstm"
    """the recurrence: a name, or the import path of one's own"""
    preset: PresetName | None = None
    """initial weights as another library or a paper draws them; none for the cell's own"""
    forget_bias: Annotated[Real, Lane()] | None = None
    """initial bias of the forget gate; none for that of bias_init"""
    chrono_t_max: Annotated[float, Field(ge=2, le=LARGEST, allow_inf_nan=False), Lane()] | None = (
        None
    )
    """longest expected dependency in steps, which spreads the forget gates' initial biases"""
    init_scale: Annotated[Positive, Lane()] = 1.0
    """factor of the initial kernels"""
    dtype: DType | Dtypes = "float32"
    """dtype of the parameters, or a mapping with a dtype for each use"""
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
    variational: bool = False
    """whether all steps of a sequence share the mask of input_dropout"""
    residual: bool = False
    """whether the inputs are added to the outputs, which have to be as many"""
    skip: bool = False
    """whether the inputs are concatenated to the outputs"""


def layer_class(cell: Any) -> type[LayerConfig]:
    """The class of a layer with a cell: the fields of every layer, and those of the cell.

    Args:
      cell: a name of `CELLS`, or the import path of a cell of one's own: a frozen dataclass with a
        field ``input_size``. Its fields of plain types, initializers and activations become fields
        of the layer; one with the name of a common field gets the prefix ``cell_``.

    Returns:
      The class.

    Raises:
      ValueError: if there is no such cell.

    >>> layer_class("projected_lstm")(hidden_size=8, projection_size=4).projection_size
    4
    """
    return _class_of(find_component("cell", cell, CELLS), cell)


@functools.cache
def _class_of(found: Any, name: str) -> type[LayerConfig]:
    inputs, common = {"input_size", "input_shape"}, set(LayerConfig.__dataclass_fields__)
    is_dataclass = isinstance(found, type) and dataclasses.is_dataclass(found)
    if not is_dataclass or not inputs & {each.name for each in dataclasses.fields(found)}:
        raise ValueError(f"{name} is not a cell: a frozen dataclass with a field input_size")
    if not frozen(found):
        raise ValueError(f"{name} must be a frozen dataclass: @dataclass(frozen=True)")
    missing = [each for each in ("init", "initial_state", "step") if not hasattr(found, each)]
    if missing:
        raise ValueError(f"{name} is not a cell: it has no {', '.join(missing)}")
    hints, docs = hints_of(found, include_extras=True), documented_fields(found)
    fields: list[Any] = [("cell", str, name, "the recurrence: a name, or the import path")]
    own: dict[str, OwnField] = {}
    for field in dataclasses.fields(found):
        if field.name in inputs or field.name == "dtype" or not field.init:
            continue
        kind, make = config_type(field.name, hints[field.name])
        default = _config_default(field)
        if not is_config_type(kind):
            if default is ...:
                what = type_name(field.type)
                raise ValueError(f"{name}: {field.name} has the type {what}, which no config has")
            continue
        description = docs.get(field.name, "")
        if callable(field.default):
            description += f"; none for {_name_of(field.default)}"
        called = f"cell_{field.name}" if field.name in common else field.name
        fields.append((called, kind if default is not None else kind | None, default, description))
        own[called] = OwnField(field.name, make)
    doc = f"A layer with the cell {name}."
    return section_class(f"{found.__name__}Layer", LayerConfig, fields, doc, own=own)


def layer(cell: str = "lstm", **fields: Any) -> LayerConfig:
    """A layer of a config, with the fields of its cell.

    >>> layer("gru", hidden_size=64, residual=True).hidden_size
    64
    """
    return layer_class(cell)(cell=cell, **fields)


def forget_gate_bias(kind: Any) -> ForgetBias | None:
    """The default bias of a class of cells, if one of its gates forgets.

    >>> forget_gate_bias(lj.CoupledLSTM), forget_gate_bias(lj.TanhRNN)
    (ForgetBias(value=1.0, gate=0, gates=3), None)
    """
    if kind is lj.GRU:
        # The update gate keeps the state as the forget gate of an LSTM does.
        return ForgetBias(0.0, gate=1, gates=3)
    default = next((f.default for f in dataclasses.fields(kind) if f.name == "bias_init"), None)
    return default if isinstance(default, ForgetBias) else None


def config_type(name: str, hint: Any) -> tuple[Any, Callable[[str], Any] | None]:
    """The type in a config of a cell's field, and what makes the argument where that is a function.

    Initializers and activations are text, and plain types have a range.

    >>> config_type("bias_init", collections.abc.Callable[[int], int])[1] is initializer
    True
    >>> config_type("epsilon", float | None)[1] is None
    True
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return Annotated[(config_type(name, arguments[0])[0], *hint.__metadata__)], None  # type: ignore[return-value]
    if origin is collections.abc.Callable or hint is collections.abc.Callable:
        if name.endswith("_init"):
            return InitializerText, initializer
        return ActivationText, activation
    if hint is int:
        return Size if name.endswith("_size") else Integer, None
    if hint is float:
        return Real, None
    if origin in (Union, types.UnionType):
        kinds = [config_type(name, each) for each in arguments]
        makes = [make for _, make in kinds if make is not None]
        return Union[tuple(kind for kind, _ in kinds)], makes[0] if makes else None  # noqa: UP007
    if origin in (list, collections.abc.Sequence):
        return tuple[config_type(name, arguments[0])[0], ...], None
    if origin is tuple:
        return tuple[tuple(e if e is ... else config_type(name, e)[0] for e in arguments)], None
    return hint, None


def _config_default(field: dataclasses.Field[Any]) -> Any:
    """The default of a cell's field as it stands in a config."""
    if field.name == "hidden_size" and field.default is dataclasses.MISSING:
        return 128
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    if field.default is dataclasses.MISSING:
        return ...
    if isinstance(field.default, bool | int | float | str | tuple | type(None)):
        return field.default
    # A function that stays as it is: none.
    return None


def _name_of(default: Any) -> str:
    if isinstance(default, type) or not dataclasses.is_dataclass(default):
        return getattr(default, "__name__", "that of the cell")
    return repr(default)
