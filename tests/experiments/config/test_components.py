"""Components of one's own: their fields, ranges and types, and what is not called."""

import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.commands.help import help_rows
from experiments.config.file import config_tree, dump_config, load_config, make_config
from experiments.errors import UserError
from experiments.layer_cell import layer_cell
from experiments.training.optimizer import make_optimizer

MODULE = """
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from pydantic import Field

from experiments.config.optimizer import OptimizerConfig
from experiments.tasks import Adding
import lstm_jax as lj


@dataclass(frozen=True)
class Diagonal:
    scale: float = 1.0

    def __call__(self, key, shape, dtype=jnp.float32):
        return self.scale * jnp.eye(*shape, dtype=dtype)


@dataclass
class Thawed:
    scale: float = 1.0


def act(z):
    return z * 2


def not_an_initializer():
    raise AssertionError("called")


class State(NamedTuple):
    h: jax.Array


@dataclass(frozen=True)
class Cell:
    input_size: int
    hidden_size: int
    rate: Annotated[float, Field(gt=0, le=1)] = 0.5
    kind: Literal["a", "b"] = "a"
    shifts: tuple[int, ...] = (1, 2)
    residual: bool = False
    table: Any = field(default=None, compare=False)
    kernel_init: lj.types.Initializer = Diagonal()
    activation: lj.cells.cell.Activation = jnp.tanh

    def __post_init__(self):
        if self.hidden_size == 13:
            raise ValueError(f"Cell: hidden_size must not be {self.hidden_size}")
        if self.hidden_size == 14:
            raise KeyError("fourteen")

    def init(self, key):
        return {"kernel": self.kernel_init(key, (self.input_size, self.hidden_size))}

    def initial_state(self, batch_shape=()):
        return State(jnp.zeros((*batch_shape, self.hidden_size)))

    def step(self, params, state, x):
        return State(self.activation(self.rate * state.h + x @ params["kernel"]))


@dataclass(frozen=True, kw_only=True)
class NeedsTable(Cell):
    table: jax.Array = field()  # no default


@dataclass(frozen=True, kw_only=True)
class Scaled(OptimizerConfig):
    '''Gradient descent with a factor.'''

    factor: Annotated[float, Field(ge=0, le=10)] = 2.0

    def rule(self, learning_rate):
        return optax.sgd(learning_rate * self.factor)


class WithoutRule(OptimizerConfig):
    pass


def needs_a_table(learning_rate, table):
    return optax.sgd(learning_rate)
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The name of a module of one's own."""
    (tmp_path / "own_parts.py").write_text(textwrap.dedent(MODULE))
    monkeypatch.syspath_prepend(tmp_path)
    yield "own_parts"
    sys.modules.pop("own_parts", None)


def config_of(**overrides):
    tree = {"task": {"name": "adding"}, "model": {"hidden_size": 4}}
    return make_config(tree, {name.replace("__", "."): each for name, each in overrides.items()})


def message_of(**overrides):
    with pytest.raises(UserError) as caught:
        config_of(**overrides)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


def test_fields_of_a_cell_are_checked_shown_and_given_to_it(own, tmp_path):
    cell = f"{own}:Cell"
    config = config_of(
        model__cell=cell,
        model__rate=0.25,
        model__shifts=[3],
        model__cell_residual=True,
        model__kernel_init=f"{own}:Diagonal(scale=3.0)",
        model__activation=f"{own}:act",
    )
    made = layer_cell(config.model.layers[0], 2)
    assert (made.rate, made.shifts, made.residual) == (0.25, (3,), True)
    np.testing.assert_array_equal(made.init(jax.random.key(0))["kernel"], 3 * jnp.eye(2, 4))
    rows = {row.flag: row for _, rows in help_rows(config) for row in rows}
    assert rows["--model.rate"].kind == "float, above 0 to 1"
    assert rows["--model.kind"].kind == "a | b"
    assert rows["--model.cell_residual"].value == "true"
    assert "--model.table" not in rows
    (tmp_path / "config.yaml").write_text(dump_config(config))
    assert load_config(tmp_path / "config.yaml") == config
    assert config_tree(config)["model"]["shifts"] == [3]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"rate": 2.0}, "--model.rate: must be at most 1; got 2.0"),
        ({"rate": 0.0}, "--model.rate: must be above 0; got 0.0"),
        ({"kind": "c"}, "--model.kind: must be 'a' or 'b'; got 'c'"),
        ({"shifts": ["x"]}, "--model.shifts.0: must be a valid integer; got 'x'"),
        ({"hidden_size": 13}, "--model.hidden_size: Cell: hidden_size must not be 13"),
        ({"hidden_size": 14}, "model.cell: KeyError: 'fourteen' ("),
        ({"table": 3}, "--model.table: unknown field"),
        ({"dtype": "bfloat16"}, "--model.dtype: must be float32"),
        ({"chrono_t_max": 9}, "--model.chrono_t_max: must be none"),
        ({"weight_drop": 0.1}, "--model.weight_drop: weight_drop: names must be fields"),
        ({"kernel_init": "own_parts:Thawed(2.0)"}, "only a frozen dataclass of your own"),
        ({"kernel_init": "own_parts:Diagonal(size=2)"}, "unexpected keyword argument 'size'"),
        ({"kernel_init": "own_parts:not_an_initializer()"}, "only a frozen dataclass of your own"),
    ],
)
def test_what_is_wrong_with_a_field_of_a_cell(own, fields, expected):
    overrides = {f"model__{name}": value for name, value in fields.items()}
    assert expected in message_of(model__cell=f"{own}:Cell", **overrides)


def test_a_cell_that_needs_what_no_config_has(own):
    assert "Array, which no config has" in message_of(model__cell=f"{own}:NeedsTable")


def test_an_optimizer_of_ones_own_has_a_rule(own):
    message = message_of(optimizer__name=f"{own}:WithoutRule")
    assert f"{own}:WithoutRule is not an optimizer: it has no method rule" in message


def test_an_optimizer_of_ones_own_is_a_subclass(own):
    name = f"{own}:Scaled"
    config = config_of(optimizer__name=name, optimizer__factor=3.0, optimizer__clip_norm=None)
    optimizer = make_optimizer(config.optimizer, 10)
    step, _ = optimizer.update(jnp.ones(2), optimizer.init(jnp.ones(2)), jnp.ones(2))
    np.testing.assert_allclose(step, -3e-3 * np.ones(2), rtol=1e-6)
    assert config.optimizer.name == name
    message = message_of(optimizer__name=name, optimizer__factor=11.0)
    assert message == "--optimizer.factor: must be at most 10; got 11.0"
    message = message_of(optimizer__name=f"{own}:needs_a_table")
    assert "needs table, which no config has" in message


def test_a_function_of_optax_decays_kernels_only():
    config = config_of(optimizer__name="optax:adamaxw", optimizer__weight_decay=0.5)
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    optimizer = make_optimizer(config.optimizer, 10)
    zeros = jax.tree.map(jnp.zeros_like, params)
    step, _ = optimizer.update(zeros, optimizer.init(params), params)
    assert optax.tree.norm(step["kernel"]) > 0
    assert not jnp.any(step["bias"])
