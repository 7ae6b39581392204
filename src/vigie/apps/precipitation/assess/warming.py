"""How much more it rains in a warmer climate, beside the range of climate models; and what an orbit would miss."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from vigie.acquire.sources import expand
from vigie.apps.precipitation.assess.climate import SOURCES, name_of, regional
from vigie.apps.precipitation.assess.pairing import Pairing
from vigie.apps.precipitation.assess.record import DAY_H, Record
from vigie.apps.precipitation.assess.settings import AssessmentSettings, SensitivitySettings
from vigie.core.errors import VigieError
from vigie.verify.sampling import sampling_error
from vigie.verify.sensitivity import FUTURE, REFERENCE, ensemble_band, hydrological_sensitivity, place, regressed_sensitivity

SCENARIO = {"scen": "scenario", "experiment": "scenario"}
"""Other names of the dimension of scenarios."""
WET_TOTAL_MM = 1.0
"""Totals of a day that take part in the sampling error."""
MOST_DAYS = 31
MOST_CELLS = 1_000_000
"""Cells whose sampling error is computed; of larger grids every n-th row."""


def models(settings: SensitivitySettings, base: Path) -> xr.DataArray:
    """Read global means of climate models, and compute the sensitivity of each (scenario, model), % per K.

    Raises
    ------
    VigieError: a file is missing, or holds no such ensemble.
    """
    return hydrological_sensitivity(_ensemble(settings.pr, "pr", base), _ensemble(settings.tas, "tas", base))


def _ensemble(pattern: str, name: str, base: Path) -> xr.DataArray:
    (path,) = expand(pattern, base)[:1]
    try:
        with xr.open_dataset(path) as data:
            if name not in data:
                raise VigieError(
                    f"{path.name} has no '{name}'", found=sorted(map(str, data.data_vars)), do="rename the variable"
                )
            return data[name].rename({old: new for old, new in SCENARIO.items() if old in data[name].dims}).load()
    except (OSError, ValueError) as error:
        raise VigieError(f"{path} cannot be read", found=error, expected="a whole NetCDF file") from error


def sensitivities(pairing: Pairing, band: xr.DataArray, seed: int = 0) -> xr.Dataset:
    """Estimate the sensitivity of each source from means over all common places, or cells by area; place it among the models.

    Where a record holds 1981-2005 and 2071-2099 it is that of the models; else the slope of annual rain on annual temperature,
    which year-to-year weather weighs on. A product of the reference's weather without temperature takes the reference's.

    Returns
    -------
    By source: `sensitivity` and `standard_error` (NaN where it is of two periods), % per K; by (source, scenario): `rank`,
    `of`, `inside`; by scenario: `low`, `high`, `mean`, `models`. Along `source`, `temperature`: which temperature it is, ''
    where there is none.

    Raises
    ------
    VigieError: no record has ten years with temperature.
    """
    records = (pairing.product, pairing.reference)
    warmth = [regional(pairing, n, variable="temperature") if r.temperature else None for n, r in enumerate(records)]
    if warmth[0] is None and not pairing.own_weather:
        warmth[0] = warmth[1]
    values = [_sensitivity(regional(pairing, which, seed), known) for which, known in enumerate(warmth)]
    if not np.isfinite([value for value, _ in values]).any():
        raise VigieError("no record has ten years of rain with temperature", do="give a product with a temperature")
    places = [place(value, band) if np.isfinite(value) else None for value, _ in values]
    known = next(one for one in places if one is not None)
    nowhere = xr.full_like(known.astype(np.float64), np.nan)
    table = xr.concat([nowhere if one is None else one.astype(np.float64) for one in places], "source")
    return (
        xr.merge([table, ensemble_band(band)])
        .assign(
            sensitivity=("source", [value for value, _ in values]),
            standard_error=("source", [error for _, error in values]),
        )
        .assign_coords(source=list(SOURCES), temperature=("source", [name_of(one) for one in warmth]))
    )


def _sensitivity(rain: xr.DataArray, warmth: xr.DataArray | None) -> tuple[float, float]:
    if warmth is None:
        return np.nan, np.nan
    rain, warmth = xr.align(rain, warmth, join="inner")
    both = xr.Dataset({"rain": rain, "warmth": warmth}).groupby("time.year").mean("time")
    periods = [both.sel(year=slice(*period)) for period in (REFERENCE, FUTURE)]
    if all(part.sizes["year"] == last - first + 1 for part, (first, last) in zip(periods, (REFERENCE, FUTURE), strict=True)):
        then, later = (part.mean("year") for part in periods)
        change = 100 * (later["rain"] - then["rain"]) / then["rain"] / (later["warmth"] - then["warmth"])
        return float(change), np.nan
    if both.sizes["year"] < 10:
        return np.nan, np.nan
    return regressed_sensitivity(both["rain"].values, both["warmth"].values)


def sampling(pairing: Pairing, settings: AssessmentSettings) -> xr.Dataset:
    """See the reference only now and then, as an orbit would, and hold its daily totals against what fell.

    Returns
    -------
    By `revisit_h`: `relative_rmse` and `quantile_ratio` (p99), averaged over days, and `days`.

    Raises
    ------
    VigieError: the reference has no whole day of finer steps, or no revisit fits them.
    """
    record = pairing.reference
    if record.geometry == "swath" or not record.step_h < DAY_H:
        raise VigieError("the reference does not see a day step by step", expected="a series or grids finer than a day")
    step_h = record.step_h
    revisits = [
        hours for hours in settings.revisits_h if hours >= step_h and hours / step_h % 1 == 0 and DAY_H / hours % 1 == 0
    ]
    days = _whole_days(record)
    if not revisits or not days:
        raise VigieError(
            "no day of the reference can be sampled",
            found=f"{len(days)} whole days in steps of {step_h:g} h",
            expected="one whole day",
        )
    errors = []
    for day in days[:MOST_DAYS]:
        amounts = _amounts(record, day)
        if bool((amounts.sum("time", skipna=False) >= WET_TOTAL_MM).any()):
            errors.append(sampling_error(amounts, revisits, WET_TOTAL_MM))
    if not errors:
        raise VigieError("no day of the reference is wet anywhere")
    mean: xr.Dataset = xr.concat(errors, "day").mean("day")
    return mean[["relative_rmse", "quantile_ratio"]].assign(days=len(errors))


def _whole_days(record: Record) -> list[str]:
    days, count = np.unique(record.keys.astype("U10"), return_counts=True)
    return [str(day) for day, n in zip(days, count) if n == round(DAY_H / record.step_h) and day]


def _amounts(record: Record, day: str) -> xr.DataArray:
    """Amounts of each step of a day (time, cell), mm."""
    pieces, times = [], []
    for part in record.parts:
        at = np.flatnonzero(part.stamps.astype("U10") == day)
        if at.size:
            rain = part.read(slice(int(at[0]), int(at[-1]) + 1))["rain"].values
            thinned = rain[:, :: max(1, -(-rain[0].size // MOST_CELLS))]
            pieces.append(thinned.reshape(len(thinned), -1))
            times.append(part.stamps[at].astype("datetime64[ns]"))
    time = np.concatenate(times)
    amounts = xr.DataArray(np.concatenate(pieces) * record.step_h, dims=("time", "cell"), coords={"time": time})
    return amounts.sortby("time")
