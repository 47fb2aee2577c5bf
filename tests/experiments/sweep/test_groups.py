"""Which points train together."""

import pytest

from experiments.config.model import model_config
from experiments.config.optimizer import SGD, Adam, AdamW
from experiments.config.schema import Config
from experiments.sweep.groups import lane_values, make_groups, program_key
from experiments.sweep.points import Point
from experiments.tasks import Adding


def config(**fields):
    defaults = {"task": Adding(length=4), "model": model_config(hidden_size=2)}
    return Config(**defaults | fields)


def points(*configs):
    return [Point(f"p{i}", each, None) for i, each in enumerate(configs)]


@pytest.mark.parametrize(
    "fields",
    [
        {"seed": 5},
        {"seeds": 3},
        {"optimizer": Adam(learning_rate=0.1, b1=0.5, b2=0.7, eps=1e-3, clip_norm=2.0)},
        {"model": model_config(hidden_size=2, init_scale=0.5)},
    ],
)
def test_arrays_share_a_program(fields):
    assert program_key(config(**fields)) == program_key(config())


@pytest.mark.parametrize(
    "fields",
    [
        {"model": model_config(hidden_size=3)},
        {"model": model_config(hidden_size=2, forget_bias=1.0)},
        {"model": model_config("gru", hidden_size=2)},
        {"model": model_config(hidden_size=2, dropout=0.1, layers=2)},
        {"optimizer": SGD()},
        {"optimizer": AdamW()},
        {"optimizer": Adam(clip_norm=None)},
        {"optimizer": Adam(schedule="cosine")},
        {"task": Adding(length=5)},
    ],
)
def test_other_fields_need_another_program(fields):
    assert program_key(config(**fields)) != program_key(config())


def test_lanes_are_the_seeds_and_the_values_that_differ():
    group, *others = make_groups(
        points(
            config(seed=1, seeds=2, optimizer=Adam(learning_rate=0.1)),
            config(optimizer=Adam(learning_rate=0.2)),
        )
    )
    assert not others
    assert group.lanes.seeds == (1, 2, 0)
    assert group.lanes.values == {"optimizer.learning_rate": (0.1, 0.1, 0.2)}
    assert group.slices() == [slice(0, 2), slice(2, 3)]


def test_a_value_of_every_layer_is_a_lane():
    scales = config(model=model_config(hidden_size=2, layers=2, init_scale=0.5))
    names = lane_values(scales)
    assert names["model.layers.0.init_scale"] == names["model.layers.1.init_scale"] == 0.5


def test_groups_have_no_more_lanes_than_they_may():
    groups = make_groups(points(*[config(seed=i, seeds=3) for i in range(5)]), max_lanes=7)
    assert [len(group.points) for group in groups] == [2, 2, 1]
    assert [point.name for group in groups for point in group.points] == [f"p{i}" for i in range(5)]
    assert len(make_groups(points(config(seeds=9)), max_lanes=4)) == 1
