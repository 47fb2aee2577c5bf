"""Carries in every form, through cells and layers of linen and NNX."""

import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn
from flax import nnx

import lstm_jax as lj
import lstm_jax.linen as in_linen
import lstm_jax.nnx as in_nnx
from lstm_jax.layers.carries import carry_like, layer_carry, plain_carry, state_of
from tests.helpers.flax_peer import close

KEY = jax.random.key(0)
CELLS = {
    "lstm": lj.LSTM(3, 5),
    "gru": lj.GRU(3, 5),
    "stack": lj.stack(lj.LSTM(3, 5), lj.GRU(5, 5), lj.LSTM(5, 5)),
}


@pytest.fixture
def inputs():
    return jax.random.normal(KEY, (2, 4, 3))


def numbered(cell):
    """A state with a different number in every leaf."""
    state = cell.initial_state((2,))
    leaves, structure = jax.tree.flatten(state)
    return structure.unflatten([leaf + 0.1 * (k + 1) for k, leaf in enumerate(leaves)])


def swapped(carry):
    """A carry with the plain pairs of arrays in it in the opposite order."""
    if not isinstance(carry, tuple) or isinstance(carry, lj.LSTMState):
        return carry
    if len(carry) == 2 and not isinstance(carry[0], tuple):
        return carry[::-1]
    return tuple(map(swapped, carry))


def linen_layer(cell, **fields):
    layer = in_linen.Recurrent(cell, return_carry=True, **fields)
    variables = in_linen.variables(cell.init(KEY))
    return lambda inputs, **call: layer.apply(variables, inputs, **call)


def nnx_layer(cell, **fields):
    layer = in_nnx.Recurrent(cell, return_carry=True, rngs=nnx.Rngs(0), **fields)
    layer.set_params(cell.init(KEY))
    return layer


LAYERS = {"linen": linen_layer, "nnx": nnx_layer}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("name", CELLS)
def test_a_layer_reads_and_returns_the_order_that_is_asked_for(layer, name, inputs):
    cell, state = CELLS[name], numbered(CELLS[name])
    plain = plain_carry(state, "hc")
    ours, flax_like = LAYERS[layer](cell), LAYERS[layer](cell, carry_order="ch")
    wanted, outputs = ours(inputs, initial_carry=state)
    chex.assert_trees_all_equal_structs(wanted, state)
    in_hc, ys = ours(inputs, initial_carry=plain, carry_order="hc")
    close(ys, outputs)
    close(in_hc, wanted)
    in_ch, ys = flax_like(inputs, initial_carry=swapped(plain))
    close(ys, outputs)
    chex.assert_trees_all_equal(in_ch, swapped(plain_carry(wanted, "hc")))
    # By name, whatever the order is.
    named, ys = flax_like(inputs, initial_carry=state)
    close(ys, outputs)
    chex.assert_trees_all_equal(named, wanted)
    # In the call.
    called, _ = ours(inputs, initial_carry=swapped(plain), carry_order="ch")
    chex.assert_trees_all_equal(called, in_ch)


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_without_an_initial_carry(layer, inputs):
    lstm = lj.LSTM(3, 5)
    state, _ = LAYERS[layer](lstm)(inputs)
    pair, _ = LAYERS[layer](lstm, carry_order="ch")(inputs)
    assert isinstance(state, lj.LSTMState)
    assert type(pair) is tuple
    chex.assert_trees_all_equal(pair, (state.c, state.h))
    assert isinstance(LAYERS[layer](lj.GRU(3, 5))(inputs)[0], lj.GRUState)


@pytest.mark.parametrize("layer", LAYERS)
def test_an_array_is_the_carry_of_a_state_with_one_field(layer, inputs):
    unroll = LAYERS[layer](lj.GRU(3, 5))
    zeros, outputs = unroll(inputs)
    carry, ys = unroll(inputs, initial_carry=jnp.zeros((2, 5)))
    assert carry[None].shape == (1, 2, 5)
    assert carry[0].shape == (5,)
    close(ys, outputs)
    close(carry, zeros.h)
    both = in_nnx.Bidirectional(lj.GRU(3, 5), rngs=nnx.Rngs(0), return_carry=True)
    ahead, back = both(inputs, initial_carry=(jnp.zeros((2, 5)), jnp.zeros((2, 5))))[0]
    assert ahead.shape == back.shape == (2, 5)


