"""How many sequences a model reads in one call, beside those of a training."""

STEPS_AT_ONCE = 200_000
"""Steps of all sequences of a call: those of 500 sequences of 400 steps."""


def sequences_at_once(length: int, count: int, largest: int | None = None) -> int:
    """The size of equal parts of ``count`` sequences, to bound the memory of one part.

    Args:
      length: time steps of a sequence.
      count: number of sequences of all parts.
      largest: a further bound of the size.

    >>> sequences_at_once(400, 1000), sequences_at_once(5000, 1000), sequences_at_once(10**6, 1000)
    (500, 40, 1)
    """
    most = min(max(1, STEPS_AT_ONCE // length), count, largest or count)
    return next(size for size in range(most, 0, -1) if count % size == 0)
