"""Memory cell blocks against the equations of the paper, written out in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstm_jax as lj
from experiments.hs1997 import MemoryBlocks
from lstm_jax.testing import check_cell
from tests.helpers.reference import sigmoid

T, INPUTS, OUTPUTS, BLOCKS, SIZE = 7, 3, 2, 2, 2
CELLS = BLOCKS * SIZE


def g(z):
    return 4 * sigmoid(z) - 2


def h(z):
    return 2 * sigmoid(z) - 1


def slope(y):
    """The derivative of the logistic function, by its value."""
    return y * (1 - y)


def updates_of_the_paper(W, K, k_bias, xs, targets):
    """Outputs, and minus the weights' updates at learning rate 1: equations 19 to 28 of the paper.

    The rows of W are the sources of connections, inputs, gates, cells and the bias; its columns are
    input gates, output gates and cells. Errors arrive at every step.
    """
    w_in, w_out, w_c = np.split(W, [BLOCKS, 2 * BLOCKS], axis=1)
    block = np.repeat(np.arange(BLOCKS), SIZE)
    y_in, y_out, y_c, s = np.zeros(BLOCKS), np.zeros(BLOCKS), np.zeros(CELLS), np.zeros(CELLS)
    ds_in, ds_c = np.zeros((len(W), CELLS)), np.zeros((len(W), CELLS))
    dW, dK, dk, outputs = np.zeros_like(W), np.zeros_like(K), np.zeros(OUTPUTS), []
    for x, target in zip(xs, targets, strict=True):
        y = np.concatenate([x, y_in, y_out, y_c, [1.0]])
        y_in, y_out, net_c = sigmoid(y @ w_in), sigmoid(y @ w_out), y @ w_c
        # (25), (27): what RTRL carries from step to step.
        ds_in += y[:, None] * (g(net_c) * slope(y_in)[block])
        ds_c += y[:, None] * (4 * slope(sigmoid(net_c)) * y_in[block])
        s = s + y_in[block] * g(net_c)
        y_c = y_out[block] * h(s)
        y_k = sigmoid(y_c @ K + k_bias)
        outputs.append(y_k)
        e_k = slope(y_k) * (target - y_k)  # (19)
        at_cells = K @ e_k
        e_out = slope(y_out) * (h(s) * at_cells).reshape(BLOCKS, SIZE).sum(1)  # (21)
        e_s = y_out[block] * 2 * slope(sigmoid(s)) * at_cells  # (23)
        dK -= np.outer(y_c, e_k)
        dk -= e_k
        dW[:, :BLOCKS] -= (ds_in * e_s).reshape(-1, BLOCKS, SIZE).sum(2)  # (26)
        dW[:, BLOCKS : 2 * BLOCKS] -= np.outer(y, e_out)  # (22)
        dW[:, 2 * BLOCKS :] -= ds_c * e_s  # (28)
    return np.array(outputs), dW, dK, dk


def drawn(seed=0):
    rng = np.random.default_rng(seed)
    W = rng.normal(size=(INPUTS + 2 * BLOCKS + CELLS + 1, 2 * BLOCKS + CELLS))
    K, k_bias = rng.normal(size=(CELLS, OUTPUTS)), rng.normal(size=OUTPUTS)
    return W, K, k_bias, rng.normal(size=(T, INPUTS)), rng.uniform(size=(T, OUTPUTS))


def gradient(cell, W, K, k_bias, xs, targets):
    """Outputs, and the gradient of half the squared error, summed over steps and outputs."""

    def loss(W, K, k_bias):
        kernel, recurrent, bias = jnp.split(W, [INPUTS, len(W) - 1])
        params = cell.init(jax.random.key(0))._replace(
            kernel=kernel, recurrent_kernel=recurrent, bias=bias[0]
        )
        _, hs = lj.unroll(cell, params, xs)
        y = jax.nn.sigmoid(hs @ K + k_bias[None])
        return 0.5 * jnp.sum(jnp.square(y - targets)), y

    found = jax.grad(loss, argnums=(0, 1, 2), has_aux=True)(*map(jnp.asarray, (W, K, k_bias)))
    return found[1], *found[0]


@pytest.mark.usefixtures("x64")
def test_outputs_and_gradient_are_those_of_the_paper():
    case, cell = drawn(), MemoryBlocks(INPUTS, BLOCKS, SIZE)
    for found, wanted in zip(gradient(cell, *case), updates_of_the_paper(*case), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-13)


@pytest.mark.usefixtures("x64")
def test_the_exact_gradient_is_another_one():
    case, exact = drawn(), MemoryBlocks(INPUTS, BLOCKS, SIZE, truncated=False)
    outputs, dW, dK, dk = gradient(exact, *case)
    wanted = updates_of_the_paper(*case)
    # Errors of outputs and their weights are the same; those of earlier steps are not.
    for found, same in zip((outputs, dK, dk), (wanted[0], *wanted[2:]), strict=True):
        np.testing.assert_allclose(found, same, rtol=0, atol=1e-13)
    assert np.abs(dW - wanted[1]).max() > 1e-2


@pytest.mark.usefixtures("x64")
def test_the_error_flows_back_through_a_cell_state_undiminished():
    cell = MemoryBlocks(1, 1)
    params = jax.tree.map(lambda leaf: 3 * leaf, cell.init(jax.random.key(1)))

    def last_cell_state(c, h):
        state = cell.initial_state()._replace(c=c, h=h)
        return lj.unroll(cell, params, jnp.ones((1000, 1)), state)[0].c.sum()

    by_c, by_h = jax.grad(last_cell_state, argnums=(0, 1))(jnp.zeros(1), jnp.zeros(1))
    assert by_c == 1
    assert by_h == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "fields",
    [
        {"blocks": 2, "block_size": 2},
        {"blocks": 1, "output_gates": False, "recurrent": False, "biased": "none"},
    ],
)
def test_has_the_properties_of_all_cells(fields):
    check_cell(MemoryBlocks(3, **fields))


def test_initial_weights_are_in_their_range_and_biases_as_given():
    cell = MemoryBlocks(
        50, 3, 2, input_gate_bias=(-1, -3, -5), output_gate_bias=(-2, -4, -6), weight_range=0.2
    )
    kernel, recurrent, bias = cell.init(jax.random.key(0))
    assert bias[:6].tolist() == [-1, -3, -5, -2, -4, -6]
    for drawn in (kernel, recurrent, bias[6:]):
        assert 0.1 < jnp.abs(drawn).max() <= 0.2
        assert jnp.unique(drawn).size == drawn.size
    assert jnp.abs(kernel.mean()) < 0.02


def test_only_the_biased_units_have_a_bias():
    params = MemoryBlocks(3, 2, biased="gates").init(jax.random.key(0))
    assert [leaf.shape for leaf in params] == [(3, 6), (6, 6), (4,)]
    params = MemoryBlocks(3, 2, biased="none", output_gates=False, recurrent=False).init(
        jax.random.key(0)
    )
    assert [leaf.shape for leaf in params] == [(3, 4), (0, 4), (0,)]


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"blocks": 0}, "blocks must be at least 1; got 0"),
        ({"blocks": 1, "biased": "gate"}, "biased must be none, gates, all; .*did you mean gates?"),
        ({"blocks": 2, "input_gate_bias": (-1.0,)}, "input_gate_bias must have .* each of 2 gates"),
        ({"blocks": 1, "biased": "none", "input_gate_bias": (-1.0,)}, "input_.* each of 0 gates"),
        ({"blocks": 1, "output_gates": False, "output_gate_bias": (1.0,)}, "output_.* of 0 gates"),
        ({"blocks": 1, "weight_range": 0.0}, "weight_range must be above 0; got 0.0"),
    ],
)
def test_arguments_that_do_not_fit_are_named(fields, wanted):
    with pytest.raises(ValueError, match=f"MemoryBlocks: {wanted}"):
        MemoryBlocks(3, **fields)
