"""Layers for linen with Flax's own modules, transforms and tools."""

import functools

import chex
import jax
import jax.numpy as jnp
import optax
import pytest
from flax import linen as nn
from flax import serialization

import lstm_jax as lj
from lstm_jax.linen import LSTM, Recurrent, RNNCell, params_of
from tests.helpers.flax_peer import close
from tests.helpers.toys import Sum

KEY = jax.random.key(0)
LENGTHS = jnp.array([7, 3, 1])


class Lone(Sum):
    """Its parameters are one array."""

    def init(self, key):
        return jnp.ones(1)


@pytest.fixture
def inputs():
    return jax.random.normal(jax.random.key(1), (3, 7, 4))


def test_a_step_in_the_loops_of_flax(inputs):
    cell = functools.partial(lj.LSTM, hidden_size=5)
    rnn = nn.RNN(RNNCell(cell), return_carry=True)
    (carry, outputs), drawn = rnn.init_with_output(KEY, inputs, seq_lengths=LENGTHS)
    ours = Recurrent(cell, padding="raw", return_carry=True)
    final, ys = ours.apply({"params": drawn["params"]["cell"]}, inputs, seq_lengths=LENGTHS)
    valid = lj.mask_of_lengths(LENGTHS, 7).T[..., None]
    close(jnp.where(valid, outputs, 0), jnp.where(valid, ys, 0))
    close(carry, final)

    scanned = nn.scan(
        RNNCell, variable_broadcast="params", split_rngs={"params": False}, in_axes=1, out_axes=1
    )(cell, partitioning={"bias": ("model",)})
    start = tuple(RNNCell(cell).initialize_carry(KEY, inputs[:, 0].shape))
    drawn = scanned.init(KEY, start, inputs)
    assert drawn["params"]["bias"].names == ("model",)
    final, ys = scanned.apply(drawn, start, inputs)
    assert type(final) is tuple  # the new carry has the structure of the old one
    close(ys, Recurrent(cell).apply(drawn, inputs))


@pytest.mark.parametrize("each_step", [True, False], ids=["a mask for each step", "one mask"])
def test_the_loops_of_flax_split_random_keys(each_step):
    split = {"params": False, "dropout": each_step}
    rnn = nn.RNN(
        RNNCell(lj.dropout(Sum(input_size=20), 0.5), deterministic=False), split_rngs=split
    )
    ys = rnn.apply({}, jnp.ones((1, 6, 20)), rngs={"dropout": KEY})[0]
    steps = jnp.diff(ys, axis=0)  # the inputs after dropout
    assert set(steps.ravel().tolist()) == {0.0, 2.0}
    assert bool((steps == steps[:1]).all()) == (not each_step)


def test_dropout_follows_deterministic_and_flax_keys(inputs):
    layer = LSTM(5, num_layers=2, dropout=0.5)
    drawn = layer.init(KEY, inputs, deterministic=True)
    whole = LSTM(5, num_layers=2).apply(drawn, inputs)
    close(layer.apply(drawn, inputs, deterministic=True), whole)

    def drop(key):
        return layer.apply(drawn, inputs, deterministic=False, rngs={"dropout": key})

    assert jnp.array_equal(drop(jax.random.key(1)), drop(jax.random.PRNGKey(1)))
    assert not jnp.array_equal(drop(jax.random.key(1)), drop(jax.random.key(2)))
    assert not jnp.allclose(drop(jax.random.key(1)), whole)
    with pytest.raises(ValueError, match="deterministic"):
        layer.apply(drawn, inputs)
    with pytest.raises(Exception, match="dropout"):
        layer.apply(drawn, inputs, deterministic=False)


def test_parameters_have_names_of_axes(inputs):
    init = nn.with_partitioning(nn.initializers.lecun_normal(), (None, "model"))
    layer = LSTM(5, num_layers=2, kernel_init=init, partitioning={"bias": ("model",)})
    drawn = layer.init(KEY, inputs)
    specs = nn.get_partition_spec(drawn)["params"]["layers_1"]
    P = jax.sharding.PartitionSpec
    assert specs == {"kernel": P(None, "model"), "recurrent_kernel": P(), "bias": P("model")}
    plain = nn.unbox(drawn)
    assert jnp.array_equal(layer.apply(drawn, inputs), layer.apply(plain, inputs))
    cell = lj.stack(lj.LSTM(4, 5), lj.LSTM(5, 5))
    assert params_of(cell, drawn)[1].bias.shape == (20,)


def test_shapes_without_computation(inputs):
    layer = LSTM(5, bidirectional=True)
    shape = jax.ShapeDtypeStruct(inputs.shape, inputs.dtype)
    shapes = jax.eval_shape(layer.init, KEY, shape)
    assert jax.tree.map(jnp.shape, layer.init(KEY, inputs)) == jax.tree.map(
        lambda leaf: leaf.shape, shapes
    )
    assert layer.lazy_init(KEY, shape).keys() == shapes.keys()


def test_the_table_of_a_model(inputs):
    plain = {"width": 200, "color_system": None}
    table = nn.tabulate(LSTM(5, num_layers=2), KEY, console_kwargs=plain)(inputs)
    assert "recurrent_kernel: float32[5,20]" in table
    assert "layers_1" in table
    assert "Total Parameters: 420" in table


class Model(nn.Module):
    layer: type = LSTM

    @nn.compact
    def __call__(self, inputs):
        return nn.Dense(1)(self.layer(5, name="lstm")(inputs)[:, -1])


