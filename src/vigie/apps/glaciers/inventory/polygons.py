"""Class rasters to polygons: minimum mapping unit, tracing on the pixel lattice, one outline for both neighbours.

Every 4-connected patch becomes one polygon. Neighbours share their vertices exactly, nodes where three patches meet included,
so that the polygons stay a coverage (no gap, no overlap) in any projection.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import rasterio
import rasterio.features
import shapely
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from vigie.apps.glaciers.inventory.earth import Shapes, window_transform
from vigie.apps.glaciers.inventory.strips import pixel_counts
from vigie.core.errors import VigieError
from vigie.core.tiles import tiles

Labels = NDArray[np.int32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Rings:
    """Closed rings on the pixel lattice, one unit step after the other, first point not repeated.

    `xy` (n, 2) corner coordinates in pixels, `corner` marks ring corners, `node` marks points that every outline keeps because
    three patches meet there, `start` is the first point of each ring and the end, `polygon` the first ring of each polygon and
    the end.
    """

    xy: NDArray[np.int64]
    corner: Mask
    node: Mask
    start: NDArray[np.int64]
    polygon: NDArray[np.int64]


Outline = Callable[[Rings], tuple[NDArray[np.float64], NDArray[np.int64]]]
"""How rings become outlines: gives vertices (n, 2) in pixels and the first vertex of each ring."""


def patches(mask: Mask, smallest_px: int) -> tuple[Labels, int]:
    """Number the 4-connected patches of a mask from 1 on, leaving out those under `smallest_px` pixels.

    Examples
    --------
    >>> patches(np.array([[1, 0, 1], [1, 0, 0]], dtype=bool), 2)
    (array([[1, 0, 0],
           [1, 0, 0]], dtype=int32), 1)
    """
    labels, count = ndimage.label(mask)
    sizes = pixel_counts(labels, count + 1)
    sizes[0] = 0
    big = sizes >= max(1, smallest_px)
    renumber = np.where(big, np.cumsum(big), 0).astype(np.int32)
    return renumber[labels], int(big.sum())


def pieces(labels: Labels) -> tuple[Labels, NDArray[np.int32]]:
    """Number the 4-connected pieces of equal positive label; gives the pieces and the label of each (entry 0 is background).

    Examples
    --------
    >>> pieces(np.array([[7, 7, 3], [3, 7, 3]], dtype=np.int32))[1].tolist()
    [0, 7, 3, 3]
    """
    padded = np.pad(labels, ((0, 0), (1, 0)), constant_values=-1)
    # horizontal runs are few where pixels are many
    run = (np.cumsum(padded[:, 1:] != padded[:, :-1], dtype=np.int32) - 1).reshape(labels.shape)
    first = np.flatnonzero(np.diff(run.ravel(), prepend=-1))
    value = labels.ravel()[first]
    same = (labels[1:] == labels[:-1]) & (labels[1:] > 0)
    same[:, 1:] &= (run[1:, 1:] != run[1:, :-1]) | (run[:-1, 1:] != run[:-1, :-1])  # once for each pair of runs
    upper, lower = run[:-1][same], run[1:][same]
    graph = coo_array((np.ones(len(upper), dtype=np.int8), (upper, lower)), shape=(len(value),) * 2)
    _, group = connected_components(graph, directed=False)
    _, at, number = np.unique(group, return_index=True, return_inverse=True)
    positive = value[at] > 0
    rank = np.zeros(len(at), dtype=np.int32)
    rank[np.argsort(np.where(positive, at, len(value)))[: positive.sum()]] = np.arange(1, positive.sum() + 1)
    found = np.zeros(positive.sum() + 1, dtype=np.int32)
    found[rank] = np.where(positive, value[at], 0)
    return rank[number][run], found


def polygonise(labels: Labels, transform: Affine, outline: Outline) -> tuple[NDArray[np.int32], Shapes]:
    """Trace every 4-connected patch of equal positive label; gives the label and the polygon of each.

    Parameters
    ----------
    labels: (y, x) int32, 0 is background.
    transform: from pixels to map coordinates.
    outline: `stairs` (along pixel edges) or `cut_corners` (through the middles of pixel edges).

    Examples
    --------
    >>> labels = np.array([[1, 1], [0, 2]], dtype=np.int32)
    >>> values, shapes = polygonise(labels, Affine(10, 0, 0, 0, -10, 20), stairs)
    >>> values.tolist(), shapely.area(shapes).tolist()
    ([1, 2], [200.0, 100.0])
    """
    traced = list(rasterio.features.shapes(labels, mask=labels > 0, connectivity=4))
    values = np.array([value for _, value in traced], dtype=np.int32)
    if not traced:
        return values, np.zeros(0, dtype=object)
    rings = _rings([shape["coordinates"] for shape, _ in traced], nodes(labels))
    xy, start = outline(rings)
    shapes = _assemble(xy, start, rings.polygon, transform)
    order = np.argsort(values, kind="stable")
    return values[order], shapes[order]


def nodes(labels: Labels) -> Mask:
    """Mark lattice corners (y + 1, x + 1) where three or four patches meet, which no outline may lose.

    Two labels crossing diagonally count, unless one of them is the background.
    """
    padded = np.pad(labels, 1)
    nw, ne, sw, se = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    changes = (nw != ne).astype(np.int8) + (ne != se) + (se != sw) + (sw != nw)
    crossing = (changes == 4) & (nw == se) & (ne == sw)
    return np.asarray((changes >= 3) & ~(crossing & ((nw == 0) | (ne == 0))))


def _rings(polygons: list[list[list[tuple[float, float]]]], node: Mask) -> Rings:
    """Flatten GDAL's rings and walk them in unit steps."""
    lengths = np.array([len(ring) - 1 for polygon in polygons for ring in polygon])
    corners = chain.from_iterable(ring[:-1] for polygon in polygons for ring in polygon)
    flat = np.fromiter(chain.from_iterable(corners), dtype=np.float64, count=2 * int(lengths.sum()))
    xy = flat.reshape(-1, 2).astype(np.int64)
    start = np.concatenate([[0], np.cumsum(lengths)])
    step = np.roll(xy, -1, axis=0) - xy
    step[start[1:] - 1] = xy[start[:-1]] - xy[start[1:] - 1]
    repeats = np.abs(step).sum(axis=1)
    first = np.concatenate([[0], np.cumsum(repeats)])
    along = np.arange(first[-1]) - np.repeat(first[:-1], repeats)
    walked = np.repeat(xy, repeats, axis=0) + along[:, None] * np.repeat(np.sign(step), repeats, axis=0)
    polygon = np.concatenate([[0], np.cumsum([len(rings) for rings in polygons])])
    return Rings(walked, along == 0, node[walked[:, 1], walked[:, 0]], first[start], polygon)


