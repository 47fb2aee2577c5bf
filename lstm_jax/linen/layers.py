"""Layers that run a cell over a sequence."""

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
from lstm_jax.layers import CellOrMaker, cell_for, lstm_cell, or_else, over_both, unroll_layer
from lstm_jax.linen.params import Boxes, declared, key_of, partitioned, unboxed
from lstm_jax.options import Options, option_fields
from lstm_jax.transforms.transform import AnyCell
from lstm_jax.types import DType, Initializer, PRNGKey, PyTree

OptionFields = option_fields()


class SequenceLayer(nn.Module, OptionFields, kw_only=True):  # pyright: ignore[reportGeneralTypeIssues]
    """What `LSTM`, `Recurrent` and `Bidirectional` have in common: how they go over a sequence.

    Each field can be given at a call as well where Flax allows it.

    Attributes:
      time_major: whether inputs are ``[T, ..., I]``, not ``[..., T, I]``.
      return_carry: whether to give ``(carry, outputs)``, not the outputs alone.
      reverse: run from the last step to the first.
      keep_order: whether the outputs of a reversed run are in the order of the inputs.
      deterministic: whether nothing random is drawn; asked for by cells that draw, with Flax's
        rng ``"dropout"``.
      partitioning: names of axes by the name of a parameter, such as
        ``{"kernel": (None, "model")}``; such parameters come in a `flax.linen.Partitioned`.
    """

    time_major: bool = False
    return_carry: bool = False
    reverse: bool = False
    keep_order: bool = False
    deterministic: bool | None = None
    partitioning: Mapping[str, tuple[str | None, ...]] | None = None

    def make_cell(self, inputs: PyTree) -> tuple[AnyCell, Boxes]:
        """The cell that reads such inputs, and the boxes that its parameters come in.

        Raises:
          TypeError: when a subclass does not say.
        """
        raise TypeError(f"{type(self).__name__}: a layer says in make_cell what it runs")

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
        """Run over a sequence.

        Args:
          inputs: ``[..., T, I]``, or ``[T, ..., I]`` where time is major.
          initial_carry: the state before the first step; for an LSTM ``(h, c)``.
          init_key: taken for Flax's sake; initial states are not random.
          seq_lengths: steps of every row ``[...]``.
          return_carry: in place of the field.
          time_major: in place of the field; masks and resets have the same axes.
          reverse: in place of the field.
          keep_order: in place of the field.
          deterministic: in place of the field.
          mask: true where a step is there ``[..., T]``, in place of lengths.
          reset: true where a row starts anew ``[..., T]``.
          start: index of the first step: a sequence in chunks draws the random numbers of the
            whole.

        Returns:
          The outputs ``[..., T, H]``; with `return_carry`, ``(carry, outputs)``, the carry of an
          LSTM being ``LSTMState(h, c)``.

        Raises:
          TypeError, ValueError: as `lstm_jax.unroll`.
        """
        del init_key
        name = type(self).__name__
        cell, boxes = self.make_cell(inputs)
        carry, outputs = unroll_layer(
            name,
            cell,
            declared(self, cell, boxes),
            inputs,
            initial_carry=initial_carry,
            seq_lengths=seq_lengths,
            time_major=or_else(time_major, self.time_major),
            reverse=or_else(reverse, self.reverse),
            keep_order=or_else(keep_order, self.keep_order),
            mask=mask,
            reset=reset,
            start=start,
            key=key_of(self, cell, deterministic),
            options=Options.of(self),
        )
        outputs = self.shown(outputs)
        return (carry, outputs) if or_else(return_carry, self.return_carry) else outputs

    def shown(self, outputs: PyTree) -> PyTree:
        """The outputs as the layer gives them."""
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
        """The cell, made for the inputs if it is a function."""
        return cell_for("Recurrent", self.cell, inputs), partitioned(self.partitioning)


class Bidirectional(SequenceLayer):
    """Two cells over one sequence, one in each direction.

    Attributes:
      forward: the cell that runs from the first step to the last, or a function that makes it.
      backward: the cell that runs the other way; like `forward` when not given, with parameters of
        its own.
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
        cell = over_both("Bidirectional", self.forward, self.backward, self.merge, inputs)
        return cell, partitioned(self.partitioning)

    def shown(self, outputs: PyTree) -> PyTree:
        """The outputs, merged by the function if there is one."""
        return self.merge(*outputs) if callable(self.merge) else outputs


class LSTM(SequenceLayer):
    """The LSTM as a layer, ready-made: layers, directions, projection and dropout.

    Attributes:
      features: number of hidden units ``H``, of every layer and direction.
      num_layers: number of layers.
      bidirectional: whether every layer runs in both directions.
      merge: how these are merged: ``"concat"``, ``"sum"``, ``"mean"`` or ``"multiply"``; with one
        layer ``"none"`` as well.
      projection_size: units ``P`` of a projection, where there is one.
      dropout: rate of dropout between layers: nothing is dropped where there is one alone.
      recurrent_dropout: rate of dropout of the hidden state, one mask for a sequence.
      gate_fn: squashes the gates; the sigmoid when not given.
      activation_fn: squashes candidate and output; tanh when not given.
      kernel_init: initializer of input kernels, see `lstm_jax.LSTM` for what holds when not given.
        Drawn gate by gate, ``[I, H]``, as in Flax; see `lstm_jax.initializers.per_gate`.
      recurrent_kernel_init: initializer of recurrent kernels, drawn likewise.
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
        """The cell of all layers."""
        inits, boxes = unboxed(
            {
                "kernel": self.kernel_init,
                "recurrent_kernel": self.recurrent_kernel_init,
                "bias": self.bias_init,
            }
        )
        # Flax's cell draws the kernels of the gates one by one: the same initializer has to give
        # the same distribution.
        drawn = {
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
            **drawn,
        )
        return cell, boxes | partitioned(self.partitioning)
