"""Is one model better than another: the difference of their scores, resampled over groups of rows that both were scored on.

Rows of one day or one orbit err alike, so days and orbits are drawn, never rows; and both models are scored on the same draws,
so that what is hard for both cancels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.core.errors import VigieError
from vigie.verify.bootstrap import BOUNDS, resample
from vigie.verify.tally import Tally, add_all

LEVEL = 0.95
"""Share of the replicates inside an interval."""


def count_by_group(count: Callable[[NDArray[np.bool_]], Tally], groups: NDArray[np.str_]) -> Tally:
    """Count rows group by group: `count` gets the mask of each group's rows; the tally is labelled along `group`.

    Examples
    --------
    >>> error = np.array([1.0, 3.0, 5.0])
    >>> tally = count_by_group(
    ...     lambda rows: Tally(xr.Dataset({"error": error[rows].sum()}), xr.Dataset({"error": rows.sum()})),
    ...     np.array(["01-04", "01-04", "01-05"]),
    ... )
    >>> tally.mean()["error"].values.tolist()
    [2.0, 5.0]
    """
    return add_all(count(groups == name).at(group=str(name)) for name in np.unique(groups))


def difference(
    first: Tally,
    second: Tally,
    finish: Callable[[Tally], xr.Dataset],
    dim: str = "group",
    replicates: int = 1000,
    seed: int = 0,
) -> xr.Dataset:
    """Take every score of `first` less that of `second`, with a paired bootstrap over the groups of `dim`.

    Beside each score stand `<score>_interval` (bound: low, high), the 95 % percentile interval, and `<score>_standard_error`.
    Where the interval holds 0, the data do not tell the two apart. Both are NaN where some draw has no score (no event in it).

    Examples
    --------
    >>> def squared(values):
    ...     coords = {"group": ["a", "b", "c"]}
    ...     ones = xr.Dataset({"mse": ("group", [1, 1, 1])}, coords=coords)
    ...     return Tally(xr.Dataset({"mse": ("group", values)}, coords=coords), ones)
    >>> gap = difference(squared([2.0, 5.0, 9.0]), squared([1.0, 4.0, 8.0]), Tally.mean)
    >>> float(gap["mse"]), gap["mse_interval"].values.round(9).tolist(), float(gap["mse_standard_error"].round(9))
    (1.0, [1.0, 1.0], 0.0)

    Raises
    ------
    VigieError: the tallies do not hold the same two groups or more, or nothing is to be resampled.
    """
    labels = _shared(first, second, dim)
    second = second.map(lambda data: data.sel({dim: labels}) if dim in data.dims else data)
    if replicates < 2:
        raise VigieError("a bootstrap needs replicates", found=replicates, expected="2 or more, for instance 1000")
    # one seed draws the same groups for both
    drawn = finish(resample(first, dim, replicates, seed)) - finish(resample(second, dim, replicates, seed))
    gap = finish(first.sum(dim)) - finish(second.sum(dim))
    bounds = drawn.quantile([(1 - LEVEL) / 2, (1 + LEVEL) / 2], "replicate", skipna=False).rename(quantile="bound")
    bounds = bounds.assign_coords(bound=list(BOUNDS))
    error = drawn.std("replicate", ddof=1, skipna=False)
    return xr.merge(
        [
            gap,
            bounds.rename({name: f"{name}_interval" for name in gap.data_vars}),
            error.rename({name: f"{name}_standard_error" for name in gap.data_vars}),
        ],
        join="exact",
        compat="no_conflicts",
    )


def standard_error(
    tally: Tally, finish: Callable[[Tally], xr.Dataset], dim: str = "group", replicates: int = 1000, seed: int = 0
) -> xr.Dataset:
    """Take the standard deviation of every score over bootstrap draws of the groups of `dim`."""
    return finish(resample(tally, dim, replicates, seed)).std("replicate", ddof=1, skipna=False)


def _shared(first: Tally, second: Tally, dim: str) -> list[str]:
    """Labels of `dim` in the order of the first tally, which both must hold."""
    one, other = ([str(v) for v in tally.total[dim].values] if dim in tally.total.dims else [] for tally in (first, second))
    if set(one) != set(other) or len(one) < 2:
        raise VigieError(
            f"two models are compared on the same {dim}s, at least two",
            found=f"{len(one)} and {len(other)}, of which {len(set(one) & set(other))} in common",
            do=f"score both on the same rows, and label them: tally.at({dim}=...)",
        )
    return one
