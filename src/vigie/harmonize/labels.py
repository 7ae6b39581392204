"""Truth beside the observations: label rasters at the nearest pixel, or outlines burnt into the grid."""

from __future__ import annotations

import re
from typing import Any

import geopandas
import numpy as np
import pyogrio
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.features import rasterize
from shapely.geometry import box
from shapely.geometry.base import BaseGeometry

from vigie.core.errors import VigieError
from vigie.core.scene import Truth
from vigie.core.tiles import Window
from vigie.harmonize.grids import bounds_in
from vigie.harmonize.warp import read_nearest

Codes = NDArray[np.uint8]

UNKNOWN = 255
"""Code of pixels that no label reaches."""
BACKGROUND = 0
"""Code of pixels inside the extent of a vector layer that no outline holds."""
BLOCK = 256
"""Outlines are burnt in whole blocks of the grid, so that the result is the same for any tiling."""


def read_truth(truth: Truth, grid: GeoBox, window: Window, beyond: int = UNKNOWN) -> Codes:
    """Read the labels of a window.

    A raster's codes are kept as they are stored: the label legend says which of them mean unknown. Outside the raster they are
    `UNKNOWN`.

    Parameters
    ----------
    truth: a raster of codes 0-255, or a vector layer with the code to burn. Pixels whose centre an outline holds are burnt.
    grid, window: the whole target grid and the part to read.
    beyond: code of pixels outside the bounds of a vector layer, where nobody looked for outlines.
    """
    if truth.burn is None:
        return _read_codes(truth, grid, window)
    return _burn(truth, truth.burn, grid, window, beyond)


def _read_codes(truth: Truth, grid: GeoBox, window: Window) -> Codes:
    codes, known = read_nearest(truth.href, 1, grid, window)
    here = codes[known]
    if here.size and (here.min() < 0 or here.max() > UNKNOWN or (here != here.astype(np.uint8)).any()):
        raise VigieError(
            f"labels of {truth.href} are no codes",
            found=f"{codes.dtype} from {here.min()} to {here.max()}",
            expected="whole numbers from 0 to 255, 255 for unknown",
            do="recode the raster",
        )
    return np.where(known, codes, UNKNOWN).astype(np.uint8)


def _burn(truth: Truth, code: int, grid: GeoBox, window: Window, beyond: int) -> Codes:
    rows, columns = (range(window[d].start // BLOCK * BLOCK, window[d].stop, BLOCK) for d in ("y", "x"))
    lines = [np.hstack([_burn_block(truth, code, _block(grid, r, c), beyond) for c in columns]) for r in rows]
    y, x = ((window[d].start - at.start, window[d].stop - at.start) for d, at in (("y", rows), ("x", columns)))
    return np.ascontiguousarray(np.vstack(lines)[slice(*y), slice(*x)])


def _block(grid: GeoBox, row: int, column: int) -> GeoBox:
    return GeoBox((BLOCK, BLOCK), grid.affine @ Affine.translation(column, row), grid.crs)


def _burn_block(truth: Truth, code: int, block: GeoBox, beyond: int) -> Codes:
    """Burn the layer's extent as background, then its outlines."""
    layer = _layer(truth.href)
    west, south, east, north = bounds_in(block, layer["crs"])
    outlines = geopandas.read_file(truth.href, bbox=(west, south, east, north)).to_crs(str(block.crs))
    extent = geopandas.GeoSeries([box(*layer["total_bounds"])], crs=layer["crs"])
    sides = extent.segmentize(max(east - west, north - south) / 8).to_crs(str(block.crs))
    shapes = [(sides.iloc[0], BACKGROUND), *((g, code) for g in outlines.geometry if _is_area(g))]
    burnt: Codes = rasterize(shapes, block.shape, fill=beyond, transform=block.affine, dtype="uint8", all_touched=False)
    return burnt


def _is_area(shape: BaseGeometry | None) -> bool:
    return shape is not None and not shape.is_empty and shape.geom_type in ("Polygon", "MultiPolygon")


def _layer(href: str) -> dict[str, Any]:
    try:
        layer = dict(pyogrio.read_info(href, force_total_bounds=True))
    except pyogrio.errors.DataSourceError as error:
        raise VigieError(f"cannot read {href}", found=error, expected="a vector layer", do="check the path") from error
    if layer["crs"] is None or not re.search("Polygon|Unknown", str(layer["geometry_type"])):
        raise VigieError(
            f"{href} cannot be burnt as labels",
            found=f"crs {layer['crs']}, geometry {layer['geometry_type']}",
            expected="polygons with a CRS",
        )
    return layer
