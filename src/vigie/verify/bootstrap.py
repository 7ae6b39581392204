"""How sure a score is: percentile intervals from resampling what is independent: groups of scenes that share no ground."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import xarray as xr

from vigie.core.errors import VigieError
from vigie.verify.tally import Tally

BOUNDS = ("low", "high")


def resample(tally: Tally, dim: str, replicates: int = 1000, seed: int = 0) -> Tally:
    """Draw as many units of `dim` as there are, with replacement, `replicates` times, and pool each draw.

    The dimension `dim` becomes `replicate`. A draw is a vector of multiplicities, so the pooled sums are one product.

    Examples
    --------
    >>> tally = Tally(xr.Dataset({"e": ("scene", [1.0, 1.0])}), xr.Dataset({"e": ("scene", [2, 2])}))
    >>> resample(tally, "scene", replicates=3).mean()["e"].values.tolist()
    [0.5, 0.5, 0.5]
    """
    if dim not in tally.total.dims:
        raise VigieError(
            f"there is no '{dim}' to resample",
            found=sorted(map(str, tally.total.dims)),
            do=f"label each tally first: tally.at({dim}=...)",
        )
    units = tally.total.sizes[dim]
    drawn = np.random.default_rng(seed).multinomial(units, np.full(units, 1 / units), size=replicates)
    counts = xr.DataArray(drawn, dims=("replicate", dim), coords={dim: tally.total[dim].values})

    def pooled(data: xr.Dataset) -> xr.Dataset:
        return data.map(lambda v: xr.dot(counts, v, dim=dim) if dim in v.dims else v)

    return tally.map(pooled)


def interval(
    tally: Tally,
    finish: Callable[[Tally], xr.Dataset],
    dim: str,
    level: float = 0.95,
    replicates: int = 1000,
    seed: int = 0,
) -> xr.Dataset:
    """Give the percentile interval of every score, along a new dimension `bound` (low, high).

    The same seed gives the same interval. With one unit there is nothing to resample, and without replicates nothing is: the
    interval is NaN, not zero. With few units (six chips) percentile intervals are known to be too narrow; they are still the
    honest scale of the scatter. Units must be independent: intervals from scenes of the same ground are far too narrow
    (`Tally.regroup` pools them first).

    Parameters
    ----------
    tally: counts along `dim`.
    finish: turns a tally into scores, along any dimensions.
    dim: the independent units, for instance "group".
    level: share of the replicates inside.
    replicates, seed: of the resampling; 0 replicates give no interval.
    """
    if not 0 < level < 1:
        raise VigieError("an interval's level is a share", found=level, expected="between 0 and 1, for instance 0.95")
    scores = finish(resample(tally, dim, max(1, replicates), seed))
    tails = [(1 - level) / 2, (1 + level) / 2]
    with warnings.catch_warnings():
        # A class that no scene holds has no score, and so no interval: NaN is the answer, not a surprise.
        warnings.filterwarnings("ignore", "All-NaN slice encountered", RuntimeWarning)
        bounds = scores.quantile(tails, "replicate", skipna=True).rename(quantile="bound").assign_coords(bound=list(BOUNDS))
    return bounds if replicates and tally.total.sizes[dim] > 1 else bounds * np.nan
