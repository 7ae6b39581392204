"""A paired bootstrap equals one written out, and tells models apart that separate intervals do not."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from vigie.core.errors import VigieError
from vigie.verify.groups import count_by_group, difference, standard_error
from vigie.verify.rain import RainSample, count_rates, finish_rates
from vigie.verify.tally import Tally


def by_day(estimate: np.ndarray, truth: np.ndarray, days: np.ndarray) -> Tally:
    return count_by_group(lambda rows: count_rates(RainSample(estimate[rows], truth[rows])), days)


def two_models(seed: int) -> tuple[Tally, Tally, np.ndarray, np.ndarray]:
    """Forty days, each hard or easy for both models; the second errs a little less."""
    rng = np.random.default_rng(seed)
    days = np.repeat([f"{d:02d}" for d in range(40)], 25)
    hard = np.repeat(rng.gamma(1.0, 1.0, 40), 25)
    truth = rng.gamma(1.0, 2.0, 1000)
    error = hard * rng.normal(size=1000)
    worse, better = truth + error, truth + 0.9 * error
    return by_day(worse, truth, days), by_day(better, truth, days), (worse - truth) ** 2, (better - truth) ** 2


def test_counts_by_group_pool_to_the_whole() -> None:
    rng = np.random.default_rng(0)
    truth, estimate, days = rng.random(50), rng.random(50), rng.choice(["a", "b", "c"], 50)
    tally = by_day(estimate, truth, days)
    assert tally.weight["truth"].sel(group="b") == (days == "b").sum()
    xr.testing.assert_allclose(tally.sum("group").total, count_rates(RainSample(estimate, truth)).total)


def test_the_bootstrap_equals_one_written_out() -> None:
    first, second, one, other = two_models(1)
    found = difference(first, second, finish_rates, replicates=200, seed=3)
    draws = np.random.default_rng(3).multinomial(40, np.full(40, 1 / 40), size=200)
    squares = [np.sqrt(draws @ e.reshape(40, 25).sum(axis=1) / 1000) for e in (one, other)]
    gap = squares[0] - squares[1]
    np.testing.assert_allclose(found["rmse"], np.sqrt(one.mean()) - np.sqrt(other.mean()), rtol=1e-9)
    np.testing.assert_allclose(found["rmse_interval"], np.quantile(gap, [0.025, 0.975]), rtol=1e-9)
    np.testing.assert_allclose(found["rmse_standard_error"], gap.std(ddof=1), rtol=1e-9)
    np.testing.assert_allclose(
        standard_error(first, finish_rates, replicates=200, seed=3)["rmse"], squares[0].std(ddof=1), rtol=1e-9
    )


def test_the_standard_error_of_a_mean_is_that_of_theory() -> None:
    first, second, one, other = two_models(2)
    found = difference(first, second, Tally.mean, replicates=4000)["squared_error_standard_error"]
    by_group = (one - other).reshape(40, 25).mean(axis=1)
    np.testing.assert_allclose(found, by_group.std() / np.sqrt(40), rtol=0.05)


def test_pairing_tells_apart_what_separate_errors_do_not() -> None:
    first, second, *_ = two_models(3)
    found = difference(first, second, finish_rates)
    assert found["rmse_interval"].sel(bound="low") > 0
    assert found["rmse"] < standard_error(first, finish_rates)["rmse"]
    shuffled = second.map(lambda data: data.isel(group=np.random.default_rng(0).permutation(40)))
    xr.testing.assert_allclose(difference(first, shuffled, finish_rates), found)
    same = difference(first, first, finish_rates)
    assert same["mae"] == 0 and same["mae_standard_error"] == 0 and (same["mae_interval"] == 0).all()


def test_faults_are_named() -> None:
    first, second, *_ = two_models(4)
    with pytest.raises(VigieError, match="39 in common"):
        difference(first, second.map(lambda data: data.isel(group=slice(1, None))), finish_rates)
    with pytest.raises(VigieError, match="at least two"):
        difference(first.sum("group"), second.sum("group"), finish_rates)
    with pytest.raises(VigieError, match="needs replicates"):
        difference(first, second, finish_rates, replicates=0)
    with pytest.raises(VigieError, match="nothing to score"):
        count_by_group(lambda rows: first, np.array([], dtype=str))
