"""Daily rain of a product and the reference at the same places, and its ETCCDI indices, over the years that both have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.apps.precipitation.assess.chances import realisation, with_chances
from vigie.apps.precipitation.assess.matching import Cells, Points
from vigie.apps.precipitation.assess.pairing import Pairing
from vigie.apps.precipitation.assess.record import DAY_H, Part, Record, blocks
from vigie.apps.precipitation.assess.settings import AssessmentSettings
from vigie.core.errors import VigieError
from vigie.verify.bootstrap import BOUNDS, interval
from vigie.verify.indices import UNITS, etccdi
from vigie.verify.tally import Tally, add_all, field_tally

Floats = NDArray[np.float64]

SOURCES = ("product", "reference")
MOST_VALUES = 8_000_000
"""Daily values of one record that are held at once."""


@dataclass(frozen=True)
class Period:
    """First and last day of both records, ISO 8601."""

    first: str
    last: str

    @property
    def years(self) -> tuple[int, int]:
        """First and last year of which both have something."""
        return int(self.first[:4]), int(self.last[:4])

    def cut(self, daily: xr.DataArray) -> xr.DataArray:
        """Keep the days within."""
        return daily.sel(time=slice(self.first, self.last))


def common_period(pairing: Pairing) -> Period:
    """Find the days that both records span.

    Raises
    ------
    VigieError: there is no climate in swaths, averages, or less than a year.
    """
    _cells(pairing)
    spans = [[key for key in sorted(record.keys) if key] for record in (pairing.product, pairing.reference)]
    first, last = max(span[0] for span in spans)[:10], min(span[-1] for span in spans)[:10]
    days = (np.datetime64(_real(last)) - np.datetime64(_real(first))).astype(int) + 1
    if days < 360:
        raise VigieError("the records share less than a year", found=f"{max(days, 0)} days", expected="a year of days or more")
    return Period(first, last)


def indices(pairing: Pairing, settings: AssessmentSettings) -> xr.Dataset:
    """Compute ETCCDI indices of product and reference, averaged over places (cells by area) and years, each with its interval.

    Returns
    -------
    `<index>` (source), `<index>_ratio` and both `_interval` (bound), over resampled years. Of products with a distribution one
    realisation is taken: means have no extremes.

    Raises
    ------
    VigieError: see `common_period` and `vigie.verify.indices.etccdi`.
    """
    period = common_period(pairing)
    base = settings.base_years or period.years
    pieces = _cells(pairing).pieces(MOST_VALUES // _days(period))
    tally = add_all(_index_tally(pairing, part, period, base, settings.seed) for part in pieces)
    if not bool((tally.weight["rx1day"] > 0).any()):
        raise VigieError("no year is complete in both records", found=f"{period.first} to {period.last}")
    bounds = interval(tally, finish_indices, "year", replicates=settings.bootstrap, seed=settings.seed)
    found = finish_indices(tally.sum("year"))
    bounds = bounds.assign_coords(bound=list(BOUNDS)).rename({name: f"{name}_interval" for name in bounds.data_vars})
    return xr.merge([found, bounds], join="exact", compat="no_conflicts").assign_attrs(
        first=period.first, last=period.last, base=f"{base[0]}-{base[1]}"
    )


def finish_indices(tally: Tally) -> xr.Dataset:
    """Turn sums into means of each source, and the ratio of the product's to the reference's."""
    mean = tally.mean()
    product, reference = (mean.sel(source=source, drop=True) for source in SOURCES)
    ratios = product / reference.where(reference > 0)
    return mean.assign({f"{name}_ratio": ratios[name] for name in ratios.data_vars})


def _index_tally(pairing: Pairing, cells: Cells, period: Period, base: tuple[int, int], seed: int) -> Tally:
    """Sum indices of some cells by year and source, where both have them."""
    both = [
        etccdi(period.cut(daily(record, cells, which, seed)), base)
        for which, record in enumerate((pairing.product, pairing.reference))
    ]
    ours, theirs = xr.align(*both, join="inner")
    known = {name: ours[name].notnull() & theirs[name].notnull() for name in UNITS}
    together = {
        name: xr.concat([one[name].where(known[name]) for one in (ours, theirs)], "source").assign_coords(source=list(SOURCES))
        for name in UNITS
    }
    return field_tally(together, ["cell"], area_of(pairing, cells))


def daily(record: Record, cells: Cells | Points, which: int, seed: int = 0, variable: str = "rain") -> xr.DataArray:
    """Read a record at some cells as consecutive days (time, cell), rain in mm day-1, in its own calendar.

    Finer steps are averaged to days that have all of them; days without data are NaN. One realisation is taken of products
    with a distribution.
    """
    return _as_days(_steps(record, cells, which, seed, variable), record, variable)


def regional(pairing: Pairing, which: int, seed: int = 0, variable: str = "rain") -> xr.DataArray:
    """Average the product (0) or the reference (1) over all common places, or cells by area, as consecutive days (time,).

    Of each step those count that are known. Blocks of steps are read one by one, and only their means are kept.

    Raises
    ------
    VigieError: no place is seen every day.
    """
    cells = _cells(pairing)
    record = (pairing.product, pairing.reference)[which]
    area = area_of(pairing, cells)
    each = np.ones(cells.count) if area is None else area.values
    means = ((_known_mean(values, each), days) for values, days in _steps(record, cells, which, seed, variable))
    return _as_days(means, record, variable).isel(cell=0)


def _known_mean(values: Floats, area: Floats) -> Floats:
    """Mean (step, 1) of what is known of values (step, cell); NaN where nothing is."""
    known = np.isfinite(values)
    covered = known @ area
    mean: Floats = np.divide(np.where(known, values, 0) @ area, covered, out=np.full(len(values), np.nan), where=covered > 0)
    return mean[:, None]


def area_of(pairing: Pairing, cells: Cells) -> xr.DataArray | None:
    """Area of some common cells (cell,) in the order that `daily` reads them; None where all count alike."""
    if pairing.area is None:
        return None
    return xr.DataArray(cells.pick(pairing.area.to_dataset(name="area"), 0)["area"].values.ravel(), dims="cell")


def _steps(
    record: Record, cells: Cells | Points, which: int, seed: int, variable: str
) -> Iterator[tuple[Floats, NDArray[np.str_]]]:
    """Read values (step, cell) and dates (step,) block by block."""
    before = 0
    for part in record.parts:
        for steps in blocks(part, record.layers + 1):
            numbers = before + np.arange(steps.start, steps.stop)
            data = cells.pick(with_chances(part.read(steps), (seed, which), numbers), which)
            values = realisation(data) if variable == "rain" else data[variable].values
            yield values.reshape(values.shape[0], -1), part.keys(daily=True)[steps]
        before += part.time.size


def _as_days(steps: Iterable[tuple[Floats, NDArray[np.str_]]], record: Record, variable: str) -> xr.DataArray:
    """Put steps together as consecutive days (time, cell)."""
    pieces, dates = zip(*steps, strict=True)
    values, days = np.concatenate(pieces), np.concatenate(dates)
    if not record.daily:
        values, days = _by_day(values, days, max(1, round(DAY_H / record.step_h)))
    made = xr.DataArray(values * (DAY_H if variable == "rain" else 1.0), dims=("time", "cell"), name=variable)
    made = made.assign_coords(time=_index(days, record.parts[0])).sortby("time")
    whole = xr.date_range(made["time"].values[0], made["time"].values[-1], freq="D", use_cftime=made["time"].dtype == object)
    described = {"units": "mm day-1"} if variable == "rain" else {"units": "degC", "long_name": record.temperature}
    return made.reindex(time=whole).assign_attrs(described)


def name_of(temperature: xr.DataArray | None) -> str:
    """What a temperature is, '' where there is none."""
    return "" if temperature is None else str(temperature.attrs["long_name"])


def _by_day(values: np.ndarray, days: np.ndarray, expected: int) -> tuple[np.ndarray, np.ndarray]:
    """Average steps of a day; NaN where one of them is missing."""
    found, at = np.unique(days, return_inverse=True)
    totals = np.zeros((found.size, values.shape[1]))
    np.add.at(totals, at, values)
    totals[np.bincount(at) < expected] = np.nan
    return totals / np.bincount(at)[:, None], found


def _index(days: np.ndarray, part: Part) -> np.ndarray:
    """Turn dates back into times of the record's calendar, at midnight."""
    if np.issubdtype(part.time.dtype, np.datetime64):
        return days.astype("datetime64[ns]")
    kind = type(part.time[0])
    return np.array([kind(*(int(number) for number in day.split("-"))) for day in days.tolist()])


def _cells(pairing: Pairing) -> Cells:
    if pairing.cells is None:
        raise VigieError("no place is seen every day", expected="series or grids of the same places in both")
    return pairing.cells


def _days(period: Period) -> int:
    first, last = (np.datetime64(_real(day)) for day in (period.first, period.last))
    return int((last - first).astype(int)) + 1


def _real(day: str) -> str:
    """A date that every calendar has."""
    return day[:8] + min(day[8:], "28")
