"""Which places or cells of two records are the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.acquire.granules.colocate import nearest
from vigie.apps.precipitation.assess.record import Record
from vigie.core.errors import VigieError, counted
from vigie.core.errors import nearest as nearest_name

Index = NDArray[np.intp]

SAME_SHARE_OF_CELL = 0.01
"""Cells are the same where their centres differ by less than this share of a cell."""


@dataclass(frozen=True)
class Cells:
    """The same places or cells in two records: by dimension, where they lie in the first and in the second; and in words."""

    indices: dict[str, tuple[Index, Index]]
    how: str
    names: tuple[str, ...] = ()

    def pick(self, data: xr.Dataset, which: int) -> xr.Dataset:
        """Take them from data of the first (0) or second (1) record."""
        return data.isel({dim: pair[which] for dim, pair in self.indices.items() if dim in data.dims})

    @property
    def count(self) -> int:
        """How many there are."""
        return int(np.prod([pair[0].size for pair in self.indices.values()]))

    def pieces(self, most: int) -> Iterator[Cells]:
        """Cut along the first dimension into pieces of about so many cells, one row at least."""
        dim, (here, there) = next(iter(self.indices.items()))
        rows = max(1, most // max(1, self.count // here.size))
        for start in range(0, here.size, rows):
            part = slice(start, start + rows)
            yield Cells({**self.indices, dim: (here[part], there[part])}, self.how, self.names[part])

    def points(self, most: int) -> Points:
        """Choose up to so many of them, evenly spread row by row."""
        numbers = np.unique(np.linspace(0, self.count - 1, min(most, self.count)).round().astype(np.intp))
        at = np.unravel_index(numbers, tuple(pair[0].size for pair in self.indices.values()))
        chosen = {dim: (here[k], there[k]) for (dim, (here, there)), k in zip(self.indices.items(), at, strict=True)}
        return Points(chosen, tuple(self.names[n] if self.names else f"cell {n + 1}" for n in numbers.tolist()))


@dataclass(frozen=True)
class Points:
    """Single places or cells: by dimension, where each lies in the first and in the second record; and what they are called."""

    indices: dict[str, tuple[Index, Index]]
    names: tuple[str, ...]

    def pick(self, data: xr.Dataset, which: int) -> xr.Dataset:
        """Take them from data of the first (0) or second (1) record, along `cell`."""
        return data.isel(
            {dim: xr.DataArray(pair[which], dims="cell") for dim, pair in self.indices.items() if dim in data.dims}
        )


def same_cells(one: Record, other: Record, within_km: float) -> Cells | None:
    """Find the places or cells that two records share; None where there are none.

    Places are known by their names where both have any in common, else by their positions.
    """
    return _same_places(one, other, within_km) if one.geometry == "places" else _same_grid(one, other)


def chosen(cells: Cells | None, names: Sequence[str]) -> Cells:
    """Keep the places of these names.

    Raises
    ------
    VigieError: a name is not among the places, or there are none with names.
    """
    unknown = [name for name in names if cells is None or name not in cells.names]
    if cells is None or unknown:
        known = cells.names if cells is not None else ()
        raise VigieError(
            "pairing.only names places that the records do not share",
            found=", ".join(known[:8]) or "no places with names",
            expected=", ".join(unknown),
            do=nearest_name(unknown[0], known) or "name places that both have, or leave pairing.only out",
        )
    ((here, there),) = cells.indices.values()
    at = [cells.names.index(name) for name in names]
    return Cells({"place": (here[at], there[at])}, f"place by place: {', '.join(names)}", tuple(names))


def _same_places(one: Record, other: Record, within_km: float) -> Cells | None:
    names, others = (record.place["name"].values.tolist() for record in (one, other))
    shared = [name for name in names if name in others]
    named = not all(str(name).startswith("place ") for name in shared)
    if shared and (named or _without_positions(one) or _without_positions(other)):
        pair = np.array([names.index(name) for name in shared]), np.array([others.index(name) for name in shared])
        return Cells({"place": pair}, f"place by place: {counted(len(shared), 'place')} of the same names", tuple(shared))
    onto, source = ((r.place["latitude"].values[None], r.place["longitude"].values[None]) for r in (one, other))
    found = nearest(onto, source, within_km)[0]
    near = np.flatnonzero(found >= 0)
    if not near.size:
        return None
    how = f"place by place: {counted(near.size, 'place')} up to {within_km:g} km apart"
    return Cells({"place": (near, found[near])}, how, tuple(str(names[i]) for i in near))


def _without_positions(record: Record) -> bool:
    return not np.isfinite(record.place["latitude"]).any()


def _same_grid(one: Record, other: Record) -> Cells | None:
    pairs = {dim: _shared(one.place[dim].values, other.place[dim].values) for dim in ("y", "x")}
    if any(not pair[0].size for pair in pairs.values()):
        return None
    cells = Cells(pairs, "")
    positions = [cells.pick(record.place, which)["latitude"].values for which, record in enumerate((one, other))]
    apart = np.abs(positions[0] - positions[1])
    if np.nanmax(apart, initial=0.0) > 0.05:  # axes in metres of other projections
        return None
    return Cells(pairs, f"cell by cell: {counted(cells.count, 'cell')} of one grid")


def _shared(here: NDArray[np.float64], there: NDArray[np.float64]) -> tuple[Index, Index]:
    """Find centres that both axes have; axes of other spacing have none, though some centres may coincide."""
    steps = [np.median(np.abs(np.diff(axis))) if axis.size > 1 else np.nan for axis in (here, there)]
    tolerance = SAME_SHARE_OF_CELL * np.nanmax([*steps, 1e-9]) if np.isfinite(steps).any() else 1e-6
    if np.isfinite(steps).all() and abs(steps[0] - steps[1]) > tolerance:
        return np.empty(0, np.intp), np.empty(0, np.intp)
    order = np.argsort(there)
    at = np.clip(np.searchsorted(there[order], here), 1, max(there.size - 1, 1))
    candidates = np.stack([order[np.clip(at - 1, 0, there.size - 1)], order[np.clip(at, 0, there.size - 1)]])
    best = candidates[np.abs(there[candidates] - here).argmin(axis=0), np.arange(here.size)]
    near = np.flatnonzero(np.abs(there[best] - here) <= tolerance)
    return near, best[near]
