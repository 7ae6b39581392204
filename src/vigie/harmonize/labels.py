"""Truth beside the observations: label rasters at the nearest pixel, or outlines burnt into the grid."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import geopandas
import numpy as np
import pandas
import pyogrio
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import CRS, Transformer
from rasterio.features import rasterize
from shapely.geometry import GeometryCollection, box
from shapely.geometry.base import BaseGeometry

from vigie.core.errors import VigieError
from vigie.core.raster import opened
from vigie.core.scene import Truth
from vigie.core.tiles import Window
from vigie.harmonize.grids import Bounds, bounds_in
from vigie.harmonize.warp import read_nearest

Codes = NDArray[np.uint8]

UNKNOWN = 255
"""Code of pixels that no label reaches."""
BACKGROUND = 0
"""Code of pixels inside the extent of a vector layer that no outline holds."""
BLOCK = 256
"""Outlines are burnt in whole blocks of the grid, so that the result is the same for any tiling."""


@dataclass(frozen=True)
class Layer:
    """A layer of outlines: its file, its name where the file has several, its CRS and the bounds of all that it holds."""

    path: str
    name: str | None
    crs: str
    bounds: Bounds

    def read(self, bounds: Bounds) -> geopandas.GeoSeries:
        """Read the outlines that touch `bounds`, in the layer's CRS. GeoParquet is read whole."""
        if _is_parquet(self.path):
            shapes = _parquet(self.path, Path(self.path).stat().st_mtime_ns)
            return shapes.iloc[shapes.sindex.query(box(*bounds))]
        return geopandas.read_file(self.path, layer=self.name, bbox=bounds, columns=[]).geometry


def read_truth(truth: Truth, grid: GeoBox, window: Window, beyond: int = UNKNOWN) -> Codes:
    """Read the labels of a window.

    A raster's codes are kept as they are stored: the label legend says which of them mean unknown. Outside the raster, where it
    holds the nodata that it declares, and where it holds NaN they are `UNKNOWN`.

    Parameters
    ----------
    truth: a raster of codes 0-255, or a vector layer with the code to burn. Pixels whose centre an outline holds are burnt. One
        layer of several is named as `file.gpkg|layername=<layer>`.
    grid, window: the whole target grid and the part to read.
    beyond: code of pixels outside the bounds of a vector layer, where nobody looked for outlines.
    """
    if truth.burn is None:
        return _read_codes(truth, grid, window)
    return _burn(truth, truth.burn, grid, window, beyond)


def _read_codes(truth: Truth, grid: GeoBox, window: Window) -> Codes:
    codes, known = read_nearest(truth.href, 1, grid, window)
    with opened(truth.href) as dataset:
        nodata = dataset.nodatavals[0]
    known = known & np.isfinite(codes) & (codes != (np.nan if nodata is None else nodata))
    here = codes[known]
    if here.size and (here.min() < 0 or here.max() > UNKNOWN or (here != here.astype(np.uint8)).any()):
        raise VigieError(
            f"labels of {truth.href} are no codes",
            found=f"{codes.dtype} from {here.min()} to {here.max()}",
            expected="whole numbers from 0 to 255, 255 or the declared nodata for unknown",
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
    layer = _described(truth.href)
    burnt = np.where(_within(layer, block), BACKGROUND, beyond).astype(np.uint8)
    shapes = [(part, code) for shape in _near(layer, block) for part in _areas(shape)]
    return rasterize(shapes, out=burnt, transform=block.affine, all_touched=False) if shapes else burnt


def _within(layer: Layer, block: GeoBox) -> NDArray[np.bool_]:
    """Say which pixels of a block have their centre in the bounds of a layer, in the layer's own coordinates.

    Pixels are brought to the layer and not its bounds to the grid: a box around the whole Earth, or one that ends at longitude
    180, has no shape on a polar or a UTM grid.
    """
    columns, rows = np.meshgrid(np.arange(block.shape[1]) + 0.5, np.arange(block.shape[0]) + 0.5)
    x, y = Transformer.from_crs(str(block.crs), layer.crs, always_xy=True).transform(*(block.affine @ (columns, rows)))
    west, south, east, north = layer.bounds
    within: NDArray[np.bool_] = (x >= west) & (x <= east) & (y >= south) & (y <= north)
    return within


def _near(layer: Layer, block: GeoBox) -> geopandas.GeoSeries:
    """Read the outlines around a block, in its coordinates; a block across longitude 180 has some at both ends of the layer."""
    west, south, east, north = bounds_in(block, layer.crs)
    split = CRS.from_user_input(layer.crs).is_geographic and west > east
    boxes = [(west, south, 180.0, north), (-180.0, south, east, north)] if split else [(west, south, east, north)]
    found = pandas.concat([layer.read(box) for box in boxes])
    return found.to_crs(str(block.crs))


def _areas(shape: BaseGeometry | None) -> Iterator[BaseGeometry]:
    """The polygons of a geometry, those inside collections too."""
    if shape is None or shape.is_empty:
        return
    if shape.geom_type in ("Polygon", "MultiPolygon"):
        yield shape
    elif isinstance(shape, GeometryCollection):
        for part in shape.geoms:
            yield from _areas(part)


def _described(href: str) -> Layer:
    path, _, name = href.partition("|layername=")
    try:
        if _is_parquet(path):
            shapes = _parquet(path, Path(path).stat().st_mtime_ns)
            crs, kind = shapes.crs and shapes.crs.to_wkt(), ", ".join(sorted(set(shapes.geom_type.dropna())))
            bounds = tuple(shapes.total_bounds)
        else:
            told = pyogrio.read_info(path, layer=name or None, force_total_bounds=True)
            crs, kind, bounds = told["crs"], str(told["geometry_type"]), told["total_bounds"]
    except (pyogrio.errors.DataSourceError, OSError, ValueError) as error:
        raise VigieError(f"cannot read {href}", found=error, expected="a vector layer", do="check the path") from error
    if crs is None or not re.search("Polygon|Unknown|Collection", kind):
        found = f"crs {crs}, geometry {kind}"
        raise VigieError(
            f"{href} cannot be burnt as labels",
            found=found,
            expected="polygons with a CRS",
            do="assign one with ogr2ogr -a_srs, or name another layer",
        )
    return Layer(path, name or None, crs, bounds)


def _is_parquet(path: str) -> bool:
    return path.lower().endswith((".parquet", ".geoparquet"))


@lru_cache(maxsize=2)
def _parquet(path: str, changed_ns: int) -> geopandas.GeoSeries:
    """The geometries of a GeoParquet file, which need not be sorted in space: read once."""
    return geopandas.read_parquet(path).geometry
