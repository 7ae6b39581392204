"""Daily maps into `cube.zarr`, one month of a file at a time, gaps filled with the day before; and back out again by day."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import Proj, Transformer

from vigie.core import store
from vigie.core.chunks import Chunks
from vigie.core.errors import VigieError
from vigie.core.grid import coordinates
from vigie.core.sea_ice import STATUS
from vigie.core.tiles import Tile, Window, tiles
from vigie.core.vocabulary import named

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

DAYS = 16
"""Days of a chunk, and of the tiles that are written."""
SIDE = 128
"""Cells of a chunk."""
QUANTITY = "sea_ice_area_fraction"
LOOK_BACK = 30
"""Maps before a tile that are read: a gap is filled with what was measured that many maps ago at most."""

ReadDays = Callable[[slice], xr.Dataset]
"""Reads some maps of all series, counted from the first: `QUANTITY` with NaN, and `status_flag` (time, y, x); it pickles."""


@dataclass(frozen=True)
class SeriesFill:
    """The work of one tile of days: read, fill gaps, write, count."""

    read: ReadDays
    times: tuple[str, ...]
    grid: GeoBox
    path: Path
    group: str

    def begin(self, attributes: dict[str, object]) -> None:
        """Make the node's template."""
        store.create(self.path, template(self.times, self.grid, attributes), {"time": DAYS, "y": SIDE, "x": SIDE}, self.group)

    def tiles(self) -> list[Tile]:
        """All tiles of the series, each with the days before that fill its gaps."""
        cut = tiles({"time": len(self.times)}, {"time": DAYS})
        return [
            Tile({"time": slice(max(0, one.keep["time"].start - LOOK_BACK), one.keep["time"].stop)}, one.keep) for one in cut
        ]

    def __call__(self, tile: Tile) -> dict[str, int]:
        """Write one tile; give how many cells carry each flag."""
        maps = self.read(tile.read["time"])
        values, status = filled(maps[QUANTITY].values, maps["status_flag"].values)
        inner = tile.inner["time"]
        values, status = values[inner], status[inner]
        dims = ("time", "y", "x")
        nothing = np.isnan(values)
        packed = named(QUANTITY).pack(np.where(nothing, 0.0, values))
        packed[nothing] = store.fill_value(packed.dtype)
        made = xr.Dataset({QUANTITY: (dims, packed), "status_flag": (dims, status)})
        counts = {name: int((status == code).sum()) for name, code in STATUS.items()}
        store.write(self.path, tile, made, self.group, counts)
        return counts


def filled(values: Floats, status: NDArray[np.uint8]) -> tuple[Floats, NDArray[np.uint8]]:
    """Fill what is missing with what was measured last, and say so in the flag; beyond `LOOK_BACK` maps it stays NaN.

    Examples
    --------
    >>> values, status = filled(np.array([[0.5], [np.nan]], np.float32), np.array([[0], [2]], np.uint8))
    >>> values[1, 0], int(status[1, 0]) == STATUS["filled"]
    (np.float32(0.5), True)
    """
    values, status = values.copy(), status.copy()
    age = np.where(np.isfinite(values[0]), 0, LOOK_BACK)
    for day in range(1, len(values)):
        age = np.where(np.isfinite(values[day]), 0, age + 1)
        gap = (status[day] == STATUS["missing"]) & np.isfinite(values[day - 1]) & (age <= LOOK_BACK)
        values[day][gap] = values[day - 1][gap]
        status[day][gap] = STATUS["filled"]
    return values, status


def template(times: Sequence[str], grid: GeoBox, attributes: dict[str, object]) -> xr.Dataset:
    """Make the empty node: grid, times, cell areas, latitudes and longitudes, and room for maps."""
    latitude, longitude, area = positions(grid)
    maps = ("y", "x")
    fields = {
        name: (maps, value, named(name).attributes)
        for name, value in (("latitude", latitude), ("longitude", longitude), ("cell_area", area))
    }
    when = np.array(times, dtype="datetime64[ns]")
    node = xr.Dataset(coords={"time": when, **coordinates(grid), **fields}, attrs=attributes)
    shape = (len(when), *map(int, grid.shape))
    node[QUANTITY] = named(QUANTITY).empty(("time", "y", "x"), shape)
    node["status_flag"] = store.empty(("time", "y", "x"), shape, "uint8", named("status_flag").attributes)
    node["status_flag"].encoding["fill_value"] = STATUS["missing"]
    node["status_flag"].attrs |= {
        "flag_values": np.array(list(STATUS.values()), dtype=np.uint8),
        "flag_meanings": " ".join(STATUS),
    }
    return node


def positions(grid: GeoBox) -> tuple[Floats, Floats, Floats]:
    """Latitudes and longitudes of cells, degrees, and their true areas, m2: a projection stretches them."""
    there = coordinates(grid)
    x, y = np.meshgrid(np.asarray(there["x"]), np.asarray(there["y"]))
    crs = grid.crs.proj
    longitude, latitude = Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True).transform(x, y)
    factors = Proj(crs).get_factors(longitude, latitude)
    area = abs(grid.resolution.x * grid.resolution.y) / factors.areal_scale
    return latitude.astype(np.float32), longitude.astype(np.float32), area.astype(np.float32)


@dataclass(frozen=True)
class SeriesReader:
    """Read the maps of a cube's node by day; it pickles as its path and group."""

    path: Path
    group: str

    @cached_property
    def dataset(self) -> xr.Dataset:
        """The whole node, nothing loaded but its coordinates."""
        if not (self.path / self.group / "zarr.json").is_file():
            raise VigieError(f"{self.path} has no node '{self.group}'", do="run the harmonize stage first")
        node: xr.Dataset = xr.open_zarr(self.path, group=self.group, consolidated=False, chunks=None, mask_and_scale=False)
        return node

    @cached_property
    def numbers(self) -> dict[np.datetime64, int]:
        """Where each day stands."""
        return {day: number for number, day in enumerate(self.dataset["time"].values.astype("datetime64[D]"))}

    @cached_property
    def days(self) -> list[np.datetime64]:
        """All days that have a map."""
        return list(self.numbers)

    def map(self, day: np.datetime64, window: Window) -> tuple[Floats, NDArray[np.uint8]] | None:
        """Read a day: values, NaN where there is none, and flags (y, x); None where there is no map of it."""
        number = self.numbers.get(day)
        if number is None:
            return None
        packed, flags = (chunks[number, window["y"], window["x"]] for chunks in self._chunks)
        values = packed.astype(np.float32) * np.float32(named(QUANTITY).step)
        values[packed == store.fill_value(packed.dtype)] = np.nan
        return values, flags

    @cached_property
    def _chunks(self) -> tuple[Chunks, Chunks]:
        import zarr

        group = zarr.open_group(self.path, path=self.group, mode="r")
        return Chunks(group[QUANTITY]), Chunks(group["status_flag"])

    def __getstate__(self) -> dict[str, object]:
        """Leave the open store behind."""
        return {"path": self.path, "group": self.group}
