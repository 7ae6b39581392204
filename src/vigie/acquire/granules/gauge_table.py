"""Tables of gauges, CSV or Parquet, one row a measurement: the one layout of labels, products and references.

station      name
time         UTC, the middle of the interval
lat, lon     degrees; empty where nobody knows
rain_mm_h    mean rate of the interval; or rain_mm_day instead, the amount of days. Empty where nothing was measured
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vigie.core.errors import VigieError

if TYPE_CHECKING:
    import pandas as pd

PLACE_AND_TIME = ("station", "time", "lat", "lon")
RATES_MM_H = {"rain_mm_h": 1.0, "rain_mm_day": 1 / 24}
"""Columns of rain, and what turns them into mm h-1; a table has one of them."""


def read_gauges(path: Path) -> pd.DataFrame:
    """Read a table of gauges: `station`, `time` (UTC), `lat`, `lon` and `rain_mm_h`, by time and station.

    Raises
    ------
    VigieError: it cannot be read, lacks a column, or holds a station twice at one time, or what is no rain.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "gauges.csv"
    ...     _ = path.write_text("station,time,lat,lon,rain_mm_day\\nA,2020-01-01T12:00,50,8,12\\n")
    ...     read_gauges(path)["rain_mm_h"].tolist()
    [0.5]
    """
    table = _read(path)
    rates = [name for name in RATES_MM_H if name in table]
    missing = [name for name in PLACE_AND_TIME if name not in table]
    if missing or len(rates) != 1:
        names = list(map(str, table.columns))
        wide = "time" in table and "station" in missing
        raise VigieError(
            f"{path.name} is no table of gauges",
            found=f"columns {', '.join(names[:8])}{' ...' if len(names) > 8 else ''}",
            expected=f"columns {', '.join(PLACE_AND_TIME)}, {' or '.join(RATES_MM_H)}",
            do="write one row a measurement, as pandas' table.melt('time', var_name='station', value_name='rain_mm_h') does, "
            "and add lat and lon"
            if wide
            else "name its columns so",
        )
    return _checked(path, table, rates[0])


def _read(path: Path) -> pd.DataFrame:
    """Read CSV or Parquet, whichever it is."""
    import pandas as pd

    with path.open("rb") as file:
        parquet = file.read(4) == b"PAR1"
    try:
        return pd.read_parquet(path) if parquet else pd.read_csv(path, dtype={"station": str})
    except (OSError, ValueError) as error:
        raise VigieError(f"{path} is no table of gauges", found=error, expected="CSV or Parquet", do="save it again") from error


def _checked(path: Path, table: pd.DataFrame, rate: str) -> pd.DataFrame:
    """Read times as UTC and rain as mm h-1, and refuse what would count twice, or is no rain."""
    import pandas as pd

    try:
        time = pd.to_datetime(table["time"], utc=True).dt.tz_localize(None).astype("datetime64[ns]")
        numbers = {name: pd.to_numeric(table[name]).astype(np.float64) for name in ("lat", "lon", rate)}
    except (ValueError, TypeError) as error:
        raise VigieError(f"{path.name}: a column cannot be read", found=error, expected="times and numbers") from error
    rain = numbers.pop(rate) * RATES_MM_H[rate]
    made = pd.DataFrame({"station": table["station"].astype(str), "time": time, **numbers, "rain_mm_h": rain})
    made = made.sort_values(["time", "station"], kind="stable", ignore_index=True)
    twice = made.duplicated(["station", "time"])
    if twice.any() or made["time"].isna().any() or (made["rain_mm_h"] < 0).any():
        found = "a station twice at one time" if twice.any() else "a time that is missing, or rain below zero"
        raise VigieError(f"{path.name} is no clean table of gauges", found=found, expected="one rate a station and time")
    return made
