import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_jax import LSTM, LSTMParams, LSTMState
from lstm_jax.cells.projected import ProjectedLSTM, ProjectedLSTMParams
from lstm_jax.initializers import orthogonal_per_gate
from tests.helpers.cells import CASES, draw, error
from tests.helpers.reference import sigmoid


def equations(params, state, x, cell_clip=np.inf, projection_clip=np.inf):
    (W, R, b, projection), (h, c) = params, state
    H = c.shape[-1]

    def net(k):
        block = slice(k * H, (k + 1) * H)
        return x @ W[:, block] + h @ R[:, block] + b[block]

    i, f, g, o = sigmoid(net(0)), sigmoid(net(1)), np.tanh(net(2)), sigmoid(net(3))
    c_new = np.minimum(np.maximum(f * c + i * g, -cell_clip), cell_clip)
    h_new = (o * np.tanh(c_new)) @ projection
    h_new = np.minimum(np.maximum(h_new, -projection_clip), projection_clip)
    return (h_new, c_new), (i, f, g, o)


@pytest.mark.usefixtures("x64")
@CASES
def test_is_the_equations_in_float64(n, m, batch):
    assert error(ProjectedLSTM(n, m, projection_size=2), equations, batch) < 1e-12


def test_is_the_equations_in_float32():
    cell = ProjectedLSTM(40, 64, projection_size=16)
    assert error(cell, equations, (4,), jnp.float32) < 1e-6


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "clips",
    [{"cell_clip": 0.3}, {"projection_clip": 0.1}, {"cell_clip": 0.3, "projection_clip": 0.1}],
)
def test_clips(clips):
    cell = ProjectedLSTM(3, 5, projection_size=2, **clips)
    assert error(cell, lambda *args: equations(*args, **clips), (4,)) < 1e-12
    new = cell.step(*draw(cell, (4,)))
    largest = {"cell_clip": jnp.abs(new.c).max(), "projection_clip": jnp.abs(new.h).max()}
    assert all(largest[name] == limit for name, limit in clips.items())  # there was some to clip


@pytest.mark.usefixtures("x64")
def test_with_the_identity_as_projection_it_is_the_lstm():
    cell = ProjectedLSTM(3, 5, projection_size=5)
    params, state, x = draw(cell, (4,))
    new = cell.step(params._replace(projection=jnp.eye(5)), state, x)
    expected = LSTM(3, 5).step(LSTMParams(*params[:3]), state, x)
    for a, b in zip(new, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-14)


@pytest.mark.slow
def test_starts_at_the_scale_of_its_inputs():
    cell = ProjectedLSTM(3, 200, projection_size=50)
    params = cell.init(jax.random.key(0))
    shapes = jax.tree.map(jnp.shape, params)
    assert shapes == ProjectedLSTMParams((3, 800), (50, 800), (800,), (200, 50))
    assert jnp.std(params.recurrent_kernel) == pytest.approx(50**-0.5, rel=0.05)
    assert jnp.std(params.projection) == pytest.approx(200**-0.5, rel=0.05)
    i, f, g, o = jnp.split(params.bias, 4)
    assert jnp.array_equal(f, jnp.ones(200))
    assert not any(jnp.any(gate) for gate in (i, g, o))
    assert jax.tree.map(jnp.shape, cell.initial_state((2,))) == LSTMState((2, 50), (2, 200))
    square = ProjectedLSTM(3, 5, projection_size=5, recurrent_kernel_init=orthogonal_per_gate)
    block = square.init(jax.random.key(0)).recurrent_kernel[:, :5]
    np.testing.assert_allclose(block.T @ block, jnp.eye(5), atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"projection_size": 0}, "projection_size must be at least 1; got 0"),
        ({"projection_size": 2, "cell_clip": 0.0}, r"cell_clip must be above 0; got 0\.0"),
        ({"projection_size": 2, "projection_clip": -1}, "projection_clip must be above 0; got -1"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=f"^ProjectedLSTM: {message}"):
        ProjectedLSTM(3, 5, **settings)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"h": (5,)}, r"h must have shape \[..., P\] with P = 2 .*got \(5,\)"),
        ({"c": (2,)}, r"c must have shape \[..., H\] with H = 5 .*got \(2,\)"),
        ({"recurrent_kernel": (5, 20)}, r"params.recurrent_kernel must .*\[P, 4H\] .*\(5, 20\)"),
        ({"projection": (2, 5)}, r"params.projection must have shape \[H, P\] .*got \(2, 5\)"),
    ],
)
def test_wrong_shapes_are_named(change, message):
    shapes = {"kernel": (3, 20), "recurrent_kernel": (2, 20), "bias": (20,), "projection": (5, 2)}
    shapes |= {"h": (2,), "c": (5,), "x": (3,)} | change
    *params, h, c, x = (jnp.zeros(shape) for shape in shapes.values())
    with pytest.raises(ValueError, match=rf"^ProjectedLSTM\.step: {message}"):
        ProjectedLSTM(3, 5, projection_size=2).step(ProjectedLSTMParams(*params), (h, c), x)
