"""Scores of quantiles equal those of scoringrules, numerical integrals and numpy's interpolation; and published figures."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from vigie.core.errors import VigieError
from vigie.verify import quantiles as q_
from vigie.verify.events import count_events, finish_events, reliability
from vigie.verify.quantile_scores import (
    COVERAGE_LEVELS,
    TAIL_MM_H,
    count_quantiles,
    crps,
    crps_integral,
    finish_quantiles,
    pit_histogram,
    twcrps,
)
from vigie.verify.quantiles import QuantileSample
from vigie.verify.spread import SpreadSample, count_spread, finish_spread, spread_of_quantiles
from vigie.verify.tally import add_all

LEVELS = np.arange(1, 100) / 100


def predicted(seed: int, rows: int = 200, levels: np.ndarray = LEVELS) -> tuple[np.ndarray, np.ndarray]:
    """Gamma quantiles with a share of zeros below, tied, and truth drawn from somewhat wider ones."""
    rng = np.random.default_rng(seed)
    dry, scale = rng.uniform(0, 0.6, rows), rng.uniform(0.2, 8.0, rows)
    inner = np.clip((levels[:, None] - dry) / (1 - dry), 0, 1)
    truth = np.where(rng.random(rows) < dry, 0.0, rng.gamma(0.7, 1.3 * scale))
    return stats.gamma.ppf(inner, 0.8) * scale, truth


uneven = st.lists(st.integers(1, 999), min_size=2, max_size=12, unique=True).map(lambda k: np.array(sorted(k)) / 1000)
seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=25, deadline=None)
@given(seeds, uneven)
def test_crps_equals_scoringrules(seed: int, levels: np.ndarray) -> None:
    import scoringrules

    quantiles, truth = predicted(seed, 20, levels)
    np.testing.assert_allclose(
        crps(quantiles, levels, truth), scoringrules.crps_quantile(truth, quantiles.T, levels), atol=1e-12
    )
    for t in TAIL_MM_H:
        chained = scoringrules.crps_quantile(np.maximum(truth, t), np.maximum(quantiles, t).T, levels)
        np.testing.assert_allclose(twcrps(quantiles, levels, truth, t), chained, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(seeds, uneven)
def test_the_exact_crps_equals_a_numerical_integral(seed: int, levels: np.ndarray) -> None:
    quantiles, truth = predicted(seed, 3, levels)
    for column, y in zip(quantiles.T, truth, strict=True):

        def rho(tau: float, column: np.ndarray = column, y: float = y) -> float:
            u = y - np.interp(tau, levels, column)
            return 2 * max(tau * u, (tau - 1) * u)

        kink = float(np.interp(y, column, levels))
        edges = np.unique([0.0, *levels, kink, 1.0])
        pieces = [integrate.quad(rho, a, b)[0] for a, b in pairwise(edges)]
        np.testing.assert_allclose(crps_integral(column[:, None], levels, np.array([y])), sum(pieces), rtol=1e-9, atol=1e-12)


def test_the_exact_crps_of_many_levels_is_that_of_the_distribution() -> None:
    levels = (np.arange(20000) + 0.5) / 20000
    truth = np.array([-1.0, 0.2, 3.0])
    z = truth * (2 * stats.norm.cdf(truth) - 1) + 2 * stats.norm.pdf(truth) - 1 / np.sqrt(np.pi)
    quantiles = np.tile(stats.norm.ppf(levels)[:, None], 3)
    np.testing.assert_allclose(crps_integral(quantiles, levels, truth), z, atol=1e-6)
    np.testing.assert_allclose(crps(quantiles, levels, truth), z, atol=1e-3)


@settings(max_examples=25, deadline=None)
@given(seeds, uneven, st.floats(0.0, 12.0))
def test_probabilities_are_the_interpolated_level(seed: int, levels: np.ndarray, value: float) -> None:
    quantiles, _ = predicted(seed, 30, levels)
    quantiles = np.sort(quantiles + np.linspace(1e-6, 2e-6, len(levels))[:, None], axis=0)  # no ties
    assume(value not in quantiles)  # where the distribution jumps at its ends, both sides differ
    found = q_.probability_below(quantiles, levels, value)
    expected = [np.interp(value, column, levels, left=0.0, right=1.0) for column in quantiles.T]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_allclose(q_.probability_up_to(quantiles, levels, value), expected, atol=1e-12)


def test_draws_are_the_inverse_distribution_function() -> None:
    quantiles, _ = predicted(4, 12)
    uniform = np.random.default_rng(7).random((500, 12))
    drawn = q_.draw(quantiles, LEVELS, 500, seed=7)
    expected = np.stack([np.interp(u, LEVELS, column) for u, column in zip(uniform.T, quantiles.T, strict=True)], axis=1)
    np.testing.assert_allclose(drawn, expected, atol=1e-12)
    image = q_.draw(quantiles.reshape(99, 3, 4), LEVELS, 500, seed=7)
    np.testing.assert_array_equal(image.reshape(500, 12), drawn)


def test_means_and_exceedance_are_those_of_draws() -> None:
    quantiles, _ = predicted(5, 40)
    drawn = q_.draw(quantiles, LEVELS, 20000, seed=1)
    error = 5 * drawn.std(axis=0) / np.sqrt(20000)
    assert (np.abs(q_.mean_of_quantiles(quantiles, LEVELS) - drawn.mean(axis=0)) < error).all()
    for t, p in zip((0.1, 5.0), q_.exceedance(quantiles, LEVELS, (0.1, 5.0)), strict=True):
        np.testing.assert_allclose(p, (drawn >= t).mean(axis=0), atol=0.02)


@settings(max_examples=25, deadline=None)
@given(seeds, uneven)
def test_moments_are_integrals_of_the_inverse_distribution(seed: int, levels: np.ndarray) -> None:
    quantiles, _ = predicted(seed, 3, levels)
    middle = (np.arange(200_000) + 0.5) / 200_000
    dense = np.stack([np.interp(middle, levels, column) for column in quantiles.T])
    np.testing.assert_allclose(q_.mean_of_quantiles(quantiles, levels), dense.mean(axis=1), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(q_.variance_of_quantiles(quantiles, levels), dense.var(axis=1), rtol=1e-3, atol=1e-6)


def test_quantiles_of_the_truth_are_reliable() -> None:
    """The truth is drawn from the predicted distribution, zeros and all."""
    quantiles, _ = predicted(6, 10000)
    truth = q_.draw(quantiles, LEVELS, 1, seed=2)[0]
    sample = QuantileSample(quantiles, LEVELS, truth)
    found = finish_quantiles(count_quantiles(sample))
    np.testing.assert_allclose(found["pit"], 1.0, atol=0.15)
    np.testing.assert_allclose(found["pit"].sum(), 20.0, rtol=1e-12)
    np.testing.assert_allclose(found["coverage"].sel(level=[0.75, 0.9, 0.95, 0.99]), [0.75, 0.9, 0.95, 0.99], atol=0.012)
    assert found["coverage"].sel(level=0.05) > 0.2  # many zeros lie at a quantile of zero
    spread = finish_spread(count_spread(spread_of_quantiles(sample)))
    np.testing.assert_allclose(spread["spread_over_error"], 1.0, atol=0.06)
    many = spread["rows"] > 1000
    np.testing.assert_allclose(spread["spread"][many] / spread["error"][many], 1.0, atol=0.12)
    events = count_events(q_.exceedance_sample(sample, (0.1, 5.0)))
    table = reliability(events)
    full = (table["rows"] > 200).values
    assert full.sum() > 8
    np.testing.assert_allclose(table["said"].values[full], table["came"].values[full], atol=0.05)
    assert finish_events(events)["event"].values.tolist() == [">= 0.1", ">= 5"]


def test_the_histogram_is_that_of_the_pit_where_nothing_is_tied() -> None:
    rng = np.random.default_rng(8)
    quantiles = np.sort(rng.gamma(1.0, 2.0, (99, 300)), axis=0)
    truth = rng.uniform(quantiles[0], quantiles[-1])
    pit = [np.interp(y, column, LEVELS) for y, column in zip(truth, quantiles.T, strict=True)]
    np.testing.assert_allclose(pit_histogram(quantiles, LEVELS, truth), np.histogram(pit, 20, (0, 1))[0], atol=1e-9)
    beyond = pit_histogram(np.array([[1.0], [2.0]]), np.array([0.1, 0.9]), np.array([3.0]))
    np.testing.assert_allclose(beyond, [*np.zeros(18), 0.5, 0.5])


def test_spread_adds_and_pools() -> None:
    rng = np.random.default_rng(9)
    mean, variance, truth = rng.random(50), rng.gamma(1, 1, 50), rng.random(50)
    truth[3] = np.nan
    whole = count_spread(SpreadSample(mean, variance, truth))
    halves = add_all(count_spread(SpreadSample(mean[i::2], variance[i::2], truth[i::2])) for i in (0, 1))
    xr.testing.assert_allclose(whole.total, halves.total)
    known = np.isfinite(truth)
    expected = np.sqrt(variance[known].mean() / ((mean - truth)[known] ** 2).mean())
    np.testing.assert_allclose(finish_spread(whole)["spread_over_error"], expected, rtol=1e-12)


def test_blocks_of_rows_add_to_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    from vigie.verify import quantile_scores

    quantiles, truth = predicted(11, 50)
    whole = count_quantiles(QuantileSample(quantiles, LEVELS, truth))
    monkeypatch.setattr(quantile_scores, "BLOCK_ROWS", 7)
    blocks = count_quantiles(QuantileSample(quantiles, LEVELS, truth))
    xr.testing.assert_allclose(blocks.total, whole.total, rtol=1e-12)
    xr.testing.assert_equal(blocks.weight, whole.weight)
    nothing = finish_quantiles(count_quantiles(QuantileSample(quantiles, LEVELS, truth * np.nan)))
    assert nothing["crps"].isnull() and nothing["pit"].isnull().all()


def test_missing_rows_do_not_count_and_rounding_is_put_right() -> None:
    quantiles, truth = predicted(10, 60)
    quantiles = quantiles.astype(np.float32)
    quantiles[50, 5] = np.nan
    quantiles[10] = quantiles[9] - np.float32(1e-6)
    truth[7] = np.nan
    kept = np.delete(np.arange(60), [5, 7])
    found = count_quantiles(QuantileSample(quantiles, LEVELS, truth))
    ordered = np.maximum.accumulate(quantiles[:, kept].astype(float), axis=0)
    assert found.weight["crps"] == 58
    np.testing.assert_allclose(found.total["crps"], crps(ordered, LEVELS, truth[kept]).sum(), rtol=1e-12)


def test_faults_are_named() -> None:
    rows = np.sort(np.random.default_rng(0).random((3, 4)), axis=0)
    for levels in ([0.1, 0.1, 0.2], [0.5, 0.4, 0.6], [0.0, 0.5, 0.9], [0.1, 0.5, 1.0]):
        with pytest.raises(VigieError, match="must increase"):
            QuantileSample(rows, np.array(levels), np.zeros(4))
    good = np.array([0.1, 0.5, 0.9])
    with pytest.raises(VigieError, match="1 rows where a higher level"):
        bad = rows.copy()
        bad[1, 2] = bad[0, 2] - 0.1
        QuantileSample(bad, good, np.zeros(4))
    with pytest.raises(VigieError, match="one quantile for each level"):
        QuantileSample(rows.T, good, np.zeros(3))
    with pytest.raises(VigieError, match="quantiles and truth"):
        QuantileSample(rows, good, np.zeros(5))
    with pytest.raises(VigieError, match="beyond the levels"):
        count_quantiles(QuantileSample(rows, good, np.zeros(4)))
    with pytest.raises(VigieError, match="variances and truth"):
        SpreadSample(np.zeros(3), np.zeros(3), np.zeros(4))


@pytest.mark.realdata
def test_climatology_scores_as_published(samples: Path) -> None:
    """Notes on precipitation 5.2: the quantiles of training days for every test row."""
    with np.load(samples / "precipitation" / "gmi_pairs" / "dpr_rain_rate_open.npz") as table:
        rate, day = table["DPR rain Rate"].astype(float), table["Day"]
    truth = rate[day > 14]
    climatology = np.tile(np.quantile(rate[day <= 14], LEVELS)[:, None], truth.size)
    found = finish_quantiles(count_quantiles(QuantileSample(climatology, LEVELS, truth)))
    assert abs(float(found["crps"]) - 1.027) < 0.001
    assert abs(float(found["twcrps"].sel(threshold_mm_h=5.0)) - 0.2722) < 0.0002
    np.testing.assert_allclose(found["coverage"], COVERAGE_LEVELS, atol=0.03)
