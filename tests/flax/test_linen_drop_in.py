"""The cells of `lstm_jax.linen` with Flax's names, against those of Flax."""

import functools
import inspect

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import lstm_jax as lj
import lstm_jax.linen as ours
from lstm_jax.testing import quick_jit
from tests.helpers.flax_peer import close, randomized, weights_from_linen
from tests.helpers.toys import slow_case

KEY = jax.random.key(0)
LENGTHS = jnp.array([4, 2])
ARGUMENTS = {
    "LSTMCell": (5,),
    "OptimizedLSTMCell": (5,),
    "GRUCell": (5,),
    "SimpleCell": (5,),
    "ConvLSTMCell": (4, (3, 2)),
}
NAMES = list(ARGUMENTS)
REVERSE = {"reverse": True, "seq_lengths": LENGTHS}


def cells(name, **arguments):
    return [vars(library)[name](*ARGUMENTS[name], **arguments) for library in (nn, ours)]


def inputs_for(name, batch=(2,)):
    features = (5, 4, 3) if name == "ConvLSTMCell" else (3,)
    return jax.random.normal(jax.random.key(1), (*batch, 4, *features))


def our_variables(name, variables):
    """The variables of our cells in modules as they are in Flax."""

    def convert(node):
        if not isinstance(node, dict):
            return node
        if {"ii", "ir", "ih", "h"} & node.keys():
            return weights_from_linen(name, node)
        return {key: convert(value) for key, value in node.items()}

    return convert(variables)


def compare(name, theirs, mine, *args, **kwargs):
    """Outputs, carries and gradients of two modules are equal, from the same random weights."""
    shapes = jax.eval_shape(functools.partial(theirs.init, **kwargs), KEY, *args)
    variables = randomized(shapes)

    def loss(module, variables, *args):
        results = module.apply(variables, *args, **kwargs)
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(results)), results

    def run(module, variables):
        return quick_jit(
            jax.value_and_grad(lambda v, *a: loss(module, v, *a), (0, 1), has_aux=True)
        )(variables, *args)

    (_, results), (grads, x_grads) = run(theirs, variables)
    (_, our_results), (our_grads, our_x_grads) = run(mine, our_variables(name, variables))
    chex.assert_trees_all_equal_structs(our_results, results)
    close(our_results, results, 2e-6)
    close(our_x_grads, x_grads, 1e-5)
    expected = our_variables(name, grads)
    if name == "ConvLSTMCell":  # a gradient of one bias, and no constant in it
        expected = jax.tree_util.tree_map_with_path(
            lambda path, leaf: leaf if path[-1].key != "bias" else our_bias_gradient(leaf), expected
        )
    close(our_grads, expected, 1e-5)


def our_bias_gradient(converted):
    H = len(converted) // 4
    return converted.at[H : 2 * H].add(-1.0) / 2  # both biases of Flax have the same gradient


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_one_step_has_the_numbers_of_flax(name):
    theirs, mine = cells(name)
    x = inputs_for(name)[:, 0]
    carry = randomized(theirs.initialize_carry(KEY, x.shape), 1)
    compare(name, theirs, mine, carry, x)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        *((name, REVERSE) for name in ("LSTMCell", "GRUCell", "ConvLSTMCell")),
        *(slow_case(name, REVERSE) for name in ("OptimizedLSTMCell", "SimpleCell")),
        *(slow_case(name, {}) for name in NAMES),
    ],
)
def test_in_the_rnn_of_flax(name, call):
    theirs, mine = (nn.RNN(cell, return_carry=True) for cell in cells(name))
    compare(name, theirs, mine, inputs_for(name), **call)


@pytest.mark.parametrize(
    ("name", "shared"),
    [("LSTMCell", True), slow_case("LSTMCell", False), slow_case("GRUCell", True)],
)
def test_in_the_bidirectional_layer_of_flax(name, shared):
    def both(library):
        cell = vars(library)[name](5)
        back = cell if shared else vars(library)[name](5)
        return nn.Bidirectional(nn.RNN(cell), nn.RNN(back), return_carry=True)

    compare(name, both(nn), both(ours), inputs_for(name))


class Scanned(nn.Module):
    """Carries are made and repacked as users of Flax do."""

    cell: type

    @nn.compact
    def __call__(self, xs):
        scan = nn.scan(
            self.cell,
            variable_broadcast="params",
            split_rngs={"params": False},
            in_axes=1,
            out_axes=1,
        )
        cell = scan(5)
        carry = cell.initialize_carry(jax.random.key(0), xs[:, 0].shape)
        return cell(carry, xs)


