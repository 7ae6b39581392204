"""Find the reader of a file by what it holds, never by its ending."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from xarray import Dataset

from vigie.acquire.granules import cyclone, dpr, gprof, imerg, pairs, pps, radiometer, satrain, stored
from vigie.core.errors import VigieError

KNOWN = {
    "radiometer": "1C and 1C-R granules of the PPS (HDF5)",
    "gprof": "2A GPROF granules (HDF5)",
    "radar": "2A-DPR, 2A-Ku, 2A-Ka and 2B-CMB granules (HDF5)",
    "satrain": "scenes of SatRain (NetCDF)",
    "pairs": "tables of GMI footprints (.npz)",
    "cyclone": "images of tropical cyclones (MATLAB 5)",
    "stored": "swaths in the layout of vigie.core.swath (NetCDF)",
    "rain": "such swaths without channels, of a radar",
}
"""Kinds of files that are swaths."""
_ALGORITHMS = {
    "radiometer": (radiometer.ALGORITHM,),
    "gprof": (gprof.ALGORITHM,),
    "radar": tuple(name for product in dpr.PRODUCTS for name in product.algorithms),
    "grid": (imerg.ALGORITHM,),
}
_HDF5, _ZIP, _MATLAB = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", b"MATLAB 5.0 MAT-file"


def open_swath(path: Path, window: slice = pps.WHOLE, label_source: str = "") -> Dataset:
    """Read any file that is a swath, with the reader of its kind.

    Parameters
    ----------
    path: the file.
    window: which scans; granules are read in part, tables and images are cut.
    label_source: where its labels come from; tables need it, of other files it must be what their product says.

    Raises
    ------
    VigieError: nothing here reads the file, it is damaged, or its labels come from elsewhere; or nothing in the whole of it is
    known.
    """
    found = kind(path)
    whole: dict[str, Callable[[], Dataset]] = {
        "radiometer": lambda: radiometer.read(path, window),
        "gprof": lambda: gprof.read(path, window),
        "radar": lambda: dpr.read(path, window),
        "satrain": lambda: satrain.read(path, label_source or "radar").isel(scan=window),
        "pairs": lambda: pairs.read(path, label_source).isel(scan=window),
        "cyclone": lambda: cyclone.read(path).isel(scan=window),
        "stored": lambda: stored.read(path, window, label_source),
        "rain": lambda: stored.read_rain(path, window, label_source),
    }
    if found not in whole:
        raise VigieError(f"{path} is a grid and no swath", found=found, do="read it with vigie.acquire.granules.imerg")
    swath = whole[found]()
    told = swath.attrs.get("label_source", "")
    if label_source and told and label_source != told:
        raise VigieError(
            f"{path.name}: its labels come from elsewhere",
            found=told,
            expected=f"label_source '{label_source}'",
            do=f'declare label_source = "{told}", or leave it out',
        )
    if window == pps.WHOLE:
        _check_known(path, swath)
    return swath


def _check_known(path: Path, swath: Dataset) -> None:
    """Refuse a whole file in which every footprint, position or temperature is missing; a window of it may be empty."""
    for name in ("latitude", "longitude", "brightness_temperature"):
        if name in swath and not np.isfinite(swath[name].values).any():
            raise VigieError(
                f"{path.name} holds no {name.replace('_', ' ')}",
                found=f"{swath.sizes['scan']} x {swath.sizes['pixel']} footprints, all of them missing",
                expected="data",
                do="leave it out",
            )


def kind(path: Path) -> str:
    """Tell which kind of file this is: a key of `KNOWN`, or "grid".

    Raises
    ------
    VigieError: it does not exist, or is none of them.
    """
    if not path.is_file():
        raise VigieError(f"{path} does not exist", expected="a granule, a table or an image", do="check the path")
    with path.open("rb") as file:
        begin = file.read(32)
    if begin.startswith(_HDF5):
        return _kind_of_hdf5(path)
    if begin.startswith(_ZIP):
        return "pairs"
    if begin.startswith(_MATLAB):
        return "cyclone"
    raise _unknown(path, f"a file that begins with {begin[:8]!r}")


def _kind_of_hdf5(path: Path) -> str:
    with pps.opened(path) as file:
        if "FileHeader" not in file.attrs:
            if stored.is_stored(file):
                return "stored"
            if stored.is_rain(file):
                return "rain"
            if isinstance(file.get(satrain.OBSERVED), h5py.Dataset):
                return "satrain"
            raise _unknown(path, f"HDF5 without FileHeader, with {sorted(file)}")
        algorithm = pps.header(file).algorithm
    for name, begins in _ALGORITHMS.items():
        if algorithm.startswith(begins):
            return name
    raise _unknown(path, f"the product {algorithm}")


def _unknown(path: Path, found: str) -> VigieError:
    return VigieError(
        f"{path} is no swath that vigie reads",
        found=found,
        expected="; ".join(KNOWN.values()),
        do="leave it out, or write it in the layout of vigie.core.swath",
    )
