"""Swaths that are in the layout of `vigie.core.swath` already, as NetCDF: those of the synthetic Earth, and anyone's own.

A radar's has no channels: `truth` [mm h-1] (scan, pixel) with its positions and times, and where it tells them `phase` and
`flags`.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import xarray as xr

from vigie.core.errors import VigieError
from vigie.core.swath import check

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
    return swath


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


def _loaded(path: Path, window: slice, main: str, units: str, label_source: str) -> xr.Dataset:
    """Load some scans of a swath whose main variable has the units it must have."""
    with xr.open_dataset(path, engine="h5netcdf") as file:
        loaded: xr.Dataset = file.isel(scan=window).load()
    missing = [name for name in FACTS if name not in loaded.attrs]
    if missing:
        raise VigieError(
            f"{path.name} does not say what it is", found=f"no attribute {', '.join(missing)}", expected=f"{', '.join(FACTS)}"
        )
    found = loaded[main].attrs.get("units")
    if found != units:
        told = "kelvin" if units == "K" else units
        raise VigieError(f"{path.name}: {main} is not in {told}", found=f"units {found!r}", expected=f"units '{units}'")
    absent = [name for name in ("time", "group") if name not in loaded.coords]
    if absent:
        lacking = f"no coordinate {', '.join(absent)}"
        raise VigieError(f"{path.name}: scans are not described", found=lacking, expected="time and group along 'scan'")
    if label_source and TRUTH in loaded:
        loaded.attrs.setdefault("label_source", label_source)
    return loaded.assign_coords(
        {
            name: (c.dims, np.array(c.values.tolist(), dtype=np.str_))
            for name, c in loaded.coords.items()
            if c.dtype.kind in "OT"
        }
    )
