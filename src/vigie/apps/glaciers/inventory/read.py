"""Outlines from RGI 6, RGI 7, lake inventories and plain files: one set of names, valid flat polygons, every repair told."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from vigie.acquire.vectors import chosen_layer, read_layer
from vigie.apps.glaciers.inventory import earth, schema
from vigie.core.errors import VigieError

RGI6_MISSING = ("-9999999", "-9999", "nan", "None", "", "<NA>")
RGI6_TERM_TYPE = {0: 0, 1: 1, 2: 2, 5: 3}
"""RGI 6 terminus types that RGI 7 still has; dry-calving and regenerated termini become 9, not assigned."""
POLYGONAL = (3, 6)
KEPT = ("rgi_id", "o1region", "o2region", "glims_id", "primeclass", "conn_lvl", "surge_type", "term_type", "glac_name")
"""Attributes that a glacier takes over from its outline, and which must keep the schema's rules therefore."""

log = logging.getLogger("vigie")


@dataclass(frozen=True)
class Outlines:
    """Polygons in EPSG:4326 with RGI 7.0 names, and a report of what was done to each geometry read.

    `report` has a row per geometry of the file: `valid` and `reason` before, `action` (kept, repaired, dropped), and
    `area_before_km2`, `area_after_km2`, `change_km2`.
    """

    table: gpd.GeoDataFrame
    report: pd.DataFrame


def read_outlines(path: Path, layer: str | None = None) -> Outlines:
    """Read glacier, debris or lake outlines from a GeoPackage, shapefile, GeoJSON or GeoParquet file.

    `layer` names one of several; left out, it is the only one with polygons.
    RGI 6 names become RGI 7 ones (`RGIId`, `RGIID`, `rgi_id` are one), RGI 6 dates become ISO 8601, Z is dropped, invalid
    polygons are repaired, holes (nunataks) stay. Columns that the RGI does not know keep their name.

    Raises
    ------
    VigieError
        When there is no such file or layer, several layers, no CRS, or nothing polygonal in it, or when it is damaged.
    """
    path = Path(path)
    if not path.exists():
        raise VigieError(f"no outlines at {path}", expected="a .gpkg, .shp, .geojson or .parquet file")
    table = read_layer(path, chosen_layer(path, layer, "publish.outlines_layer"))
    flat, report = repair(earth.lonlat(table, f"outlines {path}"))
    if flat.empty:
        raise VigieError(f"no polygon in {path}", found=f"{len(table)} rows", expected="at least one polygon")
    return Outlines(rename(flat), report)


def repair(table: gpd.GeoDataFrame) -> tuple[gpd.GeoDataFrame, pd.DataFrame]:
    """Make every geometry a valid, flat polygon or multipolygon; drop what has no area, and report each change.

    Self-crossing rings are rebuilt (shapely `make_valid`, as RGI 7.0 does), lines and points left over from it are removed.

    Parameters
    ----------
    table: lon/lat geometries of any kind, None and empty ones included.

    Examples
    --------
    >>> bow_tie = shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)])
    >>> mended, report = repair(gpd.GeoDataFrame({"n": [1]}, geometry=[bow_tie], crs="EPSG:4326"))
    >>> report.action[0], mended.geometry[0].is_valid
    ('repaired', True)
    """
    before = shapely.force_2d(np.asarray(table.geometry.array, dtype=object))
    there = ~shapely.is_missing(before) & ~shapely.is_empty(before)
    valid = shapely.is_valid(before)
    after = before.copy()
    after[there & ~valid] = shapely.make_valid(before[there & ~valid])
    after[there] = [polygons_of(shape) for shape in after[there]]
    keep = there & ~shapely.is_empty(after)
    areas = [_areas(shapes, where) for shapes, where in ((before, there), (after, keep))]
    same = valid & shapely.equals_identical(before, after)
    action = np.where(keep, np.where(same, "kept", "repaired"), "dropped")
    reason = np.where(there, shapely.is_valid_reason(before), "no geometry")
    report = pd.DataFrame({"valid": valid & there, "reason": reason, "action": action}, index=table.index)
    report["area_before_km2"], report["area_after_km2"] = areas
    report["change_km2"] = areas[1] - areas[0]
    mended = table.set_geometry(gpd.GeoSeries(after, index=table.index, crs=table.crs))[keep].reset_index(drop=True)
    return mended, report


def _areas(shapes: earth.Shapes, where: NDArray[np.bool_]) -> NDArray[np.float64]:
    areas = np.zeros(len(shapes))
    areas[where] = earth.area_km2(shapes[where])
    return areas


def polygons_of(shape: shapely.Geometry) -> shapely.Geometry:
    """Keep only the polygons of a geometry: one polygon, a multipolygon, or an empty polygon when it has none.

    Examples
    --------
    >>> mixed = shapely.GeometryCollection([shapely.box(0, 0, 1, 1), shapely.Point(5, 5)])
    >>> polygons_of(mixed).geom_type
    'Polygon'
    """
    if shapely.get_type_id(shape) in POLYGONAL:
        return shape
    parts = shapely.get_parts(shapely.get_parts(np.array([shape], dtype=object)))
    faces = [part for part in parts if shapely.get_type_id(part) == POLYGONAL[0] and not part.is_empty]
    if not faces:
        return shapely.Polygon()
    return faces[0] if len(faces) == 1 else shapely.MultiPolygon(faces)


