"""Memory cell blocks: the hidden layer of the LSTM of 1997, with its truncated gradient.

A block is ``S`` memory cells that share one input gate and one output gate. With
``u_t = [x_t, y_{t-1}]``, the input and the activations ``y`` of all hidden units, gates and cells:

    i_t = sigmoid(W_i u_t + b_i)           input gate of every block
    o_t = sigmoid(W_o u_t + b_o)           output gate of every block
    c_t = c_{t-1} + i_t * g(W_c u_t + b_c) cell state: no forget gate
    h_t = o_t * h(c_t)                     output of every cell
    y_t = [i_t, o_t, h_t]

The truncated gradient takes ``y_{t-1}`` as a constant, so that an error flows back in time through
the cell states alone: the paper's ``d net(t) / d y(t-1) = 0`` for all gates and cells.

Reference: Hochreiter & Schmidhuber (1997), *Long short-term memory*, section 4 and appendix A.1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from lstm_jax.cells.cell import Activation
from lstm_jax.cells.original import squash_g, squash_h
from lstm_jax.did_you_mean import did_you_mean
from lstm_jax.types import PRNGKey

BIASED = ("none", "gates", "all")


class MemoryBlocksParams(NamedTuple):
    """Parameters of memory cell blocks, for ``U`` hidden units: input gates, output gates, cells.

    Attributes:
      kernel: weights of the connections from the input ``[I, U]``.
      recurrent_kernel: of those from the hidden units ``[U, U]``; ``[0, U]`` without any.
      bias: of the units that have one: ``[U]``, of the gates alone, or ``[0]``.
    """

    kernel: Float[Array, "I U"]
    recurrent_kernel: Float[Array, "R U"]
    bias: Float[Array, " N"]


class MemoryBlocksState(NamedTuple):
    """State of memory cell blocks, for ``H`` cells and ``G`` gates.

    Attributes:
      h: outputs of the cells ``[..., H]``.
      c: cell states ``[..., H]``.
      gates: activations of the input gates and then of the output gates ``[..., G]``.
    """

    h: Float[Array, "... H"]
    c: Float[Array, "... H"]
    gates: Float[Array, "... G"]


@dataclass(frozen=True)
class MemoryBlocks:
    """Memory cell blocks as a cell: ``c_t = c_{t-1} + i * g`` and ``h_t = o * h(c_t)``.

    Args:
      input_size: number of input features ``I``.
      blocks: number of memory cell blocks.
      block_size: memory cells of a block.
      output_gates: whether the blocks have output gates; without, ``h_t = h(c_t)``.
      recurrent: whether every hidden unit has connections from all hidden units.
      biased: hidden units with a bias: none, gates, or all.
      input_gate_bias: initial bias of each block's input gate; empty to draw it as a weight.
      output_gate_bias: initial bias of each block's output gate; empty to draw it as a weight.
      weight_range: bound r of the initial weights, which are uniform in [-r, r].
      activation: squashing function g of the cells' inputs.
      output_activation: squashing function h of the cell states.
      truncated: whether the gradient is the truncated one of the paper; else it is exact.

    Raises:
      ValueError: when a number is below 1, or biases do not fit the blocks.

    Reference:
      Hochreiter & Schmidhuber (1997), *Long short-term memory*.

    >>> cell = MemoryBlocks(2, blocks=2, block_size=2, input_gate_bias=(-3.0, -6.0))
    >>> params = cell.init(jax.random.key(0))
    >>> sum(leaf.size for leaf in params)
    88
    >>> cell.step(params, cell.initial_state(), jnp.ones(2)).h.shape
    (4,)
    """

    input_size: int
    blocks: int
    block_size: int = 1
    output_gates: bool = True
    recurrent: bool = True
    biased: Literal["none", "gates", "all"] = "all"
    input_gate_bias: tuple[float, ...] = ()
    output_gate_bias: tuple[float, ...] = ()
    weight_range: float = 0.1
    activation: Activation = squash_g
    output_activation: Activation = squash_h
    truncated: bool = True

    def __post_init__(self) -> None:
        for name in ("input_size", "blocks", "block_size"):
            if (value := getattr(self, name)) < 1:
                raise ValueError(f"MemoryBlocks: {name} must be at least 1; got {value}")
        if self.biased not in BIASED:
            hint = did_you_mean(str(self.biased), BIASED)
            raise ValueError(
                f"MemoryBlocks: biased must be {', '.join(BIASED)}; got {self.biased!r}{hint}"
            )
        if not self.weight_range > 0:
            raise ValueError(f"MemoryBlocks: weight_range must be above 0; got {self.weight_range}")
        has_bias = {"input_gate_bias": self.biased != "none"}
        has_bias["output_gate_bias"] = self.biased != "none" and self.output_gates
        for name, has in has_bias.items():
            # A list, as of a config, would make the cell unhashable.
            object.__setattr__(self, name, tuple(getattr(self, name)))
            values, wanted = getattr(self, name), self.blocks if has else 0
            if values and len(values) != wanted:
                raise ValueError(
                    f"MemoryBlocks: {name} must have a value for each of {wanted} gates that have"
                    f" a bias; got {values}"
                )

    @property
    def cells(self) -> int:
        """Number of memory cells ``H``, which are the outputs."""
        return self.blocks * self.block_size

    @property
    def gates(self) -> int:
        """Number of gates ``G``."""
        return self.blocks * (2 if self.output_gates else 1)

    @property
    def units(self) -> int:
        """Number of hidden units ``U``: gates and cells."""
        return self.gates + self.cells

    def init(self, key: PRNGKey) -> MemoryBlocksParams:
        """Draw parameters, uniform in ``[-r, r]`` but for the gates' biases that are given.

        Args:
          key: typed random key.

        Returns:
          The parameters.
        """
        k_kernel, k_recurrent, k_bias = jax.random.split(key, 3)
        sources = self.units if self.recurrent else 0
        biases = {"none": 0, "gates": self.gates, "all": self.units}[self.biased]
        bias = self._draw(k_bias, (biases,))
        for first, given in ((0, self.input_gate_bias), (self.blocks, self.output_gate_bias)):
            if given:
                bias = lax.dynamic_update_slice(bias, jnp.asarray(given, bias.dtype), (first,))
        return MemoryBlocksParams(
            kernel=self._draw(k_kernel, (self.input_size, self.units)),
            recurrent_kernel=self._draw(k_recurrent, (sources, self.units)),
            bias=bias,
        )

    def initial_state(self, batch_shape: Sequence[int] = ()) -> MemoryBlocksState:
        """Zeros: all activations are reset before a sequence.

        Args:
          batch_shape: the batch axes.
        """
        sizes = (self.cells, self.cells, self.gates)
        return MemoryBlocksState(*(jnp.zeros((*batch_shape, size)) for size in sizes))

    def step(
        self, params: MemoryBlocksParams, state: MemoryBlocksState, x: Float[Array, "... I"]
    ) -> MemoryBlocksState:
        """Advance one time step, by the equations at the top of this file.

        Args:
          params: the parameters, as `init` draws them.
          state: the state before the step, as `initial_state` returns it.
          x: input ``x_t`` ``[..., I]``.

        Returns:
          The state after the step.
        """
        h_tm1, c_tm1, gates_tm1 = state
        z = x @ params.kernel
        if self.recurrent:
            y_tm1 = jnp.concatenate([gates_tm1, h_tm1], axis=-1)
            if self.truncated:
                y_tm1 = lax.stop_gradient(y_tm1)
            z = z + y_tm1 @ params.recurrent_kernel
        absent = self.units - params.bias.shape[0]
        z = z + lax.broadcast_to_rank(jnp.pad(params.bias, (0, absent)), z.ndim)
        gates = jax.nn.sigmoid(z[..., : self.gates])
        # Every cell of a block has the gates of the block.
        i, *o = jnp.split(
            jnp.repeat(gates, self.block_size, axis=-1), self.gates // self.blocks, -1
        )
        c_t = c_tm1 + i * self.activation(z[..., self.gates :])
        h_t = self.output_activation(c_t)
        return MemoryBlocksState(o[0] * h_t if o else h_t, c_t, gates)

    def _draw(self, key: PRNGKey, shape: tuple[int, ...]) -> jax.Array:
        return jax.random.uniform(key, shape, minval=-self.weight_range, maxval=self.weight_range)
