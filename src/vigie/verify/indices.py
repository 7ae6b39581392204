"""Indices of daily rain by year, as the Expert Team on Climate Change Detection and Indices (ETCCDI) defines them.

A day is wet with 1 mm or more (Zhang et al. 2011, WIREs Clim. Change 2, 851).
"""

# Why not xclim: these eleven indices are a few lines of xarray each, and a user would pay for xclim with numba, a gigabyte and
# seven seconds of import. R95p and R99p as amounts are not among its indices. It stays the oracle of the tests, with calendars.

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.core.errors import VigieError
from vigie.core.rain_units import mm_per_day

WET_MM = 1.0
ROUNDING = 1e-6
"""Share of a limit by which a day may miss it: 1 mm day-1, stored as float32 in mm s-1, comes back as 0.99999998."""
MISSING_DAYS = 15
"""A year that lacks more days has no indices (ETCCDI's rule)."""
LOWEST_MM = -0.01
"""Rain below zero down to this is rounding of packed files and becomes 0; anything lower is refused."""

UNITS = {
    "wet_fraction": ("1", "share of days that are wet"),
    "sdii": ("mm day-1", "mean rain of wet days"),
    "prcptot": ("mm", "rain of wet days"),
    "rx1day": ("mm", "highest rain of a day"),
    "rx5day": ("mm", "highest rain of five days that end in the year"),
    "r10mm": ("days", "days of 10 mm or more"),
    "r20mm": ("days", "days of 20 mm or more"),
    "r95p": ("mm", "rain of days above the 95th percentile of the base's wet days"),
    "r99p": ("mm", "rain of days above the 99th percentile of the base's wet days"),
    "cdd": ("days", "longest dry spell within the year"),
    "cwd": ("days", "longest wet spell within the year"),
}


def daily_amounts(pr: xr.DataArray, units: str = "") -> xr.DataArray:
    """Convert daily rain to mm day-1, through its attribute `units` or, where it has none, the unit given.

    Parameters
    ----------
    pr: rain with a dimension `time` of consecutive days, in any calendar; missing days are NaN.
    units: of a file that does not say, for instance "inch".

    Raises
    ------
    VigieError: the unit is missing, unknown or said twice; days are not consecutive; rain is negative.

    Examples
    --------
    >>> days = np.arange("2000-01-01", "2000-01-03", dtype="datetime64[D]").astype("datetime64[ns]")
    >>> pr = xr.DataArray([1e-4, -1e-10], dims="time", coords={"time": days}, attrs={"units": "kg m-2 s-1"})
    >>> daily_amounts(pr).values.round(6).tolist()
    [8.64, 0.0]
    """
    factor = mm_per_day(str(pr.name or "rain"), str(pr.attrs.get("units", "")), units)
    if "time" not in pr.indexes or "time" not in pr.dims:
        raise VigieError("daily rain needs a coordinate 'time'", found=sorted(map(str, pr.coords)))
    time = pr.indexes["time"]
    steps = np.diff(time.to_numpy()).astype("timedelta64[s]")
    wrong = np.flatnonzero(steps != np.timedelta64(1, "D"))
    if wrong.size:
        raise VigieError(
            "rain is not daily",
            found=f"a step of {steps[wrong[0]].item()} after {time[wrong[0]]}",
            expected="consecutive days",
            do="sum finer steps to days, and fill missing days with NaN (xarray: .resample(time='D').asfreq())",
        )
    amounts = pr.astype(np.float64) * factor
    if bool((amounts < LOWEST_MM).any()):
        raise VigieError(
            "rain is negative", found=f"{float(amounts.min()):g} mm day-1", expected="0 or more", do="turn fill values into NaN"
        )
    return amounts.clip(min=0.0).assign_attrs(units="mm day-1")


