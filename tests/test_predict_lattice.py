"""The patch lattice and its blending: every pixel covered, constants kept, results independent of where one begins."""

from __future__ import annotations

from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vigie.core.errors import VigieError
from vigie.predict.blend import RowBlender
from vigie.predict.lattice import Lattice, fit_patch

lattices = st.tuples(st.integers(2, 20), st.integers(0, 19)).filter(lambda p: p[1] < p[0]).map(lambda p: Lattice(*p))


@given(lattices, st.integers(1, 200))
def test_patches_cover_every_pixel_and_stay_inside(lattice: Lattice, size: int) -> None:
    starts = lattice.starts(size)
    covered = np.zeros(size, dtype=int)
    for start in starts:
        covered[start : start + lattice.patch] += 1
    assert covered.min() >= 1
    assert starts[0] == 0 and (size <= lattice.patch or starts[-1] + lattice.patch == size)
    if len(starts) > 1:
        assert (np.diff(starts) <= lattice.patch - lattice.overlap).all()


def blend(lattice: Lattice, image: np.ndarray, top: int, bottom: int, columns: tuple[int, int]) -> np.ndarray:
    """Blend patches cut from an image over some lines and columns."""
    blender = RowBlender(lattice, 1, columns, top)
    for y in lattice.touching(image.shape[0], top, bottom):
        for x in lattice.touching(image.shape[1], *columns):
            patch = fit_patch(image[y : y + lattice.patch, x : x + lattice.patch], lattice.patch)
            blender.add(patch[None].astype(np.float32), int(y), int(x))
    return blender.take(bottom)[0]


@given(lattices, st.integers(1, 60), st.integers(1, 60), st.randoms())
@settings(deadline=None)
def test_blending_patches_of_an_image_gives_the_image(lattice: Lattice, height: int, width: int, random: object) -> None:
    image = np.random.default_rng(random.randint(0, 999)).random((height, width)).astype(np.float32)  # type: ignore[attr-defined]
    # As many roundings of float32 as patches meet in a pixel, twice (weighted values and weights).
    meet = ceil(lattice.patch / (lattice.patch - lattice.overlap)) ** 2
    rounding = 2 * meet * float(np.finfo(np.float32).eps)
    np.testing.assert_allclose(blend(lattice, image, 0, height, (0, width)), image, rtol=max(2e-6, rounding))


@given(lattices, st.integers(2, 60), st.data())
@settings(deadline=None)
def test_any_part_blends_to_the_same_bytes(lattice: Lattice, size: int, data: st.DataObject) -> None:
    image = np.random.default_rng(1).random((size, size)).astype(np.float32)
    whole = blend(lattice, image, 0, size, (0, size))
    top = data.draw(st.integers(0, size - 1))
    bottom = data.draw(st.integers(top + 1, size))
    left = data.draw(st.integers(0, size - 1))
    right = data.draw(st.integers(left + 1, size))
    np.testing.assert_array_equal(blend(lattice, image, top, bottom, (left, right)), whole[top:bottom, left:right])


def test_an_impossible_lattice_is_refused() -> None:
    with pytest.raises(VigieError, match="cannot be laid out"):
        Lattice(patch=64, overlap=64)


def test_reflection_fills_a_scene_smaller_than_a_patch() -> None:
    np.testing.assert_array_equal(fit_patch(np.array([[1, 2]]), 4), [[1, 2, 1, 2]] * 4)
