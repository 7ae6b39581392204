"""What a raster product is apart from its numbers, and how its numbers are read window by window."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from vigie.core.errors import VigieError
from vigie.core.legend import Legend
from vigie.core.tiles import Window

ReadWindow = Callable[[Window], NDArray[Any]]
"""Read a window {"y": ..., "x": ...} of a product as an array (band, y, x) in the raster's own dtype."""

DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")


@dataclass(frozen=True)
class ProductBand:
    """One band: a short name, what it means, and how stored numbers become physical: stored * scale + offset, in `units`."""

    name: str
    description: str
    units: str = "1"
    scale: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True)
class Raster:
    """A raster product without its numbers.

    `nodata` is NaN for floating point, an integer (or None: every pixel is valid) otherwise. `overviews` says how pixels are
    merged at coarser zooms: 'average' for quantities, 'mode' for classes, 'nearest' for bit flags. A `legend` makes it a class
    map of one uint8 band, with the legend's colours and its `unknown` as nodata. `tags` travel in the file's metadata.
    """

    grid: GeoBox
    dtype: str
    bands: tuple[ProductBand, ...]
    nodata: float | None
    overviews: Literal["average", "mode", "nearest"]
    legend: Legend | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what a GeoTIFF cannot hold or a GIS would misread."""
        _check_type(self)
        if self.legend is not None:
            _check_classes(self, self.legend)

    @property
    def sizes(self) -> dict[str, int]:
        """Pixels along y and x."""
        return {"y": int(self.grid.shape.y), "x": int(self.grid.shape.x)}


def class_raster(grid: GeoBox, legend: Legend, description: str, tags: Mapping[str, str] | None = None) -> Raster:
    """Describe a class map.

    Examples
    --------
    >>> from vigie.core.legend import LegendClass
    >>> grid = GeoBox.from_bbox((0, 0, 30, 20), "EPSG:32632", resolution=10)
    >>> ice = Legend("ice", (LegendClass(0, "land", "#8c8c8c"), LegendClass(1, "ice", "#3fa9f5")))
    >>> raster = class_raster(grid, ice, "most probable class")
    >>> raster.dtype, raster.nodata, raster.overviews
    ('uint8', 255, 'mode')
    """
    return Raster(grid, "uint8", (ProductBand("class", description),), legend.unknown, "mode", legend, dict(tags or {}))


def array_raster(array: xr.DataArray, grid: GeoBox, tags: Mapping[str, str] | None = None) -> Raster:
    """Describe an array (y, x) or (band, y, x) from its dtype and its CF attributes.

    `units`, `long_name`, `scale_factor`, `add_offset` and `_FillValue` are taken as they are: open a packed store with
    `mask_and_scale=False` to publish its integers unchanged. An array with `flag_masks` gets overviews by nearest pixel.

    Raises
    ------
    VigieError: the array's last two dimensions do not have the grid's shape.

    Examples
    --------
    >>> grid = GeoBox.from_bbox((0, 0, 30, 20), "EPSG:32632", resolution=10)
    >>> slope = xr.DataArray(np.zeros((2, 3), "float32"), dims=("y", "x"), name="slope", attrs={"units": "degree"})
    >>> array_raster(slope, grid).bands
    (ProductBand(name='slope', description='slope', units='degree', scale=1.0, offset=0.0),)
    """
    if array.ndim not in (2, 3) or array.shape[-2:] != (grid.shape.y, grid.shape.x):
        raise VigieError(
            f"array '{array.name}' does not fit its grid",
            found=f"{array.dims} {array.shape}",
            expected=f"(y, x) or (band, y, x) with {grid.shape.y} rows and {grid.shape.x} columns",
        )
    attributes = array.attrs
    described = str(attributes.get("long_name", array.name))
    labels = _band_labels(array)
    bands = tuple(
        ProductBand(
            "_".join([str(array.name or "value"), *label.split()]),
            f"{described}: {label}" if label else described,
            str(attributes.get("units", "1")),
            float(attributes.get("scale_factor", 1.0)),
            float(attributes.get("add_offset", 0.0)),
        )
        for label in labels
    )
    floating = np.issubdtype(array.dtype, np.floating)
    nodata = float("nan") if floating else attributes.get("_FillValue", array.encoding.get("_FillValue"))
    overviews: Literal["average", "nearest"] = "nearest" if "flag_masks" in attributes else "average"
    return Raster(grid, str(array.dtype), bands, None if nodata is None else float(nodata), overviews, None, dict(tags or {}))


def window_reader(array: xr.DataArray) -> ReadWindow:
    """Make the reader of an array (y, x) or (band, y, x), lazy or in memory; only the window asked for is loaded.

    Examples
    --------
    >>> read = window_reader(xr.DataArray(np.arange(6).reshape(2, 3), dims=("y", "x")))
    >>> read({"y": slice(0, 1), "x": slice(1, 3)})
    array([[[1, 2]]])
    """
    rows, columns = array.dims[-2:]

    def read(window: Window) -> NDArray[Any]:
        values = np.asarray(array.isel({rows: window["y"], columns: window["x"]}).values)
        return values if values.ndim == 3 else values[np.newaxis]

    return read


def checked_window(raster: Raster, read: ReadWindow, window: Window) -> NDArray[Any]:
    """Read a window and refuse it when it is not what the raster says."""
    values = read(window)
    shape = (len(raster.bands), window["y"].stop - window["y"].start, window["x"].stop - window["x"].start)
    if values.shape != shape or str(values.dtype) != raster.dtype:
        raise VigieError(
            "a window does not fit the raster it is written to",
            found=f"{values.dtype} {values.shape}",
            expected=f"{raster.dtype} {shape} (band, y, x)",
        )
    return values


def _band_labels(array: xr.DataArray) -> Sequence[str]:
    """What the bands are called along the first dimension: by its text coordinate when it has one, else by numbers."""
    if array.ndim == 2:
        return [""]
    first = array.dims[0]
    texts = [c for c in array.coords.values() if c.dims == (first,) and c.dtype.kind in "UOT"]
    return [str(value) for value in (texts[0].values.tolist() if texts else range(1, array.sizes[first] + 1))]


def _check_type(raster: Raster) -> None:
    if raster.dtype not in DTYPES:
        raise VigieError("a GeoTIFF cannot hold this type", found=raster.dtype, expected=", ".join(DTYPES))
    if raster.grid.crs is None:
        raise VigieError("a product needs a coordinate system", found="a grid without CRS", do="set the CRS of the GeoBox")
    dtype, nodata = np.dtype(raster.dtype), raster.nodata
    if np.issubdtype(dtype, np.floating):
        if nodata is None or not math.isnan(nodata):
            raise VigieError("floating-point products mark missing pixels with NaN", found=f"nodata {nodata}", expected="NaN")
    elif nodata is not None and not (float(nodata).is_integer() and np.iinfo(dtype).min <= nodata <= np.iinfo(dtype).max):
        raise VigieError("nodata does not fit the type", found=nodata, expected=f"an integer that {dtype} can hold, or None")


def _check_classes(raster: Raster, legend: Legend) -> None:
    if raster.dtype != "uint8" or len(raster.bands) != 1 or raster.nodata != legend.unknown or raster.overviews == "average":
        raise VigieError(
            f"a class map of legend '{legend.name}' is not laid out as one",
            found=f"{len(raster.bands)} bands of {raster.dtype}, nodata {raster.nodata}, overviews by {raster.overviews}",
            expected=f"one uint8 band, nodata {legend.unknown}, overviews by mode or nearest",
            do="make it with class_raster()",
        )
