import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_jax import Policy, unroll
from lstm_jax.cells.exponential import ForgetBiasRange
from lstm_jax.cells.slstm import SLSTM, SLSTMParams, SLSTMState
from tests.helpers import reference
from tests.helpers.toys import slow_case

F16, BF16, F32 = jnp.float16, jnp.bfloat16, jnp.float32
FORGET_GATES = pytest.mark.parametrize("forget_gate", ["sigmoid", "exp"])
IN, H = 3, 4


def draw(heads, batch, dtype, T=1):
    normal = np.random.default_rng(0).standard_normal
    D = H // heads
    params = SLSTMParams(normal((IN, 4 * H)), normal((heads, D, 4 * D)), normal(4 * H))
    h, c, m = (normal((*batch, H)) for _ in range(3))
    state = SLSTMState(np.tanh(h), c, np.exp(normal((*batch, H))), m)
    problem = params, state, normal((T, *batch, IN))
    return jax.tree.map(lambda a: jnp.asarray(a, dtype), problem)


def equations(forget_gate, params, h, c, n, x):
    """One step of the paper, without a stabiliser, one head and one gate after the other."""
    W, R, b = params
    heads, D, _ = R.shape
    z = {}
    for k, gate in enumerate("ifzo"):
        of_heads = [
            h[..., a * D : (a + 1) * D] @ R[a][:, k * D : (k + 1) * D] for a in range(heads)
        ]
        block = slice(k * H, (k + 1) * H)
        z[gate] = x @ W[:, block] + np.concatenate(of_heads, -1) + b[block]
    i = np.exp(z["i"])
    f = np.exp(z["f"]) if forget_gate == "exp" else reference.sigmoid(z["f"])
    c = f * c + i * np.tanh(z["z"])
    n = f * n + i
    return reference.sigmoid(z["o"]) * c / n, c, n


def by_equations(forget_gate, params, state, xs):
    """Every h, and the last c and n, from a state whose c and n are divided by exp(m)."""
    h, c, n, m = state
    c, n = c * np.exp(m), n * np.exp(m)
    hs = []
    for x in xs:
        h, c, n = equations(forget_gate, params, h, c, n, x)
        hs.append(h)
    return np.stack(hs), c, n


def wide(tree):
    return jax.tree.map(reference.wide, tree)


def error(forget_gate, params, state, xs):
    cell = SLSTM(IN, H, params.recurrent_kernel.shape[0], forget_gate, dtype=params.kernel.dtype)
    final, outputs = unroll(cell, params, xs, state)
    scale = np.exp(reference.wide(final.m))
    got = outputs, reference.wide(final.c) * scale, reference.wide(final.n) * scale
    expected = by_equations(forget_gate, *wide((params, state, xs)))
    return max(map(reference.relative_error, got, expected))


@pytest.mark.usefixtures("x64")
@FORGET_GATES
@pytest.mark.parametrize(("heads", "batch"), [(1, ()), (4, (4,)), (2, (2, 3))])
def test_is_the_equations_in_float64(heads, batch, forget_gate):
    params, state, xs = draw(heads, batch, jnp.float64, T=5)
    assert error(forget_gate, params, state, xs) < 1e-12


