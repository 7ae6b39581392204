"""Glacier complexes cut into glaciers: by outlines, by divide lines, by the flow of the DEM, or not at all.

All four give every ice pixel an owner; `settle` then makes glaciers of them that are connected and large enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio.features
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from scipy import ndimage

from vigie.apps.glaciers.inventory.earth import Shapes
from vigie.apps.glaciers.inventory.polygons import Labels, Mask, burn, pieces
from vigie.apps.glaciers.inventory.strips import pixel_counts, strips

STEPS = [(0, 0), *((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx)]
"""Where ice may flow from a pixel: nowhere, or to one of eight neighbours (rows, columns)."""


@dataclass(frozen=True)
class Owners:
    """Who owns each ice pixel, from 1 on; 0 is not ice. `sure` marks pixels owned by evidence, not by nearness."""

    labels: Labels
    sure: Mask


def by_outlines(complexes: Labels, outlines: Shapes, grid: GeoBox) -> Owners:
    """Give each ice pixel to the outline that holds it, otherwise to the nearest outline that reaches its complex.

    Owner n is outline n - 1. A complex that no outline reaches owns itself, under a number above those of the outlines.

    Parameters
    ----------
    complexes: (y, x) numbers of the glacier complexes, 0 outside ice.
    outlines: polygons in the CRS of `grid`.
    """
    numbers = np.arange(1, len(outlines) + 1, dtype=np.int32)
    seeds = np.where(complexes > 0, burn(outlines, numbers, grid), 0).astype(np.int32)
    return Owners(spread(seeds, complexes, len(outlines)), (seeds > 0))


def by_lines(complexes: Labels, lines: Shapes, grid: GeoBox) -> Owners:
    """Cut complexes along lines; a line that does not cross a complex from side to side leaves it whole."""
    if not len(lines):
        return whole(complexes)
    shape, transform = tuple(grid.shape), grid.affine
    wall = rasterio.features.rasterize(list(lines), out_shape=shape, transform=transform, all_touched=True, dtype="uint8")
    seeds, _ = pieces(np.where(wall == 0, complexes, 0).astype(np.int32))
    return Owners(spread(seeds, complexes, int(seeds.max(initial=0))), seeds > 0)


def whole(complexes: Labels) -> Owners:
    """Make each complex one glacier."""
    return Owners(complexes, complexes > 0)


def by_flow(complexes: Labels, elevation_m: NDArray[np.float32], smoothing_px: float, relief_m: float) -> Owners:
    """Cut complexes along the watersheds of the ice surface.

    Ice flows down the steepest of eight neighbours within its complex, to a low point of the ice; low points are the termini.
    Basins are merged across their lowest pass, lowest passes first, until every terminus lies at least `relief_m` below each
    pass to a neighbour (topological persistence; our formulation of the merging of pour points in Bolch et al. 2010 and
    Kienholz et al. 2013). Ice without elevation goes to the nearest basin of its complex.

    Parameters
    ----------
    complexes: (y, x) numbers of the glacier complexes, 0 outside ice.
    elevation_m: (y, x) DEM on the same grid, NaN where unknown.
    smoothing_px: standard deviation of the Gaussian that removes DEM noise first.
    relief_m: smallest height from a terminus up to its lowest pass.
    """
    surface = smooth(elevation_m, smoothing_px)
    ice = (complexes > 0) & np.isfinite(surface)
    basins = _descend(np.where(ice, complexes, 0), surface)
    merged = _merge(basins, complexes, surface, relief_m)
    return Owners(spread(merged, complexes, int(merged.max(initial=0))), merged > 0)


def smooth(elevation_m: NDArray[np.float32], sigma_px: float) -> NDArray[np.float32]:
    """Blur a DEM without letting NaN spread; what was NaN stays NaN."""
    known = np.isfinite(elevation_m)
    if sigma_px == 0:
        return elevation_m
    weight = ndimage.gaussian_filter(known.astype(np.float32), sigma_px)
    total = ndimage.gaussian_filter(np.where(known, elevation_m, 0).astype(np.float32), sigma_px)
    return np.where(known, total / np.where(known, weight, 1), np.nan).astype(np.float32)


def _descend(complexes: Labels, surface: NDArray[np.float32]) -> Labels:
    """Number the basins of steepest descent: each pixel points at its lowest neighbour, chains of pointers are halved."""
    towards = np.zeros(complexes.shape, dtype=np.int8)
    for strip in strips(complexes.shape, 1):
        read, keep = strip.read["y"], strip.keep["y"]
        towards[keep] = _steepest(complexes[read], surface[read])[strip.inner["y"]]
    ice = np.flatnonzero(complexes > 0)
    rank = np.zeros(complexes.size, dtype=np.int32)
    rank[ice] = np.arange(len(ice))
    target = rank[ice + np.array([dy * complexes.shape[1] + dx for dy, dx in STEPS])[towards.ravel()[ice]]]
    while not np.array_equal(target, target[target]):
        target = target[target]
    basins = np.zeros(complexes.size, dtype=np.int32)
    basins[ice] = np.unique(target, return_inverse=True)[1] + 1
    return basins.reshape(complexes.shape)


def _steepest(complexes: Labels, surface: NDArray[np.float32]) -> NDArray[np.int8]:
    """Which of STEPS leads down most steeply within a pixel's complex; 0 where none leads down."""
    rows, cols = complexes.shape
    number, height = np.pad(complexes, 1), np.pad(surface, 1)
    best = np.zeros(complexes.shape, dtype=np.float32)
    towards = np.zeros(complexes.shape, dtype=np.int8)
    for step, (dy, dx) in enumerate(STEPS[1:], start=1):
        beside = (slice(1 + dy, 1 + dy + rows), slice(1 + dx, 1 + dx + cols))
        drop = (surface - height[beside]) / np.float32(np.hypot(dy, dx))
        steeper = (number[beside] == complexes) & (complexes > 0) & (drop > best)
        best[steeper], towards[steeper] = drop[steeper], step
    return towards