def test_directions_and_layers_in_flax_order(inputs):
    layer = in_nnx.LSTM(3, 5, num_layers=2, bidirectional=True, return_carry=True, rngs=nnx.Rngs(0))
    state = numbered(layer.cell)
    wanted, outputs = layer(inputs, initial_carry=state)
    pairs = tuple(tuple((each.c, each.h) for each in directions) for directions in state)
    carry, ys = layer(inputs, initial_carry=pairs, carry_order="ch")
    close(ys, outputs)
    for directions, states in zip(carry, wanted, strict=True):
        for (c, h), state in zip(directions, states, strict=True):
            chex.assert_trees_all_equal((c, h), (state.c, state.h))


@pytest.mark.parametrize("order", ["hc", "ch"])
def test_a_cell_returns_the_structure_that_it_is_given(order):
    cell, x = lj.LSTM(3, 5), jnp.ones((2, 3))
    step = in_linen.RNNCell(cell, carry_order=order)
    variables = in_linen.variables(cell.init(KEY))
    other = in_nnx.RNNCell(cell, carry_order=order, rngs=nnx.Rngs(0))
    other.set_params(cell.init(KEY))
    state = numbered(cell)
    wanted, _ = lj.advance(cell, cell.init(KEY), state, x)
    for run in (lambda carry: step.apply(variables, carry, x), lambda carry: other(carry, x)):
        for kind in (tuple, list):
            pair = kind(state if order == "hc" else state[::-1])
            got, _ = run(pair)
            assert type(got) is kind
            close(got, wanted if order == "hc" else wanted[::-1])
        chex.assert_trees_all_equal(run(state)[0], wanted)
    assert type(step.initialize_carry(None, x.shape)) is tuple
    gru = in_linen.RNNCell(lj.GRU(3, 5))
    assert gru.initialize_carry(None, x.shape).shape == (2, 5)
    deep = in_nnx.RNNCell(CELLS["stack"], carry_order=order, rngs=nnx.Rngs(0))
    carry = deep.initialize_carry(x.shape)
    chex.assert_trees_all_equal_structs(deep(carry, x)[0], carry)


@pytest.mark.parametrize("name", CELLS)
def test_cells_in_the_loops_of_flax_with_their_own_carries(name, inputs):
    cell = CELLS[name]
    rnn = nnx.RNN(in_nnx.RNNCell(cell, rngs=nnx.Rngs(0)), return_carry=True)
    theirs = nn.RNN(in_linen.RNNCell(cell), return_carry=True)
    rnn.cell.set_params(cell.init(KEY))
    variables = {"params": {"cell": in_linen.variables(cell.init(KEY))["params"]}}
    results = rnn(inputs), theirs.apply(variables, inputs)
    state, outputs = linen_layer(cell)(inputs)
    for carry, ys in results:
        close(ys, outputs)
        chex.assert_trees_all_equal_structs(carry, plain_carry(state, "hc"))


def test_what_is_no_order_is_named(inputs):
    message = "carry_order must be 'hc' or 'ch'; got 'cd'"
    with pytest.raises(ValueError, match=f"LSTM: {message}"):
        in_nnx.LSTM(3, 5, carry_order="cd", rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=f"LSTM: {message}"):
        in_linen.LSTM(5, carry_order="cd").init(KEY, inputs)
    with pytest.raises(ValueError, match=f"RNNCell: {message}"):
        in_linen.RNNCell(lj.LSTM(3, 5), carry_order="cd").initialize_carry(None, (2, 3))


def test_mappings_and_other_types_by_their_names():
    like = (lj.LSTMState(0, 0), lj.GRUState(0))
    given = {"layers_0": {"c": 1, "h": 2}, "layers_1": jnp.array(3)}
    assert state_of(like, given, "ch") == (lj.LSTMState(h=2, c=1), lj.GRUState(h=jnp.array(3)))

    class Flipped(NamedTuple):
        c: int
        h: int

    assert state_of(like[0], Flipped(c=1, h=2), "hc") == lj.LSTMState(h=2, c=1)
    state = lj.LSTMState(h=1, c=2)
    assert carry_like(state, [0, 0], "ch") == [2, 1]
    assert layer_carry((state, lj.GRUState(3)), ((0, 0), (0,)), "ch") == ((2, 1), lj.GRUState(3))


class Carry(NamedTuple):
    """A user's own pair in Flax's order."""

    cell: jax.Array
    hidden: jax.Array


