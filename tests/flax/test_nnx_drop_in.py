"""The cells of `lstm_jax.nnx` with Flax's names, against those of Flax."""

import inspect

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import lstm_jax as lj
import lstm_jax.nnx as ours
from tests.helpers.flax_peer import close, randomized, weights_from_nnx
from tests.helpers.toys import slow_case

NAMES = ["LSTMCell", "OptimizedLSTMCell", "GRUCell", "SimpleCell"]
LENGTHS = jnp.array([4, 2])
REVERSE = {"reverse": True, "seq_lengths": LENGTHS}


@pytest.fixture
def inputs():
    return jax.random.normal(jax.random.key(1), (2, 4, 3))


def pair(name, **arguments):
    """Flax's cell and ours, with the same random weights."""
    theirs, mine = (
        vars(library)[name](3, 5, rngs=nnx.Rngs(0), **arguments) for library in (nnx, ours)
    )
    nnx.update(theirs, randomized(nnx.state(theirs, nnx.Param)))
    converted = weights_from_nnx(name, theirs)
    for leaf, value in converted.items():
        getattr(mine, leaf)[...] = value
    return theirs, mine


def input_gradient(module, inputs, **call):
    def loss(module, inputs):
        results = module(inputs, **call)
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(results)), results

    return nnx.value_and_grad(loss, argnums=1, has_aux=True)(module, inputs)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        *((name, REVERSE) for name in ("LSTMCell", "GRUCell")),
        *(slow_case(name, REVERSE) for name in ("OptimizedLSTMCell", "SimpleCell")),
        *(slow_case(name, {}) for name in NAMES),
    ],
)
def test_in_the_rnn_of_flax(name, call, inputs):
    (_, wanted), wanted_grad = input_gradient(
        nnx.RNN(pair(name)[0], return_carry=True), inputs, **call
    )
    (_, got), grad = input_gradient(nnx.RNN(pair(name)[1], return_carry=True), inputs, **call)
    chex.assert_trees_all_equal_structs(got, wanted)
    close(got, wanted, 2e-6)
    close(grad, wanted_grad, 1e-5)


def test_gradients_of_the_weights_are_those_of_flax(inputs):
    def loss(cell):
        carry = cell.initialize_carry(inputs[:, 0].shape, nnx.Rngs(0))
        for t in range(2):
            carry, y = cell(carry, inputs[:, t])
        return jnp.sum(jnp.sin(y))

    theirs, mine = pair("OptimizedLSTMCell")
    wanted, got = nnx.grad(loss)(theirs), nnx.grad(loss)(mine)
    close(got.kernel[...], wanted.dense_i.kernel[...])
    close(got.recurrent_kernel[...], wanted.dense_h.kernel[...])
    close(got.bias[...], wanted.dense_h.bias[...])


@pytest.mark.parametrize("shared", [True, slow_case(False)])
def test_in_the_bidirectional_layer_of_flax(shared, inputs):
    outputs = []
    for mine in (0, 1):
        cell = pair("GRUCell")[mine]
        back = cell if shared else pair("GRUCell")[mine]
        outputs.append(nnx.Bidirectional(nnx.RNN(cell), nnx.RNN(back))(inputs))
    close(*outputs)


def test_plain_tuples_are_repacked_in_loops_of_nnx_and_jax(inputs):
    theirs, mine = pair("LSTMCell")
    xs = inputs.swapaxes(0, 1)

    def step(cell, carry, x):
        c, h = carry
        (c, h), y = cell((c, h), x)
        return (c, h), y

    def run(cell):
        start = cell.initialize_carry(xs[0].shape, nnx.Rngs(0))
        scan = nnx.scan(step, in_axes=(None, nnx.Carry, 0), out_axes=(nnx.Carry, 0))
        jax_scan = jax.lax.scan(lambda carry, x: step(cell, carry, x), start, xs)
        return scan(cell, start, xs), jax_scan

    wanted, got = run(theirs), run(mine)
    chex.assert_trees_all_equal_structs(got, wanted)
    close(got, wanted)
    (c, h), _ = got[1]
    state, _ = mine(lj.LSTMState(h=h, c=c), inputs[:, 0])
    (new_c, new_h), _ = mine((c, h), inputs[:, 0])
    chex.assert_trees_all_equal(state, lj.LSTMState(h=new_h, c=new_c))


class Doubled(ours.GRUCell):
    """A subclass that changes the output."""

    def __init__(self, *args, scale, **arguments):
        super().__init__(*args, **arguments)
        self.scale = scale

    def __call__(self, carry, inputs):
        carry, y = super().__call__(carry, inputs)
        return carry, self.scale * y


def test_a_subclass(inputs):
    doubled = nnx.RNN(Doubled(3, 5, scale=2.0, rngs=nnx.Rngs(0)))
    close(doubled(inputs), 2.0 * nnx.RNN(ours.GRUCell(3, 5, rngs=nnx.Rngs(0)))(inputs))


