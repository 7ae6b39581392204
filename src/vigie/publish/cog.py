"""Cloud-optimised GeoTIFFs of any size: filled block by block, checked, and there whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.enums import ColorInterp
from rasterio.env import get_gdal_config, set_gdal_config
from rasterio.errors import RasterioError
from rasterio.io import DatasetWriter

from vigie.core.errors import VigieError, reason
from vigie.core.legend import Legend
from vigie.core.store import whole_file
from vigie.core.tiles import Tile, tiles
from vigie.publish.raster import Raster, ReadWindow, checked_window
from vigie.publish.room import check_room
from vigie.publish.statistics import BandStatistics, ClassCounts

BLOCK = 512
"""Side of an internal tile of the files, pixels."""

WINDOW_BYTES = 32 * 2**20
"""About how many bytes one window holds while it is written, all bands together."""

WINDOW_BLOCKS = 16
"""The most blocks one window takes side by side: the statistics of a band work on this many in double precision."""

GDAL_CACHE_BYTES = 64 * 2**20
"""GDAL's block cache while a file is written; its default is a share of the machine's memory."""


def write_cog(path: Path, raster: Raster, read: ReadWindow) -> None:
    """Write a raster product as a cloud-optimised GeoTIFF.

    Windows are read in row-major order, each once, in blocks of whole internal tiles; memory does not depend on the raster's
    size. The file has 512-pixel deflated tiles with a predictor, overviews, statistics, band descriptions, units, scale,
    offset, nodata, tags and, for a class map, its colours, names and pixel counts.

    Parameters
    ----------
    path: where the file goes; what was there is replaced at the end.
    raster: everything about the product but its numbers.
    read: gives windows as (band, y, x) of the raster's dtype.

    Raises
    ------
    VigieError: the disk is full or cannot be written, or a window has the wrong shape or type. Nothing half-written is left.

    Examples
    --------
    >>> import numpy as np
    >>> from odc.geo.geobox import GeoBox
    >>> from vigie.publish.raster import ProductBand
    >>> grid = GeoBox.from_bbox((0, 0, 300, 200), "EPSG:32632", resolution=10)
    >>> raster = Raster(grid, "float32", (ProductBand("slope", "slope", "degree"),), float("nan"), "average")
    >>> path = Path(tempfile.mkdtemp()) / "slope.tif"
    >>> write_cog(path, raster, lambda w: np.full((1, w["y"].stop - w["y"].start, w["x"].stop - w["x"].start), 7, "float32"))
    >>> with rasterio.open(path) as file:
    ...     file.shape, file.units, file.tags(1)["STATISTICS_MEAN"]
    ((20, 30), ('degree',), '7.0')
    """
    with whole_file(path) as draft, _scratch(path.parent) as scratch, _gdal(path):
        check_room(path, raster.sizes["y"] * raster.sizes["x"] * len(raster.bands) * np.dtype(raster.dtype).itemsize)
        plain, cog = scratch / "plain.tif", scratch / "cog.tif"
        _write_plain(plain, raster, read)
        rasterio.shutil.copy(
            plain,
            cog,
            driver="COG",
            BLOCKSIZE=BLOCK,
            COMPRESS="DEFLATE",
            PREDICTOR="YES",
            OVERVIEW_RESAMPLING=raster.overviews.upper(),
            BIGTIFF="IF_SAFER",
            NUM_THREADS="ALL_CPUS",
        )
        _check_whole(cog)
        cog.replace(draft)


def write_windows(raster: Raster) -> list[Tile]:
    """Cut a raster into the windows it is written in: whole blocks, `WINDOW_BYTES` or one block each."""
    block_bytes = BLOCK * BLOCK * len(raster.bands) * np.dtype(raster.dtype).itemsize
    blocks = min(max(1, WINDOW_BYTES // block_bytes), WINDOW_BLOCKS)
    return tiles(raster.sizes, {"y": BLOCK, "x": blocks * BLOCK})


def colour_table(legend: Legend) -> dict[int, tuple[int, int, int, int]]:
    """Colours of a legend as GDAL's red, green, blue, opacity by code; unknown is transparent.

    Examples
    --------
    >>> from vigie.core.legend import LegendClass
    >>> colour_table(Legend("ice", (LegendClass(1, "ice", "#3fa9f5"),)))
    {1: (63, 169, 245, 255), 255: (0, 0, 0, 0)}
    """
    colours = {c.code: (*bytes.fromhex(c.color.removeprefix("#")), 255) for c in legend.classes}
    table: dict[int, tuple[int, int, int, int]] = {code: (r, g, b, a) for code, (r, g, b, a) in colours.items()}
    return table | {legend.unknown: (0, 0, 0, 0)}


def _write_plain(path: Path, raster: Raster, read: ReadWindow) -> None:
    """Fill an ordinary tiled GeoTIFF, from which GDAL makes the cloud-optimised one."""
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=raster.sizes["x"],
        height=raster.sizes["y"],
        count=len(raster.bands),
        dtype=raster.dtype,
        crs=str(raster.grid.crs),
        transform=raster.grid.affine,
        nodata=raster.nodata,
        tiled=True,
        blockxsize=BLOCK,
        blockysize=BLOCK,
        compress="deflate",
        zlevel=1,
        bigtiff="if_safer",
    ) as file:
        _describe(file, raster)
        _fill(file, raster, read)


def _describe(file: DatasetWriter, raster: Raster) -> None:
    if raster.legend is not None:
        file.write_colormap(1, colour_table(raster.legend))
    else:
        file.colorinterp = [ColorInterp.gray] + [ColorInterp.undefined] * (len(raster.bands) - 1)
    file.descriptions = [band.name for band in raster.bands]
    file.units = [band.units for band in raster.bands]
    file.scales = [band.scale for band in raster.bands]
    file.offsets = [band.offset for band in raster.bands]
    file.update_tags(**raster.tags)
    for number, band in enumerate(raster.bands, start=1):
        file.update_tags(number, DESCRIPTION=band.description)


def _fill(file: DatasetWriter, raster: Raster, read: ReadWindow) -> None:
    statistics = [BandStatistics() for _ in raster.bands]
    counts = ClassCounts()
    for tile in write_windows(raster):
        values = _window(raster, read, tile)
        statistics = [s + BandStatistics.of(v, raster.nodata) for s, v in zip(statistics, values, strict=True)]
        if raster.legend is not None:
            counts = counts + ClassCounts.of(values)
        rows, columns = tile.keep["y"], tile.keep["x"]
        file.write(values, window=((rows.start, rows.stop), (columns.start, columns.stop)))
    for number, band in enumerate(statistics, start=1):
        file.update_tags(number, **band.tags())
    if raster.legend is not None:
        file.update_tags(1, **_class_tags(raster.legend, counts))


def _window(raster: Raster, read: ReadWindow, tile: Tile) -> NDArray[Any]:
    """Read a window; what fails here is the input's fault, not the output's."""
    try:
        return checked_window(raster, read, tile.keep)
    except RasterioError as error:
        raise VigieError(
            f"the window {tile.name} of a product cannot be read", found=reason(error), expected="a readable input raster"
        ) from error


def _class_tags(legend: Legend, counts: ClassCounts) -> dict[str, str]:
    """Names and pixel counts of the classes; a code the legend does not know is refused."""
    strange = sorted(set(np.flatnonzero(counts.counts).tolist()) - {*legend.codes.tolist(), legend.unknown})
    if strange:
        raise VigieError(
            f"a class map holds codes that legend '{legend.name}' does not know",
            found=strange,
            expected=f"{legend.codes.tolist()} or {legend.unknown} for unknown",
        )
    names = {f"CLASS_{c.code}": c.name for c in legend.classes}
    pixels = {f"CLASS_{c.code}_PIXELS": str(counts.counts[c.code]) for c in legend.classes}
    return names | pixels


def _check_whole(path: Path) -> None:
    """Refuse a file that ends before its last block: GDAL does not report every failed write.

    GDAL lays the directories first, then the overviews, then the full resolution, so its last block ends the file.
    """
    with rasterio.open(path) as file:
        corner = f"{(file.width - 1) // BLOCK}_{(file.height - 1) // BLOCK}"
        offset, length = (file.get_tag_item(f"BLOCK_{part}_{corner}", "TIFF", bidx=file.count) for part in ("OFFSET", "SIZE"))
    if offset is None or length is None or int(offset) + int(length) > path.stat().st_size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """A hidden folder on the same disk, gone at the end."""
    with tempfile.TemporaryDirectory(prefix=".vigie-", dir=folder) as name:
        yield Path(name)


@contextmanager
def _gdal(path: Path) -> Iterator[None]:
    """GDAL with a small block cache, its errors turned into ours."""
    before = get_gdal_config("GDAL_CACHEMAX")
    try:
        with rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE_BYTES):
            yield
    except (RasterioError, CPLE_BaseError) as error:
        raise VigieError(
            f"cannot write {path}",
            found=reason(error),
            expected="a writable disk with room",
            do="free space or choose another folder with --out, then run the same command again",
        ) from error
    finally:
        set_gdal_config("GDAL_CACHEMAX", before)
