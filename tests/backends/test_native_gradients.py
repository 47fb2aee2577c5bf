"""Gradients of the native backend for some arguments alone, and of some results alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstm_jax as lj
from lstm_jax.testing import quick_jit
from tests.helpers.against_scan import B, T, assert_near, draw, flags, needs_native

pytestmark = needs_native


@pytest.mark.parametrize("argnums", [0, 1, 2, (0, 2)])
def test_each_gradient_alone_equals_the_one_among_all(argnums):
    cell, mask = lj.LSTM(3, 17), flags((T, B), 0.6)
    numbers = draw(cell)

    def loss(*arguments):
        final, outputs = lj.unroll(cell, *arguments, mask=mask, implementation="cpu")
        return jnp.sum(jnp.sin(outputs)) + jnp.sum(final.c**2)

    every = quick_jit(jax.grad(loss, (0, 1, 2)))(*numbers)
    some = quick_jit(jax.grad(loss, argnums))(*numbers)
    wanted = every[argnums] if isinstance(argnums, int) else tuple(every[k] for k in argnums)
    for a, b in zip(jax.tree.leaves(some), jax.tree.leaves(wanted), strict=True):
        assert np.array_equal(a, b)
        assert np.any(a)


@pytest.mark.parametrize("of", [lambda run: run[0].h, lambda run: run[0].c, lambda run: run[2].c])
@pytest.mark.parametrize("options", [{}, {"mask": True, "reset": True, "reverse": True}], ids=str)
def test_the_gradient_of_one_state_alone(of, options):
    cell = lj.LSTM(3, 17)
    numbers = draw(cell)
    if options:
        options = options | {"mask": flags((T, B), 0.6), "reset": flags((T, B), 0.3, 1)}

    def gradient(implementation):
        def loss(*arguments):
            run = lj.unroll(
                cell, *arguments, return_states=True, implementation=implementation, **options
            )
            return jnp.sum(jnp.sin(of(run)))

        run = quick_jit(jax.grad(loss, (0, 1, 2)))
        calls.append(run.lower(*numbers).as_text().count("@lstm_jax_backward("))
        return run(*numbers)

    calls = []
    assert_near(((), gradient("cpu")), ((), gradient("scan")))
    assert calls == [1, 0]