def _merge(basins: Labels, complexes: Labels, surface: NDArray[np.float32], relief_m: float) -> Labels:
    """Join basins whose terminus lies less than `relief_m` below a pass, from the lowest pass up."""
    count = int(basins.max(initial=0))
    if count == 0:
        return basins
    lowest = np.full(count + 1, np.inf, dtype=np.float32)
    np.minimum.at(lowest, basins[basins > 0], surface[basins > 0])
    floor = lowest.tolist()
    left, right, height = _passes(basins, complexes, surface)
    root = list(range(count + 1))

    def find(n: int) -> int:
        while root[n] != n:
            root[n] = root[root[n]]
            n = root[n]
        return n

    for a, b, pass_m in zip(left.tolist(), right.tolist(), height.tolist(), strict=True):
        low, high = sorted((find(a), find(b)), key=lambda n: (floor[n], n))
        if low != high and pass_m - floor[high] < relief_m:
            root[high] = low
    return np.array([find(n) for n in range(count + 1)], dtype=np.int32)[basins]


def _passes(basins: Labels, complexes: Labels, surface: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """The lowest pass between each pair of neighbouring basins of one complex, in ascending order of height."""
    found = []
    for one, other in (((slice(None), slice(1, None)), (slice(None), slice(-1))), ((slice(1, None),), (slice(-1),))):
        a, b = basins[one], basins[other]
        edge = (a != b) & (a > 0) & (b > 0) & (complexes[one] == complexes[other])
        pair = np.stack([np.minimum(a[edge], b[edge]), np.maximum(a[edge], b[edge])])
        found.append((*pair, np.maximum(surface[one][edge], surface[other][edge])))
    left, right, height = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.lexsort((height, right, left))
    left, right, height = left[order], right[order], height[order]
    first = np.ones(len(left), dtype=bool)
    first[1:] = (left[1:] != left[:-1]) | (right[1:] != right[:-1])
    left, right, height = left[first], right[first], height[first]
    rising = np.argsort(height, kind="stable")
    return left[rising], right[rising], height[rising]


def spread(seeds: Labels, complexes: Labels, highest: int) -> Labels:
    """Give ice without owner to the nearest seed of its complex; a complex without seeds becomes number highest + its own."""
    count = int(complexes.max(initial=0))
    low, top = np.full(count + 1, highest + 1, dtype=np.int32), np.zeros(count + 1, dtype=np.int32)
    planted = seeds > 0
    np.minimum.at(low, complexes[planted], seeds[planted])
    np.maximum.at(top, complexes[planted], seeds[planted])
    only = np.where(top == 0, highest + np.arange(count + 1), np.where(low == top, top, 0)).astype(np.int32)
    only[0] = 0
    owners = np.where(seeds > 0, seeds, only[complexes]).astype(np.int32)
    for number, window in enumerate(ndimage.find_objects(complexes), start=1):
        if window is None or only[number]:
            continue
        inside, found = complexes[window] == number, owners[window]
        bare = inside & (found == 0)
        if bare.any():
            nearest = ndimage.distance_transform_edt(~(inside & (found > 0)), return_distances=False, return_indices=True)
            found[bare] = found[tuple(nearest)][bare]
    return owners


def settle(owners: Owners, smallest_px: int) -> tuple[Labels, NDArray[np.int32]]:
    """Make glaciers of owners: every connected piece is one, unless it is too small or owned by nearness alone.

    Such a piece joins the neighbour with which it shares the longest border; one that has no neighbour stays.

    Returns
    -------
    glaciers: (y, x) int32 numbers from 1 on, each 4-connected.
    owner: the owner of each glacier (entry 0 is background).
    """
    piece, owner = pieces(owners.labels)
    size = pixel_counts(piece, len(owner))
    sure = np.bincount(piece[owners.sure], minlength=len(owner)) > 0
    root = _absorb(np.where(sure, smallest_px, np.iinfo(np.int64).max), size, borders(piece))
    alive, number = np.unique(root, return_inverse=True)
    return number.astype(np.int32)[piece], owner[alive]


def borders(labels: Labels) -> dict[int, dict[int, int]]:
    """Count the pixel edges that each positive label shares with each other one.

    Examples
    --------
    >>> borders(np.array([[1, 2], [1, 0]], dtype=np.int32))
    {1: {2: 1}, 2: {1: 1}}
    """
    found = []
    for one, other in ((labels[:, 1:], labels[:, :-1]), (labels[1:], labels[:-1])):
        edge = (one != other) & (one > 0) & (other > 0)
        found.append(np.stack([one[edge], other[edge]]))
    pairs = np.concatenate(found, axis=1)
    pairs, counts = np.unique(np.sort(pairs, axis=0), axis=1, return_counts=True)
    shared: dict[int, dict[int, int]] = {}
    for (a, b), count in zip(pairs.T.tolist(), counts.tolist(), strict=True):
        shared.setdefault(a, {})[b] = count
        shared.setdefault(b, {})[a] = count
    return shared


def _absorb(enough: NDArray[np.int64], size: NDArray[np.int64], shared: dict[int, dict[int, int]]) -> NDArray[np.int32]:
    """Join pieces under `enough` pixels, smallest first, to the neighbour of longest border."""
    root, size = np.arange(len(size), dtype=np.int32), size.copy()
    for piece in sorted((np.flatnonzero(size[1:] < enough[1:]) + 1).tolist(), key=lambda n: (size[n], n)):
        neighbours = shared.get(piece, {})
        if size[piece] >= enough[piece] or not neighbours:
            continue
        into = max(neighbours, key=lambda n: (neighbours[n], size[n], -n))
        root[root == piece] = into
        size[into] += size[piece]
        for other, count in shared.pop(piece).items():
            shared[other].pop(piece)
            if other != into:
                shared[other][into] = shared[other].get(into, 0) + count
                shared[into][other] = shared[into].get(other, 0) + count
    return root
