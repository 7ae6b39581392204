"""Landform at the scale of a glacier: slope without its hummocks, the hummocks, and height above the valley floor.

A debris-covered tongue is flat at a few hundred metres, rough below that, and lies low in its valley; the rock beside it is
none of these, though it has the same colour. Means are over square boxes and valid pixels, summed as whole numbers, so they are
the same for any tiling.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Metres = NDArray[np.float64]
Bool = NDArray[np.bool_]

STEPS_PER_M = 1024
"""Elevations are summed as whole steps of about 1 mm: integer sums have no rounding, so they do not depend on tiling."""


def box_sum(numbers: NDArray[np.int64], side: int) -> NDArray[np.int64]:
    """Sum whole numbers over every side x side box that fits inside."""
    sums = np.zeros((numbers.shape[0] + 1, numbers.shape[1] + 1), dtype=np.int64)
    np.cumsum(np.cumsum(numbers, axis=0), axis=1, out=sums[1:, 1:])
    return np.asarray(sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side])


def box_mean(values: Metres, reach: int, steps: int = STEPS_PER_M) -> Metres:
    """Average over the valid pixels of (2 reach + 1)-pixel boxes; the result is `reach` pixels smaller on every side.

    Parameters
    ----------
    values: (y + 2 reach, x + 2 reach), NaN where missing.
    steps: whole steps per unit that values are rounded to.

    Returns
    -------
    (y, x); NaN where the box has no valid pixel.

    Examples
    --------
    >>> box_mean(np.array([[1.0, 1.0, 1.0], [1.0, 10.0, 1.0], [1.0, 1.0, np.nan]]), 1)
    array([[2.125]])
    """
    valid = ~np.isnan(values)
    whole = np.rint(np.where(valid, values, 0) * steps).astype(np.int64)
    total, count = box_sum(whole, 2 * reach + 1), box_sum(valid.astype(np.int64), 2 * reach + 1)
    return np.asarray(np.where(count > 0, total / (np.maximum(count, 1) * steps), np.nan))


def roughness(z: Metres, reach: int) -> Metres:
    """Measure hummocks: root mean square, over the box, of height above the box's mean; `2 reach` pixels smaller on every side.

    Examples
    --------
    >>> float(roughness(np.tile([0.0, 2.0], (10, 5)), 1)[0, 0].round(3))
    1.333
    """
    above = trim(z, reach) - box_mean(z, reach)
    return np.sqrt(box_mean(np.square(np.clip(above, -1000, 1000)), reach))


def height(z: Metres, reach: int) -> Metres:
    """Measure height above the lowest ground in the box; `reach` pixels smaller on every side.

    Examples
    --------
    >>> float(height(np.array([[1.0, 5.0, 5.0], [5.0, 7.0, 5.0], [5.0, 5.0, np.nan]]), 1)[0, 0])
    6.0
    """
    lowest = ndimage.minimum_filter(np.where(np.isnan(z), np.inf, z), size=2 * reach + 1, mode="nearest")
    return np.asarray(trim(z, reach) - trim(lowest, reach))


def trim(values: NDArray[np.float64], margin: int) -> NDArray[np.float64]:
    """Cut a margin off on every side."""
    return values[margin : values.shape[0] - margin, margin : values.shape[1] - margin]
