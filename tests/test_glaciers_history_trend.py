"""The Student-t trend against dense Gaussian algebra, exact integration, and wild samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal, t

from vigie.apps.glaciers.history import weights
from vigie.apps.glaciers.history.smoother import FIRST_LEVEL_SD, FIRST_SLOPE_SD, smooth
from vigie.apps.glaciers.history.trend import AT_ONCE, LEVEL_STEP, NOISE, SLOPE_STEP, local_trend, local_trends, robust_smooth

ONE = np.zeros(1, dtype=np.int64)
"""The series of a single column."""


def dense_prior(years, level_var, slope_var):
    """Covariance of level and slope at all dates (2T, 2T), built from the state equation."""
    covariance = np.zeros((2 * len(years), 2 * len(years)))
    covariance[:2, :2] = np.diag([FIRST_LEVEL_SD**2, FIRST_SLOPE_SD**2])
    for i, dt in enumerate(np.diff(years), start=1):
        step = np.array([[1, dt], [0, 1]])
        noise = np.array(
            [[level_var * dt + slope_var * dt**3 / 3, slope_var * dt**2 / 2], [slope_var * dt**2 / 2, slope_var * dt]]
        )
        covariance[2 * i : 2 * i + 2, : 2 * i] = step @ covariance[2 * i - 2 : 2 * i, : 2 * i]
        covariance[: 2 * i, 2 * i : 2 * i + 2] = covariance[2 * i : 2 * i + 2, : 2 * i].T
        covariance[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = (
            step @ covariance[2 * i - 2 : 2 * i, 2 * i - 2 : 2 * i] @ step.T + noise
        )
    return covariance


@given(seed=st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_smoother_equals_conditioning_of_the_joint_gaussian(seed):
    rng = np.random.default_rng(seed)
    years, values = np.cumsum(rng.uniform(0.1, 4, 8)), rng.normal(1, 0.3, 8)
    values[[2, 5]] = np.nan
    noise, level_var, slope_var = rng.uniform(0.01, 0.1, (8, 1)), 0.02, 0.003
    ours = smooth(years, values[:, None], noise, np.array([level_var]), np.array([slope_var]))
    prior, seen = dense_prior(years, level_var, slope_var), np.flatnonzero(np.isfinite(values))
    look = np.eye(16)[2 * seen]
    total = look @ prior @ look.T + np.diag(noise[seen, 0])
    gain = prior @ look.T @ np.linalg.inv(total)
    mean, variance = gain @ values[seen], np.diag(prior - gain @ look @ prior)
    np.testing.assert_allclose(ours.level[:, 0], mean[::2], atol=1e-8)
    np.testing.assert_allclose(ours.slope[:, 0], mean[1::2], atol=1e-8)
    np.testing.assert_allclose(ours.level_var[:, 0], variance[::2], atol=1e-8)
    np.testing.assert_allclose(ours.slope_var[:, 0], variance[1::2], atol=1e-8)
    assert ours.evidence[0] == pytest.approx(multivariate_normal(np.zeros(6), total).logpdf(values[seen]), abs=1e-7)


def test_the_bound_is_below_the_exact_evidence_and_near_it():
    """Two samples at almost one date, exact evidence by integration over the level."""
    years, values, noise, freedom = np.array([0.0, 1e-6]), np.array([0.9, 1.4]), 0.04, 4.0
    scales = np.array([noise]), np.array([1e-9]), np.array([1e-9])
    bound = robust_smooth(years, values[:, None], scales, freedom, ONE)[2][0]
    levels = np.linspace(-60, 60, 600_001)
    density = t.logpdf(values[:, None], freedom, loc=levels, scale=np.sqrt(noise)).sum(axis=0)
    density += -0.5 * (levels / FIRST_LEVEL_SD) ** 2 - np.log(FIRST_LEVEL_SD * np.sqrt(2 * np.pi))
    exact = np.log(np.exp(density).sum() * (levels[1] - levels[0]))
    assert bound <= exact + 1e-6
    assert exact - bound < 0.5


def test_many_degrees_of_freedom_are_gaussian():
    rng = np.random.default_rng(3)
    years, values = np.arange(10.0), rng.normal(1, 0.1, 10)
    scales = np.array([0.01]), np.array([0.001]), np.array([0.0001])
    robust, weight, bound = robust_smooth(years, values[:, None], scales, 1e7, ONE)
    gauss = smooth(years, values[:, None], np.full((10, 1), 0.01), *scales[1:])
    np.testing.assert_allclose(weight, 1, atol=1e-5)
    np.testing.assert_allclose(robust.level, gauss.level, atol=1e-5)
    assert bound[0] == pytest.approx(gauss.evidence[0], abs=1e-3)


def test_wild_samples_move_the_level_little_and_a_line_is_recovered():
    rng = np.random.default_rng(4)
    years = np.sort(rng.uniform(1985, 2025, 40))
    truth = 10 + 0.5 * (years - 1985)
    values = truth + rng.normal(0, 0.3, 40)
    clean = local_trend(years, values)
    values[[7, 21, 33]] *= [0.3, 1.8, 0.2]
    wild = local_trend(years, values)
    assert np.abs(wild.level - truth).max() < 0.8
    assert np.abs(wild.level - clean.level).max() < 0.5
    assert (wild.weight[[7, 21, 33]] < 0.1).all() and np.median(wild.weight) > 0.9
    assert np.median(wild.slope) == pytest.approx(0.5, abs=0.05)
    inside = np.abs(wild.level - truth) < 1.96 * wild.level_sd
    assert inside.mean() > 0.8


def test_units_and_the_direction_of_time_do_not_matter():
    years, values = np.arange(12.0), np.array([5, 5.2, 5.1, 5.6, 2.0, 6, 6.1, 6.4, 6.2, 7, 7.1, 7.0])
    km2, m2 = local_trend(years, values), local_trend(years, values * 1e6)
    np.testing.assert_allclose(m2.level, km2.level * 1e6, rtol=1e-9)
    back = local_trend(-years[::-1], values[::-1])
    # The vague start belongs to the first date, so the two directions agree only as far as it is vague.
    np.testing.assert_allclose(back.level[::-1], km2.level, atol=0.02)
    np.testing.assert_allclose(back.slope[::-1], -km2.slope, atol=0.02)


def test_gaps_widen_the_interval_and_too_few_samples_say_nothing():
    years = np.array([0.0, 1, 2, 3, 4, 12, 13, 14, 15, 20])
    values = np.array([5.0, 5.3, 4.9, 5.2, 5.1, 5.8, 6.3, 5.9, 6.2, np.nan])
    trend = local_trend(years, values)
    assert trend.level_sd[-1] > trend.level_sd[2]
    assert np.isnan(trend.weight[-1]) and np.isfinite(trend.level).all()
    assert np.isnan(local_trend(years[:3], values[:3]).level).all()
    assert np.isnan(local_trend(years, np.zeros(10)).level).all()


def in_turn(years, values, scales, freedom):
    """The weights of one series (T,) as the textbook has it: a whole Kalman smoother in every round, on every column."""
    seen, weight = np.isfinite(values)[:, None], np.ones((len(values), len(scales[0])))
    for _ in range(weights.ROUNDS):
        smoothed = smooth(years, np.repeat(values[:, None], len(scales[0]), axis=1), scales[0] / weight, *scales[1:])
        miss = (values[:, None] - smoothed.level) ** 2 + smoothed.level_var
        previous, weight = weight, np.where(seen, (freedom + 1) / (freedom + miss / scales[0]), 1.0)
        if np.abs(weight - previous).max() < weights.STILL:
            break
    return previous


def many_series(count, dates, seed):
    rng = np.random.default_rng(seed)
    years = np.cumsum(rng.uniform(0.3, 4, dates))
    values = rng.lognormal(0, 1.5, count) * (1 + 0.01 * (years[:, None] - years[0])) * rng.normal(1, 0.04, (dates, count))
    values[rng.random(values.shape) < 0.06] *= 0.3
    values[rng.random(values.shape) < 0.1] = np.nan
    return years, values


@pytest.mark.parametrize(("dates", "seed"), [(5, 0), (9, 1), (14, 2)])
def test_all_series_at_once_have_the_weights_of_each_in_turn(dates, seed):
    years, values = many_series(3, dates, seed)
    values[1, 0], values[0, 1] = np.nan, np.nan
    values = values / np.nanmedian(np.abs(values), axis=0)
    scales = [g.ravel() ** 2 for g in np.meshgrid(NOISE[::4], LEVEL_STEP[::2], SLOPE_STEP[::2], indexing="ij")]
    series = np.repeat(np.arange(3), len(scales[0]))
    columns = tuple(np.tile(scale, 3) for scale in scales)
    noise = weights.settle(years, values[:, series], columns, series, 4.0)
    weight = np.where(np.isfinite(values[:, series]), columns[0] / noise, 1.0)
    expected = np.concatenate([in_turn(years, values[:, n], scales, 4.0) for n in range(3)], axis=1)
    np.testing.assert_allclose(weight, expected, atol=1e-8)


def test_trends_do_not_depend_on_what_they_are_computed_with():
    years, values = many_series(AT_ONCE + 2, 6, 3)
    values[:, 4], values[2:, 5], values[:, 6] = 0.0, np.nan, np.nan
    together = local_trends(years, values)
    for number in (0, 4, 5, 6, AT_ONCE, AT_ONCE + 1):
        alone, mine = local_trend(years, values[:, number]), together[number]
        for name in ("level", "level_sd", "slope", "slope_sd", "weight", "noise"):
            np.testing.assert_allclose(getattr(mine, name), getattr(alone, name), rtol=1e-9, atol=1e-9)
    assert [np.isnan(together[n].level).all() for n in (3, 4, 5, 6)] == [False, True, True, True]
    assert local_trends(years, values[:, :0]) == []
