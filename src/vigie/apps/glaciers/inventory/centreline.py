"""Centrelines of a glacier: the least-cost path from every head down to its terminus, joined into a tree.

After Kienholz et al. (2014), The Cryosphere 8, 503-519: heads are local maxima along the outline, and the cost of a cell grows
with its nearness to the margin and its height above the terminus, so that lines keep to the middle and do not climb. As in
RGI 7.0 the longest path is the main line and goes through to the terminus; every other one ends where it meets a longer one.
"""

from __future__ import annotations

from collections.abc import Sequence
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
BESIDE = [(dy, dx) for dy in (-2, -1, 0, 1, 2) for dx in (-2, -1, 0, 1, 2) if dy * dy + dx * dx < 2.5**2]
"""Cells so near a line belong to it: paths side by side along one trunk are one line (Kienholz et al. 2014, section 4.3)."""
NO_OUTFLOW = -1
"""What the main line flows into, as the RGI writes it."""


@dataclass(frozen=True)
class Centreline:
    """One line from its head to its end: the terminus, or a vertex of the line it joins.

    `xy` are map coordinates of the local grid, `lonlat` the same line in degrees, `outflow` the number of the line it joins (-1
    for the main line), `strahler_n` its order as the RGI counts it: 0 without tributaries, else one above the highest of them.
    """

    xy: NDArray[np.float64]
    lonlat: shapely.LineString
    length_m: float
    outflow: int
    strahler_n: int


@dataclass(frozen=True)
class _Branch:
    """Cells (row, column) of a line from head to end; the branch it joins, -1 for none, and at which of that branch's cells."""

    cells: NDArray[np.int64]
    into: int
    at: int


def centrelines(local: Relief) -> list[Centreline]:
    """Trace the centrelines of a glacier in ascending order, the main line last; none when the glacier has no elevation.

    Cells without elevation take their nearest neighbour's, so that a void does not cut the glacier. The number of a line, which
    `outflow` names, is its place in the list.
    """
    inside, z = local.inside, local.elevation_m
    if not np.isfinite(z[inside]).any():
        return []
    z = filled(z)
    inside = _largest_part(inside)
    margin = ndimage.distance_transform_edt(inside)
    rim = inside & ~ndimage.binary_erosion(ndimage.binary_fill_holes(inside))  # lines neither begin nor end at a nunatak
    apart_px = _apart_m(local) / local.spacing_m
    paths = _paths(_cost(inside, z, margin), inside, _lowest(rim, z), _heads(rim, z, apart_px))
    branches = _join(paths, inside.shape, apart_px)
    lines = _drawn(branches, local)
    lines[0] = np.concatenate([lines[0], _on_outline(local, lines[0][-1])[None]])
    return _in_order(local, branches, lines)


def _in_order(local: Relief, branches: Sequence[_Branch], lines: Sequence[NDArray[np.float64]]) -> list[Centreline]:
    """Number branches by order, then length; the first branch, the main line, becomes the last."""
    strahler = _strahler([branch.into for branch in branches])
    lengths = [_length(xy) for xy in lines]
    lonlat = earth.reproject(np.array([shapely.LineString(xy) for xy in lines], dtype=object), local.crs, earth.WGS84)
    order = sorted(range(len(branches)), key=lambda n: (n == 0, strahler[n], lengths[n]))
    place = {n: at for at, n in enumerate(order)} | {NO_OUTFLOW: NO_OUTFLOW}
    return [Centreline(lines[n], lonlat[n], lengths[n], place[branches[n].into], strahler[n]) for n in order]


def _strahler(into: Sequence[int]) -> list[int]:
    """Orders of branches as RGI 7.0 counts them; a branch comes after the one it joins.

    Examples
    --------
    >>> _strahler([-1, 0, 0, 1])
    [2, 1, 0, 0]
    """
    order = [0] * len(into)
    for branch in reversed(range(1, len(into))):
        order[into[branch]] = max(order[into[branch]], order[branch] + 1)
    return order


