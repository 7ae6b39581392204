"""Does predicted spread say how large errors are: spread against error by class of spread, in sums that add."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.core.errors import VigieError
from vigie.verify.quantiles import QuantileSample, mean_of_quantiles, variance_of_quantiles
from vigie.verify.tally import Metric, Tally

SPREAD_EDGES_MM_H = np.logspace(-2.0, 2.0, 13)
"""Classes of predicted standard deviation, three a decade; smaller and larger ones fall into the outer two."""


@dataclass(frozen=True)
class SpreadSample:
    """Predicted mean (mm/h) and variance (mm2/h2) beside the truth (mm/h), of one shape; a row counts where all are known."""

    mean: NDArray[np.floating]
    variance: NDArray[np.floating]
    truth: NDArray[np.floating]

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit together."""
        if not self.mean.shape == self.variance.shape == self.truth.shape:
            raise VigieError(
                "means, variances and truth do not fit together",
                found=f"mean {self.mean.shape}, variance {self.variance.shape}, truth {self.truth.shape}",
                expected="one shape",
            )


def spread_of_quantiles(sample: QuantileSample) -> SpreadSample:
    """Take mean and variance of what quantiles stand for."""
    quantiles, truth = sample.known()
    levels = sample.levels.astype(np.float64)
    return SpreadSample(mean_of_quantiles(quantiles, levels), variance_of_quantiles(quantiles, levels), truth)


def count_spread(sample: SpreadSample) -> Tally:
    """Sum predicted variance and squared error by class of predicted standard deviation."""
    known = np.isfinite(sample.mean) & np.isfinite(sample.variance) & np.isfinite(sample.truth)
    variance = sample.variance[known].astype(np.float64)
    error = sample.mean[known].astype(np.float64) - sample.truth[known]
    at = np.searchsorted(SPREAD_EDGES_MM_H, np.sqrt(variance), side="right")
    bins = len(SPREAD_EDGES_MM_H) + 1
    sums = {"variance": variance, "squared_error": error**2}
    coords = {"bin": np.arange(bins)}
    total = {name: ("bin", np.bincount(at, weights=values, minlength=bins)) for name, values in sums.items()}
    rows = ("bin", np.bincount(at, minlength=bins))
    return Tally(xr.Dataset(total, coords=coords), xr.Dataset(dict.fromkeys(sums, rows), coords=coords))


def finish_spread(tally: Tally) -> xr.Dataset:
    """Turn sums into `spread` and `error` (root mean squares, mm/h) and `rows` by class, and `spread_over_error` of all rows.

    Where spread is honest, both are equal in every class (Fortin et al. 2014): variances are averaged, not deviations.

    Examples
    --------
    >>> sample = SpreadSample(np.array([1.0, 3.0]), np.array([4.0, 4.0]), np.array([3.0, 1.0]))
    >>> float(finish_spread(count_spread(sample))["spread_over_error"])
    1.0
    """
    classes = np.sqrt(tally.mean())
    pooled = tally.total.sum("bin")
    ratio = np.sqrt(pooled["variance"] / pooled["squared_error"].where(pooled["squared_error"] > 0))
    return xr.Dataset(
        {
            "spread": classes["variance"],
            "error": classes["squared_error"],
            "rows": tally.weight["variance"],
            "spread_over_error": ratio,
        }
    )


SPREAD: Metric[SpreadSample] = Metric(count_spread, finish_spread)
"""Spread against error."""
