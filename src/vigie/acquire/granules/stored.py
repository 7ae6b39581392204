"""Swaths that are in the layout of `vigie.core.swath` already, as NetCDF: those of the synthetic Earth, and anyone's own.

A radar's has no channels: `truth` [mm h-1] (scan, pixel) with its positions and times, and where it tells them `phase` and
`flags`.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.acquire.granules.layout import valid_temperature, wrap
from vigie.core.errors import VigieError
from vigie.core.swath import check, missing_flags

OBSERVED = "brightness_temperature"
TRUTH = "truth"
FACTS = ("swath", "sensor", "platform", "product")


def is_stored(file: h5py.File) -> bool:
    """Say whether an open HDF5 file holds a swath in the layout."""
    return isinstance(file.get(OBSERVED), h5py.Dataset) and isinstance(file.get("frequency_ghz"), h5py.Dataset)


def is_rain(file: h5py.File) -> bool:
    """Say whether an open HDF5 file holds a swath of rain rates without channels."""
    rain, group = file.get(TRUTH), file.get("group")
    return isinstance(rain, h5py.Dataset) and isinstance(group, h5py.Dataset) and OBSERVED not in file


def read(path: Path, window: slice = slice(None), label_source: str = "") -> xr.Dataset:
    """Read some scans; `label_source` says where rain rates come from if the file does not.

    Raises
    ------
    VigieError: variables, coordinates or attributes of the layout are missing, or temperatures are not in kelvin.
    """
    swath = _loaded(path, window, OBSERVED, "K", label_source)
    check(swath)
    return _mended(swath)


def read_rain(path: Path, window: slice = slice(None), label_source: str = "") -> xr.Dataset:
    """Read some scans of a swath without channels; `label_source` says where its rain rates come from if the file does not.

    Raises
    ------
    VigieError: variables, coordinates or attributes of the layout are missing, or rates are not in mm h-1.
    """
    swath = _loaded(path, window, TRUTH, "mm h-1", label_source)
    for name in ("latitude", "longitude"):
        if name not in swath.variables or swath[name].dims != ("scan", "pixel") or swath[TRUTH].dims != ("scan", "pixel"):
            raise VigieError(
                f"{path.name} is no swath of rain rates", found=f"{TRUTH} {swath[TRUTH].dims}", expected=f"{name} (scan, pixel)"
            )
    return swath


def scan_times(path: Path) -> NDArray[np.datetime64]:
    """Read nothing but the time of each scan.

    Raises
    ------
    VigieError: it does not tell them.
    """
    with xr.open_dataset(path, engine="h5netcdf") as file:
        if "time" not in file.variables or file["time"].dims != ("scan",):
            raise VigieError(f"{path.name}: scans are not described", found="no coordinate time", expected="time along 'scan'")
        return np.asarray(file["time"].values, dtype="datetime64[ns]")


def _loaded(path: Path, window: slice, main: str, units: str, label_source: str) -> xr.Dataset:
    """Load some scans of a swath whose main variable has the units it must have, and no rain below 0."""
    loaded = _opened(path, window)
    missing = [name for name in FACTS if name not in loaded.attrs]
    absent = [name for name in ("time", "group") if name not in loaded.coords]
    found = loaded[main].attrs.get("units")
    if missing or absent:
        raise VigieError(
            f"{path.name}: scans are not described" if absent else f"{path.name} does not say what it is",
            found=f"no coordinate {', '.join(absent)}" if absent else f"no attribute {', '.join(missing)}",
            expected="time and group along 'scan'" if absent else ", ".join(FACTS),
            do="write them into the file",
        )
    if found != units:
        told = "kelvin" if units == "K" else units
        raise VigieError(
            f"{path.name}: {main} is not in {told}",
            found=f"units {found!r}",
            expected=f"units '{units}'",
            do=f"write the file in {told}, and say so",
        )
    if TRUTH in loaded and float(loaded[TRUTH].min()) < 0:
        raise VigieError(
            f"{path.name} holds rain rates below 0",
            found=f"{float(loaded[TRUTH].min()):g} mm h-1",
            expected="rates, and NaN where nobody knows",
            do="mask fills, and set what is negative by rounding to 0",
        )
    if label_source and TRUTH in loaded:
        loaded.attrs.setdefault("label_source", label_source)
    return _with_texts(loaded)


def _with_texts(loaded: xr.Dataset) -> xr.Dataset:
    """Give texts a fixed width, and longitudes from -180: many products count from 0 to 360."""
    texts = {name: c for name, c in loaded.coords.items() if c.dtype.kind in "OT"}
    swath = loaded.assign_coords({name: (c.dims, np.array(c.values.tolist(), dtype=np.str_)) for name, c in texts.items()})
    if "longitude" in swath:
        swath["longitude"] = swath["longitude"].copy(data=wrap(swath["longitude"].values))
    return swath


def _mended(swath: xr.Dataset) -> xr.Dataset:
    """Mask fills and zeros among temperatures, flag what lacks channels."""
    temperature = valid_temperature(swath[OBSERVED].values)
    flags = swath["flags"].values | missing_flags(temperature)
    return swath.assign({OBSERVED: swath[OBSERVED].copy(data=temperature), "flags": swath["flags"].copy(data=flags)})


def _opened(path: Path, window: slice) -> xr.Dataset:
    """Load some scans; a damaged file may open, and fail wherever it is read."""
    try:
        with xr.open_dataset(path, engine="h5netcdf") as file:
            found: xr.Dataset = file.isel(scan=window).load()
    except (OSError, RuntimeError, KeyError, ValueError, OverflowError) as error:
        raise VigieError(
            f"{path} cannot be read", found=error, expected="a whole NetCDF file", do="download or write it again"
        ) from error
    return found
