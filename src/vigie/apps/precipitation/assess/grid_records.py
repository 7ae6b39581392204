"""Grids with readers of their own as records: IMERG and RADOLAN, one file a step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import xarray as xr
from odc.geo.xr import xr_coords

from vigie.acquire.files import list_files
from vigie.acquire.granules import imerg, radolan
from vigie.apps.precipitation.assess.record import Part, Record, days_of, stamps_of
from vigie.apps.precipitation.assess.settings import RecordSettings
from vigie.apps.precipitation.assess.swath_records import EARTH_KM_DEG
from vigie.core.errors import VigieError

IMERG_H = 0.5
Reader = Callable[[], xr.Dataset]
"""Reads one file."""


def imerg_record(paths: Sequence[Path], settings: RecordSettings) -> Record:
    """Open half-hourly IMERG granules.

    Raises
    ------
    VigieError: a file is no such granule, or grids differ.
    """
    return _record({path.name: partial(_read_imerg, path) for path in paths}, settings.name)


def radolan_record(paths: Sequence[Path], settings: RecordSettings) -> Record:
    """Open RADOLAN composites, binary or ASCII, on disk or inside an archive, all of one interval.

    Raises
    ------
    VigieError: a file is no such composite, none is in the archive, or intervals differ.
    """
    latitude, longitude = on_the_sphere(xr.Dataset(coords=xr_coords(radolan.grid())))
    place = xr.Dataset({"latitude": (("y", "x"), latitude), "longitude": (("y", "x"), longitude)})
    readers: dict[str, Reader] = {}
    for path in paths:
        hrefs = [href for href in list_files(path) if href.endswith(".asc")]
        readers |= {href.rsplit("/", 1)[-1]: partial(_read_radolan, partial(radolan.read_ascii, href), place) for href in hrefs}
        if not hrefs:
            readers[path.name] = partial(_read_radolan, partial(radolan.read_binary, path), place)
    return _record(readers, settings.name)


def on_the_sphere(grid: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Give latitude and longitude (y, x) of the cells of a grid with a CRS."""
    import odc.geo.xr  # noqa: F401  (gives datasets the accessor `odc`)
    from pyproj import Transformer

    back = Transformer.from_crs(str(grid.odc.crs), _geographic(str(grid.odc.crs)), always_xy=True)
    longitude, latitude = back.transform(*np.meshgrid(grid["x"].values, grid["y"].values))
    return latitude, longitude


def _geographic(crs: str) -> str:
    from pyproj import CRS

    geographic = CRS.from_user_input(crs).geodetic_crs
    return geographic.to_wkt() if geographic else "EPSG:4326"


def _record(readers: Mapping[str, Reader], name: str) -> Record:
    """Look at every file once."""
    parts, looks = [], []
    for file, read in readers.items():
        seen = read()
        looks.append((seen.sizes["y"], seen.sizes["x"], seen.attrs["step_h"]))
        if looks[-1] != looks[0]:
            raise VigieError(f"grids of '{name}' differ", found=f"{looks[-1]} in {file}", expected=f"(y, x, hours) {looks[0]}")
        sizes = {"y": seen.sizes["y"], "x": seen.sizes["x"]}
        parts.append(Part(file, seen["time"].values, days_of(stamps_of(seen["time"].values)), sizes, partial(_some, read)))
    parts.sort(key=lambda part: str(part.time[0]))
    place = seen[["latitude", "longitude"]].drop_vars("time", errors="ignore")
    return Record(name, "grid", tuple(parts), float(seen.attrs["step_h"]), place, cell_km=float(seen.attrs["cell_km"]))


def _some(read: Reader, steps: slice) -> xr.Dataset:
    return read().isel(step=steps)


def _read_imerg(path: Path) -> xr.Dataset:
    found = imerg.read(path)
    latitude, longitude = np.meshgrid(found["latitude"].values, found["longitude"].values, indexing="ij")
    cell_deg = float(np.median(np.abs(np.diff(found["latitude"].values))))
    return xr.Dataset(
        {"rain": (("step", "y", "x"), found["rainfall_rate"].values.astype(np.float64))},
        {
            "time": ("step", found["time"].values),
            "y": found["latitude"].values.astype(np.float64),
            "x": found["longitude"].values.astype(np.float64),
            "latitude": (("y", "x"), latitude),
            "longitude": (("y", "x"), longitude),
        },
        {"cell_km": cell_deg * EARTH_KM_DEG, "step_h": IMERG_H},
    )


def _read_radolan(read: Reader, place: xr.Dataset) -> xr.Dataset:
    found = read()
    hours = float(found.attrs["interval_hours"])
    rate = found["rainfall_amount"].values.astype(np.float64) / hours
    coords = {"time": ("step", np.atleast_1d(found["time"].values)), "y": found["y"].values, "x": found["x"].values}
    made = xr.Dataset({"rain": (("step", "y", "x"), rate[None])}, coords, {"cell_km": radolan.CELL_M / 1000, "step_h": hours})
    return made.assign_coords(place.data_vars)
