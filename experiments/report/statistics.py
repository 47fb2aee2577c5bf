"""Statistics over seeds: means, times to solve with seeds that never solve, and comparisons.

Intervals are bootstrap intervals: the statistic of many resamples of the seeds, drawn with
replacement, between two of its quantiles. A resample is a row of counts, how often each seed was
drawn, so that every statistic is computed for all resamples at once. All numbers are float64, and
all draws come from one seed: the same data give the same intervals.

The quantiles allow for few seeds. Between the quantiles 0.025 and 0.975, the interval of a mean of
n values is too short by ``sqrt((n - 1) / n)``, and as a normal one is shorter than Student's. They
are moved outwards to ``Phi(-sqrt(n / (n - 1)) t)``, with Student's quantile t of n - 1 degrees of
freedom; for n = 10 this is 0.0086.

References: Efron & Tibshirani (1993), An Introduction to the Bootstrap, chapter 13; Hesterberg
(2015), What teachers should know about the bootstrap, section 5; Agarwal et al. (2021), Deep
reinforcement learning at the edge of the statistical precipice.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import stdtrit

RESAMPLES = 5000
CONFIDENCE = 0.95
# Products of fractions such as 3/4 * 2/3 are equal to 1/2 up to rounding.
ROUNDING = 1e-12
EXACT_SPLITS = 20_000


class Estimate(NamedTuple):
    """A statistic and the ends of its confidence interval.

    Attributes:
      value: the statistic of the data; infinity for a time that is not reached.
      low: the lower end, or None if there are too few seeds for an interval.
      high: the upper end, or None likewise; infinity for a time that is not reached.
    """

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Times:
    """Times to an event, some of which are not over.

    Attributes:
      at: for every seed the time of the event, or the time up to which it has not happened ``[n]``.
      happened: whether the event has happened ``[n]``; if not, the time is censored.
    """

    at: Float[np.ndarray, " n"]
    happened: Bool[np.ndarray, " n"]

    @classmethod
    def of(cls, at: Sequence[float], happened: Sequence[bool]) -> "Times":
        """Times in their order; at equal times, what happened precedes what is censored."""
        time, event = np.asarray(at, np.float64), np.asarray(happened, bool)
        if time.shape != event.shape or time.ndim != 1 or not len(time):
            raise ValueError(
                f"Times.of: at and happened must be two lists of one length, at least 1; got"
                f" shapes {time.shape} and {event.shape}"
            )
        order = np.lexsort((~event, time))
        return cls(time[order], event[order])

    @property
    def horizon(self) -> float:
        """The time up to which the curve is known: infinity if the event happened to the last."""
        return math.inf if self.happened[-1] else float(self.at[-1])


def surviving(times: Times, counts: Int[np.ndarray, "R n"]) -> Float[np.ndarray, "R n"]:
    """The Kaplan-Meier estimate of the share to which the event has not happened, for resamples.

    ``S(t) = prod_{t_i <= t} (1 - d_i / n_i)``, with ``d_i`` events at time ``t_i`` among the
    ``n_i`` that are still observed then.

    Args:
      times: the times of n seeds.
      counts: how often each seed is in each of the R resamples; all ones for the data themselves.

    Returns:
      ``S`` after each of the times; at equal times, the last is the value of the estimate.

    Reference: Kaplan & Meier (1958).

    >>> times = Times.of([300, 500, 700, 700], [True, False, True, False])
    >>> surviving(times, np.ones((1, 4), int)).round(3).tolist()
    [[0.75, 0.75, 0.375, 0.375]]
    """
    observed = np.cumsum(counts[:, ::-1], axis=1)[:, ::-1]
    # Events at one time can be taken one by one: (1 - 1/3) (1 - 1/2) = 1 - 2/3.
    happening = counts * times.happened
    return np.cumprod(1 - happening / np.maximum(observed, 1), axis=1)


def kaplan_meier(times: Times) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """The Kaplan-Meier estimate as the corners of a step function, from time 0 to the last time.

    Returns:
      Times, and the shares to which the event has not happened after them.

    >>> at, share = kaplan_meier(Times.of([300, 500, 700, 700], [True, False, True, True]))
    >>> at.tolist(), share.round(3).tolist()
    ([0.0, 300.0, 500.0, 700.0], [1.0, 0.75, 0.75, 0.0])
    """
    after = surviving(times, _once(len(times.at)))[0]
    last = np.append(times.at[1:] != times.at[:-1], True)
    return np.append(0.0, times.at[last]), np.append(1.0, after[last])


def median_time(times: Times) -> Estimate:
    """The median time to the event by Kaplan-Meier, with a bootstrap interval.

    The median is the time at which ``S`` falls below 1/2; where ``S`` equals 1/2 for a while, it is
    the middle of that while, as for the median of an even number of values. It is infinite if ``S``
    does not fall below 1/2: more than half of the seeds, or half of them, may never get there. The
    mean or the median of those that got there would be too low.

    Returns:
      The median and its interval; an end is infinite if the median is not reached in more of the
      resamples than the interval leaves out.

    References: Kaplan & Meier (1958); Efron (1981), Censored data and the bootstrap.

    >>> median_time(Times.of([300, 500, 700], [True, True, True])).value
    500.0
    >>> median_time(Times.of([300, 700, 900, 900], [True, True, False, False])).value
    inf
    """
    n = len(times.at)
    value = float(_medians(times, _once(n))[0])
    if n < 2:
        return Estimate(value)
    return _interval(value, _medians(times, _resample(n)), n)


def mean(values: Sequence[float] | np.ndarray) -> Estimate:
    """The mean, with a bootstrap interval; none for a single value.

    Reference: Hesterberg (2015), section 5.

    >>> estimate = mean([1.0, 2.0, 3.0, 6.0])
    >>> estimate.value, estimate.low < 3.0 < estimate.high
    (3.0, True)
    >>> mean([2.0])
    Estimate(value=2.0, low=None, high=None)
    """
    x = np.asarray(values, np.float64)
    if len(x) < 2:
        return Estimate(float(x.mean()))
    low, high = mean_band(x[None])
    return Estimate(float(x.mean()), float(low[0]), float(high[0]))


def mean_band(values: Float[np.ndarray, "m n"]) -> Float[np.ndarray, "2 m"]:
    """The intervals of `mean` for m sets of values of the same n seeds, n at least 2."""
    n = values.shape[1]
    means = _resample(n) @ values.T / n
    return np.quantile(means, _quantiles(n), axis=0)


def probability_of_improvement(
    x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray
) -> Estimate:
    """The probability that a seed of one arm has a lower value than one of another.

    ``P(X < Y) + P(X = Y) / 2``, over all pairs of a seed of X and one of Y: the Mann-Whitney
    statistic divided by the number of pairs. The bootstrap resamples the seeds of each arm.

    Args:
      x: a value for every seed of one arm; infinity is worse than any other value.
      y: the same for the other arm.

    Reference: Agarwal et al. (2021), section 4.3.

    >>> probability_of_improvement([1.0, 2.0, 3.0], [2.0, 4.0]).value
    0.75
    """
    a, b = np.asarray(x, np.float64)[:, None], np.asarray(y, np.float64)
    return _improvement((a < b) + 0.5 * (a == b))


def probability_of_sooner(x: Times, y: Times) -> Estimate:
    """The probability that a seed of one arm gets to the event before one of another.

    ``sum_t f_x(t) (S_y(t) + f_y(t) / 2) + S_x(tau) S_y(tau) / 2``: ``S`` is the Kaplan-Meier
    estimate, ``f`` are its steps, and ``tau`` is the time up to which both arms are known. Two
    seeds that have not got there by then are equal. Without censored times before ``tau`` this is
    `probability_of_improvement` of the times.

    Reference: Efron (1967), The two sample problem with censored data.

    >>> x, y = Times.of([300, 900], [True, False]), Times.of([500, 900], [True, False])
    >>> probability_of_sooner(x, y).value  # sooner, sooner, later, equal
    0.625
    """
    pairs, steps_x, steps_y = _pairs(x, y)
    nx, ny = len(x.at), len(y.at)

    def probability(counts_x: np.ndarray, counts_y: np.ndarray) -> np.ndarray:
        return np.einsum("ri,ij,rj->r", steps_x(counts_x), pairs, steps_y(counts_y))

    value = float(probability(_once(nx), _once(ny))[0])
    if min(nx, ny) < 2:
        return Estimate(value)
    drawn = probability(_resample(nx), _resample(ny, stream=1))
    return _interval(value, drawn, min(nx, ny))


def chance_of_difference(
    x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray, seed: int = 0
) -> float:
    """The probability of a difference as large as this one between two equal arms.

    A two-sided permutation test with the statistic of `probability_of_improvement`: over all ways,
    or 20,000 random ones, to split the seeds into two arms of these sizes. Where all seeds of one
    arm are below all of the other, the bootstrap interval has length zero; this has a meaning also
    there.

    Reference: Mann & Whitney (1947).

    >>> chance_of_difference([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])
    0.1
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    both, n = np.concatenate([x, y]), len(x)
    # The sum of the ranks of x, ties at their mean, orders the splits as the statistic does.
    ranks = (both[:, None] > both).sum(1) + 0.5 * (both[:, None] == both).sum(1)
    return _permutation(ranks, n, seed)


