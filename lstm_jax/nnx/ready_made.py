"""The layers `LSTM`, `GRU` and `TanhRNN`: a cell with layers, directions and dropout."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Unpack

from flax import nnx

from lstm_jax.layers import (
    CarryOrder,
    GRUArgs,
    GRUFields,
    LayerArgs,
    LayerFields,
    LSTMArgs,
    LSTMFields,
    TanhRNNFields,
    documents,
    layer_cell,
)
from lstm_jax.nnx.layers import SequenceLayer
from lstm_jax.nnx.params import joined_metadata, plain_inits
from lstm_jax.options import OptionArgs, takes_keywords_of


class SequenceArgs(OptionArgs, total=False):
    """The keyword arguments of `SequenceLayer` and of `ReadyMade`, for type checkers."""

    time_major: bool
    return_carry: bool
    reverse: bool
    keep_order: bool
    deterministic: bool
    metadata: Mapping[str, Mapping[str, Any]] | None
    carry_order: CarryOrder | None
    kernel_metadata: Mapping[str, Any] | None
    recurrent_kernel_metadata: Mapping[str, Any] | None
    bias_metadata: Mapping[str, Any] | None


class ReadyMade(SequenceLayer):
    """Base of the layers that make their cell themselves.

    Args:
      in_features: number of input features ``I``.
      features: number of hidden units ``H``, of every layer and direction.
      rngs: as in `SequenceLayer`.
      kernel_metadata: keyword arguments of `flax.nnx.Param` for input kernels.
      recurrent_kernel_metadata: the same for recurrent kernels.
      bias_metadata: the same for the bias.
      **arguments: those of `Fields`, and of `SequenceLayer`.

    Attributes:
      Fields: the class that declares the arguments of the cell.
    """

    Fields: ClassVar[type[LayerFields]]

    def __init__(
        self,
        in_features: int,
        features: int,
        *,
        rngs: nnx.Rngs,
        kernel_metadata: Mapping[str, Any] | None = None,
        recurrent_kernel_metadata: Mapping[str, Any] | None = None,
        bias_metadata: Mapping[str, Any] | None = None,
        **arguments: Any,
    ) -> None:
        names = [field.name for field in dataclasses.fields(self.Fields)]
        fields = self.Fields(**{n: arguments.pop(n) for n in names if n in arguments})
        inits = plain_inits(
            {n.removesuffix("_init"): getattr(fields, n) for n in names if n.endswith("_init")}
        )
        cell = layer_cell(
            type(self).__name__, in_features, features, fields,
            {f"{name}_init": init for name, init in inits.items()},
        )  # fmt: skip
        given = {
            "kernel": kernel_metadata,
            "recurrent_kernel": recurrent_kernel_metadata,
            "bias": bias_metadata,
        }
        metadata = joined_metadata(cell, inits, given, arguments.pop("metadata", None) or {})
        super().__init__(cell, rngs=rngs, metadata=metadata, **arguments)


class _LSTMArgs(LSTMArgs, SequenceArgs, total=False): ...


class _GRUArgs(GRUArgs, SequenceArgs, total=False): ...


class _TanhRNNArgs(LayerArgs, SequenceArgs, total=False): ...


@documents(LSTMFields)
class LSTM(ReadyMade):
    """The LSTM as a layer, with several layers, directions, projection and dropout.

    Args:
      in_features: number of input features ``I``.
      features: number of hidden units ``H``, of every layer and direction.
      rngs: as in `SequenceLayer`.
      kernel_metadata: keyword arguments of `flax.nnx.Param` for input kernels.
      recurrent_kernel_metadata: the same for recurrent kernels.
      bias_metadata: the same for the bias.
      **arguments: those of `SequenceLayer`, and the following.

    Reference:
      Hochreiter & Schmidhuber (1997), *Long short-term memory*; Gers, Schmidhuber & Cummins
      (2000), *Learning to forget*.

    >>> import jax.numpy as jnp
    >>> layer = LSTM(3, 5, num_layers=2, bidirectional=True, rngs=nnx.Rngs(0))
    >>> layer(jnp.ones((2, 7, 3)), seq_lengths=jnp.array([7, 4])).shape
    (2, 7, 10)
    >>> layer.layers_1.backward.kernel.shape
    (10, 20)
    """

    Fields = LSTMFields

    @takes_keywords_of(LSTMFields)
    @takes_keywords_of(ReadyMade.__init__)
    @takes_keywords_of(SequenceLayer.__init__)
    def __init__(
        self, in_features: int, features: int, *, rngs: nnx.Rngs, **arguments: Unpack[_LSTMArgs]
    ) -> None:
        super().__init__(in_features, features, rngs=rngs, **arguments)


@documents(GRUFields)
class GRU(ReadyMade):
    """The GRU as a layer, with several layers, directions and dropout.

    Args:
      in_features: number of input features ``I``.
      features: number of hidden units ``H``, of every layer and direction.
      rngs: as in `SequenceLayer`.
      kernel_metadata: keyword arguments of `flax.nnx.Param` for input kernels.
      recurrent_kernel_metadata: the same for recurrent kernels.
      bias_metadata: the same for the bias.
      **arguments: those of `SequenceLayer`, and the following.

    Reference:
      Cho et al. (2014), *Learning phrase representations using RNN encoder-decoder for
      statistical machine translation*.

    >>> import jax.numpy as jnp
    >>> layer = GRU(3, 5, preset="nnx", return_carry=True, rngs=nnx.Rngs(0))
    >>> carry, outputs = layer(jnp.ones((2, 7, 3)), initial_carry=jnp.zeros((2, 5)))
    >>> carry.shape, outputs.shape
    ((2, 5), (2, 7, 5))
    """

    Fields = GRUFields

    @takes_keywords_of(GRUFields)
    @takes_keywords_of(ReadyMade.__init__)
    @takes_keywords_of(SequenceLayer.__init__)
    def __init__(
        self, in_features: int, features: int, *, rngs: nnx.Rngs, **arguments: Unpack[_GRUArgs]
    ) -> None:
        super().__init__(in_features, features, rngs=rngs, **arguments)


@documents(TanhRNNFields)
class TanhRNN(ReadyMade):
    """The tanh RNN as a layer, with several layers, directions and dropout.

    Args:
      in_features: number of input features ``I``.
      features: number of hidden units ``H``, of every layer and direction.
      rngs: as in `SequenceLayer`.
      kernel_metadata: keyword arguments of `flax.nnx.Param` for input kernels.
      recurrent_kernel_metadata: the same for recurrent kernels.
      bias_metadata: the same for the bias.
      **arguments: those of `SequenceLayer`, and the following.

    Reference:
      Elman (1990), *Finding structure in time*.

    >>> import jax.numpy as jnp
    >>> layer = TanhRNN(3, 5, rngs=nnx.Rngs(0))
    >>> layer(jnp.ones((2, 7, 3))).shape
    (2, 7, 5)
    """

    Fields = TanhRNNFields

    @takes_keywords_of(TanhRNNFields)
    @takes_keywords_of(ReadyMade.__init__)
    @takes_keywords_of(SequenceLayer.__init__)
    def __init__(
        self, in_features: int, features: int, *, rngs: nnx.Rngs, **arguments: Unpack[_TanhRNNArgs]
    ) -> None:
        super().__init__(in_features, features, rngs=rngs, **arguments)
