"""HDF5 granules of NASA's Precipitation Processing System (PPS): what they are, fills, times, and errors in one line.

A product is known by the root attribute `FileHeader`, never by its file name: subsets and renamed files are granules too. Only
the scans of a window are read. Fills differ by type, and some data sets hold another fill than they declare, so that every
value that the system uses as one is missing here. Layouts: "File Specification for GPM Products", PPS, NASA GSFC.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from vigie.core.errors import VigieError

WHOLE = slice(None)
"""The window of all scans."""
FLOAT_FILL_BELOW = -9990.0
"""-9999.9 has no exact float32: what is stored is -9999.900390625, and an equality with -9999.9 fails."""
SECOND_FLOAT_FILL = -1111.0
"""The second "no value" of 2B products."""
INTEGER_FILLS = (-99, -9999)
"""Fills of int8 and of wider integers; -99 also stands in int16 data sets that declare -9999 (`precipitationYesNoFlag`)."""
UNSIGNED_FILL = 255


@dataclass(frozen=True)
class Header:
    """What a granule says of itself; `algorithm` is for instance "1CGMI", `version` "V07A"."""

    algorithm: str
    algorithm_version: str
    sensor: str
    platform: str
    version: str
    granule: str
    empty: bool

    @property
    def product(self) -> str:
        """Algorithm and product version, which together fix what a file holds.

        Examples
        --------
        >>> Header("2ADPR", "9.20211125", "DPR", "GPM", "V07A", "144", False).product
        '2ADPR V07A'
        """
        return f"{self.algorithm} {self.version}"

    @property
    def orbit(self) -> str:
        """What keeps the scans of one orbit together in folds: platform and granule number, whatever instrument it is."""
        return f"{self.platform}-{int(self.granule):06d}" if self.granule.isdigit() else f"{self.platform}-{self.granule}"


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading.

    Raises
    ------
    VigieError: there is no such file, it is not HDF5, it is cut short, or a part of it cannot be read.
    """
    if not path.is_file():
        raise VigieError(f"{path} does not exist", expected="a granule", do="check the path")
    if not h5py.is_hdf5(path):
        raise VigieError(f"{path} is not HDF5", expected="a granule of the PPS in HDF5", do="download it again")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError) as error:
        # h5py has no error of its own: of a damaged index it says "Unable to ..." as whatever error comes to hand.
        if isinstance(error, KeyError) and "Unable to" not in str(error):
            raise
        raise VigieError(f"{path} cannot be read", found=error, expected="a whole HDF5 file", do="download it again") from error


def header(file: h5py.File) -> Header:
    """Read what a granule says of itself.

    Raises
    ------
    VigieError: it has no `FileHeader`, or that lacks a key.
    """
    if "FileHeader" not in file.attrs:
        raise VigieError(
            f"{file.filename} is not a granule of the PPS",
            found=f"root attributes {sorted(file.attrs)}, groups {sorted(file)}",
            expected="the root attribute FileHeader",
        )
    said = dict(re.findall(r"(\w+)=([^;]*);", text(file.attrs["FileHeader"])))
    needed = ("AlgorithmID", "InstrumentName", "SatelliteName", "ProductVersion")
    missing = [key for key in needed if not said.get(key, "").strip()]
    if missing:
        raise VigieError(
            f"{file.filename}: its FileHeader lacks {', '.join(missing)}", found=sorted(said), do="download it again"
        )
    return Header(
        algorithm=said["AlgorithmID"].strip(),
        algorithm_version=said.get("AlgorithmVersion", "").strip(),
        sensor=said["InstrumentName"].strip(),
        platform=said["SatelliteName"].strip(),
        version=said["ProductVersion"].strip(),
        granule=said.get("GranuleNumber", "").strip(),
        empty=said.get("EmptyGranule", "NOT_EMPTY").strip() == "EMPTY",
    )


def expect(file: h5py.File, algorithms: Sequence[str]) -> Header:
    """Read the header and refuse a granule of another product, or one without data.

    Parameters
    ----------
    algorithms: how AlgorithmID may begin.

    Raises
    ------
    VigieError: see above.
    """
    found = header(file)
    if not found.algorithm.startswith(tuple(algorithms)):
        raise VigieError(
            f"{file.filename} is another product",
            found=found.product,
            expected=f"one of {', '.join(algorithms)}",
            do="check the path",
        )
    if found.empty:
        raise VigieError(f"{file.filename} holds no data", found="EmptyGranule=EMPTY in its header", do="leave it out")
    return found