def rename(table: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Give RGI columns their RGI 7.0 names and codes, whatever the spelling; other columns are left alone.

    Values of attributes that glaciers take over (`KEPT`) which the schema does not know are left empty, and told.

    Examples
    --------
    >>> rgi6 = gpd.GeoDataFrame({"RGIID": ["RGI60-15.1"], "BgnDate": ["20001030"], "O1Region": ["15"], "O2Region": ["2"]},
    ...                         geometry=[shapely.box(0, 0, 1, 1)], crs="EPSG:4326")
    >>> rename(rgi6).iloc[0, :4].tolist()
    ['RGI60-15.1', '2000-10-30T00:00:00', '15', '15-02']
    """
    known = {_key(spelt): f.name for f in schema.fields("glacier") for spelt in (f.rgi6, f.name) if spelt}
    known |= {"enddate": "end_date", "rgiid": "rgi_id"}
    new: dict[str, str] = {}
    for column in table.columns:
        target = known.get(_key(str(column)))
        if target and target not in new.values() and (target == column or target not in table.columns):
            new[str(column)] = target
    from_rgi6 = "BgnDate" in new
    renamed = table.rename(columns=new)
    return _lawful(_recode(renamed) if from_rgi6 else renamed)


def _lawful(table: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Bring the values of kept attributes to the schema's types and codes; empty, with a word, where that cannot be."""
    out = _with_regions(table)
    for field in schema.fields("glacier"):
        if field.name not in KEPT or field.name not in out:
            continue
        before = out[field.name]
        values = _numbers(before) if field.type == "int" else _texts(before)
        values = values.where(~schema.strange(values, field))
        lost = before[before.notna() & before.astype(str).str.strip().ne("") & values.isna()]
        if len(lost):
            log.warning("outlines: %s is left empty in %d of %d: '%s' is none", field.name, len(lost), len(out), lost.iloc[0])
        dtype: Any = field.dtype(bool(values.isna().any()))
        out[field.name] = values.astype(dtype)
    return out


def _numbers(column: pd.Series) -> pd.Series:
    """Whole numbers, empty where a column holds something else."""
    found = pd.to_numeric(column.astype("object"), errors="coerce").astype("float64")
    return found.where(found % 1 == 0).astype("Int64")


def _texts(column: pd.Series) -> pd.Series:
    """Texts, whole numbers without their decimal point; empty ones are missing."""
    texts = [None if pd.isna(value) else re.sub(r"^(\d+)\.0$", r"\1", str(value).strip()) or None for value in column]
    return pd.Series(texts, index=column.index, dtype="object")


def _with_regions(table: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Region codes in two digits; a second-order code that lacks the first-order one gets it in front."""
    out = table.copy()
    two_digits = {"o1region", "o2region"} & set(out.columns)
    for name in two_digits:
        out[name] = _texts(out[name]).map(lambda code: code.zfill(2), na_action="ignore")
    if len(two_digits) == 2:
        alone = out["o2region"].str.fullmatch(r"\d{2}").eq(True)
        out["o2region"] = out["o2region"].where(~alone, out["o1region"] + "-" + out["o2region"])
    return out


def _key(name: str) -> str:
    return name.lower().replace("_", "")


def _recode(table: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """RGI 6 dates, region codes, terminus types and missing values as RGI 7.0 writes them."""
    out = table.copy()
    for column in {"src_date", "end_date"} & set(out.columns):
        out[column] = pd.Series([iso_date(value) for value in out[column]], index=out.index, dtype=schema.TEXT)
    if "term_type" in out:
        out["term_type"] = [RGI6_TERM_TYPE.get(value, 9) for value in pd.to_numeric(out["term_type"], errors="coerce")]
    for column in {"zmin_m", "zmax_m", "zmed_m", "slope_deg", "aspect_deg", "lmax_m"} & set(out.columns):
        numbers = _measures(column, out[column])
        out[column] = numbers.where(numbers > -999)
    return out


def _measures(name: str, column: pd.Series) -> pd.Series:
    """Numbers of an RGI 6 column, also where it holds them as texts."""
    numbers = pd.to_numeric(column.astype("object"), errors="coerce").astype("float64")
    odd = column[numbers.isna() & column.notna() & ~column.astype(str).str.strip().isin(RGI6_MISSING)]
    if len(odd):
        raise VigieError(
            f"'{odd.iloc[0]}' in the outlines is no {name}",
            found=f"{len(odd)} of {len(column)} such values of RGI 6",
            expected="numbers, -999 where nothing is known",
            do="correct the column, or remove it",
        )
    return numbers


def iso_date(text: object) -> str | None:
    """Turn an RGI 6 date YYYYMMDD into ISO 8601; 99 for an unknown month or day leaves it out, -9999999 is no date.

    Examples
    --------
    >>> iso_date("20020105"), iso_date("20019999"), iso_date("-9999999")
    ('2002-01-05T00:00:00', '2001', None)
    """
    if str(text) in RGI6_MISSING:
        return None
    parts = re.fullmatch(r"(\d{4})(\d{2})(\d{2})(\.0)?", str(text))
    if parts is None or not parts[1].strip("0"):
        raise VigieError("an RGI 6 date cannot be read", found=repr(text), expected="YYYYMMDD or -9999999")
    year, month, day = parts[1], parts[2], parts[3]
    if month == "99":
        return year
    return f"{year}-{month}" if day == "99" else f"{year}-{month}-{day}T00:00:00"