def _join(paths: Sequence[NDArray[np.int64]], shape: tuple[int, ...], shortest_px: float) -> list[_Branch]:
    """Join paths that run into each other to a tree, longest first; a tributary shorter than `shortest_px` is left out."""
    owner = np.full(shape, NO_OUTFLOW, dtype=np.int64)
    branches: list[_Branch] = []
    for path in sorted(paths, key=lambda path: -_length(path)):
        owners = owner[*path.T]
        met = int(np.argmax(owners >= 0)) if branches else len(path) - 1
        own, into = path[: met + 1], int(owners[met])
        if branches and _length(own) < shortest_px:
            continue
        at = int(np.hypot(*(branches[into].cells - own[-1]).T).argmin()) if branches else NO_OUTFLOW
        for dy, dx in BESIDE:
            beside = own[:, 0] + dy, own[:, 1] + dx
            owner[beside] = np.where(owner[beside] < 0, len(branches), owner[beside])
        branches.append(_Branch(own, into, at))
    return branches


def _drawn(branches: Sequence[_Branch], local: Relief) -> list[NDArray[np.float64]]:
    """Lines of branches in map coordinates, smoothed; a tributary ends on a vertex of the line it joins."""
    lines: list[NDArray[np.float64]] = []
    for branch in branches:
        line = _map(local, branch.cells)
        if branch.into != NO_OUTFLOW:
            line = np.concatenate([line, lines[branch.into][branch.at][None]])
        lines.append(_smooth(line))
    return lines


def _length(points: NDArray[np.generic]) -> float:
    return float(np.hypot(*np.diff(points, axis=0).T).sum())


def _apart_m(local: Relief) -> float:
    """Smallest distance between heads, and shortest tributary: grows with area."""
    area_m2 = float(local.inside.sum()) * local.spacing_m**2
    return min(HEAD_SPACING_PER_M * area_m2 + HEAD_SPACING_M, LARGEST_HEAD_SPACING_M)


def _largest_part(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Keep the largest 8-connected part: a narrow neck can fall between pixel centres."""
    labels, count = ndimage.label(inside, np.ones((3, 3)))
    if count <= 1:
        return inside
    return np.asarray(labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:])))


def _lowest(rim: NDArray[np.bool_], z: NDArray[np.float64]) -> tuple[int, int]:
    """The terminus: the lowest rim cell (row, column)."""
    row, col = np.argwhere(rim)[int(np.argmin(z[rim]))].tolist()
    return row, col


def _heads(rim: NDArray[np.bool_], z: NDArray[np.float64], apart_px: float) -> NDArray[np.int64]:
    """Local maxima along the rim that far apart (row, column); always at least the highest rim cell."""
    reach = max(1, round(apart_px / 2))
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


def _paths(
    cost: NDArray[np.float64], inside: NDArray[np.bool_], terminus: tuple[int, int], heads: NDArray[np.int64]
) -> list[NDArray[np.int64]]:
    """Cells (row, column) of the least-cost path from every head to the terminus."""
    number = np.full(inside.shape, -1, dtype=np.int64)
    number[inside] = np.arange(inside.sum())
    _, before = dijkstra(_graph(cost, number), indices=number[terminus], return_predecessors=True)
    cells, paths = np.argwhere(inside), []
    for head in number[heads[:, 0], heads[:, 1]].tolist():
        trail = [head]
        while before[trail[-1]] >= 0:
            trail.append(int(before[trail[-1]]))
        paths.append(cells[trail])
    return paths


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


def _map(local: Relief, cells: NDArray[np.int64]) -> NDArray[np.float64]:
    x = local.transform.c + (cells[:, 1] + 0.5) * local.transform.a
    y = local.transform.f + (cells[:, 0] + 0.5) * local.transform.e
    return np.stack([x, y], axis=1)


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
