"""Scores of rain rates against observed ones: bias, errors, correlation, and how well thresholds are detected.

Formulas are those of the precipitation community (SatRain, Wilks 2011). A threshold is reached where rate >= threshold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.core.errors import VigieError
from vigie.verify.events import TABLE, average_precision, count_table, table_scores
from vigie.verify.tally import Metric, Tally

Floats = NDArray[np.float64]

THRESHOLDS_MM_H = (0.1, 1.0, 5.0, 10.0)
"""Rain, moderate rain, heavy and very heavy rain, mm/h."""

WET_MM_H = 0.1
"""A pixel is wet where its rate reaches this."""

SMAPE_ABOVE_MM_H = 0.1
"""Relative errors of less rain than this say little."""

RATE_EDGES_MM_H = np.logspace(-3.0, 3.0, 601)
"""Bins of estimated rates in which precision-recall is counted: 2.3 % wide; lower and higher rates fall into the outer two."""


@dataclass(frozen=True)
class RainSample:
    """Estimated beside observed rain rates, mm/h, of one shape, NaN where unknown; a row counts where both are known.

    `area` is what each rate counts for, of the same shape; None where all count alike.
    """

    estimate: NDArray[np.floating]
    truth: NDArray[np.floating]
    area: NDArray[np.floating] | None = None

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit together."""
        if self.estimate.shape != self.truth.shape:
            raise VigieError(
                "estimates and truth do not fit together",
                found=f"estimate {self.estimate.shape}, truth {self.truth.shape}",
                expected="one shape",
            )

    def known(self) -> tuple[Floats, Floats]:
        """Take the estimates and the truth of known rows, each (row,)."""
        both = self.rows
        return self.estimate[both].astype(np.float64), self.truth[both].astype(np.float64)

    @property
    def rows(self) -> NDArray[np.bool_]:
        """Where both are known."""
        known: NDArray[np.bool_] = np.isfinite(self.estimate) & np.isfinite(self.truth)
        return known

    @property
    def counts_for(self) -> Floats | NDArray[np.int64]:
        """What each known row counts for: its area, or 1."""
        both = self.rows
        return np.ones(int(both.sum()), np.int64) if self.area is None else self.area[both].astype(np.float64)


def count_rates(sample: RainSample) -> Tally:
    """Sum errors and moments of rates, by area; `smape` over rows with observed rain above `SMAPE_ABOVE_MM_H`."""
    p, y = sample.known()
    area = sample.counts_for
    wet = y > SMAPE_ABOVE_MM_H
    relative = np.abs(p - y)[wet] / (0.5 * (np.abs(p) + np.abs(y))[wet])
    terms = {
        "estimate": p,
        "truth": y,
        "absolute_error": np.abs(p - y),
        "squared_error": (p - y) ** 2,
        "estimate_squared": p**2,
        "truth_squared": y**2,
        "product": p * y,
    }
    total = xr.Dataset({name: (term * area).sum() for name, term in terms.items()} | {"smape": (relative * area[wet]).sum()})
    return Tally(total, xr.Dataset(dict.fromkeys(terms, area.sum()) | {"smape": area[wet].sum()}))


def finish_rates(tally: Tally) -> xr.Dataset:
    """Turn sums into `bias_percent`, `mae` and `rmse` (mm/h), `smape_percent` and `correlation`.

    bias = 100 (mean estimate / mean truth - 1); SMAPE = 100 mean |p - y| / (0.5 (|p| + |y|)). The correlation is NaN where
    estimates or truth do not vary.

    Examples
    --------
    >>> sample = RainSample(np.array([1.0, 2.0, 4.0]), np.array([1.0, 3.0, 2.0]))
    >>> {name: round(float(score), 3) for name, score in finish_rates(count_rates(sample)).items()}
    {'bias_percent': 16.667, 'mae': 1.0, 'rmse': 1.291, 'smape_percent': 35.556, 'correlation': 0.327}
    """
    mean = tally.mean()
    covariance = mean["product"] - mean["estimate"] * mean["truth"]
    variances = [_variance(mean[f"{name}_squared"], mean[name]) for name in ("estimate", "truth")]
    return xr.Dataset(
        {
            "bias_percent": 100 * (mean["estimate"] / mean["truth"].where(mean["truth"] > 0) - 1),
            "mae": mean["absolute_error"],
            "rmse": np.sqrt(mean["squared_error"]),
            "smape_percent": 100 * mean["smape"],
            "correlation": covariance / np.sqrt(variances[0] * variances[1]),
        }
    )


RATES: Metric[RainSample] = Metric(count_rates, finish_rates)
"""Scores of rain rates."""


def count_detections(sample: RainSample, thresholds_mm_h: tuple[float, ...] = THRESHOLDS_MM_H) -> Tally:
    """Count contingency tables at thresholds, by area, and how often each was reached by bin of the estimated rate.

    `came` (threshold, bin) has the number of rows in the bin as weight.
    """
    p, y = sample.known()
    area = sample.counts_for
    at = np.searchsorted(RATE_EDGES_MM_H, p, side="right")
    bins = len(RATE_EDGES_MM_H) + 1
    tables = [count_table(p >= t, y >= t, area) for t in thresholds_mm_h]
    came = np.stack([_counted(at[y >= t], area[y >= t], bins) for t in thresholds_mm_h])
    counts = {name: ("threshold_mm_h", np.array([table[name] for table in tables])) for name in TABLE}
    coords = {"threshold_mm_h": list(thresholds_mm_h), "bin": np.arange(bins)}
    total = xr.Dataset({**counts, "came": (("threshold_mm_h", "bin"), came)}, coords=coords)
    rows = dict.fromkeys(TABLE, area.sum())
    return Tally(total, xr.Dataset({**rows, "came": ("bin", _counted(at, area, bins))}, coords={"bin": coords["bin"]}))


def finish_detections(tally: Tally) -> xr.Dataset:
    """Turn counts into `pod`, `far`, `csi`, `f1`, `hss` and `pr_auc` along `threshold_mm_h`.

    Examples
    --------
    >>> sample = RainSample(np.array([0.0, 0.5, 2.0, 8.0]), np.array([0.0, 2.0, 2.0, 6.0]))
    >>> scores = finish_detections(count_detections(sample))
    >>> scores["csi"].values.round(3).tolist(), scores["pr_auc"].values.round(3).tolist()
    ([1.0, 0.667, 1.0, nan], [1.0, 1.0, 1.0, nan])
    """
    table = table_scores({name: tally.total[name] for name in TABLE})
    return xr.Dataset({**table, "pr_auc": average_precision(tally.total["came"], tally.weight["came"])})


DETECTIONS: Metric[RainSample] = Metric(count_detections, finish_detections)
"""Scores of thresholds of rain."""


def _counted(at: NDArray[np.int64], area: NDArray[np.generic], bins: int) -> NDArray[np.generic]:
    """Sum what rows count for by bin; counts stay whole numbers, which add exactly."""
    return np.bincount(at, weights=area, minlength=bins).astype(area.dtype)


def _variance(square: xr.DataArray, mean: xr.DataArray) -> xr.DataArray:
    """Mean square less squared mean; NaN where it is no more than rounding."""
    variance = square - mean**2
    return variance.where(variance > 1e-12 * square)
