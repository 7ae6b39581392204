"""Class scores agree with scikit-learn, with partial labels and unknown pixels left out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from vigie.core.errors import VigieError
from vigie.core.legend import LabelLegend, Legend, LegendClass
from vigie.verify.classes import NONE, LabelledTile, count_classes, finish_classes, label_tile, merge_labels

LEAVES = Legend("g", tuple(LegendClass(i, name, "#000000") for i, name in enumerate(("other", "clean", "debris", "lake"))))
DEBRIS = LabelLegend("debris", {0: ("not debris", ("other", "clean", "lake")), 1: ("debris", ("debris",))})


def softmax_tile(seed: int, n: int = 3, shape: tuple[int, int] = (17, 13), gsd_m: float = 10.0) -> LabelledTile:
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(n), shape).transpose(2, 0, 1).astype(np.float32)
    return LabelledTile(p, rng.integers(-1, n, shape).astype(np.int16), tuple("abcd"[:n]), gsd_m)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 4))
def test_scores_equal_scikit_learn(seed: int, n: int) -> None:
    tile = softmax_tile(seed, n)
    known = tile.rows >= 0
    truth, decided = tile.rows[known], np.argmax(tile.probability, axis=0)[known]
    scores = finish_classes(count_classes(tile))
    labels = list(range(n))
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(truth, decided, labels=labels, zero_division=np.nan)
    np.testing.assert_allclose(scores["iou"], metrics.jaccard_score(truth, decided, labels=labels, average=None), rtol=1e-12)
    np.testing.assert_allclose(scores["precision"], precision, rtol=1e-12)
    np.testing.assert_allclose(scores["recall"], recall, rtol=1e-12)
    np.testing.assert_allclose(scores["f1"], f1, rtol=1e-12)
    np.testing.assert_allclose(scores["accuracy"], metrics.accuracy_score(truth, decided), rtol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_iou_is_bounded_and_below_f1(seed: int) -> None:
    scores = finish_classes(count_classes(softmax_tile(seed)))
    assert ((scores["iou"] >= 0) & (scores["iou"] <= scores["f1"]) & (scores["f1"] <= 1)).all()
    np.testing.assert_allclose(scores["f1"], 2 * scores["iou"] / (1 + scores["iou"]))


def test_a_perfect_map_scores_one_and_deviates_by_nothing() -> None:
    rows = np.random.default_rng(0).integers(-1, 3, (9, 9)).astype(np.int16)
    p = np.eye(3, dtype=np.float32)[np.maximum(rows, 0)].transpose(2, 0, 1)
    scores = finish_classes(count_classes(LabelledTile(p, rows, ("a", "b", "c"), 10.0)))
    assert (scores["iou"] == 1).all() and (scores["area_deviation"] == 0).all() and scores["mean_iou"] == 1


def test_partial_labels_sum_their_leaves() -> None:
    # clean ice is the likeliest leaf, yet its sum with rock and lake is below debris nowhere: 0.4 debris < 0.6 rest
    p = np.array([0.1, 0.4, 0.4, 0.1], np.float32)[:, None, None] * np.ones((1, 1, 2), np.float32)
    tile = label_tile(p, np.array([[0, 1]], np.uint8), DEBRIS, LEAVES, 10.0)
    np.testing.assert_allclose(tile.probability[:, 0, 0], [0.6, 0.4], rtol=1e-6)
    assert tile.decided().tolist() == [[0, 0]]


def test_unknown_truth_never_counts() -> None:
    p = np.random.default_rng(0).dirichlet(np.ones(4), (6, 6)).transpose(2, 0, 1).astype(np.float32)
    truth = np.full((6, 6), 255, np.uint8)
    tally = count_classes(label_tile(p, truth, DEBRIS, LEAVES, 10.0))
    assert tally.total["confusion"].sum() == 0 and np.isnan(finish_classes(tally)["iou"]).all()
    truth[0, 0] = 1
    assert count_classes(label_tile(p, truth, DEBRIS, LEAVES, 10.0)).total["confusion"].sum() == 1


def test_a_missing_prediction_is_a_miss_not_a_gap() -> None:
    p = np.array([[[0.0, np.nan]], [[1.0, np.nan]]], np.float32)
    tally = count_classes(LabelledTile(p, np.array([[1, 1]], np.int16), ("land", "ice"), 10.0))
    assert tally.total["confusion"].sel(truth="ice", predicted=NONE) == 1
    assert finish_classes(tally)["recall"].sel(label="ice") == 0.5


def test_leaves_outside_all_labels_compete_as_none() -> None:
    labels = LabelLegend("lakes", {1: ("lake", ("lake",)), 2: ("ice", ("clean",))})
    p = np.array([0.7, 0.2, 0.0, 0.1], np.float32)[:, None, None]
    assert label_tile(p, np.array([[2]], np.uint8), labels, LEAVES, 10.0).decided().tolist() == [[2]]


def test_area_deviation_weighs_pixels_by_their_size() -> None:
    rows = np.array([[1, 1, 0, 0]], np.int16)
    over = np.array([[[0, 0, 0, 1]], [[1, 1, 1, 0]]], np.float32)  # 3 mapped, 2 reference
    exact = np.array([[[0, 0, 1, 1]], [[1, 1, 0, 0]]], np.float32)
    coarse = count_classes(LabelledTile(over, rows, ("land", "ice"), 20.0)).at(scene="coarse")
    fine = count_classes(LabelledTile(exact, rows, ("land", "ice"), 10.0)).at(scene="fine")
    both = coarse + fine
    ice = finish_classes(both)["area_deviation"].sel(label="ice")
    np.testing.assert_allclose(ice.sel(scene=["coarse", "fine"]), [0.5, 0.0])
    # pooled: (3 * 400 + 2 * 100 - (2 * 400 + 2 * 100)) / (2 * 400 + 2 * 100)
    np.testing.assert_allclose(finish_classes(both.sum("scene"))["area_deviation"].sel(label="ice"), 0.4)


def test_a_halo_does_not_count() -> None:
    tile = softmax_tile(3)
    inner = {"y": slice(2, 9), "x": slice(1, 8)}
    cut = LabelledTile(tile.probability[:, 2:9, 1:8], tile.rows[2:9, 1:8], tile.labels, 10.0)
    haloed = LabelledTile(tile.probability, tile.rows, tile.labels, 10.0, inner)
    assert count_classes(cut).total.identical(count_classes(haloed).total)


def test_merged_labels_equal_a_merged_map() -> None:
    tile = softmax_tile(5)
    decided = np.argmax(tile.probability, 0)
    merged = finish_classes(merge_labels(count_classes(tile), {"rest": ["a"], "ice": ["b", "c"]}))
    known = tile.rows >= 0
    expected = metrics.jaccard_score(tile.rows[known] > 0, decided[known] > 0)
    np.testing.assert_allclose(merged["iou"].sel(label="ice"), expected)
    with pytest.raises(VigieError, match="exactly one group"):
        merge_labels(count_classes(tile), {"rest": ["a"], "ice": ["b"]})


def test_faults_are_named() -> None:
    with pytest.raises(VigieError, match="do not fit together"):
        LabelledTile(np.zeros((2, 3, 3), np.float32), np.zeros((3, 4), np.int16), ("a", "b"), 10.0)
    with pytest.raises(VigieError, match="another number of classes"):
        label_tile(np.zeros((2, 1, 1), np.float32), np.zeros((1, 1), np.uint8), DEBRIS, LEAVES, 10.0)
    with pytest.raises(VigieError, match="codes that legend"):
        label_tile(np.zeros((4, 1, 1), np.float32), np.full((1, 1), 7, np.uint8), DEBRIS, LEAVES, 10.0)