@pytest.mark.parametrize("name", NAMES)
def test_arguments_carries_and_attributes_are_those_of_flax(name):
    theirs, mine = (
        inspect.signature(vars(library)[name].__init__).parameters for library in (nnx, ours)
    )
    assert list(theirs) == list(mine)
    cells = pair(name, carry_init=None)
    for init in (None, nnx.initializers.normal(1.0)):
        wanted, got = (cell.initialize_carry((2, 3), nnx.Rngs(3), init) for cell in cells)
        chex.assert_trees_all_equal(got, wanted)
    for attribute in ("in_features", "hidden_features", "activation_fn", "dtype", "param_dtype"):
        assert getattr(cells[0], attribute) == getattr(cells[1], attribute)


def test_carries_without_or_with_random_streams():
    cell = ours.LSTMCell(
        3, 5, carry_init=nnx.initializers.normal(), keep_rngs=True, rngs=nnx.Rngs(0)
    )
    c, h = cell.initialize_carry((2, 3))
    assert not jnp.allclose(c, h)
    plain = ours.LSTMCell(3, 5, rngs=nnx.Rngs(0))
    assert not jax.tree.reduce(
        jnp.logical_or, jax.tree.map(jnp.any, plain.initialize_carry((2, 3)))
    )
    with pytest.raises(ValueError, match="LSTMCell: carry_init needs rngs; got None"):
        plain.initialize_carry((2, 3), carry_init=nnx.initializers.normal())
    with pytest.raises(ValueError, match="LSTMCell: promote_dtype must be Flax's own"):
        ours.LSTMCell(3, 5, promote_dtype=lambda *args, **kwargs: args, rngs=nnx.Rngs(0))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_first_weights_are_distributed_as_those_of_flax(name):
    def draw(library, convert):
        cells = [vars(library)[name](6, 8, rngs=nnx.Rngs(n)) for n in range(30)]
        return jax.tree.map(lambda *leaves: np.stack(leaves), *map(convert, cells))

    wanted = draw(nnx, lambda cell: weights_from_nnx(name, cell))
    got = draw(ours, lambda cell: {leaf: getattr(cell, leaf)[...] for leaf in wanted})
    gates = {"GRUCell": 3, "SimpleCell": 1}.get(name, 4)
    for leaf in wanted:
        if "bias" in leaf:
            assert jnp.array_equal(got[leaf], wanted[leaf])
            continue
        np.testing.assert_allclose(got[leaf].std(), wanted[leaf].std(), rtol=0.1)
        columns = got[leaf].shape[-1] // gates
        values = (np.linalg.svd(w[leaf][..., :columns], compute_uv=False) for w in (got, wanted))
        np.testing.assert_allclose(*(each.mean(0) for each in values), atol=0.2)


def test_names_of_other_libraries_say_what_was_meant():
    with pytest.raises(TypeError, match=r"LSTMCell: .* units; did you mean hidden_features"):
        ours.LSTMCell(3, units=5, rngs=nnx.Rngs(0))


def test_settings_of_the_cells(inputs):
    theirs, mine = pair("SimpleCell", residual=True)
    close(mine(jnp.ones((2, 5)), inputs[:, 0]), theirs(jnp.ones((2, 5)), inputs[:, 0]))
    settings = {"gate_fn": nnx.hard_sigmoid, "activation_fn": nnx.relu}
    theirs, mine = pair("GRUCell", **settings)
    carry = jnp.zeros((2, 5))
    close(mine(carry, inputs[:, 0]), theirs(carry, inputs[:, 0]))
    cell = ours.LSTMCell(
        3, 5, kernel_metadata={"place": "input"}, bias_metadata={"note": 1},
        param_dtype=jnp.bfloat16, rngs=nnx.Rngs(0),
    )  # fmt: skip
    assert cell.kernel.place == "input"
    assert cell.bias.note == 1
    assert cell.recurrent_kernel[...].dtype == jnp.bfloat16


def test_a_missing_argument_is_named():
    with pytest.raises(TypeError, match=r"^LSTMCell: the argument rngs is missing$"):
        ours.LSTMCell(3, 5)
    with pytest.raises(
        TypeError, match=r"^GRUCell: the arguments hidden_features, rngs are missing$"
    ):
        ours.GRUCell(3)
    with pytest.raises(TypeError, match=r"^RNNCell: the argument rngs is missing$"):
        ours.RNNCell(lj.LSTM(3, 5))


def test_a_step_of_training_is_that_of_flax(inputs):
    """Flax's GRU has no bias within the reset, so ours must not be trained."""

    def trained(cell):
        optimizer = nnx.Optimizer(cell, optax.sgd(0.1), wrt=nnx.Param)
        for _ in range(2):
            grads = nnx.grad(lambda cell: jnp.sum(jnp.sin(nnx.RNN(cell)(inputs))))(cell)
            optimizer.update(cell, grads)
        return cell

    theirs, mine = map(trained, pair("GRUCell"))
    assert not mine.recurrent_bias[...].any()
    close(nnx.RNN(mine)(inputs), nnx.RNN(theirs)(inputs))
