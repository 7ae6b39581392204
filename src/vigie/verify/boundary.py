"""How far mapped and reference boundaries lie apart, in metres and both ways, and overlap with a tolerance in pixels.

A boundary pixel belongs to the label and has a 4-neighbour that is known not to: edges against unknown pixels and against the
frame are no boundaries. Distances come from an exact Euclidean distance transform and are counted in a histogram, so they add.
"""

from __future__ import annotations

from math import ceil

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import ndimage

from vigie.verify.classes import LabelledTile
from vigie.verify.tally import Metric, Tally

Mask = NDArray[np.bool_]

EDGES_M = np.concatenate([np.arange(0.0, 1000.0, 5.0), np.arange(1000.0, 10_001.0, 50.0)])
"""Bins of the distance histogram. A quantile is given as the mean distance of its bin, off by less than the bin's width."""

CAP_M = float(EDGES_M[-1])
"""Longer distances, and those to a boundary that does not exist, count as this, or as `REACH_PX` pixels where that is less."""

REACH_PX = 1024
"""How far boundary distances look at most, pixels, which bounds the memory of a tile: all of `CAP_M` from 10 m pixels on,
2 km on film of 2 m. It holds for every map, whole or in tiles, so that all are measured alike."""

TOLERANCES_PX = (1, 2, 3)

DIRECTIONS = ("mapped to reference", "reference to mapped")


def reach_m(gsd_m: float) -> float:
    """Give the distance that longer ones count as, metres.

    Examples
    --------
    >>> reach_m(30.0), reach_m(2.0)
    (10000.0, 2048.0)
    """
    return min(CAP_M, REACH_PX * gsd_m)


def halo_px(gsd_m: float) -> int:
    """Give the halo that a tile needs so that its distances are those of the whole map, pixels.

    Examples
    --------
    >>> halo_px(30.0), halo_px(2.0)
    (334, 1024)
    """
    return ceil(reach_m(gsd_m) / gsd_m)


def boundary(mask: Mask, known: Mask) -> Mask:
    """Mark pixels of a mask that have a 4-neighbour known to lie outside it.

    Examples
    --------
    >>> row = np.array([[True, True, False, False]])
    >>> boundary(row, np.ones_like(row)).tolist()
    [[False, True, False, False]]
    """
    edge: Mask = mask & known & ndimage.binary_dilation(known & ~mask)
    return edge


def distance_px(target: Mask) -> NDArray[np.float64]:
    """Give each pixel's distance to the nearest marked pixel (centre to centre); infinite where none is marked."""
    if not target.any():
        return np.full(target.shape, np.inf)
    distance: NDArray[np.float64] = ndimage.distance_transform_edt(~target)
    return distance


def count_boundaries(tile: LabelledTile) -> Tally:
    """Count boundary distances and tolerant overlaps of every label.

    Variables: `histogram` and `distance_m` (label, direction, distance bin), how many boundary pixels lie that far from the
    other boundary and the sum of their distances; `near` (label, direction, tolerance), boundary pixels within the tolerance;
    weights = boundary pixels. `band` and `interior` (label, tolerance): intersections, weights = unions.
    """
    counts = [_count_label(tile, row) for row in range(len(tile.labels))]
    stacked = {name: np.stack([count[name] for count in counts]) for name in counts[0]}
    coords = {
        "label": list(tile.labels),
        "direction": list(DIRECTIONS),
        "distance": np.append((EDGES_M[:-1] + EDGES_M[1:]) / 2, CAP_M),
        "tolerance_px": list(TOLERANCES_PX),
    }
    both, each = ("label", "direction"), ("label", "tolerance_px")
    total = {
        "distance_m": ((*both, "distance"), stacked["distance_m"]),
        "histogram": ((*both, "distance"), stacked["histogram"]),
        "near": ((*both, "tolerance_px"), stacked["near"]),
        "band": (each, stacked["band"]),
        "interior": (each, stacked["interior"]),
    }
    pixels = (both, stacked["pixels"])
    weight = {
        "distance_m": pixels,
        "histogram": pixels,
        "near": pixels,
        "band": (each, stacked["band_union"]),
        "interior": (each, stacked["interior_union"]),
    }
    names = {name: coords[name] for name in ("label", "direction", "tolerance_px")}
    return Tally(xr.Dataset(total, coords=coords), xr.Dataset(weight, coords=names))


