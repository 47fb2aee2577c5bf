"""The baseline of the language model: n-grams with Witten-Bell smoothing (1991)."""

import numpy as np

ASCII = 128


def ngram_bits(train: np.ndarray, test: np.ndarray, n: int) -> float:
    """Bits per character of an n-gram model, fitted to `train` and evaluated on `test`.

    Witten and Bell's rule interpolates with shorter contexts: the weight of a context is its count,
    and the weight of the shorter context is the number of distinct characters that followed it.

    Args:
      train: ASCII codes.
      test: ASCII codes.
      n: length of an n-gram, one more than the longest context.

    Returns:
      The cross-entropy in bits.
    """
    order = n - 1
    codes = [np.zeros(len(text) - order, np.int64) for text in (train, test)]
    following = [text[order:].astype(np.int64) for text in (train, test)]
    p = np.full(len(test) - order, 1 / ASCII)
    for k in range(order + 1):
        if k:  # contexts of k characters, as numbers in base 128
            place = np.int64(ASCII) ** (k - 1)
            codes = [
                code + text[order - k : len(text) - k] * place
                for code, text in zip(codes, (train, test), strict=True)
            ]
        pairs, count = np.unique(codes[0] * ASCII + following[0], return_counts=True)
        contexts, first = np.unique(pairs // ASCII, return_index=True)
        total, kinds = np.add.reduceat(count, first), np.diff(np.append(first, len(pairs)))
        at = np.searchsorted(contexts, codes[1]).clip(max=len(contexts) - 1)
        known = contexts[at] == codes[1]
        pair = codes[1] * ASCII + following[1]
        where = np.searchsorted(pairs, pair).clip(max=len(pairs) - 1)
        matches = np.where(pairs[where] == pair, count[where], 0)
        p = np.where(known, (matches + kinds[at] * p) / (total[at] + kinds[at]), p)
    return float(-np.log2(p).mean())
