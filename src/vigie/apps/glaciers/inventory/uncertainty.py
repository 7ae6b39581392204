"""How uncertain areas are: by buffers, by calibrated probabilities, by ensemble members, by lake shores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage

from vigie.apps.glaciers.inventory.earth import Shapes
from vigie.apps.glaciers.inventory.polygons import Labels, Mask
from vigie.apps.glaciers.inventory.strips import Read, strips
from vigie.core.errors import VigieError

BUFFER_SEGMENTS = 16
SHORE_ONE_SIGMA = 0.6872
"""Share of shore pixels misplaced within one standard deviation, Hanshaw and Bookhagen (2014)."""
NORMAL_95 = 1.959963984540054


def buffer_error_km2(shapes: Shapes, distance_m: float) -> NDArray[np.float64]:
    """Half the difference between the areas of outlines grown and shrunk by a distance, in km2.

    Give complexes, not glaciers: a border that two glaciers share is no outline of ice, and would count twice (Granshaw and
    Fountain 2006; Bolch et al. 2010; Paul et al. 2017).

    Examples
    --------
    >>> square = np.array([shapely.box(0, 0, 1000, 1000)])
    >>> round(float(buffer_error_km2(square, 10.0)[0]), 4)
    0.04
    """
    grown = shapely.area(shapely.buffer(shapes, distance_m, quad_segs=BUFFER_SEGMENTS))
    shrunk = shapely.area(shapely.buffer(shapes, -distance_m, quad_segs=BUFFER_SEGMENTS))
    return np.asarray((grown - shrunk) / 2e6, dtype=np.float64)


@dataclass(frozen=True)
class Rim:
    """Free pixel edges of each glacier (entry 0 is background): edges towards anything that is not glacier, by surface."""

    clean: NDArray[np.int64]
    debris: NDArray[np.int64]


def rim(glaciers: Labels, debris: Mask) -> Rim:
    """Count the free pixel edges of glaciers; edges between two glaciers are not free.

    Examples
    --------
    >>> edges = rim(np.array([[1, 2, 0]], dtype=np.int32), np.array([[False, True, False]]))
    >>> edges.clean.tolist(), edges.debris.tolist()
    ([0, 3, 0], [0, 0, 3])
    """
    padded = np.pad(glaciers > 0, 1)
    free = np.zeros(glaciers.shape, dtype=np.int8)
    for beside in (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]):
        free += (glaciers > 0) & ~beside
    count = int(glaciers.max(initial=0)) + 1
    on_rim = free > 0
    labels, edges, covered = glaciers[on_rim], free[on_rim], debris[on_rim]
    kinds = [np.bincount(labels[kind], edges[kind], minlength=count).astype(np.int64) for kind in (~covered, covered)]
    return Rim(*kinds)


def complex_errors(
    shapes: Shapes, of_complex: NDArray[np.int64], edges: Rim, clean_m: float, debris_m: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Buffer uncertainty (km2) of complexes and its share for each glacier.

    A complex's two buffers, one for clean ice and one for debris, are weighted by the length of either along its outline.
    Glaciers share the result by the length and kind of their free outline, so that they add up to the complex.

    Parameters
    ----------
    shapes: complexes in a metric CRS.
    of_complex: index of the complex of each glacier.
    edges: free pixel edges of each glacier, from `rim`.
    clean_m, debris_m: outline errors.
    """
    clean, debris = edges.clean[1:].astype(float), edges.debris[1:].astype(float)
    totals = [np.bincount(of_complex, part, minlength=len(shapes)) for part in (clean, debris)]
    covered = totals[1] / np.maximum(totals[0] + totals[1], 1)
    errors = (1 - covered) * buffer_error_km2(shapes, clean_m) + covered * buffer_error_km2(shapes, debris_m)
    weight = clean * clean_m + debris * debris_m
    whole = np.bincount(of_complex, weight, minlength=len(shapes))[of_complex]
    return errors, errors[of_complex] * weight / np.where(whole > 0, whole, 1)


