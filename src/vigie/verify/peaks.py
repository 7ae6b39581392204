"""What the statistics of extremes are fitted to: excesses over a threshold, peaks of clusters, maxima of blocks."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vigie.core.errors import VigieError

WHOLE_BLOCK = 0.9
"""A block with a smaller share of the values of the fullest block has no maximum."""


def excesses_over(values: ArrayLike, threshold: float) -> NDArray[np.float64]:
    """Give how far values lie above a threshold, for those that do, in their order.

    Examples
    --------
    >>> excesses_over([2.0, np.nan, 5.0, 3.0], 2.0).tolist()
    [3.0, 1.0]
    """
    x = np.asarray(values, np.float64).ravel()
    return x[x > threshold] - threshold


def cluster_peaks(values: ArrayLike, threshold: float, run: int) -> NDArray[np.intp]:
    """Find the highest value of each cluster of exceedances of a regular series, as positions (runs declustering).

    Exceedances belong to one cluster until `run` values in a row stay at or below the threshold, or are missing (Coles 2001,
    section 5.3.2); with a run of 0 each exceedance is a cluster of its own. Clusters over exceedances estimates the extremal
    index.

    Raises
    ------
    VigieError: the run is negative.

    Examples
    --------
    >>> cluster_peaks([0, 5, 7, 0, 6, 0, 0, 0, 9], threshold=3, run=2).tolist()
    [2, 8]
    """
    if run < 0:
        raise VigieError("a cluster ends after a number of values below the threshold", found=run, expected="0 or more")
    x = np.asarray(values, np.float64)
    over = np.flatnonzero(x > threshold)
    clusters = np.split(over, np.flatnonzero(np.diff(over) > run) + 1)
    return np.array([members[np.argmax(x[members])] for members in clusters if members.size], np.intp)


def block_maxima(values: ArrayLike, blocks: ArrayLike) -> NDArray[np.float64]:
    """Give the maximum of each block (a year, a season), in ascending order of the blocks' labels.

    A block that lacks more than a tenth of the values of the fullest block is NaN: the maximum of half a year is no annual
    maximum.

    Examples
    --------
    >>> block_maxima([1.0, 3.0, 2.0, 5.0, 9.0, np.nan], [1900, 1900, 1901, 1901, 1902, 1902]).tolist()
    [3.0, 5.0, nan]
    """
    x = np.asarray(values, np.float64).ravel()
    _, block = np.unique(np.asarray(blocks).ravel(), return_inverse=True)
    seen = np.isfinite(x)
    count = np.bincount(block[seen], minlength=block.max() + 1)
    highest = np.full(count.size, -np.inf)
    np.maximum.at(highest, block[seen], x[seen])
    return np.where(count >= WHOLE_BLOCK * count.max(), highest, np.nan)
