import dataclasses
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_jax import LSTM, LSTMParams, LSTMState
from lstm_jax.cells.conv_lstm import ConvLSTM, ConvLSTMParams, delta_orthogonal_per_gate
from tests.helpers import reference

F16, BF16, F32 = jnp.float16, jnp.bfloat16, jnp.float32

# spatial axes, kernel_size, strides, padding, recurrent_kernel_size, peephole, and the dilation
SETTINGS = {
    "1 axis": ((7,), 3, 1, "SAME", None, False),
    "1 axis, strides 2, even sizes": ((8,), 4, 2, "SAME", 2, True),
    "2 axes": ((5, 4), 3, 1, "SAME", None, True),
    "2 axes, strides 2": ((5, 6), (3, 2), 2, "SAME", (1, 3), False),
    "2 axes, valid": ((6, 5), (3, 2), (2, 1), "VALID", 3, True),
    "2 axes, causal": ((5, 4), (2, 3), 1, ((1, 0), (1, 1)), None, False),
    "3 axes, strides 2, valid": ((5, 4, 3), 2, (2, 1, 1), "VALID", 3, True),
    "3 axes": ((2, 3, 2), 3, 1, "SAME", 1, False),
    "1 axis, dilated, strides 2": ((9,), 3, 2, "SAME", 2, True, 2),
    "2 axes, dilated": ((5, 6), (3, 2), 1, "SAME", None, True, (2, 3)),
    "2 axes, dilated, valid, strides": ((7, 6), (3, 2), (2, 1), "VALID", 3, False, (2, 3)),
    "2 axes, dilated, causal": ((5, 4), (2, 3), 1, ((2, 0), (2, 2)), 2, False, 2),
}
EACH = pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS.keys())


def make(setting, dtype=F32, channels=3, hidden=2):
    spatial, *options, dilation = setting if len(setting) == 7 else (*setting, 1)
    return ConvLSTM((*spatial, channels), hidden, *options, kernel_dilation=dilation, dtype=dtype)


def draw(cell, batch, dtype):
    normal = np.random.default_rng(0).standard_normal
    shapes = jax.eval_shape(cell.init, jax.random.key(0)), cell.initial_state(batch)
    params, state = jax.tree.map(lambda a: jnp.asarray(normal(a.shape) / 2, dtype), shapes)
    return params, state, jnp.asarray(normal((*batch, *cell.input_shape)), dtype)


