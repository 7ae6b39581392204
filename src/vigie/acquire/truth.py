"""Labels beside images: which label file belongs to which image, and whether it can serve.

A layer of a file with several is named as QGIS does, `file.gpkg|layername=<layer>`; `vigie.harmonize.labels` reads that back.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.warp import transform_bounds
from shapely.geometry import box, shape
from shapely.geometry.base import BaseGeometry

from vigie.acquire.raster import LONLAT, Header, footprint, read_header
from vigie.acquire.vectors import VECTORS, chosen_layer, read_layer
from vigie.core.errors import VigieError
from vigie.core.raster import opened
from vigie.core.scene import Truth

log = logging.getLogger("vigie")

LAYER = "|layername="
UNKNOWN = 255


def counterpart(image: str, images: str, truth: str, scene: str = "") -> str:
    """Name the label file of an image: what each `*` of the images' pattern stood for takes the place of that in the truth's.

    `{scene}` in the truth's pattern stands for the scene's name. A truth without either serves every image.

    Raises
    ------
    VigieError: the two patterns do not have the same number of stars.

    Examples
    --------
    >>> counterpart("/data/chips/image3.tif", "chips/image*.tif", "chips/label*.tif")
    'chips/label3.tif'
    """
    named = truth.replace("{scene}", scene)
    if "*" not in named:
        return named
    match = re.match("(?:^|.*/)" + _glob_regex(images) + "$", image)
    if match is None or len(match.groups()) != named.count("*"):
        raise VigieError(
            "the patterns of images and truth do not correspond",
            found=f"images = '{images}', truth = '{truth}'",
            expected="the same number of * in both, standing for the same text",
            do="use for instance images = 'image*.tif' with truth = 'label*.tif', or {scene} in the truth",
        )
    words = iter(match.groups())
    return re.sub(r"\*", lambda _: next(words), named)


def _glob_regex(pattern: str) -> str:
    """Translate a glob, with a group for each star; `**/` and character classes are matched without one."""
    words = {"**/": "(?:.*/)?", "*": "([^/]*)", "?": "[^/]"}
    tokens = re.split(r"(\*\*/|\*|\?|\[[^\]]+\])", pattern)
    return "".join(
        words.get(token) or (token.replace("[!", "[^") if token.startswith("[") else re.escape(token)) for token in tokens
    )


def read_truth(
    path: Path, legend: str, burn: int | None, epoch: str | None, image: Mapping[str, Any], layer: str | None = None
) -> Truth:
    """Check a label raster or vector layer against an image's footprint (GeoJSON, EPSG:4326) and describe it.

    Parameters
    ----------
    path: a raster of codes, or a vector layer whose inside gets the code `burn`.
    legend: the label legend that says what the codes mean.
    epoch: date of the labels (ISO 8601) where it differs from the image's.
    layer: which layer of a file that holds several; None for the only one with polygons.

    Raises
    ------
    VigieError: missing, unreadable, without CRS, `burn` missing for a vector or given for a raster, one of several layers, no
    codes, or nowhere on the image.
    """
    is_vector = path.suffix.lower() in VECTORS
    if not path.is_file():
        raise VigieError(f"label file {path} does not exist", do="check the truth pattern, or leave truth out")
    if is_vector != (burn is not None):
        raise VigieError(
            f"labels {path}: 'burn' is {'missing' if is_vector else 'given for a raster'}",
            expected="burn = <code> for a vector layer, none for a raster of codes",
            do="say which code lies inside the polygons" if is_vector else "leave burn out",
        )
    changed_ns = path.stat().st_mtime_ns
    name = chosen_layer(path, layer, "`layer` in the source") if is_vector else None
    outline = _vector_outline(path, name, changed_ns) if is_vector else _raster_outline(path, changed_ns)
    if not outline.intersects(shape(dict(image))):
        raise VigieError(
            f"labels {path} do not touch the image",
            found=f"labels at lon/lat {_bounds(outline)}",
            expected=f"image at {_bounds(shape(dict(image)))}",
            do="check the pairing of images and truth, and both CRS",
        )
    href = path.absolute().as_posix() + (f"{LAYER}{name}" if name else "")
    return Truth(href=href, legend=legend, burn=burn, epoch=epoch)


@lru_cache(maxsize=8)
def _vector_outline(path: Path, layer: str | None, changed_ns: int) -> BaseGeometry:
    """Outline a layer in EPSG:4326; one layer often serves many scenes, and is read once."""
    table = read_layer(path, layer, columns=[])
    crs, shapes = table.crs, table.geometry.to_numpy()
    polygons = shapes[(shapely.get_dimensions(shapes) == 2) & ~shapely.is_empty(shapes)]
    if not crs or not len(polygons):
        raise VigieError(
            f"vector labels {path} are of no use",
            found=("no polygon among its features" if len(shapes) else "no feature") if crs else "no CRS",
            expected="a layer with polygons and a CRS",
            do="check the file" if crs else "assign the CRS with `ogr2ogr -a_srs EPSG:...`",
        )
    _tell_repairs(path, len(shapes), polygons)
    west, south, east, north = transform_bounds(crs.to_wkt(), LONLAT, *shapely.total_bounds(polygons))
    if west <= east:
        return box(west, south, east, north)
    return box(west, south, 180, north) | box(-180, south, east, north)


@lru_cache(maxsize=8)
def _raster_outline(path: Path, changed_ns: int) -> BaseGeometry:
    """Outline a raster of codes in EPSG:4326, once its codes are known to be some."""
    header = read_header(path.as_posix())
    _check_codes(path, header)
    return shape(footprint(header))


def _check_codes(path: Path, header: Header) -> None:
    """Refuse numbers that are no codes, block by block, and tell a nodata code; bytes are always codes."""
    nodata = header.nodata[0]
    if nodata is not None and nodata != UNKNOWN and not np.isnan(nodata):
        log.info("acquire: labels %s: %g is declared nodata and means unknown", path, nodata)
    with opened(path.as_posix()) as source:
        if source.dtypes[0] == "uint8":
            return
        for _, window in source.block_windows(1):
            codes = source.read(1, window=window)
            known = np.isfinite(codes) & (codes != (np.nan if nodata is None else nodata))
            odd = codes[known & ~np.isin(codes, np.arange(UNKNOWN + 1))]
            if odd.size:
                raise VigieError(
                    f"labels of {path} are no codes",
                    found=f"{odd[0]} in {source.dtypes[0]}",
                    expected="whole numbers from 0 to 255, 255 or the declared nodata for unknown",
                    do="recode the raster, or declare its nodata with `gdal_edit.py -a_nodata`",
                )


def _tell_repairs(path: Path, features: int, polygons: NDArray[np.object_]) -> None:
    """Say what burning will make of geometries that are not plain: nothing is changed in silence."""
    told = {
        "empty or no polygon, left out": features - len(polygons),
        "cross themselves, filled where an odd number of their rings enclose": int((~shapely.is_valid(polygons)).sum()),
        "with heights, which do not count": int(shapely.has_z(polygons).sum()),
    }
    if any(told.values()):
        changes = "; ".join(f"{number} {what}" for what, number in told.items() if number)
        log.info("acquire: labels %s: of %d features %s", path, features, changes)


def _bounds(geometry: BaseGeometry) -> str:
    return ", ".join(f"{value:.3f}" for value in geometry.bounds)
