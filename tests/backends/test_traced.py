"""Steps that may change: traced at every call, compiled once for equal programs, and forgotten."""

import gc
import math
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstm_jax as lj
from lstm_jax.backends.scan import _compiled
from lstm_jax.backends.traced import Program, trace

XS, STATE = jnp.ones((3, 2, 1)), (jnp.ones((2, 1)),)
PARAMS = lj.GRU(1, 1).init(jax.random.key(0))


def named(params, state, x):
    return (jnp.tanh(params * state[0] + x),)


def with_lambda():
    cell = lj.GRU(1, 1, activation=lambda z: jax.nn.relu(z) - 1.0)
    return lj.unroll(cell, PARAMS, XS, STATE)


def closing_over(number):
    array = jnp.full((2, 1), number)
    return lj.unroll(lambda params, state, x: (array * state[0] + x,), None, XS, STATE)


def made_anew():
    class Cell:
        def init(self, key):
            return None

        def initial_state(self, batch_shape=()):
            return (jnp.zeros((*batch_shape, 1)),)

        def step(self, params, state, x):
            return (state[0] - x,)

    return lj.unroll(lj.residual(Cell()), None, XS, STATE)


CALLS = {
    "a named step": lambda: lj.unroll(named, 2.0, XS, STATE),
    "its gradient": lambda: jax.grad(lambda p: lj.unroll(named, p, XS, STATE)[1].sum())(2.0),
    "a lambda": lambda: lj.unroll(lambda p, s, x: (jax.nn.relu(s[0] - x),), (), XS, STATE),
    "a cell with a lambda": with_lambda,
    "a cell of a class made anew": made_anew,
    "remat": lambda: lj.unroll(named, 2.0, XS, STATE, remat=2, reverse=True),
    "gradient_flow": lambda: lj.diagnostics.gradient_flow(named, 2.0, XS, jnp.sum, STATE),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_second_call_compiles_nothing(name, caplog):
    with jax.log_compiles():
        first = CALLS[name]()
        assert any("Compiling" in record.message for record in caplog.records)
        caplog.clear()
        second = CALLS[name]()
    assert [r.message for r in caplog.records if "Compiling" in r.message] == []
    jax.tree.map(np.testing.assert_array_equal, first, second)


def test_another_array_in_a_closure_is_read_and_compiles_nothing(caplog):
    first = [closing_over(1.0)[1][-1, 0, 0].item()]
    with jax.log_compiles():
        caplog.clear()
        others = [closing_over(number)[1][-1, 0, 0].item() for number in (2.0, 3.0)]
    assert first + others == [4, 8 + 4 + 2 + 1, 27 + 9 + 3 + 1]
    assert [r.message for r in caplog.records if "Compiling" in r.message] == []


def test_a_step_may_close_over_a_tracer_and_over_what_is_no_array():
    def total(w):
        step = lambda params, state, x: (state[0] * w + params["add"](x),)  # noqa: E731
        return lj.unroll(step, {"add": abs}, XS, STATE)[1][-1].sum()

    # s_3 = w^3 + w^2 + w + 1 in each of two rows
    assert jax.grad(total)(2.0) == 2 * (12 + 4 + 1)
    assert jax.jit(jax.grad(total))(2.0) == 34
    assert jax.vmap(jax.grad(total))(jnp.array([0.0, 1.0])).tolist() == [2, 12]
    with jax.disable_jit():
        assert total(2.0) == 30


def of(function, *args):
    return trace(function, *args or (jnp.ones(3),))[0]


@jax.custom_jvp
def same_value(x):
    return x * 1.0


def with_rule(scale):
    """A function whose value does not depend on `scale`, but whose derivative does."""
    function = jax.custom_jvp(same_value.fun)
    function.defjvp(lambda primals, tangents: (function(*primals), scale * tangents[0]))
    return function


LOOP = lambda number: lambda x: jax.lax.fori_loop(0, 3, lambda i, x: x + number, x)  # noqa: E731


@pytest.mark.parametrize(
    ("make", "same", "other"),
    [
        (lambda number: lambda x: x + number, 0.0, -0.0),
        (lambda number: lambda x: x + number, math.nan, 1.0),
        (LOOP, 1.0, 2.0),
        (lambda name: lambda x: {name: x}, "a", "b"),
        (lambda sign: lambda x: (x * 2) * sign if sign > 0 else sign * (x + x), 1, -1),
        (lambda order: lambda x: [x[k] for k in order], (0, 1), (1, 0)),
        (lambda axis: lambda x: jnp.stack([x, 2 * x]).sum(axis), 0, 1),
        (lambda function: function, jax.nn.relu, jax.nn.relu6),
        (lambda function: function, jnp.sinc, jax.nn.softplus),
    ],
)
def test_programs_are_equal_where_they_have_the_same_equations(make, same, other):
    first, again = of(make(same)), of(make(same))
    assert first == again
    assert hash(first) == hash(again)
    assert first != of(make(other))
    assert first != of(make(same), jnp.ones(4))


def test_a_derivative_of_a_users_own_may_change_and_is_traced_anew():
    assert of(with_rule(1.0)) != of(with_rule(2.0))
    for scale in (1.0, 2.0):
        function = with_rule(scale)
        step = lambda params, state, x: (function(state[0]),)  # noqa: B023, E731
        run = lambda h: lj.unroll(step, None, XS, (h,))[1][-1].sum()  # noqa: B023, E731
        assert jax.grad(run)(STATE[0])[0].item() == scale**3


def root_of(slope):
    """A function whose value does not depend on `slope`, but whose derivative does."""
    solve = lambda f, x_0: x_0  # noqa: E731
    tangent_solve = lambda g, y: slope * y  # noqa: E731
    return lambda x: jax.lax.custom_root(lambda z: z - x, x, solve, tangent_solve)


def test_a_derivative_of_jax_that_calls_a_function_of_a_user_is_traced_anew():
    assert of(root_of(1.0)) != of(root_of(2.0))
    for slope in (1.0, 2.0):
        root = root_of(slope)
        step = lambda params, state, x: (root(params * x),)  # noqa: B023, E731
        run = lambda w: lj.unroll(step, w, XS, STATE)[1].sum()  # noqa: B023, E731
        assert jax.grad(run)(1.0).item() == slope * XS.size


def test_programs_are_forgotten_and_freed():
    def called(number):
        program = of(lambda consts, state, x: (state + number * x, None), (), 1.0, 1.0)
        _compiled(program, False, 1, None)(((), ()), jnp.ones(3), jnp.ones(()))
        return weakref.ref(program)

    first = called(0.25)
    assert first() is not None
    for number in range(_compiled.cache_parameters()["maxsize"]):
        _compiled(of(lambda x, number=number: x + number), False, 1, None)  # not called
    gc.collect()
    assert first() is None


def test_a_program_runs_what_was_traced():
    scale = jnp.full(3, 2.0)
    program, closed_over = trace(lambda x, y: {"sum": scale * x + y[0]}, jnp.ones(3), (1.0,))
    assert isinstance(program, Program)
    assert program(closed_over, jnp.ones(3), (3.0,))["sum"].tolist() == [5, 5, 5]