@FORGET_GATES
def test_is_the_equations_in_float32(forget_gate):
    params, state, xs = draw(2, (2, 3), F32)
    with jax.default_matmul_precision("highest"):  # a GPU would otherwise round the products
        assert error(forget_gate, params, state, xs) < 2e-6


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("start", "forget_gate"), [("zeros", "exp"), ("anywhere", "sigmoid")])
def test_gradients_are_those_of_the_equations(start, forget_gate):
    params, state, xs = draw(2, (), jnp.float64, T=4)
    cell = SLSTM(IN, H, 2, forget_gate, dtype=jnp.float64)
    if start == "zeros":
        state = cell.initial_state()
    weights = np.random.default_rng(1).standard_normal((4, H))
    leaves = jax.tree.leaves((params, state, xs))

    def loss(*leaves):
        params, state, xs = SLSTMParams(*leaves[:3]), SLSTMState(*leaves[3:7]), leaves[7]
        return jnp.sum(weights * unroll(cell, params, xs, state)[1])

    def expected(*leaves):
        hs, _, _ = by_equations(forget_gate, leaves[:3], leaves[3:7], leaves[7])
        return np.sum(weights * hs)

    got = jax.jit(jax.grad(loss, tuple(range(8))))(*leaves)
    for a, b in zip(got, reference.gradient(expected, tuple(leaves)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def extreme(dtype):
    """Every run of three steps with log i and the forget gate's pre-activation at +-200."""
    signs = list(itertools.product([-1.0, 1.0], repeat=6))
    rows = np.array(signs).reshape(len(signs), 3, 2).swapaxes(0, 1)
    more = np.random.default_rng(2).standard_normal((3, len(signs), 1))
    params, _, _ = draw(2, (), dtype)
    W, R, b = map(np.array, params)
    W[:, : 2 * H], b[: 2 * H] = 0, 0
    W[0, :H], W[1, H : 2 * H] = 200, 200
    R = R.reshape(2, 2, 4, 2)
    R[:, :, :2] = 0
    R = R.reshape(2, 2, 8)
    xs = np.concatenate([rows, more], -1)
    return jax.tree.map(lambda a: jnp.asarray(a, dtype), (SLSTMParams(W, R, b), xs))


@pytest.mark.parametrize(
    ("dtype", "tolerance", "forget_gate"),
    [
        slow_case("float32", 1e-4, "sigmoid"),
        slow_case("float32", 1e-4, "exp"),
        ("float64", 1e-11, "exp"),
    ],
)
def test_extreme_gates_give_the_right_values_and_gradients(dtype, tolerance, forget_gate):
    with jax.enable_x64(dtype == "float64"):
        params, xs = extreme(dtype)
        cell = SLSTM(IN, H, 2, forget_gate, dtype=dtype)

        def loss(params, xs):
            _, hs = unroll(cell, params, xs)
            return hs.sum(), hs

        zeros = wide(cell.initial_state(xs.shape[1:-1]))

        def expected(W, R, b, xs):
            return by_equations(forget_gate, (W, R, b), zeros, xs)[0]

        leaves = wide((*params, xs))
        grads, hs = jax.jit(jax.grad(loss, (0, 1), has_aux=True))(params, xs)
        assert reference.relative_error(hs, expected(*leaves)) < tolerance
        by_step = reference.gradient(lambda *leaves: expected(*leaves).sum(), leaves)
    for got, want in zip((*grads[0], grads[1]), by_step, strict=True):
        assert np.isfinite(got).all()
        assert reference.relative_error(got, want) < 10 * tolerance


@pytest.mark.parametrize(
    ("dtype", "memory", "forget_gate", "scale"),
    [(F32, F32, "exp", 1e30), slow_case(BF16, BF16, "sigmoid", 1e4)],
)
def test_nothing_overflows_in_any_dtype(dtype, memory, forget_gate, scale):
    params, _, xs = draw(2, (16,), dtype, T=60)
    cell = SLSTM(IN, H, 2, forget_gate, dtype=Policy(dtype, cell_state=memory))

    def loss(params, xs):
        return unroll(cell, params, xs)[1].sum()

    value, grads = jax.jit(jax.value_and_grad(loss, (0, 1)))(params, xs * jnp.asarray(scale, dtype))
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves((value, grads)))


@FORGET_GATES
def test_resetting_one_row_resets_that_row_alone(forget_gate):
    # A test of "all n == 0" over the batch would leave this row with exp(-200) / exp(-200) = 0/0.
    params, state, xs = draw(2, (3,), F32, T=2)
    params = params._replace(bias=params.bias.at[:H].add(-200.0))
    cell = SLSTM(IN, H, 2, forget_gate)
    state, _ = unroll(cell, params, xs, state)
    fresh = cell.initial_state()
    reset = jax.tree.map(lambda a, b: a.at[1].set(b), state, fresh)
    x = xs[0]
    step = jax.jit(cell.step)
    new, kept, alone = step(params, reset, x), step(params, state, x), step(params, fresh, x[1])
    for got, one, other in zip(new, alone, kept, strict=True):
        np.testing.assert_allclose(got[1], one, rtol=1e-6)
        assert jnp.array_equal(got[jnp.array([0, 2])], other[jnp.array([0, 2])])
    _, _, z, o = jax.jit(cell.gates)(params, reset, x)
    np.testing.assert_allclose(new.h[1], (o * z)[1], rtol=1e-6)  # the mean of one thing seen


def test_with_open_exp_gates_h_is_the_mean_of_all_candidates():
    cell = SLSTM(IN, H, forget_gate="exp", recurrent_kernel_init=jax.nn.initializers.zeros)
    params = cell.init(jax.random.key(0))
    params = params._replace(kernel=params.kernel.at[:, : 2 * H].set(0.0))
    xs = jax.random.normal(jax.random.key(1), (50, IN))
    final, _ = unroll(cell, params, xs)
    z = np.tanh(np.array(xs) @ np.array(params.kernel)[:, 2 * H : 3 * H])
    np.testing.assert_allclose(final.c / final.n, z.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(final.n, 50.0)


def test_gates_make_the_step():
    params, state, xs = draw(2, (3,), F32)
    cell = SLSTM(IN, H, 2)
    i, f, z, o = map(np.array, jax.jit(cell.gates)(params, state, xs[0]))
    state, new = jax.tree.map(np.array, (state, jax.jit(cell.step)(params, state, xs[0])))
    np.testing.assert_allclose(new.c, f * state.c + i * z, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(new.n, f * state.n + i, rtol=1e-5)
    np.testing.assert_allclose(new.h, o * new.c / new.n, rtol=1e-5, atol=1e-6)
    assert (np.maximum(i, f) == 1).all()
    assert (np.minimum(i, f) < 1).all()
    drop = jax.jit(lambda *at: cell.step(*at, on_candidate=jnp.zeros_like))
    dropped = drop(params, state, xs[0])
    np.testing.assert_allclose(dropped.c, f * state.c, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(dropped.n, new.n, rtol=1e-6)


def test_heads_do_not_see_each_other():
    params, state, xs = draw(2, (), F32)
    cell = SLSTM(IN, H, 2)
    read = lambda h: cell.step(params, state._replace(h=h), xs[0]).h  # noqa: E731
    jacobian = np.array(jax.jit(jax.jacobian(read))(state.h))
    assert not jacobian[:2, 2:].any()
    assert not jacobian[2:, :2].any()
    assert jacobian[:2, :2].all()


@pytest.mark.parametrize(
    ("p", "h", "memory"),
    [(F32, F32, F32), (BF16, BF16, F32), (F16, F32, BF16), (F32, BF16, F16), (F16, F16, F16)],
)
def test_a_step_keeps_the_dtypes_of_the_state(p, h, memory):
    cell = SLSTM(IN, H, 2, dtype=p)
    params = jax.eval_shape(cell.init, jax.random.key(0))
    assert {leaf.dtype for leaf in params} == {jnp.dtype(p)}
    assert [leaf.dtype for leaf in cell.initial_state()] == [p, F32, F32, F32]
    state = SLSTMState(*(jax.ShapeDtypeStruct((H,), d) for d in (h, memory, memory, memory)))
    new = jax.eval_shape(cell.step, params, state, jax.ShapeDtypeStruct((IN,), F32))
    assert [leaf.dtype for leaf in new] == [h, memory, memory, memory]


@pytest.mark.usefixtures("x64")
def test_a_float64_cell_is_float64_throughout():
    cell = SLSTM(IN, H, 2, dtype=jnp.float64)
    params = jax.eval_shape(cell.init, jax.random.key(0))
    new = jax.eval_shape(cell.step, params, cell.initial_state(), jnp.ones(IN))
    assert {leaf.dtype for leaf in (*params, *new)} == {jnp.dtype("float64")}


def test_bfloat16_products_accumulate_in_float32():
    params, state, xs = draw(2, (4,), BF16)
    state = SLSTMState(state.h, *(leaf.astype(F32) for leaf in state[1:]))
    new = jax.jit(SLSTM(IN, H, 2, dtype=BF16).step)(params, state, xs[0])
    hs, c, n = by_equations("sigmoid", *wide((params, state, xs)))
    scale = np.exp(reference.wide(new.m))
    assert reference.relative_error(new.c * scale, c) < 5e-6
    assert reference.relative_error(new.n * scale, n) < 5e-6
    assert reference.relative_error(new.h, hs[0]) < 2**-8  # h is rounded once, on its way out


def test_starts_orthogonal_by_head_with_an_open_forget_gate():
    params = jax.jit(SLSTM(IN, 8, 2).init)(jax.random.key(0))
    assert jax.tree.map(jnp.shape, params) == SLSTMParams((IN, 32), (2, 4, 16), (32,))
    heads = np.array(params.recurrent_kernel).reshape(2, 4, 4, 4)  # head, from, gate, to
    np.testing.assert_allclose(
        np.einsum("nagb,nagc->ngbc", heads, heads),
        np.broadcast_to(np.eye(4), (2, 4, 4, 4)),
        atol=1e-5,
    )
    assert not np.array_equal(*heads)
    i, f, z, o = np.split(np.array(params.bias), 4)
    np.testing.assert_allclose(f, np.linspace(3, 6, 8), rtol=1e-6)
    assert not np.concatenate([i, z, o]).any()
    exp = SLSTM(IN, 1, forget_gate="exp")
    assert not exp.init(jax.random.key(0)).bias.any()
    own = dataclasses.replace(exp, bias_init=jax.nn.initializers.ones)
    assert (own.init(jax.random.key(0)).bias == 1).all()


def test_the_state_starts_at_zero():
    state = SLSTM(IN, H).initial_state((2, 3))
    assert isinstance(state, SLSTMState)
    assert all(leaf.shape == (2, 3, H) and not leaf.any() for leaf in state)


@pytest.mark.parametrize("name", ["low", "high"])
def test_a_range_of_biases_is_finite(name):
    with pytest.raises(ValueError, match=f"ForgetBiasRange: {name} must be finite; got inf"):
        ForgetBiasRange(**{name: float("inf")})
    with pytest.raises(ValueError, match=r"shape must be \(4 \* H,\); got \(6,\)"):
        ForgetBiasRange()(jax.random.key(0), (6,))


def test_a_cell_is_a_value():
    cell = SLSTM(3, 8, 2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        cell.hidden_size = 6
    assert cell == SLSTM(input_size=3, hidden_size=8, num_heads=2, dtype="float32")
    assert hash(cell) == hash(SLSTM(3, 8, 2))
    assert cell != SLSTM(3, 8, 4)
    assert repr(cell) == "SLSTM(input_size=3, hidden_size=8, num_heads=2)"
    written = "SLSTM(input_size=3, hidden_size=8, forget_gate='exp')"
    assert repr(eval(written)) == written


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"input_size": 0}, ValueError, "input_size must be at least 1; got 0"),
        ({"hidden_size": 2.0}, TypeError, "hidden_size must be an integer; got 2.0"),
        ({"num_heads": 3}, ValueError, "num_heads must divide hidden_size = 4; got 3"),
        ({"num_heads": 0}, ValueError, "num_heads must be at least 1; got 0"),
        ({"forget_gate": "relu"}, ValueError, "forget_gate must be 'sigmoid' or 'exp'; got 'relu'"),
    ],
)
def test_wrong_settings_are_named(change, kind, message):
    with pytest.raises(kind, match=f"^SLSTM: {message}"):
        SLSTM(**({"input_size": 3, "hidden_size": 4} | change))


@pytest.mark.parametrize("method", ["step", "gates"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": (4,)}, r"x must have shape \[..., I\] with I = 3 .*got \(4,\)"),
        ({"h": (3,)}, r"h must have shape \[..., H\] with H = 4 .*got \(3,\)"),
        ({"m": (1, 4)}, r"m must have shape \(4,\), the batch axes of x and H; got \(1, 4\)"),
        ({"x": (2, 3)}, r"h must have shape \(2, 4\), the batch axes of x and H; got \(4,\)"),
        ({"kernel": (3, 4)}, r"params.kernel must have shape \[I, 4H\] with I = 3, H = 4"),
        ({"recurrent_kernel": (4, 16)}, r"params.recurrent_kernel must .*\[N, D, 4D\] .*N = 2"),
        ({"bias": (4,)}, r"params.bias must have shape \[4H\] .*got \(4,\)"),
    ],
)
def test_wrong_shapes_are_named(change, message, method):
    shapes = {"kernel": (3, 16), "recurrent_kernel": (2, 2, 8), "bias": (16,)}
    shapes |= dict.fromkeys("hcnm", (4,)) | {"x": (3,)} | change
    *params, h, c, n, m, x = (np.zeros(shape, "float32") for shape in shapes.values())
    with pytest.raises(ValueError, match=rf"^SLSTM\.{method}: {message}"):
        getattr(SLSTM(3, 4, 2), method)(SLSTMParams(*params), (h, c, n, m), x)


def test_a_state_that_is_no_tuple_of_four_is_named():
    cell = SLSTM(3, 4)
    message = r"^SLSTM\.step: state must be a tuple \(h, c, n, m\); got a tuple of 2"
    with pytest.raises(TypeError, match=message):
        cell.step(jax.eval_shape(cell.init, jax.random.key(0)), (0, 0), np.zeros(3))
