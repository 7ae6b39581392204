"""Tables of gauges as records."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from vigie.acquire.granules.gauge_table import read_gauges
from vigie.apps.precipitation.assess.record import DAY_H, Part, Record, days_of, joined, refuse_twice, stamps_of, step_length_h
from vigie.apps.precipitation.assess.settings import RecordSettings
from vigie.core.errors import VigieError


def gauge_record(paths: Sequence[Path], settings: RecordSettings) -> Record:
    """Open tables of gauges, together; a station that measured nothing at a time is NaN there.

    Raises
    ------
    VigieError: one is no such table, a unit is given beside that of the column, or a station has two positions, or is there
        twice at one time.
    """
    if settings.units:
        raise VigieError(
            f"'{settings.name}' is given a unit, which columns of gauges have in their name",
            found=f"units = '{settings.units}'",
            expected="rain_mm_h or rain_mm_day",
            do="leave units out",
        )
    rows = pd.concat([read_gauges(path) for path in paths])
    place = _places(rows, settings.name)
    twice = rows.duplicated(["station", "time"])
    if twice.any():
        station, time = rows.loc[twice, ["station", "time"]].iloc[0]
        raise VigieError(
            f"a station of '{settings.name}' is there twice at one time", found=f"{station}, {time}", do="leave one table out"
        )
    part = _part(joined([path.name for path in paths]), rows, place["station"])
    step_h = step_length_h([part.stamps], settings.step_h, settings.name)
    refuse_twice([part], abs(step_h - DAY_H) < 1e-6, settings.name)
    names = {"latitude": "lat", "longitude": "lon", "name": "station"}
    where = xr.Dataset({ours: ("place", np.array(place[theirs].tolist())) for ours, theirs in names.items()})
    notes = (f"{len(paths)} tables of gauges make one record.",) if len(paths) > 1 else ()
    return Record(settings.name, "places", (part,), step_h, where, notes=notes)


def _places(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    place = rows[["station", "lat", "lon"]].drop_duplicates().sort_values("station", ignore_index=True)
    twice = place["station"].duplicated()
    if twice.any():
        raise VigieError(
            f"a station of '{name}' has two positions",
            found=place["station"][twice].iloc[0],
            expected="one",
            do="name its places apart",
        )
    return place


def _part(name: str, rows: pd.DataFrame, stations: pd.Series[str]) -> Part:
    wide = rows.pivot(index="time", columns="station", values="rain_mm_h").reindex(columns=stations)
    rain = xr.Dataset({"rain": (("step", "place"), wide.to_numpy(np.float64))})
    time = wide.index.to_numpy()
    return Part(name, time, days_of(stamps_of(time)), {"place": len(stations)}, partial(_cut, rain))


def _cut(data: xr.Dataset, steps: slice) -> xr.Dataset:
    return data.isel(step=steps)
