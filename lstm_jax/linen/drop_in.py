"""Flax's cells by their names, computed by ours.

They have the arguments, initial weights and carries of the cells of `flax.linen`; only their
parameters are ours: ``kernel``, ``recurrent_kernel``, ``bias``, with all gates in each.
`lstm_jax.convert.flax.take_over` converts those of a model.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lstm_jax.initializers import lecun_normal, orthogonal_per_gate
from lstm_jax.layers import advance_layer, carry_like, plain_carry, unroll_cell, with_checked_names
from lstm_jax.layers.drop_in import Kind, drop_in_cell, drop_in_conv_lstm, drop_in_state
from lstm_jax.linen.params import Boxes, module_params, plain_inits
from lstm_jax.transforms.transform import AnyCell, initial_state
from lstm_jax.types import DType, Initializer, PyTree

ZEROS = nn.initializers.zeros_init()
_INITS = ("kernel", "recurrent_kernel", "bias")


class DropInCell(nn.RNNCellBase):
    """Base of the cells with Flax's names.

    A plain pair is Flax's ``(c, h)``; the fields of an `LSTMState` are read by name. The new carry
    has the structure of the old one. The number of hidden units is that of the carry, as in Flax.

    Attributes:
      kind: the name of the cell in `lstm_jax`.
    """

    kind: ClassVar[Kind]

    if TYPE_CHECKING:  # fields of every subclass
        features: int
        carry_init: Callable[..., Any]

    def __init_subclass__(cls, kw_only: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(kw_only=kw_only, **kwargs)
        with_checked_names(cls)

    def make_cell(
        self, input_shape: tuple[int, ...], hidden_shape: tuple[int, ...]
    ) -> tuple[AnyCell, Boxes]:
        """The cell for an input and a hidden state of these shapes, and boxes of its parameters."""
        arguments = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        inits, boxes = plain_inits({name: arguments[f"{name}_init"] for name in _INITS})
        arguments |= {f"{name}_init": init for name, init in inits.items()}
        if self.kind == "GRU":
            arguments["recurrent_bias_init"] = arguments["bias_init"]
        sizes = input_shape[-1], hidden_shape[-1]
        return drop_in_cell(self.kind, *sizes, arguments, gate_by_gate=True), boxes

    def constants(self, cell: AnyCell) -> dict[str, jax.Array]:
        """Constants in place of parameters."""
        del cell
        return {}

    @nn.compact
    def __call__(self, carry: PyTree, inputs: Array) -> tuple[PyTree, Float[Array, "... H"]]:
        """One step.

        Args:
          carry: ``(c, h)`` for an LSTM, ``h`` for the others, as `initialize_carry` returns it; or
            a state of our cell.
          inputs: ``x_t`` ``[..., I]``.

        Returns:
          ``(carry, y_t)``.

        Raises:
          TypeError, ValueError: as `lstm_jax.advance`.
        """
        state, cell, params = self._parts(carry, jnp.shape(inputs))
        new, y = advance_layer(cell, params, state, inputs, None, broadcast=True)
        return carry_like(new, carry, "ch"), y

    @nn.compact
    def unroll(
        self, inputs: Array, carry: PyTree, step_shape: tuple[int, ...], **call: Any
    ) -> tuple[PyTree, Array]:
        """All steps at once, by `lstm_jax.unroll`; `RNN` calls this.

        Args:
          inputs: ``[..., T, I]``, or ``[T, ..., I]`` with ``time_major=True``.
          carry: the carry before the first step.
          step_shape: the shape of one step's input.
          **call: arguments of `unroll_layer`.

        Returns:
          ``(carry, outputs)``.
        """
        state, cell, params = self._parts(carry, step_shape)
        final, outputs = unroll_cell(cell, params, inputs, state, "ch", **call)
        return carry_like(final, carry, "ch"), outputs

    @nn.nowrap
    def _parts(self, carry: PyTree, input_shape: tuple[int, ...]) -> tuple[PyTree, AnyCell, PyTree]:
        """The state of a carry, the cell of its size, and the parameters of that."""
        state = drop_in_state(type(self).__name__, self.kind, carry)
        cell, boxes = self.make_cell(input_shape, jnp.shape(state[0]))
        return state, cell, module_params(self, cell, boxes, self.constants(cell))

    @nn.nowrap
    def initialize_carry(self, rng: Any, input_shape: tuple[int, ...]) -> PyTree:
        """The carry before the first step, drawn by `carry_init`.

        Args:
          rng: random key for `carry_init`; None for an initializer that draws nothing.
          input_shape: shape of one step's input.

        Returns:
          ``(c, h)`` for an LSTM, ``h`` for the others.
        """
        cell, _ = self.make_cell(tuple(input_shape), (self.features,))
        rows = tuple(input_shape[: len(input_shape) - self.num_feature_axes])
        carry = plain_carry(jax.eval_shape(lambda: initial_state(cell, None, rows)), "ch")
        leaves, structure = jax.tree.flatten(carry)
        if rng is None or len(leaves) == 1:
            keys = [rng] * len(leaves)
        else:
            keys = list(jax.random.split(rng, len(leaves)))
        return structure.unflatten(
            self.carry_init(key, leaf.shape, leaf.dtype)
            for key, leaf in zip(keys, leaves, strict=True)
        )

    @property
    def num_feature_axes(self) -> int:
        """Number of feature axes of an input."""
        return 1


class GatedCell(DropInCell):
    """Base of `LSTMCell`, `OptimizedLSTMCell` and `GRUCell`.

    Attributes:
      features: number of hidden units of `initialize_carry`.
      gate_fn: activation of the gates.
      activation_fn: activation of candidate and output.
      kernel_init: initializer of the input kernel ``[I, H]`` of each gate.
      recurrent_kernel_init: initializer of the recurrent kernel ``[H, H]`` of each gate.
      bias_init: initializer of the bias ``[H]`` of each gate.
      dtype: dtype of products and outputs; that of the parameters when not given.
      param_dtype: dtype of the parameters.
      carry_init: initializer of the carry.
    """

    features: int
    gate_fn: Callable[..., Any] = nn.sigmoid
    activation_fn: Callable[..., Any] = nn.tanh
    kernel_init: Initializer = lecun_normal
    recurrent_kernel_init: Initializer = orthogonal_per_gate
    bias_init: Initializer = ZEROS
    dtype: DType | None = None
    param_dtype: DType = jnp.float32
    carry_init: Initializer = ZEROS


class LSTMCell(GatedCell):
    """`flax.linen.LSTMCell`, computed by `lstm_jax.LSTM`; see `GatedCell` for the attributes.

    Reference:
      Hochreiter & Schmidhuber (1997), *Long short-term memory*.

    >>> layer, inputs = nn.RNN(LSTMCell(5), return_carry=True), jnp.ones((2, 7, 3))
    >>> ((c, h), outputs), variables = layer.init_with_output(jax.random.key(0), inputs)
    >>> outputs.shape, sorted(variables["params"]["cell"])
    ((2, 7, 5), ['bias', 'kernel', 'recurrent_kernel'])
    """

    kind = "LSTM"


class OptimizedLSTMCell(GatedCell):
    """`flax.linen.OptimizedLSTMCell`, computed by `lstm_jax.LSTM`: the same as `LSTMCell`.

    Reference:
      Hochreiter & Schmidhuber (1997), *Long short-term memory*.

    >>> layer, inputs = nn.RNN(OptimizedLSTMCell(5)), jnp.ones((2, 7, 3))
    >>> layer.init_with_output(jax.random.key(0), inputs)[0].shape
    (2, 7, 5)
    """

    kind = "LSTM"


class GRUCell(GatedCell):
    """`flax.linen.GRUCell`, computed by `lstm_jax.GRU`; see `GatedCell` for the attributes.

    Reference:
      Cho et al. (2014), *Learning phrase representations using RNN encoder-decoder for
      statistical machine translation*.

    >>> cell, x = GRUCell(5), jnp.ones((2, 3))
    >>> carry = cell.initialize_carry(jax.random.key(0), x.shape)
    >>> (carry, y), _ = cell.init_with_output(jax.random.key(0), carry, x)
    >>> carry.shape, y.shape
    ((2, 5), (2, 5))
    """

    kind = "GRU"


class SimpleCell(DropInCell):
    """`flax.linen.SimpleCell`, computed by `lstm_jax.TanhRNN`.

    Attributes:
      features: number of hidden units of `initialize_carry`.
      activation_fn: activation of the state.
      kernel_init: initializer of the input kernel ``[I, H]``.
      recurrent_kernel_init: initializer of the recurrent kernel ``[H, H]``.
      bias_init: initializer of the bias ``[H]``.
      dtype: dtype of products and outputs; that of the parameters when not given.
      param_dtype: dtype of the parameters.
      carry_init: initializer of the carry.
      residual: whether the last state is added before the activation.

    Reference:
      Elman (1990), *Finding structure in time*.

    >>> layer, inputs = nn.RNN(SimpleCell(5)), jnp.ones((2, 7, 3))
    >>> layer.init_with_output(jax.random.key(0), inputs)[0].shape
    (2, 7, 5)
    """

    kind = "TanhRNN"

    features: int
    activation_fn: Callable[..., Any] = nn.tanh
    kernel_init: Initializer = lecun_normal
    recurrent_kernel_init: Initializer = orthogonal_per_gate
    bias_init: Initializer = ZEROS
    dtype: DType | None = None
    param_dtype: DType = jnp.float32
    carry_init: Initializer = ZEROS
    residual: bool = False


class ConvLSTMCell(DropInCell):
    """`flax.linen.ConvLSTMCell`, computed by `lstm_jax.ConvLSTM`.

    Attributes:
      features: number of hidden channels ``H``.
      kernel_size: size of the window along each spatial axis.
      strides: strides of the window on the input.
      padding: ``"SAME"`` or ``"VALID"`` for the input, or pairs that are the same as one of them;
        the state's own convolution keeps its grid.
      use_bias: whether the bias is a parameter. Without it, the forget gate's bias stays 1.
      dtype: dtype of products and outputs; that of the parameters when not given.
      param_dtype: dtype of the parameters.
      carry_init: initializer of the carry.

    Reference:
      Shi et al. (2015), *Convolutional LSTM network: a machine learning approach for precipitation
      nowcasting*.

    >>> layer, inputs = nn.RNN(ConvLSTMCell(4, kernel_size=(3, 3))), jnp.ones((2, 7, 8, 8, 3))
    >>> layer.init_with_output(jax.random.key(0), inputs)[0].shape
    (2, 7, 8, 8, 4)
    """

    kind = "ConvLSTM"

    features: int
    kernel_size: Sequence[int]
    strides: Sequence[int] | None = None
    padding: str | Sequence[tuple[int, int]] = "SAME"
    use_bias: bool = True
    dtype: DType | None = None
    param_dtype: DType = jnp.float32
    carry_init: Initializer = ZEROS

    def make_cell(
        self, input_shape: tuple[int, ...], hidden_shape: tuple[int, ...]
    ) -> tuple[AnyCell, Boxes]:
        """The cell for an input of this shape."""
        del hidden_shape
        arguments = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        features, shape = arguments.pop("features"), input_shape[-self.num_feature_axes :]
        return drop_in_conv_lstm(type(self).__name__, shape, features, arguments), {}

    def constants(self, cell: Any) -> dict[str, jax.Array]:
        """The bias, if it is not a parameter."""
        if self.use_bias:
            return {}
        shape = (4 * self.features,)
        return {"bias": cell.bias_init(jax.random.key(0), shape, cell.policy.param)}

    @property
    def num_feature_axes(self) -> int:
        """Number of feature axes of an input: the spatial axes and the channels."""
        return len(self.kernel_size) + 1
