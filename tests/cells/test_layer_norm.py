import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_jax.cells.layer_norm import LayerNormLSTM, LayerNormLSTMParams, layer_norm
from tests.helpers import reference
from tests.helpers.cells import CASES, draw, error
from tests.helpers.reference import sigmoid


def standard(z, epsilon):
    mean = z.mean(-1, keepdims=True)
    return (z - mean) / np.sqrt(((z - mean) ** 2).mean(-1, keepdims=True) + epsilon)


def ba2016(p, state, x, epsilon=1e-5):
    h, c = state
    from_h = standard(h @ p.recurrent_kernel, epsilon) * p.recurrent_gain + p.recurrent_bias
    from_x = standard(x @ p.kernel, epsilon) * p.input_gain + p.input_bias
    i, f, g, o = np.split(from_h + from_x + p.bias, 4, axis=-1)
    c_new = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    shown = standard(c_new, epsilon) * p.cell_gain + p.cell_bias
    h_new = sigmoid(o) * np.tanh(shown)
    return (h_new, c_new), (sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o))


def haste(p, state, x, epsilon=1e-5):
    h, c = state
    wx = p.input_gain * standard(x @ p.kernel, epsilon)
    rh = p.recurrent_gain * standard(h @ p.recurrent_kernel, epsilon)
    H = c.shape[-1]
    v = wx + rh + p.bias
    i, f = sigmoid(v[..., :H]), sigmoid(v[..., H : 2 * H])
    g, o = np.tanh(v[..., 2 * H : 3 * H]), sigmoid(v[..., 3 * H :])
    c_new = f * c + i * g
    h_new = o * np.tanh(p.cell_gain * standard(c_new, epsilon) + p.cell_bias)
    return (h_new, c_new), (i, f, g, o)


def pytorch(p, state, x, epsilon=1e-5):
    h, c = state
    igates = standard(x @ p.kernel, epsilon) * p.input_gain + p.input_bias
    hgates = standard(h @ p.recurrent_kernel, epsilon) * p.recurrent_gain + p.recurrent_bias
    i, f, g, o = np.split(igates + hgates, 4, axis=-1)
    i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
    c_new = standard(f * c + i * g, epsilon) * p.cell_gain + p.cell_bias
    return (o * np.tanh(c_new), c_new), (i, f, g, o)


def tensorflow(p, state, x, epsilon=1e-12):
    h, c = state
    H = c.shape[-1]
    joint = np.concatenate([x, h], axis=-1) @ np.concatenate([p.kernel, p.recurrent_kernel])

    def normal(k):
        gate = slice(k * H, (k + 1) * H)
        return standard(joint[..., gate], epsilon) * p.gate_gain[gate] + p.bias[gate]

    i, f, g, o = sigmoid(normal(0)), sigmoid(normal(1)), np.tanh(normal(2)), sigmoid(normal(3))
    c_new = standard(c * f + i * g, epsilon) * p.cell_gain + p.cell_bias
    return (np.tanh(c_new) * o, c_new), (i, f, g, o)


EQUATIONS = {"ba2016": ba2016, "haste": haste, "pytorch": pytorch, "tensorflow": tensorflow}
VARIANTS = pytest.mark.parametrize("variant", EQUATIONS)


@pytest.mark.usefixtures("x64")
@VARIANTS
@CASES
def test_is_the_equations_in_float64(n, m, batch, variant):
    cell = LayerNormLSTM(n, m, variant=variant)
    assert error(cell, EQUATIONS[variant], batch) < 1e-12


@VARIANTS
def test_is_the_equations_in_float32(variant):
    cell = LayerNormLSTM(40, 64, variant=variant)
    assert error(cell, EQUATIONS[variant], (4,), jnp.float32) < 1e-6


@pytest.mark.usefixtures("x64")
@VARIANTS
def test_epsilon(variant):
    cell = LayerNormLSTM(3, 5, variant=variant, epsilon=0.1)
    assert error(cell, lambda *args: EQUATIONS[variant](*args, epsilon=0.1), (4,)) < 1e-12
    assert error(cell, EQUATIONS[variant], (4,)) > 1e-3


@pytest.mark.usefixtures("x64")
def test_the_variants_differ():
    cells = [LayerNormLSTM(3, 5, variant=variant) for variant in EQUATIONS]
    params, state, x = draw(cells[0], (4,))
    full = params._replace(gate_gain=params.input_gain)
    seen = []
    for cell in cells:
        has = draw(cell)[0]._asdict()
        own = {name: None if has[name] is None else value for name, value in full._asdict().items()}
        seen.append(cell.step(LayerNormLSTMParams(**own), state, x))
    for k, a in enumerate(seen):
        assert all(reference.relative_error(a.h, b.h) > 1e-3 for b in seen[:k])