def shore_error_km2(perimeter_m: NDArray[np.float64], pixel_m: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """One-sigma area error of lakes: 0.6872 (P/G) G^2/2, with P the perimeter and G the pixel (Hanshaw and Bookhagen 2014).

    P/G is the number of shore pixels, each of them half wrong at most; to first order it is 0.6872 times the half-pixel buffer.

    Examples
    --------
    >>> round(float(shore_error_km2(np.array([4000.0]), 30.0)[0]), 4)
    0.0412
    """
    return np.asarray(SHORE_ONE_SIGMA * (perimeter_m / pixel_m) * pixel_m**2 / 2 / 1e6)


def probable_area_px(
    probability: Read, zones: Labels, correlation_px: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation (pixels) of the area of each zone under calibrated probabilities.

    The mean is the sum of p. Errors of neighbouring pixels go together: with s = sqrt(p (1 - p)) and correlation
    exp(-d^2 / 2 L^2), the variance is the double sum of s_i s_j rho(d_ij), computed as one Gaussian convolution. Pixels taken
    for independent (L = 0) would give a far too small spread.

    Parameters
    ----------
    probability: reads windows (y, x) of the class's probability, 0-1; NaN counts as nothing known and adds nothing.
    zones: (y, x) numbers; entry 0 of the results is outside all zones.
    correlation_px: L, in pixels.
    """
    count = int(zones.max(initial=0)) + 1
    mean, variance = np.zeros(count), np.zeros(count)
    reach = int(np.ceil(4 * correlation_px))
    for strip in strips(zones.shape, reach):
        p = np.nan_to_num(probability(strip.read), nan=0.0)
        if p.min(initial=0) < 0 or p.max(initial=0) > 1 + 1e-6:
            raise VigieError("probabilities are out of range", found=f"{p.min()} to {p.max()}", expected="0 to 1")
        spread = np.sqrt(np.clip(p * (1 - p), 0, None)).astype(np.float64)
        near = spread if correlation_px == 0 else _correlated(spread, correlation_px, reach)
        zone, inner = zones[strip.keep["y"]].ravel(), strip.inner["y"]
        mean += np.bincount(zone, p[inner].ravel(), minlength=count)
        variance += np.bincount(zone, (spread * near)[inner].ravel(), minlength=count)
    return mean, np.sqrt(variance)


def _correlated(spread: NDArray[np.float64], length_px: float, reach: int) -> NDArray[np.float64]:
    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * length_px**2))
    across = ndimage.convolve1d(spread, weights, axis=0, mode="constant")
    return np.asarray(ndimage.convolve1d(across, weights, axis=1, mode="constant"))


@dataclass(frozen=True)
class MemberArea:
    """Areas of zones over ensemble members: mean, standard deviation and 95 % interval, in pixels."""

    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def member_area_px(members: NDArray[np.float32], zones: Labels, inflation: float) -> MemberArea:
    """Area of each zone from ensemble members, one map of probability per member (DL4GAM: Diaconu et al. 2025).

    Parameters
    ----------
    members: (member, y, x) probabilities, at least two members.
    zones: (y, x) numbers; entry 0 of the results is outside all zones.
    inflation: std(z) of `calibration_factor`; 1 when there is nothing to calibrate on.
    """
    if len(members) < 2:
        raise VigieError("one member has no spread", found=f"{len(members)} members", expected="at least 2")
    count = int(zones.max(initial=0)) + 1
    areas = np.stack([np.bincount(zones.ravel(), np.nan_to_num(m).ravel(), minlength=count) for m in members])
    mean, std = areas.mean(axis=0), areas.std(axis=0, ddof=1) * inflation
    return MemberArea(mean, std, np.maximum(mean - NORMAL_95 * std, 0), mean + NORMAL_95 * std)


def calibration_factor(reference: NDArray[np.float64], mean: NDArray[np.float64], std: NDArray[np.float64]) -> float:
    """Spread of z = (reference - mean)/std over calibration glaciers: by how much member spreads must be inflated.

    Examples
    --------
    >>> calibration_factor(np.array([10.0, 14.0]), np.array([12.0, 12.0]), np.array([1.0, 1.0]))
    2.0
    """
    if len(reference) < 2 or (std <= 0).any():
        raise VigieError("areas cannot be calibrated", found=f"{len(reference)} glaciers", expected="2 of positive spread")
    return float(np.sqrt(np.mean(((reference - mean) / std) ** 2)))
