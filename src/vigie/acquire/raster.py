"""What the header of a raster says, checked: grid, CRS, bands, nodata; and whether the file is whole."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import ProjError
from rasterio.errors import NotGeoreferencedWarning
from rasterio.warp import transform, transform_geom
from rasterio.windows import Window as PixelWindow
from shapely import union_all
from shapely.affinity import translate
from shapely.geometry import Polygon, box, mapping
from shapely.geometry.base import BaseGeometry

from vigie.core.errors import VigieError
from vigie.core.raster import opened

REAL = ("int", "uint", "float")
"""Beginnings of the names of the types of real numbers."""
LONLAT = "EPSG:4326"
"""The CRS of footprints."""
_EDGE_POINTS = 20
_SHOWN_CHARACTERS = 100
_DEGREES_DIGITS = 7


@dataclass(frozen=True)
class Header:
    """The grid and bands of one raster; `gsd_m` is the ground size of a pixel at the centre.

    `nodata` has one entry a band; so have `scales`, (scale, offset) where the file declares them, and `units`, '' for unknown.
    """

    href: str
    crs: str
    transform: tuple[float, float, float, float, float, float]
    shape: tuple[int, int]
    count: int
    nodata: tuple[float | None, ...]
    tags: Mapping[str, str]
    gsd_m: float
    scales: tuple[tuple[float, float] | None, ...] = ()
    units: tuple[str, ...] = ()

    def scale_offset(self, index: int) -> tuple[float, float] | None:
        """What the file declares for band `index`: physical = stored * scale + offset; None where it declares nothing."""
        return self.scales[index - 1] if self.scales else None


def read_header(href: str, check_whole: bool = True) -> Header:
    """Read a raster's header and refuse what cannot be placed on the ground.

    Parameters
    ----------
    href: a path, a URL or a GDAL name such as /vsizip/....
    check_whole: also decode the first and last block of every band, which finds a truncated file.

    Raises
    ------
    VigieError: missing, not a raster, truncated, of complex numbers, without CRS or with one of no place on the Earth, or on
    a rotated or south-up grid.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with opened(href) as source:
            if check_whole:
                _check_whole(source)
            return _header(source, href)


def check_crs(href: str, crs: str) -> None:
    """Refuse a CRS that says nothing of the Earth.

    Raises
    ------
    VigieError: no operation leads from it to longitude and latitude: a local grid, an engineering CRS, another planet.

    Examples
    --------
    >>> check_crs("field.tif", 'LOCAL_CS["field",UNIT["metre",1]]')
    Traceback (most recent call last):
    ...
    vigie.core.errors.VigieError: field.tif has a CRS without a place on the Earth; found LOCAL_CS["field",UNIT["metre",1]]; ...
    """
    try:
        Transformer.from_crs(crs, LONLAT)
    except ProjError as error:
        raise VigieError(
            f"{href} has a CRS without a place on the Earth",
            found=crs if len(crs) < _SHOWN_CHARACTERS else f"{crs[:_SHOWN_CHARACTERS]}...",
            expected="a CRS that leads to longitude and latitude",
            do="georeference it, or assign the CRS with `gdal_edit.py -a_srs EPSG:...` (a layer: `ogr2ogr -a_srs EPSG:...`)",
        ) from error


def ground_size_m(crs: str, transform: Sequence[float], shape: Sequence[int]) -> float:
    """Measure the height of a pixel on the ground, at the raster's centre where the CRS counts in degrees.

    Examples
    --------
    >>> ground_size_m("EPSG:32645", (30, 0, 478000, 0, -30, 3108140), (655, 800))
    30.0
    >>> ground_size_m("EPSG:4326", (1 / 1200, 0, 76, 0, -1 / 1200, 36), (430, 860))
    92.5
    """
    system = CRS.from_user_input(crs)
    if not system.is_geographic:
        return round(abs(transform[4]) * system.axis_info[0].unit_conversion_factor, 6)
    lon = transform[2] + transform[0] * shape[1] / 2
    lat = transform[5] + transform[4] * shape[0] / 2
    return float(round(Geod(ellps="WGS84").inv(lon, lat, lon, lat + transform[4])[2], 1))


