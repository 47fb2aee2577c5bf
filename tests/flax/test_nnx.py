"""Layers for NNX, tested against Flax's own recurrent layers, and with the tools of NNX."""

import functools
from dataclasses import dataclass

import chex
import jax
import jax.numpy as jnp
import optax
import pytest
from flax import nnx

import lstm_jax as lj
from lstm_jax import linen as ours_in_linen
from lstm_jax.nnx import LSTM, Bidirectional, Recurrent, RNNCell
from tests.helpers.flax_peer import close, nnx_weights
from tests.helpers.toys import Sum

KEY = jax.random.key(0)
LENGTHS = jnp.array([7, 3, 1])


@pytest.fixture
def inputs():
    return jax.random.normal(jax.random.key(1), (3, 7, 4))


def lstm(**options):
    return LSTM(4, 5, rngs=nnx.Rngs(0), **options)


def shapes_of(module):
    return jax.tree.map(jnp.shape, nnx.to_pure_dict(nnx.state(module, nnx.Param)))


def test_parameters_are_attributes():
    layer = lstm(num_layers=2, bidirectional=True)
    one = {"kernel": (10, 20), "recurrent_kernel": (5, 20), "bias": (20,)}
    assert shapes_of(layer)["layers_1"] == {"forward": one, "backward": one}
    assert isinstance(layer.layers_0.forward.kernel, nnx.Param)
    assert layer.params[1].backward.kernel.shape == (10, 20)
    assert lstm().params.bias.tolist() == [0.0] * 5 + [1.0] * 5 + [0.0] * 10


def test_the_parameters_have_the_tree_of_the_linen_layer(inputs):
    layer = lstm(num_layers=2, bidirectional=True)
    tree = nnx.to_pure_dict(nnx.state(layer, nnx.Param))
    twin = ours_in_linen.LSTM(5, num_layers=2, bidirectional=True)
    close(twin.apply({"params": tree}, inputs), layer(inputs))
    drawn = twin.init(KEY, inputs)
    nnx.update(layer, drawn["params"])
    close(twin.apply(drawn, inputs), layer(inputs))


def test_parameters_can_be_replaced():
    layer, params = lstm(), lj.LSTM(4, 5).init(jax.random.key(9))
    layer.set_params(params)
    chex.assert_trees_all_equal(layer.params, params)
    with pytest.raises(ValueError, match=r"LSTM: kernel must have shape \(4, 20\); got \(4, 24\)"):
        layer.set_params(lj.LSTM(4, 6).init(KEY))
    chex.assert_trees_all_equal(layer.params, params)
    lstm(param_dtype=jnp.bfloat16).set_params(params)  # in any dtype, without a warning
    assert layer.kernel.dtype == jnp.float32
    for abstract in (nnx.eval_shape(lstm), lstm(param_dtype=jnp.bfloat16)):
        dtype = abstract.kernel.dtype
        abstract.set_params(params)
        assert abstract.kernel.dtype == dtype
        assert jnp.array_equal(abstract.params.kernel, params.kernel.astype(dtype))


@pytest.mark.parametrize(
    "call",
    [{}, {"reverse": True}, {"seq_lengths": LENGTHS, "reverse": True, "keep_order": True}],
    ids=lambda call: "+".join(call) or "plain",
)
def test_outputs_carry_and_gradients_are_those_of_flax(inputs, call):
    layer = lstm(implementation="scan")
    peer = nnx.RNN(nnx.OptimizedLSTMCell(4, 5, rngs=nnx.Rngs(0)))
    nnx_weights(peer.cell, layer.params)
    h, c = jax.random.normal(jax.random.key(2), (2, 3, 5))
    valid = lj.mask_of_lengths(call.get("seq_lengths", jnp.full(3, 7)), 7).T[..., None]

    def ours(layer):
        carry, outputs = layer(inputs, return_carry=True, initial_carry=lj.LSTMState(h, c), **call)
        return carry.h, carry.c, outputs

    def theirs(peer):
        (c_T, h_T), outputs = peer(inputs, return_carry=True, initial_carry=(c, h), **call)
        return h_T, c_T, jnp.where(valid, outputs, 0)

    def loss(run, module):
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in run(module))

    close(ours(layer), theirs(peer))
    got = nnx.grad(functools.partial(loss, ours))(layer)
    wanted = nnx.grad(functools.partial(loss, theirs))(peer)
    close(got["kernel"][...], wanted["cell"]["dense_i"]["kernel"][...], 1e-5)
    close(got["recurrent_kernel"][...], wanted["cell"]["dense_h"]["kernel"][...], 1e-5)
    close(got["bias"][...], wanted["cell"]["dense_h"]["bias"][...], 1e-5)


