"""The Kalman filter and Rauch-Tung-Striebel smoother of a local level and slope, for many sets of variances at once.

State (level l, slope b) at dates dt years apart (Durbin & Koopman 2012, ch. 3, in continuous time):

    l(t + dt) = l + b dt + noise,   b(t + dt) = b + noise,   Cov = [[ql dt + qs dt^3/3, qs dt^2/2], [qs dt^2/2, qs dt]]
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FIRST_LEVEL_SD, FIRST_SLOPE_SD = 10.0, 1.0
"""What is known before the first sample: practically nothing, where samples are about 1 (per year)."""
ABSENT = 1e30
"""Noise variance of a sample that is not there: it changes nothing."""


@dataclass(frozen=True)
class Smoothed:
    """Moments of the states (T, M) and the log evidence of the samples (M,), for M columns."""

    level: Floats
    level_var: Floats
    slope: Floats
    slope_var: Floats
    evidence: Floats


def smooth(years: Floats, values: Floats, noise: Floats, level_var: Floats, slope_var: Floats) -> Smoothed:
    """Smooth M columns: samples with variances of their own.

    Parameters
    ----------
    years: dates (T,).
    values: samples (T, M), NaN where there is none.
    noise: variance of each sample (T, M).
    level_var, slope_var: ql and qs (M,), per year and per year cubed.
    """
    steps, columns = np.diff(years), values.shape[1]
    seen = np.isfinite(values)
    values, noise = np.where(seen, values, 0.0), np.where(seen, noise, ABSENT)
    ahead, after, evidence = [], [], np.zeros(columns)
    state = _State(
        np.zeros(columns), np.zeros(columns), *(np.full(columns, v) for v in (FIRST_LEVEL_SD**2, 0.0, FIRST_SLOPE_SD**2))
    )
    for t in range(len(values)):
        if t:
            state = state.step(steps[t - 1], level_var, slope_var)
        ahead.append(state)
        evidence += np.where(seen[t], state.log_density(values[t], noise[t]), 0.0)
        state = state.update(values[t], noise[t])
        after.append(state)
    smoothed = [after[-1]]
    for t in range(len(values) - 2, -1, -1):
        smoothed.append(after[t].look_back(steps[t], ahead[t + 1], smoothed[-1]))
    smoothed.reverse()
    return Smoothed(
        _stack(s.level for s in smoothed),
        _stack(s.ll for s in smoothed),
        _stack(s.slope for s in smoothed),
        _stack(s.bb for s in smoothed),
        evidence,
    )


@dataclass(frozen=True)
class _State:
    """Mean and covariance [[ll, lb], [lb, bb]] of level and slope, batched (M,)."""

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