def test_rematerialised_as_a_module(inputs):
    drawn = Model().init(KEY, inputs)
    grads = [
        jax.grad(lambda v, model=model: jnp.sum(model.apply(v, inputs) ** 2))(drawn)
        for model in (Model(), Model(nn.remat(LSTM)))
    ]
    close(*grads)


def test_an_ensemble(inputs):
    many = nn.vmap(
        LSTM, in_axes=None, out_axes=0, axis_size=3, variable_axes={"params": 0},
        split_rngs={"params": True},
    )(5)  # fmt: skip
    outputs, drawn = many.init_with_output(KEY, inputs)
    for k in range(3):
        one = jax.tree.map(lambda leaf, k=k: leaf[k], drawn)
        close(LSTM(5).apply(one, inputs), outputs[k])
    assert not jnp.allclose(outputs[0], outputs[1])


def test_training_reduces_the_loss_and_parameters_are_serialized(inputs):
    model, optimizer = Model(), optax.adam(1e-2)
    drawn = model.init(KEY, inputs)
    moments = optimizer.init(drawn)

    @jax.jit
    def update(drawn, moments):
        loss, grads = jax.value_and_grad(lambda v: jnp.mean((model.apply(v, inputs) - 1.0) ** 2))(
            drawn
        )
        changes, moments = optimizer.update(grads, moments)
        return optax.apply_updates(drawn, changes), moments, loss

    losses = []
    with jax.numpy_dtype_promotion("standard"):  # as Optax needs
        for _ in range(30):
            drawn, moments, loss = update(drawn, moments)
            losses.append(float(loss))
    assert losses[-1] < 0.1 * losses[0]
    saved = serialization.to_bytes(drawn)
    loaded = serialization.from_bytes(jax.tree.map(jnp.zeros_like, drawn), saved)
    chex.assert_trees_all_equal(loaded, drawn)


def test_errors(inputs):
    drawn = LSTM(5).init(KEY, inputs)
    with pytest.raises(ValueError, match=r"LSTM: inputs must have axes \[\.\.\., T, features\]"):
        LSTM(5).apply(drawn, inputs[0, 0])
    with pytest.raises(Exception, match="kernel"):
        LSTM(5).apply(drawn, inputs[..., :2])
    with pytest.raises(ValueError, match=r"^LSTM: seq_lengths must be within 0 and T = 7"):
        LSTM(5).apply(drawn, inputs, seq_lengths=jnp.array([7, 8, 1]))
    for wrong, error, message in [
        ({"num_layers": 0}, ValueError, "num_layers must be at least 1; got 0"),
        ({"num_layers": 2.0}, TypeError, "num_layers must be an integer; got 2.0"),
        ({"features": 0}, ValueError, "features must be at least 1; got 0"),
        ({"dropout": 7.0}, ValueError, r"dropout must be a probability in \[0, 1\]; got 7.0"),
        ({"recurrent_dropout": -1.0}, ValueError, "recurrent_dropout must be a probability"),
        ({"merge": "sun"}, ValueError, "merge must be one of .*; got 'sun'"),
        (
            {"num_layers": 2, "bidirectional": True, "merge": "none"},
            ValueError,
            "merge='none' returns two outputs, but a layer has one input; got num_layers=2",
        ),
        ({"partitioning": {"kernal": ()}}, ValueError, "got 'kernal'; did you mean 'kernel'?"),
    ]:
        with pytest.raises(error, match=f"^LSTM: .*{message}"):
            LSTM(**{"features": 5} | wrong).init(KEY, inputs)
    valid = jnp.ones((3, 7), bool)
    for given, error, message in [
        ({"mask": valid[0]}, ValueError, r"mask must have shape \(3, 7\).*; got \(7,\)"),
        ({"reset": valid.T}, ValueError, r"reset must have shape \(3, 7\).*; got \(7, 3\)"),
        ({"mask": 2 * valid.astype(int)}, ValueError, "mask must be booleans.*; got 2"),
        ({"mask": valid, "seq_lengths": LENGTHS}, ValueError, "seq_lengths or mask can be given"),
        ({"seq_lengths": LENGTHS[1:]}, ValueError, r"seq_lengths must .* \(3,\), .* of inputs"),
    ]:
        with pytest.raises(error, match=f"^LSTM: {message}"):
            LSTM(5).apply(drawn, inputs, **given)
    with pytest.raises(ValueError, match=r"mask must have shape \(7, 3\).*; got \(3, 7\)"):
        LSTM(5).apply(drawn, inputs.swapaxes(0, 1), mask=valid, time_major=True)
    with pytest.raises(TypeError, match=r"Recurrent: cell must be a cell, not its class"):
        Recurrent(lj.LSTM).init(KEY, inputs)
    with pytest.raises(ValueError, match="recurrent_kernel, bias; got kernel"):
        params_of(lj.LSTM(4, 5), {"params": {"kernel": jnp.ones((4, 20))}})


def test_a_cell_whose_parameters_are_one_array(inputs):
    layer = Recurrent(Lone(input_size=4))
    drawn = layer.init(KEY, inputs)
    assert layer.apply(drawn, inputs).shape == inputs.shape
    assert drawn["params"].keys() == {"param"}
    for given in (drawn, drawn["params"]):
        assert jnp.array_equal(params_of(Lone(input_size=4), given), jnp.ones(1))
