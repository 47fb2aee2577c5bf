"""Figures of long sequences read a few at a time."""

import jax
import pytest

from experiments.config.model import model_config
from experiments.inspection import at_once, layers
from experiments.inspection.at_once import sequences_at_once
from experiments.model import Model, make_model
from experiments.tasks import Adding, AssociativeRecall, Copy, Warp

MOST = 400


@pytest.mark.parametrize("length", [1, 7, 400, 4096, 10**6])
@pytest.mark.parametrize("count", [1, 97, 256, 1000])
def test_parts_are_equal_and_within_the_bound(length, count):
    size = sequences_at_once(length, count)
    assert count % size == 0
    assert size == 1 or size * length <= at_once.STEPS_AT_ONCE
    larger = [n for n in range(size + 1, count + 1) if count % n == 0]
    assert all(n * length > at_once.STEPS_AT_ONCE for n in larger)


@pytest.mark.slow
@pytest.mark.parametrize("task", [
    Adding(length=30), Copy(delay=20, min_delay=2, held_out="drawn"), Warp(length=50),
    AssociativeRecall(delay=50),
])  # fmt: skip
def test_no_call_of_a_figure_reads_more_steps_than_the_bound(task, monkeypatch):
    monkeypatch.setattr(at_once, "STEPS_AT_ONCE", MOST)
    read = []
    apply, states = Model.apply, layers.layer_states

    def count(inputs):
        # The first two axes are those of steps and sequences.
        read.append(inputs.shape[0] * inputs.shape[1])

    def counted_apply(self, params, inputs, *rest):
        count(inputs)
        return apply(self, params, inputs, *rest)

    def counted_states(model, params, inputs, *rest):
        count(inputs)
        return states(model, params, inputs, *rest)

    monkeypatch.setattr(Model, "apply", counted_apply)
    monkeypatch.setattr(layers, "layer_states", counted_states)
    model = make_model(model_config(hidden_size=4), task)
    figures = task.figures(model, model.init(jax.random.key(0)), (), jax.random.key(1), 100)
    assert "memory.png" in figures
    assert len(read) >= 3
    # A picture shows up to 16 sequences, or a sequence of each of five lengths up to 4 T.
    assert max(read) <= max(MOST, 20 * task.length)
    whole = 256 if task.name == "adding" else 200
    assert max(read) < whole * task.length
