"""What a rule computes: nothing that is not read, and no trace of it for types alone."""

import functools
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstm_jax as lj
from lstm_jax.backends import ffi, layer
from lstm_jax.backends.cudnn import CudnnLayer
from lstm_jax.backends.layer import Layer
from lstm_jax.backends.primitives import bind_forward
from lstm_jax.backends.rule import Rule, call
from lstm_jax.testing import quick_jit
from tests.helpers.against_scan import draw, flags, needs_native
from tests.helpers.toys import assert_close, random_like

I, H, T, B = 2, 3, 4, 2  # noqa: E741
CELL = lj.LSTM(I, H)


@dataclass(frozen=True)
class Product(Rule):
    """``a * b**2``, and a record of its calls."""

    asked: list = field(default_factory=list, hash=False, compare=False)

    def reference(self, *args):
        a, b = args
        return a * b**2, a + 1.0

    def forward(self, *args, save, native):
        self.asked.append(("forward", save, native))
        a, b = args
        return (a * (b * b), 1.0 + a), ((b * b, 2 * a * b) if save else ())

    def backward(self, args, outs, saved, cotangents, needed, *, native):
        self.asked.append(("backward", tuple(v is not None for v in cotangents), needed, native))
        of_a, of_b = saved
        v, w = (
            jnp.zeros_like(o) if v is None else v for o, v in zip(outs, cotangents, strict=True)
        )
        return tuple(g for g, need in zip((v * of_a + w, v * of_b), needed, strict=True) if need)


A, B_ = jnp.asarray([1.0, 2.0, 3.0]), jnp.asarray([0.5, -1.0, 2.0])
SEVERAL = jnp.stack([A, 2 * A])


def plain(a, b):
    return a * b**2, a + 1.0


def total(f):
    return lambda *arguments: sum(jnp.sum(jnp.sin(out)) for out in f(*arguments))


OF_A_RULE = {
    "value": lambda f: f(A, B_),
    "gradient": lambda f: jax.grad(total(f), (0, 1))(A, B_),
    "jvp": lambda f: jax.jvp(f, (A, B_), (B_, A)),
    "hessian": lambda f: jax.hessian(total(f), (0, 1))(A, B_),
    "third derivative": lambda f: jax.jacfwd(jax.hessian(total(f)))(A, B_),
    "jacrev": lambda f: jax.jacrev(f, (0, 1))(A, B_),
    "vmap": lambda f: jax.vmap(f, (0, None))(SEVERAL, B_),
    "vmap twice": lambda f: jax.vmap(jax.vmap(f, (0, None)), (None, 0), 1)(SEVERAL, SEVERAL),
    "gradient of vmap": lambda f: jax.grad(total(jax.vmap(f, (None, 0))), (0, 1))(A, SEVERAL),
    "vmap of gradient": lambda f: jax.vmap(jax.grad(total(f), (0, 1)), (None, 0))(A, SEVERAL),
    "vmap of vmap of gradient": lambda f: jax.vmap(
        jax.vmap(jax.grad(total(f), (0, 1)), (None, 0)), (0, None)
    )(SEVERAL, SEVERAL),
    "vmap of hessian": lambda f: jax.vmap(jax.hessian(total(f)), (0, None))(SEVERAL, B_),
    "checkpoint": lambda f: jax.grad(total(jax.checkpoint(f)), (0, 1))(A, B_),
}


@pytest.mark.parametrize("name", OF_A_RULE)
def test_a_rule_computes_its_reference(name):
    of, rule = OF_A_RULE[name], Product()
    got = quick_jit(lambda: of(lambda *args: call(rule, *args)))()
    assert_close(got, quick_jit(lambda: of(plain))(), 1e-5)


@pytest.mark.parametrize("name", ["gradient", "jvp", "vmap of gradient"])
def test_a_rule_outside_of_jit(name):
    of, rule = OF_A_RULE[name], Product()
    assert_close(of(lambda *args: call(rule, *args)), of(plain), 1e-5)


def test_a_gradient_runs_both_passes_of_a_rule():
    rule = Product()
    jax.jit(lambda a, b: call(rule, a, b)).lower(A, B_)
    assert rule.asked[-1] == ("forward", False, "here")
    rule.asked.clear()
    gradient = jax.jit(jax.grad(lambda a, b: call(rule, a, b)[0].sum(), 1))
    gradient.lower(A, B_)
    assert rule.asked[-2:] == [
        ("forward", True, "here"),
        ("backward", (True, False), (False, True), "here"),
    ]
    rule.asked.clear()
    jax.export.export(gradient)(A, B_)
    assert {asked[-1] for asked in rule.asked} == {"no"}


