"""Scenes that see the same ground belong to one group, so that no fold has one of them on each side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pyproj import Geod
from shapely import STRtree
from shapely.affinity import translate
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry
from shapely.ops import nearest_points

from vigie.core.scene import Scene

NEAR_KM = 1.0
"""Scenes closer than this share ground, light or labels often enough to be one group (chips 155 and 157 are 0.34 km apart)."""

_KM_A_DEGREE = 110.0
_TURNS = (0.0, -360.0, 360.0)
"""Degrees by which an outline is moved to meet one on the other side of longitude 180."""
_GEOD = Geod(ellps="WGS84")


def group_by_distance(scenes: Sequence[Scene], near_km: float = NEAR_KM) -> list[Scene]:
    """Give scenes without a group the name of the first scene they are connected to by steps shorter than `near_km`.

    Scenes that have a group keep it and connect nothing.
    """
    free = [i for i, scene in enumerate(scenes) if not scene.group]
    outlines = {i: shape(dict(scenes[i].footprint)) for i in free}
    tree = STRtree([outlines[i] for i in free])
    parent = {i: i for i in free}

    def root(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    for i in free:
        margin = near_km / _KM_A_DEGREE / max(0.05, _cos_latitude(outlines[i]))
        reach = outlines[i].buffer(margin)
        for j in {free[hit] for turn in _TURNS for hit in tree.query(translate(reach, turn)).tolist()}:
            if j < i and distance_km(outlines[i], outlines[j]) < near_km:
                low, high = sorted((root(i), root(j)))
                parent[high] = low
    return [replace(s, group=scenes[root(i)].id) if i in parent else s for i, s in enumerate(scenes)]


def distance_km(one: BaseGeometry, other: BaseGeometry) -> float:
    """Measure the shortest distance between two outlines in lon/lat, along the ellipsoid and across longitude 180.

    Examples
    --------
    >>> from shapely.geometry import box
    >>> round(distance_km(box(0, 0, 1, 1), box(2, 0, 3, 1)), 1)
    111.3
    >>> round(distance_km(box(179, 0, 180, 1), box(-179, 0, -178, 1)), 1)
    111.3
    """
    a, b = nearest_points(one, min((translate(other, turn) for turn in _TURNS), key=one.distance))
    return float(_GEOD.inv(a.x, a.y, b.x, b.y)[2]) / 1000.0


def _cos_latitude(outline: BaseGeometry) -> float:
    from math import cos, radians

    _, south, _, north = outline.bounds
    return cos(radians(max(abs(south), abs(north))))
