"""The trend under an area series: local level and slope with Student-t noise, so that a wild sample moves nothing.

State (level l, slope b) at dates dt years apart, observation A (Durbin & Koopman 2012, ch. 3, in continuous time):

    l(t + dt) = l + b dt + noise,   b(t + dt) = b + noise,   Cov = [[ql dt + qs dt^3/3, qs dt^2/2], [qs dt^2/2, qs dt]]
    A = l + s e,   e ~ Student-t(nu), written as N(0, 1/w) with w ~ Gamma(nu/2, nu/2)

States and weights are found by variational Bayes (Kalman smoother, then w = (nu + 1) / (nu + E[(A - l)^2] / s^2), until still);
the three scales s, ql, qs are averaged over a grid with weights exp(evidence bound), all grid points computed at once. Nothing
in the model prefers retreat or growth.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma, gammaln

Floats = NDArray[np.float64]

NOISE = np.geomspace(0.004, 0.4, 17)
"""Scale s of the observation noise, as a share of the median area."""
LEVEL_STEP = np.geomspace(0.002, 0.2, 6)
"""sqrt(ql): random step of the level in a year, as a share of the median area."""
SLOPE_STEP = np.geomspace(0.0005, 0.05, 5)
"""sqrt(qs): random change of the slope in a year, as a share of the median area."""
FIRST_LEVEL_SD, FIRST_SLOPE_SD = 10.0, 1.0
"""What is known before the first sample: practically nothing, as shares of the median area (per year)."""
LEAST_SAMPLES = 4
"""Fewer samples than this hold no trend to speak of."""
ROUNDS, STILL = 40, 1e-3
"""Grid points that are not still by then are far from the data and weigh nothing."""


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


@dataclass(frozen=True)
class _Smoothed:
    """Moments of the states, batched over G grid points: (T, G)."""

    level: Floats
    level_var: Floats
    slope: Floats
    slope_var: Floats
    evidence: Floats


def local_trend(years: Floats, values: Floats, freedom: float = 4.0) -> Trend:
    """Fit a local level and slope to a series with wild samples and gaps.

    Parameters
    ----------
    years: dates in years, ascending (T,).
    values: the series (T,), NaN where there is no sample.
    freedom: nu of the Student-t noise.

    Returns
    -------
    The trend at all T dates; all NaN when there are fewer than four samples, or only zeros.

    Examples
    --------
    >>> years = np.arange(12.0)
    >>> areas = 10 + 0.5 * years
    >>> areas[6] = 1.0
    >>> trend = local_trend(years, areas)
    >>> bool(abs(trend.level[6] - 13) < 0.2), bool(trend.weight[6] < 0.1)
    (True, True)
    """
    seen = np.isfinite(values)
    unit = float(np.median(np.abs(values[seen]))) if seen.sum() >= LEAST_SAMPLES else 0.0
    if unit == 0.0:
        nothing = np.full(len(values), np.nan)
        return Trend(nothing, nothing, nothing, nothing, nothing, float("nan"))
    noise, level_step, slope_step = (g.ravel() for g in np.meshgrid(NOISE, LEVEL_STEP, SLOPE_STEP, indexing="ij"))
    smoothed, weight, bound = robust_smooth(years, values / unit, (noise**2, level_step**2, slope_step**2), freedom)
    share = np.exp(bound - bound.max())
    share /= share.sum()
    level, level_sd = _mixture(smoothed.level, smoothed.level_var, share)
    slope, slope_sd = _mixture(smoothed.slope, smoothed.slope_var, share)
    weights = np.where(seen, weight @ share, np.nan)
    return Trend(level * unit, level_sd * unit, slope * unit, slope_sd * unit, weights, float(noise @ share) * unit)


def robust_smooth(
    years: Floats, values: Floats, variances: tuple[Floats, Floats, Floats], freedom: float
) -> tuple[_Smoothed, Floats, Floats]:
    """Alternate Kalman smoother and weights until still, for G sets of variances (s^2, ql, qs) at once.

    Returns
    -------
    The states' moments, the weights E[w] (T, G), and the lower bound of log p(values) (G,).
    """
    noise, level_var, slope_var = variances
    seen = np.isfinite(values)
    weight = np.ones((len(values), len(noise)))
    half = (freedom + 1) / 2
    for _ in range(ROUNDS):
        smoothed = smooth(years, values, noise / weight, level_var, slope_var)
        miss = (values[:, None] - smoothed.level) ** 2 + smoothed.level_var
        rate = np.where(seen[:, None], (freedom + miss / noise) / 2, half)
        previous, weight = weight, half / rate
        if np.abs(weight - previous).max() < STILL:
            break
    # At the weights the states were smoothed with; q(w) has shape `half` and mean `previous`.
    rate = half / previous
    spread = 0.5 * (digamma(half) - np.log(rate) - np.log(previous))
    distance = (
        half * np.log(rate) - gammaln(half) + gammaln(freedom / 2) - freedom / 2 * np.log(freedom / 2)
        + (half - freedom / 2) * (digamma(half) - np.log(rate)) - (rate - freedom / 2) * previous
    )  # fmt: skip
    bound = smoothed.evidence + np.where(seen[:, None], spread - distance, 0.0).sum(axis=0)
    return smoothed, previous, bound


def smooth(years: Floats, values: Floats, noise: Floats, level_var: Floats, slope_var: Floats) -> _Smoothed:
    """Kalman filter and Rauch-Tung-Striebel smoother of the local trend, for G sets of variances at once.

    Parameters
    ----------
    years, values: dates and samples (T,), NaN where there is no sample.
    noise: variance of each sample (T, G).
    level_var, slope_var: ql and qs (G,), per year and per year cubed.
    """
    steps = np.diff(years)
    ahead, after, evidence = [], [], np.zeros(noise.shape[1])
    state = _State(
        np.zeros(noise.shape[1]), np.zeros(noise.shape[1]), *(np.full(noise.shape[1], v) for v in
        (FIRST_LEVEL_SD**2, 0.0, FIRST_SLOPE_SD**2)),
    )  # fmt: skip
    for t, value in enumerate(values):
        if t:
            state = state.step(steps[t - 1], level_var, slope_var)
        ahead.append(state)
        if np.isfinite(value):
            evidence += state.log_density(value, noise[t])
            state = state.update(value, noise[t])
        after.append(state)
    smoothed = [after[-1]]
    for t in range(len(values) - 2, -1, -1):
        smoothed.append(after[t].look_back(steps[t], ahead[t + 1], smoothed[-1]))
    smoothed.reverse()
    return _Smoothed(
        _stack(s.level for s in smoothed),
        _stack(s.ll for s in smoothed),
        _stack(s.slope for s in smoothed),
        _stack(s.bb for s in smoothed),
        evidence,
    )


@dataclass(frozen=True)
class _State:
    """Mean and covariance [[ll, lb], [lb, bb]] of level and slope, batched (G,)."""

    level: Floats
    slope: Floats
    ll: Floats
    lb: Floats
    bb: Floats

    def step(self, dt: float, level_var: Floats, slope_var: Floats) -> _State:
        """Predict dt years ahead."""
        return _State(
            self.level + dt * self.slope,
            self.slope,
            self.ll + 2 * dt * self.lb + dt**2 * self.bb + level_var * dt + slope_var * dt**3 / 3,
            self.lb + dt * self.bb + slope_var * dt**2 / 2,
            self.bb + slope_var * dt,
        )

    def log_density(self, value: float, noise: Floats) -> Floats:
        """Log density of a sample before it is used."""
        variance = self.ll + noise
        return np.asarray(-0.5 * (np.log(2 * np.pi * variance) + (value - self.level) ** 2 / variance))

    def update(self, value: float, noise: Floats) -> _State:
        """Use a sample."""
        to_level, to_slope = self.ll / (self.ll + noise), self.lb / (self.ll + noise)
        miss = value - self.level
        return _State(
            self.level + to_level * miss,
            self.slope + to_slope * miss,
            to_level * noise,
            self.lb * (1 - to_level),
            self.bb - to_slope * self.lb,
        )

    def look_back(self, dt: float, predicted: _State, later: _State) -> _State:
        """Correct this filtered state by what the later dates say: C = P F' P_ahead^-1."""
        det = predicted.ll * predicted.bb - predicted.lb**2
        pl, pb = self.ll + dt * self.lb, self.lb
        ql, qb = self.lb + dt * self.bb, self.bb
        c00, c01 = (pl * predicted.bb - pb * predicted.lb) / det, (pb * predicted.ll - pl * predicted.lb) / det
        c10, c11 = (ql * predicted.bb - qb * predicted.lb) / det, (qb * predicted.ll - ql * predicted.lb) / det
        dl, db = later.level - predicted.level, later.slope - predicted.slope
        ll, lb, bb = later.ll - predicted.ll, later.lb - predicted.lb, later.bb - predicted.bb
        return _State(
            self.level + c00 * dl + c01 * db,
            self.slope + c10 * dl + c11 * db,
            self.ll + c00**2 * ll + 2 * c00 * c01 * lb + c01**2 * bb,
            self.lb + c00 * c10 * ll + (c00 * c11 + c01 * c10) * lb + c01 * c11 * bb,
            self.bb + c10**2 * ll + 2 * c10 * c11 * lb + c11**2 * bb,
        )


def _stack(parts: Iterable[Floats]) -> Floats:
    return np.stack(list(parts))


def _mixture(mean: Floats, variance: Floats, share: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of a mixture of G normals with shares (G,)."""
    middle = mean @ share
    return middle, np.sqrt((variance + (mean - middle[:, None]) ** 2) @ share)