def swath_group(file: h5py.File, names: Sequence[str]) -> str:
    """Name the first of some swath groups that a granule has.

    Raises
    ------
    VigieError: it has none.
    """
    for name in names:
        if isinstance(file.get(name), h5py.Group):
            return name
    raise VigieError(
        f"{file.filename} lacks the swath {' or '.join(names)}",
        found=f"{header(file).product} with groups {sorted(file)}",
        do="download the whole granule, in a version that is read, or leave it out",
    )


def stored(file: h5py.File, name: str, window: slice = WHOLE) -> NDArray[Any]:
    """Read a data set as it is stored, its first dimension cut to a window.

    Raises
    ------
    VigieError: it is not there.
    """
    found = file.get(name)
    if not isinstance(found, h5py.Dataset):
        place = file.get(name.rpartition("/")[0] or "/")
        has = sorted(place) if isinstance(place, h5py.Group) else "no such group"
        raise VigieError(
            f"{file.filename} lacks the data set {name}",
            found=has,
            do="download the whole granule, in a version that is read, or leave it out",
        )
    return np.asarray(found[window])


def is_missing(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Say where a stored array holds what the system writes for "no value".

    Examples
    --------
    >>> is_missing(np.array([np.float32(-9999.9), -1111, np.nan, 250], np.float32)).tolist()
    [True, True, True, False]
    >>> is_missing(np.array([-99, -9999, 0], np.int16)).tolist(), is_missing(np.array([255, 0], np.uint8)).tolist()
    ([True, True, False], [True, False])
    """
    if values.dtype.kind == "f":
        return np.asarray(~(values > FLOAT_FILL_BELOW) | (values == SECOND_FLOAT_FILL))
    return np.asarray(values == UNSIGNED_FILL if values.dtype.kind == "u" else np.isin(values, INTEGER_FILLS))


def measured(file: h5py.File, name: str, window: slice = WHOLE) -> NDArray[np.float32]:
    """Read a data set as float32 with NaN where it is missing."""
    values = stored(file, name, window)
    return np.where(is_missing(values), np.float32("nan"), values.astype(np.float32))


def scan_time(file: h5py.File, group: str, window: slice = WHOLE) -> NDArray[np.datetime64]:
    """Read the time of each scan of a swath (UTC, to the millisecond), NaT where it is missing."""
    names = ("Year", "Month", "DayOfMonth", "Hour", "Minute", "Second", "MilliSecond")
    parts = [stored(file, f"{group}/ScanTime/{name}", window).astype(np.int64) for name in names]
    year, month, day, hour, minute, second, milli = parts
    known = np.all([part >= 0 for part in parts], axis=0)
    months = np.where(known, (year - 1970) * 12 + month - 1, 0).astype("datetime64[M]")
    seconds = (day - 1) * 86400 + hour * 3600 + minute * 60 + second
    moment = months.astype("datetime64[ns]") + (seconds * 1000 + milli).astype("timedelta64[ms]")
    return np.where(known, moment, np.datetime64("NaT", "ns"))


def scans(file: h5py.File, group: str, window: slice = WHOLE) -> tuple[int, int]:
    """Give the first scan of a window and the one after its last, counted in the whole swath.

    Raises
    ------
    VigieError: the window takes scans in steps, or none.
    """
    latitude = file.get(f"{group}/Latitude")
    size = latitude.shape[0] if isinstance(latitude, h5py.Dataset) else stored(file, f"{group}/Latitude").shape[0]
    start, stop, step = window.indices(size)
    if step != 1 or stop <= start:
        raise VigieError(
            f"{file.filename}: a window takes whole runs of scans", found=window, expected=f"scans within 0..{size}"
        )
    return start, stop


def text(attribute: object) -> str:
    """Give an attribute as text: the PPS writes bytes, other tools text, some an array of one.

    Examples
    --------
    >>> text(b"nscan,nray"), text(np.array([b"K"])), text("K")
    ('nscan,nray', 'K', 'K')
    """
    value = attribute.ravel()[0] if isinstance(attribute, np.ndarray) and attribute.size else attribute
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def dimension_names(dataset: h5py.Dataset) -> tuple[str, ...]:
    """Name the dimensions of a data set as its attribute DimensionNames says; () where it has none."""
    said = text(dataset.attrs.get("DimensionNames", b""))
    return tuple(name.strip() for name in said.split(",") if name.strip())
