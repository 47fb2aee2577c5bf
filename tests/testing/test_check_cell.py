"""`check_cell` passes for every cell of the library, and fails for wrong cells."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import pytest

import lstm_jax as lj
from lstm_jax.cells.cell import CellBase
from lstm_jax.testing import check_cell

CELLS = [
    lj.LSTM(2, 3),
    lj.LSTM(2, 3, dtype=jnp.bfloat16),
    lj.OriginalLSTM(2, 3),
    lj.PeepholeLSTM(2, 3),
    lj.CoupledLSTM(2, 3),
    lj.RefinedLSTM(2, 3),
    *(lj.LayerNormLSTM(2, 3, variant=v) for v in ("ba2016", "pytorch")),
    lj.ProjectedLSTM(2, 4, projection_size=3, cell_clip=1.0),
    lj.SLSTM(2, 4, num_heads=2),
    lj.MLSTM(2, 4, num_heads=2, forget_gate="exp"),
    lj.MinLSTM(2, 3),
    lj.GRU(2, 3),
    lj.GRU(2, 3, reset_after=False),
    lj.TanhRNN(2, 3),
    lj.ConvLSTM((5, 4, 2), 2, kernel_size=3, strides=2, padding="VALID", peephole=True),
]


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS, ids=repr)
def test_every_cell_passes(cell):
    x = jnp.zeros(cell.input_shape) if isinstance(cell, lj.ConvLSTM) else None
    check_cell(cell, x=x)


def test_every_public_cell_is_in_the_list():
    public = {
        value
        for value in vars(lj).values()
        if isinstance(value, type) and issubclass(value, CellBase)
    }
    assert public == {type(cell) for cell in CELLS}


class State(NamedTuple):
    h: Any


@dataclasses.dataclass(frozen=True)
class Leaky:
    """A correct cell; each of those below is wrong in one way."""

    input_size: int = 2

    def init(self, key):
        return {"w": jax.random.normal(key, (self.input_size,))}

    def initial_state(self, batch_shape=()):
        return State(jnp.zeros((*batch_shape, self.input_size)))

    def step(self, params, state, x):
        return State(state.h / 2 + jnp.tanh(x @ jnp.diag(params["w"])))


@dataclasses.dataclass(frozen=True)
class NarrowsItsState(Leaky):
    def step(self, params, state, x):
        return State(super().step(params, state, x).h.astype(jnp.bfloat16))


@dataclasses.dataclass(frozen=True)
class MixesRows(Leaky):
    def step(self, params, state, x):
        h = super().step(params, state, x).h
        return State(h + jnp.mean(h)) if h.ndim > 1 else State(2 * h)


@dataclasses.dataclass(frozen=True)
class TakesARoot(Leaky):
    """Finite values, but a gradient of NaN where the input is zero, as it is in padding."""

    def step(self, params, state, x):
        return State(state.h / 2 + jnp.sqrt(jnp.abs(x @ jnp.diag(params["w"]))))


@dataclasses.dataclass(frozen=True)
class RefusesForwardMode(Leaky):
    def step(self, params, state, x):
        @jax.custom_vjp
        def product(w, x):
            return w * x

        product.defvjp(lambda w, x: (w * x, (w, x)), lambda wx, g: (wx[1] * g, wx[0] * g))
        w = jnp.broadcast_to(params["w"], x.shape)
        return State(state.h / 2 + product(w, x))


@dataclasses.dataclass(frozen=True)
class NotHashable(Leaky):
    sizes: Any = dataclasses.field(default_factory=list)


class Halved(lj.MinLSTM):
    """Its `coefficients` disagree with its `step`."""

    def step(self, params, state, x):
        return lj.MinLSTM(2, 3).step(params, state, x)

    def coefficients(self, params, x):
        a, b = super().coefficients(params, x)
        return a / 2, b


@pytest.mark.slow
def test_a_correct_cell_passes():
    check_cell(Leaky())


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (NarrowsItsState(), "a step must keep the shapes and dtypes of the state"),
        (MixesRows(), "unroll with a batch and resets disagrees"),
        (TakesARoot(), "disagrees"),
        (NotHashable(), "a cell must be hashable"),
        (lj.LSTM, "check_cell: cell must be a cell, not its class"),
        (lj.ConvLSTM((4, 2), 2, kernel_size=3), "pass an input as x="),
    ],
)
def test_a_wrong_cell_fails(cell, message):
    with pytest.raises((AssertionError, TypeError), match=message):
        check_cell(cell)


@pytest.mark.slow
def test_a_cell_without_forward_mode_fails():
    with pytest.raises(TypeError, match="forward-mode"):
        check_cell(RefusesForwardMode())


@pytest.mark.slow
def test_wrong_coefficients_fail():
    with pytest.raises(AssertionError, match="implementation='parallel' with a batch disagrees"):
        check_cell(Halved(2, 3))


def test_the_error_has_the_cell_the_check_the_place_and_both_numbers():
    with pytest.raises(AssertionError) as error:
        check_cell(MixesRows())
    text = str(error.value)
    assert "MixesRows(input_size=2): unroll with a batch and resets disagrees at [0][0].h" in text
    assert re.search(r"ACTUAL: array\(\[\[.*DESIRED: array\(\[\[", text, re.DOTALL)


@pytest.mark.slow
def test_a_wrong_cell_fails_under_python_O():
    """`python -O` removes `assert` statements."""
    program = """
import jax.numpy as jnp
import lstm_jax as lj
from lstm_jax.testing import check_cell

class Narrow(lj.TanhRNN):
    def step(self, params, state, x):
        (h,) = super().step(params, state, x)
        return lj.TanhRNNState(h.astype(jnp.bfloat16))

class Mixed(lj.TanhRNN):
    def step(self, params, state, x):
        (h,) = super().step(params, state, x)
        return lj.TanhRNNState(h + h.mean() if h.ndim > 1 else 2 * h)

for cell in (Narrow(1, 2), Mixed(1, 2), lj.ConvLSTM((4, 2), 2, kernel_size=3)):
    try:
        check_cell(cell)
    except AssertionError as error:
        print(type(cell).__name__, "fails", str(error).count(type(cell).__name__) > 0)
"""
    done = subprocess.run(
        [sys.executable, "-O", "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.splitlines() == [
        f"{name} fails True" for name in ("Narrow", "Mixed", "ConvLSTM")
    ]


def test_the_library_imports_chex_only_for_tests():
    package = Path(lj.__file__).parent
    using = {
        path.relative_to(package).parts[0]
        for path in package.rglob("*.py")
        if "chex" in path.read_text()
    }
    assert using == {"testing"}


@dataclasses.dataclass(frozen=True, repr=False)
class UndeclaredNoise(lj.Transform):
    """Adds a random number to the input, and does not declare that it draws."""

    cell: Any

    def apply(self, params, state, x, rng=None):
        noisy = x if rng is None else x + jax.random.normal(rng.step_key, x.shape, x.dtype)
        return lj.transforms.apply(self.cell, params, state, noisy, lj.transforms.child_rng(rng))


def test_a_transform_that_draws_declares_it():
    with pytest.raises(AssertionError, match=r"set draws: ClassVar\[bool\] = True"):
        check_cell(UndeclaredNoise(lj.LSTM(2, 3)))
