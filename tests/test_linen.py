"""Layers for linen: what Flax's own recurrent layers are held to, and what it does with layers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import serialization

import lstm_jax as lj
from lstm_jax.linen import LSTM, Bidirectional, Recurrent, RNNCell, params_of, variables
from tests.flax_peer import linen_rnn
from tests.toys import Sum, quick

KEY = jax.random.key(0)
LENGTHS = jnp.array([7, 3, 1])


@pytest.fixture
def inputs():
    return jax.random.normal(jax.random.key(1), (3, 7, 4))


def close(got, wanted, tolerance=1e-6):
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=tolerance, atol=tolerance),
        jax.tree.leaves(got),
        jax.tree.leaves(wanted),
    )


def test_the_first_outputs_have_the_shapes_of_flax(inputs):
    outputs, drawn = LSTM(5).init_with_output(KEY, inputs)
    assert outputs.shape == (3, 7, 5)
    shapes = jax.tree.map(jnp.shape, drawn)
    assert shapes == {"params": {"kernel": (4, 20), "recurrent_kernel": (5, 20), "bias": (20,)}}


def test_parameters_are_those_that_the_cell_draws(inputs):
    rng = {"params": jax.random.key(3)}
    drawn = LSTM(5, num_layers=2).init(rng, inputs)
    again = LSTM(5, num_layers=2).init(rng, inputs)
    cell = lj.stack(lj.LSTM(4, 5), lj.LSTM(5, 5))
    params = params_of(cell, drawn)
    assert jax.tree.all(jax.tree.map(jnp.array_equal, drawn, again))
    # Orthogonal recurrent kernels and a forget bias of one: nothing of it is left at zero.
    block = params[1].recurrent_kernel[:, 5:10]
    close(block @ block.T, jnp.eye(5))
    assert params[0].bias.tolist() == [0.0] * 5 + [1.0] * 5 + [0.0] * 10
    assert jax.tree.all(jax.tree.map(jnp.array_equal, variables(params), drawn))


@pytest.mark.parametrize(
    "call",
    [
        {},
        {"reverse": True},
        {"reverse": True, "keep_order": True},
        {"seq_lengths": LENGTHS},
        {"seq_lengths": LENGTHS, "reverse": True},
        {"seq_lengths": LENGTHS, "reverse": True, "keep_order": True},
    ],
    ids=lambda call: "+".join(call) or "plain",
)
def test_outputs_carry_and_gradients_are_those_of_flax(inputs, call):
    params = lj.LSTM(4, 5).init(KEY)
    start = tuple(jax.random.normal(jax.random.key(2), (2, 3, 5)))
    there = lj.mask_of_lengths(call.get("seq_lengths", jnp.full(3, 7)), 7).T[..., None]

    def ours(params, start):
        carry, outputs = LSTM(5, implementation="scan").apply(
            variables(params), inputs, return_carry=True, initial_carry=start, **call
        )
        return tuple(carry), outputs

    def theirs(params, start):
        carry, outputs = linen_rnn(params, inputs, return_carry=True, initial_carry=start, **call)
        return carry, jnp.where(there, outputs, 0)

    def judged(run, params, start):
        shown = run(params, start)
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(shown)), shown

    (_, got), grads = quick(
        jax.value_and_grad(functools.partial(judged, ours), (0, 1), has_aux=True)
    )(params, start)
    (_, wanted), wanted_grads = quick(
        jax.value_and_grad(functools.partial(judged, theirs), (0, 1), has_aux=True)
    )(params, start)
    close(got, wanted)
    close(grads, wanted_grads, 1e-5)


def test_several_batch_axes_or_none(inputs):
    layer = LSTM(5, return_carry=True)
    drawn = layer.init(KEY, inputs)
    many = jnp.stack([inputs, -inputs])
    lengths = jnp.stack([LENGTHS, LENGTHS[::-1]])
    carry, outputs = layer.apply(drawn, many, seq_lengths=lengths)
    assert outputs.shape == (2, 3, 7, 5)
    for k in range(2):
        one_carry, one = layer.apply(drawn, many[k], seq_lengths=lengths[k])
        close(outputs[k], one)
        close([leaf[k] for leaf in carry], one_carry)
    alone_carry, alone = layer.apply(drawn, inputs[0])
    assert alone.shape == (7, 5)
    assert alone_carry.c.shape == (5,)
    close(alone, layer.apply(drawn, inputs)[1][0])


def test_time_major_moves_time_and_nothing_else(inputs):
    layer, major = LSTM(5), LSTM(5, time_major=True)
    drawn = layer.init(KEY, inputs)
    time_first = jnp.swapaxes(inputs, 0, 1)
    mask = lj.mask_of_lengths(LENGTHS, 7)
    outputs = layer.apply(drawn, inputs, mask=mask.T)
    assert major.apply(drawn, time_first).shape == (7, 3, 5)
    close(jnp.swapaxes(major.apply(drawn, time_first, mask=mask), 0, 1), outputs)
    close(jnp.swapaxes(layer.apply(drawn, time_first, mask=mask, time_major=True), 0, 1), outputs)


def test_inputs_over_space():
    cell = lj.ConvLSTM((4, 6, 3), 4, kernel_size=3)
    inputs = jax.random.normal(KEY, (2, 3, 4, 6, 3))
    layer = Recurrent(cell, return_carry=True)
    (carry, outputs), drawn = layer.init_with_output(KEY, inputs)
    assert outputs.shape == (2, 3, 4, 6, 4)
    assert carry.c.shape == (2, 4, 6, 4)
    stepped = nn.RNN(RNNCell(cell)).apply({"params": {"cell": drawn["params"]}}, inputs)
    close(stepped, outputs, 1e-5)


def test_one_step_after_the_other_is_the_whole(inputs):
    cell = lj.LSTM(4, 5)
    layer = Recurrent(cell, return_carry=True, implementation="scan")
    drawn = layer.init(KEY, inputs)
    final, outputs = layer.apply(drawn, inputs)
    step = RNNCell(cell)
    carry = step.initialize_carry(None, inputs[:, 0].shape)
    shown = []
    for t in range(7):
        carry, y = step.apply(drawn, carry, inputs[:, t])
        shown.append(y)
    close(jnp.stack(shown, axis=1), outputs)
    close(carry, final)


@pytest.mark.parametrize("sizes", [[1] * 7, [3, 4]], ids=str)
@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_a_stream_in_chunks_is_the_whole(inputs, sizes, rate):
    layer = LSTM(5, num_layers=2, dropout=rate, recurrent_dropout=rate, return_carry=True)
    rngs = {"dropout": jax.random.key(4)}
    drawn = layer.init(KEY, inputs, deterministic=True)
    run = functools.partial(layer.apply, drawn, deterministic=not rate, rngs=rngs)
    final, outputs = run(inputs)
    carry, shown, start = None, [], 0
    for size in sizes:
        chunk = inputs[:, start : start + size]
        carry, ys = run(chunk, initial_carry=carry, start=start)
        shown.append(ys)
        start += size
    assert jnp.array_equal(jnp.concatenate(shown, axis=1), outputs)
    assert jax.tree.all(jax.tree.map(jnp.array_equal, carry, final))


@pytest.mark.parametrize("steps", [1, 3, 7, 10])
def test_unroll_changes_nothing(inputs, steps):
    layer = LSTM(5, implementation="scan")
    drawn = layer.init(KEY, inputs)
    unrolled = LSTM(5, implementation="scan", unroll=steps)
    close(unrolled.apply(drawn, inputs), layer.apply(drawn, inputs))


@pytest.mark.parametrize("field", [{"remat": 3}, {"implementation": "fused"}])
def test_how_it_runs_changes_nothing(inputs, field):
    drawn = LSTM(5).init(KEY, inputs)
    grads = [
        jax.grad(lambda v, layer=layer: jnp.sum(layer.apply(v, inputs) ** 2))(drawn)
        for layer in (LSTM(5), LSTM(5, **field))
    ]
    close(*grads, 1e-5)


def test_padding_and_resets_pass_through(inputs):
    cell = lj.LSTM(4, 5)
    params = cell.init(KEY)
    reset = jnp.zeros((3, 7), bool).at[:, 4].set(True)
    layer = Recurrent(cell, padding="hold")
    got = layer.apply(variables(params), inputs, seq_lengths=LENGTHS, reset=reset)
    _, wanted = lj.unroll(
        cell, params, inputs.swapaxes(0, 1), lengths=LENGTHS, reset=reset.T, padding="hold"
    )
    close(got, wanted.swapaxes(0, 1))


@pytest.mark.parametrize("merge", ["concat", "sum", jnp.maximum], ids=str)
def test_both_directions(inputs, merge):
    cells = lj.LSTM(4, 5), lj.GRU(4, 5)
    layer = Bidirectional(*cells, merge=merge, return_carry=True)
    (carry, outputs), drawn = layer.init_with_output(KEY, inputs, seq_lengths=LENGTHS)
    ahead, back = (
        Recurrent(cell).apply({"params": drawn["params"][name]}, inputs, seq_lengths=LENGTHS, **how)
        for cell, name, how in [
            (cells[0], "forward", {}),
            (cells[1], "backward", {"reverse": True, "keep_order": True}),
        ]
    )
    merged = {"concat": lambda a, b: jnp.concatenate([a, b], -1), "sum": jnp.add}
    close(outputs, merged.get(merge, merge)(ahead, back))
    assert carry.forward.c.shape == carry.backward.h.shape == (3, 5)


def test_flax_runs_our_layers_in_both_directions(inputs):
    cell = lj.LSTM(4, 5)
    theirs = nn.Bidirectional(Recurrent(cell), Recurrent(cell), merge_fn=jnp.add)
    outputs, drawn = theirs.init_with_output(KEY, inputs, seq_lengths=LENGTHS)
    own = {"forward": drawn["params"]["forward_rnn"], "backward": drawn["params"]["backward_rnn"]}
    ours = Bidirectional(cell, merge="sum")
    close(ours.apply({"params": own}, inputs, seq_lengths=LENGTHS), outputs)
    # Not one set of weights for both, as where Flax's two RNNs share a cell.
    assert not jnp.array_equal(own["forward"]["kernel"], own["backward"]["kernel"])


@pytest.mark.parametrize(
    "dtypes",
    [
        {"dtype": jnp.bfloat16},
        {"param_dtype": jnp.bfloat16},
        {"dtype": jnp.float16, "param_dtype": jnp.float16},
    ],
    ids=str,
)
def test_dtypes(inputs, dtypes):
    layer = LSTM(5, return_carry=True, **dtypes)
    (carry, outputs), drawn = layer.init_with_output(KEY, inputs)
    held = dtypes.get("param_dtype", jnp.float32)
    assert {leaf.dtype for leaf in jax.tree.leaves(drawn)} == {jnp.dtype(held)}
    assert outputs.dtype == carry.h.dtype == dtypes.get("dtype", held)
    assert carry.c.dtype == jnp.float32
    exact = LSTM(5).apply(jax.tree.map(lambda leaf: leaf.astype(jnp.float32), drawn), inputs)
    close(outputs.astype(jnp.float32), exact, 0.02)


def test_integers_are_read_as_numbers(inputs):
    layer = LSTM(5)
    drawn = layer.init(KEY, inputs)
    whole = jnp.arange(3 * 7 * 4).reshape(3, 7, 4) % 5
    close(layer.apply(drawn, whole), layer.apply(drawn, whole.astype(jnp.float32)))


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_a_batch_of_another_size(inputs, rows):
    layer = LSTM(5)
    drawn = layer.init(KEY, inputs)
    some = jnp.resize(inputs, (rows, 7, 4))
    close(layer.apply(drawn, some)[0], layer.apply(drawn, inputs)[0])


def test_a_module_of_ours_in_flax_loops(inputs):
    cell = functools.partial(lj.LSTM, hidden_size=5)
    rnn = nn.RNN(RNNCell(cell), return_carry=True)
    (carry, outputs), drawn = rnn.init_with_output(KEY, inputs, seq_lengths=LENGTHS)
    ours = Recurrent(cell, padding="raw", return_carry=True)
    final, shown = ours.apply({"params": drawn["params"]["cell"]}, inputs, seq_lengths=LENGTHS)
    there = lj.mask_of_lengths(LENGTHS, 7).T[..., None]
    close(jnp.where(there, outputs, 0), jnp.where(there, shown, 0))
    close(carry, final)

    scanned = nn.scan(
        RNNCell, variable_broadcast="params", split_rngs={"params": False}, in_axes=1, out_axes=1
    )(cell)
    start = RNNCell(cell).initialize_carry(KEY, inputs[:, 0].shape)
    drawn = scanned.init(KEY, start, inputs)
    close(scanned.apply(drawn, start, inputs)[1], Recurrent(cell).apply(drawn, inputs))


@pytest.mark.parametrize("anew", [True, False], ids=["anew at every step", "one mask"])
def test_flax_loops_draw_as_flax_says(anew):
    split = {"params": False, "dropout": anew}
    rnn = nn.RNN(
        RNNCell(lj.dropout(Sum(input_size=20), 0.5), deterministic=False), split_rngs=split
    )
    shown = rnn.apply({}, jnp.ones((1, 6, 20)), rngs={"dropout": KEY})[0]
    steps = jnp.diff(shown, axis=0)  # what each step let through
    assert set(steps.ravel().tolist()) == {0.0, 2.0}
    assert bool((steps == steps[0]).all()) == (not anew)


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


def test_names_of_axes_come_with_parameters(inputs):
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


def test_shapes_without_numbers(inputs):
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


def test_training_goes_down_and_state_is_saved(inputs):
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
    assert jax.tree.all(jax.tree.map(jnp.array_equal, loaded, drawn))


def test_what_does_not_fit_is_said(inputs):
    drawn = LSTM(5).init(KEY, inputs)
    with pytest.raises(ValueError, match=r"LSTM: inputs must have axes \[\.\.\., T, features\]"):
        LSTM(5).apply(drawn, inputs[0, 0])
    with pytest.raises(Exception, match="kernel"):
        LSTM(5).apply(drawn, inputs[..., :2])
    with pytest.raises(ValueError, match="lengths must be within 0 and T = 7"):
        LSTM(5).apply(drawn, inputs, seq_lengths=jnp.array([7, 8, 1]))
    with pytest.raises(ValueError, match="num_layers must be at least 1; got 0"):
        LSTM(5, num_layers=0).init(KEY, inputs)
    with pytest.raises(TypeError, match=r"Recurrent: cell must be a cell, not its class"):
        Recurrent(lj.LSTM).init(KEY, inputs)
    with pytest.raises(ValueError, match="recurrent_kernel, bias; got kernel"):
        params_of(lj.LSTM(4, 5), {"params": {"kernel": jnp.ones((4, 20))}})
