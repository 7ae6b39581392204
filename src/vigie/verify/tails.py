"""Are extremes as large and as frequent as observed: tail statistics of samples, never of the mean, which has no tail.

Samples are draws from predicted quantiles (`vigie.verify.quantiles.draw`) or members of an ensemble. Order statistics do not
add, so these scores see all rows at once.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.core.errors import VigieError
from vigie.verify.rain import WET_MM_H

PROBABILITIES = (0.5, 0.75, 0.9, 0.95, 0.99, 0.999)
"""Where quantiles of samples are held against those of the truth."""


def tail_statistics(samples: NDArray[np.floating], truth: NDArray[np.floating]) -> xr.Dataset:
    """Hold samples (draw, ...) against the truth (...), mm/h, on rows where all are known.

    `sample_quantile` (draw, probability) and `truth_quantile` (probability), mm/h, make a Q-Q plot. Along `draw` stand
    `p99_ratio`, `p999_ratio`, `max_ratio` and `wet_ratio`, sample / truth, the latter of the share of rows that reach
    `WET_MM_H`; and `wasserstein` (mm/h), the mean distance of sorted samples and sorted truth. One draw scatters by some per
    cent at p99 and by tens at the maximum: take `.mean("draw")` of 20 or more, and `.std("draw")` beside it.

    Examples
    --------
    >>> truth = np.array([0.0, 1.0, 2.0, 4.0])
    >>> tails = tail_statistics(np.stack([truth * 2, truth]), truth).mean("draw")
    >>> float(tails["max_ratio"]), float(tails["wet_ratio"]), float(tails["wasserstein"])
    (1.5, 1.0, 0.875)
    """
    drawn, observed = _known(samples, truth)
    sample_quantile, truth_quantile = (np.quantile(a, PROBABILITIES, axis=-1) for a in (drawn, observed))
    over = xr.DataArray((sample_quantile.T / _positive(truth_quantile)), dims=("draw", "probability"))
    over = over.assign_coords(probability=list(PROBABILITIES))
    return xr.Dataset(
        {
            "sample_quantile": (("draw", "probability"), sample_quantile.T),
            "truth_quantile": ("probability", truth_quantile),
            "p99_ratio": over.sel(probability=0.99, drop=True),
            "p999_ratio": over.sel(probability=0.999, drop=True),
            "max_ratio": ("draw", drawn.max(axis=1) / _positive(observed.max())),
            "wet_ratio": ("draw", (drawn >= WET_MM_H).mean(axis=1) / _positive((observed >= WET_MM_H).mean())),
            "wasserstein": ("draw", np.abs(np.sort(drawn, axis=1) - np.sort(observed)).mean(axis=1)),
        },
        coords={"probability": list(PROBABILITIES)},
    )


def _known(samples: NDArray[np.floating], truth: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if samples.shape[1:] != truth.shape or samples.ndim == 0:
        raise VigieError(
            "samples and truth do not fit together",
            found=f"samples {samples.shape}, truth {truth.shape}",
            expected="(draw, ...) and (...)",
        )
    rows = np.isfinite(samples).all(axis=0) & np.isfinite(truth)
    if not rows.any():
        raise VigieError("there is nothing to score", found="no row where samples and truth are known", expected="at least one")
    return samples[:, rows].astype(np.float64), truth[rows].astype(np.float64)


def _positive(below: NDArray[np.float64] | np.floating) -> NDArray[np.float64]:
    """Divisors of ratios: NaN where there is no rain to compare with."""
    return np.where(np.asarray(below) > 0, below, np.nan)
