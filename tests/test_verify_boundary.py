"""Boundary distances agree with brute force and closed forms, both ways, and add over haloed tiles."""

from __future__ import annotations

from functools import reduce
from operator import add

import numpy as np
import pytest
import xarray as xr
from scipy.spatial.distance import cdist

from vigie.core.tiles import tiles
from vigie.verify.boundary import (
    CAP_M,
    DIRECTIONS,
    REACH_PX,
    boundary,
    count_boundaries,
    finish_boundaries,
    halo_px,
    reach_m,
)
from vigie.verify.classes import LabelledTile

FORTH, BACK = DIRECTIONS


def tile(mapped: np.ndarray, rows: np.ndarray, gsd_m: float = 10.0, **more: object) -> LabelledTile:
    p = np.stack([~mapped, mapped]).astype(np.float32)
    return LabelledTile(p, rows.astype(np.int16), ("land", "ice"), gsd_m, **more)


def disc(radius: float, size: int = 121) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - size // 2
    return np.hypot(y, x) <= radius


def blobs(seed: int, shape: tuple[int, int] = (24, 31)) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2) > 0


def edge_by_hand(mask: np.ndarray, known: np.ndarray) -> np.ndarray:
    points = []
    for y, x in np.argwhere(mask & known):
        around = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
        inside = [(j, i) for j, i in around if 0 <= j < mask.shape[0] and 0 <= i < mask.shape[1]]
        if any(known[at] and not mask[at] for at in inside):
            points.append((y, x))
    return np.array(points)


@pytest.mark.parametrize("seed", range(4))
def test_distances_equal_brute_force(seed: int) -> None:
    mapped, truth = blobs(seed), blobs(seed + 100)
    rows = np.where(np.random.default_rng(seed).uniform(size=truth.shape) < 0.1, -1, truth)
    known = rows >= 0
    a, b = edge_by_hand(mapped, known), edge_by_hand(truth & known, known)
    pairs = cdist(a, b) * 30.0
    scores = finish_boundaries(count_boundaries(tile(mapped, rows, 30.0))).sel(label="ice")
    for direction, distances in ((FORTH, pairs.min(1)), (BACK, pairs.min(0))):
        here = scores.sel(direction=direction)
        assert here["boundary_mean_m"].item() == pytest.approx(distances.mean())
        assert here["boundary_median_m"].item() == pytest.approx(np.quantile(distances, 0.5, method="inverted_cdf"), abs=2.5)
        assert here["boundary_p95_m"].item() == pytest.approx(np.quantile(distances, 0.95, method="inverted_cdf"), abs=2.5)
    for k in (1, 2, 3):
        near = (pairs.min(1) <= 30 * k).mean(), (pairs.min(0) <= 30 * k).mean()
        f1 = 2 * near[0] * near[1] / sum(near)
        assert scores["boundary_f1"].sel(tolerance_px=k).item() == pytest.approx(f1)


def test_concentric_discs_lie_apart_by_their_radii() -> None:
    scores = finish_boundaries(count_boundaries(tile(disc(50), disc(40).astype(int)))).sel(label="ice")
    for direction in DIRECTIONS:
        assert scores["boundary_mean_m"].sel(direction=direction).item() == pytest.approx(100.0, abs=5.0)
    assert scores["boundary_f1"].sel(tolerance_px=3) == 0


def test_speckle_shows_in_one_direction_only() -> None:
    speckled = disc(40)
    speckled[5, 5] = True
    scores = finish_boundaries(count_boundaries(tile(speckled, disc(40).astype(int)))).sel(label="ice")
    assert scores["boundary_mean_m"].sel(direction=BACK) == 0 < scores["boundary_mean_m"].sel(direction=FORTH)


def test_equal_maps_are_perfect() -> None:
    scores = finish_boundaries(count_boundaries(tile(disc(30), disc(30).astype(int))))
    assert (scores["boundary_p95_m"] == 0).all() and (scores["boundary_mean_m"] == 0).all()
    assert (scores[["boundary_f1", "boundary_iou", "interior_iou"]].to_array() == 1).all()