def footprint(header: Header) -> dict[str, Any]:
    """Outline a raster as GeoJSON in EPSG:4326, its edges densified, cut at the antimeridian where it crosses it."""
    rows, columns = header.shape
    a, _, c, _, e, f = header.transform
    along = np.linspace(0.0, 1.0, _EDGE_POINTS + 1)[:-1]
    one, zero = np.ones_like(along), np.zeros_like(along)
    u = np.concatenate([zero, along, one, 1 - along]) * columns
    v = np.concatenate([along, one, 1 - along, zero]) * rows
    ring = [(c + a * x, f + e * y) for x, y in zip(u.tolist(), v.tolist(), strict=True)]
    outline: dict[str, Any] = {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
    lon, lat = transform(header.crs, LONLAT, *zip(*outline["coordinates"][0], strict=True))
    onward = np.unwrap(lon, period=360)
    if np.isclose(onward[0], onward[-1]) and not (onward.min() >= -180 and onward.max() <= 180):
        return _as_lists(mapping(_cut(Polygon(np.round(np.column_stack([onward, lat]), _DEGREES_DIGITS)))))
    return _as_lists(transform_geom(header.crs, LONLAT, outline, antimeridian_cutting=True, precision=_DEGREES_DIGITS))


def _cut(outline: Polygon) -> BaseGeometry:
    """Cut an outline that goes on beyond longitude 180; GDAL does so too, but not where a ring has a point on that meridian."""
    turns = ((turn, outline.intersection(box(turn - 180, -90, turn + 180, 90))) for turn in (-360, 0, 360))
    return union_all([translate(part, -turn) for turn, part in turns if part.area])


def _as_lists(geometry: Mapping[str, Any]) -> dict[str, Any]:
    def plain(part: Any) -> Any:
        return [plain(p) for p in part] if isinstance(part, list | tuple) else float(part)

    return {"type": str(geometry["type"]), "coordinates": plain(geometry["coordinates"])}


def _header(source: Any, href: str) -> Header:
    _check_numbers(source, href)
    if source.crs is None:
        raise VigieError(
            f"{href} has no CRS",
            found="ground control points only" if source.gcps[0] else "no georeferencing",
            expected="a CRS that places it on the ground",
            do="georeference it, or assign the CRS with `gdal_edit.py -a_srs EPSG:...`",
        )
    check_crs(href, source.crs.to_wkt())
    transform = source.transform
    if transform.b or transform.d or transform.a <= 0 or transform.e >= 0:
        raise VigieError(
            f"{href} is not on a north-up grid",
            found=f"transform {tuple(transform)[:6]}",
            expected="no rotation, columns eastward, rows southward",
            do="resample it with `gdalwarp`",
        )
    code = source.crs.to_epsg()
    return Header(
        href=href,
        crs=f"EPSG:{code}" if code else source.crs.to_wkt(),
        transform=(transform.a, transform.b, transform.c, transform.d, transform.e, transform.f),
        shape=(source.height, source.width),
        count=source.count,
        nodata=tuple(None if v is None else float(v) for v in source.nodatavals),
        tags=dict(source.tags()),
        gsd_m=ground_size_m(source.crs.to_wkt(), tuple(transform)[:6], source.shape),
        scales=tuple(_declared(scale, offset, href) for scale, offset in zip(source.scales, source.offsets, strict=True)),
        units=tuple(unit or "" for unit in source.units),
    )


def _declared(scale: float, offset: float, href: str) -> tuple[float, float] | None:
    """GDAL gives 1 and 0 where a file says nothing."""
    if not (np.isfinite([scale, offset]).all() and scale):
        raise VigieError(
            f"{href} declares a scale that makes nothing of its numbers",
            found=f"scale {scale}, offset {offset}",
            do="mend it with `gdal_edit.py -scale ... -offset ...`",
        )
    return None if (scale, offset) == (1.0, 0.0) else (float(scale), float(offset))


def _check_numbers(source: Any, href: str) -> None:
    strange = sorted({dtype for dtype in source.dtypes if not dtype.startswith(REAL)})
    if strange:
        raise VigieError(
            f"{href} does not hold real numbers",
            found=", ".join(strange),
            expected="bands of whole or floating-point numbers",
            do="write what you need of it, such as its amplitude, to a file of its own, for instance with `gdal_calc.py`",
        )


def _check_whole(source: Any) -> None:
    for index, (height, width) in enumerate(source.block_shapes, start=1):
        last = PixelWindow(
            (source.width - 1) // width * width,
            (source.height - 1) // height * height,
            width,
            height,
        ).intersection(PixelWindow(0, 0, source.width, source.height))
        source.read(index, window=PixelWindow(0, 0, min(width, source.width), min(height, source.height)))
        source.read(index, window=last)


def band_count_error(href: str, count: int, wanted: Sequence[str]) -> VigieError:
    """Say that a file has fewer bands than its product declares."""
    return VigieError(
        f"{href} lacks bands",
        found=f"{count} band(s)",
        expected=f"{len(wanted)}: {', '.join(wanted)}",
        do="name the right sensor, or declare the file's bands in a sensor .toml of your own",
    )
