"""Modules for Haiku: thin wrappers of any cell. They need the package ``dm-haiku``.

>>> import haiku as hk
>>> import jax, jax.numpy as jnp
>>> import lstm_jax as lj
>>> from lstm_jax.haiku import RNNCore
>>> def network(xs):  # [time, batch, features]
...     core = RNNCore(lj.LSTM(3, 5))
...     return hk.dynamic_unroll(core, xs, core.initial_state(2))
>>> model, xs = hk.without_apply_rng(hk.transform(network)), jnp.ones((7, 2, 3))
>>> params = model.init(jax.random.key(0), xs)
>>> list(params["rnn_core"])
['kernel', 'recurrent_kernel', 'bias']
>>> outputs, state = model.apply(params, xs)
>>> outputs.shape, state.c.shape
((7, 2, 5), (2, 5))
"""

from lstm_jax.haiku.core import RNNCore
from lstm_jax.haiku.params import haiku_params, params_of
from lstm_jax.haiku.recurrent import Recurrent

__all__ = ["RNNCore", "Recurrent", "haiku_params", "params_of"]