def convolve(x, kernel, strides, padding, dilation=1):
    """A convolution of one field ``[*spatial, n]``: a window at each place, multiplied out."""
    axes = x.ndim - 1
    strides, dilation = np.broadcast_to(strides, axes), np.broadcast_to(dilation, axes)
    window = [(k - 1) * d + 1 for k, d in zip(kernel.shape, dilation, strict=False)]
    if padding == "SAME":
        places = [-(-n // s) for n, s in zip(x.shape[:-1], strides, strict=True)]
        lacking = [
            max((p - 1) * s + k - n, 0)
            for p, s, k, n in zip(places, strides, window, x.shape[:-1], strict=True)
        ]
        padding = [(lack // 2, lack - lack // 2) for lack in lacking]
    elif padding == "VALID":
        padding = [(0, 0)] * axes
    x = np.pad(x, [*padding, (0, 0)])
    places = [(n - k) // s + 1 for n, k, s in zip(x.shape[:-1], window, strides, strict=True)]
    out = np.zeros((*places, kernel.shape[-1]))
    for place in np.ndindex(*places):
        seen = tuple(
            slice(p * s, p * s + k, d)
            for p, s, k, d in zip(place, strides, window, dilation, strict=True)
        )
        out[place] = np.tensordot(x[seen], kernel, axes=axes + 1)
    return out


def by_equations(setting, params, h, c, x):
    """The paper's equations for one row, one gate after the other."""
    _, _, strides, padding, _, peephole, *dilation = setting
    W, R, b = params[:3]
    H = b.shape[0] // 4
    gate = {g: slice(k * H, (k + 1) * H) for k, g in enumerate("ifgo")}
    of_x = {g: convolve(x, W[..., s], strides, padding, *dilation) for g, s in gate.items()}
    z = {g: of_x[g] + convolve(h, R[..., s], 1, "SAME") + b[s] for g, s in gate.items()}
    p_i, p_f, p_o = np.split(params[3], 3, -1) if peephole else (0.0, 0.0, 0.0)
    i = reference.sigmoid(z["i"] + p_i * c)
    f = reference.sigmoid(z["f"] + p_f * c)
    c_new = f * c + i * np.tanh(z["g"])
    o = reference.sigmoid(z["o"] + p_o * c_new)
    return o * np.tanh(c_new), c_new


def error(setting, batch, dtype):
    cell = make(setting, dtype)
    params, state, x = draw(cell, batch, dtype)
    with jax.default_matmul_precision("highest"):  # a GPU would otherwise round the products
        new = jax.jit(cell.step)(params, state, x)
    params, *state, x = jax.tree.map(reference.wide, (params, *state, x))
    expected = np.zeros(new.h.shape), np.zeros(new.c.shape)
    for row in np.ndindex(batch):
        expected[0][row], expected[1][row] = by_equations(
            setting, params, *(leaf[row] for leaf in state), x[row]
        )
    return max(map(reference.relative_error, new, expected))


@pytest.mark.usefixtures("x64")
@EACH
def test_is_the_equations_in_float64(setting):
    assert error(setting, (2,), jnp.float64) < 1e-12


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("batch", [(), (2, 3)])
def test_takes_any_number_of_batch_axes(batch):
    assert error(SETTINGS["2 axes, valid"], batch, jnp.float64) < 1e-12


@EACH
def test_is_the_equations_in_float32(setting):
    assert error(setting, (), F32) < 2e-6


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_agrees_with_flax_linen(axes):
    cell = ConvLSTM((4,) * axes + (3,), 2, 3, dtype=jnp.float64)
    params, state, x = draw(cell, (2,), jnp.float64)

    def their_order(leaf):
        i, f, g, o = jnp.split(leaf, 4, axis=-1)
        return jnp.concatenate([i, g, f, o], axis=-1)

    kernel, recurrent, bias = map(their_order, params[:3])
    bias = bias.at[4:6].add(-1.0)  # flax adds 1 to the forget gate at the call
    flax_params = {
        "ih": {"kernel": kernel, "bias": bias},
        "hh": {"kernel": recurrent, "bias": jnp.zeros_like(bias)},
    }
    module = nn.ConvLSTMCell(2, (3,) * axes, param_dtype=jnp.float64)
    (c, h), out = jax.jit(module.apply)({"params": flax_params}, (state.c, state.h), x)
    new = jax.jit(cell.step)(params, state, x)
    assert max(map(reference.relative_error, new, (h, c))) < 1e-12
    assert jnp.array_equal(out, h)


def test_a_window_of_one_place_is_the_lstm_at_every_place():
    cell = ConvLSTM((5, 4, 3), 2, 1)
    params, state, x = draw(cell, (2,), F32)
    lstm = LSTMParams(params.kernel[0, 0], params.recurrent_kernel[0, 0], params.bias)
    new, expected = jax.jit(cell.step)(params, state, x), LSTM(3, 2).step(lstm, state, x)
    for got, want in zip(new, expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_gates_make_the_step():
    cell = make(SETTINGS["2 axes"])
    params, state, x = draw(cell, (2,), F32)
    i, f, g, o = map(np.array, jax.jit(cell.gates)(params, state, x))
    new, drop = (
        jax.jit(cell.step)(params, state, x),
        partial(cell.step, on_candidate=jnp.zeros_like),
    )
    dropped = jax.jit(drop)(params, state, x)
    np.testing.assert_allclose(new.c, f * state.c + i * g, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(new.h, o * jnp.tanh(new.c), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(dropped.c, f * state.c, rtol=1e-5, atol=1e-6)
    assert not jnp.allclose(dropped.h, o * jnp.tanh(dropped.c))  # o looks at the c without g


def test_runs_in_a_scan_with_gradients_for_every_parameter():
    cell = make(SETTINGS["2 axes, valid"], BF16)
    params, state, x = draw(cell, (2,), F32)
    params = jax.tree.map(lambda a: a.astype(BF16), params)
    state = jax.tree.map(lambda a, b: a.astype(b.dtype), state, cell.initial_state((2,)))

    def loss(params):
        def body(state, x):
            state = cell.step(params, state, x)
            return state, state.h

        return jax.lax.scan(body, state, jnp.stack([x] * 3))[1].astype(F32).sum()

    grads = jax.jit(jax.grad(loss))(params)
    assert [leaf.dtype for leaf in grads] == [BF16] * 4
    assert all(jnp.isfinite(leaf).all() and leaf.any() for leaf in grads)


@pytest.mark.parametrize(
    ("p", "h", "c"), [(F32, F32, F32), (BF16, BF16, F32), (F16, F32, BF16), (F16, F16, F16)]
)
def test_a_step_keeps_the_dtypes_of_the_state(p, h, c):
    cell = make(SETTINGS["2 axes"], p)
    params = jax.eval_shape(cell.init, jax.random.key(0))
    assert {leaf.dtype for leaf in params} == {jnp.dtype(p)}
    assert [leaf.dtype for leaf in cell.initial_state()] == [p, F32]
    shape = (*cell.grid, 2)
    state = LSTMState(jax.ShapeDtypeStruct(shape, h), jax.ShapeDtypeStruct(shape, c))
    new = jax.eval_shape(cell.step, params, state, jax.ShapeDtypeStruct(cell.input_shape, F32))
    assert (new.h.dtype, new.c.dtype) == (h, c)


def test_bfloat16_products_accumulate_in_float32():
    setting = SETTINGS["2 axes"]
    cell = make(setting, BF16, channels=16)
    params, state, x = draw(cell, (), BF16)
    state = LSTMState(state.h, state.c.astype(F32))
    new = jax.jit(cell.step)(params, state, x)
    h, c = by_equations(setting, *jax.tree.map(reference.wide, (params, *state, x)))
    assert reference.relative_error(new.c, c) < 5e-6
    assert reference.relative_error(new.h, h) < 2**-8  # h is rounded once, on its way out


@pytest.mark.slow
def test_starts_with_a_recurrent_convolution_that_keeps_the_norm():
    cell = ConvLSTM((6, 5, 3), 4, (4, 3), peephole=True)
    params = jax.jit(cell.init)(jax.random.key(0))
    assert jax.tree.map(jnp.shape, params) == ConvLSTMParams(
        (4, 3, 3, 16), (4, 3, 4, 16), (16,), (6, 5, 12)
    )
    assert params.bias.tolist() == [0] * 4 + [1] * 4 + [0] * 8
    assert not params.peephole.any()
    assert ConvLSTM((6, 5, 3), 4, 3).init(jax.random.key(0)).peephole is None
    h = np.random.default_rng(0).standard_normal((6, 5, 4))
    convolved = convolve(h, np.array(params.recurrent_kernel), 1, "SAME")
    for block in np.split(convolved, 4, axis=-1):
        np.testing.assert_allclose(
            np.linalg.norm(block, axis=-1), np.linalg.norm(h, axis=-1), rtol=1e-5
        )
    with pytest.raises(ValueError, match=r"orthogonal_per_gate: shape must be \(H, k \* H\)"):
        delta_orthogonal_per_gate(jax.random.key(0), (3, 4, 6))


def test_the_state_lives_on_the_grid_of_the_strided_convolution():
    cell = ConvLSTM((9, 8, 3), 2, 3, strides=2)
    assert cell.grid == (5, 4)
    assert jax.tree.map(jnp.shape, cell.initial_state((6,))) == LSTMState(
        (6, 5, 4, 2), (6, 5, 4, 2)
    )
    assert cell.batch_shape(jnp.zeros((6, 7, 9, 8, 3))) == (6, 7)
    assert cell.batch_shape(jax.ShapeDtypeStruct((9, 8, 3), F32)) == ()


def test_the_dilated_window_must_fit():
    assert ConvLSTM((9, 8, 3), 2, 3, padding="VALID", kernel_dilation=(4, 2)).grid == (1, 4)
    with pytest.raises(ValueError, match=r"kernel_size must fit .* kernel_dilation 5, .*'VALID'"):
        ConvLSTM((9, 8, 3), 2, 3, padding="VALID", kernel_dilation=5)
    with pytest.raises(ValueError, match=r"^ConvLSTM: kernel_dilation must be at least 1; got 0"):
        ConvLSTM((9, 8, 3), 2, 3, kernel_dilation=0)
    assert ConvLSTM((9, 8, 3), 2, 3, kernel_dilation=(2, 2)) == ConvLSTM(
        (9, 8, 3), 2, 3, kernel_dilation=2
    )


def test_a_cell_is_a_value():
    cell = ConvLSTM((8, 8, 3), 4, 3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        cell.hidden_size = 6
    spelled = ConvLSTM([8, 8, 3], 4, (3, 3), [1, 1], "SAME", (3, 3), dtype="float32")
    assert cell == spelled
    assert hash(cell) == hash(spelled)
    assert cell != ConvLSTM((8, 8, 3), 4, 3, peephole=True)
    assert repr(cell) == "ConvLSTM(input_shape=(8, 8, 3), hidden_size=4, kernel_size=3)"
    padded = ConvLSTM((8, 8, 3), 4, (3, 2), padding=[[1, 1], [0, 1]], dtype=BF16)
    written = (
        "ConvLSTM(input_shape=(8, 8, 3), hidden_size=4, kernel_size=(3, 2),"
        " padding=((1, 1), (0, 1)), dtype='bfloat16')"
    )
    assert repr(padded) == written
    assert eval(written) == padded
    assert dataclasses.replace(padded, strides=2).grid == (4, 4)


def test_is_a_static_argument_of_jit():
    @partial(jax.jit, static_argnums=0)
    def step(cell, *at):
        return cell.step(*at)

    cell = make(SETTINGS["1 axis"])
    problem = draw(cell, (2,), F32)
    for a, b in zip(step(cell, *problem), cell.step(*problem), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"input_shape": 8}, TypeError, r"input_shape must be a tuple of integers; got 8"),
        ({"input_shape": (3,)}, ValueError, r"input_shape must be one to three .*got \(3,\)"),
        ({"input_shape": (2, 2, 2, 2, 3)}, ValueError, r"input_shape must be one to three"),
        ({"input_shape": (8, 0, 3)}, ValueError, r"input_shape must be at least 1; got 0"),
        ({"hidden_size": 0}, ValueError, r"hidden_size must be at least 1; got 0"),
        ({"kernel_size": 3.0}, TypeError, r"kernel_size must be an integer; got 3.0"),
        ({"kernel_size": (3,)}, ValueError, r"kernel_size must .* 2 spatial axes; got \(3,\)"),
        ({"strides": 0}, ValueError, r"strides must be at least 1; got 0"),
        ({"recurrent_kernel_size": (1, 2, 3)}, ValueError, r"recurrent_kernel_size must have"),
        ({"padding": "same"}, ValueError, r"padding must be 'SAME', 'VALID' .*got 'same'"),
        ({"padding": ((1, 1),)}, ValueError, r"padding must be .* 2 spatial axes; got \(\(1, 1"),
        ({"padding": 1}, ValueError, r"padding must be .*got 1"),
        ({"padding": "VALID", "kernel_size": 9}, ValueError, r"kernel_size must fit into the in"),
        ({"dtype": "int32"}, TypeError, r"must be a floating-point dtype; got int32"),
    ],
)
def test_wrong_settings_are_named(change, kind, message):
    settings = {"input_shape": (8, 8, 3), "hidden_size": 4, "kernel_size": 3} | change
    with pytest.raises(kind, match=message):
        ConvLSTM(**settings)


@pytest.mark.parametrize("method", ["step", "gates"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": (6, 3)}, r"x must have shape \[..., \*input_shape\] .*\(6, 5, 3\); got \(6, 3\)"),
        ({"x": (6, 5, 2)}, r"x must have shape .*got \(6, 5, 2\)"),
        ({"h": (6, 5, 2)}, r"h must have shape \(3, 3, 2\), .* and \[\*grid, H\]; got \(6, 5, 2\)"),
        ({"x": (4, 6, 5, 3)}, r"h must have shape \(4, 3, 3, 2\), .*got \(3, 3, 2\)"),
        ({"c": (1, 3, 3, 2)}, r"c must have shape \(3, 3, 2\), .*got \(1, 3, 3, 2\)"),
        ({"kernel": (3, 3, 8)}, r"params.kernel must have shape \[\*\(3, 3\), I, 4H\] with I = 3"),
        ({"recurrent_kernel": (3, 3, 2, 4)}, r"params.recurrent_kernel must .*\(3, 3\), H, 4H\]"),
        ({"bias": (4,)}, r"params.bias must have shape \[4H\] with I = 3, H = 2; got \(4,\)"),
        ({"peephole": (6,)}, r"params.peephole must have shape \[\*\(3, 3\), 3H\] .*got \(6,\)"),
        ({"peephole": None}, r"params.peephole must be an array with peephole=True; got NoneType"),
    ],
)
def test_wrong_shapes_are_named(change, message, method):
    shapes = {"kernel": (3, 3, 3, 8), "recurrent_kernel": (3, 3, 2, 8), "bias": (8,)}
    shapes |= {"peephole": (3, 3, 6), "h": (3, 3, 2), "c": (3, 3, 2), "x": (6, 5, 3)} | change
    *params, h, c, x = (s if s is None else np.zeros(s, "float32") for s in shapes.values())
    cell = ConvLSTM((6, 5, 3), 2, 3, strides=2, peephole=True)
    with pytest.raises(ValueError, match=rf"^ConvLSTM\.{method}: {message}"):
        getattr(cell, method)(ConvLSTMParams(*params), (h, c), x)


def test_a_state_that_is_no_pair_is_named():
    cell = make(SETTINGS["1 axis"])
    message = r"^ConvLSTM\.step: state must be a tuple \(h, c\); got an array of shape \(2, 7, 2\)"
    with pytest.raises(TypeError, match=message):
        cell.step(
            jax.eval_shape(cell.init, jax.random.key(0)), np.zeros((2, 7, 2)), np.zeros((7, 3))
        )
