import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_jax import Policy, unroll
from lstm_jax.cells.mlstm import MLSTM, MLSTMParams, MLSTMState
from tests.helpers import reference
from tests.helpers.toys import slow_case

F16, BF16, F32 = jnp.float16, jnp.bfloat16, jnp.float32
FORGET_GATES = pytest.mark.parametrize("forget_gate", ["sigmoid", "exp"])
IN, H = 4, 6


def sizes(heads, K):
    return heads, H // heads, K


def draw(heads, K, batch, dtype, T=1):
    N, V, K = sizes(heads, K)
    normal = np.random.default_rng(0).standard_normal
    width = 2 * N * K + 2 * H
    params = normal((IN, width)), normal((IN, 2 * N)), normal(width), normal(2 * N)
    state = normal((*batch, H)), normal((*batch, N, V, K)), normal((*batch, N, K))
    problem = MLSTMParams(*params), MLSTMState(*state, normal((*batch, N))), normal((T, *batch, IN))
    return jax.tree.map(lambda a: jnp.asarray(a, dtype), problem)


def equations(heads, key_dim, forget_gate, params, C, n, x):
    """One step of the paper for one row, without a stabiliser, one head after the other."""
    N, V, K = sizes(heads, key_dim)
    W, W_if, b, b_if = params
    parts = np.cumsum([N * K, N * K, H])
    (W_q, W_k, W_v, W_o), (b_q, b_k, b_v, b_o) = np.split(W, parts, axis=1), np.split(b, parts)
    o = reference.sigmoid(x @ W_o + b_o)
    h, C_new, n_new = [], [], []
    for a in range(N):
        keys, values = slice(a * K, (a + 1) * K), slice(a * V, (a + 1) * V)
        q = x @ W_q[:, keys] + b_q[keys]
        k = x @ W_k[:, keys] / np.sqrt(K) + b_k[keys]
        v = x @ W_v[:, values] + b_v[values]
        i = np.exp(x @ W_if[:, a] + b_if[a])
        z_f = x @ W_if[:, N + a] + b_if[N + a]
        f = np.exp(z_f) if forget_gate == "exp" else reference.sigmoid(z_f)
        C_new.append(f * C[a] + i * np.outer(v, k))
        n_new.append(f * n[a] + i * k)
        weight = n_new[-1] @ q
        weight = weight * np.sign(weight.real)  # |.|, that is analytic
        h.append(C_new[-1] @ q / (weight if weight.real > 1 else 1.0))
    return o * np.concatenate(h), np.stack(C_new), np.stack(n_new)


def by_equations(options, params, state, xs):
    """Every h, and the last C and n, from a state whose C and n are divided by exp(m)."""
    _, C, n, m = state
    batch = xs.shape[1:-1]
    C, n = C * np.exp(m)[..., None, None], n * np.exp(m)[..., None]
    hs = np.zeros((*xs.shape[:-1], H), np.result_type(*params, C, n, xs))
    C, n = C.astype(hs.dtype), n.astype(hs.dtype)
    for row in np.ndindex(batch):
        for t, x in enumerate(xs):
            hs[(t, *row)], C[row], n[row] = equations(*options, params, C[row], n[row], x[row])
    return hs, C, n


def wide(tree):
    return jax.tree.map(reference.wide, tree)


def cell_of(options, dtype):
    heads, K, forget_gate = options
    return MLSTM(IN, H, heads, forget_gate, K, dtype=dtype)


def error(options, params, state, xs):
    final, outputs = unroll(cell_of(options, params.kernel.dtype), params, xs, state)
    scale = np.exp(reference.wide(final.m))
    got = outputs, final.C * scale[..., None, None], final.n * scale[..., None]
    expected = by_equations(options, *wide((params, state, xs)))
    return max(map(reference.relative_error, got, expected))


@pytest.mark.usefixtures("x64")
@FORGET_GATES
@pytest.mark.parametrize(("heads", "K", "batch"), [(1, 6, ()), (2, 5, (4,)), (3, 2, (2, 3))])
def test_is_the_equations_in_float64(heads, K, batch, forget_gate):
    params, state, xs = draw(heads, K, batch, jnp.float64, T=5)
    assert error((heads, K, forget_gate), params, state, xs) < 1e-12


