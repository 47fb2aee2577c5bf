"""Layers that unroll a cell over a sequence."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, Unpack

import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Int

from lstm_jax.bidirectional import Merge
from lstm_jax.cells.cell import Activation
from lstm_jax.layers import bidirectional_cell, lstm_cell, resolve_flags, unroll_layer
from lstm_jax.nnx.params import (
    CellModule,
    Metadata,
    Randomness,
    dropout_key,
    metadata_of,
    plain_inits,
)
from lstm_jax.options import OptionArgs, Options, takes_keywords_of
from lstm_jax.transforms.transform import AnyCell
from lstm_jax.types import DType, Initializer, PyTree

F = TypeVar("F", bound=Callable[..., Any])


class SequenceLayer(CellModule):
    """Base of `LSTM`, `Recurrent` and `Bidirectional`: how a cell is unrolled over a sequence.

    A layer reads its random stream only if its cell draws random numbers; other layers work under
    plain `jax.jit` and `jax.grad` over `flax.nnx.split` and `flax.nnx.merge`.

    Args:
      cell: any cell.
      rngs: the parameters are drawn from its stream ``params``; a cell that draws random numbers
        keeps a fork of its stream ``dropout``.
      time_major: whether inputs are ``[T, ..., I]``, not ``[..., T, I]``.
      return_carry: whether to return ``(carry, outputs)``, not the outputs alone.
      reverse: unroll from the last step to the first.
      keep_order: whether outputs with `reverse` stay in the order of the inputs.
      deterministic: whether no random numbers are drawn; ``layer.eval()``, ``layer.train()`` and
        ``flax.nnx.view(model, deterministic=True)`` set it.
      metadata: keyword arguments of `flax.nnx.Param` for parameters by their name, such as
        ``{"kernel": {"out_sharding": (None, "model")}}``.
      **options: the fields of `lstm_jax.Options`.
    """

    @takes_keywords_of(Options)
    def __init__(
        self,
        cell: AnyCell,
        *,
        rngs: nnx.Rngs,
        time_major: bool = False,
        return_carry: bool = False,
        reverse: bool = False,
        keep_order: bool = False,
        deterministic: bool = False,
        metadata: Metadata | None = None,
        **options: Unpack[OptionArgs],
    ) -> None:
        self.time_major = time_major
        self.return_carry = return_carry
        self.reverse = reverse
        self.keep_order = keep_order
        name = type(self).__name__
        chosen = Options.from_args(name, options).checked(name)
        for field in dataclasses.fields(chosen):
            setattr(self, field.name, getattr(chosen, field.name))
        super().__init__(cell, rngs=rngs, deterministic=deterministic, metadata=metadata)

    def __call__(
        self,
        inputs: PyTree,
        *,
        initial_carry: PyTree = None,
        seq_lengths: Int[ArrayLike, "..."] | None = None,
        return_carry: bool | None = None,
        time_major: bool | None = None,
        reverse: bool | None = None,
        keep_order: bool | None = None,
        rngs: Randomness | None = None,
        deterministic: bool | None = None,
        mask: Bool[ArrayLike, "... T"] | None = None,
        reset: Bool[ArrayLike, "... T"] | None = None,
        start: int | Int[Array, ""] = 0,
    ) -> Any:
        """Unroll the cell over a sequence.

        Args:
          inputs: ``[..., T, I]``, or ``[T, ..., I]`` with `time_major`.
          initial_carry: the state before the first step; for an LSTM ``(h, c)``.
          seq_lengths: number of steps of every row ``[...]``.
          return_carry: overrides the attribute.
          time_major: overrides the attribute; masks and resets have the same axes.
          reverse: overrides the attribute.
          keep_order: overrides the attribute.
          rngs: source of random numbers in place of the layer's own stream: `flax.nnx.Rngs`, a
            stream, or a key.
          deterministic: overrides the attribute.
          mask: true at valid steps ``[..., T]``, in place of `seq_lengths`.
          reset: true where a row is reset ``[..., T]``.
          start: index of the first step. With it, and one key for all chunks, a sequence in chunks
            draws the same random numbers as the whole.

        Returns:
          The outputs ``[..., T, H]``; with `return_carry`, ``(carry, outputs)``, the carry of an
          LSTM being ``LSTMState(h, c)``.

        Raises:
          TypeError, ValueError: as `lstm_jax.unroll`.
        """
        flags = resolve_flags(
            self,
            time_major=time_major,
            reverse=reverse,
            keep_order=keep_order,
            return_carry=return_carry,
        )
        return_carry = flags.pop("return_carry")
        carry, outputs = unroll_layer(
            type(self).__name__,
            self.cell,
            self.params,
            inputs,
            initial_carry=initial_carry,
            seq_lengths=seq_lengths,
            **flags,
            mask=mask,
            reset=reset,
            start=start,
            key=dropout_key(self, deterministic, rngs),
            options=Options.of(self),
        )
        outputs = self._merged_outputs(outputs)
        return (carry, outputs) if return_carry else outputs

    def _merged_outputs(self, outputs: PyTree) -> PyTree:
        """The outputs of the layer, from those of its cell."""
        return outputs


class Recurrent(SequenceLayer):
    """Any cell as a layer; see `SequenceLayer` for the arguments.

    >>> import lstm_jax as lj
    >>> layer = Recurrent(lj.zoneout(lj.LSTM(3, 5), h=0.05, c=0.5), rngs=nnx.Rngs(0))
    >>> inputs, lengths = jnp.ones((2, 7, 3)), jnp.array([7, 4])
    >>> carry, outputs = layer(inputs, seq_lengths=lengths, return_carry=True)
    >>> outputs.shape, carry.c.shape
    ((2, 7, 5), (2, 5))
    """


class Bidirectional(SequenceLayer):
    """Two cells over one sequence, one in each direction.

    Args:
      forward: the cell that is unrolled from the first step to the last.
      backward: the cell of the other direction; a copy of `forward` with its own parameters when
        not given.
      merge: ``"concat"``, ``"sum"``, ``"mean"``, ``"multiply"``, ``"none"``, or a function of the
        two outputs.
      rngs: as in `SequenceLayer`.
      **options: as in `SequenceLayer`.

    >>> import lstm_jax as lj
    >>> layer = Bidirectional(lj.GRU(3, 5), rngs=nnx.Rngs(0))
    >>> layer(jnp.ones((2, 7, 3))).shape, layer.backward.kernel.shape
    ((2, 7, 10), (3, 15))
    """

    @takes_keywords_of(SequenceLayer.__init__)
    def __init__(
        self,
        forward: AnyCell,
        backward: AnyCell | None = None,
        *,
        merge: Merge | Callable[[Any, Any], Any] = "concat",
        rngs: nnx.Rngs,
        **options: Any,
    ) -> None:
        self.merge = merge
        cell = bidirectional_cell("Bidirectional", forward, backward, merge, None)
        super().__init__(cell, rngs=rngs, **options)

    def _merged_outputs(self, outputs: PyTree) -> PyTree:
        """The outputs, merged by `merge` if it is a function."""
        return self.merge(*outputs) if callable(self.merge) else outputs


class LSTM(SequenceLayer):
    """The LSTM as a layer, with several layers, directions, projection and dropout.

    Args:
      in_features: number of input features ``I``.
      features: number of hidden units ``H``, of every layer and direction.
      num_layers: number of layers.
      bidirectional: whether every layer is unrolled in both directions.
      merge: how the directions are merged: ``"concat"``, ``"sum"``, ``"mean"`` or ``"multiply"``;
        with one layer ``"none"`` as well.
      projection_size: number of units ``P`` of the projection; None for no projection.
      dropout: rate of dropout between layers; no effect with one layer.
      recurrent_dropout: rate of dropout of the hidden state, with one mask for a sequence.
      gate_fn: activation of the gates; the sigmoid when not given.
      activation_fn: activation of candidate and output; tanh when not given.
      kernel_init: initializer of input kernels ``[I, 4H]``, all gates at once, as in
        `flax.nnx.OptimizedLSTMCell`; that of `lstm_jax.LSTM` when not given.
      recurrent_kernel_init: initializer of recurrent kernels ``[H, 4H]``, likewise.
      bias_init: initializer of the bias ``[4H]``; forget bias 1 when not given.
      dtype: dtype of products and outputs; that of the parameters when not given.
      param_dtype: dtype of the parameters.
      kernel_metadata: keyword arguments of `flax.nnx.Param` for input kernels.
      recurrent_kernel_metadata: the same for recurrent kernels.
      bias_metadata: the same for the bias.
      rngs: as in `SequenceLayer`.
      **options: as in `SequenceLayer`.

    Reference:
      Hochreiter & Schmidhuber (1997), *Long short-term memory*; Gers, Schmidhuber & Cummins
      (2000), *Learning to forget*.

    >>> layer = LSTM(3, 5, num_layers=2, bidirectional=True, rngs=nnx.Rngs(0))
    >>> layer(jnp.ones((2, 7, 3)), seq_lengths=jnp.array([7, 4])).shape
    (2, 7, 10)
    >>> layer.layers_1.backward.kernel.shape
    (10, 20)
    """

    @takes_keywords_of(SequenceLayer.__init__)
    def __init__(
        self,
        in_features: int,
        features: int,
        *,
        num_layers: int = 1,
        bidirectional: bool = False,
        merge: Merge = "concat",
        projection_size: int | None = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        gate_fn: Activation | None = None,
        activation_fn: Activation | None = None,
        kernel_init: Initializer | None = None,
        recurrent_kernel_init: Initializer | None = None,
        bias_init: Initializer | None = None,
        dtype: DType | None = None,
        param_dtype: DType = jnp.float32,
        kernel_metadata: Mapping[str, Any] | None = None,
        recurrent_kernel_metadata: Mapping[str, Any] | None = None,
        bias_metadata: Mapping[str, Any] | None = None,
        rngs: nnx.Rngs,
        **options: Any,
    ) -> None:
        inits = plain_inits(
            {
                "kernel": kernel_init,
                "recurrent_kernel": recurrent_kernel_init,
                "bias": bias_init,
            }
        )
        cell = lstm_cell(
            in_features,
            features,
            num_layers=num_layers,
            bidirectional=bidirectional,
            merge=merge,
            projection_size=projection_size,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            gate_fn=gate_fn,
            activation_fn=activation_fn,
            dtype=dtype,
            param_dtype=param_dtype,
            **{f"{name}_init": init for name, init in inits.items()},
        )
        metadata = metadata_of(cell, inits)
        given = {
            "kernel": kernel_metadata,
            "recurrent_kernel": recurrent_kernel_metadata,
            "bias": bias_metadata,
        }
        for name, more in (*given.items(), *(options.pop("metadata", None) or {}).items()):
            metadata[name] = {**metadata.get(name, {}), **(more or {})}
        super().__init__(cell, rngs=rngs, metadata=metadata, **options)
