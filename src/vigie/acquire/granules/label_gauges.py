"""Rain rates of gauges, as labels for others: CF NetCDF of stations, and tables.

NetCDF   rain (station, time) or (time, station), lat (station), lon (station), time (time), as CF's orthogonal time series
table    CSV or Parquet, see `vigie.acquire.granules.gauge_table`
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vigie.acquire.granules.cf_rain import CfRain
from vigie.acquire.granules.colocate import Positions
from vigie.acquire.granules.gauge_table import read_gauges
from vigie.core.label_field import LabelField, Latitudes, Period, within

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Stations:
    """Gauges of a NetCDF file."""

    rain: CfRain

    told = ""

    @property
    def times(self) -> NDArray[np.datetime64]:
        """Middle of what each step holds."""
        return self.rain.times

    def positions(self) -> Positions:
        """Give latitude and longitude of the gauges."""
        return self.rain.latitude[None, :], self.rain.longitude[None, :]

    def fields(self, period: Period, latitudes: Latitudes) -> Iterator[LabelField]:
        """Read the steps of the period one by one: each is one row of gauges."""
        steps = within(self.times, period)
        for step, rate in zip(steps, self.rain.rates(steps), strict=True):
            yield LabelField(*self.positions(), rate[None, :], self.times[step : step + 1])


@dataclass(frozen=True)
class StationTable:
    """Gauges of a table; it is read whole once."""

    path: Path

    told = ""

    @cached_property
    def rows(self) -> pd.DataFrame:
        """The table, by time; see `read_gauges`."""
        return read_gauges(self.path)

    @cached_property
    def times(self) -> NDArray[np.datetime64]:
        """Every time at which a gauge measured."""
        return np.asarray(np.unique(self.rows["time"].to_numpy()), dtype="datetime64[ns]")

    def positions(self) -> Positions:
        """Give latitude and longitude of the gauges."""
        places = self.rows.drop_duplicates(["lat", "lon"])
        return places["lat"].to_numpy()[None, :], places["lon"].to_numpy()[None, :]

    def fields(self, period: Period, latitudes: Latitudes) -> Iterator[LabelField]:
        """Give the gauges that measured at each time of the period: each time is one row of them."""
        inside = self.rows["time"].between(*period)
        for _, gauges in self.rows[inside].groupby("time"):
            latitude, longitude, rate = (gauges[name].to_numpy()[None, :] for name in ("lat", "lon", "rain_mm_h"))
            time = gauges["time"].to_numpy()[:1].astype("datetime64[ns]")
            yield LabelField(latitude, longitude, rate.astype(np.float32), time)
