"""Any transform of any cell, tested against all that is promised, with every backend."""

import dataclasses
import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstm_jax as lj
from lstm_jax.testing import check_cell, quick_jit, reference_unroll
from lstm_jax.transforms.residual import Residual
from lstm_jax.transforms.step_rng import StepRng
from lstm_jax.transforms.transform import apply
from tests.helpers.toys import Sum, assert_close, column, may_fall_back, random_like, rows_of

T, B = 5, 2
KEY = jax.random.key(0)
MASK = np.array([[1, 1, 0, 1, 0], [0, 1, 1, 0, 0]], bool).T
RESET = np.array([[0, 1, 1, 0, 0], [0, 0, 1, 0, 1]], bool).T

L3 = lj.LSTM(3, 3)
EVERY = {
    "stack": lambda: lj.stack(L3, lj.GRU(3, 2), dropout=0.5),
    "residual": lambda: lj.residual(L3),
    "skip": lambda: lj.skip(L3),
    "dropout": lambda: lj.dropout(L3, 0.5),
    "recurrent_dropout": lambda: lj.recurrent_dropout(L3, 0.5),
    "candidate_dropout": lambda: lj.candidate_dropout(L3, 0.5),
    "weight_drop": lambda: lj.weight_drop(L3, 0.5),
    "zoneout": lambda: lj.zoneout(L3, h=0.3, c=0.6),
    "clip": lambda: lj.clip(L3, h=0.3, c=0.5),
    "learned_initial_state": lambda: lj.learned_initial_state(L3),
    "bidirectional": lambda: lj.bidirectional(L3, lj.GRU(3, 2)),
    "of linear cells": lambda: lj.stack(
        lj.residual(lj.dropout(lj.MinLSTM(3, 3), 0.5)), lj.learned_initial_state(lj.MinLSTM(3, 2))
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_every_transform_passes_check_cell(name):
    check_cell(EVERY[name]())


def test_every_public_transform_is_checked():
    public = {
        name
        for name in {*lj.transforms.__all__} & {*lj.__all__} - {"restore_params"}
        if callable(getattr(lj, name)) and not isinstance(getattr(lj, name), type)
    }
    assert len(public) == 10
    assert public <= set(EVERY)


@pytest.mark.parametrize("name", lj.transforms.__all__)
def test_every_public_name_is_documented_with_an_example(name):
    public = getattr(lj.transforms, name)
    text = inspect.getdoc(public)
    if not isinstance(public, type):
        assert "Args:" in text
        assert ">>> " in text
        assert "Returns:" in text or inspect.signature(public).return_annotation is None
    assert text[0].isupper() or text[0] == "`"


with jax.enable_x64(True):  # transforms read the dtypes of parameters
    MIN = lj.MinLSTM(3, 3, dtype=jnp.float64)
    LINEAR = {
        "residual": lj.residual(MIN),
        "skip": lj.stack(lj.skip(MIN), lj.MinLSTM(6, 2, dtype=jnp.float64)),
        "stack": lj.stack(MIN, lj.dropout(MIN, 0.4), MIN),
        "mixed": lj.stack(MIN, lj.zoneout(lj.residual(MIN), h=0.2), lj.learned_initial_state(MIN)),
    }


def numbers(cell):
    params = random_like(jax.eval_shape(cell.init, KEY))
    return params, random_like(jnp.zeros((T, B, 3)), 1), random_like(cell.initial_state((B,)), 2)


@pytest.mark.usefixtures("x64")
@may_fall_back
@pytest.mark.parametrize(
    ("name", "padding"),
    [
        ("residual", "hold"),
        ("skip", "hold"),
        ("skip", "raw"),
        ("stack", "raw"),
        ("mixed", "zero"),
        ("mixed", "hold"),
        ("mixed", "raw"),
    ],
)
def test_all_steps_in_parallel_equal_the_scan_with_transforms(name, padding):
    cell = LINEAR[name]
    arguments = numbers(cell)
    options = {"mask": MASK, "reset": RESET, "padding": padding, "key": jax.random.key(1)}
    reverse = padding == "hold"
    at_once, in_steps = (
        quick_jit(lambda *a, i=i: lj.unroll(cell, *a, **options, reverse=reverse, implementation=i))
        for i in ("parallel", "scan")
    )
    wanted = in_steps(*arguments)
    assert_close(at_once(*arguments), wanted)
    with_nan = jnp.where(MASK[..., None], arguments[1], jnp.nan)
    assert_close(at_once(arguments[0], with_nan, arguments[2]), wanted)


@pytest.mark.parametrize(
    ("padding", "wanted"),
    [("zero", [2, 5, 0, 11, 0]), ("hold", [2, 5, 5, 11, 11]), ("raw", [2, 5, 3, 11, 7])],
)
def test_padding_applies_to_the_outer_cell(padding, wanted):
    # The sums are 1, 3, 7; the output adds one more input.
    xs, mask = column([1, 2, 3, 4, 5]), np.array([[1, 1, 0, 1, 0]], bool).T
    for cell in (lj.residual(Sum()), lj.residual(OneWay(Sum()))):
        _, outputs = lj.unroll(cell, (), xs, mask=mask, padding=padding)
        assert rows_of(outputs) == [wanted]


@dataclasses.dataclass(frozen=True, repr=False)
class OneWay(lj.Transform):
    """A transform without single steps."""

    has_steps = False
    cell: Any


@dataclasses.dataclass(frozen=True, repr=False)
class Shifted(lj.Transform):
    """Adds 1000 to the output of its cell, in `apply` alone."""

    cell: Any

    def apply(self, params: Any, state: Any, x: Any, rng: StepRng | None = None) -> Any:
        new, y = apply(self.cell, params, state, x, rng)
        return new, y + 1000


@dataclasses.dataclass(frozen=True, repr=False)
class ShiftedAgain(Residual):
    """Overrides `apply` of a transform that has `apply_sequence`, and does not override that."""

    def apply(self, params: Any, state: Any, x: Any, rng: StepRng | None = None) -> Any:
        new, y = super().apply(params, state, x, rng)
        return new, y + 1000


@may_fall_back
@pytest.mark.parametrize("kind", [Shifted, ShiftedAgain])
def test_no_backend_ignores_a_transform_that_overrides_apply_alone(kind):
    xs = jnp.ones((2, 3))
    for single in (lj.LSTM(3, 3), lj.MinLSTM(3, 3)):
        cell = lj.stack(kind(single), single)
        params = cell.init(KEY)
        _, outputs = lj.unroll(kind(single), params[0], xs, implementation="parallel")
        assert jnp.all(outputs > 900)
        _, expected = reference_unroll(
            cell, params, xs, cell.initial_state(), mask=np.ones(2, bool)
        )
        _, outputs = lj.unroll(cell, params, xs, implementation="parallel")
        np.testing.assert_allclose(outputs, expected, rtol=1e-6, atol=1e-6)


def test_a_transform_that_overrides_apply_alone_needs_single_steps():
    cell = Shifted(lj.bidirectional(L3))
    with pytest.raises(TypeError, match=r"^Shifted: has no apply_sequence, but its cell needs"):
        lj.unroll(cell, cell.init(KEY), jnp.ones((2, 3)))


def test_the_base_class_changes_nothing():
    @dataclasses.dataclass(frozen=True, repr=False)
    class Nothing(lj.Transform):
        cell: Any

    for inner in (L3, lj.MinLSTM(3, 3), lj.bidirectional(L3)):
        params, xs = inner.init(KEY), jnp.ones((2, 3))
        assert repr(Nothing(inner)) == f"Nothing(cell={inner})"
        assert_close(lj.unroll(Nothing(inner), params, xs), lj.unroll(inner, params, xs), 1e-6)


@pytest.mark.usefixtures("x64")
def test_the_gradient_flow_of_linear_cells_is_the_product_of_their_gates():
    cell = LINEAR["residual"]
    params, xs, state = numbers(cell)
    flow = lj.gradient_flow(cell, params, xs, lambda ys: ys[-1].sum(), state)
    gates, _ = MIN.coefficients(params, xs)
    onwards = np.cumprod(np.asarray(gates)[:0:-1], axis=0)[::-1]
    wanted = np.concatenate([onwards, np.ones((1, B, 3))])
    np.testing.assert_allclose(flow[0], np.linalg.norm(wanted, axis=-1), rtol=1e-12)


def test_a_transform_must_override_apply_and_not_step():
    message = "Negative: a Transform overrides apply, not step; or derive from StateTransform"
    with pytest.raises(TypeError, match=f"^{message}$"):

        class Negative(lj.Transform):
            def step(self, params, state, x, rng=None):
                return state


@pytest.mark.slow
def test_a_state_in_numpy_with_connections_around_a_cell():
    cell, xs = lj.residual(lj.LSTM(3, 3)), jax.random.normal(KEY, (6, 2, 3))
    params, state = cell.init(KEY), lj.LSTMState(*np.ones((2, 2, 3), np.float32))
    lengths = jnp.array([6, 0])
    _, outputs = lj.unroll(cell, params, xs, state, lengths=lengths, padding="hold")
    assert jnp.array_equal(outputs[:, 1], jnp.ones((6, 3)))
    _, again = lj.tbptt(cell, params, xs, state, k1=2, lengths=lengths, padding="hold")
    np.testing.assert_allclose(again, outputs, atol=1e-6)
