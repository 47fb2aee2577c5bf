"""Layers that unroll a cell over a sequence."""

import dataclasses
from collections.abc import Callable
from typing import Any, Unpack

from flax import nnx
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Int

from lstm_jax.bidirectional import Merge
from lstm_jax.layers import (
    CarryOrder,
    bidirectional_cell,
    check_carry_order,
    resolve_flags,
    unroll_layer,
    with_checked_names,
)
from lstm_jax.nnx.params import CellModule, Metadata, Randomness, dropout_key
from lstm_jax.options import OptionArgs, Options, takes_keywords_of
from lstm_jax.transforms.transform import AnyCell
from lstm_jax.types import PyTree


class SequenceLayer(CellModule):
    """Base of all layers: how a cell is unrolled over a sequence.

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
      carry_order: the order of a plain pair that is given as `initial_carry`: ``"hc"`` for
        ``(h, c)``, or ``"ch"`` for ``(c, h)`` as in Flax. Without it a plain pair is an error. With
        ``"ch"`` the layer returns plain pairs ``(c, h)`` as well, also inside of the carries of
        several layers and directions.
      **options: the fields of `lstm_jax.Options`.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        with_checked_names(cls)

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
        carry_order: CarryOrder | None = None,
        **options: Unpack[OptionArgs],
    ) -> None:
        self.time_major = time_major
        self.return_carry = return_carry
        self.reverse = reverse
        self.keep_order = keep_order
        name = type(self).__name__
        if carry_order is not None:
            check_carry_order(name, carry_order)
        self.carry_order: CarryOrder | None = carry_order
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
        carry_order: CarryOrder | None = None,
    ) -> Any:
        """Unroll the cell over a sequence.

        Args:
          inputs: ``[..., T, I]``, or ``[T, ..., I]`` with `time_major`.
          initial_carry: the state before the first step; for an LSTM an `LSTMState`, whose fields
            are read by name, or a plain pair in the order `carry_order`. An array works where a
            state has one field.
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
          carry_order: overrides the attribute.

        Returns:
          The outputs ``[..., T, H]``; with `return_carry`, ``(carry, outputs)``, the carry of an
          LSTM being ``LSTMState(h, c)``, or a plain ``(c, h)`` with ``carry_order="ch"``. Where an
          array or a NamedTuple was given as the carry, it is one as well.

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
        carry, outputs = unroll_layer(
            type(self).__name__,
            self.cell,
            self.params,
            inputs,
            initial_carry=initial_carry,
            seq_lengths=seq_lengths,
            time_major=flags["time_major"],
            reverse=flags["reverse"],
            keep_order=flags["keep_order"],
            carry_order=self.carry_order if carry_order is None else carry_order,
            mask=mask,
            reset=reset,
            start=start,
            key=dropout_key(self, deterministic, rngs),
            options=Options.of(self),
        )
        outputs = self._merged_outputs(outputs)
        return (carry, outputs) if flags["return_carry"] else outputs

    def _merged_outputs(self, outputs: PyTree) -> PyTree:
        """The outputs of the layer, from those of its cell."""
        return outputs


with_checked_names(SequenceLayer)


class Recurrent(SequenceLayer):
    """Any cell as a layer; see `SequenceLayer` for the arguments.

    >>> import jax.numpy as jnp
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
      tied: whether both directions have the same parameters, those of one cell.
      rngs: as in `SequenceLayer`.
      **options: as in `SequenceLayer`.

    >>> import jax.numpy as jnp
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
        tied: bool = False,
        rngs: nnx.Rngs,
        **options: Any,
    ) -> None:
        self.merge = merge
        cell = bidirectional_cell("Bidirectional", forward, backward, merge, None, tied=tied)
        super().__init__(cell, rngs=rngs, **options)

    def _merged_outputs(self, outputs: PyTree) -> PyTree:
        """The outputs, merged by `merge` if it is a function."""
        return self.merge(*outputs) if callable(self.merge) else outputs
