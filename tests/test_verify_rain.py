"""Scores of rain and of events equal those of scipy, scikit-learn and scores, add over tiles, and give published figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from vigie.core.errors import VigieError
from vigie.verify.events import RANKS, EventSample, count_events, finish_events, reliability
from vigie.verify.groups import count_by_group, standard_error
from vigie.verify.rain import (
    RATE_EDGES_MM_H,
    THRESHOLDS_MM_H,
    RainSample,
    count_detections,
    count_rates,
    finish_detections,
    finish_rates,
)
from vigie.verify.tally import Tally, add_all

CHANNELS = ["10v", "10h", "18v", "18h", "23v", "36v", "36h", "89v", "89h", "166v", "166h", "183-3", "183-7"]


def rain(seed: int, rows: int = 3000) -> RainSample:
    """Skewed rain with dry rows, an estimate that is related to it, and gaps in both."""
    rng = np.random.default_rng(seed)
    truth = np.where(rng.random(rows) < 0.4, 0.0, rng.gamma(0.6, 3.0, rows))
    estimate = truth * rng.lognormal(0.0, 0.5, rows) + rng.gamma(0.5, 0.2, rows)
    truth[rng.random(rows) < 0.05], estimate[rng.random(rows) < 0.05] = np.nan, np.nan
    return RainSample(estimate.astype(np.float32), truth)


def test_errors_equal_those_of_other_libraries() -> None:
    from scipy import stats
    from sklearn import metrics

    sample = rain(0)
    p, y = sample.known()
    found = finish_rates(count_rates(sample))
    wet = y > 0.1
    for name, expected in {
        "mae": metrics.mean_absolute_error(y, p),
        "rmse": metrics.root_mean_squared_error(y, p),
        "correlation": stats.pearsonr(y, p).statistic,
        "bias_percent": 100 * (p.sum() / y.sum() - 1),
        "smape_percent": 200 * np.mean(np.abs(p - y)[wet] / (p + y)[wet]),
    }.items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-12)


def test_detection_equals_that_of_scores() -> None:
    from scores.categorical import ThresholdEventOperator

    sample = rain(1)
    p, y = (xr.DataArray(a, dims="row") for a in sample.known())
    found = finish_detections(count_detections(sample))
    for threshold in THRESHOLDS_MM_H:
        table = ThresholdEventOperator().make_contingency_manager(p, y, event_threshold=threshold).transform()
        for name, score in {
            "pod": table.probability_of_detection(),
            "far": table.false_alarm_ratio(),
            "csi": table.critical_success_index(),
            "f1": table.f1_score(),
            "hss": table.heidke_skill_score(),
        }.items():
            np.testing.assert_allclose(found[name].sel(threshold_mm_h=threshold), score, rtol=1e-12, err_msg=name)


def test_precision_recall_equals_that_of_binned_rates_and_is_near_the_exact() -> None:
    from sklearn.metrics import average_precision_score

    sample = rain(2)
    p, y = sample.known()
    found = finish_detections(count_detections(sample))["pr_auc"]
    for threshold in THRESHOLDS_MM_H:
        binned = np.searchsorted(RATE_EDGES_MM_H, p, side="right")
        area = found.sel(threshold_mm_h=threshold)
        np.testing.assert_allclose(area, average_precision_score(y >= threshold, binned), rtol=1e-12)
        np.testing.assert_allclose(area, average_precision_score(y >= threshold, p), atol=0.005)


def test_probabilities_score_as_in_scikit_learn() -> None:
    from sklearn import metrics

    rng = np.random.default_rng(3)
    p = rng.beta(0.5, 0.5, (2, 40, 50))
    occurred = (rng.random(p.shape) < p**1.3).astype(float)
    p[:, :3], occurred[:, :, 0] = np.nan, np.nan
    tally = count_events(EventSample(p, occurred, ("rain", "snow")))
    found = finish_events(tally)
    for i in range(2):
        known = np.isfinite(p[i]) & np.isfinite(occurred[i])
        said, came = p[i][known], occurred[i][known]
        ranked = np.minimum(said * RANKS, RANKS - 1).astype(int)
        for name, expected in {
            "brier": metrics.brier_score_loss(came, said),
            "roc_auc": metrics.roc_auc_score(came, ranked),
            "pr_auc": metrics.average_precision_score(came, ranked),
            "f1": metrics.f1_score(came, said >= 0.5),
        }.items():
            np.testing.assert_allclose(found[name][i], expected, rtol=1e-12, err_msg=name)
        table = reliability(tally).isel(event=i)
        bins = np.minimum(said * 10, 9).astype(int)
        np.testing.assert_allclose(table["said"], [said[bins == b].mean() for b in range(10)], rtol=1e-12)
        np.testing.assert_allclose(table["came"], [came[bins == b].mean() for b in range(10)], rtol=1e-12)
        assert table["rows"].values.tolist() == np.bincount(bins).tolist()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 199), max_size=4, unique=True))
def test_any_partition_adds_to_the_whole(seed: int, cuts: list[int]) -> None:
    whole = rain(seed, 200)
    pieces = [
        RainSample(*pair) for pair in zip(*(np.split(a, sorted(cuts)) for a in (whole.estimate, whole.truth)), strict=True)
    ]
    for count in (count_rates, count_detections):
        parts = add_all(count(piece) for piece in pieces)
        xr.testing.assert_allclose(parts.total, count(whole).total, rtol=1e-12)
        xr.testing.assert_equal(parts.weight, count(whole).weight)


def test_what_cannot_be_scored_is_nan() -> None:
    nothing = np.full(3, np.nan)
    assert all(np.isnan(score) for score in finish_rates(count_rates(RainSample(nothing, nothing))).values())
    dry = RainSample(np.full(3, 0.1), np.zeros(3))
    rates = finish_rates(count_rates(dry))
    assert np.isnan(rates["bias_percent"]) and np.isnan(rates["correlation"]) and np.isnan(rates["smape_percent"])
    np.testing.assert_allclose(rates["mae"], 0.1)
    detections = finish_detections(count_detections(dry)).sel(threshold_mm_h=0.1)
    assert np.isnan(detections["pod"]) and np.isnan(detections["pr_auc"]) and detections["far"] == 1.0


def test_faults_are_named() -> None:
    with pytest.raises(VigieError, match="do not fit together"):
        RainSample(np.zeros(3), np.zeros(4))
    with pytest.raises(VigieError, match="one row an event"):
        EventSample(np.zeros((2, 3)), np.zeros((2, 3)), ("rain",))
    with pytest.raises(VigieError, match="divide per cent"):
        EventSample(np.array([[50.0]]), np.array([[1.0]]), ("rain",))


def footprints(samples: Path, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Brightness temperatures, label and month-day of rows with all channels, in that order."""
    with np.load(samples / "precipitation" / "gmi_pairs" / name) as table:
        tb = np.stack([table[channel] for channel in CHANNELS], axis=1)
        label = table["DPR rain Rate" if "rain" in name else "Prcp flag"]
        days = np.char.add(np.char.mod("%02d-", table["Month"].astype(int)), np.char.mod("%02d", table["Day"].astype(int)))
    kept = (tb > 50).all(axis=1)
    return tb[kept], label[kept], days[kept]


