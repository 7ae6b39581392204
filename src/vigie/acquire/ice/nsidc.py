"""Concentration of the NASA Team algorithm, NSIDC-0081 (daily, near real time) and NSIDC-0051 (final), as raw bytes in NetCDF.

Bytes 0 to 250 are concentration times 250; 251 is the pole hole, 253 coast, 254 land, 255 missing. They are kept apart before
anything is divided: missing is not open water.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.transform import from_origin

from vigie.core.errors import VigieError
from vigie.core.grid import coordinates
from vigie.core.sea_ice import STATUS
from vigie.core.vocabulary import named

RAW = "sic_raw"
FULL = 250
"""Byte of concentration 1."""
FLAGS = {251: STATUS["pole_hole"], 252: STATUS["missing"], 253: STATUS["coast"], 254: STATUS["land"], 255: STATUS["missing"]}
CRS = "EPSG:3411"
CELL_M = 25_000.0


def is_nasateam(path: Path) -> bool:
    """Say whether a file holds raw bytes of concentration."""
    with _opened(path) as dataset:
        return RAW in dataset


def nasateam_series(path: Path) -> tuple[GeoBox, NDArray[np.datetime64], str]:
    """Tell the grid, the times and the title of a file.

    Raises
    ------
    VigieError: it is no NetCDF, not of this kind, on another grid, or times do not increase.
    """
    with _opened(path) as dataset:
        grid = _grid(path, dataset)
        times = dataset["time"].values.astype("datetime64[ns]")
        if np.isnat(times).any() or (np.diff(times) <= np.timedelta64(0)).any():
            at = int(np.argmax(np.diff(times) <= np.timedelta64(0))) + 1
            raise VigieError(
                f"times of {path} do not increase",
                found=f"{str(times[at])[:19]} after {str(times[at - 1])[:19]}",
                expected="every map once, in order",
                do="sort the file by time, and drop what is there twice",
            )
        return grid, times, str(dataset.attrs.get("title", path.stem))


def read_nasateam(path: Path, times: slice) -> xr.Dataset:
    """Read some maps of a file.

    Returns
    -------
    `sea_ice_area_fraction` (time, y, x), NaN where it was not measured, and `status_flag`.

    Raises
    ------
    VigieError: see `nasateam_series`; or the file is truncated.
    """
    with _opened(path) as dataset:
        grid = _grid(path, dataset)
        try:
            part = dataset[RAW].isel(time=times).load()
        except (OSError, RuntimeError) as error:
            raise VigieError(f"{path} cannot be read", found=error, expected="a whole file", do="copy it again") from error
    raw, when = part.values, part["time"].values
    status = np.full(raw.shape, STATUS["measured"], dtype=np.uint8)
    for byte, code in FLAGS.items():
        status[raw == byte] = code
    concentration = np.where(raw <= FULL, raw / np.float32(FULL), np.float32("nan")).astype(np.float32)
    dims = ("time", "y", "x")
    fields = {
        "sea_ice_area_fraction": (dims, concentration, named("sea_ice_area_fraction").attributes),
        "status_flag": (dims, status, named("status_flag").attributes),
    }
    return xr.Dataset(fields, coords={"time": when, **coordinates(grid)})


def _opened(path: Path) -> xr.Dataset:
    try:
        return xr.open_dataset(path, mask_and_scale=False, cache=False)
    except (OSError, ValueError) as error:
        raise VigieError(
            f"{path} cannot be read", found=error, expected="a NetCDF file of sea-ice concentration", do="copy it again"
        ) from error


def _grid(path: Path, dataset: xr.Dataset) -> GeoBox:
    """Take the grid from the centres of cells, which must be those of 25 km in the projection of NSIDC."""
    lacking = [name for name in (RAW, "time", "y", "x") if name not in dataset.variables]
    if lacking:
        raise VigieError(
            f"{path} is no map of NASA Team concentration",
            found=f"no {', '.join(lacking)}",
            expected=f"{RAW} (time, y, x)",
            do="correct [[acquire.sources]]",
        )
    x, y = dataset["x"].values, dataset["y"].values
    if not (np.allclose(np.diff(x), CELL_M) and np.allclose(np.diff(y), -CELL_M)):
        raise VigieError(
            f"{path} lies on another grid",
            found=f"steps of {np.diff(x).mean():g} and {np.diff(y).mean():g}",
            expected=f"x rising and y falling by {CELL_M:g} m ({CRS})",
            do="give the file on NSIDC's polar stereographic grid",
        )
    corner = from_origin(float(x[0]) - CELL_M / 2, float(y[0]) + CELL_M / 2, CELL_M, CELL_M)
    return GeoBox((len(y), len(x)), corner, CRS)
