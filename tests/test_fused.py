"""The fused loop: any cell, the same numbers, and weights' gradients as one product each."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstm_jax as lj
from lstm_jax.kernels import primitives
from lstm_jax.kernels.parts import take_apart
from lstm_jax.kernels.vjp import vjp
from lstm_jax.testing import quick_jit
from tests.toys import assert_close, random_like, slow_case

T, B, I, H = 6, 2, 3, 4  # noqa: E741
SMALL = {"dtype": jnp.float64}
CELLS = [
    slow_case(lj.LSTM(I, H, **SMALL)),
    slow_case(lj.PeepholeLSTM(I, H, **SMALL)),
    slow_case(lj.CoupledLSTM(I, H, **SMALL)),
    slow_case(lj.ProjectedLSTM(I, H, projection_size=2, **SMALL)),
    lj.LayerNormLSTM(I, H, **SMALL),
    lj.zoneout(lj.GRU(I, H, **SMALL), h=0.3),
]


def problem(cell, seed=0):
    params = random_like(jax.eval_shape(cell.init, jax.random.key(0)), seed)
    return params, random_like(jax.ShapeDtypeStruct((T, B, I), jnp.float64), seed + 1)


def gradient(cell, implementation, **options):
    def loss(params, xs):
        out = lj.unroll(cell, params, xs, implementation=implementation, **options)
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(out))

    return jax.value_and_grad(loss, (0, 1))


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: type(cell).__name__)
@pytest.mark.parametrize(
    "options",
    [
        {"key": jax.random.key(3), "return_states": True},
        {
            "mask": np.arange(T * B).reshape(T, B) % 3 > 0,
            "reset": np.arange(T * B).reshape(T, B) % 5 == 0,
            "reverse": True,
            "padding": "hold",
            "remat": "step",
        },
    ],
    ids=["whole", "ragged"],
)
def test_it_is_the_scan(cell, options):
    with jax.enable_x64(True):
        params, xs = problem(cell)
        assert lj.explain(cell, xs, implementation="fused", **options).kernels == ("fused",)
        fused, scan = (
            quick_jit(gradient(cell, name, **options))(params, xs) for name in ("fused", "scan")
        )
        assert_close(fused, scan)


def products_in_loops(jaxpr, inside=False):
    """Shapes that products inside of loops give."""
    for eqn in jaxpr.eqns:
        if inside and eqn.primitive.name == "dot_general":
            yield eqn.outvars[0].aval.shape
        for inner in jax.tree.leaves(
            list(eqn.params.values()), is_leaf=lambda leaf: hasattr(leaf, "eqns")
        ):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from products_in_loops(inner, inside or eqn.primitive.name == "scan")


def test_no_gradient_of_a_weight_is_computed_in_the_loop():
    cell = lj.LSTM(I, H)
    params, xs = cell.init(jax.random.key(0)), jnp.ones((T, B, I))

    def backward(implementation):
        if implementation == "scan":
            return jax.make_jaxpr(gradient(cell, "scan"))(params, xs).jaxpr
        jaxpr = jax.make_jaxpr(gradient(cell, "fused"))(params, xs).jaxpr
        (eqn,) = [e for e in jaxpr.eqns if e.primitive.name == "lstm_pullback"]
        return jax.make_jaxpr(lambda *o: primitives._pull_back(*o, **eqn.params))(
            *(jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in eqn.invars)
        ).jaxpr

    weights = {(H, 4 * H), (I, 4 * H), (4 * H, H), (4 * H, I)}
    assert weights & set(products_in_loops(backward("scan")))  # the check sees them
    assert not weights & set(products_in_loops(backward("fused")))
    assert set(products_in_loops(backward("fused"))) == {(B, H)}  # dz R^T alone


def test_a_weight_that_is_used_otherwise_too_gets_its_whole_gradient():
    @dataclass(frozen=True)
    class Leaky:
        """``h_t = tanh(h_{t-1} W + x_t) + the sum of W``, whose W is no weight alone."""

        hidden_size: int = H

        def init(self, key):
            return jax.random.normal(key, (H, H))

        def initial_state(self, batch_shape=()):
            return (jnp.zeros((*batch_shape, H)),)

        def step(self, params, state, x):
            (h,) = state
            return (jnp.tanh(h @ params + x) + h * params.sum() / 10,)

    cell = Leaky()
    params, xs = cell.init(jax.random.key(0)), jax.random.normal(jax.random.key(1), (T, B, H))
    fused, scan = (gradient(cell, name)(params, xs) for name in ("fused", "scan"))
    np.testing.assert_allclose(fused[1][0], scan[1][0], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_higher_derivatives_and_forward_mode_go_by_the_scan():
    cell = lj.PeepholeLSTM(I, H, dtype=jnp.float64)
    with jax.enable_x64(True):
        params, xs = problem(cell)

        def results(name):
            def loss(bias):
                _, ys = lj.unroll(cell, params._replace(bias=bias), xs, implementation=name)
                return jnp.sum(jnp.sin(ys))

            def through(bias):
                return jnp.sum(jnp.cos(jax.grad(loss)(bias)))

            along = jax.jvp(loss, (params.bias,), (jnp.ones_like(params.bias),))
            biases = jnp.stack([params.bias, -params.bias, params.bias / 2])
            many = (
                jax.vmap(jax.grad(loss))(biases),
                jax.grad(lambda b: jax.vmap(loss)(b).sum())(biases),
            )
            return along, jax.grad(through)(params.bias), many, jax.hessian(loss)(params.bias)

        assert_close(quick_jit(lambda: results("fused"))(), quick_jit(lambda: results("scan"))())


@pytest.mark.parametrize("remat", [slow_case(None), "step"])
def test_one_gradient_out_of_those_that_were_mapped(remat):
    with jax.enable_x64(True):
        cell = lj.recurrent_dropout(lj.LSTM(I, H, **SMALL), 0.5)
        (params, xs), keys = problem(cell), jax.random.split(jax.random.key(4), 3)

        def loss(params, key):
            options = {"implementation": "fused", "remat": remat, "key": key}
            return jnp.sum(jnp.sin(lj.unroll(cell, params, xs, **options)[1]))

        _, pull_back = jax.vmap(lambda key: jax.vjp(lambda p: loss(p, key), params))(keys)
        one = jax.tree.map(lambda leaf: leaf[1], pull_back)
        assert_close(one(jnp.ones(()))[0], jax.grad(loss)(params, keys[1]))


@pytest.mark.slow
def test_bfloat16_weights_have_gradients_that_add_up_in_one_product():
    cell = lj.LSTM(1, 1, dtype=jnp.bfloat16)
    params = jax.tree.map(jnp.zeros_like, cell.init(jax.random.key(0)))
    xs = jnp.ones((4096, 1, 1), jnp.bfloat16)

    def loss(params, name):
        return lj.unroll(cell, params, xs, implementation=name)[1].astype(jnp.float32).sum()

    wide = lj.LSTM(1, 1)
    exact = jax.grad(lambda p: lj.unroll(wide, p, xs.astype(jnp.float32))[1].sum())(
        jax.tree.map(lambda p: p.astype(jnp.float32), params)
    )
    wanted = float(exact.kernel[0, 2])  # of the candidate
    fused, scan = (float(jax.grad(loss)(params, name).kernel[0, 2]) for name in ("fused", "scan"))
    assert abs(fused - wanted) < 0.01 * abs(wanted)
    assert abs(scan - wanted) > 0.1 * abs(wanted)


def test_what_is_not_for_it_is_done_by_the_scan():
    class Changes(lj.LSTM):  # no dataclass itself: not known to be a value
        pass

    xs = jnp.ones((T, B, I))
    for cell, options, reason in (
        (Changes(I, H), {}, "no frozen dataclass"),
        (lj.GRU(I, H), {"remat": 2}, "remat asks for less"),
        (lj.GRU(I, H), {"xs": xs[:0]}, "no step"),
    ):
        explained = lj.explain(cell, **{"xs": xs, **options}, implementation="fused")
        assert explained.kernels == ("scan",)
        assert reason in explained.choices[0].others["fused"]


def test_a_step_is_taken_apart_by_what_it_depends_on():
    def step(operands, carry, inputs):
        W, R, b = operands
        return jnp.tanh(inputs @ W + carry @ R + jnp.exp(b))

    types = [jnp.ones(s) for s in ((I, H), (H, H), (H,))], jnp.ones((B, H)), jnp.ones((B, I))
    parts = take_apart(step, *types)
    names = [
        [eqn.primitive.name for eqn in some] for some in (parts.fixed, parts.ahead, parts.rest)
    ]
    assert names[0][0] == "exp"
    assert names[1] == ["dot_general"]
    assert names[2] == ["dot_general", "add", "add", "tanh"]
    assert [product.weight for product in parts.products] == [parts.phi.index(parts.operands[1])]


def test_gradients_of_lists_leave_out_what_has_none():
    key = jax.random.key(0)

    def f(arrays, flags):
        return [arrays[0] * jax.random.uniform(arrays[1])], [flags[0], arrays[0] ** 2]

    outs, back = vjp(f, [jnp.ones(2), key, None], [jnp.array(True)])
    assert outs[1][0].dtype == bool
    (of_arrays, of_flags) = back([None], [None, jnp.ones(2)])
    assert_close(of_arrays[0], jnp.full(2, 2.0))
    assert of_arrays[1:] == [None, None]
    assert of_flags == [None]
