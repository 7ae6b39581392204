"""Tables as layers of GeoPackages and as shapefiles; a driver that cannot write is a disk that cannot."""

from __future__ import annotations

import errno
import re
from pathlib import Path

import pandas as pd
import pyogrio

DRIVERS = {".gpkg": "GPKG", ".shp": "ESRI Shapefile"}
"""GDAL's name of the format that a suffix stands for."""


def write_layer(table: pd.DataFrame, path: Path, geometry: str = "", **options: object) -> None:
    """Write a table as a layer of a GeoPackage, added to those it has, or as a shapefile.

    Parameters
    ----------
    table: without geometries it becomes a layer without.
    path: a draft of `vigie.core.store.whole_file` or `whole_folder`, which tell its failure with the name of the whole.
    geometry: "Polygon" or "LineString", so that an empty table has a type too; a layer with one of several parts is multi.
        Left out, pyogrio looks at the rows.
    options: more of `pyogrio.write_dataframe`, for instance `layer`.

    Raises
    ------
    OSError: the driver could not write, for instance because the disk is full.

    Examples
    --------
    >>> import tempfile
    >>> import geopandas as gpd
    >>> from shapely import box
    >>> lakes = gpd.GeoDataFrame({"lake_id": ["a"]}, geometry=[box(0, 0, 1, 1)], crs="EPSG:32632")
    >>> path = Path(tempfile.mkdtemp()) / "lakes.gpkg"
    >>> write_layer(lakes, path, "Polygon", layer="lakes")
    >>> gpd.read_file(path, layer="lakes")["lake_id"].tolist()
    ['a']
    """
    driver = DRIVERS[path.suffix]
    typed = _typed(table, geometry, driver) if geometry else {}
    try:
        pyogrio.write_dataframe(table, path, driver=driver, **typed, **options)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:  # of features and fields, too
        raise OSError(errno.EIO, re.sub(r"\(.+\)", "(...)", str(error), flags=re.DOTALL)) from error  # pages of SQL


def _typed(table: pd.DataFrame, geometry: str, driver: str) -> dict[str, object]:
    """Options for the type of geometries; a shapefile's polygons and lines may have several parts."""
    multi = driver == "GPKG" and not set(table.geom_type) <= {geometry}
    return {"geometry_type": f"Multi{geometry}" if multi else geometry, "promote_to_multi": multi}
