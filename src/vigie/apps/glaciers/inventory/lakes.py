"""Lakes of a class map: outlines, attributes, uncertainty, type by position, and the glacier each belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from scipy import ndimage

from vigie.apps.glaciers.inventory import earth, schema
from vigie.apps.glaciers.inventory.polygons import Labels, Mask, patches, polygonise, stairs
from vigie.apps.glaciers.inventory.settings import InventorySettings
from vigie.apps.glaciers.inventory.strips import Read, strips
from vigie.apps.glaciers.inventory.uncertainty import shore_error_km2

METHOD = "pixel classification, 4-connected patches"


@dataclass(frozen=True)
class Lakes:
    """Lakes on a grid: patch numbers from 1 on, and the outline of each along pixel edges, in the grid's CRS."""

    labels: Labels
    shapes: earth.Shapes
    grid: GeoBox


@dataclass(frozen=True)
class Nearness:
    """For every pixel, the distance (pixels) to the nearest glacier pixel, and that glacier's number (0 without glaciers)."""

    distance_px: NDArray[np.float32]
    glacier: Labels


def trace(water: Mask, grid: GeoBox, smallest_px: int) -> Lakes:
    """Find the lakes of a water mask; smaller ones than the minimum mapping unit are left out."""
    labels, _ = patches(water, smallest_px)
    return Lakes(labels, polygonise(labels, grid.affine, stairs)[1], grid)


def enclosed(water: Mask, ice: Mask) -> Mask:
    """Mark ponds that ice surrounds on all sides: by the RGI's convention they are part of their glacier.

    Examples
    --------
    >>> ice = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], dtype=bool)
    >>> int(enclosed(~ice, ice).sum())
    1
    """
    labels, count = ndimage.label(water)
    padded = np.pad(ice | water, 1)
    open_side = np.zeros(water.shape, dtype=bool)
    for beside in (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]):
        open_side |= ~beside
    leaking = np.bincount(labels[open_side & water], minlength=count + 1) > 0
    leaking[0] = True
    return np.asarray(~leaking[labels])


def nearness(glaciers: Labels) -> Nearness:
    """Measure how far each pixel is from the nearest glacier, and which one that is."""
    if not glaciers.any():
        return Nearness(np.full(glaciers.shape, np.inf, dtype=np.float32), np.zeros_like(glaciers))
    nearest = ndimage.distance_transform_edt(glaciers == 0, return_distances=False, return_indices=True)
    distance, glacier = np.empty(glaciers.shape, dtype=np.float32), np.empty_like(glaciers)
    for strip in strips(glaciers.shape):
        rows = strip.keep["y"]
        row, col = nearest[:, rows]
        distance[rows] = np.hypot(row - np.arange(rows.start, rows.stop)[:, np.newaxis], col - np.arange(glaciers.shape[1]))
        glacier[rows] = glaciers[row, col]
    return Nearness(distance, glacier)


@dataclass(frozen=True)
class Shore:
    """Per lake (entry 0 unused): share of the shore that touches ice, distance to the nearest glacier, and its number."""

    contact: NDArray[np.float64]
    distance_px: NDArray[np.float64]
    glacier: NDArray[np.int64]


def shore(lakes: Labels, near: Nearness, contact_px: float) -> Shore:
    """Look along each lake's shore: pixel edges whose far side lies within `contact_px` of ice touch it."""
    count = int(lakes.max(initial=0)) + 1
    lake, distance, glacier = _shore_edges(lakes, near)
    touching = distance <= contact_px
    edges = np.bincount(lake, minlength=count)
    contact = np.bincount(lake[touching], minlength=count) / np.maximum(edges, 1)
    closest = np.full(count, np.inf)
    np.minimum.at(closest, lake, distance)
    best = np.zeros(count, dtype=np.int64)
    nearest_edge = distance == closest[lake]
    for chosen in (nearest_edge, touching):
        pairs, votes = np.unique(np.stack([lake[chosen], glacier[chosen]]), axis=1, return_counts=True)
        rising = np.argsort(votes, kind="stable")
        best[pairs[0][rising]] = pairs[1][rising]
    return Shore(contact, closest, best)


def _shore_edges(lakes: Labels, near: Nearness) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Lake number, distance to ice beyond the edge, and nearest glacier of every shore edge; the map's border is no shore."""
    rows, cols = lakes.shape
    found = []
    for one, other in (
        ((slice(0, rows - 1), slice(None)), (slice(1, rows), slice(None))),
        ((slice(None), slice(0, cols - 1)), (slice(None), slice(1, cols))),
    ):
        for here, there in ((one, other), (other, one)):
            edge = (lakes[here] > 0) & (lakes[there] != lakes[here])
            found.append((lakes[here][edge], near.distance_px[there][edge], near.glacier[there][edge]))
    lake, distance, glacier = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return lake, distance.astype(np.float64), glacier.astype(np.int64)


