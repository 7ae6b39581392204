"""Return levels place by place: annual maxima, and the peaks of clusters of excesses, of a product beside the reference."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr

from vigie.apps.precipitation.assess.climate import SOURCES
from vigie.apps.precipitation.assess.places import YEAR_DAYS, Series, annual_maxima, labels
from vigie.apps.precipitation.assess.settings import AssessmentSettings
from vigie.core.errors import VigieError
from vigie.verify.bootstrap import BOUNDS
from vigie.verify.extremes import Gev, Gpd, fit_gev, fit_gpd, return_interval
from vigie.verify.indices import ROUNDING
from vigie.verify.peaks import cluster_peaks

INTERVAL = 0.9


def extremes(found: Series, settings: AssessmentSettings) -> xr.Dataset:
    """Fit annual maxima (GEV) and peaks of clusters of excesses (GPD) of the years that both have, place by place.

    Returns
    -------
    `return_level` (source, fit, cell, return_period) in mm with `return_level_interval` (bound), 90 %, of a parametric
    bootstrap; `parameter` (source, fit, cell, name: location or threshold, scale, shape); `excess_days`, `clusters` and
    `extremal_index`, their ratio, (source, cell); `annual_maximum` (source, cell, year). NaN where there are too few values;
    `missing` says why.

    Raises
    ------
    VigieError: nothing can be fitted anywhere.
    """
    years = np.asarray(settings.extremes.years)
    shape = (len(SOURCES), len(FITS), len(found.names))
    level, parameter = np.full((*shape, years.size), np.nan), np.full((*shape, 3), np.nan)
    bounds = np.full((2, *shape, years.size), np.nan)
    days, clusters = (np.full((len(SOURCES), len(found.names)), np.nan) for _ in range(2))
    missing, maxima = [], []
    for s, rain in enumerate(found.rain):
        cut = found.period.cut(rain)
        maxima.append(annual_maxima(cut))
        for c in range(len(found.names)):
            for m, fit in enumerate(FITS.values()):
                try:
                    fitted = fit(cut.isel(cell=c), settings)
                except VigieError as error:
                    missing.append(str(error))
                    continue
                level[s, m, c] = fitted.return_level(years)
                bounds[:, s, m, c] = return_interval(fitted, years, INTERVAL, settings.extremes.bootstrap, settings.seed)
                first = fitted.location if isinstance(fitted, Gev) else fitted.threshold
                parameter[s, m, c] = first, fitted.scale, fitted.shape
                if isinstance(fitted, Gpd):
                    days[s, c], clusters[s, c] = (cut.isel(cell=c).values > fitted.threshold).sum(), fitted.excesses
    dims = ("source", "fit", "cell")
    made = xr.Dataset(
        {
            "return_level": ((*dims, "return_period"), level),
            "return_level_interval": (("bound", *dims, "return_period"), bounds),
            "parameter": ((*dims, "name"), parameter),
            "excess_days": (("source", "cell"), days),
            "clusters": (("source", "cell"), clusters),
            "extremal_index": (("source", "cell"), clusters / days),
            "annual_maximum": xr.concat(maxima, "source"),
        },
        coords={
            **labels(found),
            "fit": list(FITS),
            "return_period": years,
            "name": ["location", "scale", "shape"],
            "bound": list(BOUNDS),
        },
    )
    if not np.isfinite(level).any():
        raise VigieError("no return level can be fitted", found=missing[0])
    return made.assign_attrs(missing=" | ".join(dict.fromkeys(missing)), separation_days=settings.extremes.separation_days)


def _gev(rain: xr.DataArray, settings: AssessmentSettings) -> Gev:
    return fit_gev(annual_maxima(rain.expand_dims("cell", axis=-1)).values)


def _gpd(rain: xr.DataArray, settings: AssessmentSettings) -> Gpd:
    values = rain.values
    threshold = settings.extremes.threshold_mm
    if threshold is None:
        wet = values[values >= settings.wet_mm_day * (1 - ROUNDING)]
        if not wet.size:
            raise VigieError("no day is wet", found="0 wet days")
        threshold = float(np.quantile(wet, settings.extremes.threshold_quantile))
    peaks = values[cluster_peaks(values, threshold, settings.extremes.separation_days)]
    return fit_gpd(peaks, threshold, float(np.isfinite(values).sum()) / YEAR_DAYS)


FITS: dict[str, Callable[[xr.DataArray, AssessmentSettings], Gev | Gpd]] = {"gev": _gev, "gpd": _gpd}
"""Annual maxima, and excesses over a threshold."""
