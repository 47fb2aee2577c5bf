"""The n-gram model against the textbook formulas, one string at a time."""

import math
import time
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.tasks import ngram


class Textbook:
    """Interpolated modified Kneser-Ney as Chen & Goodman (1999) write it, with dictionaries."""

    def __init__(self, text: list[int], order: int, V: int):
        self.order, self.V = order, V
        self.counts: dict[int, dict[tuple, int]] = {}
        for k in range(1, order + 1):
            if k == order:
                self.counts[k] = Counter(tuple(text[i : i + k]) for i in range(len(text) - k + 1))
            else:
                left = defaultdict(set)
                for i in range(1, len(text) - k + 1):
                    left[tuple(text[i : i + k])].add(text[i - 1])
                self.counts[k] = {gram: len(chars) for gram, chars in left.items()}
        self.discount = {k: self._discounts(self.counts[k]) for k in self.counts}

    @staticmethod
    def _discounts(counts: dict[tuple, int]) -> list[float]:
        n1, n2, n3, n4 = (sum(c == j for c in counts.values()) for j in (1, 2, 3, 4))
        if min(n1, n2, n3, n4) > 0:
            Y = n1 / (n1 + 2 * n2)
            D = [0.0, 1 - 2 * Y * n2 / n1, 2 - 3 * Y * n3 / n2, 3 - 4 * Y * n4 / n3]
            if min(D[1:]) > 0:
                return D
        return [0.0, 0.5, 0.5, 0.5]

    def p(self, context: tuple, char: int) -> float:
        if len(context) >= self.order:
            context = context[len(context) - self.order + 1 :]
        lower = self.p(context[1:], char) if context else 1 / self.V
        k = len(context) + 1
        followers = {w: self.counts[k].get((*context, w), 0) for w in range(self.V)}
        total = sum(followers.values())
        if total == 0:
            return lower
        D = self.discount[k]
        c = followers[char]
        left_over = sum(D[min(count, 3)] for count in followers.values())
        return (c - D[min(c, 3)]) / total + left_over / total * lower


def draw(length: int, V: int, seed: int) -> np.ndarray:
    """A text in which some characters, and some pairs, are far more common than others."""
    rng = np.random.default_rng(seed)
    text = rng.choice(V, size=length, p=(w := 1.0 / np.arange(1, V + 1) ** 2) / w.sum())
    text[1::3] = (text[::3][: len(text[1::3])] + 1) % V
    return text.astype(np.uint8)


def distribution(model: ngram.NGram, context: list[int]) -> np.ndarray:
    """p(. | context), each character scored at the end of its own text."""
    texts = [np.array([*context, w], np.uint8) for w in range(model.vocabulary_size)]
    return np.array([2.0 ** -ngram.bits(model, text)[-1] for text in texts])


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
@pytest.mark.parametrize(("length", "V", "seed"), [(400, 6, 0), (2000, 12, 1), (9, 3, 2)])
def test_equals_the_textbook_at_every_character(order, length, V, seed):
    train, text = draw(length, V, seed), draw(60, V, seed + 10)
    model, textbook = ngram.fit(train, order, V), Textbook(train.tolist(), order, V)
    expected = [
        -math.log2(textbook.p(tuple(text[max(0, i - order + 1) : i].tolist()), int(text[i])))
        for i in range(len(text))
    ]
    np.testing.assert_allclose(ngram.bits(model, text), expected, rtol=1e-12)


def test_the_textbook_text_uses_three_different_estimated_discounts():
    """Otherwise the comparison above would only test the fallback."""
    _, counts = np.unique(ngram.strings(draw(2000, 12, 1), 3, 12), return_counts=True)
    discounts = ngram.discounts(counts)
    assert len(set(discounts.tolist())) == 4
    assert Textbook._discounts(dict(enumerate(counts.tolist()))) == pytest.approx(
        discounts.tolist()
    )


