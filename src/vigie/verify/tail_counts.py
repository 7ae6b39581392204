"""Tails of samples beside those of the truth, from counts that add: any number of rows, in any order, in a few megabytes.

Order statistics do not add, so `vigie.verify.tails` must see all rows at once. Here samples and truth are counted into one
histogram, 1000 bins to a factor of ten from 0.001 to 10000 mm/h. A histogram and not a sample of rows: counts add exactly,
whatever the blocks, and no rare row is lost, which is what a tail is made of. A value is known to the width of its bin:

    |value found - value| < 0.12 % of the value, from 0.001 mm/h on         (10^(1/2000) - 1)
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.core.errors import VigieError
from vigie.verify.rain import WET_MM_H
from vigie.verify.tails import PROBABILITIES
from vigie.verify.tally import Tally

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

PER_DECADE = 1000
EDGES: Floats = np.array(
    [0.0, *(10.0**decade * 10 ** (step / PER_DECADE) for decade in range(-3, 4) for step in range(PER_DECADE))]
)
"""Lower edges of the bins, mm/h; those of decades are exact. The first holds what is below 0.001, the last what is above."""
VALUES: Floats = np.concatenate([[0.0], EDGES[1:] * 10 ** (0.5 / PER_DECADE)])
"""What a bin stands for, mm/h: its geometric middle, and no rain for the first."""
VALUE_ERROR = 10 ** (0.5 / PER_DECADE) - 1
"""Bound of the relative error of a value."""


def count_tails(samples: NDArray[np.floating], truth: NDArray[np.floating]) -> Tally:
    """Count samples (draw, row) and the truth (row), mm/h, over rows where all are known.

    Raises
    ------
    VigieError: samples and truth do not fit together.
    """
    if samples.ndim != 2 or samples.shape[1:] != truth.shape:
        raise VigieError(
            "samples and truth do not fit together",
            found=f"samples {samples.shape}, truth {truth.shape}",
            expected="(draw, row) and (row,)",
        )
    rows = np.isfinite(samples).all(axis=0) & np.isfinite(truth)
    counts = np.stack([_histogram(drawn) for drawn in samples[:, rows]])
    total = xr.Dataset(
        {"sample": (("draw", "intensity"), counts), "truth": ("intensity", _histogram(truth[rows]))},
        coords={"intensity": EDGES},
    )
    return Tally(total, xr.Dataset(dict.fromkeys(total.data_vars, int(rows.sum()))))


def finish_tails(tally: Tally) -> xr.Dataset:
    """Turn counts into what `vigie.verify.tails.tail_statistics` gives, each value to `VALUE_ERROR`.

    Raises
    ------
    VigieError: nothing was counted.

    Examples
    --------
    >>> truth = np.array([0.0, 1.0, 2.0, 4.0])
    >>> tally = count_tails(np.stack([truth * 2, truth]), truth)
    >>> tails = finish_tails(tally + tally).mean("draw")
    >>> float(tails["max_ratio"].round(2)), float(tails["wet_ratio"]), float(tails["wasserstein"].round(2))
    (1.5, 1.0, 0.88)
    """
    counts, observed = tally.total["sample"].values, tally.total["truth"].values
    if not observed.sum():
        raise VigieError("there is nothing to score", found="no row where samples and truth are known", expected="at least one")
    theirs, ours = quantiles(observed), np.stack([quantiles(drawn) for drawn in counts])
    over = xr.DataArray(ours / _positive(theirs), dims=("draw", "probability"), coords={"probability": list(PROBABILITIES)})
    highest, wet = np.array([_highest(drawn) for drawn in counts]), EDGES >= WET_MM_H * (1 - 1e-9)
    apart = np.abs(np.cumsum(counts, axis=1) - np.cumsum(observed))[:, :-1] / observed.sum()
    return xr.Dataset(
        {
            "sample_quantile": (("draw", "probability"), ours),
            "truth_quantile": ("probability", theirs),
            "p99_ratio": over.sel(probability=0.99, drop=True),
            "p999_ratio": over.sel(probability=0.999, drop=True),
            "max_ratio": ("draw", highest / _positive(_highest(observed))),
            "wet_ratio": ("draw", counts[:, wet].sum(axis=1) / _positive(observed[wet].sum())),
            "wasserstein": ("draw", apart @ np.diff(VALUES)),
        },
        coords={"probability": list(PROBABILITIES)},
        attrs={"value_relative_error": VALUE_ERROR},
    )


def quantiles(counts: Counts, probabilities: tuple[float, ...] = PROBABILITIES) -> Floats:
    """Read quantiles (probability,) from a histogram, linear between order statistics as `numpy.quantile` is."""
    place = np.asarray(probabilities) * (counts.sum() - 1)
    low, high = (VALUES[np.searchsorted(np.cumsum(counts), rank(place), side="right")] for rank in (np.floor, np.ceil))
    found: Floats = low + (place - np.floor(place)) * (high - low)
    return found


def largest(counts: Counts, number: int) -> Floats:
    """List the largest values of a histogram, at most so many, from the largest down: what tails are fitted to.

    Examples
    --------
    >>> tally = count_tails(np.array([[5.0, 0.0, 3.0]]), np.array([1.0, 4.0, 2.0]))
    >>> largest(tally.total["truth"].values, 2).round(1).tolist()
    [4.0, 2.0]
    """
    downwards = counts[::-1]
    kept = np.diff(np.minimum(np.cumsum(downwards), number), prepend=0)
    return np.repeat(VALUES[::-1], kept)


def _histogram(rates: NDArray[np.floating]) -> Counts:
    bins = np.searchsorted(EDGES, np.maximum(rates, 0.0).astype(np.float64), side="right") - 1
    return np.bincount(bins, minlength=EDGES.size)


def _highest(counts: Counts) -> np.float64:
    value: np.float64 = VALUES[np.flatnonzero(counts)[-1]]
    return value


def _positive(below: NDArray[np.generic] | np.generic) -> Floats:
    """Divisors of ratios: NaN where there is no rain to compare with."""
    return np.where(np.asarray(below) > 0, below, np.nan).astype(np.float64)
