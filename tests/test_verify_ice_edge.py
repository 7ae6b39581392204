"""Scores of the ice edge and reference forecasts, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from vigie.verify.ice_edge import edge_error, spatial_probability_score
from vigie.verify.ice_references import anomaly_persistence, damping_of, dressed

SHAPE = (5, 7)
bools = arrays.arrays(bool, SHAPE)
areas = arrays.arrays(np.float64, SHAPE, elements=st.floats(1.0, 100.0))


def test_a_shifted_disc_is_misplaced_and_not_too_large():
    y, x = np.mgrid[:101, :101] - 50.0
    disc, moved = np.hypot(y, x) < 20, np.hypot(y, x - 3) < 20
    error = edge_error(moved, disc, np.full(disc.shape, 625.0), np.full(disc.shape, True))
    # Two discs of radius r whose centres are d apart differ by 4 r d to first order, half of it on each side.
    assert error.iiee / 625 == pytest.approx(4 * 20 * 3, rel=0.05)
    assert error.misplacement == pytest.approx(error.iiee, rel=0.02)
    assert error.extent_error < 0.02 * error.iiee


@given(bools, bools, areas, bools)
def test_parts_of_the_edge_error_add_up(forecast, truth, area, known):
    error, back = edge_error(forecast, truth, area, known), edge_error(truth, forecast, area, known)
    assert error.iiee == pytest.approx(error.extent_error + error.misplacement)
    assert (error.over, error.under) == (back.under, back.over)
    assert error.over - error.under == pytest.approx(((forecast * 1.0 - truth) * area)[known].sum())


@given(bools, bools, areas, bools)
def test_a_certain_probability_scores_as_an_edge(forecast, truth, area, known):
    score = spatial_probability_score(forecast.astype(np.float32), truth, area, known)
    assert score == pytest.approx(edge_error(forecast, truth, area, known).iiee)


def test_the_score_of_a_constant_probability_is_least_at_the_frequency():
    truth = np.array([[True, False, False, False]])
    area, known = np.ones((1, 4)), np.ones((1, 4), dtype=bool)
    score = {p: spatial_probability_score(np.full((1, 4), p), truth, area, known) for p in (0.0, 0.25, 0.5)}
    assert score[0.25] == pytest.approx(4 * 0.25 * 0.75) and score[0.25] < min(score[0.0], score[0.5])


def test_damping_is_the_regression_through_zero():
    random = np.random.default_rng(0)
    first = random.normal(size=(4, 100))
    later = 0.6 * first + 0.1 * random.normal(size=first.shape)
    later[0, :10] = np.nan
    known = np.isfinite(later)
    fitted = np.linalg.lstsq(first[known][:, None], later[known], rcond=None)[0][0]
    assert damping_of(zip(first, later, strict=True)) == pytest.approx(fitted)


def test_references_stay_within_bounds():
    now, usual = np.array([0.95, 0.05]), np.array([0.5, 0.5])
    assert anomaly_persistence(now, usual, np.array([0.8, 0.2])).tolist() == [1.0, 0.0]
    members = dressed(now, np.array([[0.2, -0.2], [-0.1, 0.1]]))
    np.testing.assert_allclose(members, [[1.0, 0.0], [0.85, 0.15]])
