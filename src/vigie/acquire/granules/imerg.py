"""Read half-hourly IMERG grids, the merged product of the constellation."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray
from xarray import Dataset

from vigie.acquire.granules import pps
from vigie.core.errors import VigieError
from vigie.core.tiles import Window
from vigie.core.vocabulary import named

ALGORITHM = "3IMERG"
EPOCH = np.datetime64("1980-01-06", "ns")
"""Times are seconds since then, without leap seconds."""
AXES = {"time": "time", "latitude": "lat", "longitude": "lon"}
"""Dimensions here, and as the file names them."""
FIELDS = {
    "rainfall_rate": ("precipitation", "precipitationCal"),
    "rainfall_rate_error": ("randomError",),
    "quality_index": ("precipitationQualityIndex",),
}
"""Variables here, and as versions 07 and 06 name them."""


def read(path: Path, window: Window | None = None) -> Dataset:
    """Read an IMERG grid as (time, latitude, longitude); the file has longitude before latitude.

    Parameters
    ----------
    path: the granule.
    window: slices of latitude and longitude, for instance {"latitude": slice(0, 300)}; None takes the globe (1800 x 3600).

    Raises
    ------
    VigieError: it is no such granule, or a variable is missing.
    """
    cut = window or {}
    with pps.opened(path) as file:
        found = pps.expect(file, (ALGORITHM,))
        fields = {name: (tuple(AXES), _field(file, names, cut), named(name).attributes) for name, names in FIELDS.items()}
        seconds = pps.stored(file, "Grid/time").astype("timedelta64[s]")
        coordinates = {
            "time": ("time", EPOCH + seconds),
            "latitude": (
                "latitude",
                pps.stored(file, "Grid/lat", cut.get("latitude", pps.WHOLE)),
                named("latitude").attributes,
            ),
            "longitude": (
                "longitude",
                pps.stored(file, "Grid/lon", cut.get("longitude", pps.WHOLE)),
                named("longitude").attributes,
            ),
        }
    attributes = {"product": found.product, "sensor": found.sensor, "platform": found.platform}
    return Dataset(fields, coordinates, attributes)


def _field(file: h5py.File, names: tuple[str, ...], window: Window) -> NDArray[np.float32]:
    """One variable in the order of AXES, whatever order the file declares."""
    name = next((f"Grid/{name}" for name in names if f"Grid/{name}" in file), f"Grid/{names[0]}")
    if not isinstance(file.get(name), h5py.Dataset):
        pps.stored(file, name)
    order = pps.dimension_names(file[name])
    if sorted(order) != sorted(AXES.values()):
        raise VigieError(f"{file.filename}: {name} has other dimensions", found=order, expected=", ".join(AXES.values()))
    here = {there: ours for ours, there in AXES.items()}
    values = np.asarray(file[name][tuple(window.get(here[dim], pps.WHOLE) for dim in order)])
    values = np.where(pps.is_missing(values), np.float32("nan"), values.astype(np.float32))
    return values.transpose([order.index(there) for there in AXES.values()])