def chance_of_sooner(x: Times, y: Times, seed: int = 0) -> float:
    """`chance_of_difference` of times, some of which are censored.

    The rank of a time is the number of times that are certainly before it, minus the number of
    those certainly after it. It is exact if the censored times do not depend on the arm.

    Reference: Gehan (1965), A generalized Wilcoxon test.

    >>> x = Times.of([100, 200, 300], [True, True, True])
    >>> chance_of_sooner(x, Times.of([900, 900, 900], [False, False, False]))
    0.1
    """
    at = np.concatenate([x.at, y.at])
    happened = np.concatenate([x.happened, y.happened])
    before = (at[:, None] < at) & happened[:, None]
    before |= (at[:, None] == at) & happened[:, None] & ~happened
    return _permutation(before.sum(0) - before.sum(1), len(x.at), seed)


def _permutation(ranks: np.ndarray, n: int, seed: int) -> float:
    """The share of splits whose first n seeds have a sum of ranks as far from its mean as these."""
    total = len(ranks)
    exact = math.comb(total, n) <= EXACT_SPLITS
    if exact:
        rows = np.array(list(itertools.combinations(range(total), n)))
    else:
        draws = np.random.default_rng(seed).random((EXACT_SPLITS, total))
        rows = np.argsort(draws, axis=1)[:, :n]
    centred = ranks - ranks.mean()
    distance = np.abs(centred[rows].sum(axis=1))
    # Half a rank is the least by which two sums differ: less is rounding.
    as_far = np.sum(distance >= abs(centred[:n].sum()) - 0.1)
    # The split of the data is one of all; random ones may lack it.
    return float(as_far / len(rows) if exact else (as_far + 1) / (len(rows) + 1))


