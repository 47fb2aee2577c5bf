"""The warp task: the character before the current one, in sequences that are warped in time."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.config.model import model_config
from experiments.model import make_model
from experiments.tasks import Warp
from experiments.tasks.warp import ALPHABET, BLANK
from experiments.tasks.warp_figures import answers, memory


def drawn(task, count):
    batch = jax.jit(task.sample, static_argnums=(1, 3))((), "test", jax.random.key(0), count)
    return jax.tree.map(np.asarray, batch)


def runs(steps):
    """The characters of a sequence, each with the number of its steps."""
    return [(each, len([*group])) for each, group in itertools.groupby(steps)]


@pytest.fixture(scope="module")
def variable():
    return drawn(Warp(length=40, max_warp=4), 3000)


def previous(inputs):
    """The targets of a sequence, step by step."""
    before, current, found = BLANK, inputs[0], []
    for each in inputs:
        if each != current:
            before, current = current, each
        found.append(before)
    return found


@pytest.mark.parametrize("warping", ["uniform", "variable"])
def test_the_target_is_the_last_other_character(warping, variable):
    batch = (
        variable
        if warping == "variable"
        else drawn(Warp(length=40, max_warp=4, warping=warping), 20)
    )
    for inputs, targets in zip(
        batch.inputs.T[:20].tolist(), batch.targets.T.tolist(), strict=False
    ):
        assert targets == previous(inputs)
        if warping == "uniform":
            assert [steps for _, steps in runs(inputs)] == [4] * 10


def test_characters_and_their_steps_are_drawn_uniformly(variable):
    of_each = [runs(row) for row in variable.inputs.T.tolist()]
    steps = [count for row in of_each for _, count in row[:-1][:5]]
    np.testing.assert_allclose(np.bincount(steps)[1:] / len(steps), 1 / 4, atol=0.02)
    # Every character comes first equally often, and is followed by each other one equally often.
    pairs = np.zeros((ALPHABET, ALPHABET))
    for row in of_each:
        pairs[row[0][0], row[1][0]] += 1 / len(of_each)
    expected = (1 - np.eye(ALPHABET)) / (ALPHABET * (ALPHABET - 1))
    np.testing.assert_allclose(pairs, expected, atol=0.008)


CASES = [(40, 4, "variable"), (3, 9, "variable"), (10, 3, "uniform"), (2, 5, "uniform")]


@pytest.mark.parametrize(("length", "max_warp", "warping"), CASES)
def test_the_baseline_is_the_loss_of_the_shares_at_every_step(length, max_warp, warping, variable):
    """Without memory a target is known by its share among sequences with the same character."""
    task = Warp(length=length, max_warp=max_warp, warping=warping)
    batch = variable if length == 40 else drawn(task, 40_000)
    # Relative to the current character, so that all characters count together; blank apart.
    relative = np.where(batch.targets == BLANK, 0, (batch.targets - batch.inputs) % ALPHABET)
    loss = 0.0
    for step in relative:
        share = np.bincount(step, minlength=ALPHABET) / len(step)
        loss -= np.mean(np.log(share[step])) / length
    (expected,) = task.baselines((), "test").values()
    assert loss == pytest.approx(expected, rel=0.02, abs=1e-9)


def test_the_baseline_of_a_long_sequence_is_a_guess_among_the_others():
    baseline = Warp(length=10**6, max_warp=2).baselines((), "test")["memoryless"]
    assert baseline == pytest.approx(math.log(8), rel=1e-5)


def test_a_network_that_is_always_right_reaches_both_goals(variable):
    task = Warp(length=40, max_warp=4)
    outputs = 30 * jnp.eye(ALPHABET + 1)[variable.targets]
    metrics = jax.jit(task.metrics)(outputs, variable)
    assert task.solved.reached(metrics)
    assert task.mastered.reached(metrics)
    assert float(metrics["cross_entropy"]) < 1e-6
    one_wrong = task.metrics(outputs.at[7, : 3000 // 2].set(0.0).at[7, :1500, 9].set(1.0), variable)
    right_anyway = np.mean(variable.targets[7, :1500] == BLANK) / 2
    assert float(one_wrong["perfect_sequences"]) == pytest.approx(0.5 + right_anyway)
    assert float(one_wrong["accuracy"]) == pytest.approx(1 - (0.5 - right_anyway) / 40)


def test_a_sequence_of_one_step_has_no_character_before_it():
    batch = drawn(Warp(length=1, max_warp=3), 5)
    assert batch.inputs.shape == (1, 5)
    assert (batch.targets == BLANK).all()


def test_long_characters_of_a_long_sequence_have_their_steps():
    """A sum of all steps would be beyond 32 bits."""
    length, max_warp = 500_000, 10_000
    inputs = drawn(Warp(length=length, max_warp=max_warp, warping="uniform"), 1).inputs[:, 0]
    assert (np.flatnonzero(np.diff(inputs)) + 1).tolist() == [*range(max_warp, length, max_warp)]


@pytest.mark.slow
def test_the_figures_mark_wrong_answers_and_show_characters_kept():
    task = Warp(length=60, max_warp=2)
    model = make_model(model_config(hidden_size=5), task)
    params = model.init(jax.random.key(0))
    shown = answers(task, model, params, jax.random.key(1), sequences=3)
    inputs, targets, network = (np.asarray(axes.images[0].get_array()) for axes in shown.axes)
    assert targets.tolist() == [previous(row) for row in inputs.tolist()]
    assert len(shown.axes[2].texts) == (network != targets).sum() > 0
    top, bottom, _ = memory(task, model, params, jax.random.key(1), 100).axes
    (sequence,) = np.asarray(top.images[0].get_array()).tolist()
    assert len(runs(sequence)) == 12
    assert bottom.collections[0].get_array().shape == (12, len(sequence))
    begins = np.cumsum([0, *[steps for _, steps in runs(sequence)]])
    marks = [line.get_xdata()[0] for line in bottom.lines]
    assert marks[::2] == begins[:-1].tolist()
    assert marks[1::2] == [end - 1 for end in [*begins[2:], len(sequence)]]
