"""The digits task: splits, order of the pixels, metrics, baselines, errors and figures."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from pydantic import ValidationError
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from experiments.config.model import model_config
from experiments.config.schema import Config
from experiments.config.sections import EvalConfig
from experiments.errors import UserError
from experiments.model import make_model
from experiments.tasks import Batch, Digits
from experiments.training.data import load_data

PLAIN, PERMUTED = Digits(), Digits(permuted=True)


@pytest.fixture(scope="module")
def data():
    return {task: task.load() for task in (PLAIN, PERMUTED)}


@pytest.fixture(scope="module")
def arrays():
    images, labels = load_digits(return_X_y=True)
    return images / 16, labels


def drawn(task, data, split, count, seed=0):
    sample = jax.jit(task.sample, static_argnums=(1, 3))
    return jax.tree.map(np.asarray, sample(data, split, jax.random.key(seed), count))


def test_every_image_is_in_one_split(data, arrays):
    images, labels = arrays
    sizes = {split: len(part.labels) for split, part in data[PLAIN].items()}
    assert sizes == {"test": 360, "validation": 360, "train": 1077}
    for split, start in (("test", 0), ("validation", 1)):
        np.testing.assert_allclose(data[PLAIN][split].pixels.T, images[start::5], rtol=1e-6)
        np.testing.assert_array_equal(data[PLAIN][split].labels, labels[start::5])
    together = np.concatenate([part.pixels for part in data[PLAIN].values()], axis=1).T
    assert sorted(map(bytes, together)) == sorted(map(bytes, images.astype(np.float32)))


def test_permuted_pixels_are_the_same_in_another_order(data):
    order = PERMUTED.order()
    assert sorted(order) == [*range(64)]
    assert (order != np.arange(64)).sum() > 50
    for split, part in data[PERMUTED].items():
        np.testing.assert_array_equal(part.pixels, data[PLAIN][split].pixels[order])
        np.testing.assert_array_equal(part.labels, data[PLAIN][split].labels)
    other = Digits(permuted=True, permutation_seed=1)
    np.testing.assert_array_equal(other.order(), other.order())
    assert (other.order() != order).any()
    assert PLAIN.order().tolist() == Digits(permutation_seed=1).order().tolist()
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        Digits(permutation_seed=-1)


def test_training_draws_images_and_a_test_reads_all_once(data):
    batch = drawn(PLAIN, data[PLAIN], "train", 5000)
    assert batch.inputs.shape == (64, 5000, 1)
    assert batch.targets.shape == (1, 5000)
    train = data[PLAIN]["train"]
    label_of = dict(zip(map(bytes, train.pixels.T), train.labels, strict=True))
    for image, label in zip(batch.inputs[..., 0].T, batch.targets[0], strict=True):
        assert label_of[bytes(image)] == label
    # With replacement, each as likely as every other.
    counts = np.unique(batch.inputs[..., 0], axis=1, return_counts=True)[1]
    assert counts.mean() == pytest.approx(5000 / 1077, rel=0.03)
    assert counts.max() < 20
    every = drawn(PLAIN, data[PLAIN], "test", 360, seed=1)
    np.testing.assert_array_equal(every.inputs[..., 0], data[PLAIN]["test"].pixels)
    some = drawn(PLAIN, data[PLAIN], "test", 36)
    np.testing.assert_array_equal(some.inputs[..., 0], data[PLAIN]["test"].pixels[:, ::10])


def test_only_the_last_step_answers():
    targets = np.array([[3, 1, 4, 1]])
    outputs = np.random.default_rng(0).normal(size=(64, 4, 10)).astype(np.float32)
    outputs[-1] = 5 * np.eye(10)[[3, 1, 4, 2]]
    found = PLAIN.metrics(jnp.asarray(outputs), Batch(np.zeros((64, 4, 1)), jnp.asarray(targets)))
    assert float(found["accuracy"]) == 0.75
    right, wrong = np.exp(5) / (np.exp(5) + 9), 1 / (np.exp(5) + 9)
    expected = -(3 * np.log(right) + np.log(wrong)) / 4
    assert float(found["cross_entropy"]) == pytest.approx(expected, rel=1e-5)


def test_baselines_are_the_accuracies_of_classifiers_fitted_to_the_training_images(data, arrays):
    images, labels = arrays
    training = np.arange(1797) % 5 >= 2
    linear = LogisticRegression(max_iter=1000).fit(images[training], labels[training])
    most = np.bincount(labels[training]).argmax()
    for split, start in (("test", 0), ("validation", 1)):
        found = PLAIN.baselines(data[PLAIN], split)
        expected = linear.score(images[start::5], labels[start::5])
        assert found["linear classifier"] == pytest.approx(expected, abs=1.5 / 360)
        assert found["most frequent class"] == np.mean(labels[start::5] == most)
        # Mastered is better than both.
        assert 0.95 < found["linear classifier"] < Digits.mastered.threshold
        assert 0.05 < found["most frequent class"] < 0.12


def test_what_is_missing_is_an_error(monkeypatch):
    too_many = Config(task=PLAIN, eval=EvalConfig(sequences=361, batch_size=361))
    with pytest.raises(UserError, match=r"^digits: there are 360 test images; got a batch size"):
        load_data(too_many, ["test"])
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(UserError, match=r"not installed: pip install -r requirements/digits.txt"):
        load_data(too_many, ["test"])


def test_figures_have_every_digit_and_put_pixels_where_they_belong(data):
    model = make_model(model_config(hidden_size=4), PERMUTED)
    params = model.init(jax.random.key(0))
    figures = PERMUTED.figures(model, params, data[PERMUTED], jax.random.key(0), 360)
    assert figures.keys() == {"images.png", "accuracy.png"}
    shown = [axes.images[0].get_array() for axes in figures["images.png"].axes[::3]]
    plain = {bytes(image) for image in np.asarray(data[PLAIN]["test"].pixels).T}
    assert len(shown) == 10
    assert all(bytes(np.asarray(image).ravel()) in plain for image in shown)
    for figure in figures.values():
        FigureCanvasAgg(figure).draw()
