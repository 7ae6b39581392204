"""The trend under area series: local level and slope with Student-t noise, so that a wild sample moves nothing.

State (level l, slope b) at dates dt years apart (see `smoother`), observation A:

    A = l + s e,   e ~ Student-t(nu), written as N(0, 1/w) with w ~ Gamma(nu/2, nu/2)

States and weights are found by variational Bayes (see `weights`); the three scales s, ql, qs are averaged over a grid with
weights exp(evidence bound), all grid points of many series computed at once. Nothing in the model prefers retreat or growth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma, gammaln

from vigie.apps.glaciers.history.smoother import Floats, Smoothed, smooth
from vigie.apps.glaciers.history.weights import settle

NOISE = np.geomspace(0.004, 0.4, 17)
"""Scale s of the observation noise, as a share of the median area."""
LEVEL_STEP = np.geomspace(0.002, 0.2, 6)
"""sqrt(ql): random step of the level in a year, as a share of the median area."""
SLOPE_STEP = np.geomspace(0.0005, 0.05, 5)
"""sqrt(qs): random change of the slope in a year, as a share of the median area."""
LEAST_SAMPLES = 4
"""Fewer samples than this hold no trend to speak of."""
AT_ONCE = 32
"""Series computed together: enough to be fast, few enough for the processor's cache."""


@dataclass(frozen=True)
class Trend:
    """A smoothed series at T dates: level and slope with standard deviations, and the weight of each sample.

    `weight` is E[w]: about 1 for ordinary samples, near 0 for wild ones, NaN where there is no sample. `noise` is the noise
    scale s. Units are those of the series (slopes per year).
    """

    level: Floats
    level_sd: Floats
    slope: Floats
    slope_sd: Floats
    weight: Floats
    noise: float


def local_trend(years: Floats, values: Floats, freedom: float = 4.0) -> Trend:
    """Fit a local level and slope to a series (T,) with wild samples and gaps; see `local_trends`.

    Examples
    --------
    >>> years = np.arange(12.0)
    >>> areas = 10 + 0.5 * years
    >>> areas[6] = 1.0
    >>> trend = local_trend(years, areas)
    >>> bool(abs(trend.level[6] - 13) < 0.2), bool(trend.weight[6] < 0.1)
    (True, True)
    """
    return local_trends(years, values[:, np.newaxis], freedom)[0]


def local_trends(years: Floats, values: Floats, freedom: float = 4.0) -> list[Trend]:
    """Fit a local level and slope to many series with wild samples and gaps.

    Parameters
    ----------
    years: dates in years, ascending (T,).
    values: the series (T, N), NaN where there is no sample.
    freedom: nu of the Student-t noise.

    Returns
    -------
    The trend of each series at all T dates; all NaN when it has fewer than four samples, or only zeros.
    """
    nothing = np.full(len(values), np.nan)
    found = [Trend(nothing, nothing, nothing, nothing, nothing, float("nan"))] * values.shape[1]
    usable = np.flatnonzero(np.isfinite(values).sum(axis=0) >= LEAST_SAMPLES)
    units = np.nanmedian(np.abs(values[:, usable]), axis=0) if len(usable) else np.zeros(0)
    usable, units = usable[units > 0], units[units > 0]
    for start in range(0, len(usable), AT_ONCE):
        chosen, unit = usable[start : start + AT_ONCE], units[start : start + AT_ONCE]
        for number, trend in zip(chosen.tolist(), _trends(years, values[:, chosen], unit, freedom), strict=True):
            found[number] = trend
    return found


def _trends(years: Floats, values: Floats, units: Floats, freedom: float) -> list[Trend]:
    """Average over the grid of scales: one column for each series and grid point."""
    grid = [g.ravel() for g in np.meshgrid(NOISE, LEVEL_STEP, SLOPE_STEP, indexing="ij")]
    count, points = values.shape[1], len(grid[0])
    series = np.repeat(np.arange(count), points)
    s, level_step, slope_step = (np.tile(g, count) for g in grid)
    smoothed, weight, bound = robust_smooth(
        years, (values / units)[:, series], (s**2, level_step**2, slope_step**2), freedom, series
    )
    bound = bound.reshape(count, points)
    share = np.exp(bound - bound.max(axis=1, keepdims=True))
    share /= share.sum(axis=1, keepdims=True)
    level, level_sd = _mixture(smoothed.level, smoothed.level_var, share)
    slope, slope_sd = _mixture(smoothed.slope, smoothed.slope_var, share)
    weights, noise = np.where(np.isfinite(values), _mean(weight, share), np.nan), share @ grid[0] * units
    level, level_sd, slope, slope_sd = level * units, level_sd * units, slope * units, slope_sd * units
    return [
        Trend(level[:, n], level_sd[:, n], slope[:, n], slope_sd[:, n], weights[:, n], float(noise[n])) for n in range(count)
    ]


def robust_smooth(
    years: Floats, values: Floats, scales: tuple[Floats, Floats, Floats], freedom: float, series: NDArray[np.int64]
) -> tuple[Smoothed, Floats, Floats]:
    """Smooth M columns (T, M) under Student-t noise of scales s^2, ql, qs (M,); `series` (M,) tells whose column each is.

    Returns
    -------
    The states' moments, the weights E[w] (T, M), and the lower bound of log p(values) (M,).
    """
    noise = settle(years, values, scales, series, freedom)
    smoothed = smooth(years, values, noise, *scales[1:])
    seen, half = np.isfinite(values), (freedom + 1) / 2
    weight = np.where(seen, scales[0] / noise, 1.0)
    # At the weights the states were smoothed with; q(w) has shape `half` and mean `weight`.
    rate = half / weight
    spread = 0.5 * (digamma(half) - np.log(rate) - np.log(weight))
    distance = (
        half * np.log(rate) - gammaln(half) + gammaln(freedom / 2) - freedom / 2 * np.log(freedom / 2)
        + (half - freedom / 2) * (digamma(half) - np.log(rate)) - (rate - freedom / 2) * weight
    )  # fmt: skip
    return smoothed, weight, smoothed.evidence + np.where(seen, spread - distance, 0.0).sum(axis=0)


def _mean(columns: Floats, share: Floats) -> Floats:
    """Mean (T, N) of columns (T, N * G) over their grid points with shares (N, G)."""
    return np.asarray(np.einsum("tng,ng->tn", columns.reshape(len(columns), *share.shape), share))


def _mixture(mean: Floats, variance: Floats, share: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation (T, N) of mixtures of G normals."""
    middle = _mean(mean, share)
    apart = mean - np.repeat(middle, share.shape[1], axis=1)
    return middle, np.sqrt(_mean(variance + apart**2, share))
