"""Place by place: return levels, trends, and extremes by temperature, of a product beside the reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.apps.precipitation.assess.climate import SOURCES, Period, common_period, daily
from vigie.apps.precipitation.assess.pairing import Pairing
from vigie.apps.precipitation.assess.settings import AssessmentSettings
from vigie.core.errors import VigieError
from vigie.verify.bootstrap import BOUNDS
from vigie.verify.extremes import Gev, Gpd, fit_gev, fit_gpd, return_interval
from vigie.verify.indices import ROUNDING
from vigie.verify.peaks import block_maxima
from vigie.verify.scaling import Scaling, temperature_scaling
from vigie.verify.trends import significant, trend_field

Floats = NDArray[np.float64]

METHODS = ("gev", "gpd")
"""Annual maxima, and excesses over a threshold."""
TRENDS = ("rx1day", "prcptot")
YEAR_DAYS = 365.25
LEAST_DAYS = 350
"""A year with fewer days has no total."""
INTERVAL = 0.9


@dataclass(frozen=True)
class Series:
    """Daily rain, mm, and temperature, degrees C or None, of both sources at some places: (time, cell) by source."""

    names: tuple[str, ...]
    rain: tuple[xr.DataArray, xr.DataArray]
    temperature: tuple[xr.DataArray | None, xr.DataArray | None]
    period: Period


def series(pairing: Pairing, settings: AssessmentSettings) -> Series:
    """Read both records at the places that are told one by one.

    A product of the reference's weather without temperature takes the reference's.

    Raises
    ------
    VigieError: see `common_period`.
    """
    period = common_period(pairing)
    if pairing.cells is None:
        raise VigieError("no place is seen every day")
    points = pairing.cells.points(settings.places)
    records = (pairing.product, pairing.reference)
    product, reference = (daily(record, points, which, settings.seed) for which, record in enumerate(records))
    warm, warm_reference = (
        daily(record, points, which, variable="temperature") if record.has_temperature else None
        for which, record in enumerate(records)
    )
    if warm is None and warm_reference is not None and not pairing.own_weather:
        product, warm = xr.align(product, warm_reference, join="inner")
    return Series(points.names, (product, reference), (warm, warm_reference), period)


def extremes(found: Series, settings: AssessmentSettings) -> xr.Dataset:
    """Fit annual maxima (GEV) and excesses (GPD) of the years that both have, place by place.

    Returns
    -------
    `return_level` (source, fit, cell, return_period) in mm with `return_level_interval` (bound), 90 %, of a parametric
    bootstrap; `parameter` (source, fit, cell, name: location or threshold, scale, shape); `annual_maximum` (source, cell,
    year). NaN where there are too few values; `missing` says why.
    """
    years = np.asarray(settings.extremes.years)
    shape = (len(SOURCES), len(METHODS), len(found.names))
    level, parameter = np.full((*shape, years.size), np.nan), np.full((*shape, 3), np.nan)
    bounds = np.full((2, *shape, years.size), np.nan)
    missing, maxima = [], []
    for s, rain in enumerate(found.rain):
        cut = found.period.cut(rain)
        maxima.append(_annual_maxima(cut))
        for c in range(len(found.names)):
            for m, fit in enumerate(FITS):
                try:
                    fitted = fit(cut.isel(cell=c), settings)
                except VigieError as error:
                    missing.append(str(error))
                    continue
                level[s, m, c] = fitted.return_level(years)
                bounds[:, s, m, c] = return_interval(fitted, years, INTERVAL, settings.extremes.bootstrap, settings.seed)
                first = fitted.location if isinstance(fitted, Gev) else fitted.threshold
                parameter[s, m, c] = first, fitted.scale, fitted.shape
    dims = ("source", "fit", "cell")
    made = xr.Dataset(
        {
            "return_level": ((*dims, "return_period"), level),
            "return_level_interval": (("bound", *dims, "return_period"), bounds),
            "parameter": ((*dims, "name"), parameter),
            "annual_maximum": xr.concat(maxima, "source"),
        },
        coords={
            **_labels(found),
            "fit": list(METHODS),
            "return_period": years,
            "name": ["location", "scale", "shape"],
            "bound": list(BOUNDS),
        },
    )
    if not np.isfinite(level).any():
        raise VigieError("no return level can be fitted", found=missing[0])
    return made.assign_attrs(missing=" | ".join(dict.fromkeys(missing)))


def trends(found: Series, level: float = 0.1) -> xr.Dataset:
    """Test annual maxima and totals of each record's own years for trends, place by place.

    Returns
    -------
    (source, index, cell): `slope` mm per year, `p`, `p_corrected` for autocorrelation, `significant` with a false discovery
    rate of 10 % over all places; and `first_year`, `last_year` (source).

    Raises
    ------
    VigieError: no record has ten years.
    """
    names = ("slope", "p", "p_corrected")
    values = np.full((len(names), len(SOURCES), len(TRENDS), len(found.names)), np.nan)
    spans = np.zeros((2, len(SOURCES)), np.int64)
    for s, rain in enumerate(found.rain):
        annual = (_annual_maxima(rain), _annual_totals(rain))
        spans[:, s] = annual[0]["year"].values[[0, -1]]
        for i, index in enumerate(annual):
            field = trend_field(index)
            values[:, s, i] = [field[name].values for name in names]
    if not np.isfinite(values[1]).any():
        raise VigieError("no record has the ten years that a trend needs")
    dims = ("source", "index", "cell")
    made = xr.Dataset(
        {name: (dims, values[n]) for n, name in enumerate(names)}
        | {"first_year": ("source", spans[0]), "last_year": ("source", spans[1])},
        coords={**_labels(found), "index": list(TRENDS)},
    )
    # Where the corrected variance is not positive the correction says nothing, and the plain test stands.
    p = made["p_corrected"].where(made["p_corrected"].notnull(), made["p"])
    shown = [xr.concat([significant(p.sel(source=s, index=i), level) for i in TRENDS], made["index"]) for s in SOURCES]
    return made.assign(significant=xr.concat(shown, made["source"]).drop_attrs())


def scalings(found: Series, settings: AssessmentSettings) -> tuple[xr.Dataset, dict[tuple[str, str], str]]:
    """Relate extremes to temperature, place by place; and say in words what may be concluded of each source and place.

    Returns
    -------
    By (source, cell): `slope_percent`, `slope_before_percent`, `slope_after_percent`, `peak_c`, `hook`; by (source, cell, bin)
    `temperature_c` and `intensity`.

    Raises
    ------
    VigieError: there is no temperature, or nowhere are wet days enough.
    """
    reasons: list[str] = []
    scaled = dict(_scaled(found, settings, reasons))
    if not scaled:
        raise VigieError(
            reasons[0] if reasons else "neither record has a temperature", do="give one with a temperature or dew point"
        )
    shape = (len(SOURCES), len(found.names))
    names = ("slope_percent", "slope_before_percent", "slope_after_percent", "peak_c", "hook")
    table = {name: np.full(shape, np.nan) for name in names}
    curves = {name: np.full((*shape, settings.scaling.bins), np.nan) for name in ("temperature_c", "intensity")}
    for at, one in scaled.items():
        for name in names:
            table[name][at] = float(getattr(one, name))
        for name in curves:
            curves[name][at] = getattr(one, name)
    made = xr.Dataset(
        {name: (("source", "cell"), v) for name, v in table.items()}
        | {name: (("source", "cell", "bin"), v) for name, v in curves.items()},
        coords=_labels(found),
    )
    return made, {(SOURCES[s], found.names[c]): one.naive_scaling for (s, c), one in scaled.items()}


def _scaled(found: Series, settings: AssessmentSettings, reasons: list[str]) -> Iterator[tuple[tuple[int, int], Scaling]]:
    wet = settings.wet_mm_day * (1 - ROUNDING)
    for s, (rain, warmth) in enumerate(zip(found.rain, found.temperature, strict=True)):
        if warmth is None:
            continue
        rain, warmth = xr.align(rain, warmth, join="inner")
        for c in range(len(found.names)):
            values = rain.isel(cell=c).values, warmth.isel(cell=c).values
            try:
                yield (s, c), temperature_scaling(*values, wet, settings.scaling.bins, settings.scaling.quantile)
            except VigieError as error:
                reasons.append(f"{error} ({found.names[c]})")


def _gev(rain: xr.DataArray, settings: AssessmentSettings) -> Gev:
    return fit_gev(_annual_maxima(rain.expand_dims("cell", axis=-1)).values)


def _gpd(rain: xr.DataArray, settings: AssessmentSettings) -> Gpd:
    values = rain.values
    threshold = settings.extremes.threshold_mm
    if threshold is None:
        wet = values[values >= settings.wet_mm_day * (1 - ROUNDING)]
        if not wet.size:
            raise VigieError("no day is wet", found="0 wet days")
        threshold = float(np.quantile(wet, settings.extremes.threshold_quantile))
    return fit_gpd(values, threshold, float(np.isfinite(values).sum()) / YEAR_DAYS)


FITS: tuple[Callable[[xr.DataArray, AssessmentSettings], Gev | Gpd], ...] = (_gev, _gpd)


def _annual_maxima(rain: xr.DataArray) -> xr.DataArray:
    """Maxima (year, cell) of whole years, NaN elsewhere."""
    return _annual(rain, block_maxima)


def _annual_totals(rain: xr.DataArray) -> xr.DataArray:
    return _annual(rain, _block_totals)


def _annual(rain: xr.DataArray, block: Callable[[Floats, NDArray[np.int64]], Floats]) -> xr.DataArray:
    year = rain["time"].dt.year.values
    columns = [block(rain.isel(cell=c).values, year) for c in range(rain.sizes["cell"])]
    return xr.DataArray(np.stack(columns, axis=-1), dims=("year", "cell"), coords={"year": np.unique(year)})


def _block_totals(values: Floats, blocks: NDArray[np.int64]) -> Floats:
    """Mean of a year's days times their number in a full year; NaN where too many are missing."""
    _, at = np.unique(blocks, return_inverse=True)
    seen = np.isfinite(values)
    count = np.bincount(at[seen], minlength=at.max() + 1)
    total = np.bincount(at[seen], weights=values[seen], minlength=at.max() + 1)
    return np.where(count >= LEAST_DAYS, total / np.maximum(count, 1) * YEAR_DAYS, np.nan)


def _labels(found: Series) -> dict[str, list[str]]:
    return {"source": list(SOURCES), "cell": list(found.names)}