def test_several_batch_axes_time_major_and_any_number_of_rows(inputs):
    layer = lstm()
    whole = layer(inputs)
    many, lengths = jnp.stack([inputs, -inputs]), jnp.stack([LENGTHS, LENGTHS[::-1]])
    carry, outputs = layer(many, seq_lengths=lengths, return_carry=True)
    assert carry.c.shape == (2, 3, 5)
    close(outputs[1], layer(-inputs, seq_lengths=LENGTHS[::-1]))
    close(layer(inputs[0]), whole[0])
    close(layer(inputs[:2]), whole[:2])
    close(layer(inputs.swapaxes(0, 1), time_major=True).swapaxes(0, 1), whole)


def test_integers_and_dtypes(inputs):
    whole = jnp.arange(3 * 7 * 4).reshape(3, 7, 4) % 5
    close(lstm()(whole), lstm()(whole.astype(jnp.float32)))
    half = lstm(dtype=jnp.bfloat16, return_carry=True)
    carry, outputs = half(inputs)
    assert half.kernel.dtype == carry.c.dtype == jnp.float32
    assert outputs.dtype == carry.h.dtype == jnp.bfloat16
    close(outputs.astype(jnp.float32), lstm()(inputs), 0.02)
    assert lstm(param_dtype=jnp.float16)(inputs).dtype == jnp.float16


def test_inputs_with_several_feature_axes():
    cell = lj.ConvLSTM((4, 6, 3), 4, kernel_size=3)
    inputs = jax.random.normal(KEY, (2, 3, 4, 6, 3))
    stepped = nnx.RNN(RNNCell(cell, rngs=nnx.Rngs(0)))(inputs)
    close(Recurrent(cell, rngs=nnx.Rngs(0))(inputs), stepped, 1e-5)
    assert stepped.shape == (2, 3, 4, 6, 4)


@pytest.mark.parametrize("sizes", [[1] * 7, [3, 4]], ids=str)
def test_chunks_equal_the_whole_sequence(inputs, sizes):
    layer = lstm(num_layers=2, dropout=0.5, return_carry=True)
    run = functools.partial(layer, rngs=jax.random.key(4))
    final, outputs = run(inputs)
    carry, chunks, start = None, [], 0
    for size in sizes:
        carry, ys = run(inputs[:, start : start + size], initial_carry=carry, start=start)
        chunks.append(ys)
        start += size
    assert jnp.array_equal(jnp.concatenate(chunks, axis=1), outputs)
    chex.assert_trees_all_equal(carry, final)


def test_single_steps_equal_the_whole_sequence(inputs):
    cell = lj.LSTM(4, 5)
    step = RNNCell(cell, rngs=nnx.Rngs(0))
    carry = step.initialize_carry(inputs[:, 0].shape, nnx.Rngs(0))
    for t in range(7):
        carry, y = step(carry, inputs[:, t])
    final, outputs = lstm(return_carry=True)(inputs)
    close(y, outputs[:, -1])
    close(carry, final)
    h, c = step.initialize_carry((3, 4), nnx.Rngs(0), nnx.initializers.ones_init())
    assert h.sum() == c.sum() == 15


