"""The footprint of an antenna on the ground: a Gaussian, half as high at the edge of the 3 dB ellipse as in the middle."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

SIGMA_PER_WIDTH = 1 / (2 * math.sqrt(2 * math.log(2)))
"""Standard deviation of a Gaussian over its full width at half maximum."""

REACH_SIGMAS = 3.5
"""Where the pattern of an antenna is cut off."""


def log_gain(
    along_km: NDArray[np.floating], across_km: NDArray[np.floating], axes_km: tuple[float, float]
) -> NDArray[np.float64]:
    """Give the logarithm of an antenna's gain on the ground, 0 in the middle of the footprint.

    A logarithm, because what is far outside still has an order: a lone gauge beside a small footprint is all there is.

    Parameters
    ----------
    along_km, across_km: distances from the middle, along both axes of the ellipse.
    axes_km: full widths at half maximum along both.

    Examples
    --------
    >>> edge = log_gain(np.array([0.0, 16.0, 0.0]), np.array([0.0, 0.0, 9.7]), (32.0, 19.4))
    >>> np.exp(edge).round(12).tolist()
    [1.0, 0.5, 0.5]
    """
    along, across = (distance / (axis * SIGMA_PER_WIDTH) for distance, axis in zip((along_km, across_km), axes_km, strict=True))
    return np.asarray(-0.5 * (along**2 + across**2), dtype=np.float64)


def reach_km(axes_km: tuple[float, float]) -> float:
    """Tell how far from its middle a footprint sees anything.

    Examples
    --------
    >>> round(reach_km((32.0, 19.4)), 1)
    47.6
    """
    return REACH_SIGMAS * SIGMA_PER_WIDTH * max(axes_km)
