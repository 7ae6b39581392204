"""Vector files as people give them: which layer of a file is meant, whether it is whole, and what it holds."""

from __future__ import annotations

import re
from pathlib import Path

import geopandas
import numpy as np
import pyarrow
import pyogrio
import shapely
from pyproj.exceptions import ProjError

from vigie.acquire.raster import check_crs
from vigie.core.errors import VigieError, nearest

PARQUET = (".parquet", ".geoparquet")
VECTORS = (".shp", ".gpkg", ".geojson", ".json", ".fgb", *PARQUET, ".kml", ".gml")
LENGTH = slice(24, 28)
"""Bytes of a .shp file that hold its length in words of 16 bits, big-endian (ESRI Shapefile Technical Description, 1998)."""
FAULTS = (
    pyogrio.errors.DataSourceError,
    pyogrio.errors.DataLayerError,
    pyarrow.ArrowException,
    shapely.errors.ShapelyError,
    ProjError,
    ValueError,
    OSError,
)
"""What the libraries raise for files that are damaged or foreign."""


def chosen_layer(path: Path, wanted: str | None, setting: str) -> str | None:
    """Choose the layer of a file that holds several: the one that is wanted, else the only one with polygons.

    Parameters
    ----------
    setting: what a person names the layer with.

    Returns
    -------
    Its name; None for a file with one layer, or with none that can be told from the others.

    Raises
    ------
    VigieError: no such layer, or several with polygons.
    """
    kinds = {} if path.suffix.lower() in PARQUET else _layers(path)
    if wanted is not None and wanted not in kinds:
        raise VigieError(
            f"{path} has no layer '{wanted}'",
            found=", ".join(kinds) or "a file without named layers",
            do=nearest(wanted, list(kinds)) or f"leave {setting} out, or name one of these",
        )
    if wanted is not None or len(kinds) < 2:
        return wanted
    polygonal = [name for name, kind in kinds.items() if "Polygon" in str(kind)]
    mixed = [name for name, kind in kinds.items() if re.search("Unknown|Collection", str(kind))]
    if len(polygonal or mixed) != 1:
        raise VigieError(
            f"{path} holds several layers",
            found=", ".join(f"{name} ({kind})" for name, kind in kinds.items()),
            expected="one with polygons",
            do=f"say which with {setting}",
        )
    return (polygonal or mixed)[0]


def read_layer(path: Path, layer: str | None, columns: list[str] | None = None) -> geopandas.GeoDataFrame:
    """Read the features of a layer, all of its columns if not told which; a CRS may be missing.

    Raises
    ------
    VigieError: damaged or cut off, without geometries, with coordinates that are no numbers, or a CRS of no place on Earth.
    """
    check_whole(path)
    try:
        with np.errstate(invalid="ignore"):  # NaN is told below
            if path.suffix.lower() in PARQUET:
                table = geopandas.read_parquet(path)
            else:
                table = pyogrio.read_dataframe(path, layer=layer, columns=columns)
    except FAULTS as error:
        raise _unreadable(path, str(error)) from error
    if not isinstance(table, geopandas.GeoDataFrame):
        raise _unreadable(path, f"no geometry beside the columns {', '.join(map(str, table.columns))}")
    _check_numbers(path, table)
    if table.crs is not None:
        check_crs(path.as_posix(), table.crs.to_wkt())
    return table


def check_whole(path: Path) -> None:
    """Refuse a shapefile that is shorter than its header says: GDAL takes it for one with fewer shapes.

    Raises
    ------
    VigieError: found and expected length in bytes.
    """
    if path.suffix.lower() != ".shp" or not path.is_file():
        return
    with path.open("rb") as file:
        expected = 2 * int.from_bytes(file.read(LENGTH.stop)[LENGTH], "big")
    found = path.stat().st_size
    if found < expected:
        raise VigieError(
            f"{path} is cut off",
            found=f"{found} bytes",
            expected=f"{expected} bytes, as its header says",
            do="get the file again",
        )


def sidecars(path: Path) -> list[Path]:
    """Name the files that a layer consists of: a shapefile's parts, or the file alone."""
    parts = (".shp", ".shx", ".dbf", ".prj", ".cpg")
    return [p for s in parts if (p := path.with_suffix(s)).is_file()] if path.suffix.lower() == ".shp" else [path]


def _layers(path: Path) -> dict[str, str | None]:
    """Name the layers of a file, each with its kind of geometry."""
    try:
        return dict(pyogrio.list_layers(path).tolist())
    except pyogrio.errors.DataSourceError as error:
        raise _unreadable(path, str(error)) from error


def _check_numbers(path: Path, table: geopandas.GeoDataFrame) -> None:
    """Refuse coordinates that are not finite: such a shape has no place, no area, and no repair."""
    xy, row = shapely.get_coordinates(table.geometry.to_numpy(), return_index=True)
    odd = np.unique(row[~np.isfinite(xy).all(axis=1)])
    if odd.size:
        raise VigieError(
            f"{path} has coordinates that are no numbers",
            found=f"{odd.size} of {len(table)} shapes with NaN or infinity, the first is number {odd[0] + 1}",
            expected="finite coordinates",
            do="remove or redraw these shapes",
        )


def _unreadable(path: Path, found: str) -> VigieError:
    return VigieError(
        f"{path} cannot be read as a vector layer",
        found=found.split(";")[0],
        expected="polygons in a GeoPackage, shapefile, GeoJSON, FlatGeobuf or GeoParquet",
        do="check the file, or convert it",
    )