def _medians(times: Times, counts: np.ndarray) -> np.ndarray:
    """The median of every resample ``[R]``."""
    share = surviving(times, counts)
    at = np.append(times.at, math.inf)

    def first(below: np.ndarray) -> np.ndarray:
        return at[np.where(below.any(axis=1), below.argmax(axis=1), len(times.at))]

    return (first(share <= 0.5 + ROUNDING) + first(share < 0.5 - ROUNDING)) / 2


def _pairs(
    x: Times, y: Times
) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]]:
    """What a pair of two times counts, and functions from resamples to the steps of each curve.

    The last step of a curve is its rest, at infinity: the share that has not got there by ``tau``.
    """
    until = min(x.horizon, y.horizon)

    def steps_of(times: Times) -> Callable[[np.ndarray], np.ndarray]:
        known = Times(times.at, times.happened & (times.at <= until))

        def steps(counts: np.ndarray) -> np.ndarray:
            share = surviving(known, counts)
            start = np.ones((len(counts), 1))
            return -np.diff(np.hstack([start, share, np.zeros_like(start)]), axis=1)

        return steps

    a, b = np.append(x.at, math.inf)[:, None], np.append(y.at, math.inf)
    return (a < b) + 0.5 * (a == b), steps_of(x), steps_of(y)


def _improvement(pairs: np.ndarray) -> Estimate:
    value = float(pairs.mean())
    nx, ny = pairs.shape
    if min(nx, ny) < 2:
        return Estimate(value)
    drawn = np.einsum("ri,ij,rj->r", _resample(nx), pairs, _resample(ny, stream=1))
    return _interval(value, drawn / (nx * ny), min(nx, ny))


def _once(n: int) -> np.ndarray:
    """The data themselves as a resample."""
    return np.ones((1, n), np.int64)


def _resample(n: int, stream: int = 0) -> Int[np.ndarray, "R n"]:
    """How often each of n seeds is in each resample; another stream is independent."""
    return np.random.default_rng([stream, n]).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)


def _interval(value: float, drawn: np.ndarray, n: int) -> Estimate:
    """The interval from the resamples; without interpolation, as some values may be infinite."""
    low, high = np.quantile(drawn, _quantiles(n), method="inverted_cdf")
    return Estimate(value, float(low), float(high))


def _quantiles(n: int) -> list[float]:
    """The two quantiles between which an interval for n seeds is."""
    t = float(stdtrit(n - 1, (1 - CONFIDENCE) / 2))
    tail = NormalDist().cdf(math.sqrt(n / (n - 1)) * t)
    return [tail, 1 - tail]
