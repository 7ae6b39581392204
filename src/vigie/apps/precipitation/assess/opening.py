"""Open the files of a record with the reader of their kind, whatever they are called."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import xarray as xr

from vigie.acquire.granules import recognise
from vigie.acquire.sources import expand
from vigie.apps.precipitation.assess.gauge_records import gauge_record
from vigie.apps.precipitation.assess.grid_records import imerg_record, radolan_record
from vigie.apps.precipitation.assess.record import Record
from vigie.apps.precipitation.assess.series_records import netcdf_record
from vigie.apps.precipitation.assess.settings import RecordSettings
from vigie.apps.precipitation.assess.swath_records import granule_record, is_retrieval, retrieval_record
from vigie.core.errors import VigieError

Opener = Callable[[Sequence[Path], RecordSettings], Record]

HDF5, CLASSIC, PARQUET = b"\x89HDF\r\n\x1a\n", b"CDF", b"PAR1"
"""How NetCDF-4, classic NetCDF and Parquet begin."""
OPENERS: dict[str, Opener] = {
    "swath retrievals": retrieval_record,
    "granules or tables": granule_record,
    "IMERG granules": imerg_record,
    "RADOLAN composites": radolan_record,
    "NetCDF series": netcdf_record,
    "tables of gauges": gauge_record,
}
"""How each kind of file becomes a record."""


def open_record(settings: RecordSettings, base: Path) -> Record:
    """Look at all files of a record; its rain is read later, step by step.

    Parameters
    ----------
    settings: what the assessment says of it.
    base: the folder that relative paths start from.

    Raises
    ------
    VigieError: nothing is there, a file is of no known kind or damaged, or kinds are mixed.
    """
    paths = [path for pattern in settings.files for path in expand(pattern, base)]
    kinds = {path: kind_of(path) for path in paths}
    if len(set(kinds.values())) > 1:
        told = {kind: next(path.name for path in paths if kinds[path] == kind) for kind in dict.fromkeys(kinds.values())}
        raise VigieError(
            f"files of '{settings.name}' are of different kinds",
            found="; ".join(f"{name} ({kind})" for kind, name in told.items()),
            expected="one kind a product",
            do="make them products of their own",
        )
    return OPENERS[kinds[paths[0]]](paths, settings)


def kind_of(path: Path) -> str:
    """Tell which key of `OPENERS` reads a file, by what it holds.

    Raises
    ------
    VigieError: none does.
    """
    if path.is_dir():
        raise VigieError(f"{path} is a folder", expected="files", do=f"write {path.name}/*.nc, or the like")
    if path.name.lower().endswith((".csv", ".csv.gz")):
        return "tables of gauges"
    if path.name.lower().endswith((".asc", ".tar", ".tar.gz", ".tgz")):
        return "RADOLAN composites"
    with path.open("rb") as file:
        begin = file.read(64)
    if begin.startswith(b"\x1f\x8b"):
        with gzip.open(path) as packed:
            begin = packed.read(2)
    if begin.startswith(PARQUET):
        return "tables of gauges"
    if begin[:2] in (b"RW", b"SF"):
        return "RADOLAN composites"
    if begin.startswith(CLASSIC):
        return "NetCDF series"
    if begin.startswith(HDF5) and _is_plain(path):
        with xr.open_dataset(path, engine="h5netcdf", decode_times=False) as data:
            return "swath retrievals" if is_retrieval(data) else "NetCDF series"
    return "IMERG granules" if recognise.kind(path) == "grid" else "granules or tables"


def _is_plain(path: Path) -> bool:
    """Say whether HDF5 is NetCDF of anybody: no product of the PPS, and no swath with brightness temperatures."""
    try:
        with h5py.File(path) as file:
            return "FileHeader" not in file.attrs and not {"brightness_temperature", "observations"} & set(file)
    except OSError as error:
        raise VigieError(
            f"{path} cannot be read", found=error, expected="a whole HDF5 or NetCDF file", do="download it again"
        ) from error