@pytest.mark.parametrize(
    "name", [slow_case("OptimizedLSTMCell"), "GRUCell", slow_case("SimpleCell")]
)
def test_scanned_by_flax_with_its_automatic_name(name):
    theirs, mine = Scanned(vars(nn)[name]), Scanned(vars(ours)[name])
    compare(name, theirs, mine, inputs_for(name))
    assert mine.init(KEY, inputs_for(name))["params"].keys() == {f"Scan{name}_0"}


def test_plain_tuples_are_repacked_in_a_loop_of_jax():
    theirs, mine = cells("LSTMCell")
    xs = inputs_for("LSTMCell").swapaxes(0, 1)
    variables = randomized(theirs.init(KEY, theirs.initialize_carry(KEY, xs[0].shape), xs[0]))

    def run(cell, variables):
        def step(carry, x):
            c, h = carry
            (c, h), y = cell.apply(variables, (c, h), x)
            return (c, h), y

        return jax.lax.scan(step, cell.initialize_carry(KEY, xs[0].shape), xs)

    wanted = run(theirs, variables)
    got = run(mine, our_variables("LSTMCell", variables))
    chex.assert_trees_all_equal_structs(got, wanted)
    close(got, wanted)


def test_a_state_with_names_is_read_by_its_names():
    cell, x = ours.LSTMCell(5), jnp.ones((2, 3))
    c, h = randomized(cell.initialize_carry(KEY, x.shape))
    variables = cell.init(KEY, (c, h), x)
    (new_c, new_h), _ = cell.apply(variables, (c, h), x)
    state, _ = cell.apply(variables, lj.LSTMState(h=h, c=c), x)
    assert isinstance(state, lj.LSTMState)
    chex.assert_trees_all_equal(state, lj.LSTMState(h=new_h, c=new_c))
    with pytest.raises(
        TypeError, match=r"LSTMCell: carry must be a tuple \(c, h\); got tuple of 3"
    ):
        cell.apply(variables, (c, h, c), x)
    with pytest.raises(TypeError, match=r"GRUCell: carry must be an array h; got tuple of 2"):
        ours.GRUCell(5).init(KEY, (c, h), x)


@pytest.mark.parametrize("name", ["LSTMCell", slow_case("GRUCell"), slow_case("SimpleCell")])
def test_sizes_are_those_of_the_carry(name):
    theirs, mine = cells(name)
    carry = randomized(vars(nn)[name](8).initialize_carry(KEY, (2, 3)), 1)
    compare(name, theirs, mine, carry, inputs_for(name)[:, 0])


class Halved(ours.LSTMCell):
    """A subclass that changes the output."""

    scale: float = 0.5

    @nn.compact
    def __call__(self, carry, inputs):
        carry, y = super().__call__(carry, inputs)
        return carry, self.scale * y


def test_a_subclass():
    inputs = inputs_for("LSTMCell")
    outputs, variables = nn.RNN(Halved(5)).init_with_output(KEY, inputs)
    close(outputs, 0.5 * nn.RNN(ours.LSTMCell(5)).apply(variables, inputs))


@pytest.mark.parametrize("transform", [slow_case("vmap"), "remat"])
def test_transformed_as_a_module(transform):
    kind = ours.GRUCell
    x, carry = jnp.ones((2, 3)), jnp.zeros((2, 5))
    if transform == "remat":
        variables = nn.remat(kind)(5).init(KEY, carry, x)
        close(nn.remat(kind)(5).apply(variables, carry, x), kind(5).apply(variables, carry, x))
        return
    many = nn.vmap(
        kind, in_axes=None, out_axes=0, axis_size=3, variable_axes={"params": 0},
        split_rngs={"params": True},
    )(5, recurrent_kernel_init=nn.initializers.normal())  # fmt: skip
    (_, ys), variables = many.init_with_output(KEY, carry, x)
    one = jax.tree.map(lambda leaf: leaf[1], variables)
    close(ys[1], kind(5).apply(one, carry, x)[1])
    assert not jnp.allclose(ys[0], ys[1])


