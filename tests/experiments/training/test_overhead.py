"""What a training costs beyond bare updates."""

import dataclasses
import statistics
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments.config.file import load_config
from experiments.training.overhead import bare_updates, overhead
from experiments.training.train_step import make_train_functions

ADDING = load_config(Path(__file__).parents[3] / "configs" / "adding.yaml")


@pytest.mark.slow
def test_metrics_and_checkpoints_cost_less_than_three_percent():
    """In time of the processor, which other programs do not change much."""
    every = ADDING.train.checkpoint_every
    ratios = overhead(ADDING, every, rounds=3, clock=time.process_time)
    print(f"{ratios=}")
    assert statistics.median(ratios) < 1.03


@pytest.mark.slow
def test_bare_updates_are_those_of_the_training():
    config = dataclasses.replace(ADDING, task=dataclasses.replace(ADDING.task, length=6))
    functions = make_train_functions(config)
    states, _ = functions.train_steps((), functions.init(), jax.numpy.ones(1, bool), 3)
    bare = bare_updates(config, ())(jax.tree.map(lambda leaf: leaf[0], functions.init()), 3)
    np.testing.assert_allclose(bare.params.cell.kernel, states.params.cell.kernel[0], rtol=1e-5)
