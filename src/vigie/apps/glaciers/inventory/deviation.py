"""Mapped areas against known outlines, glacier by glacier: what users of inventories ask of a map first (notes M13).

A deviation is (mapped - reference) / reference. It holds the errors of both, and the change between their dates.
"""

from __future__ import annotations

from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import pandas as pd
import rasterio.features
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from vigie.apps.glaciers.inventory import earth
from vigie.apps.glaciers.inventory.links import links
from vigie.apps.glaciers.inventory.polygons import Mask

ABOUT = ("rgi_id", "glac_name", "src_date")
"""Columns of the outlines that say which they are, where they have them."""


def area_deviations(glaciers: gpd.GeoDataFrame, outlines: gpd.GeoDataFrame, grid: GeoBox, unknown: Mask) -> pd.DataFrame:
    """Compare the mapped area of every known outline with its own.

    A mapped glacier counts for the outline that it overlaps most, wholly: what was mapped beyond the outline is a surplus.

    Parameters
    ----------
    glaciers: of an inventory, with rgi_id and area_km2.
    outlines: polygons that touch the grid, in any CRS.
    grid, unknown: the map's grid, and which of its pixels (y, x) have no class.

    Returns
    -------
    A row an outline, in their order: `rgi_id`, `glac_name`, `src_date`, `reference_km2`, `mapped_km2`, `complete` (it lies on
    the map and nothing in it is unknown), and `deviation_percent`, NaN where it is not complete.

    Examples
    --------
    >>> from affine import Affine
    >>> grid = GeoBox((20, 20), Affine(30, 0, 500000, 0, -30, 3100600), "EPSG:32645")
    >>> known = gpd.GeoDataFrame({"rgi_id": ["k"]}, geometry=[shapely.box(500100, 3100100, 500500, 3100500)], crs=32645)
    >>> smaller = known.geometry.buffer(-50, join_style="mitre").to_crs(4326)
    >>> mapped = gpd.GeoDataFrame({"rgi_id": ["m"], "area_km2": [0.09]}, geometry=smaller)
    >>> area_deviations(mapped, known, grid, np.zeros((20, 20), bool))["deviation_percent"].round(0).tolist()
    [-44.0]
    """
    there = earth.lonlat(outlines).reset_index(drop=True)
    table = pd.DataFrame({name: there.get(name) for name in ABOUT}, index=there.index)
    table["reference_km2"] = earth.area_km2(np.asarray(there.geometry.array, dtype=object))
    table["mapped_km2"] = _mapped_km2(glaciers, there)
    table["complete"] = _complete(np.asarray(there.geometry.to_crs(grid.crs.to_wkt()).array, dtype=object), grid, unknown)
    deviation = 100 * (table["mapped_km2"] / table["reference_km2"] - 1)
    return table.assign(deviation_percent=deviation.where(table["complete"]))


def _mapped_km2(glaciers: gpd.GeoDataFrame, outlines: gpd.GeoDataFrame) -> NDArray[np.float64]:
    """Sum the glaciers that overlap each outline more than any other."""
    numbered = outlines[["geometry"]].assign(rgi_id=outlines.index.astype(str))
    pairs = links(glaciers, numbered).sort_values("overlap_area_km2").drop_duplicates("rgi7_id", keep="last")
    area = glaciers.set_index("rgi_id")["area_km2"].reindex(pairs["rgi7_id"]).to_numpy()
    return np.bincount(pairs["rgi6_id"].astype(np.int64), area, minlength=len(outlines)).astype(np.float64)


def _complete(shapes: earth.Shapes, grid: GeoBox, unknown: Mask) -> NDArray[np.bool_]:
    """Tell which shapes lie on the grid and hold no unknown pixel."""
    on_map = shapely.covers(shapely.box(*grid.boundingbox.bbox), shapes)
    return np.array([bool(on) and not _holds(shape, grid, unknown) for shape, on in zip(shapes, on_map, strict=True)])


def _holds(shape: shapely.Geometry, grid: GeoBox, mask: Mask) -> bool:
    """Whether a shape touches a marked pixel."""
    west, south, east, north = shapely.bounds(shape).tolist()
    (left, top), (right, bottom) = ~grid.affine * (west, north), ~grid.affine * (east, south)
    rows, cols = slice(int(top), int(bottom) + 1), slice(int(left), int(right) + 1)
    part = mask[rows, cols]
    if not part.any():
        return False
    transform = earth.window_transform(grid.affine, rows.start, cols.start)
    touched = rasterio.features.rasterize([shape], out_shape=part.shape, transform=transform, all_touched=True, dtype="uint8")
    return bool((part & (touched > 0)).any())


@dataclass(frozen=True)
class DeviationSummary:
    """Deviations of the complete outlines in percent: of their sum, and the median and 90 % range over outlines (NaN: none)."""

    outlines: int
    left_out: int
    pooled: float
    median: float
    low: float
    high: float


def summarise(table: pd.DataFrame) -> DeviationSummary:
    """Summarise deviations; outlines that are not complete are left out.

    Examples
    --------
    >>> columns = {"reference_km2": [1.0, 9.0], "mapped_km2": [1.2, 9.0], "complete": True, "deviation_percent": [20.0, 0.0]}
    >>> summary = summarise(pd.DataFrame(columns))
    >>> round(summary.pooled, 1), summary.median
    (2.0, 10.0)
    """
    used = table[table["complete"].astype(bool)]
    if used.empty:
        return DeviationSummary(0, len(table), *(float("nan"),) * 4)
    low, median, high = np.percentile(used["deviation_percent"], (5, 50, 95)).tolist()
    pooled = 100 * (used["mapped_km2"].sum() / used["reference_km2"].sum() - 1)
    return DeviationSummary(len(used), len(table) - len(used), float(pooled), median, low, high)
