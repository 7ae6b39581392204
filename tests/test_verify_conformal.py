"""Conformal intervals cover exactly as often as they promise, by group, and refuse what is too small."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vigie.core.errors import VigieError
from vigie.verify.conformal import Conformal, calibrate, conformal_quantile, conformal_rank


def regimes(seed: int, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Intervals of width 2 around errors that are small in one regime and large in the other."""
    rng = np.random.default_rng(seed)
    groups = rng.choice(["dry", "moist"], rows)
    centre = rng.gamma(1.0, 2.0, rows)
    truth = centre + rng.normal(size=rows) * np.where(groups == "dry", 0.3, 2.0)
    return centre - 1, centre + 1, truth, groups


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(10, 60), st.floats(0.1, 0.5))
def test_of_rows_left_out_in_turn_exactly_the_promised_share_is_covered(seed: int, rows: int, miscoverage: float) -> None:
    """Over all ways to leave one of n + 1 rows out, ceil((n + 1)(1 - a)) are covered: the theorem itself."""
    low, high, truth, _ = regimes(seed, rows + 1)
    covered = 0
    for i in range(rows + 1):
        others = np.arange(rows + 1) != i
        l, h = calibrate(low[others], high[others], truth[others], miscoverage).apply(low[[i]], high[[i]])  # noqa: E741
        score = max(low[i] - truth[i], truth[i] - high[i])
        covered += bool(l[0] <= truth[i] <= h[0]) or bool(np.isclose(score, h[0] - high[i], rtol=0, atol=1e-12))
    assert covered == conformal_rank(rows, miscoverage)


def test_the_quantile_is_that_of_numpy() -> None:
    scores = np.random.default_rng(0).normal(size=200)
    for a in (0.05, 0.1, 0.33):
        level = np.ceil(201 * (1 - a)) / 200
        assert conformal_quantile(scores, a) == np.quantile(scores, level, method="inverted_cdf")
    with_gaps = np.append(scores, [np.nan, np.nan])
    assert conformal_quantile(with_gaps, 0.1) == conformal_quantile(scores, 0.1)


def test_ranks_are_not_led_astray_by_binary_fractions() -> None:
    assert [conformal_rank(n, 0.1) for n in (9, 19, 29, 99, 999)] == [9, 18, 27, 90, 900]


def test_every_regime_is_covered_only_where_regimes_are_calibrated() -> None:
    low, high, truth, groups = regimes(1, 8000)
    half = slice(0, 4000), slice(4000, None)
    pooled = calibrate(low[half[0]], high[half[0]], truth[half[0]], 0.1)
    mondrian = calibrate(low[half[0]], high[half[0]], truth[half[0]], 0.1, groups[half[0]])

    def coverage(conformal: Conformal, labels: np.ndarray | None) -> dict[str, float]:
        l, h = conformal.apply(low[half[1]], high[half[1]], labels)  # noqa: E741
        inside = (l <= truth[half[1]]) & (truth[half[1]] <= h)
        return {name: inside[groups[half[1]] == name].mean() for name in ("dry", "moist")}

    for share in coverage(mondrian, groups[half[1]]).values():
        assert abs(share - 0.9) < 0.03
    loose = coverage(pooled, None)
    assert loose["dry"] > 0.99 and loose["moist"] < 0.85
    assert mondrian.widening["dry"] < 0 < mondrian.widening["moist"]


def test_intervals_do_not_turn_inside_out() -> None:
    low, high = Conformal({"all": -2.0}, 0.1).apply(np.array([[0.0, 0.0]]), np.array([[1.0, 10.0]]))
    assert low.tolist() == [[0.5, 2.0]] and high.tolist() == [[0.5, 8.0]]


def test_faults_are_named() -> None:
    low, high, truth, groups = regimes(2, 40)
    with pytest.raises(VigieError, match=r"group 'all' has too few rows.*at least 99"):
        calibrate(low, high, truth, 0.01)
    groups[:], groups[:3] = "moist", "dry"
    with pytest.raises(VigieError, match=r"'dry' has too few rows.*3 rows.*at least 9"):
        calibrate(low, high, truth, 0.1, groups)
    with pytest.raises(VigieError, match="not calibrated"):
        calibrate(low, high, truth, 0.1).apply(low, high, groups)
    with pytest.raises(VigieError, match="needs its group"):
        calibrate(low, high, truth, 0.1, groups[:5])
    with pytest.raises(VigieError, match="miscoverage is a share"):
        calibrate(low, high, truth, 90.0)
