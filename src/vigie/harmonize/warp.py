"""Bands of any file, brought onto a window of any grid in physical units.

The rule is chosen by the grids alone: pixels are copied where both grids share their lattice, averaged by area where the target
is coarser, interpolated where it is finer. Labels and quality masks take the nearest pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.io import DatasetReader

from vigie.core.raster import opened
from vigie.core.scene import Band
from vigie.core.tiles import Window
from vigie.harmonize.grids import Placement
from vigie.harmonize.inpaint import fill_crosses
from vigie.harmonize.resample import (
    AREA,
    LINEAR,
    Kernel,
    Source,
    floor,
    footprint_taps,
    pick,
    resample,
    resample_cubic,
)
from vigie.harmonize.settings import Refine
from vigie.harmonize.source import grid_of, look_at, physical, read_raw

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]
Pixels = NDArray[np.float64]

SAME_SIZE = 0.1
"""Target pixels larger than source pixels by more than this share are averages, others are interpolated."""
SOURCE_PIXELS = 1 << 24
"""Source pixels held at once, all bands together; more and the window is cut, which changes no bit of the result."""


@dataclass(frozen=True)
class Pixelwise:
    """What reading bands gives: values (band, y, x), NaN where missing; saturated and filled alike, where crosses of film were
    filled in; and how many stored numbers were taken as missing because they are infinite, or elevations that no ground has."""

    values: Float
    saturated: Bool
    filled: Bool
    infinite: int = 0
    impossible: int = 0


def whole(grid: GeoBox) -> Window:
    """Make the window that covers all of a grid."""
    return {"y": slice(0, grid.shape[0]), "x": slice(0, grid.shape[1])}


def read_band(band: Band, grid: GeoBox, window: Window | None = None, refine: Refine = "bilinear") -> tuple[Float, Bool]:
    """Read one band onto a window of a grid.

    Parameters
    ----------
    band: where it is stored and how to scale it.
    grid: the whole target grid.
    window: the part to compute, default all; results do not depend on how the grid is cut into windows, to the last bit.
    refine: interpolation where the grid is finer than the file.

    Returns
    -------
    Values (y, x) float32 in physical units, NaN where missing, and saturated (y, x) bool.

    Raises
    ------
    VigieError
        If the file cannot be read, lies nowhere on Earth, or has no such band.

    Examples
    --------
    >>> import rasterio
    >>> from affine import Affine
    >>> grid = GeoBox((2, 2), Affine(10, 0, 5e5, 0, -10, 3e6), "EPSG:32645")
    >>> shape = {"driver": "GTiff", "height": 2, "width": 2, "count": 1, "dtype": "uint16"}
    >>> with rasterio.open("/vsimem/red.tif", "w", crs="EPSG:32645", transform=grid.affine, **shape) as file:
    ...     file.write(np.array([[[0, 5000], [10000, 2500]]], dtype=np.uint16))
    >>> red = Band("red", "reflectance", "/vsimem/red.tif", 1, 10.0, "1", scale=1e-4, nodata=0)
    >>> read_band(red, grid)[0].tolist()
    [[nan, 0.5], [1.0, 0.25]]
    >>> coarse = GeoBox((1, 1), Affine(20, 0, 5e5, 0, -20, 3e6), "EPSG:32645")
    >>> round(float(read_band(red, coarse)[0][0, 0]), 4)
    0.5833
    """
    read = read_bands([band], grid, window or whole(grid), refine)
    return read.values[0], read.saturated[0]


def read_bands(bands: Sequence[Band], grid: GeoBox, window: Window, refine: Refine = "bilinear") -> Pixelwise:
    """Read bands onto a window of a grid, all bands of a file at once; see `read_band`."""
    shape = (len(bands), *(window[d].stop - window[d].start for d in ("y", "x")))
    files = list(dict.fromkeys(band.href for band in bands))
    if len(files) == 1:
        return _read_file(bands, grid, window, refine)
    values, saturated, filled = (np.empty(shape, dtype=dtype) for dtype in (np.float32, bool, bool))
    infinite = impossible = 0
    for href in files:
        at = [i for i, band in enumerate(bands) if band.href == href]
        read = _read_file([bands[i] for i in at], grid, window, refine)
        values[at], saturated[at], filled[at] = read.values, read.saturated, read.filled
        infinite, impossible = infinite + read.infinite, impossible + read.impossible
    return Pixelwise(values, saturated, filled, infinite, impossible)


def _read_file(bands: Sequence[Band], grid: GeoBox, window: Window, refine: Refine) -> Pixelwise:
    with opened(bands[0].href) as dataset:
        placement = Placement(grid_of(dataset), grid)
        if placement.offset is not None:
            return _read_pixels(dataset, bands, *_shifted(window, placement.offset))
        return _read_resampled(dataset, bands, placement, window, refine)


def _shifted(window: Window, offset: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    (y, x), (dy, dx) = (window["y"], window["x"]), offset
    return (y.start + dy, y.stop + dy), (x.start + dx, x.stop + dx)


def _read_pixels(dataset: DatasetReader, bands: Sequence[Band], rows: tuple[int, int], columns: tuple[int, int]) -> Pixelwise:
    raw, missing = read_raw(dataset, [band.index for band in bands], rows, columns)
    nodata = [dataset.nodatavals[band.index - 1] for band in bands]
    values, saturated, infinite, impossible = physical(raw, missing, bands, nodata)
    filled = np.zeros_like(saturated)
    for i, band in enumerate(bands):
        if band.crosses:
            filled[i] = fill_crosses(values[i], (rows[0], columns[0]), band.crosses, look_at(dataset, band))
    return Pixelwise(values, saturated, filled, infinite, impossible)


def _read_resampled(
    dataset: DatasetReader, bands: Sequence[Band], placement: Placement, window: Window, refine: Refine
) -> Pixelwise:
    coarser = placement.ratio > 1 + SAME_SIZE
    kernel = (AREA if placement.aligned else Kernel(footprint_taps(placement.ratio), "corners")) if coarser else LINEAR
    y, x = _places(placement, window, kernel)
    rows, columns = _reach(y), _reach(x)
    if (rows[1] - rows[0]) * (columns[1] - columns[0]) * len(bands) > SOURCE_PIXELS and (halves := _halves(window)):
        axis, parts = halves
        read = [_read_resampled(dataset, bands, placement, part, refine) for part in parts]
        values, saturated, filled = (
            np.concatenate([getattr(r, name) for r in read], axis=axis) for name in ("values", "saturated", "filled")
        )
        return Pixelwise(values, saturated, filled, sum(r.infinite for r in read), sum(r.impossible for r in read))
    pixels = _read_pixels(dataset, bands, rows, columns)
    source = Source(pixels.values, pixels.saturated, (rows[0], columns[0]))
    smooth = not coarser and refine == "cubic"
    values, saturated = resample_cubic(source, y, x) if smooth else resample(source, kernel, y, x)
    filled = np.zeros_like(saturated)
    if pixels.filled.any():
        filled = resample(replace(source, marked=pixels.filled), kernel, y, x)[1]
    return Pixelwise(values, saturated, filled, pixels.infinite, pixels.impossible)


def _places(placement: Placement, window: Window, kernel: Kernel) -> tuple[Pixels, Pixels]:
    """Places of the centres or corners of a window's pixels; indices count in the whole grid."""
    more, half = (1, 0.0) if kernel.at == "corners" else (0, 0.5)
    rows, columns = (np.arange(window[d].start, window[d].stop + more, dtype=np.float64) + half for d in ("y", "x"))
    return placement.near(rows[:, None], columns[None, :])


