"""An n-gram model of characters with interpolated, modified Kneser-Ney smoothing.

It is a strong baseline with a memory of a few characters. For the context ``u = u_1 .. u_k-1``, and
``u'`` the context without its first character,

    p(w | u) = (c(uw) - D(c(uw))) / c(u.) + gamma(u) p(w | u')
    gamma(u) = (D_1 N_1(u.) + D_2 N_2(u.) + D_3 N_3+(u.)) / c(u.)

where ``c`` is the number of occurrences at the highest order, and the number of distinct characters
to the left at lower orders; ``N_j(u.)`` is the number of characters that follow ``u`` with a count
of ``j``. Order 0 is the uniform distribution. For an unseen context, ``p(w | u) = p(w | u')``.

Reference: Kneser & Ney (1995), *Improved backing-off for m-gram language modeling*; Chen & Goodman
(1999), *An empirical study of smoothing techniques for language modeling*.
"""

from typing import NamedTuple

import numpy as np

MAX_DISCOUNT = 3
"""All counts of three and more have the same discount."""


class Level(NamedTuple):
    """The distribution of one order ``k``. Strings of characters are numbers in base `V`, sorted.

    Attributes:
      grams: strings of ``k`` characters in the training text, ``int64 [G]``.
      mass: their discounted probability given the context, ``float64 [G]``.
      contexts: strings of ``k - 1`` characters, ``int64 [C]``.
      backoff: the probability left for the next lower order, ``float64 [C]``.
    """

    grams: np.ndarray
    mass: np.ndarray
    contexts: np.ndarray
    backoff: np.ndarray


class NGram(NamedTuple):
    """A fitted model: its levels from order 1 upwards, and the number of classes `V`."""

    levels: tuple[Level, ...]
    vocabulary_size: int


def fit(train: np.ndarray, order: int, vocabulary_size: int) -> NGram:
    """Fit a model to a text.

    Args:
      train: class indices ``[N]``.
      order: length of the longest strings, 5 for a 5-gram.
      vocabulary_size: number of classes `V`.

    Raises:
      ValueError: if `order` is below 1, the text is shorter than `order`, or strings of `order`
        characters do not fit into 63 bits.
    """
    if order < 1 or vocabulary_size**order >= 2**63:
        raise ValueError(
            f"ngram.fit: order must be at least 1, and vocabulary_size ** order below 2 ** 63;"
            f" got order {order} and vocabulary_size {vocabulary_size}"
        )
    if len(train) < order:
        raise ValueError(f"ngram.fit: a text of {len(train)} is too short for order {order}")
    grams, counts = np.unique(strings(train, order, vocabulary_size), return_counts=True)
    levels = [_level(grams, counts, vocabulary_size)]
    for k in range(order - 1, 0, -1):
        # Each distinct string of k + 1 characters is one left neighbour of its last k characters.
        # With return_counts NumPy sorts instead of hashing, which is ten times faster here.
        longer, _ = np.unique(strings(train, k + 1, vocabulary_size), return_counts=True)
        grams, counts = np.unique(longer % vocabulary_size**k, return_counts=True)
        levels.append(_level(grams, counts, vocabulary_size))
    return NGram(tuple(reversed(levels)), vocabulary_size)


def bits(model: NGram, text: np.ndarray) -> np.ndarray:
    """Bits of each character of a text under the model, ``float64 [N]``.

    Args:
      model: a fitted model.
      text: class indices ``[N]``.

    Returns:
      ``-log2 p`` of each character given the ``order - 1`` characters before it, or fewer at the
      start of the text.
    """
    p = np.full(len(text), 1 / model.vocabulary_size)
    for k, level in enumerate(model.levels, start=1):
        if len(text) < k:
            break
        grams = strings(text, k, model.vocabulary_size)
        mass = _look_up(level.grams, level.mass, grams, default=0.0)
        backoff = _look_up(
            level.contexts, level.backoff, grams // model.vocabulary_size, default=1.0
        )
        p[k - 1 :] = mass + backoff * p[k - 1 :]
    return -np.log2(p)


def strings(text: np.ndarray, k: int, vocabulary_size: int) -> np.ndarray:
    """All strings of `k` characters as numbers, whose highest digit is the first character.

    >>> strings(np.array([1, 2, 3]), k=2, vocabulary_size=10).tolist()
    [12, 23]
    """
    count = len(text) - k + 1
    numbers = np.zeros(count, np.int64)
    for i in range(k):
        numbers *= vocabulary_size
        numbers += text[i : i + count]
    return numbers


def discounts(counts: np.ndarray) -> np.ndarray:
    """The discounts of the counts 0, 1, 2, and 3 or more, ``float64 [4]``; zero for the count 0.

    These are Chen & Goodman's estimates from the number of strings with a count of 1, 2, 3 and 4.
    If the text is too small for them, or every string is frequent, all discounts are 1/2: with a
    discount of zero, an unseen character would have probability zero.

    >>> discounts(np.array([1, 1, 1, 1, 2, 2, 3, 4])).tolist()
    [0.0, 0.5, 1.25, 1.0]
    """
    n = np.array([np.count_nonzero(counts == j) for j in range(1, MAX_DISCOUNT + 2)])
    if np.all(n > 0):
        j = np.arange(1, MAX_DISCOUNT + 1)
        estimates = j - (j + 1) * (n[0] / (n[0] + 2 * n[1])) * n[1:] / n[:-1]
        if np.all(estimates > 0):
            return np.concatenate([[0.0], estimates])
    return np.array([0.0, 0.5, 0.5, 0.5])


def _level(grams: np.ndarray, counts: np.ndarray, vocabulary_size: int) -> Level:
    """The distribution of one order, from its sorted strings and their counts."""
    discount = discounts(counts)[np.minimum(counts, MAX_DISCOUNT)]
    # The strings are sorted, so strings with the same context are adjacent.
    contexts, first, inverse = np.unique(
        grams // vocabulary_size, return_index=True, return_inverse=True
    )
    total = np.add.reduceat(counts, first)
    return Level(
        grams=grams,
        mass=(counts - discount) / total[inverse],
        contexts=contexts,
        backoff=np.add.reduceat(discount, first) / total,
    )


def _look_up(
    keys: np.ndarray, values: np.ndarray, queries: np.ndarray, default: float
) -> np.ndarray:
    """The values of the queried keys, or the default for missing keys; `keys` are sorted."""
    at = np.minimum(np.searchsorted(keys, queries), len(keys) - 1)
    return np.where(keys[at] == queries, values[at], default)
