"""Whole programs, with Flax's cells and with ours: one call takes their checkpoints over."""

import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

from lstm_jax import linen as ours
from lstm_jax import nnx as ours_nnx
from lstm_jax.convert import flax
from lstm_jax.testing import quick_jit

RANDOM = np.random.default_rng(0)
XS = RANDOM.normal(size=(2, 5, 4)).astype(np.float32)
WORDS = 4


def seq2seq(cells):
    """A model that answers an addition, digit by digit; its decoder reads its own last answer."""

    class Decoder(linen.RNNCellBase):
        features: int

        @linen.compact
        def __call__(self, carry, x):
            state, last = carry
            state, y = cells.LSTMCell(self.features)(state, (x + last) / 2)
            logits = linen.Dense(WORDS)(y)
            return (state, jax.nn.one_hot(logits.argmax(-1), WORDS)), logits

        @property
        def num_feature_axes(self):
            return 1

    class Seq2seq(linen.Module):
        @linen.compact
        def __call__(self, xs):
            encoder = linen.RNN(cells.LSTMCell(6), return_carry=True, name="encoder")
            decoder = linen.RNN(Decoder(2), name="decoder")
            return decoder(xs, initial_carry=(encoder(xs)[0], xs[:, 0]))

    return Seq2seq()


def actor_critic(cells):
    """A recurrent policy and value, with a return to zeros where an episode begins."""

    class Scanned(linen.Module):
        @functools.partial(
            linen.scan,
            variable_broadcast="params",
            split_rngs={"params": False},
            in_axes=1,
            out_axes=1,
        )
        @linen.compact
        def __call__(self, carry, inputs):
            x, reset = inputs
            carry = jnp.where(reset[:, None], jnp.zeros_like(carry), carry)
            return cells.GRUCell(x.shape[1])(carry, x)

    class ActorCritic(linen.Module):
        @linen.compact
        def __call__(self, xs):
            embedded = linen.relu(linen.Dense(5)(xs))
            carry = jnp.zeros((len(xs), 5))
            _, hs = Scanned()(carry, (embedded, xs[..., 0] > 1))
            return linen.Dense(2)(hs), linen.Dense(1)(hs)

    return ActorCritic()


def speech(layer):
    """Bidirectional layers, with normalization over the batch in front of each."""

    class Block(linen.Module):
        @linen.compact
        def __call__(self, xs):
            return layer()(linen.BatchNorm(use_running_average=True)(xs))

    class Speech(linen.Module):
        @linen.compact
        def __call__(self, xs):
            for _ in range(2):
                xs = Block()(xs)
            return linen.Dense(3)(xs)

    return Speech()


def theirs_in_both_directions():
    return linen.Bidirectional(*(linen.RNN(linen.OptimizedLSTMCell(3)) for _ in range(2)))


def compact(call):
    """A model whose layers are created in a compact call."""

    class Model(linen.Module):
        @linen.compact
        def __call__(self, xs):
            return call(xs)

    return Model()


def rnn(**names):
    return linen.RNN(linen.LSTMCell(3), **names)


def shared():
    cell = linen.LSTMCell(3)
    return linen.Bidirectional(linen.RNN(cell), linen.RNN(cell))


def scanned(xs):
    options = {"variable_broadcast": "params", "split_rngs": {"params": False}}
    layer = linen.scan(linen.LSTMCell, **options, in_axes=1, out_axes=1)(3)
    return layer((jnp.zeros((2, 3)), jnp.zeros((2, 3))), xs)[1]


INLINE = {
    "rnn": (lambda xs: rnn()(xs), lambda xs: ours.LSTM(3)(xs), {"LSTMCell_0": "LSTM_0"}),
    "named rnn": (
        lambda xs: rnn(name="rnn")(xs),
        lambda xs: ours.LSTM(3, name="rnn")(xs),
        {"LSTMCell_0": "rnn"},
    ),
    "sequential": (
        lambda xs: linen.Sequential([rnn(), linen.Dense(1)])(xs),
        lambda xs: linen.Sequential([ours.LSTM(3), linen.Dense(1)])(xs),
        {"LSTMCell_0": "LSTM_0"},
    ),
    "bidirectional": (
        lambda xs: linen.Bidirectional(rnn(), rnn())(xs),
        lambda xs: ours.LSTM(3, bidirectional=True)(xs),
        {"LSTMCell_0": "LSTM_0/forward", "LSTMCell_1": "LSTM_0/backward"},
    ),
    "one cell in both directions": (
        lambda xs: shared()(xs),
        lambda xs: ours.LSTM(3, bidirectional=True, tied=True)(xs),
        {"LSTMCell_0": "LSTM_0"},
    ),
    "scan": (scanned, lambda xs: ours.LSTM(3)(xs), {"ScanLSTMCell_0": "LSTM_0"}),
}
PAGE = (Path(__file__).parents[2] / "docs" / "convert.md").read_text()