def _count_label(tile: LabelledTile, row: int) -> dict[str, NDArray[np.generic]]:
    """Count one label of one tile."""
    known = tile.rows >= 0
    mapped, reference = (tile.decided() == row) & known, (tile.rows == row) & known
    edges = [boundary(mapped, known), boundary(reference, known)]
    distances = [distance_px(edge) for edge in edges]
    kept = tile.kept
    counts: dict[str, list[NDArray[np.generic]]] = {"distance_m": [], "histogram": [], "near": [], "pixels": []}
    for edge, to_other in zip(edges, reversed(distances), strict=True):
        px = to_other[kept][edge[kept]]
        metres = np.minimum(px * tile.gsd_m, reach_m(tile.gsd_m))
        at = np.searchsorted(EDGES_M, metres, side="right") - 1
        counts["distance_m"].append(np.bincount(at, weights=metres, minlength=EDGES_M.size))
        counts["histogram"].append(np.bincount(at, minlength=EDGES_M.size))
        counts["near"].append(np.array([(px <= tolerance).sum() for tolerance in TOLERANCES_PX]))
        counts["pixels"].append(np.asarray(px.size))
    overlaps = _overlaps(tile, (mapped, reference), known, distances)
    return {name: np.stack(values) for name, values in counts.items()} | overlaps


def _overlaps(
    tile: LabelledTile, masks: tuple[Mask, Mask], known: Mask, distances: list[NDArray[np.float64]]
) -> dict[str, NDArray[np.generic]]:
    """Intersections and unions of the bands along both boundaries, and of what lies away from the reference boundary."""
    kept = tile.kept
    mapped, reference = (mask[kept] for mask in masks)
    to_mapped, to_reference = (distance[kept] for distance in distances)
    across = np.where(masks[1], distance_px(known & ~masks[1]), distance_px(masks[1]))[kept]  # to the other side, 1 at least
    pairs: dict[str, list[int]] = {"band": [], "band_union": [], "interior": [], "interior_union": []}
    for tolerance in TOLERANCES_PX:
        bands = (mapped & (to_mapped < tolerance), reference & (to_reference < tolerance))
        away = known[kept] & (across > tolerance)
        for name, (a, b) in {"band": bands, "interior": (mapped & away, reference & away)}.items():
            pairs[name].append(int((a & b).sum()))
            pairs[f"{name}_union"].append(int((a | b).sum()))
    return {name: np.array(values) for name, values in pairs.items()}


def finish_boundaries(tally: Tally) -> xr.Dataset:
    """Turn counts into distances and tolerant overlaps.

    `boundary_mean_m`, `boundary_median_m`, `boundary_p95_m` (label, direction); `boundary_f1` (label, tolerance): harmonic mean
    of the shares of both boundaries that lie within the tolerance of the other, 0 where only one of them exists;
    `boundary_iou` (label, tolerance): IoU of the bands of that width inside both boundaries (Cheng et al. 2021);
    `interior_iou` (label, tolerance): IoU without the pixels of that many rows on either side of the reference boundary, for
    references whose georeference is no better.

    Examples
    --------
    >>> rows = np.array([[0, 0, 1, 1, 1]] * 3, np.int16)
    >>> shifted = np.array([[0, 0, 0, 1, 1]] * 3)
    >>> tile = LabelledTile(np.stack([1 - shifted, shifted]).astype(np.float32), rows, ("land", "ice"), 10.0)
    >>> scores = finish_boundaries(count_boundaries(tile))
    >>> float(scores["boundary_mean_m"].sel(label="ice", direction="mapped to reference"))
    10.0
    """
    mean = tally.mean()
    near = mean["near"]
    forth, back = (near.fillna(0.0).sel(direction=name, drop=True) for name in DIRECTIONS)
    either = near.notnull().any("direction")
    return xr.Dataset(
        {
            "boundary_mean_m": mean["distance_m"].sum("distance").where(mean["histogram"].notnull().any("distance")),
            "boundary_median_m": quantile_m(tally.total, 0.50),
            "boundary_p95_m": quantile_m(tally.total, 0.95),
            "boundary_f1": (2 * forth * back / (forth + back).where(forth + back > 0)).fillna(0.0).where(either),
            "boundary_iou": mean["band"],
            "interior_iou": mean["interior"],
        }
    )


def quantile_m(counts: xr.Dataset, share: float) -> xr.DataArray:
    """Find the mean distance of the bin that holds a quantile; NaN where nothing was counted."""
    cumulated = counts["histogram"].cumsum("distance")
    everything = cumulated.isel(distance=-1, drop=True)
    bin_ = (cumulated >= share * everything).argmax("distance")
    pixels = counts["histogram"].isel(distance=bin_).drop_vars("distance")
    distance = counts["distance_m"].isel(distance=bin_).drop_vars("distance")
    return distance / pixels.where(pixels > 0)


BOUNDARIES: Metric[LabelledTile] = Metric(count_boundaries, finish_boundaries)
"""Scores of boundaries."""