def _reach(places: Pixels) -> tuple[int, int]:
    """Source indices that any kernel can ask for around places."""
    return int(np.floor(places.min())) - 2, int(np.ceil(places.max())) + 3


def _halves(window: Window) -> tuple[int, tuple[Window, Window]] | None:
    """Cut a window across its longer side: the axis of (band, y, x), and both halves; None when it is one pixel."""
    dim = max(("y", "x"), key=lambda d: window[d].stop - window[d].start)
    begin, end = window[dim].start, window[dim].stop
    if end - begin < 2:
        return None
    middle = (begin + end) // 2
    return 1 + ("y", "x").index(dim), ({**window, dim: slice(begin, middle)}, {**window, dim: slice(middle, end)})


def read_nearest(href: str, index: int, grid: GeoBox, window: Window) -> tuple[NDArray[np.generic], Bool]:
    """Read the stored codes of a raster at the nearest pixel: for labels and quality masks.

    Returns
    -------
    Codes (y, x) in the file's type, and where the file has any; outside they are 0.
    """
    with opened(href) as dataset:
        placement = Placement(grid_of(dataset), grid)
        if placement.offset is not None:
            raw, missing = read_raw(dataset, [index], *_shifted(window, placement.offset))
            return raw[0], np.ones(raw.shape[1:], dtype=bool) if missing is None else ~missing[0]
        y, x = (floor(v) for v in _places(placement, window, LINEAR))
        rows, columns = (int(y.min()), int(y.max()) + 1), (int(x.min()), int(x.max()) + 1)
        raw, missing = read_raw(dataset, [index], rows, columns)
        codes = pick(raw, y - rows[0], x - columns[0])[0]
        return codes, np.ones(codes.shape, dtype=bool) if missing is None else ~pick(missing, y - rows[0], x - columns[0])[0]