def equations(jaxpr):
    """All equations, those inside of others included."""
    for eqn in jaxpr.eqns:
        yield eqn
        for leaf in jax.tree.leaves(tuple(eqn.params.values())):
            inner = getattr(leaf, "jaxpr", leaf)
            if hasattr(inner, "eqns"):
                yield from equations(inner)


def asked(f, *arguments):
    """The parameters of our primitives in a function, by name, in order."""
    found = {"lstm_forward": [], "lstm_tangent": [], "lstm_backward": []}
    for eqn in equations(jax.make_jaxpr(f)(*arguments).jaxpr):
        if eqn.primitive.name in found:
            found[eqn.primitive.name].append(eqn.params)
    return found


def loss(params, xs, state=None, **options):
    final, outputs = lj.unroll(CELL, params, xs, state, implementation="cpu", **options)
    return jnp.sum(outputs**2) + jnp.sum(final.c)


@needs_native
def test_a_forward_pass_alone_saves_nothing():
    params, xs, state = draw(CELL, T, (B,))
    found = asked(loss, params, xs, state)
    assert [run["save"] for run in found["lstm_forward"]] == [False]
    assert not found["lstm_tangent"]
    assert "lstm_jax_backward" not in quick_jit(loss).lower(params, xs, state).as_text()


@needs_native
@pytest.mark.parametrize(
    ("argnums", "with_state", "needed"),
    [
        (0, False, (False, True, True, True, False, False)),
        (1, True, (True, False, False, False, False, False)),
        (2, True, (False, False, False, False, True, True)),
        ((0, 1, 2), True, (True,) * 6),
    ],
)
def test_only_the_gradients_that_are_needed_are_computed(argnums, with_state, needed):
    params, xs, state = draw(CELL, T, (B,))
    arguments = (params, xs, state) if with_state else (params, xs)
    gradient = jax.grad(loss, argnums)
    found = asked(gradient, *arguments)
    assert [back["needed"] for back in found["lstm_backward"]] == [needed]
    assert not found["lstm_tangent"]
    # The native call leaves out the gradients of inputs or weights that are not needed.
    text = quick_jit(gradient).lower(*arguments).as_text()
    (line,) = [line for line in text.splitlines() if "@lstm_jax_backward" in line]
    results = line.split("->")[-1]
    assert (f"tensor<1x{T}x{B}x{I}xf32>" in results) is needed[0]
    assert (f"tensor<1x{I}x{4 * H}xf32>" in results) is needed[1]


@needs_native
def test_the_gradient_of_one_array_beside_masks():
    params, xs, state = draw(CELL, T, (B,))
    options = {"mask": flags((T, B), 0.7), "reset": flags((T, B), 0.3)}

    def of_kernel(kernel):
        return loss(params._replace(recurrent_kernel=kernel), xs, state, **options)

    found = asked(jax.grad(of_kernel), params.recurrent_kernel)
    only = (False, False, True, False, False, False, False, False)
    assert [back["needed"] for back in found["lstm_backward"]] == [only]


@needs_native
def test_outputs_that_are_not_read_have_no_cotangent():
    def of_final(params, xs):
        return lj.unroll(CELL, params, xs, implementation="cpu")[0].c.sum()

    params, xs, _ = draw(CELL, T, (B,))
    found = asked(jax.grad(of_final), params, xs)
    assert [back["given"] for back in found["lstm_backward"]] == [(False, False, True)]


@needs_native
def test_the_forward_pass_of_a_checkpoint_saves_nothing():
    params, xs, state = draw(CELL, T, (B,))
    again = jax.grad(jax.checkpoint(loss))
    assert [run["save"] for run in asked(again, params, xs, state)["lstm_forward"]][-1] is True
    first, *_ = asked(jax.grad(lambda *a: jax.checkpoint(loss)(*a) ** 2), params, xs, state)[
        "lstm_forward"
    ]
    assert first["save"] is False


@pytest.mark.slow
@needs_native
def test_integers_have_no_gradients():
    params, _, _ = draw(CELL, T, (B,))
    whole = jnp.arange(T * B * I).reshape(T, B, I)
    lengths = jnp.asarray([3, T])

    def of(params, xs, lengths):
        return loss(params, xs, lengths=lengths)

    got = jax.grad(of, (0, 1, 2), allow_int=True)(params, whole, lengths)
    assert {leaf.dtype for leaf in got[1:]} == {jax.dtypes.float0}
    floats = jax.grad(of)(params, whole.astype(jnp.float32), lengths)
    assert jax.tree.all(jax.tree.map(np.array_equal, got[0], floats))
    tangents = (params, *(np.zeros(a.shape, jax.dtypes.float0) for a in (whole, lengths)))
    assert np.isfinite(jax.jvp(of, (params, whole, lengths), tangents)[1])


