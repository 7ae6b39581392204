"""The Earth as a sphere: positions as unit vectors, which no pole or date line disturbs, and chords between them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

EARTH_RADIUS_KM = 6371.0


def unit_vectors(latitude: NDArray[np.floating], longitude: NDArray[np.floating]) -> NDArray[np.float64]:
    """Give positions [degrees] as unit vectors from the centre of the Earth, in a last axis of three; NaN stays NaN.

    Examples
    --------
    >>> np.round(unit_vectors(np.array([90.0]), np.array([17.0])), 12).tolist()
    [[0.0, 0.0, 1.0]]
    """
    north, east = np.deg2rad(latitude.astype(np.float64)), np.deg2rad(longitude.astype(np.float64))
    return np.stack([np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)], axis=-1)


def chord_km(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Measure straight lines between unit vectors (..., 3); up to 100 km they are short of the arc by less than 1 m.

    Examples
    --------
    >>> pole, equator = unit_vectors(np.array([90.0, 0.0]), np.array([0.0, 0.0]))
    >>> round(float(chord_km(pole, equator)))
    9010
    """
    apart = one - other
    return np.asarray(EARTH_RADIUS_KM * np.sqrt(apart[..., 0] ** 2 + apart[..., 1] ** 2 + apart[..., 2] ** 2))
