"""Swaths that are in the layout of `vigie.core.swath` already, as NetCDF: those of the synthetic Earth, and anyone's own."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import xarray as xr

from vigie.acquire.granules.layout import valid_temperature, wrap
from vigie.core.errors import VigieError
from vigie.core.swath import check, missing_flags

OBSERVED = "brightness_temperature"
FACTS = ("swath", "sensor", "platform", "product")


def is_stored(file: h5py.File) -> bool:
    """Say whether an open HDF5 file holds a swath in the layout."""
    return isinstance(file.get(OBSERVED), h5py.Dataset) and isinstance(file.get("frequency_ghz"), h5py.Dataset)


def read(path: Path, window: slice = slice(None), label_source: str = "") -> xr.Dataset:
    """Read some scans; `label_source` says where rain rates come from if the file does not.

    Raises
    ------
    VigieError: variables, coordinates or attributes of the layout are missing, temperatures are not in kelvin, or rain rates
    are negative.
    """
    loaded = _loaded(path, window)
    missing = [name for name in FACTS if name not in loaded.attrs]
    if missing:
        raise VigieError(
            f"{path.name} does not say what it is",
            found=f"no attribute {', '.join(missing)}",
            expected=f"{', '.join(FACTS)}",
            do="write them into the file",
        )
    units = loaded[OBSERVED].attrs.get("units")
    if units != "K":
        raise VigieError(
            f"{path.name}: {OBSERVED} is not in kelvin",
            found=f"units {units!r}",
            expected="units 'K'",
            do="write the file in kelvin, and say so",
        )
    absent = [name for name in ("time", "group") if name not in loaded.coords]
    if absent:
        raise VigieError(
            f"{path.name}: scans are not described",
            found=f"no coordinate {', '.join(absent)}",
            expected="time and group along 'scan'",
            do="write them into the file",
        )
    if "truth" in loaded and float(loaded["truth"].min()) < 0:
        raise VigieError(
            f"{path.name} holds rain rates below 0",
            found=f"{float(loaded['truth'].min()):g} mm h-1",
            expected="rates, and NaN where nobody knows",
            do="mask fills, and set what is negative by rounding to 0",
        )
    if label_source and "truth" in loaded:
        loaded.attrs.setdefault("label_source", label_source)
    swath = loaded.assign_coords(
        {
            name: (c.dims, np.array(c.values.tolist(), dtype=np.str_))
            for name, c in loaded.coords.items()
            if c.dtype.kind in "OT"
        }
    )
    if "longitude" in swath:
        # Many products count from 0 to 360.
        swath["longitude"] = swath["longitude"].copy(data=wrap(swath["longitude"].values))
    check(swath)
    return _mended(swath)


def _mended(swath: xr.Dataset) -> xr.Dataset:
    """Mask fills and zeros among temperatures, flag what lacks channels."""
    temperature = valid_temperature(swath[OBSERVED].values)
    flags = swath["flags"].values | missing_flags(temperature)
    return swath.assign({OBSERVED: swath[OBSERVED].copy(data=temperature), "flags": swath["flags"].copy(data=flags)})


def _loaded(path: Path, window: slice) -> xr.Dataset:
    """Load some scans; a damaged file may open, and fail wherever it is read."""
    try:
        with xr.open_dataset(path, engine="h5netcdf") as file:
            found: xr.Dataset = file.isel(scan=window).load()
    except (OSError, RuntimeError, KeyError, ValueError, OverflowError) as error:
        raise VigieError(
            f"{path} cannot be read", found=error, expected="a whole NetCDF file", do="download or write it again"
        ) from error
    return found