@needs_native
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("options", [{}, {"masked": True, "resets": True, "states": True}], ids=str)
def test_the_layer_computes_its_reference_for_several_networks(options):
    G = 3
    shapes = [(G, T, B, I), (G, I, 4 * H), (G, H, 4 * H), (G, 4 * H), (G, B, H), (G, B, H)]
    args = random_like([jax.ShapeDtypeStruct(shape, float) for shape in shapes])
    args += [jnp.asarray(flags((G, T, B), 0.6, k)) for k in range(2 if options else 0)]
    rule = Layer(reverse=True, **options)
    if options:
        args[0] = jnp.where(args[6][..., None], args[0], 0.0)

    def both(f):
        def of(*floats):
            outs = f(*floats, *args[6:])
            return sum(jnp.sum(jnp.sin(out)) for out in outs[:3]), outs

        return quick_jit(jax.grad(of, range(6), has_aux=True))(*args[:6])

    assert_close(both(lambda *a: call(rule, *a)), both(lambda *a: rule.reference(*a)))
    # Cell states and gates: at valid steps they determine the outputs.
    outs = jax.jit(lambda *a: bind_forward(rule, a, save=True))(*args)
    *_, cs, gates = outs
    assert (cs.shape, gates.shape) == ((G, T, B, H), (G, T, B, 4 * H))
    hs, o = outs[0], gates[..., 3 * H :]
    shown = np.asarray(args[6]) if options else np.ones((G, T, B), bool)
    np.testing.assert_allclose(hs[shown], (o * jnp.tanh(cs))[shown], rtol=0, atol=1e-12)
    assert not np.any(gates[~shown])


@needs_native
def test_debug_nans_names_the_primitive():
    params, xs, state = draw(CELL, T, (B,))
    spoilt = xs.at[1, 0, 0].set(jnp.nan)
    arrays = [leaf[None] for leaf in (spoilt, *params, *state)]
    with jax.debug_nans(True):
        jax.grad(loss)(params, xs, state)
        with pytest.raises(FloatingPointError, match=r"\(nan\) encountered in lstm_forward"):
            call(Layer(), *arrays)


@needs_native
def test_disable_jit():
    params, xs, state = draw(CELL, T, (B,))
    wanted = jax.grad(loss)(params, xs, state)
    with jax.disable_jit():
        assert_close(jax.grad(loss)(params, xs, state), wanted, 1e-6)


@needs_native
def test_no_tracer_leaks():
    params, xs, state = draw(CELL, T, (B,))
    with jax.checking_leaks():
        jax.jit(jax.grad(loss))(params, xs, state)
        jax.jit(jax.vmap(jax.grad(loss), (None, 1, 0)))(params, xs, state)


@needs_native
def test_outside_of_jit_equal_calls_are_traced_once(monkeypatch):
    params, xs, state = draw(CELL, T, (B,))
    jax.grad(loss)(params, xs, state)
    monkeypatch.setattr(ffi, "forward", lambda *args, **options: pytest.fail("traced again"))
    jax.grad(loss)(params, 2 * xs, state)


@needs_native
def test_a_gradient_is_traced_without_a_step(monkeypatch):
    params, xs, state = draw(CELL, T, (B,))
    monkeypatch.setattr(layer, "lstm_gates", lambda *args: pytest.fail("a step is traced"))
    jax.make_jaxpr(jax.grad(loss))(params, xs, state)
    jax.make_jaxpr(jax.vmap(jax.grad(loss), (None, 1, 0)))(params, xs, state)


@pytest.mark.parametrize("options", [{}, {"states": True}, {"masked": True, "resets": True}])
@pytest.mark.parametrize("rule", [Layer, Product, CudnnLayer])
def test_the_types_of_a_rule_are_those_that_it_computes(rule, options):
    floats = [(3, T, B, I), (3, I, 4 * H), (3, H, 4 * H), (3, 4 * H), (3, B, H), (3, B, H)]
    if rule is CudnnLayer:
        floats = [shape[1:] for shape in floats]
    args = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in floats]
    if rule is Layer:
        args += [jax.ShapeDtypeStruct((3, T, B), bool)] * (2 if "masked" in options else 0)
    elif options:
        pytest.skip("only layers have options")
    if rule is Product:
        args = [jax.ShapeDtypeStruct((3,), jnp.float32)] * 2
    a_rule = rule(**options)
    assert list(a_rule.out_types(*args)) == list(jax.eval_shape(a_rule.reference, *args))
    if rule is not CudnnLayer:
        forward = functools.partial(a_rule.forward, save=True, native="no")
        assert list(a_rule.saved_types(*args)) == list(jax.eval_shape(forward, *args)[1])