@pytest.mark.parametrize("name", INLINE)
def test_layers_that_are_created_in_a_call(name):
    theirs, replaced, rename = INLINE[name]
    variables = random_variables(compact(theirs))
    assert variables["params"].keys() - {"Dense_0"} == rename.keys()
    check_same_shapes(flax.take_over(variables, rename), compact(replaced))
    rows = [line for line in PAGE.splitlines() if line.endswith(f"| `{json.dumps(rename)}` |")]
    assert any(all(f"`{cell}`" in row for cell in rename) for row in rows)


def test_layers_with_names_of_their_own():
    def model(*layers):
        class Model(linen.Module):
            def setup(self):
                self.one, self.both, self.tied, self.many = layers

            def __call__(self, xs):
                return self.many(self.tied(self.both(self.one(xs))))

        return Model()

    def flax_layers(cells):
        def rnn():
            return linen.RNN(cells.SimpleCell(3))

        cell = cells.SimpleCell(3)
        return (
            rnn(),
            linen.Bidirectional(rnn(), rnn()),
            linen.Bidirectional(linen.RNN(cell), linen.RNN(cell)),
            linen.Sequential([rnn(), rnn()]),
        )

    layers = (
        ours.TanhRNN(3),
        ours.TanhRNN(3, bidirectional=True),
        ours.TanhRNN(3, bidirectional=True, tied=True),
        linen.Sequential([ours.TanhRNN(3), ours.TanhRNN(3)]),
    )
    theirs = model(*flax_layers(linen))
    variables = random_variables(theirs)
    expected = quick_jit(theirs.apply)(variables, XS)
    for cells_only, replaced in ((False, model(*layers)), (True, model(*flax_layers(ours)))):
        converted = flax.take_over(variables, cells_only=cells_only)
        check_same_shapes(converted, replaced)
        close(quick_jit(replaced.apply)(converted, XS), expected)


def random_variables(model):
    shapes = jax.eval_shape(model.init, jax.random.key(0), XS)
    return jax.tree.map(lambda a: abs(RANDOM.normal(0, 0.5, a.shape)).astype(a.dtype), shapes)


def check_same_shapes(converted, model):
    shapes = jax.eval_shape(model.init, jax.random.key(0), XS)
    assert jax.tree.map(jnp.shape, converted) == jax.tree.map(jnp.shape, shapes)


def close(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=0, atol=1e-6), a, b)


@pytest.mark.parametrize(
    ("theirs", "replaced", "settings"),
    [
        (seq2seq(linen), seq2seq(ours), {}),
        (actor_critic(linen), actor_critic(ours), {}),
        (
            speech(theirs_in_both_directions),
            speech(lambda: ours.LSTM(3, bidirectional=True)),
            {
                "rename": {
                    "OptimizedLSTMCell_0": "LSTM_0/forward",
                    "OptimizedLSTMCell_1": "LSTM_0/backward",
                }
            },
        ),
    ],
    ids=["seq2seq", "actor and critic", "speech"],
)
def test_a_checkpoint_of_a_program(theirs, replaced, settings):
    variables = random_variables(theirs)
    converted = flax.take_over(variables, **settings)
    check_same_shapes(converted, replaced)
    expected = quick_jit(theirs.apply)(variables, XS)
    close(quick_jit(replaced.apply)(converted, XS), expected)


def test_a_checkpoint_of_several_seeds():
    """As one gets from a training that is vmapped over seeds."""
    variables = [random_variables(actor_critic(linen)) for _ in range(2)]
    converted = flax.take_over(jax.tree.map(lambda *each: np.stack(each), *variables))
    for k, each in enumerate(variables):
        close(jax.tree.map(lambda a, k=k: a[k], converted), flax.take_over(each))


def forecaster(rnn):
    class Forecaster(nnx.Module):
        def __init__(self):
            self.rnn, self.head = rnn(), nnx.Linear(3, 1, rngs=nnx.Rngs(0))

        def __call__(self, xs):
            return self.head(self.rnn(xs)[:, -1])

    return Forecaster()


def outputs_of(graph, state):
    return quick_jit(lambda state: nnx.merge(graph, state)(XS))(state)


ZEROS = {"recurrent_kernel_init": nnx.initializers.zeros}  # others take long to compile


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("LSTMCell", ours_nnx.LSTM),
        ("OptimizedLSTMCell", ours_nnx.LSTM),
        ("GRUCell", ours_nnx.GRU),
        ("SimpleCell", ours_nnx.TanhRNN),
    ],
)
def test_a_forecaster_of_nnx(name, layer):
    def cell(library):
        return nnx.RNN(getattr(library, name)(4, 3, rngs=nnx.Rngs(0), **ZEROS))

    graph, state = nnx.split(forecaster(lambda: cell(nnx)))
    state = jax.tree.map(
        lambda a: jnp.sin(a + 1) if jnp.issubdtype(a.dtype, jnp.floating) else a, state
    )
    expected = outputs_of(graph, state)
    for cells_only, rnn in (
        (False, lambda: layer(4, 3, rngs=nnx.Rngs(0), **ZEROS)),
        (True, lambda: cell(ours_nnx)),
    ):
        replaced = forecaster(rnn)
        nnx.update(replaced, flax.take_over(state, cells_only=cells_only))
        close(outputs_of(*nnx.split(replaced)), expected)
