"""Weights from other libraries and to them, one library a file.

Each has ``to_params``, which reads the weights of that library, and ``from_params``, the way back;
`cell_of` gives the cell that they belong to:

>>> import numpy as np
>>> import lstm_jax as lj
>>> from lstm_jax.convert import cell_of, keras
>>> weights = [np.ones((3, 20)), np.ones((5, 20)), np.ones(20)]  # layer.get_weights()
>>> params = keras.to_params(weights)
>>> final, outputs = lj.unroll(cell_of(params), params, np.ones((7, 2, 3), np.float32))
>>> outputs.shape
(7, 2, 5)

No other library needs to be there: weights are known by their names and shapes.
"""

from lstm_jax.convert import cudnn, equinox, flax, haiku, keras, safetensors, torch
from lstm_jax.convert.layers import cell_of

__all__ = ["cell_of", "cudnn", "equinox", "flax", "haiku", "keras", "safetensors", "torch"]
