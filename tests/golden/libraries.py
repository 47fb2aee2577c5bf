"""LSTMs, GRUs and simple RNNs of other libraries behind one interface.

Each class has ``weights()``, in the form of the library, ``load(weights)`` in the same form, and
``apply(xs)`` for ``xs [T, B, I]``. `apply` returns the outputs ``[T, B, ...]``, and the final
states, such as ``h`` and ``c``, of every layer and direction, from the input up, forward first.
The constructors import the library.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

INPUTS, H, P = 3, 4, 2


class Torch:
    """`nn.LSTM`, `nn.GRU` or `nn.RNN`, or a cell called step by step."""

    def __init__(self, dtype, kind="LSTM", **settings):
        import torch

        self.torch = torch
        self.module = getattr(torch.nn, kind)(
            INPUTS, H, dtype=getattr(torch, np.dtype(dtype).name), **settings
        )

    def weights(self):
        return {name: tensor.numpy().copy() for name, tensor in self.module.state_dict().items()}

    def load(self, weights):
        tensors = {name: self.torch.from_dlpack(jnp.array(a)) for name, a in weights.items()}
        self.module.load_state_dict(tensors)

    def apply(self, xs):
        xs = self.torch.tensor(xs)
        with self.torch.no_grad():
            if isinstance(self.module, self.torch.nn.RNNBase):
                outputs, final = self.module(xs)
                parts = final if isinstance(final, tuple) else (final,)
                states = [part.numpy() for each in zip(*parts, strict=True) for part in each]
                return outputs.numpy(), states
            state, hs = None, []
            for x in xs:
                state = self.module(x, state)
                parts = state if isinstance(state, tuple) else (state,)
                hs.append(parts[0].numpy())
            return np.stack(hs), [part.numpy() for part in parts]


class Keras:
    """Layers of Keras, each given as keywords of its `LSTM`; ``both`` makes it bidirectional."""

    def __init__(self, dtype, *layers, kind="LSTM"):
        import keras

        self.to_numpy = keras.ops.convert_to_numpy
        self.layers, features = [], INPUTS
        for settings in layers:
            settings = dict(settings)
            both = settings.pop("both", False)
            settings |= {
                "return_sequences": True,
                "return_state": True,
                "dtype": np.dtype(dtype).name,
            }
            layer = getattr(keras.layers, kind)(H, **settings)
            if both:  # without a dtype, it casts its inputs to the default
                layer = keras.layers.Bidirectional(layer, dtype=settings["dtype"])
            layer.build((None, None, features))
            features = 2 * H if both else H
            self.layers.append(layer)

    def weights(self):
        layers = [layer.get_weights() for layer in self.layers]
        return layers if len(layers) > 1 else layers[0]

    def load(self, weights):
        for layer, layer_weights in zip(
            self.layers, weights if len(self.layers) > 1 else [weights], strict=True
        ):
            layer.set_weights(layer_weights)

    def apply(self, xs):
        ys, states = np.swapaxes(xs, 0, 1), []
        for layer in self.layers:
            ys, *final = layer(ys)
            states += map(self.to_numpy, final)
        return np.swapaxes(self.to_numpy(ys), 0, 1), states


class Linen:
    """`nn.RNN` around a cell of linen, or `nn.Bidirectional`."""

    def __init__(self, dtype, kind="LSTMCell", both=False):
        from flax import linen

        def rnn():
            return linen.RNN(getattr(linen, kind)(H, param_dtype=dtype))

        self.kind, self.both = kind, both
        self.module = linen.Bidirectional(rnn(), rnn()) if both else rnn()
        self.dtype = dtype  # of the weights, and of the initial carry
        self.variables = self.module.init(jax.random.key(0), jnp.zeros((2, 5, INPUTS), dtype))

    def weights(self):
        tree = self.variables["params"]
        return jax.tree.map(np.asarray, tree if self.both else tree["cell"])

    def load(self, weights):
        self.variables = {"params": weights if self.both else {"cell": weights}}

    def apply(self, xs):
        B = xs.shape[1]
        zeros = jnp.zeros((B, H), self.dtype)
        zeros = (zeros, zeros) if "LSTM" in self.kind else zeros
        start = (zeros, zeros) if self.both else zeros
        final, ys = self.module.apply(
            self.variables, jnp.swapaxes(xs, 0, 1), initial_carry=start, return_carry=True
        )
        return np.swapaxes(ys, 0, 1), carries(final if self.both else [final])


class NNX:
    """`nnx.RNN` around a cell of nnx, or `nnx.Bidirectional`."""

    def __init__(self, dtype, kind="LSTMCell", both=False):
        from flax import nnx

        def rnn(seed):
            given = {"dtype": dtype, "param_dtype": dtype, "rngs": nnx.Rngs(seed)}
            cell = getattr(nnx, kind)(INPUTS, H, **given)
            return nnx.RNN(cell)

        self.nnx, self.kind, self.both, self.dtype = nnx, kind, both, dtype
        self.module = nnx.Bidirectional(rnn(0), rnn(1)) if both else rnn(0)

    def weights(self):
        state = self.nnx.state(self.module if self.both else self.module.cell, self.nnx.Param)
        return jax.tree.map(np.asarray, self.nnx.to_pure_dict(state))

    def load(self, weights):
        self.nnx.update(self.module if self.both else self.module.cell, weights)

    def apply(self, xs):
        B = xs.shape[1]
        zeros = jnp.zeros((B, H), self.dtype)
        zeros = (zeros, zeros) if "LSTM" in self.kind else zeros
        start = (zeros, zeros) if self.both else zeros
        final, ys = self.module(
            jnp.swapaxes(jnp.asarray(xs), 0, 1), initial_carry=start, return_carry=True
        )
        return np.swapaxes(ys, 0, 1), carries(final if self.both else [final])


def carries(states):
    """Return the arrays of the states of Flax in our order; that of a pair is (c, h) there."""
    pairs = [state[::-1] if isinstance(state, tuple) else (state,) for state in states]
    return [np.asarray(part) for pair in pairs for part in pair]


class Haiku:
    """`hk.LSTM` or another core, or several in a `DeepRNN`."""

    def __init__(self, dtype, layers=1, kind="LSTM", **settings):
        import haiku as hk

        def net(xs):
            cores = [getattr(hk, kind)(H, **settings) for _ in range(layers)]
            core = hk.DeepRNN(cores)
            state = jax.tree.map(lambda a: a.astype(xs.dtype), core.initial_state(xs.shape[1]))
            return hk.dynamic_unroll(core, xs, state)

        self.net = hk.without_apply_rng(hk.transform(net))
        self.params = self.net.init(jax.random.key(0), jnp.zeros((5, 2, INPUTS), dtype))

    def weights(self):
        return jax.tree.map(np.asarray, dict(self.params))

    def load(self, weights):
        self.params = weights

    def apply(self, xs):
        ys, states = self.net.apply(self.params, jnp.asarray(xs))
        return np.asarray(ys), [np.asarray(array) for array in jax.tree.leaves(states)]


class Equinox:
    """`eqx.nn.LSTMCell` or `eqx.nn.GRUCell` in a scan, one scan for each layer."""

    def __init__(self, dtype, layers=1, use_bias=True, kind="LSTMCell"):
        import equinox as eqx

        sizes = [INPUTS] + [H] * (layers - 1)
        self.cells = [
            getattr(eqx.nn, kind)(n, H, use_bias=use_bias, dtype=dtype, key=jax.random.key(k))
            for k, n in enumerate(sizes)
        ]

    def weights(self):
        names = ("weight_ih", "weight_hh", "bias", "bias_n")
        layers = [
            {name: np.asarray(w) for name in names if (w := getattr(cell, name, None)) is not None}
            for cell in self.cells
        ]
        return layers if len(layers) > 1 else layers[0]

    def load(self, weights):
        import equinox as eqx

        weights = weights if isinstance(weights, list) else [weights]
        for k, (cell, cell_weights) in enumerate(zip(self.cells, weights, strict=True)):
            names = [name for name in cell_weights if getattr(cell, name) is not None]
            self.cells[k] = eqx.tree_at(
                lambda c, names=names: [getattr(c, name) for name in names],
                cell,
                [jnp.asarray(cell_weights[name]) for name in names],
            )

    def apply(self, xs):
        ys, states = jnp.asarray(xs), []
        for cell in self.cells:
            step = functools.partial(self.step, jax.vmap(cell))
            zeros = jnp.zeros((xs.shape[1], H), xs.dtype)
            start = (zeros, zeros) if not hasattr(cell, "bias_n") else zeros
            state, ys = jax.lax.scan(step, start, ys)
            states += [np.asarray(part) for part in jax.tree.leaves(state)]
        return np.asarray(ys), states

    @staticmethod
    def step(cell, state, x):
        state = cell(x, state)
        return state, jax.tree.leaves(state)[0]


class Cudnn:
    """The reference implementation in `jax.experimental.rnn`, which needs no GPU."""

    def __init__(self, dtype, layers=1, both=False):
        from jax.experimental import rnn

        self.rnn, self.sizes, self.dtype = rnn, (INPUTS, H, layers, both), dtype
        self.flat = rnn.init_lstm_weight(jax.random.key(0), *self.sizes).astype(dtype)

    def weights(self):
        return np.asarray(self.flat)

    def load(self, weights):
        self.flat = jnp.asarray(weights)

    def apply(self, xs):
        (T, B, _), (_, _, layers, both) = xs.shape, self.sizes
        zeros = jnp.zeros((layers * (1 + both), B, H), xs.dtype)
        unpacked = self.rnn.unpack_lstm_weights(self.flat, *self.sizes)
        ys, h, c = self.rnn.lstm_ref(
            jnp.swapaxes(xs, 0, 1),
            zeros,
            zeros,
            *unpacked,
            jnp.full(B, T, jnp.int32),
            *self.sizes[:3],
            0.0,
            both,
        )
        return np.swapaxes(ys, 0, 1), [
            np.asarray(a) for pair in zip(h, c, strict=True) for a in pair
        ]


TWO = {"num_layers": 2, "bidirectional": True}
LIBRARIES = {
    "torch": {
        "one": Torch,
        "cell": functools.partial(Torch, kind="LSTMCell"),
        "no_bias": functools.partial(Torch, bias=False),
        "bidirectional": functools.partial(Torch, bidirectional=True),
        "two_layers": functools.partial(Torch, num_layers=2),
        "projection": functools.partial(Torch, proj_size=P),
        "everything": functools.partial(Torch, proj_size=P, **TWO),
        "gru": functools.partial(Torch, kind="GRU", **TWO),
        "gru_cell": functools.partial(Torch, kind="GRUCell"),
        "gru_no_bias": functools.partial(Torch, kind="GRU", bias=False),
        "rnn": functools.partial(Torch, kind="RNN", **TWO),
        "rnn_cell": functools.partial(Torch, kind="RNNCell"),
        "rnn_relu": functools.partial(Torch, kind="RNN", nonlinearity="relu"),
    },
    "keras": {
        "one": lambda dtype: Keras(dtype, {}),
        "no_bias": lambda dtype: Keras(dtype, {"use_bias": False}),
        "bidirectional": lambda dtype: Keras(dtype, {"both": True}),
        "two_layers": lambda dtype: Keras(dtype, {"both": True}, {}),
        "gru": lambda dtype: Keras(dtype, {"both": True}, {}, kind="GRU"),
        "gru_before": lambda dtype: Keras(dtype, {"reset_after": False}, kind="GRU"),
        "gru_no_bias": lambda dtype: Keras(dtype, {"use_bias": False}, kind="GRU"),
        "rnn": lambda dtype: Keras(dtype, {"both": True}, kind="SimpleRNN"),
    },
    "flax": {
        "linen.LSTMCell": Linen,
        "linen.OptimizedLSTMCell": functools.partial(Linen, kind="OptimizedLSTMCell"),
        "linen.Bidirectional": functools.partial(Linen, both=True),
        "nnx.LSTMCell": NNX,
        "nnx.OptimizedLSTMCell": functools.partial(NNX, kind="OptimizedLSTMCell"),
        "nnx.Bidirectional": functools.partial(NNX, kind="OptimizedLSTMCell", both=True),
        "linen.GRUCell": functools.partial(Linen, kind="GRUCell"),
        "linen.SimpleCell": functools.partial(Linen, kind="SimpleCell"),
        "nnx.GRUCell": functools.partial(NNX, kind="GRUCell"),
        "nnx.SimpleCell": functools.partial(NNX, kind="SimpleCell"),
    },
    "haiku": {
        "one": Haiku,
        "two_layers": functools.partial(Haiku, layers=2),
        "gru": functools.partial(Haiku, layers=2, kind="GRU"),
        "rnn_relu": functools.partial(Haiku, layers=2, kind="VanillaRNN"),
        "rnn_one_bias": functools.partial(Haiku, kind="VanillaRNN", double_bias=False),
    },
    "equinox": {
        "one": Equinox,
        "no_bias": functools.partial(Equinox, use_bias=False),
        "two_layers": functools.partial(Equinox, layers=2),
        "gru": functools.partial(Equinox, layers=2, kind="GRUCell"),
        "gru_no_bias": functools.partial(Equinox, use_bias=False, kind="GRUCell"),
    },
    "cudnn": {
        "one": Cudnn,
        "bidirectional": functools.partial(Cudnn, both=True),
        "two_layers": functools.partial(Cudnn, layers=2),
        "everything": functools.partial(Cudnn, layers=2, both=True),
    },
}


FLOAT32_ONLY = {("keras", "gru_before"), ("keras", "rnn")}
"""Cases of which Keras 3.15 computes the products of float64 in float32, on all backends."""
