"""The attribute tables of glaciers, complexes, shared borders, centrelines and hypsometry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from vigie.apps.glaciers.inventory import earth, schema, termini
from vigie.apps.glaciers.inventory.centreline import NO_OUTFLOW, Centreline, centrelines
from vigie.apps.glaciers.inventory.settings import InventorySettings
from vigie.apps.glaciers.inventory.topography import Dem, hypsometry, relief, topography

KEPT = {"primeclass": 0, "conn_lvl": 0, "surge_type": 9}
"""Attributes that a map cannot know: taken from the outline a glacier came from, otherwise these values of the RGI."""


def identify(shapes: earth.Shapes, parents: gpd.GeoDataFrame, settings: InventorySettings) -> gpd.GeoDataFrame:
    """Name glaciers, place them, and carry over what is known of the outlines they came from.

    The largest glacier that came from an outline keeps its `rgi_id`; other pieces of it and new glaciers get new ones, counted
    by distance to the westernmost glacier. All pieces keep the `glims_id`, which the RGI does not ask to be unique.

    Parameters
    ----------
    shapes: polygons in lon/lat.
    parents: one row per glacier, in the same order: the attributes of its outline under RGI 7.0 names, empty where it has none.

    Returns
    -------
    A table in the order of `shapes` with the 17 attributes that need no DEM, `is_rgi6` 0, and `parent_id`.
    """
    table = place(shapes)
    known = parents.reindex(columns=["rgi_id", "glims_id", "glac_name", "o1region", "o2region", *KEPT]).astype("object")
    made = pd.Series(earth.point_ids(table["cenlon"].to_numpy(), table["cenlat"].to_numpy(), "G"), dtype="object")
    table["glims_id"] = known["glims_id"].fillna(made)
    table["glac_name"] = known["glac_name"]
    table["o1region"] = known["o1region"].fillna(settings.o1region)
    table["o2region"] = known["o2region"].fillna(settings.o2region)
    for name, otherwise in KEPT.items():
        table[name] = pd.to_numeric(known[name]).fillna(otherwise).astype("int64")
    table["parent_id"] = known["rgi_id"]
    table["rgi_id"] = _keep_or_number(table, settings, "G")
    table[["anlys_id", "subm_id", "is_rgi6"]] = 0, settings.submission_id, 0
    table["src_date"] = pd.Series([settings.date] * len(table), dtype=schema.TEXT)
    return table


def place(shapes: earth.Shapes) -> gpd.GeoDataFrame:
    """Representative point, UTM zone and equal-area area of lon/lat polygons, as the RGI defines them."""
    lon, lat = earth.centres(shapes)
    columns = {"cenlon": lon, "cenlat": lat, "utm_zone": earth.utm_zone(lon), "area_km2": earth.area_km2(shapes)}
    return gpd.GeoDataFrame(columns, geometry=list(shapes), crs=earth.WGS84)


def _keep_or_number(table: gpd.GeoDataFrame, settings: InventorySettings, product: str) -> pd.Series:
    """Keep the identifier for the largest piece of each outline; count all others from the west."""
    largest = table.sort_values("area_km2", ascending=False).drop_duplicates("parent_id")
    kept = table["parent_id"].where(table.index.isin(largest.index))
    ids = kept.to_list()
    taken, count = set(kept.dropna()), 0
    regions = table["o1region"].to_list()
    for row in west_to_east(np.asarray(table.geometry.array, dtype=object)).tolist():
        if pd.isna(ids[row]):
            count += 1
            while (name := f"{settings.collection}-{product}-{regions[row]}-{count:05d}") in taken:
                count += 1
            ids[row] = name
    return pd.Series(ids, index=table.index, dtype=schema.TEXT)


def west_to_east(shapes: earth.Shapes) -> NDArray[np.int64]:
    """Order lon/lat shapes by the distance of their representative points to the westernmost one, as RGI numbers do."""
    if not len(shapes):
        return np.zeros(0, dtype=np.int64)
    lon, lat = earth.centres(np.asarray(shapes, dtype=object))
    first = int(np.lexsort((lat, lon))[0])
    distance = earth.GEOD.inv(np.full_like(lon, lon[first]), np.full_like(lat, lat[first]), lon, lat)[2]
    return np.lexsort((lat, lon, distance))


@dataclass(frozen=True)
class Surroundings:
    """What the attributes of single glaciers are computed from, beside their outlines."""

    dem: Dem
    lakes: shapely.STRtree
    lakes_crs: object
    reach_m: float
    terminus_relief_m: float


Lines = Mapping[str, Sequence[Centreline]]
"""Centrelines by the `rgi_id` of their glacier."""


def describe(table: gpd.GeoDataFrame, around: Surroundings | None) -> tuple[gpd.GeoDataFrame, pd.DataFrame, Lines]:
    """Add what needs a DEM: topography, hypsometry, centrelines, the terminus and its contact with lakes.

    Without a DEM these attributes are empty, and `aspect_sec` is 9.

    Returns
    -------
    The table with more columns; the hypsometry, a row per glacier that has elevations; the centrelines of such glaciers.
    """
    names, areas = table["rgi_id"].to_list(), table["area_km2"].to_list()
    found = [_describe(*one, around) if around is not None else UNKNOWN for one in zip(table.geometry, areas, strict=True)]
    columns = [f.name for f in schema.fields("glacier", "glacier_extra") if f.name in TOPOGRAPHIC]
    more = pd.DataFrame([one.row for one in found], index=table.index, columns=columns)
    more["dem_source"] = around.dem.source if around is not None else None
    bands = {name: (area, one.bands) for name, area, one in zip(names, areas, found, strict=True) if one.bands}
    lines = {name: one.lines for name, one in zip(names, found, strict=True) if one.lines}
    return table.join(more), hypsometry_table(bands), lines


TOPOGRAPHIC = {
    *("termlon", "termlat", "zmin_m", "zmax_m", "zmed_m", "zmean_m", "slope_deg", "aspect_deg", "aspect_sec", "lmax_m"),
    *("lake_contact", "dem_coverage"),
}


@dataclass(frozen=True)
class _Described:
    """What the DEM says of one glacier: attributes, hypsometry, centrelines."""

    row: Mapping[str, Any]
    bands: Mapping[int, int]
    lines: Sequence[Centreline]


UNKNOWN = _Described({"aspect_sec": 9, "dem_coverage": None}, {}, ())


def _describe(shape: shapely.Geometry, area_km2: float, around: Surroundings) -> _Described:
    local = relief(shape, area_km2, around.dem)
    row: dict[str, Any] = dict(topography(local))
    lines = centrelines(local)
    if lines:
        end = termini.terminus(local, lines[-1], around.terminus_relief_m)
        row["lake_contact"] = termini.contact_fraction(end, local.crs, around.lakes, around.lakes_crs, around.reach_m)
        longitude, row["termlat"] = lines[-1].lonlat.coords[-1]
        row["termlon"] = earth.wrapped(np.array(longitude)).item()
        row["lmax_m"] = round(lines[-1].length_m)
    return _Described(row, hypsometry(local), lines)


def hypsometry_table(bands: Mapping[str, tuple[float, Mapping[int, int]]]) -> pd.DataFrame:
    """One row per glacier: identifier, area, and thousandths in 50 m bands from the lowest to the highest, without gaps.

    Examples
    --------
    >>> hypsometry_table({"a": (1.0, {4025: 1000}), "b": (2.0, {4125: 1000})}).columns.tolist()
    ['rgi_id', 'area_km2', '4025', '4075', '4125']
    """
    fixed = {"rgi_id": pd.Series(list(bands), dtype=schema.TEXT), "area_km2": [area for area, _ in bands.values()]}
    levels = [level for _, band in bands.values() for level in band]
    wanted = range(min(levels), max(levels) + 1, schema.BAND_M) if levels else range(0)
    shares = {str(level): [band.get(level, 0) for _, band in bands.values()] for level in wanted}
    table = pd.DataFrame({**fixed, **shares})
    return table.astype({"area_km2": "float64"} | dict.fromkeys(shares, "int64"))


def complex_table(glaciers: gpd.GeoDataFrame, number: NDArray[np.int64], settings: InventorySettings) -> gpd.GeoDataFrame:
    """Dissolve contiguous glaciers into complexes, without any change in area.

    Parameters
    ----------
    glaciers: with o1region, o2region, area_km2, in any CRS; a coverage (neighbours share their vertices).
    number: complex of each glacier, from 0 on, without gaps; the rows of the result.
    """
    order = np.argsort(number, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(number[order])) + 1) if len(order) else []
    shapes = np.asarray(glaciers.geometry.array, dtype=object)
    dissolved = [shapes[rows[0]] if len(rows) == 1 else shapely.coverage_union_all(shapes[rows]) for rows in members]
    table = place(earth.reproject(np.array(dissolved, dtype=object), glaciers.crs, earth.WGS84))
    largest = [rows[int(np.argmax(glaciers["area_km2"].to_numpy()[rows]))] for rows in members]
    table[["o1region", "o2region"]] = glaciers[["o1region", "o2region"]].iloc[largest].to_numpy()
    table["parent_id"] = None
    table["rgi_id"] = _keep_or_number(table, settings, "C")
    return table.drop(columns="parent_id")


def intersects(glaciers: gpd.GeoDataFrame, settings: InventorySettings) -> gpd.GeoDataFrame:
    """Draw the borders that two glaciers share: one line a row, with both identifiers and the geodesic length.

    Parameters
    ----------
    glaciers: with rgi_id and o1region, in any CRS; neighbours share their vertices.
    """
    shapes = np.asarray(glaciers.geometry.array, dtype=object)
    a, b = shapely.STRtree(shapes).query(shapes, predicate="intersects") if len(shapes) else (np.zeros(0, int),) * 2
    a, b = a[a < b], b[a < b]
    shared, pair = shapely.get_parts(shapely.intersection(shapes[a], shapes[b]), return_index=True)
    lines, at = shapely.get_parts(shared, return_index=True)
    pair = pair[at]
    linear = shapely.get_type_id(lines) == shapely.GeometryType.LINESTRING
    merged, pair = _merge_lines(lines[linear], pair[linear])
    merged = earth.reproject(merged, glaciers.crs, earth.WGS84)
    ids, regions = glaciers["rgi_id"].to_numpy(dtype=object), glaciers["o1region"].to_numpy(dtype=object)
    columns = {"rgi_g_id_1": ids[a[pair]], "rgi_g_id_2": ids[b[pair]], "length_m": earth.length_m(merged)}
    numbered = [f"{settings.collection}-I-{regions[a[p]]}-{n:05d}" for n, p in enumerate(pair, start=1)]
    table = gpd.GeoDataFrame({"rgi_id": numbered, **columns}, geometry=list(merged), crs=earth.WGS84)
    conformed: gpd.GeoDataFrame = schema.conform(table, schema.fields("intersects"))
    return conformed


def _merge_lines(lines: earth.Shapes, pair: NDArray[np.int64]) -> tuple[earth.Shapes, NDArray[np.int64]]:
    """Join the segments of each pair end to end."""
    if not len(lines):
        return lines, pair
    joined = shapely.line_merge(shapely.multilinestrings(lines, indices=np.unique(pair, return_inverse=True)[1]))
    parts, at = shapely.get_parts(joined, return_index=True)
    return np.asarray(parts, dtype=object), np.unique(pair)[at]


def centreline_table(lines: Lines, glaciers: gpd.GeoDataFrame, settings: InventorySettings) -> gpd.GeoDataFrame:
    """List the centrelines of glaciers, a line a row, the main line of each glacier last, as the RGI's product L does.

    Parameters
    ----------
    lines: from `describe`; glaciers without elevation have none.
    glaciers: with rgi_id and o1region, in the order of the rows wanted.
    """
    rows = [
        (
            region,
            name,
            segment,
            int(line.outflow == NO_OUTFLOW),
            line.outflow,
            line.strahler_n,
            round(line.length_m),
            line.lonlat,
        )
        for name, region in zip(glaciers["rgi_id"], glaciers["o1region"], strict=True)
        for segment, line in enumerate(lines.get(name, ()))
    ]
    if not rows:
        return schema.empty("centrelines")
    region, *columns, shapes = zip(*rows, strict=True)
    names = schema.names("centrelines")[1:]
    table = gpd.GeoDataFrame(dict(zip(names, columns, strict=True)), geometry=list(shapes), crs=earth.WGS84)
    table["rgi_id"] = [f"{settings.collection}-L-{o1}-{n:05d}" for n, o1 in enumerate(region, start=1)]
    conformed: gpd.GeoDataFrame = schema.conform(table, schema.fields("centrelines"))
    return conformed
