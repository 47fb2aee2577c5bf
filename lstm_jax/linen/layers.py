"""Layers that unroll a cell over a sequence."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Int

from lstm_jax.bidirectional import Merge
from lstm_jax.cells.cell import Activation
from lstm_jax.initializers import per_gate
from lstm_jax.layers import (
    CellOrMaker,
    bidirectional_cell,
    cell_for,
    lstm_cell,
    resolve_flags,
    unroll_layer,
)
from lstm_jax.linen.params import Boxes, dropout_key, module_params, partition_boxes, plain_inits
from lstm_jax.options import Options, option_fields
from lstm_jax.transforms.transform import AnyCell
from lstm_jax.types import DType, Initializer, PRNGKey, PyTree

OptionFields = option_fields()


class SequenceLayer(nn.Module, OptionFields, kw_only=True):  # pyright: ignore[reportGeneralTypeIssues]
    """Base of `LSTM`, `Recurrent` and `Bidirectional`: how a cell is unrolled over a sequence.

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
    """

    time_major: bool = False
    return_carry: bool = False
    reverse: bool = False
    keep_order: bool = False
    deterministic: bool | None = None
    partitioning: Mapping[str, tuple[str | None, ...]] | None = None

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
    ) -> Any:
        """Unroll the cell over a sequence.

        Args:
          inputs: ``[..., T, I]``, or ``[T, ..., I]`` with `time_major`.
          initial_carry: the state before the first step; for an LSTM ``(h, c)``.
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

        Returns:
          The outputs ``[..., T, H]``; with `return_carry`, ``(carry, outputs)``, the carry of an
          LSTM being ``LSTMState(h, c)``.

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
        return_carry = flags.pop("return_carry")
        cell, boxes = self.make_cell(inputs)
        carry, outputs = unroll_layer(
            name,
            cell,
            module_params(self, cell, boxes),
            inputs,
            initial_carry=initial_carry,
            seq_lengths=seq_lengths,
            **flags,
            mask=mask,
            reset=reset,
            start=start,
            key=dropout_key(self, cell, deterministic),
            options=Options.of(self),
        )
        outputs = self.merged_outputs(outputs)
        return (carry, outputs) if return_carry else outputs

    def merged_outputs(self, outputs: PyTree) -> PyTree:
        """The outputs of the layer, from those of its cell."""
        return outputs


class Recurrent(SequenceLayer):
    """Any cell as a layer.

    Attributes:
      cell: a cell, or a function from the number of input features to one, such as
        ``functools.partial(lj.LSTM, hidden_size=128)``.

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

    def make_cell(self, inputs: PyTree) -> tuple[AnyCell, Boxes]:
        """The cell; a function is called with the number of input features."""
        return cell_for("Recurrent", self.cell, inputs), partition_boxes(self.partitioning)


class Bidirectional(SequenceLayer):
    """Two cells over one sequence, one in each direction.

    Attributes:
      forward: the cell that is unrolled from the first step to the last, or a function that makes
        it.
      backward: the cell of the other direction; a copy of `forward` with its own parameters when
        not given.
      merge: ``"concat"``, ``"sum"``, ``"mean"``, ``"multiply"``, ``"none"``, or a function of the
        two outputs.

    >>> import lstm_jax as lj
    >>> layer, inputs = Bidirectional(lj.GRU(3, 5)), jnp.ones((2, 7, 3))
    >>> layer.init_with_output(jax.random.key(0), inputs)[0].shape
    (2, 7, 10)
    """

    forward: CellOrMaker
    backward: CellOrMaker | None = None
    merge: Any = "concat"

    def make_cell(self, inputs: PyTree) -> tuple[AnyCell, Boxes]:
        """The cell of both directions."""
        cell = bidirectional_cell("Bidirectional", self.forward, self.backward, self.merge, inputs)
        return cell, partition_boxes(self.partitioning)

    def merged_outputs(self, outputs: PyTree) -> PyTree:
        """The outputs, merged by `merge` if it is a function."""
        return self.merge(*outputs) if callable(self.merge) else outputs


class LSTM(SequenceLayer):
    """The LSTM as a layer, with several layers, directions, projection and dropout.

    Attributes:
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
      kernel_init: initializer of input kernels; that of `lstm_jax.LSTM` when not given. It is
        called for each gate, ``[I, H]``, as in Flax; see `lstm_jax.initializers.per_gate`.
      recurrent_kernel_init: initializer of recurrent kernels, called for each gate likewise.
      bias_init: initializer of the bias ``[4H]``; forget bias 1 when not given.
      dtype: dtype of products and outputs; that of the parameters when not given.
      param_dtype: dtype of the parameters.

    Reference:
      Hochreiter & Schmidhuber (1997), *Long short-term memory*; Gers, Schmidhuber & Cummins
      (2000), *Learning to forget*.

    >>> layer, inputs = LSTM(5, num_layers=2, bidirectional=True), jnp.ones((2, 7, 3))
    >>> variables = layer.init(jax.random.key(0), inputs)
    >>> layer.apply(variables, inputs, seq_lengths=jnp.array([7, 4])).shape
    (2, 7, 10)
    """

    features: int
    num_layers: int = 1
    bidirectional: bool = False
    merge: Merge = "concat"
    projection_size: int | None = None
    dropout: float = 0.0
    recurrent_dropout: float = 0.0
    gate_fn: Activation | None = None
    activation_fn: Activation | None = None
    kernel_init: Initializer | None = None
    recurrent_kernel_init: Initializer | None = None
    bias_init: Initializer | None = None
    dtype: DType | None = None
    param_dtype: DType = jnp.float32

    def make_cell(self, inputs: PyTree) -> tuple[AnyCell, Boxes]:
        """The cell of all layers and directions."""
        inits, boxes = plain_inits(
            {
                "kernel": self.kernel_init,
                "recurrent_kernel": self.recurrent_kernel_init,
                "bias": self.bias_init,
            }
        )
        # Flax's cell draws the kernel of each gate by itself: the same initializer must return the
        # same distribution here.
        cell_inits = {
            f"{name}_init": init if name == "bias" else per_gate(init)
            for name, init in inits.items()
        }
        cell = lstm_cell(
            jax.tree.leaves(inputs)[0].shape[-1],
            self.features,
            num_layers=self.num_layers,
            bidirectional=self.bidirectional,
            merge=self.merge,
            projection_size=self.projection_size,
            dropout=self.dropout,
            recurrent_dropout=self.recurrent_dropout,
            gate_fn=self.gate_fn,
            activation_fn=self.activation_fn,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            **cell_inits,
        )
        return cell, boxes | partition_boxes(self.partitioning)
