"""Scores that add: a tally holds sums and weights, so tiles are counted in any order, anywhere, and added afterwards.

The idea is that of WeatherBench-X (Rasp et al. 2024, `aggregation.py`): a score is a function (`finish`) of the means of
statistics; statistics add over tiles, scenes and machines, scores do not.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Generic, TypeVar

import numpy as np
import xarray as xr

from vigie.core.errors import VigieError

Sample = TypeVar("Sample")


@dataclass(frozen=True)
class Tally:
    """Sums of statistics and the weights they were summed with.

    `total` and `weight` hold the same variables; a weight broadcasts against its total. Adding takes the union of labelled
    coordinates (scenes, regions): what one side never saw counts as zero. Counts are int64, so they add exactly.

    Examples
    --------
    >>> one = Tally(xr.Dataset({"error": 2.0}), xr.Dataset({"error": 4}))
    >>> two = Tally(xr.Dataset({"error": 4.0}), xr.Dataset({"error": 2}))
    >>> float((one + two).mean()["error"])
    1.0
    >>> both = one.at(scene="a") + two.at(scene="b")
    >>> both.mean()["error"].values.tolist()
    [0.5, 2.0]
    """

    total: xr.Dataset
    weight: xr.Dataset

    def __post_init__(self) -> None:
        """Refuse totals without weights."""
        if set(self.total.data_vars) != set(self.weight.data_vars):
            raise VigieError(
                "a tally needs one weight for each total",
                found=f"totals {sorted(map(str, self.total.data_vars))}, weights {sorted(map(str, self.weight.data_vars))}",
            )

    def __add__(self, other: Tally) -> Tally:
        """Add sums and weights variable by variable."""
        if set(self.total.data_vars) != set(other.total.data_vars):
            raise VigieError(
                "these tallies hold different statistics and cannot be added",
                found=sorted(map(str, other.total.data_vars)),
                expected=sorted(map(str, self.total.data_vars)),
            )
        return Tally(_sum(self.total, other.total), _sum(self.weight, other.weight))

    def mean(self) -> xr.Dataset:
        """Divide sums by weights; NaN where nothing was counted."""
        weight = self.weight.astype(np.float64)
        return self.total / weight.where(weight > 0)

    def at(self, **labels: str) -> Tally:
        """Say where the tally was counted, one new dimension a label: `tally.at(scene="155")`."""
        place = {name: (name, np.array([label], dtype=np.str_)) for name, label in labels.items()}
        return self.map(lambda data: data.expand_dims(list(labels)).assign_coords(place))

    def sum(self, dim: str) -> Tally:
        """Pool over a labelled dimension."""
        return self.map(lambda data: data.sum(dim) if dim in data.dims else data)

    def regroup(self, dim: str, into: str, groups: Mapping[str, str]) -> Tally:
        """Pool labels of `dim` into groups: `tally.regroup("scene", "region", {"3": "Sikkim", "155": "Everest"})`.

        Raises
        ------
        VigieError: a label has no group.
        """
        labels = [str(label) for label in self.total[dim].values]
        missing = [label for label in labels if label not in groups]
        if missing:
            raise VigieError(f"some {dim}s belong to no {into}", found=missing, expected=f"a {into} for each {dim}")
        key = xr.DataArray([groups[label] for label in labels], dims=dim, name=into)
        return self.map(lambda data: data.drop_vars(dim).groupby(key).sum())

    def map(self, change: Callable[[xr.Dataset], xr.Dataset]) -> Tally:
        """Change sums and weights alike."""
        return Tally(change(self.total), change(self.weight))


@dataclass(frozen=True)
class Metric(Generic[Sample]):
    """A score: what is counted on one sample (a tile, a scene), and how means of counts become scores.

    `finish` must work along named dimensions only, so that it serves one scene, many scenes and bootstrap replicates alike.

    Examples
    --------
    >>> square = Metric(lambda e: field_tally({"square": xr.DataArray(e, dims="x") ** 2}, over=["x"]),
    ...                 lambda tally: np.sqrt(tally.mean()).rename(square="rmse"))
    >>> float(square.finish(square.count(np.array([3.0, np.nan])) + square.count(np.array([3.0, 3.0])))["rmse"])
    3.0
    """

    count: Callable[[Sample], Tally]
    finish: Callable[[Tally], xr.Dataset]


def field_tally(fields: Mapping[str, xr.DataArray], over: Iterable[Hashable], area: xr.DataArray | None = None) -> Tally:
    """Sum fields over dimensions where they are numbers, weight = how many those are, or the area that they cover.

    Examples
    --------
    >>> rain = xr.DataArray([[1.0, 4.0], [np.nan, 2.0]], dims=("time", "cell"))
    >>> tally = field_tally({"rain": rain}, ["cell"], area=xr.DataArray([2.0, 1.0], dims="cell"))
    >>> tally.mean()["rain"].values.tolist()
    [2.0, 2.0]
    """
    dims = list(over)
    each = 1 if area is None else area
    total = xr.Dataset({name: (field.astype(np.float64) * each).sum(dims) for name, field in fields.items()})
    weight = xr.Dataset({name: (field.notnull() * each).sum(dims) for name, field in fields.items()})
    return Tally(total, weight)


def add_all(tallies: Iterable[Tally]) -> Tally:
    """Add any number of tallies.

    Raises
    ------
    VigieError: there are none.
    """
    found = list(tallies)
    if not found:
        raise VigieError("there is nothing to score", found="no tallies", expected="at least one tile with truth")
    return reduce(add, found)


def _sum(a: xr.Dataset, b: xr.Dataset) -> xr.Dataset:
    a, b = xr.align(a, b, join="outer", fill_value=0)
    return a + b