def etccdi(pr: xr.DataArray, base: tuple[int, int], units: str = "") -> xr.Dataset:
    """Compute the indices by year: `wet_fraction`, SDII, PRCPTOT, Rx1day, Rx5day, R10mm, R20mm, R95p, R99p, CDD, CWD.

    Places are independent of each other, so a large grid may be cut in space. Spells do not go on over the turn of the year,
    and an unknown day ends one.

    Parameters
    ----------
    pr: daily rain (time, ...), see `daily_amounts`.
    base: first and last year of which wet days' percentiles are taken (linear between order statistics), for instance 1961 and
        1990; products that are compared need the same.
    units: of rain that does not say its own.

    Returns
    -------
    (year, ...), NaN in years that lack more than 15 days; SDII also where no day is wet, R95p and R99p where no day of the base
    is.

    Raises
    ------
    VigieError: see `daily_amounts`; no year of the base is there.

    Examples
    --------
    >>> days = np.arange("2001-01-01", "2002-01-01", dtype="datetime64[D]").astype("datetime64[ns]")
    >>> pr = xr.DataArray(np.tile([0, 0, 0, 2, 12], 73), dims="time", coords={"time": days}, attrs={"units": "mm day-1"})
    >>> found = etccdi(pr, base=(2001, 2001))
    >>> [float(found[name][0]) for name in ("wet_fraction", "sdii", "rx5day", "r10mm", "cdd", "cwd")]
    [0.4, 7.0, 14.0, 73.0, 3.0, 2.0]
    """
    rain = daily_amounts(pr, units)
    is_wet = _reaches(rain, WET_MM)
    is_dry = rain.notnull() & ~is_wet
    wet = rain.where(is_wet)
    wet_days = is_wet.groupby("time.year").sum("time")
    total = wet.groupby("time.year").sum("time")
    days = rain.notnull().groupby("time.year").sum("time")
    above = {name: _above_percentile(wet, base, share) for name, share in (("r95p", 0.95), ("r99p", 0.99))}
    found = {
        "wet_fraction": wet_days / days.where(days > 0),
        "sdii": total / wet_days.where(wet_days > 0),
        "prcptot": total,
        "rx1day": rain.groupby("time.year").max("time"),
        "rx5day": rain.rolling(time=5).sum().groupby("time.year").max("time"),
        "r10mm": _reaches(rain, 10).groupby("time.year").sum("time"),
        "r20mm": _reaches(rain, 20).groupby("time.year").sum("time"),
        **above,
        "cdd": is_dry.groupby("time.year").reduce(longest_run, dim="time"),
        "cwd": is_wet.groupby("time.year").reduce(longest_run, dim="time"),
    }
    complete = _days_in_year(rain) - days <= MISSING_DAYS
    indices = xr.Dataset({name: index.where(complete) for name, index in found.items()})
    for name, (unit, title) in UNITS.items():
        indices[name].attrs = {"units": unit, "long_name": title}
    return indices.assign_attrs(base=f"{base[0]}-{base[1]}", calendar=str(rain["time"].dt.calendar))


def longest_run(mask: NDArray[np.bool_], axis: int, **_: Any) -> NDArray[np.int64]:
    """Count the longest run of true values along an axis.

    Examples
    --------
    >>> int(longest_run(np.array([True, False, True, True, False]), axis=0))
    2
    """
    count = np.cumsum(mask, axis=axis)
    before: NDArray[np.int64] = np.maximum.accumulate(np.where(mask, 0, count), axis)
    longest: NDArray[np.int64] = (count - before).max(axis=axis)
    return longest


def _reaches(rain: xr.DataArray, limit_mm: float) -> xr.DataArray:
    return rain >= limit_mm * (1 - ROUNDING)


def _days_in_year(rain: xr.DataArray) -> xr.DataArray:
    """How many days each year has in the calendar, also where the record begins or ends within it."""
    first = rain["time"].dt.days_in_year.groupby("time.year").first()
    return first.drop_vars("time", errors="ignore")


def _above_percentile(wet: xr.DataArray, base: tuple[int, int], share: float) -> xr.DataArray:
    """Rain by year of days above a percentile of the base's wet days."""
    year = wet["time"].dt.year.values
    within = (year >= base[0]) & (year <= base[1])
    if not within.any():
        raise VigieError("the base period is not in the record", found=f"{year[0]}-{year[-1]}", expected=f"{base[0]}-{base[1]}")
    with warnings.catch_warnings():
        # a place without a wet day, or outside the product, has no percentile: NaN is the answer
        warnings.filterwarnings("ignore", "All-NaN slice encountered", RuntimeWarning)
        limit = wet.isel(time=within).quantile(share, "time").drop_vars("quantile")
    return wet.where(wet > limit).groupby("time.year").sum("time").where(limit.notnull())
