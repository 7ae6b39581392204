"""What a date's own map shows of an outline: a share of its pixels, or the pixel that it lies in."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
from odc.geo.geobox import GeoBox
from shapely import box

from vigie.apps.glaciers.history.shown import with_shown

GRID = GeoBox.from_bbox((0, 0, 400, 400), "EPSG:32645", resolution=100)


def shown(*outlines, own: bool = False) -> list[list[float]]:
    """Shares shown and errors of outlines of 0.04 km2 on a grid whose western half its own map shows, or all of it."""
    seen = np.zeros(GRID.shape, bool)
    seen[:, : 4 if own else 2] = True
    table = gpd.GeoDataFrame({"area_km2": np.full(len(outlines), 0.04)}, geometry=list(outlines), crs=32645)
    return with_shown(table, GRID, seen, np.full(GRID.shape, 0.5))[["shown", "guess_err_km2"]].values.tolist()


def test_half_an_outline_is_guessed():
    assert shown(box(100, 0, 300, 200)) == [[0.5, pytest.approx(0.01)]]
    assert shown(box(100, 0, 300, 200), own=True) == [[1.0, 0.0]]


@pytest.mark.parametrize(("west", "expected"), [(0, [1.0, 0.0]), (200, [0.0, 0.02])])
def test_one_under_another_or_below_a_pixel_is_as_its_pixel(west, expected):
    under, over, tiny = box(west, 0, west + 100, 100), box(west, 0, west + 200, 200), box(west + 10, 10, west + 20, 20)
    assert shown(under, over) == [expected, expected]
    assert shown(tiny) == [expected]