def stairs(rings: Rings) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Follow pixel edges: the polygon's area is exactly its pixels' area."""
    keep = rings.corner | rings.node
    count = np.concatenate([[0], np.cumsum(keep)])
    return rings.xy[keep].astype(np.float64), count[rings.start]


def cut_corners(rings: Rings) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Join the middles of pixel edges: the outline of the half-level, without the stairs that lengthen perimeters.

    Every pixel centre stays on its side, so rasterising gives the same patch back. A closed outline loses half a pixel of area
    and a hole gains as much, whatever its size; vertices move by at most 0.36 pixels.
    """
    after = np.arange(1, len(rings.xy) + 1)
    after[rings.start[1:] - 1] = rings.start[:-1]
    before = np.empty_like(after)
    before[after] = np.arange(len(after))
    step = rings.xy[after] - rings.xy
    middle = (rings.xy + rings.xy[after]) / 2.0
    end_node = rings.node[after]
    into = np.where(rings.node[:, None], step, step + step[before])
    onto = np.where(end_node[:, None], step, step + step[after])
    keep_middle = (into != onto).any(axis=1)
    vertices = np.stack([rings.xy.astype(np.float64), middle], axis=1).reshape(-1, 2)
    keep = np.stack([rings.node, keep_middle], axis=1).ravel()
    count = np.concatenate([[0], np.cumsum(keep)])
    return vertices[keep], count[2 * rings.start]


