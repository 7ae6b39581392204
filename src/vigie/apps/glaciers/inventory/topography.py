"""Topography of a glacier on its own UTM grid, by the rules of RGI 7.0."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import rasterio.features
import rasterio.warp
import shapely
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import CRS
from rasterio.enums import Resampling
from scipy import ndimage

from vigie.apps.glaciers.inventory import earth
from vigie.apps.glaciers.inventory.schema import BAND_M, PER_MILLE

LARGEST_SPACING_M = 100.0
MARGIN_PX = 4


@dataclass(frozen=True)
class Dem:
    """A digital elevation model: elevations (m, NaN where unknown) on a grid of any CRS, and the name of its source."""

    elevation_m: NDArray[np.float32]
    grid: GeoBox
    source: str | None = None


@dataclass(frozen=True)
class Relief:
    """A glacier on its local grid: elevations (m, NaN where unknown) with a margin, and which pixels are glacier.

    `outline` is the glacier in `crs`; `spacing_m` the pixel size; `transform` leads from pixels to `crs`.
    """

    elevation_m: NDArray[np.float64]
    inside: NDArray[np.bool_]
    transform: Affine
    crs: CRS
    spacing_m: float
    outline: shapely.Geometry


def spacing_m(area_km2: float) -> float:
    """Grid spacing of a glacier of a given area: 14 sqrt(A) + 10 m, at most 100 m (RGI 7.0, Maussion et al. 2019).

    Examples
    --------
    >>> round(spacing_m(0.01), 1), spacing_m(500.0)
    (11.4, 100.0)
    """
    return min(14.0 * float(np.sqrt(area_km2)) + 10.0, LARGEST_SPACING_M)


def relief(shape: shapely.Geometry, area_km2: float, dem: Dem) -> Relief:
    """Bring a DEM onto a glacier's local UTM grid by cubic resampling.

    A pixel is glacier when its centre lies inside the outline; one too narrow to hold a centre takes all it touches.

    Parameters
    ----------
    shape: the glacier in lon/lat.
    area_km2: its area, which sets the spacing.
    dem: elevations, on any grid.
    """
    point = shapely.point_on_surface(shape)
    crs, step = earth.utm_crs(point.x, point.y), spacing_m(area_km2)
    outline = earth.reproject(np.array([shape], dtype=object), earth.WGS84, crs)[0]
    west, south, east, north = outline.bounds
    left, top = np.floor(west / step) - MARGIN_PX, np.ceil(north / step) + MARGIN_PX
    size = int(top - np.floor(south / step)) + MARGIN_PX, int(np.ceil(east / step) - left) + MARGIN_PX
    transform = Affine(step, 0, left * step, 0, -step, top * step)
    inside = _inside(outline, size, transform)
    return Relief(_resample(dem, size, transform, crs), inside, transform, crs, step, outline)


def _inside(outline: shapely.Geometry, size: tuple[int, int], transform: Affine) -> NDArray[np.bool_]:
    for touched in (False, True):
        mask = rasterio.features.rasterize([(outline, 1)], size, transform=transform, all_touched=touched, dtype="uint8")
        if mask.any():
            break
    return np.asarray(mask, dtype=bool)


def _resample(dem: Dem, size: tuple[int, int], transform: Affine, crs: CRS) -> NDArray[np.float64]:
    """Warp the part of the DEM that the local grid needs."""
    bounds = rasterio.transform.array_bounds(*size, transform)
    source_crs = str(dem.grid.crs)
    west, south, east, north = rasterio.warp.transform_bounds(crs.to_wkt(), source_crs, *bounds)
    inverse = ~dem.grid.affine
    rows = _clip(inverse.e * north + inverse.f, inverse.e * south + inverse.f, dem.elevation_m.shape[0])
    cols = _clip(inverse.a * west + inverse.c, inverse.a * east + inverse.c, dem.elevation_m.shape[1])
    local = np.full(size, np.nan, dtype=np.float64)
    part = dem.elevation_m[rows, cols]
    if part.size:
        rasterio.warp.reproject(
            part.astype(np.float64),
            local,
            src_transform=earth.window_transform(dem.grid.affine, rows.start, cols.start),
            src_crs=source_crs,
            src_nodata=np.nan,
            dst_transform=transform,
            dst_crs=crs.to_wkt(),
            dst_nodata=np.nan,
            resampling=Resampling.cubic,
        )
    return local


def _clip(first: float, last: float, length: int) -> slice:
    low, high = sorted((first, last))
    start = min(max(0, int(np.floor(low)) - MARGIN_PX), length)
    return slice(start, max(start, min(length, int(np.ceil(high)) + MARGIN_PX)))


def topography(local: Relief) -> dict[str, float | int | None]:
    """Elevation, slope and aspect of a glacier: the seven RGI attributes, and `dem_coverage`.

    Slope is the mean of atan |grad z|, aspect the direction of the mean downslope unit vector.

    Examples
    --------
    >>> plane = np.add.outer(-10.0 * np.arange(5), np.zeros(5))                       # falls towards the south
    >>> box = Relief(plane, np.ones((5, 5), bool), Affine(10, 0, 0, 0, -10, 0), CRS(32632), 10.0, shapely.box(0, 0, 1, 1))
    >>> [topography(box)[name] for name in ("slope_deg", "aspect_deg", "aspect_sec")]
    [45.0, 180.0, 5]
    """
    z = local.elevation_m[local.inside]
    known = z[np.isfinite(z)]
    if not len(known):
        names = ("zmin_m", "zmax_m", "zmed_m", "zmean_m", "slope_deg", "aspect_deg")
        return {**dict.fromkeys(names), "aspect_sec": 9, "dem_coverage": 0.0}
    slope, aspect = slope_aspect(local.elevation_m, local.spacing_m)
    direction = circular_mean_deg(aspect[local.inside])
    steep = slope[local.inside]
    return {
        "zmin_m": float(known.min()),
        "zmax_m": float(known.max()),
        "zmed_m": float(np.median(known)),
        "zmean_m": float(known.mean()),
        "slope_deg": float(np.nanmean(steep)) if np.isfinite(steep).any() else None,
        "aspect_deg": direction,
        "aspect_sec": 9 if direction is None else int(aspect_sector(np.array([direction]))[0]),
        "dem_coverage": len(known) / len(z),
    }


def slope_aspect(elevation_m: NDArray[np.float64], step_m: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Slope (degrees) and aspect (azimuth of steepest descent, NaN where flat) of a north-up grid, by central differences."""
    down_row, right = np.gradient(elevation_m, step_m)
    north, east = -down_row, right
    slope = np.degrees(np.arctan(np.hypot(north, east)))
    azimuth = np.degrees(np.arctan2(-east, -north)) % 360.0
    return slope, np.where((north == 0) & (east == 0), np.nan, azimuth)


