"""`RNN` of linen and NNX with Flax's constructor, against Flax's own over Flax's cells."""

import functools

import chex
import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn
from flax import nnx

import lstm_jax as lj
import lstm_jax.linen as in_linen
import lstm_jax.nnx as in_nnx
from tests.helpers.flax_peer import close, randomized, weights_from_linen
from tests.helpers.toys import slow_case

KEY = jax.random.key(0)
LENGTHS = jnp.array([4, 2])
CALLS = [
    {"seq_lengths": LENGTHS, "reverse": True},
    slow_case({"reverse": True, "keep_order": True}),
    slow_case({"time_major": True}),
]


@pytest.fixture
def inputs():
    return jax.random.normal(KEY, (2, 4, 3))


@pytest.mark.parametrize("name", ["LSTMCell", "GRUCell", slow_case("SimpleCell")])
@pytest.mark.parametrize("call", CALLS, ids="+".join)
def test_linen_has_the_numbers_of_flax(name, call, inputs):
    theirs = nn.RNN(vars(nn)[name](5), return_carry=True)
    mine = in_linen.RNN(vars(in_linen)[name](5), return_carry=True)
    variables = randomized(jax.eval_shape(theirs.init, KEY, inputs))["params"]["cell"]
    converted = weights_from_linen(name, variables)
    start = randomized(theirs.cell.initialize_carry(KEY, (4 if "time_major" in call else 2, 3)), 3)
    call = {**call, "initial_carry": start}
    wanted = theirs.apply({"params": {"cell": variables}}, inputs, **call)
    got = mine.apply({"params": {"cell": converted}}, inputs, **call)
    chex.assert_trees_all_equal_structs(got, wanted)
    close(got[0], wanted[0])
    valid = jnp.ones((2, 4), bool)
    if "seq_lengths" in call:
        valid = lj.mask_of_lengths(LENGTHS, 4).T
        assert not got[1][1, 2:].any()  # padding
    close(*(jnp.where(valid[..., None], ys, 0) for ys in (got[1], wanted[1])))


def test_it_unrolls_our_cells_and_scans_others(inputs, monkeypatch):
    def no_scan(*args, **kwargs):
        raise RuntimeError("scanned by Flax")

    monkeypatch.setattr(nn.transforms, "scan", no_scan)
    unrolled = in_linen.RNN(in_linen.GRUCell(5))
    assert unrolled.init_with_output(KEY, inputs)[0].shape == (2, 4, 5)
    assert in_linen.RNN(in_linen.SimpleCell(5), unroll=2).init(KEY, inputs)

    class Own(in_linen.GRUCell):
        @nn.compact
        def __call__(self, carry, inputs):
            return super().__call__(carry, inputs)

    for scanned in (
        in_linen.RNN(Own(5)),
        in_linen.RNN(nn.GRUCell(5)),
        in_linen.RNN(in_linen.GRUCell(5), variable_axes={"params": 0}, variable_broadcast=False),
    ):
        with pytest.raises(RuntimeError, match="scanned by Flax"):
            scanned.init(KEY, inputs)


def test_a_carry_is_drawn_as_in_flax(inputs):
    draw = {"carry_init": nn.initializers.normal(1.0)}
    variables = nn.RNN(in_linen.LSTMCell(5)).init(KEY, inputs)
    call = {"init_key": jax.random.key(3)}
    got, wanted = (
        library.RNN(in_linen.LSTMCell(5, **draw)).apply(variables, inputs, **call)
        for library in (in_linen, nn)
    )
    close(got, wanted)
    assert not jnp.allclose(got, in_linen.RNN(in_linen.LSTMCell(5)).apply(variables, inputs))


def test_both_directions_of_flax_over_it(inputs):
    cell = in_linen.GRUCell(5)  # twice: both directions have its parameters
    got, wanted = (
        nn.Bidirectional(library.RNN(cell), library.RNN(cell), return_carry=True)
        for library in (in_linen, nn)
    )
    variables = wanted.init(KEY, inputs)
    chex.assert_trees_all_equal_shapes(jax.eval_shape(got.init, KEY, inputs), variables)
    close(got.apply(variables, inputs), wanted.apply(variables, inputs))


@pytest.mark.parametrize("name", ["LSTMCell", slow_case("GRUCell")])
@pytest.mark.parametrize("call", [{}, *CALLS[1:]], ids="+".join)
def test_nnx_has_the_numbers_of_the_loop_of_flax(name, call, inputs):
    cell = vars(in_nnx)[name](3, 5, rngs=nnx.Rngs(0))
    got, wanted = (
        library.RNN(cell, return_carry=True)(inputs, **call) for library in (in_nnx, nnx)
    )
    chex.assert_trees_all_equal_structs(got, wanted)
    close(got, wanted)


