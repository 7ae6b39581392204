"""Labels beside images: which label file belongs to which image, and whether it can serve."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray
from rasterio.warp import transform_bounds
from shapely.geometry import box, shape
from shapely.geometry.base import BaseGeometry

from vigie.acquire.raster import footprint, read_header
from vigie.core.errors import VigieError
from vigie.core.scene import Truth

log = logging.getLogger("vigie")

POLYGONAL = (3, 6)
"""Type ids of polygons and multipolygons in shapely."""
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
    outline = _vector_outline(path, path.stat().st_mtime_ns) if is_vector else shape(footprint(read_header(path.as_posix())))
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


@lru_cache(maxsize=8)
def _vector_outline(path: Path, changed_ns: int) -> BaseGeometry:
    """Outline a layer in EPSG:4326; one layer often serves many scenes, and is read once."""
    try:
        layer = pyogrio.read_info(path)
        shapes = pyogrio.read_dataframe(path, columns=[]).geometry.to_numpy()
    except (pyogrio.errors.DataSourceError, AttributeError) as error:
        raise VigieError(
            f"{path} cannot be read as a vector layer",
            found=str(error).split(";")[0],
            expected="polygons in a GeoPackage, shapefile, GeoJSON or FlatGeobuf",
            do="check the file, or convert it",
        ) from error
    polygons = shapes[np.isin(shapely.get_type_id(shapes), POLYGONAL) & ~shapely.is_empty(shapes)]
    if not layer["crs"] or not len(polygons):
        raise VigieError(
            f"vector labels {path} are of no use",
            found=("no polygon among its features" if len(shapes) else "no feature") if layer["crs"] else "no CRS",
            expected="a layer with polygons and a CRS",
            do="check the file" if layer["crs"] else "assign the CRS with `ogr2ogr -a_srs EPSG:...`",
        )
    _tell_repairs(path, len(shapes), polygons)
    return box(*transform_bounds(layer["crs"], "EPSG:4326", *shapely.total_bounds(polygons)))


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
