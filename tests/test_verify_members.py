"""Scores of members equal those of scoringrules; tail statistics equal those of scipy."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from vigie.core.errors import VigieError
from vigie.verify.members import MEMBERS, MemberSample, count_members, crps_fair, crps_plain, spread_of_members
from vigie.verify.spread import count_spread, finish_spread
from vigie.verify.tails import PROBABILITIES, tail_statistics
from vigie.verify.tally import add_all


def ensemble(seed: int, members: int, rows: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Rain with many ties at zero."""
    rng = np.random.default_rng(seed)
    drawn = np.maximum(rng.gamma(0.6, 4.0, (members + 1, rows)) - 0.5, 0.0)
    return drawn[:-1], drawn[-1]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 40))
def test_crps_equals_scoringrules(seed: int, members: int) -> None:
    import scoringrules

    x, y = ensemble(seed, members)
    for ours, estimator in ((crps_plain, "nrg"), (crps_fair, "fair")):
        np.testing.assert_allclose(ours(x, y), scoringrules.crps_ensemble(y, x.T, estimator=estimator), atol=1e-12)
        weighted = scoringrules.twcrps_ensemble(y, x.T, a=5.0, estimator=estimator)
        np.testing.assert_allclose(ours(np.maximum(x, 5.0), np.maximum(y, 5.0)), weighted, atol=1e-12)


def test_counts_are_means_of_known_rows_and_add() -> None:
    x, y = ensemble(1, 8, 60)
    x[2, 5], y[9] = np.nan, np.nan
    kept = np.delete(np.arange(60), [5, 9])
    whole = count_members(MemberSample(x, y))
    found = MEMBERS.finish(whole)
    np.testing.assert_allclose(found["crps"], crps_plain(x[:, kept], y[kept]).mean(), rtol=1e-12)
    tail = crps_fair(np.maximum(x[:, kept], 10.0), np.maximum(y[kept], 10.0)).mean()
    np.testing.assert_allclose(found["twcrps_fair"].sel(threshold_mm_h=10.0), tail, rtol=1e-12)
    image = MemberSample(x.reshape(8, 6, 10), y.reshape(6, 10))
    rows = [MemberSample(image.members[:, i], image.truth[i]) for i in range(6)]
    xr.testing.assert_allclose(add_all(map(count_members, rows)).total, whole.total)


def test_members_drawn_like_the_truth_have_honest_spread_and_the_fair_score_of_any_size() -> None:
    few, many = ensemble(2, 3, 40000), ensemble(2, 40, 40000)
    for x, y in (few, many):
        assert abs(float(finish_spread(count_spread(spread_of_members(MemberSample(x, y))))["spread_over_error"]) - 1) < 0.02
    plain, fair = (np.array([score(x, y).mean() for x, y in (few, many)]) for score in (crps_plain, crps_fair))
    assert abs(fair[0] / fair[1] - 1) < 0.02 < abs(plain[0] / plain[1] - 1)


def test_tails_equal_those_of_scipy() -> None:
    x, y = ensemble(3, 4, 5000)
    x[1, 7], y[8] = np.nan, np.nan
    kept = np.delete(np.arange(5000), [7, 8])
    tails = tail_statistics(x, y)
    for i, row in enumerate(x[:, kept]):
        one = tails.isel(draw=i)
        np.testing.assert_allclose(one["wasserstein"], stats.wasserstein_distance(row, y[kept]), rtol=1e-12)
        np.testing.assert_allclose(one["p999_ratio"], np.quantile(row, 0.999) / np.quantile(y[kept], 0.999), rtol=1e-12)
        np.testing.assert_allclose(one["max_ratio"], row.max() / y[kept].max(), rtol=1e-12)
        np.testing.assert_allclose(one["wet_ratio"], (row >= 0.1).sum() / (y[kept] >= 0.1).sum(), rtol=1e-12)
        np.testing.assert_allclose(one["sample_quantile"], np.quantile(row, PROBABILITIES), rtol=1e-12)
    same = tail_statistics(y[kept][None], y[kept]).isel(draw=0)
    assert same["p99_ratio"] == same["max_ratio"] == same["wet_ratio"] == 1 and same["wasserstein"] == 0


def test_the_mean_has_no_tail_and_draws_have() -> None:
    x, y = ensemble(4, 20, 5000)
    assert tail_statistics(x.mean(axis=0)[None], y)["p99_ratio"] < 0.6
    np.testing.assert_allclose(tail_statistics(x, y)["p99_ratio"].mean(), 1.0, atol=0.1)


def test_no_rain_gives_no_ratio() -> None:
    dry = tail_statistics(np.ones((2, 5)), np.zeros(5))
    assert dry["max_ratio"].isnull().all() and dry["p99_ratio"].isnull().all() and (dry["wasserstein"] == 1).all()


def test_faults_are_named() -> None:
    with pytest.raises(VigieError, match="two members or more"):
        MemberSample(np.zeros((1, 4)), np.zeros(4))
    with pytest.raises(VigieError, match="members and truth"):
        MemberSample(np.zeros((3, 4)), np.zeros(5))
    with pytest.raises(VigieError, match="samples and truth"):
        tail_statistics(np.zeros((3, 4)), np.zeros(5))
    with pytest.raises(VigieError, match="nothing to score"):
        tail_statistics(np.zeros((3, 4)), np.full(4, np.nan))
