"""Raster files of any kind, opened with errors that teach."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import rasterio
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from vigie.core.errors import VigieError, reason


@contextmanager
def opened(href: str) -> Iterator[DatasetReader]:
    """Open a raster (a path, or anything GDAL reads such as /vsicurl/ or https) and close it again.

    Raises
    ------
    VigieError: missing, not a raster, or found to be damaged while being read.
    """
    try:
        with rasterio.open(href) as source:
            yield source
    except RasterioError as error:
        raise VigieError(
            f"{href} cannot be read as a raster",
            found=reason(error.__cause__ or error).replace(f"'{href}'", "the file").replace(href, "the file"),
            expected="a whole GeoTIFF or another format GDAL knows",
            do="check the path, or download the file again if it is truncated",
        ) from error
