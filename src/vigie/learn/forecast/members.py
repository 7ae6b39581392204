"""Members from quantiles: each cell's distribution as it is forecast, in the order that maps of the past say.

The Schaake shuffle (Clark et al. 2004, doi:10.1175/1525-7541(2004)005<0243:TSSAMF>2.0.CO;2): as many past changes as members
are ranked cell by cell, and the member in the place of the r-th largest change takes the r-th of evenly spaced quantiles. So
members have the forecast's margins, and the texture in space of what has happened.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def member_levels(count: int) -> NDArray[np.float64]:
    """Evenly spaced levels of members.

    Examples
    --------
    >>> member_levels(4)
    array([0.125, 0.375, 0.625, 0.875])
    """
    levels: NDArray[np.float64] = (np.arange(count) + 0.5) / count
    return levels


def at_levels(quantiles: Floats, levels: Sequence[float], wanted: NDArray[np.float64]) -> Floats:
    """Read quantiles (L, ...) at other levels (M, ...): linear between those that are known, constant beyond.

    Examples
    --------
    >>> at_levels(np.array([[0.0], [1.0]], np.float32), (0.25, 0.75), np.array([0.1, 0.5]))[:, 0]
    array([0. , 0.5], dtype=float32)
    """
    known = np.asarray(levels)
    where = np.clip(wanted, known[0], known[-1])
    upper = np.clip(np.searchsorted(known, where), 1, len(known) - 1)
    share = ((where - known[upper - 1]) / (known[upper] - known[upper - 1])).astype(np.float32)
    share = share.reshape(-1, *(1,) * (quantiles.ndim - 1))
    found: Floats = (1 - share) * quantiles[upper - 1] + share * quantiles[upper]
    return found


def shuffled(quantiles: Floats, levels: Sequence[float], changes: Floats) -> Floats:
    """Make members (M, y, x) of quantiles (L, y, x), in the order of past changes (M, y, x); ties are in the order given.

    Examples
    --------
    >>> changes = np.array([[[0.3]], [[-0.2]]], np.float32)
    >>> shuffled(np.array([[[0.0]], [[1.0]]], np.float32), (0.25, 0.75), changes)[:, 0, 0]
    array([1., 0.], dtype=float32)
    """
    count = len(changes)
    ranks = np.argsort(np.argsort(changes, axis=0, kind="stable"), axis=0, kind="stable")
    return np.take_along_axis(at_levels(quantiles, levels, member_levels(count)), ranks, axis=0)
