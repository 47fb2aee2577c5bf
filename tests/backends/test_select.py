"""A backend that a call names and that does not run is a warning, once for each reason."""

import warnings

import jax
import jax.numpy as jnp
import pytest

import lstm_jax as lj
from lstm_jax.backends.select import _warn_once
from lstm_jax.layers.unroll_layer import unroll_layer
from lstm_jax.options import Options
from tests.helpers.against_scan import needs_native

XS = jnp.ones((4, 2, 3))
PLAIN = "it runs the plain LSTM; the cell is a"


@pytest.fixture(autouse=True)
def nothing_said_before():
    _warn_once.cache_clear()


def said(cell, xs=XS, times=3, **options):
    """The warnings of some calls."""
    params = cell.init(jax.random.key(0))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(times):
            jax.eval_shape(lambda p, xs: lj.unroll(cell, p, xs, **options), params, xs)
    assert all(warning.category is UserWarning for warning in caught)
    assert all(warning.filename == __file__ for warning in caught)
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize(
    ("cell", "options", "reason"),
    [
        pytest.param(lj.GRU(3, 5), {"implementation": "cpu"}, f"{PLAIN} GRU", marks=needs_native),
        pytest.param(
            lj.LSTM(3, 5),
            {"implementation": "cpu", "remat": "step"},
            "it keeps every step for a gradient; remat='step' excludes that",
            marks=needs_native,
        ),
        (
            lj.LSTM(3, 5),
            {"implementation": "parallel"},
            "it runs cells that are linear in their state; the cell is a LSTM",
        ),
    ],
)
def test_the_warning_names_the_cell_and_has_the_reason_of_explain(cell, options, reason):
    name = options["implementation"]
    wanted = f"unroll: the scan runs {cell}, not implementation={name!r}: {reason}"
    assert said(cell, **options) == [wanted]
    assert said(cell, **options) == []  # also in another call
    (selection,) = lj.explain(cell, XS, **options).selections
    assert selection.reasons[name] == reason


@needs_native
def test_a_stack_names_the_layers_that_fall_back():
    cell = lj.stack(lj.LSTM(3, 5), lj.GRU(5, 4), lj.LSTM(4, 4), lj.GRU(4, 4))
    got = said(cell, implementation="cpu")
    wanted = [
        f"unroll: the scan runs {layer}, not implementation='cpu': {PLAIN} GRU"
        for layer in (cell.cells[1], cell.cells[3])
    ]
    assert got == wanted
    assert said(lj.bidirectional(lj.GRU(3, 6)), implementation="cpu") == [
        f"unroll: the scan runs {lj.GRU(3, 6)}, not implementation='cpu': {PLAIN} GRU"
    ]


def test_other_calls_do_not_warn():
    for cell in (lj.LSTM(3, 5), lj.GRU(3, 5), lj.MinLSTM(3, 5), lj.stack(lj.GRU(3, 3))):
        for implementation in (None, "scan"):
            assert said(cell, implementation=implementation) == []
    assert said(lj.MinLSTM(3, 5), implementation="parallel") == []


def test_explain_does_not_warn():
    for implementation in ("cpu", "cudnn", "parallel"):
        lj.explain(lj.GRU(3, 5), XS, implementation=implementation)  # a warning would be an error


def test_layers_warn_in_their_own_name():
    cell = lj.TanhRNN(3, 5)
    params, options = cell.init(jax.random.key(0)), Options(implementation="parallel")
    with pytest.warns(UserWarning, match=r"^Recurrent: the scan runs TanhRNN.*linear"):
        unroll_layer("Recurrent", cell, params, XS, options=options)
    with pytest.warns(UserWarning, match=r"^tbptt: the scan runs TanhRNN.*linear"):
        lj.tbptt(cell, params, XS, k1=2, implementation="parallel")


def test_a_bare_step_function_warns_once_whatever_its_state():
    def decay(params, state, x):
        return (params * state[0] + x,)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for number in (1.0, 2.0):
            lj.unroll(decay, 0.5, XS, (jnp.full((2, 3), number),), implementation="cpu")
    assert len(caught) == 1
    start = "unroll: the scan runs StepFunction(function=decay), not implementation='cpu': "
    assert str(caught[0].message).startswith(start)
