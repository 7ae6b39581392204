"""Terrain bands from elevation: slope, aspect and relief on a metric grid, the same for any tiling.

Elevation is first brought onto the metric grid, then differentiated: on a geographic DEM a degree of longitude is not a degree
of latitude, and differentiating there gives wrong slopes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from vigie.core.errors import VigieError
from vigie.core.grid import in_metres
from vigie.core.scene import Band
from vigie.core.tiles import Window
from vigie.harmonize.landform import box_mean, height, roughness, trim
from vigie.harmonize.settings import HarmonizeSettings
from vigie.harmonize.warp import read_bands

Float = NDArray[np.float32]
Metres = NDArray[np.float64]

DERIVED = ("slope", "aspect_sin", "aspect_cos", "relief", "slope_300m", "slope_700m", "roughness", "height")
"""Names of the bands `derive` gives, in order."""
FINE_M, COARSE_M, VALLEY_M = 300.0, 700.0, 2000.0
"""Sides of the boxes that elevation is averaged over for the smooth slopes and roughness, and searched for the valley floor."""


def derive(elevation: Band, grid: GeoBox, window: Window, settings: HarmonizeSettings) -> list[Float]:
    """Compute the bands of DERIVED for a window: slopes in degrees, relief, roughness and height in metres.

    Elevation is read with a halo, also beyond the grid's edge where the DEM reaches further.

    Parameters
    ----------
    elevation: a band in metres, in any CRS.
    grid: the whole target grid, in metres.
    window: the part to compute.
    settings: `refine_elevation` and `relief_box_m` are used.

    Raises
    ------
    VigieError
        If the grid is not in metres or elevation is not.
    """
    if elevation.units != "m":
        raise VigieError(
            f"elevation of {elevation.href} is not in metres",
            found=f"'{elevation.units}'",
            expected="'m'",
            do="convert it to metres",
        )
    box, fine, coarse, valley = (box_reach(grid, m) for m in (settings.relief_box_m, FINE_M, COARSE_M, VALLEY_M))
    reach = max(box, 2 * fine, coarse + 1, valley)
    wide = {dim: slice(part.start - reach, part.stop + reach) for dim, part in window.items()}
    z = read_bands([elevation], grid, wide, settings.refine_elevation).values[0].astype(np.float64)
    missing = np.isnan(trim(z, reach))
    layers = slope_and_aspect(*gradient(trim(z, reach - 1), grid))
    layers.append(relief(trim(z, reach - box), box))
    for smooth in (fine, coarse):
        mean = box_mean(trim(z, reach - smooth - 1), smooth)
        layers.append(slope_and_aspect(*gradient(mean, grid))[0])
    hummocks, above = roughness(trim(z, reach - 2 * fine), fine), height(trim(z, reach - valley), valley)
    layers += [hummocks.astype(np.float32), above.astype(np.float32)]
    return [np.where(missing, np.float32(np.nan), layer) for layer in layers]


def box_reach(grid: GeoBox, box_m: float) -> int:
    """Count the pixels from the middle of the relief box to its side, at least the one that gradients need."""
    if not in_metres(grid.crs):
        raise VigieError(
            "slopes need a grid in metres",
            found=grid.crs,
            expected="a projected CRS in metres",
            do="add --set harmonize.grid.crs=EPSG:... with a UTM zone, or --set harmonize.terrain=none",
        )
    return max(1, round(box_m / 2 / float(np.sqrt(abs(grid.affine.determinant)))))


def gradient(z: Metres, grid: GeoBox) -> tuple[Metres, Metres]:
    """Differentiate elevation by Horn's 3 x 3 weights (Horn 1981): rise per metre towards east and north.

    A missing neighbour is extrapolated through the pixel beside it, so planes keep their slope up to the edge of the DEM.

    Parameters
    ----------
    z: elevation (y + 2, x + 2) in metres, one pixel more on every side.
    grid: gives pixel sizes and directions; rotated grids are right too.

    Returns
    -------
    East and north components (y, x); NaN where elevation is missing.

    Examples
    --------
    >>> from affine import Affine
    >>> grid = GeoBox((2, 2), Affine(10, 0, 0, 0, -10, 0), "EPSG:32645")
    >>> east, north = gradient(np.add.outer(np.zeros(4), 5.0 * np.arange(4)), grid)
    >>> float(east[0, 0]), float(abs(north[0, 0]))
    (0.5, 0.0)
    """
    columns = [_through(*(z[i : z.shape[0] - 2 + i, j : z.shape[1] - 2 + j] for i in range(3))) for j in range(3)]
    rows = [_through(*(columns[j][i] for j in range(3))) for i in range(3)]
    weights = (1.0, 2.0, 1.0)
    per_column = sum(w * (row[2] - row[0]) for w, row in zip(weights, rows, strict=True)) / 8
    per_row = sum(w * (rows[2][j] - rows[0][j]) for j, w in enumerate(weights)) / 8
    back = ~grid.affine
    missing = np.isnan(z[1:-1, 1:-1])
    east, north = back.a * per_column + back.d * per_row, back.b * per_column + back.e * per_row
    return np.where(missing, np.nan, east), np.where(missing, np.nan, north)


def _through(before: Metres, at: Metres, after: Metres) -> tuple[Metres, Metres, Metres]:
    """Extrapolate what is missing on one side of a pixel from the other side."""
    return np.where(np.isnan(before), 2 * at - after, before), at, np.where(np.isnan(after), 2 * at - before, after)


def slope_and_aspect(east: Metres, north: Metres) -> list[Float]:
    """Turn a gradient into slope in degrees and the sine and cosine of aspect, the azimuth of steepest descent from north.

    Flat ground has no aspect: both are 0.

    Examples
    --------
    >>> [float(v) for v in slope_and_aspect(np.array(-1.0), np.array(0.0))]
    [45.0, 1.0, 0.0]
    """
    rise = np.sqrt(east * east + north * north)
    flat = np.where(rise == 0, 1.0, rise)
    return [v.astype(np.float32) for v in (np.degrees(np.arctan(rise)), 0.0 - east / flat, 0.0 - north / flat)]


def relief(z: Metres, reach: int) -> Float:
    """Subtract the mean elevation of the box of (2 reach + 1) pixels around each pixel, over pixels that have one.

    Parameters
    ----------
    z: elevation (y + 2 reach, x + 2 reach) in metres.
    reach: pixels from the middle of the box to its side.

    Returns
    -------
    Relief (y, x) in metres, NaN where elevation is missing.

    Examples
    --------
    >>> relief(np.array([[1.0, 1.0, 1.0], [1.0, 10.0, 1.0], [1.0, 1.0, np.nan]]), 1)
    array([[7.875]], dtype=float32)
    """
    return np.asarray(trim(z, reach) - box_mean(z, reach), dtype=np.float32)
