"""Measures on the ellipsoid: equal-area areas, geodesic lengths, UTM zones, and names made of coordinates."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import CRS, Geod, Proj, Transformer

from vigie.core.errors import VigieError
from vigie.core.grid import in_metres

WGS84 = "EPSG:4326"
EQUAL_AREA = "+proj=cea +datum=WGS84 +over"
"""With `+over`, because longitudes of a shape across the antimeridian go on beyond 180°."""
GEOD = Geod(ellps="WGS84")
EDGE_POINTS = 200
"""Points along the outline of a grid: its edges are curves in degrees."""

Shapes = NDArray[np.object_]


def reproject(shapes: Shapes, source: object, target: object) -> Shapes:
    """Move geometries from one coordinate system to another, vertex by vertex.

    In degrees a geometry stays in one piece: where it crosses the antimeridian its longitudes go on beyond 180° (see `cut`).

    Examples
    --------
    >>> point = np.array([shapely.Point(9.0, 0.0)])
    >>> reproject(point, "EPSG:4326", "EPSG:32632")[0].x
    500000.0
    >>> line = np.array([shapely.LineString([(-1000, 2e6), (1000, 2e6)])])
    >>> reproject(line, "EPSG:3411", "EPSG:4326")[0].bounds[0] > 100
    True
    """
    here, there = CRS.from_user_input(source), CRS.from_user_input(target)
    move = Transformer.from_crs(here, there, always_xy=True)

    def vertices(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack(move.transform(xy[:, 0], xy[:, 1])) if len(xy) else xy

    moved = np.asarray(shapely.transform(shapes, vertices), dtype=object)
    return _in_one_piece(moved) if there.is_geographic else moved


def _in_one_piece(shapes: Shapes) -> Shapes:
    """Let longitudes go on beyond 180° in shapes that would be torn apart there."""
    west, _, east, _ = shapely.bounds(shapes).T
    torn = east - west > 180.0
    whole = shapes.copy()
    whole[torn] = shapely.transform(shapes[torn], lambda xy: np.column_stack([xy[:, 0] % 360.0, xy[:, 1]]))
    return whole


def cut(shapes: Shapes) -> Shapes:
    """Cut lon/lat polygons and lines at the antimeridian: what goes beyond 180° comes back in the west (RFC 7946, 3.1.9).

    Examples
    --------
    >>> cut(np.array([shapely.box(179, 70, 181, 71)]))[0].bounds
    (-180.0, 70.0, 180.0, 71.0)
    """
    beyond = shapely.bounds(shapes).T[2] > 180.0
    inside = shapes.copy()
    inside[beyond] = [_cut(shape) for shape in shapes[beyond]]
    return inside


def _cut(shape: shapely.Geometry) -> shapely.Geometry:
    east, west = shapely.intersection(shape, [shapely.box(-180, -90, 180, 90), shapely.box(180, -90, 540, 90)])
    pieces = shapely.get_parts([east, shapely.transform(west, lambda xy: xy - (360.0, 0.0))])
    dimension = shapely.get_dimensions(shape)
    pieces = pieces[shapely.get_dimensions(pieces) == dimension]
    return shapely.MultiPolygon(list(pieces)) if dimension == 2 else shapely.MultiLineString(list(pieces))


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
    return wrapped(shapely.get_x(points)), np.asarray(shapely.get_y(points))


def wrapped(lon: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bring longitudes that go beyond 180° back.

    Examples
    --------
    >>> wrapped(np.array([10.0, 180.5]))
    array([  10. , -179.5])
    """
    return np.asarray(np.where(lon > 180.0, lon - 360.0, lon))


def lonlat(table: gpd.GeoDataFrame, called: str = "geometries") -> gpd.GeoDataFrame:
    """Bring a table to EPSG:4326, shapes in one piece.

    Refused as `called` are tables without a CRS, which nobody can guess, and shapes where it has no longitude and latitude.
    """
    if table.crs is None:
        raise VigieError(
            f"{called} have no CRS",
            found="numbers without a coordinate system",
            expected="a CRS in the file",
            do="assign it with `ogr2ogr -a_srs EPSG:...`",
        )
    moved = table if table.crs == CRS.from_epsg(4326) else table.to_crs(WGS84)
    if not np.isfinite(shapely.get_coordinates(moved.geometry.to_numpy())).all():
        raise VigieError(
            f"{called} lie where their CRS has no longitude and latitude",
            found=f"{table.crs.name}, bounds {table.total_bounds.tolist()}",
            expected="coordinates of the CRS's area of use",
            do="assign the right CRS with `ogr2ogr -a_srs EPSG:...`",
        )
    return moved.set_geometry(gpd.GeoSeries(_in_one_piece(moved.geometry.to_numpy()), index=moved.index, crs=moved.crs))


def pixel_size_m(grid: GeoBox) -> float:
    """Side (m) of a grid's pixels; the grid must be projected in metres, north-up, and have square pixels.

    Raises
    ------
    VigieError
        For degrees, feet, rotated or oblong pixels.
    """
    affine, crs = grid.affine, grid.crs
    if not in_metres(crs):
        raise VigieError("an inventory grid needs metres", found=str(crs), expected="a projected CRS in metres")
    if affine.b or affine.d or affine.e >= 0 or not np.isclose(affine.a, -affine.e, rtol=1e-6):
        raise VigieError("an inventory grid needs square north-up pixels", found=tuple(affine)[:6], do="resample the map first")
    return float(affine.a)


def local_pixel_m(grid: GeoBox, lon: NDArray[np.float64], lat: NDArray[np.float64]) -> NDArray[np.float64]:
    """Side (m) on the ground of a grid's pixels at some places: maps stretch, by the root of their areal scale.

    Examples
    --------
    >>> mercator = GeoBox((2, 2), Affine(30, 0, 0, 0, -30, 8.4e6), "EPSG:3857")
    >>> local_pixel_m(mercator, np.array([0.0, 0.0]), np.array([0.0, 60.0])).round(1)
    array([30., 15.])
    """
    if not len(lon):  # pyproj takes no empty arrays
        return np.zeros(0)
    scale = Proj(grid.crs.to_wkt()).get_factors(np.asarray(lon), np.asarray(lat)).areal_scale
    return np.asarray(pixel_size_m(grid) / np.sqrt(scale), dtype=np.float64)


def centre(grid: GeoBox) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Longitude and latitude of the middle of a grid, one element each."""
    middle = shapely.box(*grid.boundingbox.bbox).centroid
    point = reproject(np.array([middle], dtype=object), grid.crs.to_wkt(), WGS84)
    return shapely.get_x(point), shapely.get_y(point)


def footprint(grid: GeoBox) -> shapely.Geometry:
    """Outline of a grid in degrees, cut at the antimeridian."""
    edge = shapely.box(*grid.boundingbox.bbox)
    edge = shapely.segmentize(edge, edge.length / EDGE_POINTS)
    outline: shapely.Geometry = cut(reproject(np.array([edge], dtype=object), grid.crs.to_wkt(), WGS84))[0]
    return outline


def window_transform(affine: Affine, row: int, col: int) -> Affine:
    """Give the transform of a window that begins at a row and a column.

    Examples
    --------
    >>> window_transform(Affine(10, 0, 500, 0, -10, 900), 2, 3).c
    530.0
    """
    a, b, c, d, e, f = (float(v) for v in tuple(affine)[:6])
    return Affine(a, b, a * col + b * row + c, d, e, d * col + e * row + f)
