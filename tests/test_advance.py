"""`advance`: one step of any cell, for streams."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstm_jax as lj

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
    ],
)
def test_errors(call, message):
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        call()
