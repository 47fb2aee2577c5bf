"""Conversion of weights from other libraries and to them; one module for each library.

Each module has ``to_params``, which converts the weights of that library to ours, and
``from_params``, which converts ours back. `cell_of` returns the cell for converted parameters. Where
weights do not tell the cell, such as its activations, ``to_cell`` reads it from a layer.

>>> import numpy as np
>>> import lstm_jax as lj
>>> from lstm_jax.convert import cell_of, keras
>>> weights = [np.ones((3, 20)), np.ones((5, 20)), np.ones(20)]  # layer.get_weights()
>>> params = keras.to_params(weights)
>>> final, outputs = lj.unroll(cell_of(params), params, np.ones((7, 2, 3), np.float32))
>>> outputs.shape
(7, 2, 5)

The other libraries need not be installed: weights are identified by their names and shapes.
"""

from lstm_jax.convert import cudnn, equinox, flax, haiku, keras, safetensors, torch
from lstm_jax.convert.cell_of_params import cell_of

__all__ = ["cell_of", "cudnn", "equinox", "flax", "haiku", "keras", "safetensors", "torch"]
