"""Place by place: daily series of a product beside the reference, their trends, and extremes by temperature."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.apps.precipitation.assess.climate import SOURCES, Period, common_period, daily, name_of
from vigie.apps.precipitation.assess.pairing import Pairing
from vigie.apps.precipitation.assess.settings import AssessmentSettings
from vigie.core.errors import VigieError
from vigie.verify.indices import ROUNDING
from vigie.verify.peaks import block_maxima
from vigie.verify.scaling import Scaling, temperature_scaling
from vigie.verify.trends import significant, trend_field

Floats = NDArray[np.float64]

TRENDS = ("rx1day", "prcptot")
YEAR_DAYS = 365.25
LEAST_DAYS = 350
"""A year with fewer days has no total."""


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
        daily(record, points, which, variable="temperature") if record.temperature else None
        for which, record in enumerate(records)
    )
    if warm is None and warm_reference is not None and not pairing.own_weather:
        product, warm = xr.align(product, warm_reference, join="inner")
    return Series(points.names, (product, reference), (warm, warm_reference), period)


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
        annual = (annual_maxima(rain), _annual_totals(rain))
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
        coords={**labels(found), "index": list(TRENDS)},
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
    `temperature_c` and `intensity`; along `source`, `temperature`: which temperature it is, '' where there is none.

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
        coords={**labels(found), "temperature": ("source", [name_of(warmth) for warmth in found.temperature])},
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


def annual_maxima(rain: xr.DataArray) -> xr.DataArray:
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


def labels(found: Series) -> dict[str, list[str]]:
    """Coordinates of figures by source and place."""
    return {"source": list(SOURCES), "cell": list(found.names)}
