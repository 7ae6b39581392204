"""Bring what one swath saw to the footprints of another: the nearest one, up to a stated distance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vigie.core.sphere import EARTH_RADIUS_KM, chord_km, unit_vectors

COINCIDENT_KM = 0.1
"""Positions that differ by less are the same."""

Positions = tuple[NDArray[np.floating], NDArray[np.floating]]
"""Latitude and longitude [degrees] of footprints, of one shape; NaN where nobody knows."""


def nearest(onto: Positions, source: Positions, within_km: float) -> NDArray[np.intp]:
    """Find for each footprint of `onto` the nearest of `source`, as an index into its flat arrays; -1 where all are too far.

    Distances are chords through the sphere, which no pole or date line disturbs; up to 100 km they are short by less than 1 m.

    Examples
    --------
    >>> here = np.array([[0.0, 0.0]]), np.array([[179.99, 90.0]])
    >>> there = np.array([[0.0, 0.0]]), np.array([[0.0, -179.99]])
    >>> nearest(here, there, within_km=5.0).tolist()
    [[1, -1]]
    """
    from scipy.spatial import cKDTree

    known = np.flatnonzero(np.isfinite(source[0]) & np.isfinite(source[1]))
    asked = np.isfinite(onto[0]) & np.isfinite(onto[1])
    found = np.full(onto[0].shape, -1, dtype=np.intp)
    if known.size == 0 or not asked.any():
        return found
    tree = cKDTree(unit_vectors(source[0].ravel()[known], source[1].ravel()[known]))
    distance, index = tree.query(unit_vectors(onto[0][asked], onto[1][asked]), distance_upper_bound=within_km / EARTH_RADIUS_KM)
    found[asked] = np.where(np.isfinite(distance), known[np.minimum(index, known.size - 1)], -1)
    return found


def coincide(one: Positions, other: Positions) -> bool:
    """Say whether two swaths have the same footprints, wherever both positions are known.

    Examples
    --------
    >>> here = np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]])
    >>> coincide(here, here), coincide(here, (here[0] + 0.01, here[1]))
    (True, False)
    """
    if one[0].shape != other[0].shape:
        return False
    return bool(np.all(~(chord_km(unit_vectors(*one), unit_vectors(*other)) > COINCIDENT_KM)))
