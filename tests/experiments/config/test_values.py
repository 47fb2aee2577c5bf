"""Values set in a config without validation."""

from dataclasses import dataclass

import jax
import pytest

from experiments.config.schema import Config
from experiments.config.values import value_of, with_values
from experiments.tasks import Adding

CONFIG = Config(task=Adding(length=6))


@dataclass(frozen=True)
class Layers:
    layers: tuple
    own: dict


def test_a_tracer_takes_the_place_of_a_float():
    def learning_rate(value):
        config = with_values(CONFIG, {"optimizer.learning_rate": value, "seed": 3})
        assert config.optimizer.b1 == CONFIG.optimizer.b1
        assert config.seed == 3
        return config.optimizer.learning_rate * 2

    assert float(jax.jit(learning_rate)(0.25)) == 0.5
    assert CONFIG.optimizer.learning_rate == 1e-3


def test_entries_of_sequences_and_mappings_are_replaced():
    config = Layers(({"rate": 0.1}, {"rate": 0.2}), {"size": 1})
    changed = with_values(config, {"layers.1.rate": 0.5, "own.size": 2})
    assert changed == Layers(({"rate": 0.1}, {"rate": 0.5}), {"size": 2})
    assert value_of(changed, "layers.1.rate") == 0.5
    assert config.layers[1]["rate"] == 0.2


@pytest.mark.parametrize(
    "name", ["nothing", "optimizer.nothing", "seed.more", "optimizer.name.3", "task.length.x"]
)
def test_a_missing_field_is_named(name):
    with pytest.raises(KeyError, match=name):
        with_values(CONFIG, {name: 1})
    with pytest.raises(KeyError, match=name):
        value_of(CONFIG, name)