@FORGET_GATES
def test_is_the_equations_in_float32(forget_gate):
    params, state, xs = draw(2, 5, (2, 3), F32)
    with jax.default_matmul_precision("highest"):  # a GPU would otherwise round the products
        assert error((2, 5, forget_gate), params, state, xs) < 3e-6


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("start", "forget_gate"), [("zeros", "exp"), ("anywhere", "sigmoid")])
def test_gradients_are_those_of_the_equations(start, forget_gate):
    options = 2, 2, forget_gate
    params, state, xs = draw(2, 2, (), jnp.float64, T=4)
    cell = cell_of(options, jnp.float64)
    if start == "zeros":
        state = cell.initial_state()
    weights = np.random.default_rng(1).standard_normal((4, H))
    leaves = jax.tree.leaves((params, state, xs))

    def loss(*leaves):
        params, state, xs = MLSTMParams(*leaves[:4]), MLSTMState(*leaves[4:8]), leaves[8]
        return jnp.sum(weights * unroll(cell, params, xs, state)[1])

    def expected(*leaves):
        return np.sum(weights * by_equations(options, leaves[:4], leaves[4:8], leaves[8])[0])

    got = jax.jit(jax.grad(loss, tuple(range(9))))(*leaves)
    for a, b in zip(got, reference.gradient(expected, tuple(leaves)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def extreme(dtype):
    """Runs of three steps with log i and the forget gate's pre-activation at +-200."""
    signs = np.array(list(itertools.product([-1.0, 1.0], repeat=6)))[::3]
    rows = signs.reshape(-1, 3, 2).swapaxes(0, 1)
    more = np.random.default_rng(2).standard_normal((3, len(signs), 2))
    params, _, _ = draw(2, 2, (), dtype)
    gate_kernel = np.zeros((IN, 4))
    gate_kernel[0, :2], gate_kernel[1, 2:] = 200, 200
    params = params._replace(gate_kernel=gate_kernel, gate_bias=np.zeros(4))
    problem = params, np.concatenate([rows, more], -1)
    return jax.tree.map(lambda a: jnp.asarray(a, dtype), problem)


@pytest.mark.parametrize(
    ("dtype", "tolerance", "forget_gate"),
    [
        slow_case("float32", 1e-4, "sigmoid"),
        slow_case("float32", 1e-4, "exp"),
        ("float64", 1e-11, "exp"),
    ],
)
def test_extreme_gates_give_the_right_values_and_gradients(dtype, tolerance, forget_gate):
    options = 2, 2, forget_gate
    with jax.enable_x64(dtype == "float64"):
        params, xs = extreme(dtype)
        cell = cell_of(options, dtype)
        zeros = wide(cell.initial_state(xs.shape[1:-1]))

        def loss(params, xs):
            _, hs = unroll(cell, params, xs)
            return hs.sum(), hs

        def expected(*leaves):
            return by_equations(options, leaves[:4], zeros, leaves[4])[0]

        leaves = wide((*params, xs))
        (grads, by_x), hs = jax.jit(jax.grad(loss, (0, 1), has_aux=True))(params, xs)
        assert reference.relative_error(hs, expected(*leaves)) < tolerance
        # Along a few directions: there are hundreds of coordinates.
        normal = np.random.default_rng(3).standard_normal
        for _ in range(5):
            along = tuple(normal(leaf.shape) for leaf in leaves)
            want = reference.derivative(lambda *at: expected(*at).sum(), leaves, along)
            products = [np.sum(wide(g) * v) for g, v in zip((*grads, by_x), along, strict=True)]
            scale = sum(map(abs, products))
            assert abs(sum(products) - want) < 10 * tolerance * scale
    assert all(np.isfinite(leaf).all() for leaf in (*grads, by_x))


def test_a_query_of_zero_reads_zero():
    # exp(-200) is 0 in float32, and so is the weight of a query of zero.
    cell = MLSTM(IN, H, 2)
    _, state, xs = draw(2, 3, (), F32)
    params = jax.tree.map(jnp.zeros_like, cell.init(jax.random.key(0)))
    read = jax.jit(jax.value_and_grad(lambda p: cell.step(p, state, 0 * xs[0]).h.sum()))
    for m in (-200.0, 0.0, 200.0):
        h, grads = read(params._replace(gate_bias=np.full(4, m, "float32")))
        assert h == 0.0
        assert all(np.isfinite(leaf).all() for leaf in grads)


@pytest.mark.parametrize(
    ("dtype", "memory", "forget_gate", "scale"),
    [(F32, F32, "exp", 1e8), slow_case(BF16, BF16, "sigmoid", 1e4)],
)
def test_nothing_overflows_in_any_dtype(dtype, memory, forget_gate, scale):
    params, _, xs = draw(2, 3, (16,), dtype, T=60)
    cell = MLSTM(IN, H, 2, forget_gate, dtype=Policy(dtype, cell_state=memory))

    def loss(params, xs):
        return unroll(cell, params, xs)[1].astype(F32).mean()

    value, grads = jax.jit(jax.value_and_grad(loss, (0, 1)))(params, xs * jnp.asarray(scale, dtype))
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves((value, grads)))


@FORGET_GATES
def test_resetting_one_row_resets_that_row_alone(forget_gate):
    params, state, xs = draw(2, 3, (3,), F32, T=2)
    params = params._replace(gate_bias=params.gate_bias.at[:2].add(-20.0))
    cell = MLSTM(IN, H, 2, forget_gate)
    state, _ = unroll(cell, params, xs, state)
    fresh = cell.initial_state()
    reset = jax.tree.map(lambda a, b: a.at[1].set(b), state, fresh)
    step, x = jax.jit(cell.step), xs[0]
    new, kept, alone = step(params, reset, x), step(params, state, x), step(params, fresh, x[1])
    for got, one, other in zip(new, alone, kept, strict=True):
        np.testing.assert_allclose(got[1], one, rtol=1e-5)
        assert jnp.array_equal(got[jnp.array([0, 2])], other[jnp.array([0, 2])])


def test_remembers_pairs_and_gives_a_value_for_its_key():
    # Values and keys as one-hots: after five pairs, each query finds its own value.
    n = 5
    cell = MLSTM(2 * n, n, key_dim=n, forget_gate="exp", dtype=F32)
    params = jax.tree.map(jnp.zeros_like, cell.init(jax.random.key(0)))
    eye, W = np.eye(n), np.zeros((2 * n, 4 * n))
    W[:n, :n], W[:n, n : 2 * n], W[n:, 2 * n : 3 * n] = eye, eye * np.sqrt(n), eye
    bias = params.bias.at[3 * n :].set(100.0)  # o = 1
    params = params._replace(kernel=jnp.asarray(W, F32), bias=bias)
    order = np.array([3, 1, 4, 0, 2])
    pairs = jnp.asarray(np.concatenate([eye, eye[order]], -1), F32)
    state, _ = unroll(cell, params, pairs)
    gates, step = jax.jit(cell.gates), jax.jit(cell.step)
    for key in range(n):
        i, f, *_ = gates(params, state, pairs[key])
        assert (i, f) == (1, 1)
        # The step writes as well, so ask with a value of zero: n counts the key a second time.
        asked = step(params, state, pairs[key].at[n:].set(0.0))
        np.testing.assert_allclose(asked.h, eye[order[key]] / 2, atol=1e-6)


def test_gates_make_the_step():
    params, state, xs = draw(2, 3, (3,), F32)
    cell = MLSTM(IN, H, 2)
    i, f, o, q, k, v = map(np.array, jax.jit(cell.gates)(params, state, xs[0]))
    state, new = jax.tree.map(np.array, (state, jax.jit(cell.step)(params, state, xs[0])))
    C = f[..., None, None] * state.C + i[..., None, None] * np.einsum("bnv,bnk->bnvk", v, k)
    np.testing.assert_allclose(new.C, C, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(new.n, f[..., None] * state.n + i[..., None] * k, 1e-5, 1e-6)
    assert (o.shape, q.shape) == ((3, H), (3, 2, 3))


@pytest.mark.parametrize(
    ("p", "h", "memory"),
    [(F32, F32, F32), (BF16, BF16, F32), (F16, F32, BF16), (F32, BF16, F16), (F16, F16, F16)],
)
def test_a_step_keeps_the_dtypes_of_the_state(p, h, memory):
    cell = MLSTM(IN, H, 2, dtype=p)
    params = jax.eval_shape(cell.init, jax.random.key(0))
    assert {leaf.dtype for leaf in params} == {jnp.dtype(p)}
    state = jax.eval_shape(cell.initial_state)
    assert [leaf.dtype for leaf in state] == [p, F32, F32, F32]
    kinds = h, memory, memory, memory
    state = MLSTMState(
        *(jax.ShapeDtypeStruct(leaf.shape, d) for leaf, d in zip(state, kinds, strict=True))
    )
    new = jax.eval_shape(cell.step, params, state, jax.ShapeDtypeStruct((IN,), F32))
    assert tuple(leaf.dtype for leaf in new) == kinds


@pytest.mark.usefixtures("x64")
def test_a_float64_cell_is_float64_throughout():
    cell = MLSTM(IN, H, 2, dtype=jnp.float64)
    params = jax.eval_shape(cell.init, jax.random.key(0))
    new = jax.eval_shape(cell.step, params, cell.initial_state(), jnp.ones(IN))
    assert {leaf.dtype for leaf in (*params, *new)} == {jnp.dtype("float64")}


def test_bfloat16_products_accumulate_in_float32():
    params, state, xs = draw(2, 3, (4,), BF16)
    state = MLSTMState(state.h, *(leaf.astype(F32) for leaf in state[1:]))
    new = jax.jit(MLSTM(IN, H, 2, dtype=BF16).step)(params, state, xs[0])
    hs, C, n = by_equations((2, 3, "sigmoid"), *wide((params, state, xs)))
    scale = np.exp(reference.wide(new.m))
    assert reference.relative_error(new.C * scale[..., None, None], C) < 5e-6
    assert reference.relative_error(new.n * scale[..., None], n) < 5e-6
    assert reference.relative_error(new.h, hs[0]) < 2**-8  # h is rounded once, on its way out


def test_starts_with_open_forget_gates_that_do_not_see_the_input():
    params = MLSTM(IN, 8, 4, key_dim=3).init(jax.random.key(0))
    assert jax.tree.map(jnp.shape, params) == MLSTMParams((IN, 40), (IN, 8), (40,), (8,))
    assert not params.gate_kernel.any()
    assert params.gate_bias.tolist() == [0, 0, 0, 0, 3, 4, 5, 6]
    exp = MLSTM(IN, 8, 4, "exp")
    assert not exp.init(jax.random.key(0)).gate_bias.any()
    state = exp.initial_state((2, 3))
    assert jax.tree.map(jnp.shape, state) == MLSTMState(
        (2, 3, 8), (2, 3, 4, 2, 2), (2, 3, 4, 2), (2, 3, 4)
    )
    assert not any(leaf.any() for leaf in state)


def test_a_cell_is_a_value():
    cell = MLSTM(3, 8, 2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        cell.hidden_size = 6
    assert cell == MLSTM(input_size=3, hidden_size=8, num_heads=2, key_dim=4, dtype="float32")
    assert hash(cell) == hash(MLSTM(3, 8, 2))
    assert cell != MLSTM(3, 8, 2, key_dim=8)
    assert repr(cell) == "MLSTM(input_size=3, hidden_size=8, num_heads=2)"


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"input_size": 0}, ValueError, "input_size must be at least 1; got 0"),
        ({"hidden_size": 2.0}, TypeError, "hidden_size must be an integer; got 2.0"),
        ({"num_heads": 4}, ValueError, "num_heads must divide hidden_size = 6; got 4"),
        ({"key_dim": 0}, ValueError, "key_dim must be at least 1; got 0"),
        ({"forget_gate": "relu"}, ValueError, "forget_gate must be 'sigmoid' or 'exp'; got 'relu'"),
    ],
)
def test_wrong_settings_are_named(change, kind, message):
    with pytest.raises(kind, match=f"^MLSTM: {message}"):
        MLSTM(**({"input_size": 3, "hidden_size": 6} | change))


