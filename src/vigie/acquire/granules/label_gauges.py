"""Rain rates of gauges, as labels for others: CF NetCDF of stations, and tables.

NetCDF   rain (station, time) or (time, station), lat (station), lon (station), time (time), as CF's orthogonal time series
table    CSV or Parquet, one row a measurement: station, time (UTC, the middle of the interval), lat, lon, rain_mm_h
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
from vigie.core.errors import VigieError
from vigie.core.label_field import LabelField, Latitudes, Period, within

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("station", "time", "lat", "lon", "rain_mm_h")


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
        """The table, by time.

        Raises
        ------
        VigieError: it cannot be read, lacks a column, or holds a station twice at one time.
        """
        table = _read(self.path)
        missing = [name for name in COLUMNS if name not in table]
        if missing:
            raise VigieError(
                f"{self.path.name} is no table of gauges",
                found=f"columns {', '.join(map(str, table.columns))}",
                expected=f"columns {', '.join(COLUMNS)}",
                do=f"name its columns so: {', '.join(missing)} lacks",
            )
        return _checked(self.path, table)

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
            latitude, longitude, rate = (gauges[name].to_numpy()[None, :] for name in COLUMNS[2:])
            time = gauges["time"].to_numpy()[:1].astype("datetime64[ns]")
            yield LabelField(latitude, longitude, rate.astype(np.float32), time)


def _read(path: Path) -> pd.DataFrame:
    """Read CSV or Parquet, whichever it is."""
    import pandas as pd

    with path.open("rb") as file:
        parquet = file.read(4) == b"PAR1"
    try:
        return pd.read_parquet(path) if parquet else pd.read_csv(path, dtype={"station": str})
    except (OSError, ValueError) as error:
        raise VigieError(f"{path} is no table of gauges", found=error, expected="CSV or Parquet", do="save it again") from error


def _checked(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    """Read times as UTC and refuse what would count twice, or is no rain."""
    import pandas as pd

    try:
        time = pd.to_datetime(table["time"], utc=True).dt.tz_localize(None).astype("datetime64[ns]")
        numbers = {name: pd.to_numeric(table[name]).astype(np.float64) for name in COLUMNS[2:]}
    except (ValueError, TypeError) as error:
        raise VigieError(f"{path.name}: a column cannot be read", found=error, expected="times and numbers") from error
    made = table.assign(time=time, **numbers).sort_values(["time", "station"], kind="stable", ignore_index=True)
    twice = made.duplicated(["station", "time"])
    if twice.any() or made["time"].isna().any() or (made["rain_mm_h"] < 0).any():
        found = "a station twice at one time" if twice.any() else "a time that is missing, or rain below zero"
        raise VigieError(f"{path.name} is no clean table of gauges", found=found, expected="one rate a station and time")
    return made
