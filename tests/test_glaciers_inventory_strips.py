"""Work in strips of rows: the same numbers whatever their height, and never more read than a strip."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from scipy import ndimage

from vigie.apps.glaciers.classes import LEGEND
from vigie.apps.glaciers.inventory import divides, lakes, strips, uncertainty
from vigie.apps.glaciers.inventory.build import glacier_inventory

SIZE = 70


@pytest.fixture
def low(monkeypatch):
    """Strips of seven rows."""
    monkeypatch.setattr(strips, "ROWS", 7)


def world():
    """A class map, its probabilities and its elevations."""
    rng = np.random.default_rng(5)
    field = ndimage.gaussian_filter(rng.normal(size=(SIZE, SIZE)), 5)
    classes = np.digitize(field, np.quantile(field, [0.5, 0.7, 0.9])).astype(np.uint8)
    probability = rng.dirichlet(np.ones(4), size=(SIZE, SIZE)).transpose(2, 0, 1).astype(np.float32)
    return classes, probability, (4000 + 3000 * ndimage.gaussian_filter(rng.normal(size=(SIZE, SIZE)), 4)).astype(np.float32)


def inventory(probability):
    classes, _, dem = world()
    grid = GeoBox((SIZE, SIZE), Affine(30, 0, 500_000, 0, -30, 3_100_000), "EPSG:32645")
    return glacier_inventory(classes, grid, LEGEND, dem=dem, probability=probability)


def test_an_inventory_is_the_same_in_strips_and_reads_no_more_than_one(monkeypatch):
    _, probability, _ = world()
    whole = inventory(strips.held(probability))
    rows = []

    def read(window):
        rows.append(window["y"].stop - window["y"].start)
        return strips.held(probability)(window)

    monkeypatch.setattr(strips, "ROWS", 7)
    cut = inventory(read)
    assert max(rows) == 7 + 2 * 12  # correlation over three pixels reaches twelve
    for name in ("glaciers", "complexes", "lakes", "centrelines"):
        pd.testing.assert_frame_equal(pd.DataFrame(getattr(cut, name)), pd.DataFrame(getattr(whole, name)), rtol=1e-12)
    assert len(whole.glaciers) > 3 and whole.glaciers["area_std_km2"].min() > 0


def test_areas_under_probabilities_do_not_depend_on_strips(low):
    rng = np.random.default_rng(1)
    p, zones = rng.random((40, 23)).astype(np.float32), rng.integers(0, 4, (40, 23)).astype(np.int32)
    cut = uncertainty.probable_area_px(strips.held(p), zones, 2.0)
    spread = np.sqrt(p * (1 - p)).astype(np.float64)
    weights = np.exp(-(np.arange(-8, 9) ** 2) / 8.0)
    near = ndimage.convolve1d(ndimage.convolve1d(spread, weights, 0, mode="constant"), weights, 1, mode="constant")
    np.testing.assert_allclose(cut[0], np.bincount(zones.ravel(), p.ravel()), rtol=1e-6)
    np.testing.assert_allclose(cut[1], np.sqrt(np.bincount(zones.ravel(), (spread * near).ravel())), rtol=1e-6)
    assert strips.pixel_counts(zones, 6).tolist() == np.bincount(zones.ravel(), minlength=6).tolist()


def test_nearness_is_the_distance_transform(low):
    glaciers = np.zeros((30, 25), dtype=np.int32)
    glaciers[3:6, 4:9], glaciers[20:24, 15:18] = 1, 2
    near = lakes.nearness(glaciers)
    np.testing.assert_allclose(near.distance_px, ndimage.distance_transform_edt(glaciers == 0), rtol=1e-6)
    assert (
        near.glacier[0, 0] == 1 and near.glacier[29, 24] == 2 and (near.glacier[glaciers > 0] == glaciers[glaciers > 0]).all()
    )


def test_ice_flows_alike_across_strips(monkeypatch):
    classes, _, dem = world()
    complexes = ndimage.label(classes > 0)[0].astype(np.int32)
    whole = divides.by_flow(complexes, dem, 1.0, 50.0)
    monkeypatch.setattr(strips, "ROWS", 3)
    assert np.array_equal(divides.by_flow(complexes, dem, 1.0, 50.0).labels, whole.labels)
    assert whole.labels.max() > 5