def lake_types(
    table: pd.DataFrame,
    inside: Mask,
    contact: NDArray[np.float64],
    glacier_zmed_m: NDArray[np.float64],
    settings: InventorySettings,
) -> list[str]:
    """Type lakes by their position relative to glaciers (names after Ma 2022; the rule is ours).

    Supraglacial: ice encloses the lake, or touches at least `supraglacial_contact` of its shore. Ice-contacted: ice touches
    less. Ice-uncontacted: no touch, within `glacier_fed_m` of a glacier and, where elevations are known, below its median
    elevation, so that its meltwater can reach the lake. Non-glacier-fed: all others.
    """
    z, distance = table["zmean_m"].to_numpy(dtype=float), table["dist_glacier_m"].to_numpy(dtype=float)
    above = np.isfinite(z) & np.isfinite(glacier_zmed_m) & (z >= glacier_zmed_m)
    fed = np.isfinite(distance) & (distance <= settings.glacier_fed_m) & ~above
    on_ice = inside | (contact >= settings.supraglacial_contact)
    kinds = np.select([on_ice, contact > 0, fed], ["supraglacial", "ice-contacted", "ice-uncontacted"], "non-glacier-fed")
    return [str(kind) for kind in kinds]


@dataclass(frozen=True)
class Beside:
    """What lakes are seen against: ponds inside glaciers, nearness to glaciers, cut pixels; readers of elevation (m) and of the
    probability of water, where there are any.
    """

    ponds: Mask
    near: Nearness
    cut: Mask
    elevation_m: Read | None
    water: Read | None


def lake_table(lakes: Lakes, glaciers: pd.DataFrame, beside: Beside, settings: InventorySettings) -> gpd.GeoDataFrame:
    """Describe lakes by the full schema; `glaciers` rows are in the order of glacier numbers.

    Returns
    -------
    A table in EPSG:4326, largest lake first.
    """
    if not len(lakes.shapes):
        return schema.empty("lake")
    shapes = earth.reproject(lakes.shapes, lakes.grid.crs.to_wkt(), earth.WGS84)
    lon, lat = earth.centres(shapes)
    table = gpd.GeoDataFrame({"lon": lon, "lat": lat, "area_km2": earth.area_km2(shapes)}, geometry=shapes, crs=earth.WGS84)
    pixel_m = earth.local_pixel_m(lakes.grid, lon, lat)
    perimeter_m = earth.length_m(shapes)
    table["perimeter_km"] = perimeter_m / 1000
    table["area_err_km2"] = shore_error_km2(perimeter_m, pixel_m)
    table["lake_id"] = _unique(earth.point_ids(lon, lat, "GL"))
    table["zmean_m"] = _mean(lakes.labels, beside.elevation_m)
    table["certainty"] = _mean(lakes.labels, beside.water)
    table["truncated"] = np.bincount(lakes.labels[beside.cut], minlength=len(table) + 1)[1:] > 0
    _link(table, lakes, glaciers, beside, settings)
    table[["method", "sources"]] = METHOD, settings.source or None
    table[["src_date", "start_date", "end_date"]] = settings.date
    table[["verified", "edited"]] = False
    ordered = table.sort_values(["area_km2", "lake_id"], ascending=[False, True])
    conformed: gpd.GeoDataFrame = schema.conform(ordered, schema.fields("lake"))
    return conformed


def _link(table: gpd.GeoDataFrame, lakes: Lakes, glaciers: pd.DataFrame, beside: Beside, settings: InventorySettings) -> None:
    """Add the glacier of each lake, the distance to it, and the type."""
    edges = shore(lakes.labels, beside.near, settings.contact_px)
    pixel_m = earth.local_pixel_m(lakes.grid, table["lon"], table["lat"])
    inside = np.bincount(lakes.labels[beside.ponds], minlength=len(table) + 1)[1:] > 0
    number = edges.glacier[1:]
    ids = np.concatenate([[None], glaciers["rgi_id"].to_numpy(dtype=object)])
    median = np.concatenate([[np.nan], glaciers["zmed_m"].to_numpy(dtype=float)])
    gap_px = np.where(inside, 0.0, edges.distance_px[1:])
    table["glacier_id"] = ids[number]
    table["dist_glacier_m"] = np.where(number > 0, gap_px * pixel_m, np.nan)
    table["type"] = lake_types(table, inside, edges.contact[1:], median[number], settings)


def _mean(labels: Labels, read: Read | None) -> NDArray[np.float64]:
    """Mean of known values over each lake, NaN where there are none."""
    count = int(labels.max(initial=0)) + 1
    if read is None:
        return np.full(count - 1, np.nan)
    total, known = np.zeros(count), np.zeros(count, dtype=np.int64)
    for strip in strips(labels.shape):
        lake, values = labels[strip.keep["y"]], read(strip.keep)
        wet = (lake > 0) & np.isfinite(values)
        total += np.bincount(lake[wet], values[wet], minlength=count)
        known += np.bincount(lake[wet], minlength=count)
    return np.asarray(np.where(known > 0, total / np.maximum(known, 1), np.nan)[1:])


def _unique(ids: list[str]) -> list[str]:
    """Tell lakes of one name apart by a number."""
    seen: dict[str, int] = {}
    out = []
    for name in ids:
        seen[name] = seen.get(name, 0) + 1
        out.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return out
