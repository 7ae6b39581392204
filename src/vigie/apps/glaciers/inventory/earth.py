"""Measures on the ellipsoid: equal-area areas, geodesic lengths, UTM zones, and names made of coordinates."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import CRS, Geod, Transformer

from vigie.core.errors import VigieError

WGS84 = "EPSG:4326"
EQUAL_AREA = "+proj=cea +datum=WGS84"
GEOD = Geod(ellps="WGS84")

Shapes = NDArray[np.object_]


def reproject(shapes: Shapes, source: object, target: object) -> Shapes:
    """Move geometries from one coordinate system to another, vertex by vertex.

    Examples
    --------
    >>> point = np.array([shapely.Point(9.0, 0.0)])
    >>> reproject(point, "EPSG:4326", "EPSG:32632")[0].x
    500000.0
    """
    move = Transformer.from_crs(CRS.from_user_input(source), CRS.from_user_input(target), always_xy=True)

    def vertices(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack(move.transform(xy[:, 0], xy[:, 1])) if len(xy) else xy

    return np.asarray(shapely.transform(shapes, vertices), dtype=object)


def area_km2(shapes: Shapes) -> NDArray[np.float64]:
    """Areas (km2) of lon/lat geometries in the cylindrical equal-area projection, as RGI 7.0 computes them.

    Examples
    --------
    >>> round(float(area_km2(np.array([shapely.box(10.0, 46.0, 10.1, 46.1)]))[0]), 3)
    86.025
    """
    return np.asarray(shapely.area(reproject(shapes, WGS84, EQUAL_AREA)) / 1e6)


def length_m(shapes: Shapes) -> NDArray[np.float64]:
    """Geodesic lengths (m) of lon/lat lines."""
    return np.array([GEOD.geometry_length(shape) for shape in shapes], dtype=np.float64)


def utm_zone(lon: NDArray[np.float64]) -> NDArray[np.int64]:
    """UTM zone numbers (1-60) of longitudes; the zone counts without the exceptions of Norway and Svalbard.

    Examples
    --------
    >>> utm_zone(np.array([10.7, -180.0, 180.0]))
    array([32,  1,  1])
    """
    wrapped = (np.asarray(lon, dtype=np.float64) + 180.0) % 360.0
    return (wrapped // 6).astype(np.int64) + 1


def utm_crs(lon: float, lat: float) -> CRS:
    """Name the UTM coordinate system of a point.

    Examples
    --------
    >>> utm_crs(76.4, 35.7).to_epsg()
    32643
    """
    return CRS.from_epsg((32600 if lat >= 0 else 32700) + int(utm_zone(np.array([lon]))[0]))


def point_ids(lon: NDArray[np.float64], lat: NDArray[np.float64], prefix: str) -> list[str]:
    """Name points by longitude (east, 0-360) and latitude in thousandths of a degree, as GLIMS does.

    Examples
    --------
    >>> point_ids(np.array([10.699, -50.0]), np.array([46.802, -70.5]), "G")
    ['G010699E46802N', 'G310000E70500S']
    """
    east = np.round((np.asarray(lon) % 360.0) * 1000).astype(int) % 360_000
    north = np.round(np.abs(lat) * 1000).astype(int)
    return [f"{prefix}{e:06d}E{n:05d}{'N' if y >= 0 else 'S'}" for e, n, y in zip(east, north, np.asarray(lat), strict=True)]


def centres(shapes: Shapes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Longitude and latitude of the representative points: inside, about central, not the centroid."""
    points = shapely.point_on_surface(shapes)
    return np.asarray(shapely.get_x(points)), np.asarray(shapely.get_y(points))


def lonlat(table: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Bring a table to EPSG:4326; one without a CRS is refused, because nobody can guess it."""
    if table.crs is None:
        raise VigieError("geometries have no CRS", expected="a CRS in the file", do="assign it: ogr2ogr -a_srs")
    return table if table.crs == CRS.from_epsg(4326) else table.to_crs(WGS84)


def pixel_size_m(grid: GeoBox) -> float:
    """Side (m) of a grid's pixels; the grid must be projected in metres, north-up, and have square pixels.

    Raises
    ------
    VigieError
        For degrees, feet, rotated or oblong pixels.
    """
    affine, crs = grid.affine, grid.crs
    units = CRS.from_user_input(str(crs)).axis_info[0].unit_name if crs is not None else "nothing"
    if crs is None or not crs.projected or not units.startswith("met"):
        raise VigieError("an inventory grid needs metres", found=f"{crs} in {units}", expected="a projected CRS in metres")
    if affine.b or affine.d or affine.e >= 0 or not np.isclose(affine.a, -affine.e, rtol=1e-6):
        raise VigieError("an inventory grid needs square north-up pixels", found=tuple(affine)[:6], do="resample the map first")
    return float(affine.a)


def window_transform(affine: Affine, row: int, col: int) -> Affine:
    """Give the transform of a window that begins at a row and a column.

    Examples
    --------
    >>> window_transform(Affine(10, 0, 500, 0, -10, 900), 2, 3).c
    530.0
    """
    a, b, c, d, e, f = (float(v) for v in tuple(affine)[:6])
    return Affine(a, b, a * col + b * row + c, d, e, d * col + e * row + f)
