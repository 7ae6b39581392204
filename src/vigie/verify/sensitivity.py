"""Hydrological sensitivity: how much more it rains for each kelvin of warming, in climate models and in a product beside them.

For a model run, with means over a reference h and a future f (Held & Soden 2006; AR6 gives 1-3 % per K):

    100 (P_f - P_h) / P_h / (T_f - T_h)    % per K
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike
from scipy.stats import linregress

from vigie.core.errors import VigieError

Period = tuple[int, int]
"""First and last year, both within."""

HISTORICAL = "historical"
REFERENCE: Period = (1981, 2005)
FUTURE: Period = (2071, 2099)


def hydrological_sensitivity(
    pr: xr.DataArray, tas: xr.DataArray, reference: Period = REFERENCE, future: Period = FUTURE
) -> xr.DataArray:
    """Compute the sensitivity of each model under each scenario: that of each run, averaged over runs.

    A run counts where it has rain and temperature in all years of both periods; a model without such a run is NaN. Models or
    runs that only one of the two variables knows are left out and named in the attribute `left_out`.

    Parameters
    ----------
    pr, tas: (scenario, time, model, run), annual or finer; one scenario is "historical". Any unit of rain; K or degrees C.
    reference, future: of the historical run and of the scenario.

    Returns
    -------
    (scenario, model), % per K.

    Raises
    ------
    VigieError: dimensions are missing, or a period holds no time.
    """
    for name, data in {"pr": pr, "tas": tas}.items():
        if missing := {"scenario", "time", "model", "run"} - set(map(str, data.dims)):
            raise VigieError(f"{name} lacks dimensions of an ensemble", found=data.dims, expected=f"also {sorted(missing)}")
        if HISTORICAL not in data["scenario"].values:
            raise VigieError(f"{name} has no historical runs", found=data["scenario"].values.tolist(), expected=HISTORICAL)
    left_out = sorted({str(m) for m in pr["model"].values} ^ {str(m) for m in tas["model"].values})
    pr, tas = xr.align(pr, tas, join="inner")
    scenarios = [name for name in pr["scenario"].values.tolist() if name != HISTORICAL]
    rain_then, warmth_then = (_mean(data.sel(scenario=HISTORICAL, drop=True), reference) for data in (pr, tas))
    rain, warmth = (_mean(data.sel(scenario=scenarios), future) for data in (pr, tas))
    found = (100 * (rain - rain_then) / rain_then / (warmth - warmth_then)).mean("run")
    attrs = {"units": "% K-1", "long_name": "hydrological sensitivity", "left_out": " ".join(left_out)}
    return found.transpose("scenario", "model").rename("sensitivity").assign_attrs(attrs)


def ensemble_band(sensitivity: xr.DataArray, low: float = 0.05, high: float = 0.95) -> xr.Dataset:
    """Describe the spread of models by scenario: `mean`, `low`, `high` (quantiles) and how many `models` have a value.

    Examples
    --------
    >>> models = xr.DataArray([1.0, 2.0, 3.0, np.nan], dims="model", name="sensitivity")
    >>> band = ensemble_band(models)
    >>> float(band["low"]), float(band["mean"]), int(band["models"])
    (1.1, 2.0, 3)
    """
    bounds = {"low": sensitivity.quantile(low, "model"), "high": sensitivity.quantile(high, "model")}
    return xr.Dataset(
        {
            "mean": sensitivity.mean("model"),
            **{name: bound.drop_vars("quantile") for name, bound in bounds.items()},
            "models": sensitivity.notnull().sum("model").drop_attrs(),
        },
        attrs={"quantiles": f"{low:g} {high:g}"},
    )


def place(value: float, sensitivity: xr.DataArray) -> xr.Dataset:
    """Place a product among the models of each scenario: its `rank` from 1, and whether it is `inside` their 5-95 % band.

    Examples
    --------
    >>> found = place(2.5, xr.DataArray([1.0, 2.0, 3.0, np.nan], dims="model"))
    >>> int(found["rank"]), int(found["of"]), bool(found["inside"])
    (3, 4, True)
    """
    if not np.isfinite(value):
        raise VigieError("a product without a sensitivity has no place among models", found=value, expected="a number, % per K")
    band = ensemble_band(sensitivity)
    return xr.Dataset(
        {
            "rank": (sensitivity < value).sum("model").drop_attrs() + 1,
            "of": band["models"] + 1,
            "inside": ((band["low"] <= value) & (band["high"] >= value)).drop_attrs(),
        }
    )


def regressed_sensitivity(pr: ArrayLike, tas: ArrayLike) -> tuple[float, float]:
    """Estimate the sensitivity of a record too short for two periods: slope of annual rain on temperature over its mean.

    Year-to-year variability (El Nino above all) weighs on it, so it is no forced response; it may be ranked, with that said.

    Parameters
    ----------
    pr, tas: annual means (T,); years with a missing part are left out.

    Returns
    -------
    % per K, and its standard error as if years were independent.

    Raises
    ------
    VigieError: there are fewer than ten years.

    Examples
    --------
    >>> tas = np.linspace(287.0, 288.0, 20)
    >>> regressed_sensitivity(3.0 * (1 + 0.02 * (tas - tas.mean())), tas)[0].round(6)
    np.float64(2.0)
    """
    rain, warmth = np.asarray(pr, np.float64), np.asarray(tas, np.float64)
    both = np.isfinite(rain) & np.isfinite(warmth)
    if both.sum() < 10:
        raise VigieError("too few years to regress rain on temperature", found=int(both.sum()), expected="at least 10")
    fit: Any = linregress(warmth[both], rain[both])
    return 100 * fit.slope / rain[both].mean(), 100 * fit.stderr / rain[both].mean()


def _mean(data: xr.DataArray, period: Period) -> xr.DataArray:
    """Mean over all times of a period, NaN where one is missing."""
    within = (data["time"].dt.year >= period[0]) & (data["time"].dt.year <= period[1])
    years = np.unique(data["time"].dt.year.values[within.values])
    if years.size != period[1] - period[0] + 1:
        raise VigieError(f"years {period[0]}-{period[1]} are not all there", found=f"{years.size} years", expected="each once")
    return data.isel(time=within.values).astype(np.float64).mean("time", skipna=False)
