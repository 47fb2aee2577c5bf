"""The chars task: windows of text, and the bits of the same characters under the n-grams."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.tasks import ngram
from experiments.tasks.chars import Chars, CharsData, CharsTargets, HeldOut
from experiments.tasks.corpus import VOCABULARY_SIZE, load_corpus
from experiments.tasks.task import Batch

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def real() -> CharsData:
    return Chars().load()


@pytest.fixture(scope="module")
def models() -> dict[int, ngram.NGram]:
    return {order: ngram.fit(load_corpus().train, order, VOCABULARY_SIZE) for order in (1, 5)}


def numbered(train: int = 200, validation: int = 101, test: int = 90) -> CharsData:
    """Texts whose characters and bits are functions of their position."""

    def held_out(length: int, offset: float) -> HeldOut:
        at = jnp.arange(length, dtype=jnp.float32)
        return HeldOut(jnp.arange(length, dtype=jnp.uint8), at + offset, at - offset)

    return CharsData(
        jnp.arange(train, dtype=jnp.uint8), held_out(validation, 1000), held_out(test, 2000)
    )


def test_a_training_batch_is_windows_and_their_next_characters():
    data = numbered()
    batch = Chars(length=7).sample(data, "train", KEY, 300)
    assert batch.inputs.shape == batch.targets.ids.shape == (7, 300)
    assert batch.inputs.dtype == batch.targets.ids.dtype == jnp.int32
    starts = np.asarray(batch.inputs[0])
    np.testing.assert_array_equal(batch.inputs, starts + np.arange(7)[:, None])
    np.testing.assert_array_equal(batch.targets.ids, starts + np.arange(1, 8)[:, None])
    assert batch.targets.fivegram_bits is None
    assert batch.targets.unigram_bits is None


def test_training_windows_start_anywhere_and_end_inside_the_text():
    starts = Chars(length=7).sample(numbered(train=20), "train", KEY, 2000).inputs[0]
    assert set(starts.tolist()) == set(range(13))


def test_a_training_text_shorter_than_one_window_is_an_error():
    batch = Chars(length=7).sample(numbered(train=8), "train", KEY, 3)
    np.testing.assert_array_equal(batch.inputs[0], np.zeros(3))
    with pytest.raises(ValueError, match="length must be below the 7 characters"):
        Chars(length=7).sample(numbered(train=7), "train", KEY, 3)


def test_training_batches_are_a_function_of_the_key():
    task, data = Chars(length=7), numbered()
    sample = jax.jit(lambda key: task.sample(data, "train", key, 50).inputs)
    np.testing.assert_array_equal(sample(KEY), task.sample(data, "train", KEY, 50).inputs)
    assert not np.array_equal(sample(KEY), sample(jax.random.key(1)))


@pytest.mark.parametrize("split", ["validation", "test"])
@pytest.mark.parametrize(("length", "batch_size"), [(10, 8), (10, 3), (1, 80), (89, 1)])
def test_held_out_windows_are_spread_over_the_text_and_share_no_target(split, length, batch_size):
    data = numbered()
    batch = Chars(eval_length=length).sample(data, split, KEY, batch_size)
    inputs, ids = np.asarray(batch.inputs), np.asarray(batch.targets.ids)
    assert inputs.shape == ids.shape == (length, batch_size)
    np.testing.assert_array_equal(inputs, inputs[0] + np.arange(length)[:, None])
    np.testing.assert_array_equal(ids, inputs + 1)
    assert len(np.unique(ids)) == ids.size
    stride = (len(getattr(data, split).ids) - 1) // batch_size
    np.testing.assert_array_equal(inputs[0], stride * np.arange(batch_size))


@pytest.mark.parametrize(("split", "offset"), [("validation", 1000), ("test", 2000)])
def test_ngram_bits_belong_to_the_targets(split, offset):
    targets = Chars(eval_length=10).sample(numbered(), split, KEY, 8).targets
    np.testing.assert_array_equal(targets.fivegram_bits, targets.ids + offset)
    np.testing.assert_array_equal(targets.unigram_bits, targets.ids - offset)


def test_held_out_windows_do_not_depend_on_the_key():
    task, data = Chars(eval_length=10), numbered()
    first, second = (task.sample(data, "test", jax.random.key(i), 4) for i in range(2))
    np.testing.assert_array_equal(first.inputs, second.inputs)


def test_more_windows_than_the_text_has_are_an_error():
    """99 characters have 98 targets: eight windows of eleven, not nine."""
    task, data = Chars(eval_length=11), numbered(test=99)
    assert task.sample(data, "test", KEY, 8).inputs.shape == (11, 8)
    with pytest.raises(ValueError, match=r"the test text has room for 8 windows .* got .* 9"):
        task.sample(data, "test", KEY, 9)


def test_the_loss_of_uniform_outputs_is_the_logarithm_of_the_vocabulary():
    task, data = Chars(length=7), numbered(train=90)
    batch = task.sample(data, "train", KEY, 4)
    assert task.loss(jnp.zeros((7, 4, VOCABULARY_SIZE)), batch) == pytest.approx(math.log2(98))


def test_the_loss_is_the_mean_of_minus_log2_p_of_the_targets():
    rng = np.random.default_rng(0)
    outputs = rng.standard_normal((5, 3, VOCABULARY_SIZE))
    ids = rng.integers(0, VOCABULARY_SIZE, (5, 3))
    p = np.exp(outputs) / np.exp(outputs).sum(axis=-1, keepdims=True)
    expected = -np.log2([p[t, b, ids[t, b]] for t in range(5) for b in range(3)]).mean()
    batch = Batch(jnp.asarray(ids), CharsTargets(jnp.asarray(ids), None, None))
    assert Chars().loss(jnp.asarray(outputs, jnp.float32), batch) == pytest.approx(expected)


def test_held_out_metrics_compare_means_over_the_same_characters():
    ids = jnp.array([[1, 2], [3, 4]])
    costs = jnp.array([[1.0, 2.0], [3.0, 8.0]])
    batch = Batch(ids, CharsTargets(ids, costs, 2 * costs))
    metrics = Chars().metrics(jnp.zeros((2, 2, VOCABULARY_SIZE)), batch)
    assert {name: float(value) for name, value in metrics.items()} == pytest.approx(
        {
            "bits_per_character": math.log2(98),
            "fivegram_bits": 3.5,
            "unigram_bits": 7.0,
            "bits_over_fivegram": math.log2(98) - 3.5,
        }
    )
    assert not Chars.solved.reached(metrics)


def test_solved_is_strictly_fewer_bits_than_the_fivegram():
    task, ids = Chars(), jnp.array([[1], [2]])
    certain = 100 * jax.nn.one_hot(ids, VOCABULARY_SIZE)
    for cost, solved in ((0.0, False), (1e-3, True)):
        costs = jnp.full(ids.shape, cost)
        metrics = task.metrics(certain, Batch(ids, CharsTargets(ids, costs, costs)))
        assert bool(task.solved.reached(metrics)) is solved


def test_training_metrics_have_no_ngram_bits():
    task = Chars(length=7)
    batch = task.sample(numbered(train=90), "train", KEY, 4)
    assert set(task.metrics(jnp.zeros((7, 4, VOCABULARY_SIZE)), batch)) == {"bits_per_character"}


@pytest.mark.parametrize("split", ["train", "validation"])
def test_runs_jitted_under_strict_dtype_promotion(split):
    task, data = Chars(length=7, eval_length=7), numbered(train=90, validation=90)

    @jax.jit
    def gradient_and_metrics(outputs, data, key):
        batch = task.sample(data, split, key, 4)
        return jax.grad(task.loss)(outputs, batch), task.metrics(outputs, batch)

    with jax.numpy_dtype_promotion("strict"):
        gradient, metrics = gradient_and_metrics(
            jnp.zeros((7, 4, VOCABULARY_SIZE), jnp.float32), data, KEY
        )
    assert gradient.dtype == jnp.float32
    assert all(value.dtype == jnp.float32 for value in metrics.values())


@pytest.mark.parametrize("setting", [{"length": 0}, {"eval_length": 0}, {"length": 1.5}, {"n": 1}])
def test_invalid_settings_are_errors(setting):
    with pytest.raises(ValueError, match="validation error"):
        Chars(**setting)


@pytest.mark.slow
def test_loaded_text_is_the_corpus(real):
    corpus = load_corpus()
    np.testing.assert_array_equal(real.train, corpus.train)
    np.testing.assert_array_equal(real.validation.ids, corpus.validation)
    np.testing.assert_array_equal(real.test.ids, corpus.test)
    assert real.train.dtype == real.test.ids.dtype == jnp.uint8


@pytest.mark.slow
@pytest.mark.parametrize("split", ["validation", "test"])
def test_loaded_bits_are_those_of_ngrams_fitted_to_the_training_files(real, models, split):
    """The bits of a single window agree at characters with the same four before them."""
    batch = Chars(eval_length=100).sample(real, split, KEY, 50)
    for order, found in ((5, batch.targets.fivegram_bits), (1, batch.targets.unigram_bits)):
        for b in (0, 17, 49):
            window = np.append(batch.inputs[:, b], batch.targets.ids[-1, b])
            expected = ngram.bits(models[order], window)[order:]
            np.testing.assert_allclose(found[order - 1 :, b], expected, rtol=1e-6)


def test_the_fivegram_is_a_strong_baseline(real):
    baselines = Chars().baselines(real, "test")
    assert list(baselines) == ["5-gram", "unigram"]
    assert 1.6 < baselines["5-gram"] < 2.0
    assert 4.2 < baselines["unigram"] < 4.8
    assert baselines["5-gram"] == pytest.approx(np.mean(np.asarray(real.test.fivegram_bits)), 1e-4)
    other = Chars().baselines(real, "validation")["5-gram"]
    assert other == pytest.approx(np.mean(np.asarray(real.validation.fivegram_bits)), 1e-4)
