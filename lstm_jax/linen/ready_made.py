"""The layers `LSTM`, `GRU` and `TanhRNN`: a cell with layers, directions and dropout."""

import dataclasses

import jax

from lstm_jax.initializers import per_gate
from lstm_jax.layers import (
    GRUFields,
    LayerFields,
    LSTMFields,
    TanhRNNFields,
    documents,
    gate_blocks,
    layer_cell,
)
from lstm_jax.linen.layers import SequenceLayer
from lstm_jax.linen.params import Boxes, partition_boxes, plain_inits
from lstm_jax.transforms.transform import AnyCell
from lstm_jax.types import PyTree


class ReadyMade(SequenceLayer, LayerFields):
    """Base of the layers that make their cell themselves."""

    features: int

    def make_cell(self, inputs: PyTree) -> tuple[AnyCell, Boxes]:
        """The cell of all layers and directions."""
        names = [f.name for f in dataclasses.fields(self) if f.name.endswith("_init")]
        inits, boxes = plain_inits(
            {name.removesuffix("_init"): getattr(self, name) for name in names}
        )
        # Flax's cells draw the kernel of each gate by itself: the same initializer must return the
        # same distribution here.
        gates = gate_blocks(self)
        cell_inits = {
            f"{name}_init": per_gate(init, gates) if name.endswith("kernel") else init
            for name, init in inits.items()
        }
        features = jax.tree.leaves(inputs)[0].shape[-1]
        cell = layer_cell(type(self).__name__, features, self.features, self, cell_inits)
        return cell, boxes | partition_boxes(self.partitioning)


@documents(LSTMFields)
class LSTM(ReadyMade, LSTMFields):
    """The LSTM as a layer, with several layers, directions, projection and dropout.

    Attributes:
      features: number of hidden units ``H``, of every layer and direction.

    Reference:
      Hochreiter & Schmidhuber (1997), *Long short-term memory*; Gers, Schmidhuber & Cummins
      (2000), *Learning to forget*.

    >>> import jax, jax.numpy as jnp
    >>> layer, inputs = LSTM(5, num_layers=2, bidirectional=True), jnp.ones((2, 7, 3))
    >>> variables = layer.init(jax.random.key(0), inputs)
    >>> layer.apply(variables, inputs, seq_lengths=jnp.array([7, 4])).shape
    (2, 7, 10)
    """


@documents(GRUFields)
class GRU(ReadyMade, GRUFields):
    """The GRU as a layer, with several layers, directions and dropout.

    Attributes:
      features: number of hidden units ``H``, of every layer and direction.

    Reference:
      Cho et al. (2014), *Learning phrase representations using RNN encoder-decoder for
      statistical machine translation*.

    >>> import jax, jax.numpy as jnp
    >>> layer, inputs = GRU(5, preset="flax", return_carry=True), jnp.ones((2, 7, 3))
    >>> variables = layer.init(jax.random.key(0), inputs)
    >>> carry, outputs = layer.apply(variables, inputs, initial_carry=jnp.zeros((2, 5)))
    >>> carry.shape, outputs.shape
    ((2, 5), (2, 7, 5))
    """


@documents(TanhRNNFields)
class TanhRNN(ReadyMade, TanhRNNFields):
    """The tanh RNN as a layer, with several layers, directions and dropout.

    Attributes:
      features: number of hidden units ``H``, of every layer and direction.

    Reference:
      Elman (1990), *Finding structure in time*.

    >>> import jax, jax.numpy as jnp
    >>> layer, inputs = TanhRNN(5, activation_fn=jax.nn.relu), jnp.ones((2, 7, 3))
    >>> layer.init_with_output(jax.random.key(0), inputs)[0].shape
    (2, 7, 5)
    """
