"""What all conversions share: layers and directions, shapes, names, and the cell of parameters."""

import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lstm_jax as lj
from lstm_jax.convert import cell_of, torch
from lstm_jax.convert.arrays import in_natural_order, reordered
from lstm_jax.convert.layers import layers_of
from tests.helpers.conversions import parameters, same

CELLS = [
    lj.LSTM(3, 5),
    lj.LSTM(3, 5, dtype=jnp.bfloat16),
    lj.ProjectedLSTM(3, 5, projection_size=2),
    lj.bidirectional(lj.LSTM(3, 5)),
    lj.bidirectional(lj.LSTM(3, 5), lj.LSTM(3, 4)),
    lj.stack(lj.LSTM(3, 5)),
    lj.stack(lj.bidirectional(lj.LSTM(3, 5)), lj.LSTM(10, 4)),
    lj.stack(lj.LSTM(3, 5), lj.ProjectedLSTM(5, 5, projection_size=2), lj.LSTM(2, 1)),
]


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_the_cell_of_what_a_cell_draws_is_that_cell(cell):
    found = []
    jax.eval_shape(lambda key: found.append(cell_of(cell.init(key))), jax.random.key(0))
    assert found == [cell]


@settings(max_examples=12)
@given(parameters(projection=True))
def test_the_cell_of_any_parameters_draws_such(params):
    def shapes(tree):
        return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)

    drawn = jax.eval_shape(cell_of(params).init, jax.random.key(0))
    assert shapes(drawn) == shapes(params)


def test_the_cell_is_found_while_tracing():
    params = lj.LSTM(3, 5).init(jax.random.key(0))
    run = jax.jit(lambda p, xs: lj.unroll(cell_of(p), p, xs)[1])
    assert run(params, jnp.ones((7, 2, 3))).shape == (7, 2, 5)


def test_an_ensemble_is_converted_at_once():
    shapes = jax.eval_shape(CELLS[3].init, jax.random.key(0))
    random = np.random.default_rng(0)
    params = jax.tree.map(lambda a: jnp.asarray(random.random((3, *a.shape)), a.dtype), shapes)
    theirs = jax.vmap(torch.from_params)(params)
    assert theirs["weight_hh_l0_reverse"].shape == (3, 20, 5)
    assert same(jax.vmap(torch.to_params)(theirs), params)


BOTH = lj.Directions(CELLS[0].init(jax.random.key(0)), CELLS[0].init(jax.random.key(0)))


@pytest.mark.parametrize(
    ("params", "kind", "message"),
    [
        (lj.GRU(3, 5).init(jax.random.key(0)), TypeError, "got GRUParams"),
        (CELLS[6].init(jax.random.key(0))[0].forward[:], TypeError, "got ArrayImpl"),
        (jnp.ones(3), TypeError, "got ArrayImpl"),
        (lj.Directions((BOTH.forward,), (BOTH.forward,)), TypeError, "got tuple"),
        ([[BOTH.forward]], TypeError, "got list"),
        (
            lj.LSTMParams(*lj.GRU(3, 5).init(jax.random.key(0))[:3]),
            ValueError,
            "kernel must have shape [I, 4H] = (3, 20); got (3, 15): three blocks of H, as a GRU",
        ),
        (
            BOTH._replace(backward=lj.LSTM(4, 5).init(jax.random.key(0))),
            ValueError,
            "both directions must read the same inputs; got features [3, 4]",
        ),
        (
            BOTH.forward._replace(bias=jnp.ones(19)),
            ValueError,
            "bias must have shape [4H] = (20,); got (19,)",
        ),
        ((BOTH, BOTH), ValueError, "layer 2 must read the 10 features that layer 1 shows;"),
    ],
)
def test_what_are_no_such_parameters_is_named(params, kind, message):
    with pytest.raises(kind, match=f"^cell_of: .*{re.escape(message)}"):
        cell_of(params)


def test_a_projection_has_its_own_shape():
    params = CELLS[2].init(jax.random.key(0))
    wrong = params._replace(projection=jnp.ones((5, 3)))
    message = r"x: projection must have shape \[H, P\] = \(5, 2\); got \(5, 3\)"
    with pytest.raises(ValueError, match=message):
        layers_of("x", wrong)


@given(st.permutations("ifgo"), st.permutations("ifgo"))
@settings(max_examples=10)
def test_gates_in_any_order_and_back(a, b):
    a, b = "".join(a), "".join(b)
    array = jnp.asarray(np.random.default_rng(0).normal(size=(2, 12)), jnp.float32)
    there = reordered(array, of=a, to=b)
    for gate in "ifgo":
        old, new = (3 * order.index(gate) for order in (a, b))
        np.testing.assert_array_equal(there[:, new : new + 3], array[:, old : old + 3])
    np.testing.assert_array_equal(reordered(there, of=b, to=a), array)


@given(st.permutations(["a/lstm", "a/lstm_1", "a/lstm_2", "a/lstm_10", "a/lstm_10_b", "b", "2"]))
@settings(max_examples=10)
def test_names_in_natural_order(names):
    ordered = ["2", "a/lstm", "a/lstm_1", "a/lstm_2", "a/lstm_10", "a/lstm_10_b", "b"]
    assert in_natural_order(names) == ordered


def test_no_other_library_is_imported_and_nothing_here_unasked():
    program = """
import sys
import lstm_jax
print(*sys.modules)
import lstm_jax.convert as c
c.cell_of, c.torch, c.safetensors
print(*sys.modules)
"""
    lines = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    ).stdout.splitlines()
    unasked, modules = (set(line.split()) for line in lines)
    assert "lstm_jax.convert" not in unasked
    assert "lstm_jax.convert.torch" in modules
    assert modules.isdisjoint({"torch", "keras", "flax", "haiku", "equinox", "safetensors"})