@pytest.mark.parametrize("method", ["step", "gates"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": (3,)}, r"x must have shape \[..., I\] with I = 4 .*got \(3,\)"),
        ({"h": (3,)}, r"h must have shape \[..., H\] with H = 6 .*got \(3,\)"),
        ({"x": (2, 4)}, r"h must have shape \(2, 6\), the batch axes of x and H; got \(6,\)"),
        ({"C": (2, 2, 3)}, r"C must have shape \(2, 3, 2\), .* and \[N, V, K\]; got \(2, 2, 3\)"),
        ({"n": (1, 2, 2)}, r"n must have shape \(2, 2\), .* and \[N, K\]; got \(1, 2, 2\)"),
        ({"m": ()}, r"m must have shape \(2,\), the batch axes of x and \[N\]; got \(\)"),
        ({"kernel": (4, 24)}, r"params.kernel must have shape \[I, 2NK \+ 2H\] with I = 4, H = 6"),
        ({"gate_bias": (2,)}, r"params.gate_bias must have shape \[2N\] .*N = 2, K = 2; got"),
    ],
)
def test_wrong_shapes_are_named(change, message, method):
    shapes = {"kernel": (4, 20), "gate_kernel": (4, 4), "bias": (20,), "gate_bias": (4,)}
    shapes |= {"h": (6,), "C": (2, 3, 2), "n": (2, 2), "m": (2,), "x": (4,)} | change
    *params, h, C, n, m, x = (np.zeros(shape, "float32") for shape in shapes.values())
    with pytest.raises(ValueError, match=rf"^MLSTM\.{method}: {message}"):
        getattr(MLSTM(4, 6, 2, key_dim=2), method)(MLSTMParams(*params), (h, C, n, m), x)


def test_a_state_that_is_no_tuple_of_four_is_named():
    cell = MLSTM(3, 4)
    message = r"^MLSTM\.step: state must be a tuple \(h, C, n, m\); got a tuple of 2"
    with pytest.raises(TypeError, match=message):
        cell.step(jax.eval_shape(cell.init, jax.random.key(0)), (0, 0), np.zeros(3))
