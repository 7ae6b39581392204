"""Rasters of any size made small enough to draw, in memory that does not depend on their size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling

from vigie.core.errors import VigieError
from vigie.core.tiles import tiles
from vigie.publish.raster import ReadWindow

LONGEST = 1400
"""Longest side of a picture by default, pixels: more than a page shows."""

Thin = Callable[[NDArray[Any], int], NDArray[Any]]
"""Make an array (band, y, x) whose sides are multiples of `step` that many times smaller."""


@dataclass(frozen=True)
class Picture:
    """Values (band, y, x) small enough to draw, and the grid of their pixels."""

    values: NDArray[Any]
    grid: GeoBox

    def __post_init__(self) -> None:
        """Refuse values that do not lie on the grid."""
        if self.values.ndim != 3 or self.values.shape[1:] != tuple(self.grid.shape):
            raise VigieError(
                "a picture does not fit its grid",
                found=f"values {self.values.shape}, grid {tuple(self.grid.shape)}",
                expected="(band, y, x)",
            )


def centre(values: NDArray[Any], step: int) -> NDArray[Any]:
    """Keep the centre of every `step` x `step` block: for classes and flags.

    Examples
    --------
    >>> centre(np.arange(9).reshape(1, 3, 3), 3)
    array([[[4]]])
    """
    return values[:, step // 2 :: step, step // 2 :: step]


def mean(values: NDArray[Any], step: int) -> NDArray[Any]:
    """Average every `step` x `step` block over its finite values: for quantities.

    Examples
    --------
    >>> mean(np.array([[[1.0, 3.0], [np.nan, 5.0]]]), 2)
    array([[[3.]]])
    """
    bands, rows, columns = values.shape
    blocks = values.reshape(bands, rows // step, step, columns // step, step)
    good = np.isfinite(blocks)
    total, count = np.where(good, blocks, 0).sum(axis=(2, 4)), good.sum(axis=(2, 4))
    return np.asarray(np.divide(total, count, out=np.full(total.shape, np.nan, values.dtype), where=count > 0))


def shrink(read: ReadWindow, grid: GeoBox, thin: Thin, longest: int = LONGEST) -> Picture:
    """Read a raster in blocks and thin each, so that its longest side has at most `longest` pixels.

    Up to `step - 1` lines and columns at the far edges are left out, where the size is no multiple of the step.

    Examples
    --------
    >>> grid = GeoBox.from_bbox((0, 0, 9000, 6000), "EPSG:32632", resolution=1)
    >>> small = shrink(lambda w: np.ones((1, w["y"].stop - w["y"].start, w["x"].stop - w["x"].start)), grid, mean, longest=90)
    >>> small.values.shape, small.grid.resolution.x
    ((1, 60, 90), 100.0)
    """
    rows, columns = grid.shape
    step = -(-max(rows, columns) // longest)
    height, width = max(1, rows // step), max(1, columns // step)
    if step == 1 or rows < step or columns < step:
        return _whole_picture(read, grid, step, thin)
    block = max(1, 1024 // step) * step
    parts: dict[int, list[NDArray[Any]]] = {}
    for tile in tiles({"y": height * step, "x": width * step}, {"y": block, "x": 8 * block}):
        parts.setdefault(tile.keep["y"].start, []).append(thin(read(tile.keep), step).copy())  # a view would keep its block
    values = np.concatenate([np.concatenate(row, axis=2) for row in parts.values()], axis=1)
    return Picture(values, grid[: height * step, : width * step].zoom_out(step))


def class_picture(path: Path, longest: int = LONGEST) -> Picture:
    """Read the codes of a class map through its overviews."""
    with rasterio.open(path) as file:
        shape = _shape(file, longest)
        return Picture(file.read(1, out_shape=shape, resampling=Resampling.nearest)[np.newaxis], _grid(file, shape))


def quantity_picture(path: Path, bands: tuple[int, ...] = (1,), longest: int = LONGEST) -> Picture:
    """Read bands through their overviews as physical float32 values, NaN where there is no data."""
    with rasterio.open(path) as file:
        shape = _shape(file, longest)
        stored = file.read(list(bands), out_shape=(len(bands), *shape), resampling=Resampling.average, masked=True)
        scales = np.array([(file.scales[b - 1], file.offsets[b - 1]) for b in bands], dtype=np.float32)
        grid = _grid(file, shape)
    physical = stored.astype(np.float32).filled(np.nan) * scales[:, :1, np.newaxis] + scales[:, 1:, np.newaxis]
    return Picture(physical, grid)


def _whole_picture(read: ReadWindow, grid: GeoBox, step: int, thin: Thin) -> Picture:
    """Small or very thin rasters: nothing to thin, or only along the longer side."""
    values = read({"y": slice(0, grid.shape.y), "x": slice(0, grid.shape.x)})
    if step == 1:
        return Picture(values, grid)
    axis = 2 if grid.shape.x > grid.shape.y else 1
    picked = np.arange(step // 2, values.shape[axis], step)
    shape = (values.shape[1], len(picked)) if axis == 2 else (len(picked), values.shape[2])
    return Picture(np.take(values, picked, axis=axis), grid.zoom_to(shape))


def _shape(file: rasterio.DatasetReader, longest: int) -> tuple[int, int]:
    share = min(1.0, longest / max(file.shape))
    return max(1, round(file.height * share)), max(1, round(file.width * share))


def _grid(file: rasterio.DatasetReader, shape: tuple[int, int]) -> GeoBox:
    return GeoBox(file.shape, file.transform, str(file.crs)).zoom_to(shape)
