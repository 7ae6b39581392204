"""Grids into datasets and out again; windows of a dataset are no datasets."""

from __future__ import annotations

import pytest
import xarray as xr
from odc.geo.crs import CRS

from vigie.core.errors import VigieError
from vigie.core.grid import coordinates, cover, grid_of, in_metres

GRID = cover((450_000.0, 3_097_000.0, 450_900.0, 3_100_000.0), "EPSG:32645", 30.0)


def test_a_grid_comes_back_as_it_was() -> None:
    assert grid_of(xr.Dataset(coords=coordinates(GRID))) == GRID


@pytest.mark.parametrize("window", [{"y": slice(1, None)}, {"x": slice(1, None)}, {"y": slice(40, 60), "x": slice(0, 9)}])
def test_a_window_along_either_side_has_no_grid(window: dict[str, slice]) -> None:
    with pytest.raises(VigieError, match="window of a larger grid"):
        grid_of(xr.Dataset(coords=coordinates(GRID)).isel(window))


def test_what_is_cut_at_the_far_ends_keeps_its_corner() -> None:
    assert grid_of(xr.Dataset(coords=coordinates(GRID)).isel(y=slice(0, 7))) == GRID[:7]


@pytest.mark.parametrize(
    ("crs", "metres"),
    [("EPSG:32645", True), ("EPSG:3413", True), ("EPSG:3031", True), ("EPSG:4326", False), ("EPSG:2225", False)],
)
def test_grids_are_in_metres_wherever_their_axes_point(crs: str, metres: bool) -> None:
    assert in_metres(CRS(crs)) == metres
    if not metres:
        with pytest.raises(VigieError, match=f"a grid needs metres; found {crs}; expected a projected CRS in metres"):
            cover((0, 0, 1, 1), crs, 0.1)
