"""How numbers are written for a person."""

from collections.abc import Sequence


def duration(seconds: float) -> str:
    """A time as people say it.

    >>> duration(12.34), duration(75), duration(3700)
    ('12.3 s', '1:15 min', '1:01:40 h')
    """
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02d} min"
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d} h"


def span(counts: Sequence[int]) -> str:
    """The least and the most of some counts.

    >>> span([1000, 1500, 1200]), span([7, 7])
    ('1,000 to 1,500', '7')
    """
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def mean_and_spread(mean: float, std: float, count: int) -> str:
    """A mean, and the standard deviation where there is more than one value.

    >>> mean_and_spread(0.123456, 0.0123, 5), mean_and_spread(0.123456, 0.0, 1)
    ('0.1235 ± 0.012', '0.1235')
    """
    return f"{mean:.4g}" + (f" ± {std:.2g}" if count > 1 else "")