def days_of(month_day: np.ndarray) -> np.ndarray:
    return np.array([int(text[3:]) for text in month_day])


@pytest.mark.realdata
def test_boosted_trees_score_as_published(samples: Path) -> None:
    """Notes on precipitation 5.1, HGB on 13 Tb: rows of days 1-14 against 15-21."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    tb, rate, month_day = footprints(samples, "dpr_rain_rate_open.npz")
    train = days_of(month_day) <= 14
    trees = HistGradientBoostingRegressor(max_iter=300, learning_rate=0.05, min_samples_leaf=30, random_state=0)
    estimate = trees.fit(tb[train], rate[train]).predict(tb[~train])
    truth, groups = rate[~train], month_day[~train]

    def by_day(rows: np.ndarray) -> Tally:
        return count_rates(RainSample(estimate[rows], truth[rows]))

    tally = count_by_group(by_day, groups)
    assert tally.total.sizes["group"] == 80
    found = finish_rates(tally.sum("group"))
    for name, figure, off in (
        ("rmse", 1.643, 0.003),
        ("mae", 0.901, 0.002),
        ("bias_percent", -0.5, 0.1),
        ("correlation", 0.742, 0.002),
    ):
        assert abs(float(found[name]) - figure) < off, (name, float(found[name]))
    assert abs(float(standard_error(tally, finish_rates)["rmse"]) - 0.079) < 0.004
    csi = finish_detections(count_detections(RainSample(estimate, truth)))["csi"].sel(threshold_mm_h=[1.0, 5.0, 10.0])
    np.testing.assert_allclose(csi, [0.612, 0.413, 0.111], atol=0.003)


@pytest.mark.realdata
def test_detection_scores_as_published(samples: Path) -> None:
    """Notes on precipitation 5.5: rain against the rest, boosted trees on 13 Tb."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    tb, phase, month_day = footprints(samples, "dpr_phase_open.npz")
    train = days_of(month_day) <= 14
    trees = HistGradientBoostingClassifier(max_iter=200, learning_rate=0.06, random_state=0)
    p = trees.fit(tb[train], phase[train] == 1).predict_proba(tb[~train])[:, 1]
    found = finish_events(count_events(EventSample(p[None], (phase[~train] == 1).astype(float)[None], ("rain",)))).isel(event=0)
    figures = {
        "roc_auc": 0.983,
        "pr_auc": 0.971,
        "f1": 0.905,
        "pod": 0.900,
        "far": 0.090,
        "csi": 0.827,
        "hss": 0.855,
        "brier": 0.0479,
    }
    for name, figure in figures.items():
        assert abs(float(found[name]) - figure) < 0.001, (name, float(found[name]))
