"""Calibration scores agree with brute force, scikit-learn and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from vigie.verify.calibration import LOG_FLOOR, count_calibration, finish_calibration, reliability
from vigie.verify.classes import LabelledTile


def tile(n: int, seed: int = 0, shape: tuple[int, int] = (20, 30)) -> LabelledTile:
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(n, 0.5), shape).transpose(2, 0, 1).astype(np.float32)
    return LabelledTile(p, rng.integers(-1, n, shape).astype(np.int16), tuple("abc"[:n]), 10.0)


def ece_by_hand(said: np.ndarray, came: np.ndarray) -> float:
    """The formula of the notes, bin by bin."""
    at = np.minimum((said * 10).astype(int), 9)
    bins = [at == k for k in range(10)]
    return sum(b.mean() * abs(said[b].mean() - came[b].mean()) for b in bins if b.any())


@pytest.mark.parametrize("n", [2, 3])
def test_scores_equal_brute_force(n: int) -> None:
    sample = tile(n)
    known = sample.rows >= 0
    p, rows = sample.probability[:, known].astype(float), sample.rows[known]
    scores = finish_calibration(count_calibration(sample))
    assert scores["ece"].item() == pytest.approx(ece_by_hand(p.max(0), p.argmax(0) == rows), abs=1e-6)
    for label in range(n):
        assert scores["label_ece"][label].item() == pytest.approx(ece_by_hand(p[label], rows == label), abs=1e-6)
    one_hot = np.eye(n)[rows].T
    assert scores["brier"].item() == pytest.approx(((p - one_hot) ** 2).sum(0).mean(), abs=1e-6)
    normalised = p / p.sum(0)
    floored = np.maximum(normalised, LOG_FLOOR)
    assert scores["log_loss"].item() == pytest.approx(-np.log(floored[rows, np.arange(rows.size)]).mean(), abs=1e-5)


def test_binary_brier_is_twice_scikit_learns() -> None:
    sample = tile(2)
    known = sample.rows >= 0
    expected = 2 * metrics.brier_score_loss(sample.rows[known], sample.probability[1, known])
    assert finish_calibration(count_calibration(sample))["brier"].item() == pytest.approx(expected, abs=1e-6)


def test_tiles_add_to_the_whole() -> None:
    whole = tile(3)
    halves = [
        LabelledTile(whole.probability[:, part], whole.rows[part], whole.labels, 10.0) for part in (slice(0, 7), slice(7, 20))
    ]
    added = count_calibration(halves[0]) + count_calibration(halves[1])
    expected = finish_calibration(count_calibration(whole))
    for name, score in finish_calibration(added).items():
        np.testing.assert_allclose(score, expected[name], rtol=1e-12)


def test_truth_drawn_from_the_probabilities_is_calibrated() -> None:
    rng = np.random.default_rng(4)
    p = rng.uniform(size=(1, 400, 400)).astype(np.float32)
    rows = (rng.uniform(size=(400, 400)) < p[0]).astype(np.int16)
    scores = finish_calibration(count_calibration(LabelledTile(np.concatenate([1 - p, p]), rows, ("no", "yes"), 10.0)))
    assert scores["ece"] < 0.01 and (scores["label_ece"] < 0.01).all()
    # closed forms for p ~ U(0, 1): Brier 2 E[p (1-p)] = 1/3, log loss E[H(p)] = 1/2
    assert scores["brier"].item() == pytest.approx(1 / 3, abs=0.005)
    assert scores["log_loss"].item() == pytest.approx(0.5, abs=0.01)


def test_over_confidence_is_measured() -> None:
    p = np.full((1, 10, 10), 0.95, np.float32)
    rows = np.zeros((10, 10), np.int16)
    rows[:7] = 1
    scores = finish_calibration(count_calibration(LabelledTile(np.concatenate([1 - p, p]), rows, ("no", "yes"), 10.0)))
    assert scores["ece"].item() == pytest.approx(0.25, abs=1e-6)


def test_certain_errors_stay_finite_and_ones_have_a_bin() -> None:
    p = np.array([[[1.0]], [[0.0]]], np.float32)
    tally = count_calibration(LabelledTile(p, np.array([[1]], np.int16), ("no", "yes"), 10.0))
    assert finish_calibration(tally)["log_loss"].item() == pytest.approx(-np.log(LOG_FLOOR))
    assert reliability(tally)["pixels"].sel(label="no").values.tolist() == [0] * 9 + [1]


def test_pixels_without_probability_or_truth_do_not_count() -> None:
    p = np.full((2, 1, 3), 0.5, np.float32)
    p[:, 0, 1] = np.nan
    tally = count_calibration(LabelledTile(p, np.array([[1, 1, -1]], np.int16), ("no", "yes"), 10.0))
    assert tally.weight["brier"] == 1
