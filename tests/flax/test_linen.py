"""Layers for linen, tested against Flax's own recurrent layers."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import lstm_jax as lj
from lstm_jax.layers.unroll_layer import reversed_outputs
from lstm_jax.linen import LSTM, Bidirectional, Recurrent, RNNCell, params_of, variables
from lstm_jax.testing import quick_jit
from tests.helpers.flax_peer import close, linen_rnn, linen_weights
from tests.helpers.toys import slow_case

KEY = jax.random.key(0)
LENGTHS = jnp.array([7, 3, 1])


@pytest.fixture
def inputs():
    return jax.random.normal(jax.random.key(1), (3, 7, 4))


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
    chex.assert_trees_all_equal(drawn, again)
    # Orthogonal recurrent kernels and a forget bias of one, so no parameter was left at zero.
    block = params[1].recurrent_kernel[:, 5:10]
    close(block @ block.T, jnp.eye(5))
    assert params[0].bias.tolist() == [0.0] * 5 + [1.0] * 5 + [0.0] * 10
    chex.assert_trees_all_equal(variables(params), drawn)


def test_an_initializer_draws_gate_by_gate_as_in_flax():
    def pretrained(key, shape, dtype):  # as Flax calls it: by position, with all three
        return jnp.asarray(np.arange(20.0).reshape(shape), dtype)

    inputs, zeros = jnp.ones((1, 4)), jnp.zeros((1, 5))
    inits = {"kernel_init": pretrained, "recurrent_kernel_init": nn.initializers.orthogonal()}
    ours = LSTM(5, **inits).init(KEY, inputs)["params"]
    theirs = nn.OptimizedLSTMCell(5, **inits).init(KEY, (zeros, zeros), inputs)["params"]
    blocks = [
        np.split(np.asarray(ours[name]), 4, axis=1) for name in ("kernel", "recurrent_kernel")
    ]
    for gate, kernel, recurrent in zip("ifgo", *blocks, strict=True):
        np.testing.assert_array_equal(kernel, theirs[f"i{gate}"]["kernel"])
        for square in (recurrent, np.asarray(theirs[f"h{gate}"]["kernel"])):
            close(square @ square.T, np.eye(5))
    # Initializers of this library define over which axes they are orthogonal.
    cell, _ = LSTM(5, recurrent_kernel_init=lj.initializers.orthogonal).make_cell(inputs)
    whole = np.asarray(cell.recurrent_kernel_init(KEY, (5, 20), jnp.float32))
    close(whole @ whole.T, np.eye(5))


def test_existing_parameters_are_not_drawn_again(inputs):
    layer = LSTM(5)
    drawn = layer.init(KEY, inputs)
    program = str(jax.make_jaxpr(layer.apply)(drawn, inputs))
    assert "f32[4,20] = broadcast_in_dim" not in program  # zeros in the shape of the kernel


def test_lengths_in_few_bits_reverse_long_sequences():
    lengths = np.array([200, 7], np.uint8)
    outputs = jnp.asarray(np.broadcast_to(np.arange(300)[:, None, None], (300, 2, 1)))
    ys = np.asarray(reversed_outputs(outputs, lengths))[..., 0]
    for row, length in zip(ys.T, (200, 7), strict=True):
        assert row.tolist() == [*reversed(range(length)), *range(length, 300)]


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
    valid = lj.mask_of_lengths(call.get("seq_lengths", jnp.full(3, 7)), 7).T[..., None]

    def ours(params, start):
        carry, outputs = LSTM(5, implementation="scan").apply(
            variables(params), inputs, return_carry=True, initial_carry=lj.LSTMState(*start), **call
        )
        return tuple(carry), outputs

    def theirs(params, start):
        carry, outputs = linen_rnn(params, inputs, return_carry=True, initial_carry=start, **call)
        return carry, jnp.where(valid, outputs, 0)

    def loss(function, params, start):
        results = function(params, start)
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(results)), results

    (_, got), grads = quick_jit(
        jax.value_and_grad(functools.partial(loss, ours), (0, 1), has_aux=True)
    )(params, start)
    (_, wanted), wanted_grads = quick_jit(
        jax.value_and_grad(functools.partial(loss, theirs), (0, 1), has_aux=True)
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


def test_time_major_changes_the_position_of_time_alone(inputs):
    layer, major = LSTM(5), LSTM(5, time_major=True)
    drawn = layer.init(KEY, inputs)
    time_first = jnp.swapaxes(inputs, 0, 1)
    mask = lj.mask_of_lengths(LENGTHS, 7)
    outputs = layer.apply(drawn, inputs, mask=mask.T)
    assert major.apply(drawn, time_first).shape == (7, 3, 5)
    close(jnp.swapaxes(major.apply(drawn, time_first, mask=mask), 0, 1), outputs)
    close(jnp.swapaxes(layer.apply(drawn, time_first, mask=mask, time_major=True), 0, 1), outputs)


def test_inputs_with_several_feature_axes():
    cell = lj.ConvLSTM((4, 6, 3), 4, kernel_size=3)
    inputs = jax.random.normal(KEY, (2, 3, 4, 6, 3))
    layer = Recurrent(cell, return_carry=True)
    (carry, outputs), drawn = layer.init_with_output(KEY, inputs)
    assert outputs.shape == (2, 3, 4, 6, 4)
    assert carry.c.shape == (2, 4, 6, 4)
    stepped = nn.RNN(RNNCell(cell)).apply({"params": {"cell": drawn["params"]}}, inputs)
    close(stepped, outputs, 1e-5)


def test_single_steps_equal_the_whole_sequence(inputs):
    cell = lj.LSTM(4, 5)
    layer = Recurrent(cell, return_carry=True, implementation="scan")
    drawn = layer.init(KEY, inputs)
    final, outputs = layer.apply(drawn, inputs)
    step = RNNCell(cell)
    carry = step.initialize_carry(None, inputs[:, 0].shape)
    ys = []
    for t in range(7):
        carry, y = step.apply(drawn, carry, inputs[:, t])
        ys.append(y)
    close(jnp.stack(ys, axis=1), outputs)
    close(carry, final)


@pytest.mark.parametrize("sizes", [[1] * 7, [3, 4]], ids=str)
@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_chunks_equal_the_whole_sequence(inputs, sizes, rate):
    layer = LSTM(5, num_layers=2, dropout=rate, recurrent_dropout=rate, return_carry=True)
    rngs = {"dropout": jax.random.key(4)}
    drawn = layer.init(KEY, inputs, deterministic=True)
    run = functools.partial(layer.apply, drawn, deterministic=not rate, rngs=rngs)
    final, outputs = run(inputs)
    carry, chunks, start = None, [], 0
    for size in sizes:
        chunk = inputs[:, start : start + size]
        carry, ys = run(chunk, initial_carry=carry, start=start)
        chunks.append(ys)
        start += size
    assert jnp.array_equal(jnp.concatenate(chunks, axis=1), outputs)
    chex.assert_trees_all_equal(carry, final)


@pytest.mark.parametrize("steps", [slow_case(1), 3, slow_case(7), 10])
def test_unroll_changes_nothing(inputs, steps):
    layer = LSTM(5, implementation="scan")
    drawn = layer.init(KEY, inputs)
    unrolled = LSTM(5, implementation="scan", unroll=steps)
    close(unrolled.apply(drawn, inputs), layer.apply(drawn, inputs))


@pytest.mark.parametrize("field", [{"remat": 3}, {"implementation": "scan"}])
def test_options_change_no_gradient(inputs, field):
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


def test_layers_work_in_the_bidirectional_layer_of_flax(inputs):
    cell = lj.LSTM(4, 5)
    theirs = nn.Bidirectional(Recurrent(cell), Recurrent(cell), merge_fn=jnp.add)
    outputs, drawn = theirs.init_with_output(KEY, inputs, seq_lengths=LENGTHS)
    own = {"forward": drawn["params"]["forward_rnn"], "backward": drawn["params"]["backward_rnn"]}
    ours = Bidirectional(cell, merge="sum")
    close(ours.apply({"params": own}, inputs, seq_lengths=LENGTHS), outputs)
    # The directions share no weights, as they do where two RNNs of Flax share a cell.
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
    param_dtype = dtypes.get("param_dtype", jnp.float32)
    assert {leaf.dtype for leaf in jax.tree.leaves(drawn)} == {jnp.dtype(param_dtype)}
    assert outputs.dtype == carry.h.dtype == dtypes.get("dtype", param_dtype)
    assert carry.c.dtype == jnp.float32
    exact = LSTM(5).apply(jax.tree.map(lambda leaf: leaf.astype(jnp.float32), drawn), inputs)
    close(outputs.astype(jnp.float32), exact, 0.02)


def test_integer_inputs_are_cast(inputs):
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


def test_activations_have_the_names_of_flax(inputs):
    names = {"gate_fn": nn.hard_sigmoid, "activation_fn": nn.relu}
    params = lj.LSTM(4, 5).init(KEY)
    peer = nn.RNN(nn.OptimizedLSTMCell(5, **names))
    wanted = peer.apply({"params": {"cell": linen_weights(params)}}, inputs)
    close(LSTM(5, **names).apply(variables(params), inputs), wanted)
    assert not jnp.allclose(LSTM(5).apply(variables(params), inputs), wanted)
