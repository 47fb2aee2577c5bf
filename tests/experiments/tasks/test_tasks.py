"""The adding and copy tasks: data, losses, metrics, baselines and goals."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.tasks import Adding, ContinualReber, Copy, Goal, Reber
from experiments.training import keys

MANY = 20_000
ALPHABET, SYMBOLS = 8, 10
BLANK, DELIMITER = 8, 9
TASKS = [Adding(length=9), Copy(delay=3), Adding(length=9, min_length=4, markers="anywhere")]


def drawn(task, count=MANY, seed=0):
    batch = jax.jit(task.sample, static_argnums=(1, 3))((), "train", jax.random.key(seed), count)
    return jax.tree.map(np.asarray, batch)


def test_adding_is_the_sum_of_two_marked_values():
    batch = drawn(Adding(length=9))
    values, markers = batch.inputs[..., 0], batch.inputs[..., 1]
    assert batch.inputs.shape == (9, MANY, 2)
    assert set(np.unique(markers)) == {0.0, 1.0}
    assert (markers[:4].sum(axis=0) == 1).all()
    assert (markers[4:].sum(axis=0) == 1).all()
    np.testing.assert_allclose(batch.targets, (values * markers).sum(axis=0)[None], rtol=1e-6)


def test_adding_draws_values_and_positions_uniformly():
    batch = drawn(Adding(length=8))
    values, markers = batch.inputs[..., 0], batch.inputs[..., 1]
    assert 0 <= values.min() < 1e-3
    assert 1 - 1e-3 < values.max() < 1
    quartiles = np.histogram(values, bins=4, range=(0, 1))[0] / values.size
    np.testing.assert_allclose(quartiles, 0.25, atol=0.005)
    np.testing.assert_allclose(markers.mean(axis=1), 1 / 4, atol=0.015)
    # The two positions are independent.
    together = np.einsum("ib,jb->ij", markers[:4], markers[4:]) / MANY
    np.testing.assert_allclose(together, 1 / 16, atol=0.01)


@pytest.mark.parametrize("length", [2, 7])
def test_adding_marks_any_two_steps_with_equal_chances(length):
    batch = drawn(Adding(length=length, markers="anywhere"))
    values, markers = batch.inputs[..., 0], batch.inputs[..., 1]
    assert (markers.sum(axis=0) == 2).all()
    together = np.einsum("ib,jb->ij", markers, markers) / MANY
    pairs = length * (length - 1) / 2
    np.testing.assert_allclose(together[~np.eye(length, dtype=bool)], 1 / pairs, atol=0.01)
    np.testing.assert_allclose(batch.targets, (values * markers).sum(axis=0)[None], rtol=1e-6)


@pytest.mark.parametrize("markers", ["halves", "anywhere"])
def test_adding_has_held_out_sequences_of_drawn_lengths(markers):
    task = Adding(length=9, min_length=4, held_out="drawn", markers=markers)
    batch = jax.jit(task.sample, static_argnums=(1, 3))((), "test", jax.random.key(0), MANY)
    np.testing.assert_allclose(np.bincount(batch.lengths)[4:] / MANY, 1 / 6, atol=0.01)
    marked = np.asarray(batch.inputs[..., 1])
    assert (marked.sum(axis=0) == 2).all()
    assert not marked[np.arange(9)[:, None] >= np.asarray(batch.lengths)].any()


@pytest.mark.parametrize("markers", ["halves", "anywhere"])
def test_adding_baselines_equal_the_errors_of_their_strategies(markers):
    task = Adding(length=10, markers=markers)
    batch = drawn(task)
    baselines = task.baselines((), "test")
    ones = jnp.ones((10, MANY, 1))
    np.testing.assert_allclose(task.loss(ones, batch), 1 / 6, rtol=0.02)
    assert baselines["always answer 1"] == 1 / 6
    first = batch.inputs[batch.inputs[..., 1].argmax(axis=0), np.arange(MANY), 0]
    one_known = jnp.asarray(first + 0.5)[None, :, None] * ones
    np.testing.assert_allclose(
        task.loss(one_known, batch), baselines["one operand known"], rtol=0.02
    )


def test_adding_uses_the_last_step_only_and_counts_within_tolerance():
    task = Adding(length=6)
    batch = drawn(task, 4)
    outputs = np.full((6, 4, 1), 99.0, np.float32)
    outputs[-1, :, 0] = batch.targets[0] + np.array([0.0, 0.039, -0.039, 0.041], np.float32)
    metrics = task.metrics(jnp.asarray(outputs), batch)
    assert float(metrics["within_0.04"]) == 0.75
    np.testing.assert_allclose(metrics["mse"], (2 * 0.039**2 + 0.041**2) / 4, rtol=1e-4)


def test_copy_inputs_and_targets():
    delay = 5
    batch = drawn(Copy(delay=delay), 100)
    inputs, targets = batch.inputs, batch.targets
    assert inputs.shape == targets.shape == (delay + 20, 100)
    assert (inputs[:SYMBOLS] < ALPHABET).all()
    # T steps of delay, the last of them the delimiter; recall starts at the next step.
    assert (inputs[SYMBOLS : SYMBOLS + delay - 1] == BLANK).all()
    assert (inputs[SYMBOLS + delay - 1] == DELIMITER).all()
    assert (inputs[SYMBOLS + delay :] == BLANK).all()
    assert (targets[:-SYMBOLS] == BLANK).all()
    assert (targets[-SYMBOLS:] == inputs[:SYMBOLS]).all()


def test_copy_draws_symbols_uniformly():
    symbols = drawn(Copy(delay=1)).inputs[:SYMBOLS]
    share = np.bincount(symbols.ravel(), minlength=ALPHABET) / symbols.size
    assert share.shape == (ALPHABET,)
    np.testing.assert_allclose(share, 1 / ALPHABET, atol=0.005)


def test_copy_baseline_equals_the_loss_of_guessing():
    task = Copy(delay=30)
    batch = drawn(task, 500)
    certain, impossible = 0.0, -1e9
    logits = np.full((50, 500, 9), impossible, np.float32)
    logits[:-SYMBOLS, :, BLANK] = certain
    logits[-SYMBOLS:, :, :ALPHABET] = certain
    np.testing.assert_allclose(
        task.loss(jnp.asarray(logits), batch), task.baselines((), "test")["memoryless"], rtol=1e-5
    )
    assert task.baselines((), "test")["memoryless"] == 10 * math.log(8) / 50


def test_copy_metrics_count_symbols_and_whole_sequences():
    task = Copy(delay=2)
    batch = drawn(task, 4)
    right = np.eye(9, dtype=np.float32)[batch.targets]
    right[-1, 0] = np.eye(9, dtype=np.float32)[(batch.targets[-1, 0] + 1) % ALPHABET]
    # An error during the delay is not an error of recall.
    right[0, 1] = np.eye(9, dtype=np.float32)[3]
    metrics = task.metrics(jnp.asarray(right), batch)
    assert float(metrics["recall_accuracy"]) == pytest.approx(1 - 1 / 40)
    assert float(metrics["perfect_sequences"]) == 0.75


def test_adding_trains_on_lengths_drawn_uniformly_and_followed_by_zeros():
    task = Adding(length=9, min_length=4)
    batch = drawn(task)
    values, markers = batch.inputs[..., 0], batch.inputs[..., 1]
    assert batch.inputs.shape == (9, MANY, 2)
    np.testing.assert_allclose(np.bincount(batch.lengths)[4:] / MANY, 1 / 6, atol=0.01)
    t = np.arange(9)[:, None]
    assert not batch.inputs[t[:, 0] >= 4][..., 0][t[4:] >= batch.lengths].any()
    half = batch.lengths // 2
    assert ((markers * (t < half)).sum(axis=0) == 1).all()
    assert ((markers * ((t >= half) & (t < batch.lengths))).sum(axis=0) == 1).all()
    assert (markers.sum(axis=0) == 2).all()
    np.testing.assert_allclose(batch.targets, (values * markers).sum(axis=0)[None], rtol=1e-6)


def test_adding_reads_the_last_valid_step():
    task = Adding(length=6, min_length=2)
    batch = drawn(task, 50)
    outputs = np.full((6, 50, 1), 99.0, np.float32)
    outputs[batch.lengths - 1, np.arange(50), 0] = batch.targets[0]
    assert float(task.loss(jnp.asarray(outputs), batch)) == 0
    assert float(task.metrics(jnp.asarray(outputs), batch)["within_0.04"]) == 1


def test_copy_trains_on_delays_drawn_uniformly_and_ignores_what_follows():
    task = Copy(delay=5, min_delay=2)
    batch = drawn(task, 2000)
    delays = batch.lengths - 2 * SYMBOLS
    np.testing.assert_allclose(np.bincount(delays)[2:] / 2000, 1 / 4, atol=0.04)
    for delay in range(2, 6):
        row = np.flatnonzero(delays == delay)[0]
        alone = drawn(Copy(delay=delay), 1)
        inputs, targets = batch.inputs[:, row], batch.targets[:, row]
        length = delay + 2 * SYMBOLS
        assert (inputs[SYMBOLS:length] == alone.inputs[SYMBOLS:, 0]).all()
        assert (targets[:-SYMBOLS][: length - SYMBOLS] == BLANK).all()
        assert (targets[length - SYMBOLS : length] == inputs[:SYMBOLS]).all()
        assert (inputs[length:] == BLANK).all()
    valid = np.arange(task.length)[:, None] < batch.lengths
    logits = np.where(valid, batch.targets, (batch.targets + 1) % 9)
    metrics = task.metrics(jnp.asarray(30 * np.eye(9, dtype=np.float32)[logits]), batch)
    assert float(metrics["cross_entropy"]) < 1e-6
    assert float(metrics["recall_accuracy"]) == float(metrics["perfect_sequences"]) == 1


@pytest.mark.parametrize(
    ("mixed", "field", "message"),
    [
        (Adding(length=9, min_length=10), "min_length", r"at most task.length \(9\); got 10"),
        (Copy(delay=3, min_delay=4), "min_delay", r"at most task.delay \(3\); got 4"),
    ],
)
def test_lengths_are_of_training_sequences_alone(mixed, field, message):
    alone = dataclasses.replace(mixed, **{field: None})
    for split in ("validation", "test"):
        batch, expected = (t.sample((), split, jax.random.key(0), 4) for t in (mixed, alone))
        assert batch.lengths is None
        np.testing.assert_array_equal(batch.inputs, expected.inputs)
    with pytest.raises(ValueError, match=f"^task.{field}: must be {message}"):
        drawn(mixed, 4)


@pytest.mark.parametrize("task", TASKS)
def test_a_batch_is_a_function_of_its_key(task):
    once, again, other = drawn(task, 50), drawn(task, 50), drawn(task, 50, seed=1)
    np.testing.assert_array_equal(once.inputs, again.inputs)
    assert not np.array_equal(once.inputs, other.inputs)


def test_solved_and_mastered_are_as_published():
    assert str(Adding.solved) == "mse < 0.001"
    assert str(Adding.mastered) == "within_0.04 >= 0.99"
    assert str(Copy.solved) == "recall_accuracy >= 0.99"
    assert str(Copy.mastered) == "perfect_sequences >= 0.99"


def test_a_goal_is_checked_for_every_seed():
    below, least = Goal("m", "<", 0.5), Goal("m", ">=", 0.5)
    metrics = {"m": np.array([0.4, 0.5, 0.6])}
    assert below.reached(metrics).tolist() == [True, False, False]
    assert least.reached(metrics).tolist() == [False, True, True]


def test_a_goal_is_reached_by_a_number_of_a_file_as_by_the_float32_that_it_was():
    cases = (Goal("m", "<", 1e-4), 1e-4, False), (Goal("m", ">=", 0.9), 0.9, True)
    for goal, at, reached in cases:
        measured = np.array([at], np.float32)
        assert goal.reached({"m": measured}).tolist() == [reached]
        assert goal.reached({"m": measured.tolist()}).tolist() == [reached]
        assert goal.reached({"m": jnp.asarray(measured)}).tolist() == [reached]


@pytest.mark.parametrize("count", [41, 47, 100])
def test_all_of_any_number_of_sequences_are_all(count):
    """The mean of 41 ones is 0.99999994 in float32."""
    share = jax.jit(jnp.mean)(jnp.ones(count))
    for task in (Reber, ContinualReber):
        assert task.mastered.reached({task.mastered.metric: float(share)})
        assert not task.mastered.reached({task.mastered.metric: 1 - 1 / 100_000})


def test_a_goal_of_two_metrics_needs_both():
    goal = Goal("wrong", "<", 0.1, also=Goal("right", ">=", 0.5))
    metrics = {"wrong": np.array([0.0, 0.0, 0.2]), "right": np.array([0.5, 0.4, 0.5])}
    assert goal.reached(metrics).tolist() == [True, False, False]
    assert goal.metrics == ("wrong", "right")
    assert str(goal) == "wrong < 0.1 and right >= 0.5"


def test_training_never_draws_a_held_out_key():
    updates, seeds = 2000, range(0, 40)
    train = jnp.stack([keys.data_key("train", seed) for seed in seeds])
    per_update = jax.vmap(jax.vmap(jax.random.fold_in, (None, 0)), (0, None))
    drawn = jax.random.key_data(per_update(train, jnp.arange(updates))).reshape(-1, 2)
    roots = jnp.concatenate([train, jnp.stack([keys.init_key(s) for s in seeds])])
    trained = {tuple(k) for k in np.concatenate([drawn, jax.random.key_data(roots)]).tolist()}
    assert len(trained) == len(drawn) + len(roots)
    for split in ("validation", "test"):
        held_out = [tuple(jax.random.key_data(keys.data_key(split, s)).tolist()) for s in seeds]
        assert len(set(held_out)) == 1, "held-out sequences must be the same for every seed"
        assert not trained & set(held_out)
    assert keys.data_key("validation", 0) != keys.data_key("test", 0)
