"""Layers that unroll a cell over a sequence."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Int

from lstm_jax.layers import (
    CarryOrder,
    CellOrMaker,
    bidirectional_cell,
    cell_for,
    resolve_flags,
    unroll_layer,
    with_checked_names,
)
from lstm_jax.linen.params import Boxes, dropout_key, module_params, partition_boxes
from lstm_jax.options import Options, option_fields
from lstm_jax.transforms.transform import AnyCell
from lstm_jax.types import PRNGKey, PyTree

OptionFields = option_fields()


class SequenceLayer(nn.Module, OptionFields, kw_only=True):  # pyright: ignore[reportGeneralTypeIssues]
    """Base of all layers: how a cell is unrolled over a sequence.

    Fields that Flax allows as arguments of a call can be given there as well.

    Attributes:
      time_major: whether inputs are ``[T, ..., I]``, not ``[..., T, I]``.
      return_carry: whether to return ``(carry, outputs)``, not the outputs alone.
      reverse: unroll from the last step to the first.
      keep_order: whether outputs with `reverse` stay in the order of the inputs.
      deterministic: whether no random numbers are drawn. A cell that draws them needs it, here or
        in the call; if it is false, Flax's rng ``"dropout"`` as well.
      partitioning: names of axes for parameters by their name, such as
        ``{"kernel": (None, "model")}``; such a parameter is a `flax.linen.Partitioned`.
      carry_order: the order of a plain pair that is given as `initial_carry`: ``"hc"`` for
        ``(h, c)``, or ``"ch"`` for ``(c, h)`` as in Flax. Without it a plain pair is an error. With
        ``"ch"`` the layer returns plain pairs ``(c, h)`` as well, also inside of the carries of
        several layers and directions.
    """

    time_major: bool = False
    return_carry: bool = False
    reverse: bool = False
    keep_order: bool = False
    deterministic: bool | None = None
    partitioning: Mapping[str, tuple[str | None, ...]] | None = None
    carry_order: CarryOrder | None = None

    def __init_subclass__(cls, kw_only: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(kw_only=kw_only, **kwargs)
        with_checked_names(cls)

    def make_cell(self, inputs: PyTree) -> tuple[AnyCell, Boxes]:
        """The cell for these inputs, and the boxes of its parameters.

        Raises:
          TypeError: when a subclass does not define it.
        """
        raise TypeError(f"{type(self).__name__}: a layer must define make_cell")

    @nn.compact
    def __call__(
        self,
        inputs: PyTree,
        *,
        initial_carry: PyTree = None,
        init_key: PRNGKey | None = None,
        seq_lengths: Int[ArrayLike, "..."] | None = None,
        return_carry: bool | None = None,
        time_major: bool | None = None,
        reverse: bool | None = None,
        keep_order: bool | None = None,
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
          init_key: not used, as initial states are not random; Flax has this argument.
          seq_lengths: number of steps of every row ``[...]``.
          return_carry: overrides the field.
          time_major: overrides the field; masks and resets have the same axes.
          reverse: overrides the field.
          keep_order: overrides the field.
          deterministic: overrides the field.
          mask: true at valid steps ``[..., T]``, in place of `seq_lengths`.
          reset: true where a row is reset ``[..., T]``.
          start: index of the first step. With it, a sequence in chunks draws the same random
            numbers as the whole.
          carry_order: overrides the field.

        Returns:
          The outputs ``[..., T, H]``; with `return_carry`, ``(carry, outputs)``, the carry of an
          LSTM being ``LSTMState(h, c)``, or a plain ``(c, h)`` with ``carry_order="ch"``. Where an
          array or a NamedTuple was given as the carry, it is one as well.

        Raises:
          TypeError, ValueError: as `lstm_jax.unroll`.
        """
        del init_key
        name = type(self).__name__
        flags = resolve_flags(
            self,
            time_major=time_major,
            reverse=reverse,
            keep_order=keep_order,
            return_carry=return_carry,
        )
        cell, boxes = self.make_cell(inputs)
        carry, outputs = unroll_layer(
            name,
            cell,
            module_params(self, cell, boxes),
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
            key=dropout_key(self, cell, deterministic),
            options=Options.of(self),
        )
        outputs = self.merged_outputs(outputs)
        return (carry, outputs) if flags["return_carry"] else outputs

    def merged_outputs(self, outputs: PyTree) -> PyTree:
        """The outputs of the layer, from those of its cell."""
        return outputs


class Recurrent(SequenceLayer):
    """Any cell as a layer.

    Attributes:
      cell: a cell, or a function from the number of input features to one, such as
        ``functools.partial(lj.LSTM, hidden_size=128)``.
      feature_axes: number of feature axes, for a function. It is called with the shape of the
        features if there are several, such as ``(8, 8, 3)`` for 3:
        ``functools.partial(lj.ConvLSTM, hidden_size=4, kernel_size=3)``.

    >>> import jax, jax.numpy as jnp
    >>> import lstm_jax as lj
    >>> layer = Recurrent(lj.zoneout(lj.LSTM(3, 5), h=0.05, c=0.5), deterministic=False)
    >>> inputs, lengths = jnp.ones((2, 7, 3)), jnp.array([7, 4])
    >>> keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    >>> (carry, outputs), variables = layer.init_with_output(
    ...     keys, inputs, seq_lengths=lengths, return_carry=True
    ... )
    >>> outputs.shape, carry.c.shape
    ((2, 7, 5), (2, 5))
    """

    cell: CellOrMaker
    feature_axes: int = 1

    def make_cell(self, inputs: PyTree) -> tuple[AnyCell, Boxes]:
        """The cell; a function is called with the number or the shape of the input features."""
        cell = cell_for("Recurrent", self.cell, inputs, self.feature_axes)
        return cell, partition_boxes(self.partitioning)


class Bidirectional(SequenceLayer):
    """Two cells over one sequence, one in each direction.

    Attributes:
      forward: the cell that is unrolled from the first step to the last, or a function that makes
        it.
      backward: the cell of the other direction; a copy of `forward` with its own parameters when
        not given.
      merge: ``"concat"``, ``"sum"``, ``"mean"``, ``"multiply"``, ``"none"``, or a function of the
        two outputs.
      tied: whether both directions have the same parameters, those of one cell.
      feature_axes: number of feature axes, for functions, as in `Recurrent`.

    >>> import jax, jax.numpy as jnp
    >>> import lstm_jax as lj
    >>> layer, inputs = Bidirectional(lj.GRU(3, 5)), jnp.ones((2, 7, 3))
    >>> layer.init_with_output(jax.random.key(0), inputs)[0].shape
    (2, 7, 10)
    """

    forward: CellOrMaker
    backward: CellOrMaker | None = None
    merge: Any = "concat"
    tied: bool = False
    feature_axes: int = 1

    def make_cell(self, inputs: PyTree) -> tuple[AnyCell, Boxes]:
        """The cell of both directions."""
        cell = bidirectional_cell(
            "Bidirectional", self.forward, self.backward, self.merge, inputs,
            tied=self.tied, axes=self.feature_axes,
        )  # fmt: skip
        return cell, partition_boxes(self.partitioning)

    def merged_outputs(self, outputs: PyTree) -> PyTree:
        """The outputs, merged by `merge` if it is a function."""
        return self.merge(*outputs) if callable(self.merge) else outputs