@pytest.mark.parametrize("drop_in", ["linen", "nnx"])
def test_a_named_tuple_with_other_names_is_read_by_position(drop_in):
    x, (c, h) = jnp.ones((2, 3)), jax.random.normal(KEY, (2, 2, 5))
    if drop_in == "linen":
        cell = in_linen.LSTMCell(5)
        step = functools.partial(cell.apply, cell.init(KEY, (c, h), x))
    else:
        step = in_nnx.LSTMCell(3, 5, rngs=nnx.Rngs(0))
    wanted, y = step((c, h), x)
    new, ys = step(Carry(c, h), x)
    assert type(new) is Carry
    close((tuple(new), ys), (wanted, y))


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_reads_a_named_tuple_with_other_names_by_position(layer, inputs):
    unroll, state = LAYERS[layer](lj.LSTM(3, 5)), numbered(lj.LSTM(3, 5))
    wanted, _ = unroll(inputs, initial_carry=state)
    new, _ = unroll(inputs, initial_carry=Carry(state.c, state.h), carry_order="ch")
    assert type(new) is Carry
    close(tuple(new), (wanted.c, wanted.h))
    with pytest.raises(TypeError, match="Recurrent: initial_carry is a Carry; give LSTMState"):
        unroll(inputs, initial_carry=Carry(state.c, state.h))


@pytest.mark.parametrize("keys", [["0", "1"], ["layers_0", "layers_1"]])
def test_pairs_inside_of_mappings_are_in_the_order_that_is_asked_for(keys, inputs):
    layer = in_nnx.LSTM(3, 5, num_layers=2, return_carry=True, rngs=nnx.Rngs(0))
    states = numbered(layer.cell)
    pairs = {key: (each.c, each.h) for key, each in zip(keys, states, strict=True)}
    wanted, outputs = layer(inputs, initial_carry=states)
    carry, ys = layer(inputs, initial_carry=pairs, carry_order="ch")
    close(ys, outputs)
    close(carry, tuple((each.c, each.h) for each in wanted))


@pytest.mark.parametrize("order", ["hc", "ch"])
def test_a_mapping_is_a_carry_of_the_loops_of_jax(order):
    step = in_nnx.RNNCell(lj.LSTM(3, 5), carry_order=order, rngs=nnx.Rngs(0))
    state, xs = numbered(step.cell), jnp.ones((4, 2, 3))
    wanted, outputs = jax.lax.scan(step, state, xs)
    carry, ys = jax.lax.scan(step, dict(state._asdict()), xs)
    assert type(carry) is dict
    close((lj.LSTMState(**carry), ys), (wanted, outputs))
    deep = lj.stack(step.cell, lj.GRU(5, 5))
    given = {"layers_1": numbered(deep)[1].h, "layers_0": numbered(deep)[0]._asdict()}
    many = in_nnx.RNNCell(deep, carry_order=order, rngs=nnx.Rngs(0))
    chex.assert_trees_all_equal_structs(jax.lax.scan(many, given, xs)[0], given)


@pytest.mark.parametrize("layer", LAYERS)
def test_a_plain_pair_needs_its_order_in_a_layer(layer, inputs):
    state = numbered(lj.LSTM(3, 5))
    unroll = LAYERS[layer](lj.LSTM(3, 5))
    message = "Recurrent: initial_carry is a plain pair; give LSTMState.*'ch' for Flax's \\(c, h\\)"
    for kind in (tuple, list):
        with pytest.raises(TypeError, match=message):
            unroll(inputs, initial_carry=kind(state))
    deep = LAYERS[layer](CELLS["stack"])
    states = numbered(CELLS["stack"])
    with pytest.raises(TypeError, match="Recurrent: initial_carry has a plain pair"):
        deep(inputs, initial_carry=(states[0], states[1], tuple(states[2])))
    deep(inputs, initial_carry=states)
    # States of other kinds have one order alone.
    other = lj.SLSTM(3, 5)
    LAYERS[layer](other)(inputs, initial_carry=tuple(numbered(other)))
    unroll(inputs, initial_carry=dict(state._asdict()))


@pytest.mark.parametrize("layer", LAYERS)
def test_a_carry_with_other_parts_is_named(layer, inputs):
    unroll, zeros = LAYERS[layer](lj.LSTM(3, 5)), jnp.zeros((2, 5))
    for wrong, got in [((zeros,), "1 array in a tuple"), (zeros, "an array")]:
        message = f"Recurrent: initial_carry must be LSTMState\\(h, c\\); got {got}"
        with pytest.raises(TypeError, match=message):
            unroll(inputs, initial_carry=wrong)
    message = "Recurrent: initial_carry must be a state of 5 arrays; got 2 arrays in a LSTMState"
    with pytest.raises(TypeError, match=message):
        LAYERS[layer](CELLS["stack"])(inputs, initial_carry=lj.LSTMState(zeros, zeros))
