"""Flax's cells by their names, computed by ours.

They have the arguments, initial weights and carries of the cells of `flax.nnx`; only their
parameters are ours: ``kernel``, ``recurrent_kernel``, ``bias``, with all gates in each.
`lstm_jax.convert.flax.take_over` converts those of a model.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.dtypes import promote_dtype as promote

from lstm_jax.initializers import lecun_normal, orthogonal, orthogonal_per_gate, zeros
from lstm_jax.layers import with_checked_names
from lstm_jax.layers.drop_in import Kind, drop_in_cell
from lstm_jax.nnx.cell import RNNCell
from lstm_jax.nnx.params import joined_metadata, plain_inits
from lstm_jax.types import DType, Initializer, PyTree

Extra = Mapping[str, Any] | None
"""Keyword arguments of `flax.nnx.Param`."""

_NAMES = ("kernel", "recurrent_kernel", "bias")


class DropInCell(RNNCell):
    """Base of the cells with Flax's names.

    A plain pair is Flax's ``(c, h)``; the fields of an `LSTMState` are read by name. The new carry
    has the structure of the old one.

    Args:
      in_features: number of input features.
      hidden_features: number of hidden units.
      arguments: the arguments of Flax's cell that define ours.
      carry_init: initializer of the carry; zeros when not given.
      promote_dtype: only Flax's own, as dtypes follow `dtype` and `param_dtype`.
      keep_rngs: whether to keep a fork of the stream ``carry`` for `initialize_carry`.
      rngs: the parameters are drawn from its stream ``params``.
      metadata: keyword arguments of `flax.nnx.Param` for kernel, recurrent kernel and bias.

    Attributes:
      kind: the name of the cell in `lstm_jax`.
      gate_by_gate: whether the initializers draw each gate by itself.
    """

    kind: ClassVar[Kind]
    gate_by_gate: ClassVar[bool] = False
    broadcasts_carry = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        with_checked_names(cls)

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        arguments: dict[str, Any],
        *,
        carry_init: Initializer | None,
        promote_dtype: Any,
        keep_rngs: bool,
        rngs: nnx.Rngs,
        metadata: tuple[Extra, Extra, Extra],
    ) -> None:
        if promote_dtype is not promote:
            raise ValueError(
                f"{type(self).__name__}: promote_dtype must be Flax's own, as dtypes follow dtype"
                f" and param_dtype; got {promote_dtype!r}"
            )
        self.in_features, self.hidden_features = in_features, hidden_features
        for name in ("gate_fn", "activation_fn", "residual", "dtype", "param_dtype"):
            if name in arguments:
                setattr(self, name, arguments[name])
        self.carry_init = carry_init
        inits = plain_inits({name: arguments[f"{name}_init"] for name in _NAMES})
        arguments = arguments | {f"{name}_init": init for name, init in inits.items()}
        cell = drop_in_cell(
            self.kind, in_features, hidden_features, arguments, gate_by_gate=self.gate_by_gate
        )
        extra = joined_metadata(cell, inits, dict(zip(_NAMES, metadata, strict=True)))
        super().__init__(cell, rngs=rngs, metadata=extra, carry_order="ch")
        if keep_rngs:
            self.rngs = rngs.carry.fork()

    def initialize_carry(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, input_shape: tuple[int, ...], rngs: Any = None, carry_init: Any = None
    ) -> PyTree:
        """The carry before the first step.

        Args:
          input_shape: shape of one step's input ``[..., I]``.
          rngs: random streams for an initializer; not needed for zeros.
          carry_init: initializer of the carry, in place of the one of the cell.

        Returns:
          ``(c, h)`` for an LSTM, ``h`` for the others.
        """
        rngs = self.rngs if rngs is None else rngs
        return super().initialize_carry(input_shape, rngs, carry_init or self.carry_init)


class GatedCell(DropInCell):
    """Base of `LSTMCell`, `OptimizedLSTMCell` and `GRUCell`.

    Args:
      in_features: number of input features.
      hidden_features: number of hidden units.
      gate_fn: activation of the gates.
      activation_fn: activation of candidate and output.
      kernel_init: initializer of the input kernel, of each gate ``[I, H]`` for `LSTMCell`, of all
        gates at once for the others.
      recurrent_kernel_init: initializer of the recurrent kernel, likewise; orthogonal when not
        given.
      bias_init: initializer of the bias, likewise.
      dtype: dtype of products and outputs; that of the parameters when not given.
      param_dtype: dtype of the parameters.
      carry_init: initializer of the carry; zeros when not given.
      promote_dtype: only Flax's own, as dtypes follow `dtype` and `param_dtype`.
      keep_rngs: whether to keep a fork of the stream ``carry`` for `initialize_carry`.
      rngs: the parameters are drawn from its stream ``params``.
      kernel_metadata: keyword arguments of `flax.nnx.Param` for the input kernel.
      recurrent_kernel_metadata: the same for the recurrent kernel.
      bias_metadata: the same for the bias.
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        gate_fn: Callable[..., Any] = nnx.sigmoid,
        activation_fn: Callable[..., Any] = nnx.tanh,
        kernel_init: Initializer = lecun_normal,
        recurrent_kernel_init: Initializer | None = None,
        bias_init: Initializer = zeros,
        dtype: DType | None = None,
        param_dtype: DType = jnp.float32,
        carry_init: Initializer | None = None,
        promote_dtype: Any = promote,
        keep_rngs: bool = False,
        rngs: nnx.Rngs,
        kernel_metadata: Extra = None,
        recurrent_kernel_metadata: Extra = None,
        bias_metadata: Extra = None,
    ) -> None:
        if recurrent_kernel_init is None:
            recurrent_kernel_init = orthogonal_per_gate if self.gate_by_gate else orthogonal
        arguments = {
            "gate_fn": gate_fn,
            "activation_fn": activation_fn,
            "kernel_init": kernel_init,
            "recurrent_kernel_init": recurrent_kernel_init,
            "bias_init": bias_init,
            "dtype": dtype,
            "param_dtype": param_dtype,
        }
        metadata = kernel_metadata, recurrent_kernel_metadata, bias_metadata
        super().__init__(
            in_features, hidden_features, arguments, carry_init=carry_init,
            promote_dtype=promote_dtype, keep_rngs=keep_rngs, rngs=rngs, metadata=metadata,
        )  # fmt: skip


