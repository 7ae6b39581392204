"""Main centreline of a glacier: the longest of the least-cost paths from its heads down to its terminus.

After Kienholz et al. (2014), The Cryosphere 8, 503-519: heads are local maxima along the outline, and the cost of a cell grows
with its nearness to the margin and its height above the terminus, so that lines keep to the middle and do not climb.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from vigie.apps.glaciers.inventory import earth
from vigie.apps.glaciers.inventory.topography import Relief, filled

MARGIN_WEIGHT, MARGIN_POWER = 1000.0, 4.25
HEIGHT_WEIGHT, HEIGHT_POWER = 3000.0, 3.7
HEAD_SPACING_M, HEAD_SPACING_PER_M = 500.0, 2e-6
LARGEST_HEAD_SPACING_M = 1000.0
LOWEST_HEAD = 0.1
"""Heads lie in the upper nine tenths of the glacier's height range."""
SMOOTHING_PX = 2.0


@dataclass(frozen=True)
class Centreline:
    """The main centreline from head to terminus (map coordinates of the local grid), its length, and its end in lon/lat."""

    xy: NDArray[np.float64]
    length_m: float
    termlon: float
    termlat: float


def main_centreline(local: Relief) -> Centreline | None:
    """Trace the main centreline of a glacier; None when the glacier has no elevation.

    Cells without elevation take their nearest neighbour's, so that a void does not cut the glacier.
    """
    inside, z = local.inside, local.elevation_m
    if not np.isfinite(z[inside]).any():
        return None
    z = filled(z)
    inside = _largest_part(inside)
    margin = ndimage.distance_transform_edt(inside)
    rim = inside & (margin <= 1.0)
    rows, cols = np.nonzero(rim)
    low = int(np.argmin(z[rim]))
    terminus = int(rows[low]), int(cols[low])
    heads = _heads(rim, z, local)
    cells = _path(_cost(inside, z, margin), inside, terminus, heads)
    xy = _smooth(np.stack(_map(local, cells), axis=1))
    end = _on_outline(local, xy[-1])
    xy = np.concatenate([xy, end[None]])
    length = float(np.hypot(*np.diff(xy, axis=0).T).sum())
    point = earth.reproject(np.array([shapely.Point(end)], dtype=object), local.crs, earth.WGS84)[0]
    return Centreline(xy, length, point.x, point.y)


def _largest_part(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Keep the largest 8-connected part: a narrow neck can fall between pixel centres."""
    labels, count = ndimage.label(inside, np.ones((3, 3)))
    if count <= 1:
        return inside
    return np.asarray(labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:])))


def _heads(rim: NDArray[np.bool_], z: NDArray[np.float64], local: Relief) -> NDArray[np.int64]:
    """Local maxima along the rim, apart by a distance that grows with area; always at least the highest rim cell."""
    area_m2 = local.inside.sum() * local.spacing_m**2
    apart = min(HEAD_SPACING_PER_M * area_m2 + HEAD_SPACING_M, LARGEST_HEAD_SPACING_M)
    reach = max(1, round(apart / local.spacing_m / 2))
    heights = np.where(rim, z, -np.inf)
    highest = ndimage.maximum_filter(heights, size=2 * reach + 1)
    floor = z[rim].min() + LOWEST_HEAD * (z[rim].max() - z[rim].min())
    heads = rim & (heights == highest) & (z >= floor)
    return np.argwhere(heads)


def _cost(inside: NDArray[np.bool_], z: NDArray[np.float64], margin: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cost of a cell: ((d_max - d)/d_max f1)^a + ((z - z_min)/(z_max - z_min) f2)^b, plus 1 so that distance always counts."""
    low, high = z[inside].min(), z[inside].max()
    from_margin = (margin.max() - margin) / margin.max()
    rise = np.clip((z - low) / max(high - low, 1e-6), 0, None)
    return np.asarray((from_margin * MARGIN_WEIGHT) ** MARGIN_POWER + (rise * HEIGHT_WEIGHT) ** HEIGHT_POWER + 1.0)


def _path(
    cost: NDArray[np.float64], inside: NDArray[np.bool_], terminus: tuple[int, int], heads: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Cells (row, column) of the longest least-cost path from a head to the terminus."""
    number = np.full(inside.shape, -1, dtype=np.int64)
    number[inside] = np.arange(inside.sum())
    _, before = dijkstra(_graph(cost, number), indices=number[terminus], return_predecessors=True)
    cells = np.argwhere(inside)
    best, longest = np.array([terminus], dtype=np.int64), -1.0
    for head in number[heads[:, 0], heads[:, 1]].tolist():
        trail = [head]
        while before[trail[-1]] >= 0:
            trail.append(int(before[trail[-1]]))
        walked = cells[trail]
        length = float(np.hypot(*np.diff(walked, axis=0).T).sum()) if len(trail) > 1 else 0.0
        if tuple(walked[-1]) == terminus and length > longest:
            best, longest = walked, length
    return best


def _graph(cost: NDArray[np.float64], number: NDArray[np.int64]) -> csr_array:
    """Edges (scipy sparse) between the eight neighbours inside, weighted by mean cost times distance."""
    rows, cols = number.shape
    ends, weights = [], []
    for dy, dx in ((0, 1), (1, -1), (1, 0), (1, 1)):
        one = slice(0, rows - dy), slice(max(0, -dx), cols - max(0, dx))
        other = slice(dy, rows), slice(max(0, dx), cols + min(0, dx))
        both = (number[one] >= 0) & (number[other] >= 0)
        ends.append(np.stack([number[one][both], number[other][both]]))
        weights.append((cost[one][both] + cost[other][both]) / 2 * np.hypot(dy, dx))
    a, b = np.concatenate(ends, axis=1)
    weight = np.concatenate(weights)
    count = int((number >= 0).sum())
    return csr_array((np.tile(weight, 2), (np.concatenate([a, b]), np.concatenate([b, a]))), shape=(count, count))


def _map(local: Relief, cells: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x = local.transform.c + (cells[:, 1] + 0.5) * local.transform.a
    y = local.transform.f + (cells[:, 0] + 0.5) * local.transform.e
    return x, y


def _smooth(xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take the staircase out of a grid path, which would lengthen it by up to 8 %; both ends stay."""
    if len(xy) < 3:
        return xy
    soft = ndimage.gaussian_filter1d(xy, SMOOTHING_PX, axis=0, mode="nearest")
    soft[0], soft[-1] = xy[0], xy[-1]
    return np.asarray(soft)


def _on_outline(local: Relief, xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """The point of the exterior ring nearest to a cell, where the line ends."""
    rings = shapely.get_exterior_ring(shapely.get_parts(local.outline))
    nearest = rings[int(np.argmin(shapely.distance(rings, shapely.Point(xy))))]
    end = shapely.line_interpolate_point(nearest, nearest.project(shapely.Point(xy)))
    return np.array([end.x, end.y])
