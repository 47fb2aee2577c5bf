"""Formatting of numbers for people."""

from collections.abc import Sequence

import numpy as np


def duration(seconds: float) -> str:
    """Format a time.

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
    """Format the range of counts.

    >>> span([1000, 1500, 1200]), span([7, 7])
    ('1,000 to 1,500', '7')
    """
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def between(values: Sequence[float]) -> str:
    """Format the range of values.

    >>> between([0.16667, 0.08333]), between([0.5, 0.5])
    ('0.08333 to 0.1667', '0.5')
    """
    low, high = (f"{value:.4g}" for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def mean_and_std(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """The mean and the sample standard deviation, which is zero for a single value.

    >>> mean_and_std([1.0, 3.0]), mean_and_std([2.0])
    ((2.0, 1.4142135623730951), (2.0, 0.0))
    """
    spread = np.std(values, ddof=1) if len(values) > 1 else 0.0
    return float(np.mean(values)), float(spread)


def mean_and_spread(values: Sequence[float] | np.ndarray) -> str:
    """Format the mean and, for more than one value, the standard deviation.

    >>> mean_and_spread([0.11, 0.13]), mean_and_spread([0.123456])
    ('0.12 ± 0.014', '0.1235')
    """
    mean, std = mean_and_std(values)
    return f"{mean:.4g}" + (f" ± {std:.2g}" if len(values) > 1 else "")


def three_digits(value: float) -> str:
    """Format a number with three digits, without an exponent.

    >>> three_digits(0.01234), three_digits(9.876), three_digits(99.96), three_digits(12345.6)
    ('0.0123', '9.88', '100', '12,346')
    """
    if abs(value) >= 99.95:
        return f"{value:,.0f}"
    return f"{value:#.3g}" if abs(value) >= 1e-4 else f"{value:.7f}"
