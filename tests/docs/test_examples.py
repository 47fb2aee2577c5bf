"""The examples reach what they state, and stay short."""

import ast
import importlib
import re
import sys
from pathlib import Path

import jax
import pytest

FOLDER = Path(__file__).parents[2] / "examples"
MODELS = ["characters", "digits", "sunspots"]


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))

    def load(name):
        for module in (*MODELS, "ngram"):
            sys.modules.pop(module, None)
        return importlib.import_module(name)

    with jax.numpy_dtype_promotion("standard"):  # as Optax and Flax's own layers need
        yield load


@pytest.mark.parametrize("name", MODELS)
def test_an_example_is_short_and_says_what_to_expect(name):
    text = (FOLDER / f"{name}.py").read_text()
    assert len(text.splitlines()) < 100
    page = ast.get_docstring(ast.parse(text))
    assert re.search(rf"^Command:  python examples/{name}\.py", page, re.M)
    assert re.search(r"^States: ", page, re.M)


def test_ngrams_find_what_repeats(example):
    bits = example("ngram").ngram_bits
    text = example("characters").np.array([*b"abc" * 200])
    assert bits(text[:300], text[300:], 3) < 0.1
    assert bits(text[:300], text[300:], 1) == pytest.approx(1.585, abs=0.05)  # one of three
    assert bits(text[:300], text[300:] + 10, 3) > 6  # nothing seen before: one of 128


@pytest.mark.slow
def test_digits(example):
    right = example("digits").main()
    assert right["LSTM"] > 0.972
    assert right["LSTM"] > right["logistic regression"] + 0.005
    assert right["logistic regression"] > 0.955


@pytest.mark.slow
def test_characters(example):
    bits = example("characters").main()
    best = min(value for name, value in bits.items() if name != "LSTM")
    assert bits["LSTM"] < 2.0
    assert bits["LSTM"] < best - 0.14
    assert best < 2.25


@pytest.mark.slow
def test_sunspots(example):
    errors = example("sunspots").main()
    assert errors["LSTM"][0] < 12.6
    assert errors["LSTM"][0] < errors["autoregression"][0] - 0.8
    assert errors["LSTM"][1] < 1.03 * errors["autoregression"][1]
    assert errors["autoregression"][0] == pytest.approx(13.4, abs=0.1)
