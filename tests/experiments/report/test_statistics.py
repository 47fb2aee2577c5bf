"""The statistics against other libraries, against sums by hand, and by simulation."""

import itertools

import numpy as np
import pytest
from scipy import stats

from experiments.report import statistics
from experiments.report.statistics import (
    Times,
    chance_of_difference,
    chance_of_sooner,
    kaplan_meier,
    mean,
    mean_band,
    median_time,
    probability_of_improvement,
    probability_of_sooner,
)

INF = float("inf")


def some_times(seed, n=12, scale=1.0):
    """Times of which some are equal and some are censored."""
    rng = np.random.default_rng(seed)
    event, end = rng.integers(1, 9, n) * scale, rng.integers(3, 12, n) * scale
    return Times.of(np.minimum(event, end), event <= end)


@pytest.mark.parametrize("seed", range(6))
def test_the_curve_is_that_of_scipy_and_statsmodels(seed):
    from statsmodels.duration.survfunc import SurvfuncRight

    times = some_times(seed)
    at, share = kaplan_meier(times)
    data = stats.CensoredData(times.at[times.happened], right=times.at[~times.happened])
    np.testing.assert_allclose(share[1:], stats.ecdf(data).sf.evaluate(at[1:]), atol=1e-14)
    theirs = SurvfuncRight(times.at, times.happened)
    ours = share[1:][np.isin(at[1:], theirs.surv_times)]
    np.testing.assert_allclose(ours, theirs.surv_prob, atol=1e-14)
    # Statsmodels takes the end of a level part at 1/2; that is our median where there is none.
    if not np.any(np.abs(share - 0.5) < 1e-9):
        median = median_time(times).value
        assert np.nan_to_num(theirs.quantile(0.5), nan=INF) == median


def test_the_curve_by_hand():
    times = Times.of([700, 300, 500, 700, 900], [True, True, False, True, False])
    at, share = kaplan_meier(times)
    assert at.tolist() == [0, 300, 500, 700, 900]
    np.testing.assert_allclose(share, [1, 4 / 5, 4 / 5, 4 / 5 * 1 / 3, 4 / 5 * 1 / 3])
    assert median_time(times).value == 700
    assert times.horizon == 900


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 10])
def test_the_median_is_the_ordinary_one_where_all_are_solved(n):
    values = np.random.default_rng(n).integers(1, 100, n)
    assert median_time(Times.of(values, [True] * n)).value == np.median(values)


@pytest.mark.parametrize("solved", range(6))
def test_seeds_that_never_solve_are_later_than_all_others(solved):
    values = [100.0 * (i + 1) for i in range(solved)] + [INF] * (5 - solved)
    times = Times.of(np.minimum(values, 1000), np.isfinite(values))
    assert median_time(times).value == np.median(values)


def test_the_interval_of_a_median_ends_at_infinity_where_it_may_not_be_reached():
    few = median_time(Times.of([100, 200, 900, 900, 900], [True, True, False, False, False]))
    assert few.value == few.high == INF
    assert few.low == 100
    most = median_time(Times.of(100 * np.arange(1, 13), [True] * 11 + [False]))
    assert most.value == 650
    assert 100 < most.low < 500
    assert 800 < most.high < INF
    never = median_time(Times.of([900, 900], [False, False]))
    assert never == (INF, INF, INF)


def test_one_seed_has_no_interval():
    one, two = Times.of([300], [True]), Times.of([300, 400], [True, True])
    for estimate in (
        mean([2.0]),
        median_time(one),
        probability_of_improvement([1.0], [2.0, 3.0]),
        probability_of_sooner(two, one),
    ):
        assert estimate.low is estimate.high is None


def test_the_mean_has_an_interval_near_that_of_student():
    values = np.random.default_rng(0).normal(3, 2, 40)
    estimate = mean(values)
    assert estimate.value == pytest.approx(values.mean())
    expected = stats.t.interval(0.95, 39, values.mean(), stats.sem(values))
    np.testing.assert_allclose(estimate[1:], expected, rtol=0.02)


def test_the_mean_has_the_quantiles_of_scipys_bootstrap():
    """With the quantiles moved out as Hesterberg says."""
    values = np.random.default_rng(1).exponential(size=12)
    tail = stats.norm.cdf(np.sqrt(12 / 11) * stats.t.ppf(0.025, 11))
    theirs = stats.bootstrap(
        (values,), np.mean, confidence_level=1 - 2 * tail, method="percentile",
        n_resamples=20_000, rng=np.random.default_rng(2),
    ).confidence_interval  # fmt: skip
    np.testing.assert_allclose(mean(values)[1:], theirs, rtol=0.05)


def test_a_band_has_the_interval_of_each_set_of_values():
    values = np.random.default_rng(3).normal(size=(4, 6))
    low, high = mean_band(values)
    np.testing.assert_array_equal([low[2], high[2]], mean(values[2])[1:])


@pytest.mark.parametrize("seed", range(4))
def test_the_probability_of_improvement_is_that_of_mann_and_whitney(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 9, 7), rng.integers(2, 11, 5)
    theirs = stats.mannwhitneyu(y, x).statistic / 35
    ours = probability_of_improvement(x, y)
    assert ours.value == pytest.approx(theirs)
    assert ours.low <= ours.value <= ours.high
    opposite = probability_of_improvement(y, x)
    assert opposite.value == pytest.approx(1 - ours.value)


