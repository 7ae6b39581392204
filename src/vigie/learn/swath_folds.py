"""Folds of swaths without leakage: days, orbits, sensors or regions are held out, or regimes; never pixels at random.

Neighbouring footprints of an orbit are near-copies of each other: a split by pixel tests on what was learnt from.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal, Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from vigie.core.errors import VigieError
from vigie.learn.folds import NEVER

DAY = re.compile(r"(\d{4}-)?\d{2}-\d{2}")
By = Literal["day", "orbit", "sensor", "region", "regime", "none"]


class SwathFoldSettings(BaseModel):
    """What is held out together."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by: By = Field(
        default="day",
        description="what is held out together: a 'day' or 'orbit' (the swath's groups), a 'sensor', a 'region' (boxes of "
        "degrees), a 'regime' (ranges of water vapour); 'none': nothing is",
    )
    count: int = Field(default=2, ge=2, description="number of folds")
    test_days: tuple[PositiveInt, PositiveInt] | None = Field(
        default=None, description="first and last day of the month that the only fold holds out; the others are learnt from"
    )
    box_deg: float = Field(default=10.0, gt=0, le=90, description="side of the boxes of 'region', degrees")

    @model_validator(mode="after")
    def _days_are_of_days(self) -> Self:
        if self.test_days is not None and (self.by != "day" or self.test_days[0] > self.test_days[1]):
            raise ValueError("test_days are a first and a last day of the month, for folds by 'day'")
        return self


def fold_of_pixels(swaths: Sequence[xr.Dataset], settings: SwathFoldSettings) -> list[NDArray[np.int16]]:
    """Give every pixel (scan, pixel) of every labelled swath to the fold that will test on it.

    Parameters
    ----------
    swaths
        In the layout of `vigie.core.swath`; 'regime' needs `total_column_water_vapour`.

    Returns
    -------
    Folds from 0; -1 where a pixel is never held out.

    Raises
    ------
    VigieError: there are fewer units than folds, or the swaths do not tell what folds are made by.

    Examples
    --------
    >>> swath = xr.Dataset(coords={"group": ("scan", ["03-14", "03-15", "03-16"])}).assign(
    ...     latitude=(("scan", "pixel"), np.zeros((3, 1))))
    >>> fold_of_pixels([swath], SwathFoldSettings(test_days=(15, 16)))[0].ravel().tolist()
    [-1, 0, 0]
    """
    if settings.by == "none":
        return [np.full(swath["latitude"].shape, NEVER, dtype=np.int16) for swath in swaths]
    if settings.by == "regime":
        return _regimes(swaths, settings.count)
    named = [_units(swath, settings) for swath in swaths]
    if settings.test_days is not None:
        return _tested_days(named, settings.test_days)
    return _shared_out(named, settings)


def folds_in(folds: Sequence[NDArray[np.int16]]) -> list[int]:
    """List the folds that something is tested in.

    Examples
    --------
    >>> folds_in([np.array([[-1, 0]], np.int16), np.array([[1]], np.int16)])
    [0, 1]
    """
    return sorted({int(fold) for part in folds for fold in np.unique(part)} - {NEVER})


def _units(swath: xr.Dataset, settings: SwathFoldSettings) -> NDArray[np.str_]:
    """Name what each pixel is held out with (scan, pixel)."""
    shape = swath["latitude"].shape
    if settings.by == "sensor":
        return np.full(shape, str(swath.attrs.get("sensor", "")))
    if settings.by == "region":
        boxes = [np.floor(swath[name].values / settings.box_deg).astype(int) for name in ("latitude", "longitude")]
        return np.char.add(np.char.add(boxes[0].astype(np.str_), "_"), boxes[1].astype(np.str_))
    units = _days(swath) if settings.by == "day" else swath["group"].values.astype(np.str_)
    return np.broadcast_to(units[:, None], shape)