@pytest.mark.parametrize("name", NAMES)
def test_arguments_and_carries_are_those_of_flax(name):
    theirs, mine = (inspect.signature(vars(library)[name]).parameters for library in (nn, ours))
    assert list(theirs) == list(mine)
    shape = inputs_for(name)[:, 0].shape
    for arguments in ({}, {"carry_init": nn.initializers.normal(1.0)}):
        wanted, got = (cell.initialize_carry(KEY, shape) for cell in cells(name, **arguments))
        chex.assert_trees_all_equal(got, wanted)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_first_weights_are_distributed_as_those_of_flax(name):
    """Deviations, and the singular values of each gate, averaged over draws."""
    theirs, mine = cells(name)
    x = inputs_for(name)[:, 0]
    carry = theirs.initialize_carry(KEY, x.shape)
    keys = jax.random.split(KEY, 30)
    wanted = jax.vmap(lambda key: our_variables(name, theirs.init(key, carry, x))["params"])(keys)
    got = jax.vmap(lambda key: mine.init(key, carry, x)["params"])(keys)
    for leaf, a, b in [(leaf, got[leaf], wanted[leaf]) for leaf in wanted]:
        assert a.shape == b.shape
        if "bias" in leaf:
            assert jnp.array_equal(a, b)
            continue
        np.testing.assert_allclose(a.std(), b.std(), rtol=0.1)
        columns = a.shape[-1] // {"GRUCell": 3, "SimpleCell": 1}.get(name, 4)
        if name != "ConvLSTMCell":
            np.testing.assert_allclose(
                *(np.linalg.svd(w[..., :columns], compute_uv=False).mean(0) for w in (a, b)),
                atol=0.2,
            )


def test_names_of_other_libraries_say_what_was_meant():
    with pytest.raises(TypeError, match=r"^LSTMCell: .* hidden_size; did you mean features\?$"):
        ours.LSTMCell(hidden_size=5)
    with pytest.raises(TypeError, match="in_features: the number of input features is that of"):
        ours.GRUCell(in_features=3, features=5)


def test_a_residual_connection():
    theirs, mine = cells("SimpleCell", residual=True)
    compare("SimpleCell", theirs, mine, jnp.ones((2, 5)), inputs_for("SimpleCell")[:, 0])


def test_settings_of_the_cells():
    init = nn.with_partitioning(nn.initializers.lecun_normal(), (None, "model"))
    x, carry = jnp.ones((2, 3)), jnp.zeros((2, 5))
    settings = {"gate_fn": nn.hard_sigmoid, "activation_fn": nn.relu}
    theirs, mine = cells("GRUCell", **settings)
    compare("GRUCell", theirs, mine, carry, x)
    drawn = ours.GRUCell(5, kernel_init=init).init(KEY, carry, x)
    assert drawn["params"]["kernel"].names == (None, "model")
    ones = ours.LSTMCell(5, bias_init=nn.initializers.ones).init(KEY, (carry, carry), x)
    assert (ones["params"]["bias"] == 1).all()
    low = ours.LSTMCell(5, dtype=jnp.bfloat16)
    (c, h), y = low.init_with_output(KEY, low.initialize_carry(KEY, x.shape), x)[0]
    assert (c.dtype, h.dtype, y.dtype) == (jnp.float32, jnp.bfloat16, jnp.bfloat16)
    whole = ours.LSTMCell(5)
    variables = whole.init(KEY, (carry, carry), x)
    close(
        whole.apply(variables, (carry, carry), x.astype(int)),
        whole.apply(variables, (carry, carry), x),
    )


def test_convolutions():
    images = inputs_for("ConvLSTMCell")
    theirs, mine = (nn.RNN(cell) for cell in cells("ConvLSTMCell", use_bias=False))
    compare_without_bias(theirs, mine, images)
    pairs = {"padding": ((1, 1), (0, 1))}
    theirs, mine = (nn.RNN(cell) for cell in cells("ConvLSTMCell", **pairs))
    compare("ConvLSTMCell", theirs, mine, images)
    coarse = ours.ConvLSTMCell(4, (3, 2), strides=(2, 2))
    assert coarse.initialize_carry(KEY, images[:, 0].shape)[0].shape == (2, 3, 2, 4)
    assert nn.RNN(coarse).init_with_output(KEY, images)[0].shape == (2, 4, 3, 2, 4)
    with pytest.raises(ValueError, match="ConvLSTMCell: padding must be 'SAME' or 'VALID'"):
        nn.RNN(ours.ConvLSTMCell(4, (3, 2), padding="CIRCULAR")).init(KEY, images)


def compare_without_bias(theirs, mine, images):
    variables = randomized(theirs.init(KEY, images))
    cell = {
        f"{side}h": {
            "kernel": variables["params"]["cell"][f"{side}h"]["kernel"],
            "bias": jnp.zeros(16),
        }
        for side in "ih"
    }
    converted = weights_from_linen("ConvLSTMCell", cell)
    del converted["bias"]
    assert mine.init(KEY, images)["params"]["cell"].keys() == converted.keys()
    close(
        mine.apply({"params": {"cell": converted}}, images), theirs.apply(variables, images), 2e-6
    )
