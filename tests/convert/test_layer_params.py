"""Parts shared by all converters: layers and directions, shapes, gate order, and `cell_of`."""

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
from lstm_jax.convert.gate_order import reorder_gates
from lstm_jax.convert.layer_params import natural_order, split_layers
from tests.helpers.conversions import identical, parameters, random_params

CELLS = [
    lj.LSTM(3, 5),
    lj.LSTM(3, 5, dtype=jnp.bfloat16),
    lj.ProjectedLSTM(3, 5, projection_size=2),
    lj.bidirectional(lj.LSTM(3, 5)),
    lj.bidirectional(lj.LSTM(3, 5), lj.LSTM(3, 4)),
    lj.stack(lj.LSTM(3, 5)),
    lj.stack(lj.bidirectional(lj.LSTM(3, 5)), lj.LSTM(10, 4)),
    lj.stack(lj.LSTM(3, 5), lj.ProjectedLSTM(5, 5, projection_size=2), lj.LSTM(2, 1)),
    lj.GRU(3, 5),
    lj.GRU(3, 5, reset_after=False, dtype=jnp.bfloat16),
    lj.bidirectional(lj.TanhRNN(3, 5)),
    lj.stack(lj.GRU(3, 5), lj.bidirectional(lj.GRU(5, 2, reset_after=False), lj.TanhRNN(5, 4))),
]


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_cell_of_initial_params_is_their_cell(cell):
    found = []
    jax.eval_shape(lambda key: found.append(cell_of(cell.init(key))), jax.random.key(0))
    assert found == [cell]


@settings(max_examples=12)
@given(parameters(projection=True))
def test_cell_of_any_params_has_the_same_shapes(params):
    def shapes(tree):
        return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)

    initial = jax.eval_shape(cell_of(params).init, jax.random.key(0))
    assert shapes(initial) == shapes(params)


def test_cell_of_works_under_jit():
    params = lj.LSTM(3, 5).init(jax.random.key(0))
    run = jax.jit(lambda p, xs: lj.unroll(cell_of(p), p, xs)[1])
    assert run(params, jnp.ones((7, 2, 3))).shape == (7, 2, 5)


def test_conversion_works_under_vmap():
    shapes = jax.eval_shape(CELLS[3].init, jax.random.key(0))
    random = np.random.default_rng(0)
    params = jax.tree.map(lambda a: jnp.asarray(random.random((3, *a.shape)), a.dtype), shapes)
    theirs = jax.vmap(torch.from_params)(params)
    assert theirs["weight_hh_l0_reverse"].shape == (3, 20, 5)
    assert identical(jax.vmap(torch.to_params)(theirs), params)


BOTH = lj.Directions(CELLS[0].init(jax.random.key(0)), CELLS[0].init(jax.random.key(0)))


@pytest.mark.parametrize(
    ("params", "kind", "message"),
    [
        (lj.CoupledLSTM(3, 5).init(jax.random.key(0)), TypeError, "got CoupledLSTMParams"),
        (CELLS[6].init(jax.random.key(0))[0].forward[:], TypeError, "got ArrayImpl"),
        (jnp.ones(3), TypeError, "got ArrayImpl"),
        (lj.Directions((BOTH.forward,), (BOTH.forward,)), TypeError, "got tuple"),
        ([[BOTH.forward]], TypeError, "got list"),
        (
            lj.LSTMParams(*lj.GRU(3, 5).init(jax.random.key(0))[:3]),
            ValueError,
            "kernel must have shape [I, 4H] = (3, 20); got (3, 15): three blocks of H, as in a GRU",
        ),
        (
            BOTH._replace(backward=lj.LSTM(4, 5).init(jax.random.key(0))),
            ValueError,
            "both directions must have the same input features; got [3, 4]",
        ),
        (
            BOTH.forward._replace(bias=jnp.ones(19)),
            ValueError,
            "bias must have shape [4H] = (20,); got (19,)",
        ),
        ((BOTH, BOTH), ValueError, "layer 2 must have 10 input features, the outputs of layer 1;"),
    ],
)
def test_params_of_other_cells_and_wrong_shapes_are_refused(params, kind, message):
    with pytest.raises(kind, match=f"^cell_of: .*{re.escape(message)}"):
        cell_of(params)


def test_cell_of_takes_activations_and_the_merge():
    relu, hard = jax.nn.relu, jax.nn.hard_sigmoid
    layers = lj.bidirectional(lj.LSTM(3, 4)), lj.TanhRNN(4, 2)
    params = tuple(random_params(cell) for cell in layers)
    cell = cell_of(params, activation=relu, gate_activation=hard, merge="sum")
    lstm = lj.LSTM(3, 4, activation=relu, gate_activation=hard)
    rnn = lj.TanhRNN(4, 2, activation=relu)
    assert cell == lj.stack(lj.bidirectional(lstm, merge="sum"), rnn)
    assert lj.unroll(cell, params, jnp.ones((5, 3)))[1].shape == (5, 2)
    with pytest.raises(ValueError, match="cell_of: layer 2 must have 8 input features, the"):
        cell_of(params)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"merge": "sun"}, "cell_of: merge must be one of"),
        ({"merge": "sum"}, "cell_of: merge='sum' needs a bidirectional layer; got none"),
        ({"gate_activation": jnp.tanh}, "cell_of: gate_activation needs a layer with gates; got"),
    ],
)
def test_settings_that_no_layer_has_are_refused(settings, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        cell_of(random_params(lj.TanhRNN(3, 4)), **settings)


def test_the_shape_of_a_projection_is_checked():
    params = CELLS[2].init(jax.random.key(0))
    wrong = params._replace(projection=jnp.ones((5, 3)))
    message = r"x: projection must have shape \[H, P\] = \(5, 2\); got \(5, 3\)"
    with pytest.raises(ValueError, match=message):
        split_layers("x", wrong)


@given(st.permutations("ifgo"), st.permutations("ifgo"))
@settings(max_examples=10)
def test_reorder_gates_and_its_inverse(a, b):
    a, b = "".join(a), "".join(b)
    array = jnp.asarray(np.random.default_rng(0).normal(size=(2, 12)), jnp.float32)
    result = reorder_gates(array, source=a, target=b)
    for gate in "ifgo":
        old, new = (3 * order.index(gate) for order in (a, b))
        np.testing.assert_array_equal(result[:, new : new + 3], array[:, old : old + 3])
    np.testing.assert_array_equal(reorder_gates(result, source=b, target=a), array)


@given(st.permutations(["a/lstm", "a/lstm_1", "a/lstm_2", "a/lstm_10", "a/lstm_10_b", "b", "2"]))
@settings(max_examples=10)
def test_names_in_natural_order(names):
    ordered = ["2", "a/lstm", "a/lstm_1", "a/lstm_2", "a/lstm_10", "a/lstm_10_b", "b"]
    assert natural_order(names) == ordered


def test_importing_convert_imports_no_other_library():
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
