"""A record: rain of one product as the protocol sees it, whatever files it comes from, read step by step.

rain (step, ...)                    mm h-1, NaN where unknown; `...` is pixel of swaths, place of series, y and x of grids
rain_quantile (quantile, step, ...) mm h-1, only of products with a distribution
rain_member (member, step, ...)     mm h-1, only of ensembles
temperature (step, ...)             degrees C, only where a file has it
latitude, longitude                 degrees; (step, pixel) of swaths, (place) of series, (y, x) of grids
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vigie.core.errors import VigieError

Geometry = Literal["swath", "grid", "places"]
Texts = NDArray[np.str_]

DAY_H = 24.0
MOST_GROUPS = 400
"""More days than this are resampled by the month, more months by the year."""
BLOCK_BYTES = 64 * 2**20
"""Rain that is held at once, as 64-bit numbers."""


@dataclass(frozen=True)
class Part:
    """One file of a record.

    `time` (step,) are its times, NaT or None where nobody knows; `group` (step,) the orbit or day of each; `sizes` the other
    dimensions of its rain; `centre` mean latitude and longitude of a swath; `read(steps)` gives the data of some steps.
    """

    name: str
    time: NDArray[Any]
    group: Texts
    sizes: dict[str, int]
    read: Callable[[slice], xr.Dataset]
    centre: tuple[float, float] = (np.nan, np.nan)

    @cached_property
    def stamps(self) -> Texts:
        """Date and minute of each step, '' where no time is known."""
        return stamps_of(self.time)

    def keys(self, daily: bool) -> Texts:
        """What tells each step apart: the date of daily records, else date and minute."""
        return self.stamps.astype("U10") if daily else self.stamps


@dataclass(frozen=True)
class Record:
    """All files of a product or of the reference, in the order of their times.

    `place` holds `latitude` and `longitude` (and `name`) of places, or of the cells of a grid with its axes `y` and `x`; it is
    empty of swaths. `step_h` are the hours that a step stands for, NaN where it is an instant. `layers` is how many fields lie
    over each other: quantiles or members; `temperature` is what the page calls its temperature, '' where it has none.
    """

    name: str
    geometry: Geometry
    parts: tuple[Part, ...]
    step_h: float
    place: xr.Dataset = field(default_factory=xr.Dataset)
    layers: int = 1
    temperature: str = ""
    cell_km: float = np.nan
    notes: tuple[str, ...] = ()

    @property
    def daily(self) -> bool:
        """Whether a step is a day."""
        return abs(self.step_h - DAY_H) < 1e-6

    @property
    def keys(self) -> Texts:
        """What tells each step apart: the date of daily records, else date and minute; '' where no time is known."""
        return np.concatenate([part.keys(self.daily) for part in self.parts])

    @property
    def years(self) -> float:
        """How long the record lasts, gaps included, in years of 365.25 days."""
        known = sorted(key[:10] for key in self.keys if key)
        return (_ordinal(known[-1]) - _ordinal(known[0]) + 1) / 365.25 if known else 0.0


def stamps_of(time: NDArray[Any]) -> Texts:
    """Write times as text, to the minute; those of calendars without leap days as they are, '' for NaT.

    Examples
    --------
    >>> stamps_of(np.array(["2000-01-01T12:00", "NaT"], "datetime64[ns]")).tolist()
    ['2000-01-01T12:00', '']
    """
    if np.issubdtype(time.dtype, np.datetime64):
        written = np.datetime_as_string(time.astype("datetime64[m]"))
        return np.where(written == "NaT", "", written)
    return np.array([f"{t.year:04d}-{t.month:02d}-{t.day:02d}T{t.hour:02d}:{t.minute:02d}" for t in time], dtype=np.str_)


def days_of(stamps: Texts) -> Texts:
    """Take the dates of stamps.

    Examples
    --------
    >>> days_of(np.array(["2000-01-01T12:00", ""])).tolist()
    ['2000-01-01', '']
    """
    return stamps.astype("U10")


def groups_of(keys: Texts) -> tuple[Texts, str]:
    """Group steps by day, by month where there are too many days, then by year; say which.

    Examples
    --------
    >>> groups_of(np.array(["2000-01-01T00:30", "2000-01-01T01:00"]))
    (array(['2000-01-01', '2000-01-01'], dtype='<U10'), 'days')
    """
    for length, unit in ((10, "days"), (7, "months")):
        groups = keys.astype(f"U{length}")
        if len(np.unique(groups)) <= MOST_GROUPS:
            return groups, unit
    return keys.astype("U4"), "years"


def step_length_h(stamps: Iterable[Texts], given_h: float, name: str) -> float:
    """Find the hours of a step: given, or the one distance of times.

    Raises
    ------
    VigieError: the times do not tell it.
    """
    if given_h:
        return given_h
    # Calendars of 360 days have days that others lack.
    real = [
        stamp for stamp in np.unique(np.concatenate(list(stamps))).tolist() if stamp and stamp[5:10] not in ("02-29", "02-30")
    ]
    gaps = np.diff(np.array(real, dtype="datetime64[m]")).astype(np.float64) / 60
    if gaps.size == 0:
        raise VigieError(
            f"'{name}' has one time only, which does not tell how long a step is", do="give it, in hours: step_h = 24"
        )
    return float(np.median(gaps))


def refuse_twice(parts: Sequence[Part], daily: bool, name: str) -> None:
    """Refuse parts that hold a time twice.

    Raises
    ------
    VigieError: see above.
    """
    where: dict[str, str] = {}
    for part in parts:
        for key in map(str, part.keys(daily)):
            if key and key in where:
                raise VigieError(
                    f"a time of '{name}' is there twice",
                    found=f"{key} in {' and '.join(dict.fromkeys((where[key], part.name)))}",
                    expected="each time once",
                    do="leave one out",
                )
            where[key] = part.name


def blocks(part: Part, layers: int) -> list[slice]:
    """Cut the steps of a part into slices that fit in memory.

    Examples
    --------
    >>> days = np.array(["2000-01-01"] * 3, "datetime64[ns]")
    >>> part = Part("a", days, np.array([""] * 3), {"y": 4096, "x": 1024}, lambda steps: xr.Dataset())
    >>> blocks(part, layers=1)
    [slice(0, 2, None), slice(2, 3, None)]
    """
    steps = steps_at_once(part.sizes.values(), layers)
    return [slice(start, min(start + steps, part.time.size)) for start in range(0, part.time.size, steps)]


def steps_at_once(sizes: Iterable[int], layers: int) -> int:
    """How many steps of fields of these sizes, so many over each other, are held at once."""
    return max(1, BLOCK_BYTES // (8 * max(1, int(np.prod(list(sizes)))) * max(1, layers)))


def joined(names: Sequence[str], most: int = 3) -> str:
    """Name some things, and how many others there are.

    Examples
    --------
    >>> joined(["a", "b", "c", "d"])
    'a, b, c and 1 more'
    """
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _ordinal(date: str) -> int:
    year, month, day = (int(part) for part in date.split("-"))
    return pd.Timestamp(year, month, min(day, 28)).toordinal() + day - min(day, 28)
