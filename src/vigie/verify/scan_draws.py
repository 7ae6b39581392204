"""Samples of swaths that depend on the footprint alone: on the swath's name, the number of the scan and the pixel.

However a swath is cut into blocks, and whoever draws again, a footprint gets the same sample.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from vigie.verify.quantiles import draw

Floats = NDArray[np.float64]


def draw_scans(
    quantiles: NDArray[np.floating], levels: Floats, swath: str, first_scan: int, draws: int = 1, seed: int = 0
) -> Floats:
    """Draw (draw, scan, pixel) from quantiles (level, scan, pixel) of consecutive scans, each footprint on its own.

    Parameters
    ----------
    quantiles: mm/h, NaN where there is no retrieval; samples are NaN there, too.
    swath, first_scan: the name of the swath, and the number of the first of these scans in it.
    draws, seed: see `vigie.verify.quantiles.draw`.

    Examples
    --------
    >>> levels = np.array([0.25, 0.5, 0.75])
    >>> quantiles = np.broadcast_to(levels[:, None, None], (3, 4, 2))
    >>> whole = draw_scans(quantiles, levels, "orbit", 0)
    >>> bool((draw_scans(quantiles[:, 2:], levels, "orbit", 2) == whole[:, 2:]).all())
    True
    """
    drawn = np.empty((draws, *quantiles.shape[1:]))
    for number in range(quantiles.shape[1]):
        of_scan = seed_of(seed, swath, first_scan + number)
        drawn[:, number] = draw(quantiles[:, number].astype(np.float64), levels, draws, of_scan)
    return drawn


def seed_of(seed: int, swath: str, scan: int) -> int:
    """Give every scan of every swath a seed of its own: shared ones would not average out.

    Examples
    --------
    >>> seed_of(0, "orbit", 1) != seed_of(0, "orbit", 2) != seed_of(1, "orbit", 2)
    True
    """
    return int.from_bytes(hashlib.sha256(f"{seed}/{swath}/{scan}".encode()).digest()[:8])
