"""Raster files as they are: read by windows that may reach outside, turned into physical units."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import MaskFlags
from rasterio.io import DatasetReader
from rasterio.windows import Window as RasterWindow

from vigie.core.errors import VigieError
from vigie.core.scene import Band
from vigie.harmonize.crosses import Look

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]
Rows = tuple[int, int]

ELEVATIONS_M = (-500.0, 9000.0)
"""No ground lies lower or higher: such numbers are nodata that a file does not declare."""


def grid_of(dataset: DatasetReader) -> GeoBox:
    """Give the grid of an open raster.

    GDAL's transform already speaks of pixel corners whether a GeoTIFF says AREA_OR_POINT=Area or Point: no half pixel is added.
    """
    if dataset.crs is None or dataset.transform.is_identity:
        raise VigieError(
            f"{dataset.name} lies nowhere on Earth",
            found=f"crs {dataset.crs}, {'ground control points' if dataset.gcps[0] else 'no transform'}",
            expected="a CRS and an affine transform",
            do="georeference it, for instance with gdalwarp or gdal_edit -a_srs -a_ullr",
        )
    return GeoBox(dataset.shape, dataset.transform, dataset.crs.to_wkt())


def read_raw(
    dataset: DatasetReader, indexes: Sequence[int], rows: Rows, columns: Rows
) -> tuple[NDArray[np.generic], Bool | None]:
    """Read bands of a window that may reach outside the file.

    Returns
    -------
    Stored numbers (band, y, x), zero outside, and where they are missing by position or by the file's mask band, (1, y, x) or
    (band, y, x); None where nothing is.
    """
    wrong = [i for i in indexes if not 1 <= i <= dataset.count]
    if wrong:
        raise VigieError(
            f"{dataset.name} has no band {wrong[0]}", found=f"{dataset.count} bands", do="correct the band's index"
        )
    inside = tuple((min(max(a, 0), n), max(min(b, n), 0)) for (a, b), n in zip((rows, columns), dataset.shape, strict=True))
    (r0, r1), (c0, c1) = inside
    shape = rows[1] - rows[0], columns[1] - columns[0]
    if r0 >= r1 or c0 >= c1:
        return np.zeros((len(indexes), *shape), dtype=dataset.dtypes[0]), np.ones((1, *shape), dtype=bool)
    window = RasterWindow(c0, r0, c1 - c0, r1 - r0)
    raw = dataset.read(list(indexes), window=window)
    masked = any(MaskFlags.per_dataset in dataset.mask_flag_enums[i - 1] for i in indexes)
    missing = dataset.dataset_mask(window=window)[None] == 0 if masked else None
    if (r1 - r0, c1 - c0) == shape:
        return raw, missing
    part = slice(r0 - rows[0], r1 - rows[0]), slice(c0 - columns[0], c1 - columns[0])
    padded, outside = np.zeros((len(indexes), *shape), dtype=raw.dtype), np.ones((1, *shape), dtype=bool)
    padded[:, *part] = raw
    outside[:, *part] = False if missing is None else missing
    return padded, outside


def physical(
    raw: NDArray[np.generic], missing: Bool | None, bands: Sequence[Band], nodata: Sequence[float | None]
) -> tuple[Float, Bool, int, int]:
    """Turn stored numbers into physical units: stored * scale + offset.

    Parameters
    ----------
    raw: stored numbers (band, y, x).
    missing: where they are missing anyway, broadcast to `raw`; None for nowhere.
    bands: their descriptions. A band without `nodata` of its own takes the file's.
    nodata: what the file declares for each.

    Returns
    -------
    Values float32, NaN where missing; saturated, stored >= band.saturated and not missing; the counts of infinite numbers and
    of elevations outside `ELEVATIONS_M`, which are missing too.

    Examples
    --------
    >>> red = Band("red", "reflectance", "", 1, 10.0, "1", scale=1e-4, nodata=0, saturated=10000)
    >>> values, saturated, *_ = physical(np.array([[[0, 5000, 10000]]], dtype=np.uint16), None, [red], [None])
    >>> values.tolist(), saturated.tolist()
    ([[[nan, 0.5, 1.0]]], [[[False, False, True]]])
    """
    exact = np.float32 if raw.dtype.itemsize <= 2 or raw.dtype == np.float32 else np.float64
    values, saturated = np.empty(raw.shape, dtype=np.float32), np.zeros(raw.shape, dtype=bool)
    infinite = impossible = 0
    for i, band in enumerate(bands):
        if band.scale == 1.0 and band.offset == 0.0:
            values[i] = raw[i]
        else:
            values[i] = np.multiply(raw[i], exact(band.scale), dtype=exact) + exact(band.offset)
        gone = _equal(raw[i], nodata[i] if band.nodata is None else band.nodata)
        if np.issubdtype(raw.dtype, np.floating):
            strange = np.isinf(raw[i]) & ~gone
            infinite += int(np.count_nonzero(strange))
            gone |= ~np.isfinite(raw[i])
        if missing is not None:
            gone |= missing[i if len(missing) > 1 else 0]
        if band.kind == "terrain" and band.name == "elevation":
            strange = ((values[i] < ELEVATIONS_M[0]) | (values[i] > ELEVATIONS_M[1])) & ~gone
            impossible += int(np.count_nonzero(strange))
            gone |= strange
        values[i][gone] = np.nan
        if band.saturated is not None:
            saturated[i] = (raw[i] >= _whole(band.saturated)) & ~gone
    return values, saturated, infinite, impossible


def look_at(dataset: DatasetReader, band: Band) -> Look:
    """Give what reads one band of an open raster by rows and columns, in physical units, NaN where missing and outside."""

    def look(rows: Rows, columns: Rows) -> Float:
        raw, missing = read_raw(dataset, [band.index], rows, columns)
        return np.asarray(physical(raw, missing, [band], [dataset.nodatavals[band.index - 1]])[0][0])

    return look


def _equal(raw: NDArray[np.generic], nodata: float | None) -> Bool:
    if nodata is None or np.isnan(nodata):
        return np.zeros(raw.shape, dtype=bool)
    return np.asarray(raw == _whole(nodata))


def _whole(number: float) -> float | int:
    """Comparing integers with an integer makes no floating-point copy of the image."""
    return int(number) if float(number).is_integer() else float(number)