def test_a_shift_inside_the_tolerance_is_forgiven_by_the_interior() -> None:
    rows = np.zeros((20, 40), int)
    rows[:, 20:] = 1
    mapped = np.roll(rows, 2, axis=1).astype(bool)
    mapped[:, :2] = False
    scores = finish_boundaries(count_boundaries(tile(mapped, rows))).sel(label="ice")
    assert scores["interior_iou"].sel(tolerance_px=1) < 1 and scores["interior_iou"].sel(tolerance_px=2) == 1
    # bands of 3 columns inside edges 2 columns apart share 1 of 5 (Cheng et al. 2021)
    assert scores["boundary_iou"].sel(tolerance_px=3).item() == pytest.approx(1 / 5)


def test_frames_and_unknown_pixels_are_no_boundaries() -> None:
    mask = np.ones((5, 5), bool)
    assert not boundary(mask, mask).any()
    known = mask.copy()
    known[:, 2] = False
    mask[:, 2] = False
    assert not boundary(mask, known).any()


def test_a_boundary_that_is_missing_counts_as_the_cap() -> None:
    scores = finish_boundaries(count_boundaries(tile(np.zeros((30, 30), bool), disc(8, 30).astype(int)))).sel(label="ice")
    assert scores["boundary_mean_m"].sel(direction=BACK) == CAP_M == scores["boundary_median_m"].sel(direction=BACK)
    assert np.isnan(scores["boundary_mean_m"].sel(direction=FORTH))


def test_a_map_of_nothing_scores_nothing_where_there_is_a_boundary_and_nothing_to_score_stays_nan() -> None:
    empty = np.zeros((30, 30), bool)
    for mapped, rows in ((empty, disc(8, 30)), (disc(8, 30), empty)):
        scores = finish_boundaries(count_boundaries(tile(mapped, rows.astype(int)))).sel(label="ice")
        assert (scores["boundary_f1"] == 0).all()
    assert np.isnan(finish_boundaries(count_boundaries(tile(empty, empty.astype(int))))["boundary_f1"]).all()


def test_fine_pixels_are_measured_alike_in_tiles_and_whole() -> None:
    """Boundaries farther apart than the reach, pixels of 2 m: what a tile cannot see, the whole map does not count either."""
    mapped, rows = np.zeros((4, 3000), bool), np.zeros((4, 3000), int)
    mapped[:, :20], rows[:, 1500:] = True, 1
    rows[:, 900:930] = 1
    whole, halo = count_boundaries(tile(mapped, rows, 2.0)), halo_px(2.0)
    parts = []
    for cut in tiles({"y": 4, "x": 3000}, {"y": 4, "x": 500}, {"y": halo, "x": halo}):
        at = cut.read["y"], cut.read["x"]
        parts.append(count_boundaries(tile(mapped[at], rows[at], 2.0, inner=cut.inner)))
    added = reduce(add, parts)
    xr.testing.assert_allclose(added.total, whole.total)
    xr.testing.assert_identical(added.weight, whole.weight)
    assert finish_boundaries(whole)["boundary_mean_m"].max() <= reach_m(2.0) == 2 * REACH_PX < CAP_M


def test_tiles_with_a_wide_halo_add_to_the_whole() -> None:
    mapped, rows = blobs(7, (40, 50)), blobs(8, (40, 50)).astype(int)
    whole = count_boundaries(tile(mapped, rows, 1000.0))  # the cap is 10 px here: so is the halo
    parts = []
    for y in range(0, 40, 20):
        for x in range(0, 50, 25):
            read = slice(max(0, y - 12), y + 32), slice(max(0, x - 12), x + 37)
            inner = {
                "y": slice(y - read[0].start, y - read[0].start + 20),
                "x": slice(x - read[1].start, x - read[1].start + 25),
            }
            parts.append(count_boundaries(tile(mapped[read], rows[read], 1000.0, inner=inner)))
    added = parts[0] + parts[1] + parts[2] + parts[3]
    xr.testing.assert_allclose(added.total, whole.total)
    xr.testing.assert_identical(added.weight, whole.weight)
