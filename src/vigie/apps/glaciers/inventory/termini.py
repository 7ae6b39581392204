"""Where glaciers end: the part of the outline that is the terminus, and how much of it stands in a lake."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from scipy import ndimage

from vigie.apps.glaciers.inventory import earth
from vigie.apps.glaciers.inventory.centreline import Centreline
from vigie.apps.glaciers.inventory.topography import Relief, filled

LAND, MARINE, LAKE, SHELF, NOT_ASSIGNED = 0, 1, 2, 3, 9
TERMINI = {LAND: "land", MARINE: "marine", LAKE: "lake", SHELF: "shelf", NOT_ASSIGNED: "not assigned"}
"""What the codes of `term_type` mean."""


def terminus(local: Relief, line: Centreline, relief_m: float) -> NDArray[np.float64]:
    """Walk the outline both ways from the centreline's end while it stays within `relief_m` of its lowest point.

    Gives points (n, 2), half a cell apart. The part is contiguous: another low place of the outline, beyond higher ground, does
    not belong to it (our definition).
    """
    rings = shapely.get_exterior_ring(shapely.get_parts(local.outline))
    end = shapely.Point(line.xy[-1])
    ring = rings[int(np.argmin(shapely.distance(rings, end)))]
    count = max(8, int(np.ceil(ring.length / (local.spacing_m / 2))))
    along = (ring.project(end) + np.arange(count) * ring.length / count) % ring.length
    points = shapely.get_coordinates(shapely.line_interpolate_point(ring, along))
    z = _sample(local, points)
    low = z <= z.min() + relief_m
    low[0] = True
    forward = int(np.argmin(low)) if not low.all() else count
    backward = int(np.argmin(low[::-1])) if not low.all() else 0
    chosen = np.r_[0:forward, count - backward : count]
    return np.asarray(points[chosen])


def _sample(local: Relief, points: NDArray[np.float64]) -> NDArray[np.float64]:
    cols = (points[:, 0] - local.transform.c) / local.transform.a - 0.5
    rows = (points[:, 1] - local.transform.f) / local.transform.e - 0.5
    return np.asarray(ndimage.map_coordinates(filled(local.elevation_m), [rows, cols], order=1, mode="nearest"))


def contact_fraction(points: NDArray[np.float64], crs: CRS, lakes: shapely.STRtree, lakes_crs: object, reach_m: float) -> float:
    """Share of terminus points within `reach_m` of a lake.

    Parameters
    ----------
    points: (n, 2) in `crs`.
    lakes: index of lake polygons in `lakes_crs`, a metric CRS.
    """
    moved = earth.reproject(np.asarray(shapely.points(points), dtype=object), crs, lakes_crs)
    touched = lakes.query(moved, predicate="dwithin", distance=reach_m)[0]
    return len(np.unique(touched)) / len(points)


def lake_category(fraction: float | None) -> int | None:
    """Category of the lake-terminating inventories: 3 over half of the terminus, 2 a tenth to a half, 1 less, 0 none.

    Examples
    --------
    >>> [lake_category(f) for f in (0.0, 0.05, 0.1, 0.5, 0.51, None)]
    [0, 1, 2, 2, 3, None]
    """
    if fraction is None:
        return None
    return 3 if fraction > 0.5 else 2 if fraction >= 0.1 else 1 if fraction > 0 else 0


def terminus_type(category: int | None, known: int, truncated: bool) -> int:
    """Terminus type: marine and shelf as known before, lake from categories 2 and 3, land only where the end was seen.

    A class map does not tell the sea from a lake, so a terminus known as marine (1) or shelf (3) stays one.

    Examples
    --------
    >>> terminus_type(3, 9, False), terminus_type(0, 9, False), terminus_type(0, 9, True), terminus_type(3, 1, False)
    (2, 0, 9, 1)
    """
    if known in (MARINE, SHELF):
        return known
    if category is not None and category >= 2:
        return LAKE
    return NOT_ASSIGNED if category is None or truncated else LAND