@pytest.mark.parametrize("merge", ["concat", jnp.maximum], ids=str)
def test_both_directions(inputs, merge):
    layer = Bidirectional(lj.LSTM(4, 5), lj.GRU(4, 5), merge=merge, rngs=nnx.Rngs(0))
    outputs = layer(inputs, seq_lengths=LENGTHS)
    ahead = Recurrent(lj.LSTM(4, 5), rngs=nnx.Rngs(0))
    back = Recurrent(lj.GRU(4, 5), reverse=True, keep_order=True, rngs=nnx.Rngs(0))
    ahead.set_params(layer.params.forward)
    back.set_params(layer.params.backward)
    ys = ahead(inputs, seq_lengths=LENGTHS), back(inputs, seq_lengths=LENGTHS)
    close(outputs, jnp.concatenate(ys, -1) if merge == "concat" else merge(*ys))
    theirs = nnx.Bidirectional(ahead, back)
    if merge == "concat":
        close(theirs(inputs, seq_lengths=LENGTHS), outputs)


def test_a_step_in_the_loops_of_flax(inputs):
    cell = lj.LSTM(4, 5)
    rnn = nnx.RNN(RNNCell(cell, rngs=nnx.Rngs(0)), return_carry=True)
    carry, outputs = rnn(inputs, seq_lengths=LENGTHS)
    layer = Recurrent(cell, rngs=nnx.Rngs(0), padding="raw", return_carry=True)
    final, ys = layer(inputs, seq_lengths=LENGTHS)
    valid = lj.mask_of_lengths(LENGTHS, 7).T[..., None]
    close(jnp.where(valid, outputs, 0), jnp.where(valid, ys, 0))
    close(carry, final)
    plain, _ = rnn(inputs, initial_carry=(jnp.zeros((3, 5)), jnp.zeros((3, 5))))
    assert type(plain) is tuple  # the new carry has the structure of the old one
    named, _ = rnn(inputs, initial_carry=cell.initial_state((3,)))
    assert type(named) is lj.LSTMState


@pytest.mark.parametrize("broadcast", ["dropout", None], ids=["one mask", "a mask for each step"])
def test_the_loops_of_flax_split_random_keys(broadcast):
    cell = lj.dropout(Sum(input_size=20), 0.5)
    step = RNNCell(cell, rngs=nnx.Rngs(0, dropout=1))
    rnn = nnx.RNN(step, broadcast_rngs=broadcast)
    ys = rnn(jnp.ones((1, 6, 20)))[0]
    steps = jnp.diff(ys, axis=0)  # the inputs after dropout
    assert set(steps.ravel().tolist()) == {0.0, 2.0}
    assert bool((steps == steps[:1]).all()) == (broadcast == "dropout")
    assert not jnp.array_equal(rnn(jnp.ones((1, 6, 20)))[0], ys)  # each call has other masks


def test_dropout_follows_train_eval_and_keys(inputs):
    layer = lstm(num_layers=2, dropout=0.5)
    plain = lstm(num_layers=2)
    assert not jnp.array_equal(layer(inputs), layer(inputs))
    close(nnx.view(layer, deterministic=True)(inputs), plain(inputs))
    assert not layer.deterministic
    layer.eval()
    close(layer(inputs), plain(inputs))
    assert not nnx.view(nnx.List([layer]), deterministic=False)[0].deterministic
    close(layer(inputs, deterministic=True), plain(inputs))
    layer.train()
    key = jax.random.key(3)
    assert jnp.array_equal(layer(inputs, rngs=key), layer(inputs, rngs=key))
    count = layer.rngs.count[...]
    layer(inputs, rngs=nnx.Rngs(dropout=3))
    layer(inputs, rngs=nnx.Rngs(dropout=3).dropout)
    assert layer.rngs.count[...] == count  # the stream of the layer was not used


def test_layers_in_the_bidirectional_layer_of_flax_use_their_own_streams(inputs):
    cell = lj.dropout(Sum(input_size=4), 0.5)

    def outputs(seed):
        rngs = nnx.Rngs(0, dropout=seed)
        return nnx.Bidirectional(Recurrent(cell, rngs=rngs), Recurrent(cell, rngs=rngs))(inputs)

    assert jnp.array_equal(outputs(1), outputs(1))
    assert not jnp.array_equal(outputs(1), outputs(2))