def filled(elevation_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give cells without elevation their nearest neighbour's, for work that must cross voids; at least one must be known."""
    if np.isfinite(elevation_m).all():
        return elevation_m
    nearest = ndimage.distance_transform_edt(~np.isfinite(elevation_m), return_distances=False, return_indices=True)
    return np.asarray(elevation_m[tuple(nearest)])


def circular_mean_deg(azimuth: NDArray[np.float64]) -> float | None:
    """Mean direction of azimuths, None when there is none.

    Examples
    --------
    >>> circular_mean_deg(np.array([350.0, 10.0])) % 360 < 1e-9
    True
    """
    angles = np.radians(azimuth[np.isfinite(azimuth)])
    east, north = np.sin(angles).sum(), np.cos(angles).sum()
    if np.hypot(east, north) <= 1e-9 * max(1, len(angles)):
        return None
    return float(np.round(np.degrees(np.arctan2(east, north)), 9) % 360.0)


def aspect_sector(azimuth: NDArray[np.float64]) -> NDArray[np.int64]:
    """RGI sectors of azimuths: 1 N, 2 NE, 3 E, 4 SE, 5 S, 6 SW, 7 W, 8 NW.

    Examples
    --------
    >>> aspect_sector(np.array([0.0, 337.4, 337.5, 225.0]))
    array([1, 8, 1, 6])
    """
    return ((np.asarray(azimuth) + 22.5) // 45.0 % 8).astype(np.int64) + 1


def hypsometry(local: Relief) -> dict[int, int]:
    """Thousandths of the area in each 50 m band, by the band's central elevation, summing to exactly 1000.

    Rounding down leaves some thousandths over; they go to the bands of largest remainder. Empty without elevations.
    """
    z = local.elevation_m[local.inside]
    bands, counts = np.unique(np.floor(z[np.isfinite(z)] / BAND_M).astype(int), return_counts=True)
    shares = largest_remainder(counts)
    return {int(band) * BAND_M + BAND_M // 2: int(share) for band, share in zip(bands, shares, strict=True)}


def largest_remainder(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Share 1000 among counts in whole numbers (Hamilton's method).

    Examples
    --------
    >>> largest_remainder(np.array([1, 1, 1])).tolist()
    [334, 333, 333]
    """
    if not len(counts):
        return np.zeros(0, dtype=np.int64)
    exact, total = counts.astype(np.int64) * PER_MILLE, int(counts.sum())
    shares = exact // total
    order = np.argsort(-(exact % total), kind="stable")
    shares[order[: PER_MILLE - shares.sum()]] += 1
    return np.asarray(shares, dtype=np.int64)
