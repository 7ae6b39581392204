"""Landform: means of boxes, hummocks and height above the floor, against brute force and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vigie.harmonize.landform import box_mean, height, roughness


def field(size: int, seed: int, holes: float) -> np.ndarray:
    random = np.random.default_rng(seed)
    z = random.normal(4000, 200, (size, size))
    z[random.random(z.shape) < holes] = np.nan
    return z


@given(st.integers(1, 3), st.integers(0, 9), st.sampled_from([0.0, 0.3]))
def test_box_mean_and_height_are_brute_force(reach: int, seed: int, holes: float) -> None:
    z = field(11, seed, holes)
    mean, high = box_mean(z, reach), height(z, reach)
    for y in range(mean.shape[0]):
        for x in range(mean.shape[1]):
            box = z[y : y + 2 * reach + 1, x : x + 2 * reach + 1]
            if np.isfinite(box).any():
                assert mean[y, x] == pytest.approx(np.nanmean(box), abs=1e-3)
                np.testing.assert_allclose(high[y, x], z[y + reach, x + reach] - np.nanmin(box))
            else:
                assert np.isnan(mean[y, x])


def test_a_plane_is_smooth_and_its_height_grows_with_the_slope() -> None:
    plane = np.add.outer(np.zeros(31), 2.0 * np.arange(31))
    assert np.abs(roughness(plane, 3)).max() < 1e-6 or roughness(plane, 3).max() < 2e-3
    np.testing.assert_allclose(height(plane, 4), 8.0)


def test_a_lump_is_rough_and_a_constant_shift_changes_nothing() -> None:
    z = np.zeros((41, 41))
    z[20, 20] = 10.0
    assert roughness(z, 4).max() > 0.5
    np.testing.assert_array_equal(roughness(z, 4), roughness(z + 512.0, 4))


@given(st.integers(0, 5), st.integers(0, 5))
def test_any_window_gives_the_same_bits(top: int, left: int) -> None:
    z = field(30, 3, 0.1)
    whole = roughness(z, 3)
    part = roughness(z[top : top + 20, left : left + 22], 3)
    np.testing.assert_array_equal(part, whole[top : top + 8, left : left + 10])