def test_plain_jax_over_split_and_merge(inputs):
    layer = lstm(num_layers=2)
    graph, params, rest = nnx.split(layer, nnx.Param, ...)

    def loss(params):
        return jnp.sum(nnx.merge(graph, params, rest)(inputs) ** 2)

    got = jax.jit(jax.grad(loss))(params)
    wanted = nnx.grad(lambda layer: jnp.sum(layer(inputs) ** 2))(layer)
    close(jax.tree.leaves(got), jax.tree.leaves(wanted))
    close(jax.tree.leaves(jax.grad(loss)(params)), jax.tree.leaves(wanted))

    dropped = lstm(num_layers=2, dropout=0.5)
    graph, params, rest = nnx.split(dropped, nnx.Param, ...)
    grads = jax.grad(
        lambda params, key: jnp.sum(nnx.merge(graph, params, rest)(inputs, rngs=key) ** 2)
    )(params, jax.random.key(1))
    assert all(bool(jnp.any(leaf != 0)) for leaf in jax.tree.leaves(grads))


def test_compiled_dropout_draws_a_new_mask_at_every_call(inputs):
    layer = lstm(num_layers=2, dropout=0.5)
    run = nnx.jit(lambda layer, inputs: layer(inputs))
    assert not jnp.array_equal(run(layer, inputs), run(layer, inputs))


def test_an_ensemble_and_layers_by_scan(inputs):
    @nnx.split_rngs(splits=3)
    @nnx.vmap
    def make(rngs):
        return LSTM(5, 5, rngs=rngs)

    many = make(nnx.Rngs(0))
    hidden = lstm()(inputs)
    outputs = nnx.vmap(lambda layer, xs: layer(xs), in_axes=(0, None))(many, hidden)
    deep = nnx.scan(
        lambda layer, xs: layer(xs), in_axes=(0, nnx.Carry), out_axes=nnx.Carry
    )(many, hidden)  # fmt: skip
    graph, state = nnx.split(many)
    singles = [nnx.merge(graph, jax.tree.map(lambda leaf, k=k: leaf[k], state)) for k in range(3)]
    for k, single in enumerate(singles):
        close(single(inputs=hidden), outputs[k])
        inputs = single(hidden if k == 0 else inputs)
    close(deep, inputs)


def test_metadata_of_parameters(inputs):
    kernel_init = nnx.with_partitioning(nnx.initializers.lecun_normal(), (None, "model"))
    mesh = jax.make_mesh((1,), ("model",), axis_types=(jax.sharding.AxisType.Auto,))
    with jax.set_mesh(mesh):
        layer = lstm(
            num_layers=2,
            kernel_init=kernel_init,
            bias_metadata={"out_sharding": ("model",)},
            metadata={"recurrent_kernel": {"note": "square"}},
        )
        specs = nnx.get_partition_spec(nnx.state(layer, nnx.Param))["layers_1"]
        P = jax.sharding.PartitionSpec
        assert specs["kernel"] == P(None, "model")
        assert specs["bias"] == P("model")
        assert layer.layers_0.recurrent_kernel.note == "square"
        assert layer(inputs).shape == (3, 7, 5)


def test_an_initializer_draws_all_gates_at_once_as_in_flax():
    weights = jnp.arange(80.0).reshape(4, 20)

    def pretrained(key, shape, dtype):  # as Flax calls it: by position, with all three
        return weights.reshape(shape).astype(dtype)

    inits = {"kernel_init": pretrained, "recurrent_kernel_init": nnx.initializers.orthogonal()}
    ours, theirs = lstm(**inits), nnx.OptimizedLSTMCell(4, 5, rngs=nnx.Rngs(0), **inits)
    assert jnp.array_equal(ours.kernel, theirs.dense_i.kernel[...])
    for kernel in (ours.recurrent_kernel[...], theirs.dense_h.kernel[...]):
        close(kernel @ kernel.T, jnp.eye(5))


