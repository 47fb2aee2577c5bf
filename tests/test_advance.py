"""`advance`: one step of any cell, for streams."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstm_jax as lj
from tests.helpers.foreign import CONVERT, Foreign

KEY = jax.random.key(0)
CELL = lj.LSTM(3, 5)
PARAMS = CELL.init(KEY)
XS = jax.random.normal(KEY, (6, 2, 3))


def test_a_stream_starts_from_the_learned_state():
    cell = lj.learned_initial_state(CELL)
    params = cell.init(KEY)
    params = params._replace(state=jax.tree.map(lambda s: s + 0.5, params.state))
    state, ys = None, []
    for x in XS:
        state, y = lj.advance(cell, params, state, x)
        ys.append(y)
    np.testing.assert_allclose(jnp.stack(ys), lj.unroll(cell, params, XS)[1], atol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: lj.advance(lj.lstm_step, PARAMS, None, XS[0]),
            "advance: cell must have init, initial_state and step; got function",
        ),
        (
            lambda: lj.advance(CELL, PARAMS, None, XS[0], key=jax.random.PRNGKey(0)),
            "advance: key must be made by jax.random.key; got Array([0, 0], dtype=uint32)",
        ),
        (
            lambda: lj.advance(CELL, PARAMS, None, [[1.0, 2.0, 3.0]]),
            "advance: x must be one array for LSTM; got a list of 1; use jnp.asarray",
        ),
        (
            lambda: lj.advance(CELL, PARAMS, None, "x"),
            "advance: x must contain arrays of numbers; got str",
        ),
        (
            lambda: lj.advance(CELL, PARAMS, None, Foreign()),
            f"advance: x must contain arrays of JAX or NumPy; got foreign.Foreign; {CONVERT}",
        ),
        (
            lambda: lj.advance(CELL, PARAMS, (Foreign(), Foreign()), XS[0]),
            f"advance: state must contain arrays of JAX or NumPy; got foreign.Foreign; {CONVERT}",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        call()


def test_arrays_of_another_byte_order():
    params, x = jax.tree.map(lambda a: np.asarray(a).astype(">f4"), (PARAMS, XS[0]))
    state = (np.ones((2, 5), ">f4"), np.ones((2, 5), ">f4"))
    wanted = CELL.step(PARAMS, (jnp.ones((2, 5)), jnp.ones((2, 5))), XS[0])
    for got in (lj.advance(CELL, params, state, x)[0], CELL.step(params, state, x)):
        jax.tree.map(np.testing.assert_array_equal, got, wanted)
