"""How many sequences a model reads in one call, where only a picture needs them."""

STEPS_AT_ONCE = 200_000
"""Steps of all sequences of a call: those of 500 sequences of 400 steps."""


def sequences_at_once(length: int, count: int) -> int:
    """The size of equal parts of ``count`` sequences, to bound the memory of one part.

    Args:
      length: time steps of a sequence.
      count: number of sequences of all parts.

    >>> sequences_at_once(400, 1000), sequences_at_once(5000, 1000), sequences_at_once(10**6, 1000)
    (500, 40, 1)
    """
    most = max(1, STEPS_AT_ONCE // length)
    return next(size for size in range(min(most, count), 0, -1) if count % size == 0)
