"""Class rasters to polygons: round trips, coverage, minimum mapping unit, tiling."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from odc.geo.geobox import GeoBox
from scipy import ndimage

from vigie.apps.glaciers.inventory.polygons import (
    burn,
    cut_corners,
    patches,
    pieces,
    polygonise,
    polygonise_file,
    simplify,
    stairs,
)

TRANSFORM = Affine(10, 0, 500_000, 0, -10, 4_000_000)
labels_of_any_shape = arrays(np.int32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 3))


def grid_of(labels):
    return GeoBox(labels.shape, TRANSFORM, "EPSG:32632")


@pytest.mark.parametrize("outline", [stairs, cut_corners])
@settings(max_examples=80, deadline=None)
@given(labels=labels_of_any_shape)
def test_polygons_rasterise_to_the_same_labels_without_gap_or_overlap(outline, labels):
    values, shapes = polygonise(labels, TRANSFORM, outline)
    assert shapely.is_valid(shapes).all()
    assert np.array_equal(burn(shapes, values, grid_of(labels)), labels)
    if len(shapes):
        assert shapely.coverage_is_valid(shapes)
        assert shapely.union_all(shapes).area == pytest.approx(shapely.area(shapes).sum(), abs=1e-3)


@settings(max_examples=50, deadline=None)
@given(labels=labels_of_any_shape)
def test_stairs_keep_the_area_of_every_label(labels):
    values, shapes = polygonise(labels, TRANSFORM, stairs)
    for label in np.unique(labels[labels > 0]):
        assert shapely.area(shapes[values == label]).sum() == pytest.approx(100.0 * (labels == label).sum())


@settings(max_examples=50, deadline=None)
@given(labels=labels_of_any_shape)
def test_pieces_agree_with_labelling_each_value_alone(labels):
    piece, value = pieces(labels)
    assert np.array_equal(value[piece], labels)
    expected = sum(ndimage.label(labels == v)[1] for v in np.unique(labels[labels > 0]))
    assert len(value) - 1 == expected == piece.max(initial=0)
    for number in range(1, len(value)):
        assert ndimage.label(piece == number)[1] == 1


def test_cutting_corners_costs_half_a_pixel_whatever_the_size():
    for size in (1, 4, 30):
        block = np.ones((size, size), dtype=np.int32)
        assert polygonise(block, TRANSFORM, cut_corners)[1][0].area == pytest.approx(100.0 * (size**2 - 0.5))


def test_cut_corners_give_a_disc_its_perimeter_where_stairs_do_not():
    y, x = np.mgrid[-60:61, -60:61]
    disc = (x**2 + y**2 <= 50.5**2).astype(np.int32)
    round_, square = (polygonise(disc, TRANSFORM, outline)[1][0] for outline in (cut_corners, stairs))
    true = 2 * np.pi * 505.0
    assert square.length / true == pytest.approx(4 / np.pi, rel=0.02)
    assert round_.length / true == pytest.approx(1.0, abs=0.07)
    assert round_.area == pytest.approx(np.pi * 505.0**2, rel=5e-3)


def test_holes_stay_holes():
    ring = np.ones((5, 5), dtype=np.int32)
    ring[2, 2] = 0
    assert len(polygonise(ring, TRANSFORM, cut_corners)[1][0].interiors) == 1


@settings(max_examples=30, deadline=None)
@given(labels=labels_of_any_shape, tolerance=st.sampled_from([2.5, 5.0]))
def test_simplifying_opens_no_gap_and_no_overlap(labels, tolerance):
    _, shapes = polygonise(labels, TRANSFORM, cut_corners)
    simple = simplify(shapes, tolerance)
    assert len(simple) == len(shapes)
    if len(simple):
        assert shapely.coverage_is_valid(simple)
        assert shapely.get_num_coordinates(simple).sum() <= shapely.get_num_coordinates(shapes).sum()


def test_patches_under_the_minimum_mapping_unit_are_dropped():
    mask = np.array([[1, 1, 0, 1], [1, 0, 0, 0], [0, 0, 1, 1]], dtype=bool)
    labels, count = patches(mask, 2)
    assert count == 2 and (labels > 0).sum() == 5
    assert patches(np.zeros((3, 3), dtype=bool), 1)[1] == 0


def test_nothing_gives_no_polygon():
    values, shapes = polygonise(np.zeros((4, 4), dtype=np.int32), TRANSFORM, stairs)
    assert len(values) == len(shapes) == 0
    assert not burn(shapes, values, grid_of(np.zeros((4, 4)))).any()


@pytest.mark.parametrize("tile_px", [16, 37, 1000])
def test_a_large_file_gives_the_same_polygons_whatever_the_tiles(tmp_path, tile_px):
    classes = (ndimage.gaussian_filter(np.random.default_rng(4).normal(size=(90, 70)), 3) > 0).astype(np.uint8) * 2
    path = tmp_path / "classes.tif"
    profile = {"driver": "GTiff", "height": 90, "width": 70, "count": 1, "dtype": "uint8", "crs": "EPSG:32632"}
    with rasterio.open(path, "w", **profile, transform=TRANSFORM) as out:
        out.write(classes, 1)
    whole = polygonise((classes == 2).astype(np.int32), TRANSFORM, stairs)[1]
    tiled = polygonise_file(path, (2,), tile_px)
    assert len(tiled) == len(whole)
    assert sorted(np.round(shapely.area(tiled))) == sorted(np.round(shapely.area(whole)))
    assert shapely.union_all(tiled).symmetric_difference(shapely.union_all(whole)).area == pytest.approx(0, abs=1e-6)


@pytest.mark.realdata
def test_real_debris_labels_become_valid_polygons_of_the_same_area(samples):
    for path in sorted((samples / "glaciers/debris_labels_only").glob("*.tif"))[:6]:
        with rasterio.open(path) as source:
            label, transform = source.read(1).astype(np.int32), source.transform
        shapes = polygonise(label, transform, stairs)[1]
        assert shapely.is_valid(shapes).all()
        assert shapely.area(shapes).sum() == pytest.approx((label == 1).sum() * transform.a**2, rel=1e-9)
