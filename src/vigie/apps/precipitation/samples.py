"""Samples of what is predicted, which depend on the footprint alone: however a swath is cut into blocks, they are the same."""

from __future__ import annotations

from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from vigie.predict.swath import Kept, uniform
from vigie.verify.quantiles import inverse

Floats = NDArray[np.float64]


def drawn(
    quantiles: NDArray[np.floating], levels: NDArray[np.floating], swath: str, first_scan: int, draws: int = 1, seed: int = 0
) -> Floats:
    """Draw (draw, scan, pixel) from quantiles (level, scan, pixel) of consecutive scans, each footprint on its own.

    What is drawn is a function of the seed, the swath's name, the number of the scan in it and the pixel.

    Parameters
    ----------
    quantiles: mm/h, NaN where there is no retrieval; samples are NaN there, too.
    swath, first_scan: the name of the swath, and the number of the first of these scans in it.

    Examples
    --------
    >>> levels = np.array([0.25, 0.5, 0.75])
    >>> quantiles = np.broadcast_to(levels[:, None, None], (3, 4, 2))
    >>> whole = drawn(quantiles, levels, "orbit", 0)
    >>> bool((drawn(quantiles[:, 2:], levels, "orbit", 2) == whole[:, 2:]).all())
    True
    """
    kept = Kept(tuple(levels.tolist()), draws, crc32(f"{seed} sample of {swath}".encode()))
    u = uniform(kept, first_scan, quantiles.shape[1:])
    return inverse(quantiles.astype(np.float64), np.asarray(levels, dtype=np.float64), u)
