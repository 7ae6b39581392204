"""Regimes that rain is judged in one by one: by what is known without the rain itself, never by what was observed of it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import xarray as xr
from numpy.typing import NDArray

VAPOUR = "total_column_water_vapour"
VAPOUR_KG_M2 = (0.0, 15.0, 30.0, 45.0, 60.0, np.inf)
"""Edges of the regimes of water vapour: from polar air to the moistest tropics."""
LATITUDES = (("tropics, up to 23.5° of latitude", 0.0, 23.5), ("23.5° to 50°", 23.5, 50.0), ("beyond 50°", 50.0, 90.1))


def regimes_of(swath: xr.Dataset) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Name the regimes of loaded scans, and where they are (scan, pixel): latitude, water vapour, land and sea, where known.

    Examples
    --------
    >>> maps = {"latitude": [[10.0, 60.0]], "land_fraction": [[1.0, 0.0]]}
    >>> swath = xr.Dataset({name: (("scan", "pixel"), values) for name, values in maps.items()})
    >>> [(name, int(where.sum())) for name, where in regimes_of(swath) if where.any()]
    [('tropics, up to 23.5° of latitude', 1), ('beyond 50°', 1), ('land', 1), ('sea', 1)]
    """
    from_equator = np.abs(swath["latitude"].values)
    for name, low, high in LATITUDES:
        yield name, (from_equator >= low) & (from_equator < high)
    if VAPOUR in swath:
        vapour = swath[VAPOUR].values
        for low, high in pairwise(VAPOUR_KG_M2):
            name = f"{low:g} to {high:g} kg m-2" if np.isfinite(high) else f"{low:g} kg m-2 and more"
            yield f"water vapour {name}", (vapour >= low) & (vapour < high)
    if "land_fraction" in swath:
        yield "land", swath["land_fraction"].values >= 0.5
        yield "sea", swath["land_fraction"].values < 0.5
