"""Models written for Flax, with our cells by a change of imports, and their old checkpoints."""

import functools

import chex
import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn
from flax import nnx

import lstm_jax.linen as in_linen
import lstm_jax.nnx as in_nnx
from lstm_jax.convert.flax import take_over
from tests.helpers.flax_peer import close, randomized
from tests.helpers.toys import slow_case

KEY = jax.random.key(0)
VOCABULARY, HIDDEN = 4, 6


def translator(cells):
    """An encoder and a decoder that reads its own predictions, with the cells of a library."""

    class Decoder(nn.RNNCellBase):
        teacher: bool

        @nn.compact
        def __call__(self, carry, token):
            memory, last = carry
            # The number of features is that of the vocabulary; the size comes from the carry.
            memory, y = cells.LSTMCell(VOCABULARY)(memory, token if self.teacher else last)
            logits = nn.Dense(VOCABULARY)(y)
            guess = jax.nn.one_hot(jnp.argmax(logits, -1), VOCABULARY)
            return (memory, guess), (logits, guess)

        @property
        def num_feature_axes(self):
            return 1

    class Translator(nn.Module):
        teacher: bool = True

        @nn.compact
        def __call__(self, question, answer, lengths):
            encoder = nn.RNN(cells.LSTMCell(HIDDEN), return_carry=True, name="encoder")
            decoder = nn.RNN(Decoder(self.teacher), name="decoder")
            memory, _ = encoder(question, seq_lengths=lengths)
            return decoder(answer[:, :-1], initial_carry=(memory, answer[:, 0]))

    return Translator


@pytest.mark.parametrize("teacher", [slow_case(True), False])
def test_a_translator_swaps_by_its_imports(teacher):
    tokens = jax.nn.one_hot(jax.random.randint(KEY, (2, 2, 5), 0, VOCABULARY), VOCABULARY)
    args = (*tokens, jnp.array([5, 2]))
    old, new = (translator(cells)(teacher) for cells in (nn, in_linen))
    checkpoint = randomized(jax.eval_shape(old.init, KEY, *args))
    ours = take_over(checkpoint, cells_only=True)
    chex.assert_trees_all_equal_shapes(ours, jax.eval_shape(new.init, KEY, *args))
    close(new.apply(ours, *args), old.apply(checkpoint, *args))


def agent(cells):
    """A policy with a memory that is reset where an episode ends, scanned over time."""

    class Memory(nn.Module):
        @functools.partial(
            nn.scan,
            variable_broadcast="params",
            split_rngs={"params": False},
            in_axes=0,
            out_axes=0,
        )
        @nn.compact
        def __call__(self, carry, step):
            x, done = step
            start = self.initial(*carry.shape)
            carry = jnp.where(done[:, None], start, carry)
            return cells.GRUCell(features=carry.shape[-1])(carry, x)

        @staticmethod
        def initial(rows, features):
            cell = cells.GRUCell(features=features)
            return cell.initialize_carry(jax.random.key(0), (rows, features))

    class Agent(nn.Module):
        @nn.compact
        def __call__(self, carry, steps):
            observations, dones = steps
            x = nn.relu(nn.Dense(HIDDEN)(observations))
            carry, x = Memory()(carry, (x, dones))
            return carry, nn.Dense(2)(x), nn.Dense(1)(x)[..., 0]

    return Agent(), Memory


class Replaced(nn.Module):
    """The same agent with the layer in place of the loop."""

    @nn.compact
    def __call__(self, carry, steps):
        observations, dones = steps
        x = nn.relu(nn.Dense(HIDDEN)(observations))
        layer = in_linen.GRU(HIDDEN, preset="flax", time_major=True, return_carry=True)
        carry, x = layer(x, initial_carry=carry, reset=dones)
        return carry, nn.Dense(2)(x), nn.Dense(1)(x)[..., 0]


@pytest.mark.parametrize("replaced", [False, True], ids=["imports", "layer"])
def test_an_agent_swaps_by_its_imports_or_by_the_layer(replaced):
    observations = jax.random.normal(KEY, (5, 2, 3))
    dones = (jax.random.uniform(KEY, (5, 2)) < 0.4).astype(jnp.float32 if replaced else bool)
    (old, memory), (new, own_memory) = agent(nn), agent(in_linen)
    carry = memory.initial(2, HIDDEN)
    chex.assert_trees_all_equal(own_memory.initial(2, HIDDEN), carry)
    carry, steps = carry + 0.3, (observations, dones.astype(bool))
    checkpoint = randomized(jax.eval_shape(old.init, KEY, carry, steps))
    if replaced:
        new, steps = Replaced(), (observations, dones)
        rename = {"Memory_0/GRUCell_1": "GRU_0"}
        ours = take_over(checkpoint, rename=rename)
    else:
        ours = take_over(checkpoint, cells_only=True)
    chex.assert_trees_all_equal_shapes(ours, jax.eval_shape(new.init, KEY, carry, steps))
    wanted = old.apply(checkpoint, carry, (observations, dones.astype(bool)))
    close(new.apply(ours, carry, steps), wanted)


def forecaster(cells, rngs):
    """Both directions over one sequence, in NNX."""

    class Forecaster(nnx.Module):
        def __init__(self):
            make = functools.partial(cells.OptimizedLSTMCell, 3, HIDDEN, rngs=rngs)
            self.rnn = nnx.Bidirectional(nnx.RNN(make()), nnx.RNN(make()))
            self.head = nnx.Linear(2 * HIDDEN, 1, rngs=rngs)

        def __call__(self, xs):
            return self.head(self.rnn(xs)[:, -1])

    return Forecaster()


@pytest.mark.slow
def test_a_forecaster_of_nnx_swaps_by_its_imports():
    xs = jax.random.normal(KEY, (2, 4, 3))
    old, new = (forecaster(cells, nnx.Rngs(0)) for cells in (nnx, in_nnx))
    nnx.update(old, randomized(nnx.state(old, nnx.Param)))
    ours = take_over(nnx.to_pure_dict(nnx.state(old, nnx.Param)), cells_only=True)
    state = nnx.state(new, nnx.Param)
    nnx.replace_by_pure_dict(state, ours)
    nnx.update(new, state)
    close(new(xs), old(xs))
