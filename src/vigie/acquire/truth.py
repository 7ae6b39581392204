"""Labels beside images: which label file belongs to which image, and whether it can serve."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyogrio
from rasterio.warp import transform_bounds
from shapely.geometry import box, shape
from shapely.geometry.base import BaseGeometry

from vigie.acquire.raster import footprint, read_header
from vigie.core.errors import VigieError
from vigie.core.scene import Truth

VECTORS = (".shp", ".gpkg", ".geojson", ".json", ".fgb", ".parquet", ".kml", ".gml")


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


def read_truth(path: Path, legend: str, burn: int | None, epoch: str | None, image: Mapping[str, Any]) -> Truth:
    """Check a label raster or vector layer against an image's footprint (GeoJSON, EPSG:4326) and describe it.

    Parameters
    ----------
    path: a raster of codes, or a vector layer whose inside gets the code `burn`.
    legend: the label legend that says what the codes mean.
    epoch: date of the labels (ISO 8601) where it differs from the image's.

    Raises
    ------
    VigieError: missing, unreadable, without CRS, `burn` missing for a vector or given for a raster, or nowhere on the image.
    """
    is_vector = path.suffix.lower() in VECTORS
    if not path.is_file():
        raise VigieError(f"label file {path} does not exist", do="check the truth pattern, or leave truth out")
    if is_vector != (burn is not None):
        raise VigieError(
            f"labels {path}: 'burn' is {'missing' if is_vector else 'given for a raster'}",
            expected="burn = <code> for a vector layer, none for a raster of codes",
        )
    outline = _vector_outline(path) if is_vector else shape(footprint(read_header(path.as_posix())))
    if not outline.intersects(shape(dict(image))):
        raise VigieError(
            f"labels {path} do not touch the image",
            found=f"labels at lon/lat {_bounds(outline)}",
            expected=f"image at {_bounds(shape(dict(image)))}",
            do="check the pairing of images and truth, and both CRS",
        )
    return Truth(href=path.absolute().as_posix(), legend=legend, burn=burn, epoch=epoch)


def sidecars(path: Path) -> list[Path]:
    """Name the files that a layer consists of: a shapefile's parts, or the file alone."""
    parts = (".shp", ".shx", ".dbf", ".prj", ".cpg")
    return [p for s in parts if (p := path.with_suffix(s)).is_file()] if path.suffix.lower() == ".shp" else [path]


def _vector_outline(path: Path) -> BaseGeometry:
    try:
        layer = pyogrio.read_info(path, force_total_bounds=True, force_feature_count=True)
    except pyogrio.errors.DataSourceError as error:
        raise VigieError(f"{path} cannot be read as a vector layer", found=error, do="check the file") from error
    if not layer["crs"] or not layer["features"]:
        raise VigieError(
            f"vector labels {path} are of no use",
            found="no CRS" if layer["features"] else "no feature",
            expected="a layer with features and a CRS",
        )
    return box(*transform_bounds(layer["crs"], "EPSG:4326", *layer["total_bounds"]))


def _bounds(geometry: BaseGeometry) -> str:
    return ", ".join(f"{value:.3f}" for value in geometry.bounds)