def _days(swath: xr.Dataset) -> NDArray[np.str_]:
    """Name the day of each scan: that of its time, or, where nobody knows it, a group that is a day."""
    group = swath["group"].values.astype(np.str_)
    time = swath["time"].values if "time" in swath.coords else np.full(len(group), "NaT", dtype="datetime64[ns]")
    strange = [name for name in np.unique(group[np.isnat(time)]).tolist() if not DAY.fullmatch(name)]
    if strange:
        raise VigieError(
            f"swath '{swath.attrs.get('swath', '?')}' does not tell its days",
            found=f"no time, group '{strange[0]}'",
            expected="a time of each scan, or groups such as 2023-03-14 or 03-14",
            do="choose train.folds.by = 'orbit'",
        )
    return np.where(np.isnat(time), group, np.datetime_as_string(time, unit="D"))


def _tested_days(named: Sequence[NDArray[np.str_]], days: tuple[int, int]) -> list[NDArray[np.int16]]:
    """Hold out days of the month: groups end with them, as '2023-03-14' or '03-14' do."""
    names = np.unique(np.concatenate([np.unique(units) for units in named]))
    day = np.array([int(name.rpartition("-")[2]) for name in names])
    fold = np.where((day >= days[0]) & (day <= days[1]), 0, NEVER).astype(np.int16)
    if len(set(fold.tolist())) < 2:
        raise VigieError(
            "train.folds.test_days hold out everything, or nothing",
            found=f"days {sorted(set(day.tolist()))}, held out {days[0]} to {days[1]}",
            expected="some days to learn from and some to test on",
            do="choose other days",
        )
    return [fold[np.searchsorted(names, units)] for units in named]


def _shared_out(named: Sequence[NDArray[np.str_]], settings: SwathFoldSettings) -> list[NDArray[np.int16]]:
    """Share units out among folds, the largest first, to the fold with the fewest pixels."""
    # Swath by swath: the names of the pixels of many orbits do not fit into memory.
    counted = Counter[str]()
    for units in named:
        counted.update(dict(zip(*(found.tolist() for found in np.unique(units, return_counts=True)), strict=True)))
    names = np.array(sorted(counted))
    pixels = [counted[name] for name in names.tolist()]
    if len(names) < settings.count:
        raise VigieError(
            f"cannot make {settings.count} folds by {settings.by}",
            found=f"{len(names)} of it: {', '.join(names[:5])}",
            expected="at least as many as folds",
            do="hold out by something else, lower train.folds.count, or set train.folds.by = 'none'",
        )
    load, fold = [0] * settings.count, {}
    for number in sorted(range(len(names)), key=lambda n: (-pixels[n], names[n])):
        fold[names[number]] = load.index(min(load))
        load[fold[names[number]]] += pixels[number]
    table = np.array([fold[name] for name in names], dtype=np.int16)
    return [table[np.searchsorted(names, units)] for units in named]


def _regimes(swaths: Sequence[xr.Dataset], count: int) -> list[NDArray[np.int16]]:
    """Cut at quantiles of water vapour: dry ground is tested by what learnt from moist ground, and so on."""
    name = "total_column_water_vapour"
    if any(name not in swath for swath in swaths):
        raise VigieError(
            "regimes are ranges of water vapour, which these swaths do not have",
            expected=f"the ancillary variable {name}",
            do="choose another train.folds.by",
        )
    vapour = [swath[name].values for swath in swaths]
    told = [np.isfinite(values) & np.isfinite(swath["truth"].values) for values, swath in zip(vapour, swaths, strict=True)]
    everything = np.concatenate([values[where] for values, where in zip(vapour, told, strict=True)])
    cuts = np.quantile(everything, np.arange(1, count) / count) if everything.size else np.zeros(count - 1)
    sizes = np.bincount(np.digitize(everything, cuts), minlength=count)
    if sizes.min() == 0:
        spread = f"{everything.min():.4g} to {everything.max():.4g} kg m-2" if everything.size else "none"
        raise VigieError(
            f"cannot make {count} folds by regime: one of them would have no footprint",
            found=f"water vapour of {everything.size} footprints with rain rates: {spread}",
            expected="as many ranges of water vapour as folds, with rain rates in each",
            do="lower train.folds.count, choose another train.folds.by, or add swaths of other regimes",
        )
    return [np.where(np.isfinite(values), np.digitize(values, cuts), NEVER).astype(np.int16) for values in vapour]
