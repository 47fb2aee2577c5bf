"""Wrong results of other libraries, each with a test that this library returns the right one.

The docstring of a test has the library and its wrong result.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstm_jax as lj
from lstm_jax.testing import quick_jit, reference_unroll
from tests.helpers.toys import assert_close, random_like, slow_case

T, B = 5, 3
F64 = {"dtype": jnp.float64}
LSTM = lj.LSTM(3, 4, **F64)
KEY = jax.random.key(0)


def numbers(cell=LSTM, batch=(B,)):
    params = random_like(jax.eval_shape(cell.init, KEY))
    return (
        params,
        random_like(jnp.zeros((T, *batch, 3)), 1),
        random_like(cell.initial_state(batch), 2),
    )


def row(tree, b):
    return jax.tree.map(lambda leaf: leaf[b], tree)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("reverse", [False, True])
def test_a_row_of_length_0_ends_with_its_initial_state(reverse):
    """flax (linen and nnx), jax.experimental.rnn: the state of the last step of padding."""
    params, xs, state = numbers()
    final, outputs = lj.unroll(LSTM, params, xs, state, lengths=[5, 0, 2], reverse=reverse)
    assert_close(row(final, 1), row(state, 1), 0)
    assert not jnp.any(outputs[:, 1])
    assert jnp.all(row(final, 0).c != row(state, 0).c)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("batch", [(2, 3), (3, 3)])
def test_lengths_work_with_two_batch_axes(batch):
    """flax `seq_lengths` with the carry: raises for (2, 3), a carry of shape (3, 3, 3, H) else."""
    params, xs, state = numbers(batch=batch)
    lengths = np.arange(6).reshape(2, 3) if batch == (2, 3) else np.arange(9).reshape(3, 3) % 6
    final, _ = lj.unroll(LSTM, params, xs, state, lengths=lengths)
    assert final.c.shape == (*batch, 4)
    flat = xs.reshape(T, -1, 3), jax.tree.map(lambda leaf: leaf.reshape(-1, 4), state)
    in_a_row, _ = lj.unroll(LSTM, params, *flat, lengths=lengths.ravel())
    assert_close(jax.tree.map(lambda leaf: leaf.reshape(-1, 4), final), in_a_row)


@pytest.mark.usefixtures("x64")
def test_a_length_above_T_means_the_same_in_both_directions():
    """flax: it counts as T, but in reverse the rows are reversed modulo T."""
    params, xs, state = numbers()
    with pytest.raises(ValueError, match=r"lengths must be within 0 and T = 5; got \[7, 5, 2\]"):
        lj.unroll(LSTM, params, xs, state, lengths=[7, 5, 2])
    for reverse in (False, True):

        def unrolled(lengths, reverse=reverse):
            return lj.unroll(LSTM, params, xs, state, lengths=lengths, reverse=reverse)

        under_jit = quick_jit(unrolled)(jnp.array([7, 5, 2]))  # lengths cannot be checked there
        assert_close(under_jit, unrolled(jnp.array([5, 5, 2])))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("padding", ["zero", "hold", "raw"])
def test_nan_in_padding_stays_out_of_gradients(padding):
    """flax: the loss is finite, and its gradient is NaN."""
    params, xs, state = numbers()
    mask = np.arange(T)[:, None] < np.array([5, 0, 2])

    @quick_jit
    def grads(xs):
        def loss(params, xs, state):
            final, outputs = lj.unroll(LSTM, params, xs, state, mask=mask, padding=padding)
            return jnp.sum(outputs**2) + jnp.sum(final.c)

        return jax.grad(loss, argnums=(0, 1, 2))(params, xs, state)

    with_nan = jnp.where(mask[..., None], xs, jnp.nan)
    got = grads(with_nan)
    assert_close(got, grads(xs))
    assert jnp.all(got[0].kernel != 0)
    assert not jnp.any(got[1][~mask])


@pytest.mark.parametrize("cell", [lj.LSTM(3, 4, dtype="bfloat16"), lj.GRU(3, 4, dtype="bfloat16")])
def test_bfloat16_cells_have_bfloat16_parameters_and_outputs(cell):
    """flax: the orthogonal init raises, or state and outputs are float32."""
    params = cell.init(KEY)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("bfloat16")}
    final, outputs = lj.unroll(cell, params, jnp.ones((T, B, 3), jnp.bfloat16))
    assert final.h.dtype == outputs.dtype == jnp.bfloat16


def test_float32_inputs_with_a_bfloat16_state():
    """haiku: an error, as the carry of the scan changes its dtype."""
    cell = lj.LSTM(3, 4, dtype=jnp.bfloat16)
    final, outputs = lj.unroll(cell, cell.init(KEY), jnp.ones((T, B, 3), jnp.float32))
    assert [leaf.dtype for leaf in (outputs, *final)] == ["bfloat16", "bfloat16", "float32"]


@pytest.mark.parametrize(
    ("options", "grid"),
    [
        slow_case({"strides": 2}, (3, 3)),
        ({"padding": "VALID"}, (3, 4)),
        slow_case({"strides": (2, 3)}, (3, 2)),
    ],
)
def test_a_convolutional_lstm_with_strides_and_valid_padding(options, grid):
    """flax linen `ConvLSTMCell`: a TypeError, as the shapes of state and input differ."""
    cell = lj.ConvLSTM((5, 6, 2), 3, kernel_size=3, **options)
    final, outputs = lj.unroll(cell, cell.init(KEY), jnp.ones((2, B, 5, 6, 2)))
    assert final.c.shape == (B, *grid, 3)
    assert outputs.shape == (2, B, *grid, 3)
    assert jnp.all(outputs != 0)


def test_two_directions_of_one_cell_share_no_weights():
    """flax linen: two `RNN`s around one cell in `Bidirectional` share theirs."""
    params = lj.bidirectional(lj.LSTM(3, 4)).init(KEY)
    assert jnp.all(params.forward.kernel != params.backward.kernel)


@pytest.mark.usefixtures("x64")
def test_a_cell_with_dropout_needs_nothing_but_a_key():
    """flax linen: a cell with dropout in an `RNN` raises until `split_rngs` is set."""
    params, xs, _ = numbers()
    first, second = (
        lj.unroll(lj.dropout(LSTM, 0.5), params, xs, key=jax.random.key(seed))[1] for seed in (1, 2)
    )
    assert jnp.all(jnp.isfinite(first))
    assert not jnp.allclose(first, second)


@pytest.mark.usefixtures("x64")
def test_jax_grad_of_a_cell_with_random_numbers():
    """`flax.nnx.RNN`: TraceContextError under `jax.grad`, as it draws from its rngs in the call."""
    params, xs, _ = numbers()
    cell = lj.recurrent_dropout(lj.dropout(LSTM, 0.3), 0.3)
    loss = quick_jit(lambda params: lj.unroll(cell, params, xs, key=KEY)[1].sum())
    slope = quick_jit(jax.grad(lambda p: lj.unroll(cell, p, xs, key=KEY)[1].sum()))(params).bias[0]
    ahead, behind = (
        loss(params._replace(bias=params.bias.at[0].add(step))) for step in (1e-6, -1e-6)
    )
    np.testing.assert_allclose(slope, (ahead - behind) / 2e-6, rtol=1e-7)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("make", [slow_case(lj.SLSTM), lj.MLSTM])
def test_a_reset_row_of_an_exponential_lstm_equals_a_new_sequence(make):
    """The reference sLSTM tests whether all rows are new, so a single new row is wrong."""
    cell = make(3, 4, **F64)
    params, xs, _ = numbers(cell)
    xs = xs - np.where(np.arange(T) < 2, 0.0, 8.0)[:, None, None]  # with another scale than before
    reset = np.zeros((T, B), bool)
    reset[2, 1] = True
    _, outputs = lj.unroll(cell, params, xs, reset=reset)
    _, new_sequence = lj.unroll(cell, params, xs[2:, 1])
    _, whole = lj.unroll(cell, params, xs)
    np.testing.assert_allclose(outputs[2:, 1], new_sequence, rtol=0, atol=1e-12)
    np.testing.assert_allclose(outputs[:, ::2], whole[:, ::2], rtol=0, atol=1e-12)
    assert not np.allclose(outputs[2:, 1], whole[2:, 1], atol=1e-3)


def test_the_memory_of_a_bfloat16_lstm_sums_small_terms():
    """Where c is bfloat16, 1 + 1000 x 1e-3 stays exactly 1."""
    cell = lj.LSTM(1, 1, dtype=jnp.bfloat16)
    i, f, g, o = 50.0, 50.0, 1e-3, 0.0  # both gates open, a small candidate
    params = lj.LSTMParams(jnp.zeros((1, 4)), jnp.zeros((1, 4)), jnp.array([i, f, g, o]))
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)
    state = lj.LSTMState(jnp.zeros(1, jnp.bfloat16), jnp.ones(1))
    final, _ = lj.unroll(cell, params, jnp.zeros((1000, 1), jnp.bfloat16), state)
    assert final.c.dtype == jnp.float32
    assert abs(final.c.item() - 2) < 0.01
    assert jnp.bfloat16(1) + jnp.bfloat16(1e-3) == 1


@pytest.mark.usefixtures("x64")
def test_ragged_bidirectional_values_and_gradients_equal_those_of_single_rows():
    """cuDNN's LSTM in JAX: NaN gradients, and wrong values of the backward direction."""
    cell, lengths = lj.bidirectional(LSTM), (5, 1, 3)
    params, xs, _ = numbers(cell)

    def together(params):
        outputs = lj.unroll(cell, params, xs, lengths=np.array(lengths))[1]
        return jnp.sum(outputs**3), outputs

    def apart(params):
        every = [lj.unroll(cell, params, xs[:n, b])[1] for b, n in enumerate(lengths)]
        padded = [jnp.pad(ys, ((0, T - n), (0, 0))) for ys, n in zip(every, lengths, strict=True)]
        outputs = jnp.stack(padded, axis=1)
        return jnp.sum(outputs**3), outputs

    got, wanted = (quick_jit(jax.grad(f, has_aux=True))(params) for f in (together, apart))
    assert_close(got, wanted)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "options",
    [{}, {"unroll": 2}, {"remat": 2}, {"implementation": "parallel"}, {"lengths": [5, 5, 5]}],
)
def test_reversed_outputs_are_in_the_order_of_the_inputs_with_every_option(options):
    """Keras on JAX: `go_backwards` reverses outputs in one of its two implementations."""
    cell = lj.MinLSTM(3, 4, **F64)  # has the most implementations
    params, xs, state = numbers(cell)
    _, outputs = lj.unroll(cell, params, xs, state, reverse=True, **options)
    assert_close(outputs, lj.unroll(cell, params, xs[::-1], state)[1][::-1])
    whole = np.ones((T, B), bool)
    assert_close(outputs, reference_unroll(cell, params, xs, state, mask=whole, reverse=True)[1])


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("mask", ["11100", "00111", "01001"])
def test_reverse_with_left_padding_and_gaps_equals_a_gather(mask):
    """flax reverses rows by a gather for right padding only."""
    params, xs, state = numbers(batch=())
    valid = np.array([*map(int, mask)], bool)
    final, outputs = lj.unroll(LSTM, params, xs, state, mask=valid, reverse=True)
    gathered_final, gathered = lj.unroll(LSTM, params, xs[valid][::-1], state)
    assert_close(final, gathered_final)
    assert_close(outputs[valid], gathered[::-1])
    assert not jnp.any(outputs[~valid])
