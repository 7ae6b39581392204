"""The level from which an image is saturated, found from the image itself: a spike at its maximum.

It needs neither the sensor's word nor its gain: an image that was scaled after it was clipped has its spike elsewhere.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SHARE = 1e-3
"""The spike holds at least this share of all valid pixels."""
TIMES = 5.0
"""The spike is at least so many times higher than what its neighbours below let expect."""
NEIGHBOURS = 8
"""Levels below the spike that it is compared with."""


def saturation_level(values: NDArray[np.generic]) -> float | None:
    """Find the level at which values pile up at their maximum.

    Parameters
    ----------
    values: numbers of a scene, or of a fair sample of it; NaN where missing.

    Returns
    -------
    The maximum if at least 0.1 % of the valid pixels, and 5 times as many as on the mean of the 8 levels below, lie on it; None
    for an image that is not saturated. Levels are the numbers that occur, so gain and offset change nothing.

    Examples
    --------
    >>> ramp = np.arange(250).repeat(100)
    >>> saturation_level(ramp) is None
    True
    >>> saturation_level(np.minimum(ramp, 200) * 0.75)
    150.0
    """
    valid = values[np.isfinite(values)]
    if not valid.size:
        return None
    levels, counts = np.unique(valid, return_counts=True)
    if len(levels) < 2 or counts[-1] < SHARE * valid.size:
        return None
    below = counts[-1 - NEIGHBOURS : -1]
    return float(levels[-1]) if counts[-1] >= TIMES * below.mean() else None
