"""The configs of the networks of 1997 have the weights and settings that the paper gives."""

from pathlib import Path

import jax
import pytest

import lstm_jax as lj
from experiments.config.file import load_config
from experiments.config.optimizer import SGD
from experiments.hs1997 import MemoryBlocks
from experiments.model import make_model
from experiments.tasks.hs1997.paper import PAPER
from lstm_jax.initializers import Uniform

FOLDER = Path(__file__).parents[3] / "configs" / "hs1997"
WEIGHTS = {
    "reber": 276, "lag_1997_2a": 10_504, "lag_1997_2b": 10_504, "lag_1997_2c": 364,
    "two_sequences_1997_3a": 102, "two_sequences_1997_3b": 102, "two_sequences_1997_3c": 102,
    "adding_1997": 93, "multiplication_1997": 93, "temporal_order_1997_6a": 156,
    "temporal_order_1997_6b": 308,
}  # fmt: skip
"""The weights of every network by its config, from table 10 of the paper."""
OTHERS = [
    ("lag_1997_2c", {"task.p": 100}, 664),
    ("lag_1997_2c", {"task.p": 200}, 1264),
    ("lag_1997_2c", {"task.p": 500}, 3064),
    ("lag_1997_2c", {"task.p": 1000}, 6064),
    (
        "reber",
        {"model.blocks": 4, "model.block_size": 1, "model.output_gate_bias": (-1.0, -2, -3, -4)},
        264,
    ),
]
"""Further rows of the table, as flags of a config."""


def config_of(name, overrides=None):
    return load_config(FOLDER / f"original_{name}.yaml", overrides)


def shapes_of(config):
    model = make_model(config.model, config.task)
    return jax.eval_shape(model.init, jax.random.key(0))


def test_every_experiment_has_its_config():
    found = {path.stem.removeprefix("original_") for path in FOLDER.glob("original_*.yaml")}
    assert found == set(WEIGHTS)


@pytest.mark.parametrize(
    ("name", "overrides", "weights"), [(n, {}, w) for n, w in WEIGHTS.items()] + OTHERS
)
def test_the_weights_are_as_many_as_the_paper_counts(name, overrides, weights):
    params = shapes_of(config_of(name, overrides))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == weights


def row_of(config):
    """The first row of the paper's tables with the setting of a config."""
    if config.task.name == "reber":
        return next(row for row in PAPER if row.experiment == "1" and row.network.blocks == 3)
    kept = {"name", "experiment", "length", "signal", "p", "q"}
    fields = {name: each for name, each in vars(config.task).items() if name in kept}
    return next(
        row for row in PAPER if row.task is not None and fields.items() <= vars(row.task).items()
    )


@pytest.mark.parametrize("name", WEIGHTS)
def test_the_settings_are_those_of_the_paper(name):
    config = config_of(name)
    row, model = row_of(config), make_model(config.model, config.task)
    network, readout = row.network, model.head
    # In 2a and 2b the outputs read the inputs too.
    cell = getattr(model.cell, "cell", model.cell)
    assert isinstance(cell, MemoryBlocks)
    assert model.cell == (lj.skip(cell) if network.simple else cell)
    assert (cell.blocks, cell.block_size) == (network.blocks, network.cells)
    assert (cell.output_gates, cell.recurrent) == (not network.simple,) * 2
    assert cell.weight_range == network.init
    assert cell.truncated
    assert readout.kernel_init == Uniform(network.init)
    assert cell.input_gate_bias == (network.input_gate_bias or ())
    assert cell.output_gate_bias == (network.output_gate_bias or ())
    assert readout.bias == (network.biases == "all")
    assert not readout.bias or readout.bias_init == Uniform(network.init)
    assert config.seeds == row.trials
    # Online, by plain gradient descent.
    assert config.train.sequences_per_update == 1
    optimizer = config.optimizer
    assert isinstance(optimizer, SGD)
    assert (optimizer.momentum, optimizer.schedule) == (None, "constant")
    assert (optimizer.clip_norm, optimizer.clip_value) == (None, None)
    # The paper's updates are of half the squared error, summed over the steps that have a target.
    steps = {"2a": 100, "2b": 100, "1": 11}.get(row.experiment, 1)
    assert optimizer.learning_rate == pytest.approx(row.learning_rate / 2 * steps)


def test_stops_are_those_of_the_paper():
    for name in WEIGHTS:
        online = name.startswith(("adding", "multiplication", "temporal_order"))
        assert config_of(name).train.window == (2000 if online else None)
    assert config_of("multiplication_1997").train.stop_when == "mastered"
