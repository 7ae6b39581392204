"""What is usual: the climatology of every day of the year over the training, with and without each of its years."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.core import store
from vigie.core.chunks import Chunks
from vigie.core.errors import VigieError
from vigie.core.sea_ice import EDGE, STATUS
from vigie.core.tiles import Tile, Window, tiles
from vigie.core.vocabulary import named
from vigie.harmonize.series import QUANTITY, SIDE, SeriesReader

Floats = NDArray[np.float32]

YEAR_DAYS = 365
HALF_WINDOW_DAYS = 7
"""Days of the year before and after that are averaged with each."""
CHUNK_DAYS = 16
ALL = "all"
"""Name of the climatology of all years."""
NOT_SEA = tuple(STATUS[name] for name in ("pole_hole", "coast", "land"))


def day_of_year(day: np.datetime64) -> int:
    """Count the day of the year from 0; the 366th counts as the 365th.

    Examples
    --------
    >>> day_of_year(np.datetime64("2015-01-01")), day_of_year(np.datetime64("2016-12-31"))
    (0, 364)
    """
    return min(int((day - day.astype("datetime64[Y]")).astype(int)), YEAR_DAYS - 1)


def year_of(day: np.datetime64) -> int:
    """Tell the year of a day.

    Examples
    --------
    >>> year_of(np.datetime64("2016-12-31"))
    2016
    """
    return int(day.astype("datetime64[Y]").astype(int)) + 1970


def write_usual(reader: SeriesReader, days: Sequence[np.datetime64], path: Path) -> None:
    """Average the days of a training by day of the year, year by year and over all years, tile by tile.

    Raises
    ------
    VigieError: the days are of one year alone: what it is held against would hold it.
    """
    years = sorted({year_of(day) for day in days})
    if len(years) < 2:
        raise VigieError(
            "a climatology without the year that is learnt from needs another year",
            found=f"days of {years[0]} alone",
            expected="train.periods in two years or more",
            do="lengthen train.periods",
        )
    names = [*map(str, years), ALL]
    size = reader.dataset.sizes["y"], reader.dataset.sizes["x"]
    node = xr.Dataset(coords={"source": names, "day": np.arange(1, YEAR_DAYS + 1)})
    node["mean"] = named(QUANTITY).empty(("source", "day", "y", "x"), (len(names), YEAR_DAYS, *size))
    for name in ("sea", "scored"):
        node[name] = store.empty(("y", "x"), size, "uint8", {"long_name": f"cells that are {name}"})
    store.create(path, node, {"source": 1, "day": CHUNK_DAYS, "y": SIDE, "x": SIDE})
    for tile in tiles({"y": size[0], "x": size[1]}, {"y": SIDE, "x": SIDE}):
        store.write(path, tile, of_tile(reader, days, years, tile))


def of_tile(reader: SeriesReader, days: Sequence[np.datetime64], years: Sequence[int], tile: Tile) -> xr.Dataset:
    """Average one tile, a year at a time: memory holds the maps of one."""
    total: Floats | float = 0.0
    count: NDArray[np.int64] | int = 0
    means = []
    size = tuple(part.stop - part.start for part in tile.keep.values())
    sea, reached = np.ones(size, dtype=bool), np.zeros(size, dtype=bool)
    for year in years:
        mine = [day for day in days if year_of(day) == year]
        loaded = [reader.map(day, tile.keep) for day in mine]
        maps = [one for one in loaded if one is not None]
        values, flags = np.stack([one[0] for one in maps]), np.stack([one[1] for one in maps])
        sea = sea & ~np.isin(flags, NOT_SEA).any(axis=0)
        reached = reached | ((flags == STATUS["measured"]) & (np.nan_to_num(values) >= EDGE)).any(axis=0)
        sums, maps_in = windowed(np.nan_to_num(values), np.array([day_of_year(day) for day in mine]))
        means.append(sums / np.maximum(maps_in, 1)[:, None, None])
        total, count = total + sums, count + maps_in
    means.append(np.asarray(total) / np.maximum(count, 1)[:, None, None])
    packed = named(QUANTITY).pack(np.stack(means))
    return xr.Dataset(
        {
            "mean": (("source", "day", "y", "x"), packed),
            "sea": (("y", "x"), sea.astype(np.uint8)),
            "scored": (("y", "x"), (sea & reached).astype(np.uint8)),
        }
    )


def windowed(values: Floats, numbers: NDArray[np.int64]) -> tuple[Floats, NDArray[np.int64]]:
    """Sum maps (n, y, x) over days of the year around each: (365, y, x), and how many they are; the year closes on itself.

    Examples
    --------
    >>> sums, count = windowed(np.ones((2, 1, 1), np.float32), np.array([0, 364]))
    >>> sums[[0, 7, 8, 358], 0, 0], int(count[0])
    (array([2., 1., 0., 2.]), 2)
    """
    daily = np.zeros((YEAR_DAYS, *values.shape[1:]))
    np.add.at(daily, numbers, values)
    there = np.bincount(numbers, minlength=YEAR_DAYS)
    half = HALF_WINDOW_DAYS
    beyond = np.concatenate([daily[-half:], daily, daily[:half]]).cumsum(axis=0)
    sums = beyond[2 * half :].copy()
    sums[1:] -= beyond[: YEAR_DAYS - 1]
    around = np.concatenate([there[-half:], there, there[:half]])
    return sums, np.convolve(around, np.ones(2 * half + 1, dtype=np.int64), mode="valid")


@dataclass(frozen=True)
class Maps:
    """Maps by day with what is usual: `vigie.learn.forecast.samples.DailyMaps`; it pickles."""

    reader: SeriesReader
    path: Path

    @cached_property
    def _usual(self) -> xr.Dataset:
        opened: xr.Dataset = xr.open_zarr(self.path, consolidated=False, chunks=None, mask_and_scale=False)
        return opened

    @cached_property
    def _means(self) -> Chunks:
        import zarr

        return Chunks(zarr.open_group(self.path, mode="r")["mean"])

    @cached_property
    def _cells(self) -> dict[str, NDArray[np.bool_]]:
        return {name: self._usual[name].values.astype(bool) for name in ("sea", "scored")}

    @cached_property
    def _sources(self) -> dict[str, int]:
        return {str(name): number for number, name in enumerate(self._usual["source"].values)}

    def state(self, day: np.datetime64, window: Window) -> Floats | None:
        """Read the map of a day, where there is none of a cell what is usual, 0 on land."""
        found = self.reader.map(day, window)
        if found is None:
            return None
        values, _ = found
        gaps = ~np.isfinite(values) & self.sea(window)
        if gaps.any():
            values[gaps] = self.usual(day, window, None)[gaps]
        return np.where(self.sea(window), values, np.float32(0.0))

    def measured(self, day: np.datetime64, window: Window) -> Floats | None:
        """Read what was measured on a day, NaN elsewhere."""
        found = self.reader.map(day, window)
        return None if found is None else np.where(found[1] == STATUS["measured"], found[0], np.float32("nan"))

    def usual(self, day: np.datetime64, window: Window, unlike: int | None) -> Floats:
        """Read the climatology of a day of the year: of all years, or of all but one."""
        number = day_of_year(day)
        if unlike is None or str(unlike) not in self._sources:
            return self._mean(ALL, number, window)
        others = [name for name in self._sources if name not in (ALL, str(unlike))]
        mean: Floats = np.mean([self._mean(name, number, window) for name in others], axis=0, dtype=np.float32)
        return mean

    def _mean(self, source: str, number: int, window: Window) -> Floats:
        packed = self._means[self._sources[source], number, window["y"], window["x"]]
        values: Floats = packed.astype(np.float32) * np.float32(named(QUANTITY).step)
        return values

    def sea(self, window: Window) -> NDArray[np.bool_]:
        """Where there is sea that is not in the pole hole."""
        return self._cells["sea"][window["y"], window["x"]]

    def scored(self, window: Window) -> NDArray[np.bool_]:
        """Where ice was seen in the training."""
        return self._cells["scored"][window["y"], window["x"]]

    def __getstate__(self) -> dict[str, object]:
        """Leave the open stores behind."""
        return {"reader": self.reader, "path": self.path}
