"""Learning curves of several seeds on common updates, with their mean and its interval."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.report.runs import SeedResult
from experiments.report.statistics import mean_band
from experiments.run.curves import on_common_updates


class MeanCurve(NamedTuple):
    """The mean over seeds.

    Attributes:
      updates: the updates at which any of the seeds was evaluated ``[k]``.
      mean: the mean over the seeds that have a value; nan where none has one ``[k]``.
      low: the lower end of its interval; nan where fewer than two seeds have a value ``[k]``.
      high: the upper end ``[k]``.
    """

    updates: Float[np.ndarray, " k"]
    mean: Float[np.ndarray, " k"]
    low: Float[np.ndarray, " k"]
    high: Float[np.ndarray, " k"]


def mean_curve(seeds: Sequence[SeedResult], metric: str) -> MeanCurve:
    """The mean of a metric on validation sequences over seeds, with its interval at each update.

    A seed that stopped early keeps its parameters, so it keeps its last value. One that diverged,
    or is not finished, has no value after its last.

    Args:
      seeds: the seeds of an arm.
      metric: the name of the metric.
    """
    shown = [seed for seed in seeds if metric in seed.curves]
    stays = [seed.finished and seed.diverged_at is None for seed in shown]
    return _summary(*on_common_updates([seed.curves[metric] for seed in shown], stays))


def _summary(updates: Float[np.ndarray, " k"], values: Float[np.ndarray, "n k"]) -> MeanCurve:
    mean, low, high = (np.full(len(updates), np.nan) for _ in range(3))
    known = np.isfinite(values)
    # Updates at which the same seeds have values are resampled together.
    for pattern in np.unique(known, axis=1).T:
        if pattern.any():
            columns = np.flatnonzero((known == pattern[:, None]).all(axis=0))
            there = values[np.ix_(pattern, columns)]
            mean[columns] = there.mean(axis=0)
            if len(there) > 1:
                low[columns], high[columns] = mean_band(there.T)
    return MeanCurve(updates, mean, low, high)
