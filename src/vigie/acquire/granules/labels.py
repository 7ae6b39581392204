"""Find the reader of a file of labels by what it holds: passes of radars, grids, gauges."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vigie.acquire.files import is_remote, local_path
from vigie.acquire.granules import pps, satrain, stored
from vigie.acquire.granules.cf_rain import CfRain
from vigie.acquire.granules.colocate import Positions
from vigie.acquire.granules.label_gauges import Stations, StationTable
from vigie.acquire.granules.label_grids import CfGrid, Imerg, Radolan
from vigie.acquire.granules.label_passes import Pass
from vigie.acquire.granules.recognise import kind
from vigie.core.errors import VigieError
from vigie.core.label_field import LabelField

KNOWN = (
    "2A-DPR, 2A-Ku and 2B-CMB granules",
    "swaths with truth in the layout of vigie.core.swath",
    "RADOLAN composites",
    "IMERG",
    "CF NetCDF grids or stations with rain",
    "CSV or Parquet with station, time, lat, lon, rain_mm_h or rain_mm_day",
)
"""What is read as labels."""
_HDF5, _NETCDF3, _GZIP, _PARQUET = b"\x89HDF\r\n\x1a\n", b"CDF", b"\x1f\x8b", b"PAR1"


class LabelReader(Protocol):
    """Rain rates that footprints of others are labelled with."""

    @property
    def told(self) -> str:
        """Where its product says that they come from, '' where it does not."""
        ...

    @property
    def times(self) -> NDArray[np.datetime64]:
        """When they were measured."""
        ...

    def positions(self) -> Positions:
        """Where they were measured (row, column), degrees."""
        ...

    def fields(self, period: tuple[np.datetime64, np.datetime64], latitudes: tuple[float, float]) -> Iterator[LabelField]:
        """Read what was measured in a period, between two latitudes at least."""
        ...


def open_labels(href: str, label_source: str = "", variable: str = "", units: str = "") -> LabelReader:
    """Find the reader of a file, or of a member of an archive.

    Parameters
    ----------
    href: see `vigie.acquire.files.list_files`.
    label_source: where its labels come from, as declared.
    variable, units: of rain in NetCDF files that do not tell.

    Raises
    ------
    VigieError: it does not exist, or nothing here reads it as labels.
    """
    path = local_path(href)
    if is_remote(href) or path is None or not path.is_file():
        raise VigieError(f"{href} does not exist", expected="a file of rain rates", do="check the path")
    if path.as_posix() != Path(href).as_posix() or href.endswith(".asc"):
        return Radolan(href)
    with path.open("rb") as file:
        begin = file.read(64)
    if begin.startswith(_HDF5):
        return _of_hdf5(path, label_source, variable, units)
    if begin.startswith(_NETCDF3):
        return _of_netcdf(path, variable, units)
    if begin.startswith((_GZIP, b"RW", b"SF")):
        return Radolan(href)
    first = begin.splitlines()[0] if begin else b""
    if begin.startswith(_PARQUET) or b"station" in first or b"time" in first:
        return StationTable(path)
    raise VigieError(f"{path} holds no labels that vigie reads", found=f"begins with {begin[:8]!r}", expected="; ".join(KNOWN))


def _of_hdf5(path: Path, label_source: str, variable: str, units: str) -> LabelReader:
    with pps.opened(path) as file:
        granule = "FileHeader" in file.attrs
        swath = stored.is_stored(file) or stored.is_rain(file) or satrain.OBSERVED in file
    if granule and kind(path) == "grid":
        return Imerg(path)
    return Pass(path, label_source) if granule or swath else _of_netcdf(path, variable, units)


def _of_netcdf(path: Path, variable: str, units: str) -> LabelReader:
    rain = CfRain(path, variable, units)
    return Stations(rain) if rain.stations else CfGrid(rain)