def _assemble(xy: NDArray[np.float64], start: NDArray[np.int64], polygon: NDArray[np.int64], transform: Affine) -> Shapes:
    """Close the rings, move them to the map, and rebuild those that touch themselves."""
    lengths = np.diff(start)
    closed = np.arange(start[-1] + len(lengths)) - np.repeat(np.arange(len(lengths)), lengths + 1)
    ends = np.cumsum(lengths + 1) - 1
    closed[ends] = start[:-1]
    pixels = xy[closed]
    east = transform.a * pixels[:, 0] + transform.b * pixels[:, 1] + transform.c
    north = transform.d * pixels[:, 0] + transform.e * pixels[:, 1] + transform.f
    offsets = (np.concatenate([[0], ends + 1]), polygon)
    shapes = shapely.from_ragged_array(shapely.GeometryType.POLYGON, np.column_stack([east, north]), offsets)
    touching = ~shapely.is_valid(shapes)
    shapes[touching] = shapely.make_valid(shapes[touching])
    return np.asarray(shapes, dtype=object)


def simplify(shapes: Shapes, tolerance_m: float) -> Shapes:
    """Drop vertices without opening gaps or overlaps between neighbours (Visvalingam-Whyatt on the coverage).

    `tolerance_m` is about the side of the triangles removed; half a pixel keeps the outline within the mapping error.
    """
    if tolerance_m == 0 or not len(shapes):
        return shapes
    return np.asarray(shapely.coverage_simplify(shapes, tolerance_m), dtype=object)


def burn(shapes: Shapes, values: NDArray[np.int32], grid: GeoBox) -> Labels:
    """Rasterise polygons onto a grid: a pixel takes the value of the polygon that holds its centre, 0 elsewhere.

    Shapes are in the grid's CRS; where two overlap the later one wins.
    """
    pairs = [(shape, int(value)) for shape, value in zip(shapes, values, strict=True) if not shape.is_empty]
    if not pairs:
        return np.zeros(tuple(grid.shape), dtype=np.int32)
    burnt = rasterio.features.rasterize(pairs, out_shape=tuple(grid.shape), transform=grid.affine, dtype="int32")
    return np.asarray(burnt, dtype=np.int32)


def polygonise_file(path: Path, codes: tuple[int, ...], tile_px: int = 4096) -> Shapes:
    """Trace the patches of some codes of a raster file larger than memory, tile by tile, and join them across tile edges.

    Parameters
    ----------
    path: single-band raster of class codes.
    codes: the codes that form one patch together.
    tile_px: side of the tiles; memory is bounded by one tile and the polygons.

    Returns
    -------
    Polygons along pixel edges in the file's CRS; the same whatever the tile size.
    """
    if not path.exists():
        raise VigieError(f"no class raster at {path}", expected="a single-band GeoTIFF")
    found: list[Shapes] = []
    seam: list[Mask] = []
    with rasterio.open(path) as source:
        for tile in tiles({"y": source.height, "x": source.width}, {"y": tile_px, "x": tile_px}):
            rows, cols = tile.read["y"], tile.read["x"]
            window = rasterio.windows.Window.from_slices((rows.start, rows.stop), (cols.start, cols.stop))
            mask = np.isin(source.read(1, window=window), codes).astype(np.int32)
            transform = window_transform(source.transform, rows.start, cols.start)
            shapes = polygonise(mask, transform, stairs)[1]
            edge = shapely.box(*rasterio.transform.array_bounds(*mask.shape, transform)).exterior
            found.append(shapes)
            seam.append(np.asarray(shapely.intersects(shapes, edge), dtype=bool))
    return _join(np.concatenate(found), np.concatenate(seam))


def _join(shapes: Shapes, seam: Mask) -> Shapes:
    """Union polygons that share an edge across a seam; touching at a corner is not sharing."""
    cut = shapes[seam]
    tree = shapely.STRtree(cut)
    left, right = tree.query(cut, predicate="touches")
    sharing = shapely.length(shapely.intersection(cut[left], cut[right])) > 0
    graph = coo_array((np.ones(int(sharing.sum())), (left[sharing], right[sharing])), shape=(len(cut), len(cut)))
    count, group = connected_components(graph, directed=False)
    joined = [shapely.union_all(cut[group == number]) for number in range(count)]
    return np.concatenate([shapes[~seam], np.array(joined, dtype=object)])