@pytest.mark.parametrize("seed", range(4))
def test_the_chance_of_a_difference_is_that_of_mann_and_whitney(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=5), rng.normal(0.8, 1, size=6)
    theirs = stats.mannwhitneyu(x, y, method="exact").pvalue
    assert chance_of_difference(x, y) == pytest.approx(theirs)
    x, y = rng.normal(size=20), rng.normal(0.5, 1, size=30)
    theirs = stats.mannwhitneyu(x, y, method="exact").pvalue
    assert chance_of_difference(x, y) == pytest.approx(theirs, abs=0.01)


def test_a_diverged_seed_is_worse_than_every_other():
    assert probability_of_improvement([0.1, INF], [0.2, 0.3]).value == 0.5
    assert probability_of_improvement([0.1, INF], [0.2, INF]).value == 5 / 8
    assert chance_of_difference([1, 2, 3, INF], [1, 2, 3, INF]) == 1.0


def test_the_probability_of_sooner_without_early_censoring_is_that_of_all_pairs():
    x, y = np.array([200, 300, 300, 900, INF]), np.array([300, 600, INF, INF])
    times_x = Times.of(np.minimum(x, 1000), np.isfinite(x))
    times_y = Times.of(np.minimum(y, 1000), np.isfinite(y))
    ours = probability_of_sooner(times_x, times_y)
    assert ours.value == pytest.approx(probability_of_improvement(x, y).value)
    np.testing.assert_allclose(ours, probability_of_improvement(x, y), atol=0.03)


def test_the_probability_of_sooner_counts_only_what_both_arms_have_trained_for():
    """The second arm has 500 updates only: a seed solved at 900 has no advantage there."""
    late = Times.of([900, 900], [True, True])
    short = Times.of([500, 500], [False, False])
    assert probability_of_sooner(late, short).value == 0.5
    early = Times.of([400, 900], [True, True])
    assert probability_of_sooner(early, short).value == 0.75


@pytest.mark.parametrize("seed", range(4))
def test_the_probability_of_sooner_by_the_sum_over_times(seed):
    x, y = some_times(seed), some_times(seed + 10)
    until = min(x.horizon, y.horizon)

    def share(times, t):
        at, values = kaplan_meier(times)
        return values[np.searchsorted(at, t, side="right") - 1]

    wanted = 0.5 * share(x, min(until, 1e9)) * share(y, min(until, 1e9))
    for t in [t for t in np.arange(1, 13) if t <= until]:
        step_x = share(x, t - 0.5) - share(x, t)
        step_y = share(y, t - 0.5) - share(y, t)
        wanted += step_x * (share(y, t) + step_y / 2)
    assert probability_of_sooner(x, y).value == pytest.approx(wanted)


def test_the_chance_of_sooner_over_all_splits():
    """Against Gehan's scores counted pair by pair."""
    at, happened = [200, 500, 500, 400, 900, 900], [True, True, False, False, True, False]

    def later(i, j):
        """1 if i is certainly after j, -1 if before, else 0."""
        before = happened[i] and (at[i] < at[j] or (at[i] == at[j] and not happened[j]))
        after = happened[j] and (at[j] < at[i] or (at[j] == at[i] and not happened[i]))
        return after - before

    scores = [sum(later(i, j) for j in range(6)) for i in range(6)]
    sums = [abs(sum(scores[i] for i in chosen)) for chosen in itertools.combinations(range(6), 2)]
    wanted = np.mean([s >= abs(scores[0] + scores[1]) for s in sums])
    x, y = Times.of(at[:2], happened[:2]), Times.of(at[2:], happened[2:])
    assert chance_of_sooner(x, y) == wanted


def test_the_same_data_give_the_same_intervals():
    values = [0.3, 0.1, 0.7, 0.2]
    assert mean(values) == mean(values)
    times = some_times(0)
    assert median_time(times) == median_time(times)


@pytest.mark.parametrize(
    ("at", "happened"), [([], []), ([1.0], [True, False]), ([[1.0]], [[True]])]
)
def test_wrong_times_are_an_error(at, happened):
    with pytest.raises(ValueError, match=r"Times.of: at and happened must be two lists"):
        Times.of(at, happened)


def covered(estimate, truth):
    return estimate.low <= truth <= estimate.high


@pytest.mark.slow
@pytest.mark.parametrize("n", [5, 10, 20])
def test_the_intervals_cover_the_truth(n, monkeypatch):
    """In nine of ten simulations: of a mean, a median with a third censored, a comparison."""
    monkeypatch.setattr(statistics, "RESAMPLES", 1000)
    rng = np.random.default_rng(0)
    hits = []
    for _ in range(1000):
        x, y = rng.normal(size=n), rng.normal(0.5, 1, size=n)
        at = rng.exponential(size=n)
        estimates = (
            (mean(x), 0.0),
            (median_time(Times.of(np.minimum(at, 1.1), at <= 1.1)), np.log(2)),
            (probability_of_improvement(x, y), stats.norm.cdf(0.5 / np.sqrt(2))),
        )
        hits.append([e.low - 1e-9 <= truth <= e.high + 1e-9 for e, truth in estimates])
    covered = np.mean(hits, axis=0)
    assert covered.min() >= 0.9, covered
    assert covered.max() <= 0.99, covered


@pytest.mark.slow
def test_equal_arms_seldom_have_a_small_chance():
    rng = np.random.default_rng(0)
    chances = [chance_of_difference(rng.normal(size=5), rng.normal(size=5)) for _ in range(2000)]
    assert np.mean(np.array(chances) <= 0.05) <= 0.06
