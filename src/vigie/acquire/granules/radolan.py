"""Read RADOLAN rain of the German weather service (DWD): binary composites RW (an hour) and SF (a day), and ESRI ASCII grids.

Amounts are on the polar stereographic grid of the composite: 900 x 900 km at 1 km, a sphere of 6370.04 km, true at 60 N,
upright at 10 E. Stamps are the end of the interval. A binary file begins in the south, an ASCII grid in the north; here y
falls. Format: "RADOLAN/RADVOR: Beschreibung des Kompositformats", DWD, version 2.5.
"""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from xarray import Dataset

from vigie.acquire.files import read_text
from vigie.core.errors import VigieError
from vigie.core.vocabulary import named

CRS = "+proj=stere +lat_0=90 +lat_ts=60 +lon_0=10 +x_0=0 +y_0=0 +R=6370040 +units=m +no_defs"
SIZE = 900
CORNER_M = (-523_462.0, -4_658_645.0)
"""West and south edge of the grid."""
CELL_M = 1000.0
HEADER_END = b"\x03"
VALUE, NODATA, NEGATIVE, CLUTTER = 0x0FFF, 0x2000, 0x4000, 0x8000
"""Bits of a stored word; nodata must be masked before scaling: its value bits would read as rain."""
TENTH_MM = 0.1
ASCII_HOURS = 1.0
"""ASCII grids are delivered of RW, by the hour."""
_BINARY_HEADER = re.compile(
    r"^(?P<product>RW|SF)(?P<day>\d\d)(?P<hour>\d\d)(?P<minute>\d\d)\d{5}(?P<month>\d\d)(?P<year>\d\d)"
    r"BY *(?P<size>\d+).*?PR +E-(?P<precision>\d\d)INT *(?P<minutes>\d+).*?GP *(?P<rows>\d+)x *(?P<columns>\d+)"
)
_ASCII_NAME = re.compile(r"(\d{4})(\d\d)(\d\d)-(\d\d)(\d\d)\.asc$")


def grid() -> GeoBox:
    """Give the grid of the composite, north up.

    Examples
    --------
    >>> tuple(grid().shape), grid().transform.f
    ((900, 900), -3758645.0)
    """
    from affine import Affine

    north = CORNER_M[1] + SIZE * CELL_M
    return GeoBox((SIZE, SIZE), Affine(CELL_M, 0.0, CORNER_M[0], 0.0, -CELL_M, north), CRS)


def read_binary(path: Path) -> Dataset:
    """Read an RW or SF composite, compressed with gzip or not: `rainfall_amount` [mm] (y, x), NaN outside the radars' reach.

    Raises
    ------
    VigieError: it is no such composite, or is cut short.
    """
    head, body = _parts(path)
    found = _BINARY_HEADER.match(head)
    if found is None:
        raise VigieError(
            f"{path} is no RADOLAN composite that is known", found=repr(head[:40]), expected="a header of RW or SF"
        )
    shape = int(found["rows"]), int(found["columns"])
    if shape != (SIZE, SIZE) or found["precision"] != "01" or len(body) != 2 * SIZE * SIZE:
        raise VigieError(
            f"{path} is not a whole composite of {SIZE} x {SIZE} in tenths of mm",
            found=f"{shape[0]} x {shape[1]}, precision E-{found['precision']}, {len(body)} bytes",
            expected=f"{2 * SIZE * SIZE} bytes",
            do="download it again",
        )
    amount = amounts(np.frombuffer(body, dtype="<u2").reshape(shape))[::-1]
    end = np.datetime64(f"20{found['year']}-{found['month']}-{found['day']}T{found['hour']}:{found['minute']}", "ns")
    return _field(amount, end, int(found["minutes"]) / 60, f"RADOLAN {found['product']}")


def read_ascii(href: str) -> Dataset:
    """Read an ESRI ASCII grid of RW, on disk or inside an archive (`/vsitar/...`), as `read_binary` does.

    The time is in the file's name (`RW_20221018-0050.asc`), and NaT where that does not tell it.

    Raises
    ------
    VigieError: it is no such grid, is cut short, or lies elsewhere than the composite.
    """
    lines = read_text(href).splitlines()
    said = dict(line.split() for line in lines[:6] if len(line.split()) == 2)
    placed = (said.get("ncols"), said.get("nrows"), said.get("xllcorner"), said.get("yllcorner"), said.get("cellsize"))
    expected = (str(SIZE), str(SIZE), f"{CORNER_M[0]:.0f}", f"{CORNER_M[1]:.0f}", f"{CELL_M:.0f}")
    if placed != expected or "NODATA_value" not in said:
        raise VigieError(
            f"{href} is no RADOLAN grid", found=said or lines[:1], expected=f"ncols ... cellsize {' '.join(expected)}"
        )
    tenths = np.array(" ".join(lines[6:]).split(), dtype=np.float32)
    if tenths.size != SIZE * SIZE:
        raise VigieError(f"{href} is cut short", found=f"{tenths.size} values", expected=SIZE * SIZE, do="download it again")
    amount = np.where(tenths == float(said["NODATA_value"]), np.nan, tenths * TENTH_MM).astype(np.float32)
    return _field(amount.reshape(SIZE, SIZE), _stamp(href), ASCII_HOURS, "RADOLAN RW")


def amounts(words: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Decode stored words into mm, NaN where there is no data or clutter.

    Examples
    --------
    >>> amounts(np.array([0x0000, 0x000C, 0x29C4, 0x100A, 0x8005], np.uint16)).tolist()
    [0.0, 1.2000000..., nan, 1.0, nan]
    """
    value = (words & VALUE).astype(np.float32) * np.float32(TENTH_MM)
    signed = np.where(words & NEGATIVE, -value, value)
    return np.where(words & (NODATA | CLUTTER), np.float32("nan"), signed)


def _parts(path: Path) -> tuple[str, bytes]:
    if not path.is_file():
        raise VigieError(f"{path} does not exist", expected="a RADOLAN composite", do="check the path")
    raw = path.read_bytes()
    try:
        content = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except (OSError, EOFError) as error:
        raise VigieError(f"{path} is damaged", found=error, do="download it again") from error
    head, _, body = content.partition(HEADER_END)
    return head.decode("latin-1"), body


def _stamp(href: str) -> np.datetime64:
    found = _ASCII_NAME.search(href)
    return np.datetime64("{}-{}-{}T{}:{}".format(*found.groups()) if found else "NaT", "ns")


def _field(amount: NDArray[np.float32], end: np.datetime64, hours: float, product: str) -> Dataset:
    from odc.geo.xr import xr_coords

    coordinates = {**xr_coords(grid()), "time": ((), end)}
    made = Dataset({"rainfall_amount": (("y", "x"), np.ascontiguousarray(amount), dict(named("rainfall_amount").attributes))})
    return made.assign_coords(coordinates).assign_attrs(product=product, interval_hours=hours, label_source="radar")