@VARIANTS
def test_gate_order_is_i_f_g_o(variant):
    # Gains of zero leave the biases alone: the gates are known.
    cell = LayerNormLSTM(3, 1, variant=variant)
    params, state, x = draw(cell, (), jnp.float32)
    bias = jnp.log(jnp.array([3.0, 1 / 4, 2.0, 9.0]))
    where = "input_bias" if variant == "pytorch" else "bias"
    quiet = {
        name: None if value is None or name in ("kernel", "recurrent_kernel") else 0.0 * value
        for name, value in params._asdict().items()
    }
    quiet |= {"kernel": params.kernel, "recurrent_kernel": params.recurrent_kernel, where: bias}
    gates = cell.gates(LayerNormLSTMParams(**quiet), state, x)
    np.testing.assert_allclose(jnp.concatenate(gates), [3 / 4, 1 / 5, 3 / 5, 9 / 10], rtol=1e-6)


@pytest.mark.parametrize(("n", "x"), [(2, [1.0, 1.0]), (3, [1.0, 1.0, 1.0])])
def test_tensorflow_gives_the_numbers_of_tensorflows_own_test(n, x):
    # From the test of LayerNormBasicLSTMCell in tf.contrib: all weights one half.
    half = jax.nn.initializers.constant(0.5)
    cell = LayerNormLSTM(n, 2, kernel_init=half, recurrent_kernel_init=half, variant="tensorflow")
    state = (jnp.array([0.2, 0.3]), jnp.array([0.0, 0.1]))
    h, c = cell.step(cell.init(jax.random.key(0)), state, jnp.array(x))
    np.testing.assert_allclose(h, [-0.38079708, 0.38079708], rtol=1e-5)
    np.testing.assert_allclose(c, [-1.0, 1.0], rtol=1e-5)


@VARIANTS
def test_starts_with_gains_of_one_and_an_open_forget_gate(variant):
    params = LayerNormLSTM(3, 5, variant=variant).init(jax.random.key(0))
    for name, value in params._asdict().items():
        if name.endswith("gain") and value is not None:
            assert jnp.array_equal(value, jnp.ones_like(value)), name
    biases = [b for name, b in params._asdict().items() if name.endswith("bias") and b is not None]
    total = sum(b for b in biases if b.shape == (20,))
    assert total.tolist() == 5 * [0] + 5 * [1] + 10 * [0]
    assert not params.cell_bias.any()
    for block in jnp.split(params.recurrent_kernel, 4, axis=1):
        np.testing.assert_allclose(block.T @ block, jnp.eye(5), atol=1e-5)


@VARIANTS
def test_gradients_are_finite_where_a_variance_is_zero(variant):
    cell = LayerNormLSTM(3, 5, variant=variant)
    params = cell.init(jax.random.key(0))

    def loss(params, x):
        return cell.step(params, cell.initial_state(), x).h.sum()

    grads = jax.jit(jax.grad(loss, argnums=(0, 1)))(params, jnp.zeros(3))
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_a_norm_in_half_precision_is_rounded_once(dtype):
    z = jnp.asarray(300 * np.random.default_rng(0).standard_normal(1000), dtype)  # squares: 9e4
    expected = standard(reference.wide(z), 1e-5)
    got = layer_norm(z)
    assert got.dtype == dtype
    assert reference.relative_error(got, expected) < jnp.finfo(dtype).eps


def test_wrong_settings_are_named():
    message = "variant must be one of 'ba2016', 'haste', 'pytorch', 'tensorflow'; got 'keras'"
    with pytest.raises(ValueError, match=f"^LayerNormLSTM: {message}"):
        LayerNormLSTM(3, 5, variant="keras")
    for epsilon in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(ValueError, match=f"^LayerNormLSTM: epsilon must be .*got {epsilon}"):
            LayerNormLSTM(3, 5, epsilon=epsilon)


def test_the_epsilon_of_the_source_has_one_form():
    assert LayerNormLSTM(3, 5, epsilon=1e-5) == LayerNormLSTM(3, 5)
    assert LayerNormLSTM(3, 5, variant="tensorflow", epsilon=1e-5).epsilon == 1e-5
    cell = LayerNormLSTM(3, 5, variant="tensorflow", epsilon=1e-12)
    assert repr(cell) == "LayerNormLSTM(input_size=3, hidden_size=5, variant='tensorflow')"


def test_parameters_of_another_variant_are_named():
    haste, torch = (LayerNormLSTM(3, 5, variant=name) for name in ("haste", "pytorch"))
    params, state, x = draw(torch, (), jnp.float32)
    message = r"params.bias must have shape \[4H\] with .*variant = 'haste'; got None"
    with pytest.raises(ValueError, match=rf"^LayerNormLSTM\.step: {message}"):
        haste.step(params, state, x)
    params, state, x = draw(haste, (), jnp.float32)
    message = r"params.bias must be None with .*variant = 'pytorch'; got \(20,\)"
    with pytest.raises(ValueError, match=rf"^LayerNormLSTM\.gates: {message}"):
        torch.gates(params, state, x)
    message = r"params.cell_gain must have shape \[H\] with I = 3, H = 5, .*; got \(20,\)"
    with pytest.raises(ValueError, match=message):
        haste.step(params._replace(cell_gain=jnp.ones(20)), state, x)