def test_nnx_works_under_plain_jax_and_falls_back(inputs, monkeypatch):
    layer = in_nnx.RNN(in_nnx.LSTMCell(3, 5, rngs=nnx.Rngs(0)))
    graph, params, rest = nnx.split(layer, nnx.Param, ...)
    grads = jax.grad(lambda params: nnx.merge(graph, params, rest)(inputs).sum())(params)
    assert all(leaf.any() for leaf in jax.tree.leaves(grads))
    both = nnx.Bidirectional(layer, in_nnx.RNN(in_nnx.LSTMCell(3, 5, rngs=nnx.Rngs(1))))
    assert both(inputs).shape == (2, 4, 10)

    called = []
    monkeypatch.setattr(nnx.RNN, "__call__", lambda self, *_, **__: called.append(self))
    drop = in_nnx.RNNCell(lj.dropout(lj.GRU(3, 5), 0.5), rngs=nnx.Rngs(0))
    cell = in_nnx.GRUCell(3, 5, rngs=nnx.Rngs(0))
    every = nnx.StateAxes({...: nnx.Carry})
    for layer in (in_nnx.RNN(drop), in_nnx.RNN(cell, state_axes=every), in_nnx.RNN(cell)):
        layer(inputs)
    assert len(called) == 2


@pytest.mark.parametrize("order", ["hc", "ch"])
def test_linen_unrolls_any_cell_with_the_carries_of_the_loop_of_flax(order, inputs, monkeypatch):
    step = in_linen.RNNCell(functools.partial(lj.LSTM, hidden_size=5), carry_order=order)
    theirs, mine = nn.RNN(step, return_carry=True), in_linen.RNN(step, return_carry=True)
    variables = theirs.init(KEY, inputs)
    start = tuple(jax.random.normal(KEY, (2, 2, 5)))
    carries = [None, start, list(start), dict(zip("hc", start, strict=True))]
    wanted = [theirs.apply(variables, inputs, initial_carry=carry) for carry in carries]

    def no_scan(*args, **kwargs):
        raise RuntimeError("scanned by Flax")

    monkeypatch.setattr(nn.transforms, "scan", no_scan)
    got = [mine.apply(variables, inputs, initial_carry=carry) for carry in carries]
    close(got, wanted)
    chex.assert_trees_all_equal_structs(got, wanted)
    chex.assert_trees_all_equal_structs(mine.init(KEY, inputs), variables)
    random = in_linen.RNN(in_linen.RNNCell(lj.dropout(lj.GRU(3, 5), 0.5), deterministic=True))
    with pytest.raises(RuntimeError, match="scanned by Flax"):
        random.init(KEY, inputs)


def test_what_is_no_step_is_named(inputs):
    message = "RNN: cell must be a module of one step such as LSTMCell; got LSTM"
    for layer in (lambda cell: in_linen.RNN(cell).init(KEY, inputs), in_nnx.RNN):
        with pytest.raises(TypeError, match=message + r"\(.*use Recurrent\(cell\) in place of"):
            layer(lj.LSTM(3, 5))
    with pytest.raises(TypeError, match=message + ", which is a layer already"):
        in_linen.RNN(in_linen.LSTM(5)).init(KEY, inputs)
    with pytest.raises(TypeError, match=message + ", which is a layer already"):
        in_nnx.RNN(in_nnx.LSTM(3, 5, rngs=nnx.Rngs(0)))


@pytest.mark.parametrize("name", ["LSTMCell", "GRUCell", "SimpleCell"])
def test_a_step_broadcasts_the_carry_as_in_flax(name):
    x, rngs = jnp.ones((2, 3)), nnx.Rngs(0)
    for rows in ((), (1,)):
        carry = randomized(vars(nn)[name](5).initialize_carry(KEY, (*rows, 3)), 3)
        wide = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (2, 5)), carry)
        linen, theirs = vars(in_linen)[name](5), vars(nn)[name](5)
        variables = linen.init(KEY, carry, x)
        got = linen.apply(variables, carry, x)
        with jax.numpy_rank_promotion("allow"):  # Flax's cells need it
            wanted = theirs.init_with_output(KEY, carry, x)[0]
        chex.assert_trees_all_equal_shapes(got, wanted)
        close(got, linen.apply(variables, wide, x))
        step = vars(in_nnx)[name](3, 5, rngs=rngs)
        close(step(carry, x), step(wide, x))
    wrong = jax.tree.map(lambda leaf: jnp.ones((3, 5)), carry)
    with pytest.raises(ValueError, match="must have shape"):
        linen.apply(variables, wrong, x)
