"""Loading of a task's data: what a config cannot sample is said before anything is trained."""

import pytest

from experiments.config.schema import Config
from experiments.errors import UserError
from experiments.tasks import Adding
from experiments.training.data import load_data


def test_every_split_is_checked_and_an_evaluation_needs_its_own_alone():
    config = Config(task=Adding(length=5, min_length=6))
    with pytest.raises(UserError, match=r"^task.min_length: must be at most task.length"):
        load_data(config)
    assert load_data(config, ["test"]) == ()
