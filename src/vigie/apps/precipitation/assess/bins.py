"""Averages of two records over the same cells and intervals, where their places or times differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.apps.precipitation.assess.record import Part, Record, Texts, blocks, stamps_of
from vigie.core.errors import VigieError

Floats = NDArray[np.float64]

CELLS = 10**10
"""Cells of the Earth are numbered below this, and intervals above: one number tells both."""


@dataclass(frozen=True)
class Averages:
    """Averages that both records have (n,), mm h-1, the time at which the interval of each begins, and the area of its cell.

    Areas are 1 on average.
    """

    product: Floats
    reference: Floats
    key: Texts
    area: Floats


@dataclass(frozen=True)
class _Sums:
    """Sums and counts of rain by interval and cell, in ascending order of their numbers."""

    number: NDArray[np.int64]
    total: Floats
    count: Floats


def averages(product: Record, reference: Record, cell_deg: float, hours: float) -> Averages | None:
    """Average two records over cells and intervals; None where they share none.

    Memory follows the number of cells and intervals with data, not the number of samples.

    Raises
    ------
    VigieError: a record does not say when or where it was.
    """
    sums = [_sums(record, cell_deg, hours) for record in (product, reference)]
    shared, ours, theirs = np.intersect1d(sums[0].number, sums[1].number, assume_unique=True, return_indices=True)
    if not ours.size:
        return None
    means = [s.total[at] / s.count[at] for s, at in zip(sums, (ours, theirs), strict=True)]
    begin = (shared // CELLS * round(hours * 60)).astype("datetime64[m]")
    area = np.cos(np.deg2rad(latitude_of(shared % CELLS, cell_deg)))
    return Averages(means[0], means[1], stamps_of(begin), area / area.mean())


def _sums(record: Record, cell_deg: float, hours: float) -> _Sums:
    """Sum a record, part by part."""
    merged: _Sums | None = None
    for part in record.parts:
        _check_times(part, record.name)
        for steps in blocks(part, 3):
            for piece in _pieces(part, steps, record, cell_deg, hours):
                merged = piece if merged is None else _merge([merged, piece])
    if merged is None:
        raise VigieError(f"'{record.name}' has no rain at all", found="no valid value", do="check its files")
    return merged


def _check_times(part: Part, name: str) -> None:
    if "" in part.stamps:
        raise VigieError(
            f"'{name}' cannot be averaged with another product: {part.name} does not say when it was",
            do="give a reference with the same footprints",
        )


def _pieces(part: Part, steps: slice, record: Record, cell_deg: float, hours: float) -> Iterator[_Sums]:
    data = part.read(steps)
    minutes = part.stamps[steps].astype("datetime64[m]").astype(np.int64)
    interval = minutes // round(hours * 60)
    latitude, longitude = _positions(data, record)
    rain = data["rain"].values
    where = cell_numbers(latitude, longitude, cell_deg)
    number = interval.reshape(-1, *[1] * (rain.ndim - 1)) * CELLS + where
    known = np.isfinite(rain) & (where >= 0)
    if known.any():
        yield _merge([_Sums(number[known], rain[known], np.ones(int(known.sum())))])


def cell_numbers(latitude: Floats, longitude: Floats, cell_deg: float) -> NDArray[np.int64]:
    """Number the cells that positions lie in, -1 where there is no position.

    Examples
    --------
    >>> cell_numbers(np.array([-89.5, -89.5, np.nan]), np.array([-179.5, -178.5, 0.0]), 1.0).tolist()
    [0, 1, -1]
    """
    known = np.isfinite(latitude) & np.isfinite(longitude)
    north, east = (np.floor(np.where(known, x + shift, 0) / cell_deg) for x, shift in ((latitude, 90), (longitude, 180)))
    return np.where(known, north * np.ceil(360 / cell_deg) + east % np.ceil(360 / cell_deg), -1).astype(np.int64)


def latitude_of(number: NDArray[np.int64], cell_deg: float) -> Floats:
    """Latitude of the middle of numbered cells, degrees; the pole itself is in the last row.

    Examples
    --------
    >>> latitude_of(cell_numbers(np.array([-89.9, 45.1, 90.0]), np.array([10.0, 10.0, 10.0]), 0.5), 0.5).tolist()
    [-89.75, 45.25, 89.75]
    """
    row = np.minimum(number // np.ceil(360 / cell_deg), np.ceil(180 / cell_deg) - 1)
    middle: Floats = (row + 0.5) * cell_deg - 90
    return middle


def _positions(data: xr.Dataset, record: Record) -> tuple[Floats, Floats]:
    where = data if record.geometry == "swath" else record.place
    latitude, longitude = (where[axis].values.astype(np.float64) for axis in ("latitude", "longitude"))
    if not np.isfinite(latitude).any():
        raise VigieError(
            f"'{record.name}' does not say where it is", expected="latitude and longitude", do="add them to its file"
        )
    return latitude, longitude


def _merge(pieces: list[_Sums]) -> _Sums:
    """Add sums of the same interval and cell."""
    number, total, count = (np.concatenate([getattr(piece, name) for piece in pieces]) for name in ("number", "total", "count"))
    unique, at = np.unique(number, return_inverse=True)
    return _Sums(unique, np.bincount(at, weights=total).astype(np.float64), np.bincount(at, weights=count).astype(np.float64))
