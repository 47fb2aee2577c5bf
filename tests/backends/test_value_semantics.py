"""Which cells are values, so that what was compiled for one serves an equal one."""

from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstm_jax as lj
from lstm_jax.backends.value_semantics import has_value_semantics

XS = np.ones((4, 3), np.float32)


class Scale:
    """A number that may change."""

    def __init__(self, number):
        self.number = number

    def __float__(self):
        return float(self.number)


@dataclass(frozen=True)
class Summing:
    """``s_t = s_{t-1} + scale * w * x_t``."""

    scale: Any = 1.0

    def init(self, key):
        return jnp.ones(3)

    def initial_state(self, batch_shape=()):
        return (jnp.zeros((*batch_shape, 3)),)

    def step(self, params, state, x):
        return (state[0] + float(self.scale) * params * x,)


@dataclass(frozen=True)
class Unseen(Summing):
    """Equal to others that do something else."""

    scale: Any = field(compare=False, default=1.0)


@dataclass
class Loose:
    """A cell that may change, as it is not frozen."""

    scale: float = 1.0
    __hash__ = object.__hash__
    init, initial_state, step = Summing.init, Summing.initial_state, Summing.step


@dataclass(frozen=True)
class Around:
    """A cell around another, of a library that knows no transforms."""

    inner: Any

    def init(self, key):
        return self.inner.init(key)

    def initial_state(self, batch_shape=()):
        return self.inner.initial_state(batch_shape)

    def step(self, params, state, x):
        return self.inner.step(params, state, x)


def changed(cell, number):
    """The cell with another scale: the same one if something in it may change, or a new one."""
    if isinstance(cell, Around):
        return Around(changed(cell.inner, number))
    if isinstance(cell, Loose):
        cell.scale = number
    elif isinstance(cell.scale, Scale):
        cell.scale.number = number
    else:
        cell = replace(cell, scale=number)
    return cell


MAY_CHANGE = [Unseen(), Around(Unseen()), Around(Loose()), Summing(Scale(1.0))]


@pytest.mark.parametrize("cell", MAY_CHANGE, ids=lambda cell: type(cell).__name__)
def test_a_program_compiled_for_a_cell_does_not_serve_another(cell):
    outputs = [
        lj.unroll(changed(cell, number), jnp.ones(3), XS)[1][0] for number in (1.0, 5.0, 2.0)
    ]
    np.testing.assert_array_equal(outputs, np.outer([1.0, 5.0, 2.0], np.ones(3)))


def test_only_equal_cells_that_behave_the_same_have_value_semantics():
    assert not any(map(has_value_semantics, MAY_CHANGE))
    inside = [lj.residual(Unseen()), Around((Summing(), Unseen()))]
    assert not any(map(has_value_semantics, inside))
    assert all(
        map(has_value_semantics, [Summing(), Around(Summing()), Around((Summing(), Summing(2.0)))])
    )


def test_every_cell_of_this_library_has_value_semantics():
    for cell in (
        lj.LSTM(3, 5, dtype=lj.Policy(compute=jnp.bfloat16), bias_init=lj.initializers.Chrono(9)),
        lj.LSTM(3, 5, activation=jnp.sin),
        lj.MLSTM(3, 4),
        lj.ConvLSTM((4, 4, 3), 5, 3),
        lj.bidirectional(lj.stack(lj.GRU(3, 5), lj.residual(lj.LSTM(5, 5)), dropout=0.2)),
        lj.zoneout(lj.PeepholeLSTM(3, 5), h=0.2),
    ):
        assert has_value_semantics(cell)


class Sloped:
    """An object with a method whose results change with its attribute."""

    def __init__(self, slope):
        self.slope = slope

    def act(self, z):
        return self.slope * jnp.tanh(z)


@dataclass(frozen=True)
class FixedSlope(Sloped):
    """The same as a value."""

    slope: float


WITH_METHOD = {
    "a cell": lambda act: lj.GRU(3, 3, activation=act),
    "map_outputs": lambda act: lj.transforms.map_outputs(lj.GRU(3, 3), act),
    "residual(stack)": lambda act: lj.residual(lj.stack(lj.GRU(3, 3), act, lj.GRU(3, 3))),
}


@pytest.mark.parametrize("name", WITH_METHOD)
@pytest.mark.parametrize("under_jit", [False, True])
def test_a_method_in_a_field_may_read_what_has_changed(name, under_jit):
    owner = Sloped(1.0)
    cell = WITH_METHOD[name](owner.act)
    params = params_of_ones(cell)

    def outputs(cell):
        run = lambda params: lj.unroll(cell, params, XS, implementation="scan")[1]  # noqa: E731
        return (jax.jit(run) if under_jit else run)(params)

    outputs(cell)
    owner.slope = 2.0
    np.testing.assert_array_equal(outputs(cell), outputs(WITH_METHOD[name](Sloped(2.0).act)))


def params_of_ones(cell):
    return jax.tree.map(jnp.ones_like, cell.init(jax.random.key(0)))


def test_a_method_of_a_value_has_value_semantics():
    assert not has_value_semantics(lj.GRU(3, 5, activation=Sloped(1.0).act))
    assert has_value_semantics(lj.GRU(3, 5, activation=FixedSlope(1.0).act))