@settings(max_examples=60, deadline=None)
@given(
    train=st.lists(st.integers(0, 4), min_size=5, max_size=80),
    order=st.integers(1, 5),
    context=st.lists(st.integers(0, 5), max_size=6),
)
def test_probabilities_sum_to_one_after_any_context(train, order, context):
    """Class 5 is not in the training text, so contexts with it are unseen."""
    p = distribution(ngram.fit(np.array(train), order, 6), context)
    assert p.sum() == pytest.approx(1.0, abs=1e-12)
    assert p.min() > 0


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), order=st.integers(2, 5))
def test_only_the_last_characters_count(seed, order):
    model = ngram.fit(draw(500, 5, seed), order, 5)
    text = draw(40, 5, seed + 1)
    other = text.copy()
    other[:10] = (other[:10] + 1) % 5
    changed, same = ngram.bits(model, text), ngram.bits(model, other)
    np.testing.assert_array_equal(changed[10 + order - 1 :], same[10 + order - 1 :])
    assert not np.array_equal(changed[:10], same[:10])


def test_unigram_is_the_smoothed_frequency():
    """Seven, two and one of ten, three unseen; too few counts for estimates, so 1/2 off each."""
    text = np.array([0, 0, 0, 1, 0, 0, 1, 0, 2, 0])
    p = distribution(ngram.fit(text, 1, 6), [])
    left_over = 3 * 0.5 / 10 / 6
    expected = np.array([6.5, 1.5, 0.5, 0, 0, 0]) / 10 + left_over
    np.testing.assert_allclose(p, expected, rtol=1e-12)


def test_lower_orders_count_left_neighbours_not_occurrences():
    """After an unseen context, 1 (always after 0) is as likely as it has neighbours: one."""
    text = np.array([0, 1] * 50 + [2, 3, 0, 3, 2, 3, 4, 3])
    p = distribution(ngram.fit(text, 2, 6), [5])
    assert p[3] > 1.5 * p[1]
    frequency = distribution(ngram.fit(text, 1, 6), [])
    assert frequency[1] > 5 * frequency[3]


def test_a_trigram_reaches_the_entropy_of_a_second_order_chain():
    """A bigram does not."""
    rng = np.random.default_rng(0)
    V = 8
    table = rng.dirichlet(np.full(V, 0.2), size=(V, V)) * 0.9 + 0.1 / V
    cumulative, draws = table.cumsum(axis=-1), rng.random(120_000)
    chain = [0, 1]
    for u in draws:
        chain.append(min(int(np.searchsorted(cumulative[chain[-2], chain[-1]], u)), V - 1))
    train, test = np.array(chain[:100_000]), np.array(chain[100_000:])
    entropy = -np.log2(table[test[:-2], test[1:-1], test[2:]]).mean()
    trigram = ngram.bits(ngram.fit(train, 3, V), test)[2:].mean()
    fivegram = ngram.bits(ngram.fit(train, 5, V), test)[2:].mean()
    bigram = ngram.bits(ngram.fit(train, 2, V), test)[2:].mean()
    assert entropy < trigram < entropy + 0.01
    assert entropy < fivegram < entropy + 0.1
    assert bigram > entropy + 0.2


def test_a_text_shorter_than_the_order_is_scored():
    model = ngram.fit(draw(300, 5, 0), 4, 5)
    assert ngram.bits(model, np.array([], np.uint8)).shape == (0,)
    np.testing.assert_allclose(
        ngram.bits(model, np.array([3, 1], np.uint8)),
        ngram.bits(model, np.array([3, 1, 4, 0, 2], np.uint8))[:2],
    )


def test_large_class_indices_do_not_overflow_their_dtype():
    text = np.array([97, 3, 96, 97, 0], np.uint8)
    codes = ngram.strings(text, 5, 98)
    assert codes.tolist() == [97 * 98**4 + 3 * 98**3 + 96 * 98**2 + 97 * 98]


@pytest.mark.parametrize(
    ("length", "order", "V", "words"),
    [
        (10, 0, 5, "order must be at least 1"),
        (10, 10, 98, r"below 2 \*\* 63"),
        (3, 4, 5, "too short"),
    ],
)
def test_invalid_settings_are_errors(length, order, V, words):
    with pytest.raises(ValueError, match=words):
        ngram.fit(np.zeros(length, np.uint8), order, V)


def test_a_5_gram_of_a_million_characters_fits_in_seconds():
    text = draw(1_000_000, 98, 0)
    start = time.perf_counter()
    model = ngram.fit(text, 5, 98)
    ngram.bits(model, text[:100_000])
    assert time.perf_counter() - start < 10