def test_shapes_without_computation_and_a_table(inputs):
    shapes = nnx.eval_shape(lambda: lstm(num_layers=2))
    assert shapes.layers_1.kernel.shape == (5, 20)
    plain = {"width": 200, "color_system": None}
    assert "recurrent_kernel: float32[5,20]" in nnx.tabulate(lstm(), inputs, console_kwargs=plain)
    table = nnx.tabulate(lstm(num_layers=2), inputs, console_kwargs=plain)
    assert "Total Parameters: 420" in table
    assert "LSTM(input_size=4, hidden_size=5)" in str(lstm())


def test_rematerialization_changes_no_gradient(inputs):
    def grads(layer):
        return jax.tree.leaves(nnx.grad(lambda layer: jnp.sum(layer(inputs) ** 2))(layer))

    plain = grads(lstm())
    close(grads(lstm(remat=3)), plain, 1e-5)
    rematted = nnx.grad(
        lambda layer: jnp.sum(nnx.remat(lambda layer, xs: layer(xs))(layer, inputs) ** 2)
    )(lstm())
    close(jax.tree.leaves(rematted), plain, 1e-5)


def test_training_reduces_the_loss(inputs):
    layer = lstm()
    optimizer = nnx.Optimizer(layer, optax.adam(1e-2), wrt=nnx.Param)

    @nnx.jit
    def update(layer, optimizer):
        loss, grads = nnx.value_and_grad(lambda layer: jnp.mean((layer(inputs) - 0.3) ** 2))(layer)
        optimizer.update(layer, grads)
        return loss

    with jax.numpy_dtype_promotion("standard"):  # as Optax needs
        losses = [float(update(layer, optimizer)) for _ in range(60)]
    assert losses[-1] < 0.2 * losses[0]


def test_errors(inputs):
    with pytest.raises(ValueError, match=r"LSTM: inputs must have axes \[\.\.\., T, features\]"):
        lstm()(inputs[0, 0])
    with pytest.raises(ValueError, match="x must have shape"):
        lstm()(inputs[..., :2])
    with pytest.raises(TypeError, match="Recurrent: cell must be a cell, not its class"):
        Recurrent(lj.LSTM, rngs=nnx.Rngs(0))

    with pytest.raises(TypeError, match=r"Bidirectional: cell must have init.*; got partial"):
        Bidirectional(functools.partial(lj.LSTM, hidden_size=5), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"^LSTM: metadata .*'kernal'; did you mean 'kernel'\?"):
        lstm(metadata={"kernal": {}})


@dataclass(frozen=True)
class Called(Sum):
    """Its parameter has these names, the innermost first, or none."""

    names: tuple = ()

    def init(self, key):
        params = jnp.ones(4)
        for name in self.names:
            params = {name: params}
        return params


@pytest.mark.parametrize(
    "names", [("reverse",), ("rngs",), ("params",), ("cell",), ("set_view",), ("items", "inner")]
)
def test_a_parameter_must_not_have_the_name_of_an_attribute(names):
    with pytest.raises(ValueError, match=f"the name of an attribute of the layer, '{names[0]}'"):
        Recurrent(Called(input_size=4, names=names), rngs=nnx.Rngs(0))


def test_a_cell_whose_parameters_are_one_array(inputs):
    layer = Recurrent(Called(input_size=4), rngs=nnx.Rngs(0))
    assert layer.param.shape == layer.params.shape == (4,)
    assert layer(inputs).shape == inputs.shape


def test_an_option_can_be_changed_after_construction():
    layer = Recurrent(lj.LSTM(4, 5), rngs=nnx.Rngs(0))
    inputs, lengths = jnp.ones((1, 3, 4)), jnp.array([1])
    assert not layer(inputs, seq_lengths=lengths)[0, 2].any()
    layer.padding = "hold"
    assert layer(inputs, seq_lengths=lengths)[0, 2].any()
