"""Distances from the training data equal those of scipy and scikit-learn, and tell snow from rain as published."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import cdist

from vigie.core.errors import VigieError
from vigie.verify.drift import alarm_threshold, fit_mahalanobis, fit_neighbours

CHANNELS = ["10v", "10h", "18v", "18h", "23v", "36v", "36h", "89v", "89h", "166v", "166h", "183-3", "183-7"]


def temperatures(seed: int, rows: int = 400) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return 250 + rng.normal(size=(rows, 4)) @ rng.normal(size=(4, 4)) * 10


def test_mahalanobis_equals_scipy() -> None:
    training, new = temperatures(0), temperatures(1, 50)
    expected = cdist(new, training.mean(axis=0)[None], "mahalanobis", VI=np.linalg.inv(np.cov(training.T)))[:, 0] ** 2
    np.testing.assert_allclose(fit_mahalanobis(training).score(new), expected, rtol=1e-9)


def test_shrinkage_equals_scikit_learn() -> None:
    from sklearn.covariance import ShrunkCovariance

    training, new = temperatures(2), temperatures(3, 50)
    theirs = ShrunkCovariance(shrinkage=0.2).fit(training).mahalanobis(new)
    rows = len(training)
    np.testing.assert_allclose(fit_mahalanobis(training, 0.2).score(new) * rows / (rows - 1), theirs, rtol=1e-9)


def test_normal_rows_have_chi_square_distances_and_the_alarm_its_rate() -> None:
    rng = np.random.default_rng(4)
    model = fit_mahalanobis(rng.normal(size=(20000, 13)))
    scores = model.score(rng.normal(size=(20000, 13)))
    assert stats.kstest(scores, "chi2", args=(13,)).statistic < 0.02
    limit = alarm_threshold(scores, 0.01)
    assert abs((model.score(rng.normal(size=(20000, 13))) > limit).mean() - 0.01) < 0.004


def test_neighbours_equal_scikit_learn() -> None:
    from sklearn.neighbors import NearestNeighbors
    from sklearn.preprocessing import StandardScaler

    training, new = temperatures(5), temperatures(6, 50)
    scaler = StandardScaler().fit(training)
    nearest = NearestNeighbors(n_neighbors=10).fit(scaler.transform(training))
    np.testing.assert_allclose(
        fit_neighbours(training, 10).score(new), nearest.kneighbors(scaler.transform(new))[0][:, -1], rtol=1e-9
    )


def test_rows_without_a_channel_have_no_distance() -> None:
    training, new = temperatures(8), temperatures(9, 5)
    whole = training.copy()
    training, new[2, 1] = np.vstack([training, np.full(4, np.nan)]), np.nan
    for fit in (fit_mahalanobis, fit_neighbours):
        scores = fit(training).score(new)
        assert np.isnan(scores).tolist() == [False, False, True, False, False]
        np.testing.assert_array_equal(scores, fit(whole).score(new))


def test_faults_are_named() -> None:
    copied = temperatures(0)[:, [0, 1, 1]]
    with pytest.raises(VigieError, match=r"cannot be inverted.*rank 2.*shrinkage"):
        fit_mahalanobis(copied)
    assert np.isfinite(fit_mahalanobis(copied, 0.01).score(copied)).all()
    with pytest.raises(VigieError, match="shrinkage is a share"):
        fit_mahalanobis(copied, 2.0)
    with pytest.raises(VigieError, match="needs rows"):
        fit_mahalanobis(np.full((5, 3), np.nan))
    with pytest.raises(VigieError, match=r"channels \[1\]"):
        fit_neighbours(np.column_stack([np.arange(20.0), np.ones(20)]))
    with pytest.raises(VigieError, match="too few neighbours"):
        fit_neighbours(copied[:5])
    with pytest.raises(VigieError, match=r"expected \(row, 4\)"):
        fit_neighbours(temperatures(0)).score(copied)
    with pytest.raises(VigieError, match="'calibration' has too few rows"):
        alarm_threshold(np.arange(50.0), 0.01)


@pytest.mark.realdata
def test_snow_and_moist_scenes_are_told_apart_as_published(samples: Path) -> None:
    """Notes on precipitation 5.5: trained on rain of days 1-14; snow seen by CPR, and moist scenes, on days 15-21."""
    from sklearn.metrics import roc_auc_score

    def auroc(inside: np.ndarray, outside: np.ndarray) -> float:
        return float(roc_auc_score(np.repeat([0, 1], [inside.size, outside.size]), np.concatenate([inside, outside])))

    def scenes(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        with np.load(samples / "precipitation" / "gmi_pairs" / name) as table:
            tb = np.stack([table[channel] for channel in CHANNELS], axis=1)
            day, tcwv_kg_m2 = table["Day"], table["tcwv"] / 1000
        kept = (tb > 50).all(axis=1)
        return tb[kept], day[kept] > 14, tcwv_kg_m2[kept]

    rain, late, tcwv = scenes("dpr_rain_rate_open.npz")
    snow, snow_late, _ = scenes("cpr_snow_rate_open.npz")
    mahalanobis, neighbours = fit_mahalanobis(rain[~late]), fit_neighbours(rain[~late])
    known = mahalanobis.score(rain[late])
    np.testing.assert_allclose(auroc(known, mahalanobis.score(snow[snow_late])), 0.905, atol=6e-4)
    np.testing.assert_allclose(auroc(known, mahalanobis.score(snow)), 0.913, atol=6e-4)
    np.testing.assert_allclose(auroc(neighbours.score(rain[late]), neighbours.score(snow[snow_late])), 0.924, atol=6e-4)
    dry = (tcwv > 0) & (tcwv <= 47.04)
    of_dry = fit_mahalanobis(rain[~late & dry])
    np.testing.assert_allclose(
        auroc(of_dry.score(rain[late & dry]), of_dry.score(rain[late & (tcwv > 59.84)])), 0.847, atol=6e-4
    )