class LSTMCell(GatedCell):
    """`flax.nnx.LSTMCell`, computed by `lstm_jax.LSTM`; see `GatedCell` for the arguments.

    Reference:
      Hochreiter & Schmidhuber (1997), *Long short-term memory*.

    >>> layer = nnx.RNN(LSTMCell(3, 5, rngs=nnx.Rngs(0)), return_carry=True)
    >>> (c, h), outputs = layer(jnp.ones((2, 7, 3)))
    >>> outputs.shape, bool((h == outputs[:, -1]).all())
    ((2, 7, 5), True)
    """

    kind = "LSTM"
    gate_by_gate = True


class OptimizedLSTMCell(GatedCell):
    """`flax.nnx.OptimizedLSTMCell`, computed by `lstm_jax.LSTM`; see `GatedCell`.

    Reference:
      Hochreiter & Schmidhuber (1997), *Long short-term memory*.

    >>> layer = nnx.RNN(OptimizedLSTMCell(3, 5, rngs=nnx.Rngs(0)))
    >>> layer(jnp.ones((2, 7, 3))).shape
    (2, 7, 5)
    """

    kind = "LSTM"


class GRUCell(GatedCell):
    """`flax.nnx.GRUCell`, computed by `lstm_jax.GRU`; see `GatedCell` for the arguments.

    Flax's cell has no bias that the reset gate multiplies. Here it is a constant of zeros, which is
    not trained.

    Reference:
      Cho et al. (2014), *Learning phrase representations using RNN encoder-decoder for
      statistical machine translation*.

    >>> layer = nnx.RNN(GRUCell(3, 5, rngs=nnx.Rngs(0)), return_carry=True)
    >>> carry, outputs = layer(jnp.ones((2, 7, 3)))
    >>> carry.shape, outputs.shape
    ((2, 5), (2, 7, 5))
    """

    kind = "GRU"
    constants = ("recurrent_bias",)


class SimpleCell(DropInCell):
    """`flax.nnx.SimpleCell`, computed by `lstm_jax.TanhRNN`.

    Args:
      in_features: number of input features.
      hidden_features: number of hidden units.
      dtype: dtype of products and outputs.
      param_dtype: dtype of the parameters.
      carry_init: initializer of the carry; zeros when not given.
      residual: whether the last state is added before the activation.
      activation_fn: activation of the state.
      kernel_init: initializer of the input kernel ``[I, H]``.
      recurrent_kernel_init: initializer of the recurrent kernel ``[H, H]``.
      bias_init: initializer of the bias ``[H]``.
      promote_dtype: only Flax's own, as dtypes follow `dtype` and `param_dtype`.
      keep_rngs: whether to keep a fork of the stream ``carry`` for `initialize_carry`.
      rngs: the parameters are drawn from its stream ``params``.
      kernel_metadata: keyword arguments of `flax.nnx.Param` for the input kernel.
      recurrent_kernel_metadata: the same for the recurrent kernel.
      bias_metadata: the same for the bias.

    Reference:
      Elman (1990), *Finding structure in time*.

    >>> layer = nnx.RNN(SimpleCell(3, 5, rngs=nnx.Rngs(0)))
    >>> layer(jnp.ones((2, 7, 3))).shape
    (2, 7, 5)
    """

    kind = "TanhRNN"

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        dtype: DType | None = jnp.float32,
        param_dtype: DType = jnp.float32,
        carry_init: Initializer | None = None,
        residual: bool = False,
        activation_fn: Callable[..., Any] = nnx.tanh,
        kernel_init: Initializer = lecun_normal,
        recurrent_kernel_init: Initializer = orthogonal,
        bias_init: Initializer = zeros,
        promote_dtype: Any = promote,
        keep_rngs: bool = False,
        rngs: nnx.Rngs,
        kernel_metadata: Extra = None,
        recurrent_kernel_metadata: Extra = None,
        bias_metadata: Extra = None,
    ) -> None:
        arguments = {
            "activation_fn": activation_fn,
            "residual": residual,
            "kernel_init": kernel_init,
            "recurrent_kernel_init": recurrent_kernel_init,
            "bias_init": bias_init,
            "dtype": dtype,
            "param_dtype": param_dtype,
        }
        metadata = kernel_metadata, recurrent_kernel_metadata, bias_metadata
        super().__init__(
            in_features, hidden_features, arguments, carry_init=carry_init,
            promote_dtype=promote_dtype, keep_rngs=keep_rngs, rngs=rngs, metadata=metadata,
        )  # fmt: skip
