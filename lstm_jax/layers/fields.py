"""The arguments of the layers `LSTM`, `GRU` and `TanhRNN`, declared once for linen and NNX.

A layer of linen is a dataclass and inherits the fields. A layer of NNX takes them as keywords,
listed by `takes_keywords_of`; the `TypedDict` of the same names tells type checkers.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypedDict, TypeVar

import jax.numpy as jnp

from lstm_jax.bidirectional import Merge
from lstm_jax.cells.cell import Activation
from lstm_jax.initializers.presets import CellName, PresetName
from lstm_jax.types import DType, Initializer

C = TypeVar("C", bound=type)


class LayerArgs(TypedDict, total=False):
    """The fields of `LayerFields` as keyword arguments, for type checkers and editors."""

    num_layers: int
    bidirectional: bool
    tied: bool
    merge: Merge
    dropout: float
    recurrent_dropout: float
    activation_fn: Activation | None
    preset: PresetName | None
    t_max: float | None
    kernel_init: Initializer | None
    recurrent_kernel_init: Initializer | None
    bias_init: Initializer | None
    dtype: DType | None
    param_dtype: DType


class LSTMArgs(LayerArgs, total=False):
    """The fields of `LSTMFields` as keyword arguments."""

    projection_size: int | None
    gate_fn: Activation | None


class GRUArgs(LayerArgs, total=False):
    """The fields of `GRUFields` as keyword arguments."""

    reset_after: bool
    gate_fn: Activation | None
    recurrent_bias_init: Initializer | None


@dataclass(kw_only=True, eq=False, repr=False)
class LayerFields:
    """The arguments that all ready-made layers have.

    Attributes:
      num_layers: number of layers.
      bidirectional: whether every layer is unrolled in both directions.
      tied: whether both directions have the same parameters.
      merge: how the directions are merged: ``"concat"``, ``"sum"``, ``"mean"`` or ``"multiply"``;
        with one layer ``"none"`` as well.
      dropout: rate of dropout between layers; no effect with one layer.
      recurrent_dropout: rate of dropout of the hidden state, with one mask for a sequence.
      activation_fn: activation of candidate and output; tanh when not given.
      preset: the initial weights of another library: a name of `lstm_jax.initializers.preset`, such
        as ``"flax"``. It is applied to every layer and direction with the sizes of that layer. The
        initializers below precede it.
      t_max: the longest expected dependency, in time steps; for the preset ``"chrono"``.
      kernel_init: initializer of input kernels; that of the cell when not given. As in Flax, it
        is called for each gate, ``[I, H]``, in linen, and once for all gates in NNX; see
        `lstm_jax.initializers.per_gate`.
      recurrent_kernel_init: initializer of recurrent kernels, called likewise.
      bias_init: initializer of the bias of all gates; that of the cell when not given.
      dtype: dtype of products and outputs; that of the parameters when not given.
      param_dtype: dtype of the parameters.
    """

    cell_name: ClassVar[CellName]

    num_layers: int = 1
    bidirectional: bool = False
    tied: bool = False
    merge: Merge = "concat"
    dropout: float = 0.0
    recurrent_dropout: float = 0.0
    activation_fn: Activation | None = None
    preset: PresetName | None = None
    t_max: float | None = None
    kernel_init: Initializer | None = None
    recurrent_kernel_init: Initializer | None = None
    bias_init: Initializer | None = None
    dtype: DType | None = None
    param_dtype: DType = jnp.float32


@dataclass(kw_only=True, eq=False, repr=False)
class LSTMFields(LayerFields):
    """The arguments of the layers `LSTM`.

    Attributes:
      projection_size: number of units ``P`` of the projection; None for no projection.
      gate_fn: activation of the gates; the sigmoid when not given.
    """

    cell_name = "LSTM"

    projection_size: int | None = None
    gate_fn: Activation | None = None


@dataclass(kw_only=True, eq=False, repr=False)
class GRUFields(LayerFields):
    """The arguments of the layers `GRU`.

    Attributes:
      reset_after: multiply by the reset gate after the product, as Flax, PyTorch and Keras do, not
        before it as in the paper.
      gate_fn: activation of the gates; the sigmoid when not given.
      recurrent_bias_init: initializer of the bias that the reset gate multiplies; zeros when not
        given.
    """

    cell_name = "GRU"

    reset_after: bool = True
    gate_fn: Activation | None = None
    recurrent_bias_init: Initializer | None = None


@dataclass(kw_only=True, eq=False, repr=False)
class TanhRNNFields(LayerFields):
    """The arguments of the layers `TanhRNN`: those of every layer."""

    cell_name = "TanhRNN"


def documents(fields: type[Any]) -> Callable[[C], C]:
    """Add the arguments that a class takes from elsewhere to its docstring, for `help`.

    Args:
      fields: the class that declares them, and inherits others.

    Returns:
      A decorator of a class that has a section ``Args:`` or ``Attributes:``.

    >>> @documents(TanhRNNFields)
    ... class Layer:
    ...     '''A layer.
    ...
    ...     Args:
    ...       features: number of units.
    ...     '''
    >>> Layer.__doc__.splitlines()[3:5]
    ['  features: number of units.', '  num_layers: number of layers.']
    """

    def decorate(cls: C) -> C:
        if cls.__doc__:  # none with the option -OO of Python
            before, section = _at_section(inspect.cleandoc(str(cls.__doc__)))
            own, end, after = section.partition("\n\n")
            bases = [base for base in reversed(fields.__mro__) if base.__module__ == __name__]
            docs = [inspect.cleandoc(str(base.__doc__)) for base in bases]
            sections = [_at_section(doc)[1] for doc in docs if "Attributes:\n" in doc]
            added = [text.partition("\n\n")[0].split("\n", 1)[1] for text in sections]
            cls.__doc__ = before + "\n".join([own, *added]) + end + after
        return cls

    return decorate


def _at_section(doc: str) -> tuple[str, str]:
    """A docstring before its section of arguments, and from there on."""
    starts = [doc.find(f"{title}:\n") for title in ("Args", "Attributes")]
    start = min(at for at in starts if at >= 0)
    return doc[:start], doc[start:]
