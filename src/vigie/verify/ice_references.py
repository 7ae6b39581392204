"""Reference forecasts of maps: persistence, climatology, anomalies that persist or fade, and persistence dressed with changes.

Each is a function of what is known at the start; day of the year and leads are the caller's.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


def anomaly_persistence(now: Floats, usual_now: Floats, usual_then: Floats, damping: float = 1.0) -> Floats:
    """Carry the anomaly of today, or a part of it, to the climatology of the day that is forecast, within 0 and 1.

    Examples
    --------
    >>> anomaly_persistence(np.array([0.9]), np.array([0.7]), np.array([0.3]), damping=0.5)
    array([0.4])
    """
    return np.clip(usual_then + damping * (now - usual_now), 0.0, 1.0)


def damping_of(pairs: Iterable[tuple[Floats, Floats]]) -> float:
    """Fit the part of an anomaly that is left after a lead: a regression through 0 of later anomalies on earlier ones.

    Pairs where either is NaN do not count.

    Examples
    --------
    >>> damping_of([(np.array([1.0, 2.0, np.nan]), np.array([0.5, 1.0, 3.0]))])
    0.5
    """
    product, square = 0.0, 0.0
    for first, later in pairs:
        known = np.isfinite(first) & np.isfinite(later)
        a, b = first[known].astype(np.float64), later[known].astype(np.float64)
        product, square = product + float(a @ b), square + float(a @ a)
    return product / square if square else 0.0


def dressed(now: Floats, changes: Floats) -> Floats:
    """Add past changes (member, y, x) to the map of today (y, x), within 0 and 1.

    Examples
    --------
    >>> dressed(np.array([0.9]), np.array([[0.3], [-0.5]]))[:, 0].round(2)
    array([1. , 0.4])
    """
    return np.clip(now + changes, 0.0, 1.0)
