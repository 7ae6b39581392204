"""A grid is an odc.geo GeoBox; here is only what we add to it: windows of it, covers, and its way into and out of datasets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.geom import BoundingBox

from vigie.core.errors import VigieError
from vigie.core.tiles import Window

if TYPE_CHECKING:
    from odc.geo.crs import CRS

CRS_VARIABLE = "spatial_ref"


def cover(bounds: tuple[float, float, float, float], crs: str, resolution_m: float) -> GeoBox:
    """Make the smallest north-up grid that covers `bounds`, its edges on multiples of the resolution.

    Parameters
    ----------
    bounds: west, south, east, north in units of `crs`.
    crs: anything pyproj reads; it must be projected.
    resolution_m: pixel size in metres.

    Examples
    --------
    >>> cover((5.0, 5.0, 95.0, 45.0), "EPSG:32632", 10.0).shape
    Shape2d(x=10, y=5)
    """
    from odc.geo.crs import CRS

    if not in_metres(CRS(crs)):
        raise VigieError(
            "a grid needs metres",
            found=crs,
            expected="a projected CRS in metres, such as the UTM zone of the place",
            do="choose another CRS, for instance --set harmonize.grid.crs=EPSG:32645",
        )
    return GeoBox.from_bbox(BoundingBox(*bounds, crs=crs), resolution=resolution_m, tight=False, anchor="edge")


def in_metres(crs: CRS | None) -> bool:
    """Say that a coordinate system counts in metres, whatever its axes are called and wherever they point."""
    return crs is not None and crs.projected and all(axis.unit_conversion_factor == 1 for axis in crs.proj.axis_info[:2])


def crop(grid: GeoBox, window: Window) -> GeoBox:
    """Cut the part of a grid that a window {"y": ..., "x": ...} covers."""
    y, x = (slice(window[d].start, min(window[d].stop, size)) for d, size in zip(("y", "x"), grid.shape, strict=True))
    return grid[y, x]


def pixel_m(grid: GeoBox) -> float:
    """Give the pixel size of a north-up square grid in metres."""
    return float(abs(grid.resolution.y))


def coordinates(grid: GeoBox) -> dict[str, Any]:
    """Make the coordinates y, x (pixel centres) and the CF grid-mapping variable of a grid.

    Examples
    --------
    >>> sorted(coordinates(cover((0, 0, 30, 20), "EPSG:32632", 10.0)))
    ['spatial_ref', 'x', 'y']
    """
    from odc.geo.xr import xr_coords

    return dict(xr_coords(grid, crs_coord_name=CRS_VARIABLE))


def grid_of(dataset: xr.Dataset) -> GeoBox:
    """Read the grid that `coordinates` wrote into a dataset, exactly as it was.

    The affine transform is taken from the grid-mapping attribute when present, so that no rounding of pixel centres enters.
    """
    if CRS_VARIABLE not in dataset.variables:
        raise VigieError("the dataset has no grid", found=sorted(map(str, dataset.variables)), expected=f"'{CRS_VARIABLE}'")
    from affine import Affine

    attributes = dataset[CRS_VARIABLE].attrs
    shape = (dataset.sizes["y"], dataset.sizes["x"])
    x0, dx, rx, y0, ry, dy = (float(v) for v in str(attributes["GeoTransform"]).split())
    firsts = (x0 + dx / 2, float(dataset["x"][0]), dx), (y0 + dy / 2, float(dataset["y"][0]), dy)
    if not all(np.isclose(expected, found, rtol=0, atol=abs(step) / 100) for expected, found, step in firsts):
        raise VigieError(
            "the dataset is a window of a larger grid",
            expected="the whole dataset",
            do="keep the grid beside the window, and cut it with vigie.core.grid.crop",
        )
    return GeoBox(shape, Affine(dx, rx, x0, ry, dy, y0), attributes["crs_wkt"])
