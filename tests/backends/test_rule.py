"""Every transformation of JAX on the native backend, against the plain scan."""

import functools
from dataclasses import dataclass, field
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstm_jax as lj
from lstm_jax.backends.rule import Rule, call
from lstm_jax.testing import quick_jit
from tests.helpers.against_scan import draw, flags, needs_native
from tests.helpers.toys import assert_close, random_like, slow_case

I, H, T, B = 2, 3, 4, 2  # noqa: E741
CELL = lj.LSTM(I, H, dtype=jnp.float64)
RESET = flags((T, B), 0.3, 1)
RAGGED = {"mask": flags((T, B), 0.7), "reverse": True}


def of(implementation, *arguments, **options):
    return lj.unroll(CELL, *arguments, implementation=implementation, **options)


def calls(text):
    """How many native calls, forward and backward, are in a compiled program."""
    targets = ("lstm_jax_forward", "lstm_jax_backward")
    return tuple(text.count(f'custom_call_target="{target}"') for target in targets)


def numbers(seed=0):
    return tuple(draw(CELL, T, (B,), seed))


def many(k=3):
    """Several of everything, along a new axis in front."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(numbers, range(k)))


def loss(run):
    """A scalar of all results, weighted so that no gradient cancels."""

    def of_all(*arguments):
        leaves = jax.tree.leaves(run(*arguments))
        weights = [np.random.default_rng(k).standard_normal(a.shape) for k, a in enumerate(leaves)]
        return sum(jnp.sum(w * a**2) for w, a in zip(weights, leaves, strict=True))

    return of_all


EVERY, WEIGHTS, EXAMPLES = (0, 1, 2), (0, None, None), (None, 0, 0)


def gradient(run):
    return jax.grad(loss(run), EVERY)


def of_examples(f):
    return jax.vmap(f, EXAMPLES)(numbers()[0], *many()[1:])


def along(f, argnums=(0, 1, 2)):
    """The derivative of `f` in one direction, as a function of a point."""

    def slope(*arguments):
        moved = [
            random_like(a, 7 + k) if k in argnums else jax.tree.map(jnp.zeros_like, a)
            for k, a in enumerate(arguments)
        ]
        return jax.jvp(f, arguments, tuple(moved))

    return slope


def of_bias(run):
    """`run` as a function of the bias alone."""
    params, xs, state = numbers()
    return lambda bias: run(params._replace(bias=bias), xs, state)


def transposed(run):
    """The transpose of the transpose of a derivative is the derivative."""

    def f(*arguments):
        outs, pull_back = jax.vjp(run, *arguments)
        cotangents = random_like(outs, 5)
        back = jax.linear_transpose(pull_back, cotangents)
        return pull_back(cotangents), back(random_like(arguments, 6))

    return f(*numbers())


def linearized(run):
    outs, push = jax.linearize(run, *numbers())
    return outs, jax.vmap(push)(*many())


def one_after_the_other(run):
    """`run` inside of a loop inside of a gradient."""

    def chunks(params, xs, state):
        def chunk(carry, x):
            return run(params, x, carry)

        return jax.lax.scan(chunk, state, jnp.stack([xs, 2 * xs, 3 * xs]))

    return jax.value_and_grad(loss(chunks), EVERY)(*numbers())


def chosen_by(run):
    def either(*arguments):
        large = arguments[1].sum() > 100.0
        return jax.lax.cond(large, lambda *a: run(*a), lambda *a: run(*a), *arguments)

    return gradient(either)(*numbers())


def other_axes(run):
    """Mapped axes that are not in front, of arguments and of results."""
    at = (lj.LSTMParams(1, 1, 1), 2, lj.LSTMState(1, 0))
    moved = jax.tree.map(lambda leaf, axis: jnp.moveaxis(leaf, 0, axis), many(), at)
    return jax.vmap(run, at, out_axes=1)(*moved)


def kept(run, policy):
    again = jax.checkpoint(run, policy=getattr(jax.checkpoint_policies, policy))
    return gradient(again)(*numbers())


# The number of native calls, forward and backward, and what is computed.
TRANSFORMATIONS = {
    "jvp": (1, 0, lambda run: along(run)(*numbers())),
    "jvp of some": (1, 0, lambda run: along(run, (1,))(*numbers())),
    "jacfwd": (0, 0, lambda run: jax.jacfwd(of_bias(run))(numbers()[0].bias)),
    "jacrev": (1, 1, lambda run: jax.jacrev(of_bias(run))(numbers()[0].bias)),
    "hessian": (1, 0, lambda run: jax.hessian(loss(of_bias(run)))(numbers()[0].bias)),
    "forward over reverse": (1, 0, lambda run: along(gradient(run))(*numbers())),
    "reverse over forward": (
        *(1, 1),
        lambda run: jax.grad(lambda *a: along(loss(run))(*a)[1], EVERY)(*numbers()),
    ),
    "reverse over reverse": (1, 1, lambda run: gradient(gradient(run))(*numbers())),
    "forward over forward": (1, 0, lambda run: along(along(loss(run)))(*numbers())),
    "vmap over inputs": (
        *(1, 0),
        lambda run: jax.vmap(run, (None, 0, None))(numbers()[0], many()[1], numbers()[2]),
    ),
    "vmap over weights": (1, 0, lambda run: jax.vmap(run, WEIGHTS)(many()[0], *numbers()[1:])),
    "vmap over both": (1, 0, lambda run: jax.vmap(run)(*many())),
    "vmap over the bias": (1, 0, lambda run: jax.vmap(of_bias(run))(many()[0].bias)),
    "vmap over weights twice": (
        *(1, 0),
        lambda run: jax.vmap(jax.vmap(run, WEIGHTS), WEIGHTS)(
            jax.tree.map(lambda a: a.reshape(2, 2, *a.shape[1:]), many(4)[0]), *numbers()[1:]
        ),
    ),
    "vmap over weights and then inputs": (
        *(1, 0),
        lambda run: jax.vmap(jax.vmap(run, (None, 0, None)), WEIGHTS)(
            many(2)[0], many()[1], numbers()[2]
        ),
    ),
    "vmap of other axes": (1, 0, other_axes),
    "vmap over nobody": (
        *(0, 0),
        lambda run: jax.vmap(gradient(run), (0, None, None))(
            jax.tree.map(lambda a: a[:0], many()[0]), *numbers()[1:]
        ),
    ),
    "gradients of every example": (1, 1, lambda run: of_examples(gradient(run))),
    "gradients of every network": (1, 1, lambda run: jax.vmap(gradient(run))(*many())),
    "inputs' gradients of every example": (1, 1, lambda run: of_examples(jax.grad(loss(run), 1))),
    "gradient of vmap over inputs": (
        *(1, 1),
        lambda run: gradient(jax.vmap(run, EXAMPLES))(numbers()[0], *many()[1:]),
    ),
    "gradient of vmap over weights": (
        *(1, 1),
        lambda run: gradient(jax.vmap(run, WEIGHTS))(many()[0], *numbers()[1:]),
    ),
    "second derivatives of every network": (
        *(1, 0),
        lambda run: jax.vmap(along(gradient(run)))(*many()),
    ),
    "transpose": (1, 1, transposed),
    "linearize": (1, 0, linearized),
    "checkpoint": (2, 1, lambda run: gradient(jax.checkpoint(run))(*numbers())),
    "checkpoint that saves products": (2, 1, lambda run: kept(run, "dots_saveable")),
    "checkpoint that saves everything": (1, 1, lambda run: kept(run, "everything_saveable")),
    "second derivatives of checkpoint": (
        *(1, 0),
        lambda run: along(gradient(jax.checkpoint(run)))(*numbers()),
    ),
    "scan": (1, 1, one_after_the_other),
    "cond": (1, 1, chosen_by),
    "map": (1, 1, lambda run: jax.lax.map(lambda a: gradient(run)(*a), many())),
}


EVERYDAY = {
    *("jvp", "jacrev", "forward over reverse", "transpose", "checkpoint", "scan"),
    *("vmap over inputs", "vmap over both", "vmap over nobody", "vmap of other axes"),
    *("gradients of every example", "gradients of every network"),
}


@needs_native
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "name", [name if name in EVERYDAY else slow_case(name) for name in TRANSFORMATIONS]
)
def test_transformations_agree_with_the_scan(name):
    forward, backward, transformed = TRANSFORMATIONS[name]
    native_run, truth = (functools.partial(of, name, **RAGGED) for name in ("cpu", "scan"))
    compiled = quick_jit(lambda: transformed(native_run)).lower().compile()
    wanted = quick_jit(lambda: transformed(truth))()
    assert_close(compiled(), wanted, 1e-11)
    assert jax.tree.all(jax.tree.map(lambda a: np.any(a != 0) or not a.size, wanted))
    assert calls(compiled.as_text()) == (forward, backward)


@dataclass(frozen=True)
class Sine(Rule):
    """A rule with code for a platform, which records where it may be called."""

    platform: ClassVar[str] = "cuda"
    asked: list = field(default_factory=list, hash=False, compare=False)

    def reference(self, *args):
        return (jnp.sin(args[0]),)

    def forward(self, *args, save, native):
        self.asked.append(native)
        return self.reference(*args), ()

    def backward(self, args, outs, saved, cotangents, needed, *, native):
        return (cotangents[0] * jnp.cos(args[0]),)


@pytest.mark.parametrize("platform", ["cpu", "cuda", "rocm", "tpu"])
@pytest.mark.parametrize("mapped", [False, True])
def test_native_code_is_called_on_its_platform_only_and_never_mapped(platform, mapped):
    rule = Sine()

    def run(a):
        return call(rule, a)[0]

    traced = jax.jit(jax.vmap(run) if mapped else run).trace(jnp.ones(3))
    assert set(rule.asked) <= {"no"}  # by `vmap`, which inlines the plain JAX code
    rule.asked.clear()
    traced.lower(lowering_platforms=(platform,))
    assert rule.asked == ([] if mapped else ["here" if platform == "cuda" else "no"])


@needs_native
@pytest.mark.usefixtures("x64")
def test_vmap_adds_rows_or_networks_to_one_call():
    run = functools.partial(of, "cpu")
    rows, networks = f"tensor<1x{T}x{3 * B}x{I}xf64>", f"tensor<3x{T}x{B}x{I}xf64>"
    one = f"tensor<1x{T}x{B}x{I}xf64>"
    for name, forward, backward in (
        ("jacrev", one, one),
        ("vmap over inputs", rows, None),
        ("vmap over weights", networks, None),
        ("gradients of every example", rows, networks),
        ("inputs' gradients of every example", rows, rows),
        ("gradients of every network", networks, networks),
    ):
        text = quick_jit(functools.partial(TRANSFORMATIONS[name][2], run)).lower().as_text()
        lines = text.splitlines()
        of_calls = [
            [x for x in lines if f"@lstm_jax_{which}(" in x] for which in ("forward", "backward")
        ]
        assert [len(some) for some in of_calls] == [1, backward is not None], name
        assert forward in of_calls[0][0], name
        assert backward is None or backward in of_calls[1][0], name


@needs_native
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "name",
    [
        "jvp",
        "jacrev",
        "vmap over weights twice",
        "vmap of other axes",
        "gradients of every network",
    ],
)
def test_transformations_with_all_states(name):
    transformed = TRANSFORMATIONS[name][2]
    runs = [
        functools.partial(of, name, return_states=True, reset=RESET) for name in ("cpu", "scan")
    ]
    got, wanted = (quick_jit(functools.partial(transformed, run))() for run in runs)
    assert_close(got, wanted, 1e-11)


@needs_native
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ["jvp", "gradient of vmap over inputs"])
def test_outside_of_jit(name):
    transformed = TRANSFORMATIONS[name][2]
    got = transformed(functools.partial(of, "cpu"))
    assert_close(
        got, quick_jit(functools.partial(transformed, functools.partial(of, "scan")))(), 1e-11
    )
