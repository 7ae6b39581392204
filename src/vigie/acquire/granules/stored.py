"""Swaths that are in the layout of `vigie.core.swath` already, as NetCDF: those of the synthetic Earth, and anyone's own."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import xarray as xr

from vigie.core.errors import VigieError
from vigie.core.swath import check

OBSERVED = "brightness_temperature"
FACTS = ("swath", "sensor", "platform", "product")


def is_stored(file: h5py.File) -> bool:
    """Say whether an open HDF5 file holds a swath in the layout."""
    return isinstance(file.get(OBSERVED), h5py.Dataset) and isinstance(file.get("frequency_ghz"), h5py.Dataset)


def read(path: Path, window: slice = slice(None), label_source: str = "") -> xr.Dataset:
    """Read some scans; `label_source` says where rain rates come from if the file does not.

    Raises
    ------
    VigieError: variables, coordinates or attributes of the layout are missing, or temperatures are not in kelvin.
    """
    with xr.open_dataset(path, engine="h5netcdf") as file:
        loaded: xr.Dataset = file.isel(scan=window).load()
    missing = [name for name in FACTS if name not in loaded.attrs]
    if missing:
        raise VigieError(
            f"{path.name} does not say what it is", found=f"no attribute {', '.join(missing)}", expected=f"{', '.join(FACTS)}"
        )
    units = loaded[OBSERVED].attrs.get("units")
    if units != "K":
        raise VigieError(f"{path.name}: {OBSERVED} is not in kelvin", found=f"units {units!r}", expected="units 'K'")
    absent = [name for name in ("time", "group") if name not in loaded.coords]
    if absent:
        found = f"no coordinate {', '.join(absent)}"
        raise VigieError(f"{path.name}: scans are not described", found=found, expected="time and group along 'scan'")
    if label_source and "truth" in loaded:
        loaded.attrs.setdefault("label_source", label_source)
    swath = loaded.assign_coords(
        {
            name: (c.dims, np.array(c.values.tolist(), dtype=np.str_))
            for name, c in loaded.coords.items()
            if c.dtype.kind in "OT"
        }
    )
    check(swath)
    return swath
