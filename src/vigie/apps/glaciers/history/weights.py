"""How far each sample of a series is to be believed, when its noise is Student-t: variational Bayes, many series at once.

A Student-t sample is a normal one of variance h = s^2 / w with a weight w of its own. States and weights are found in turn: one
Kalman filter forward, one disturbance smoother backward (Durbin & Koopman 2012, section 4.5), which gives E[(A - l)^2] at every
date and with it the new weights (nu + 1) / (nu + E[(A - l)^2] / s^2); this until the weights stand still.

Everything is done for M columns at once: one series under one set of variances each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vigie.apps.glaciers.history.smoother import ABSENT, FIRST_LEVEL_SD, FIRST_SLOPE_SD, Floats

ROUNDS, STILL = 40, 1e-3
"""A series is done when no weight changes by more; columns that are not still by then are far from the data."""
SETTLED = 3e-9
"""A column whose weights change by less has nothing left to find, and costs no more rounds."""

Gains = tuple[Floats, Floats, Floats, Floats]
"""Of one date: 1/F, the innovation over F, and the gains of level and slope (F: variance of the innovation)."""


@dataclass(frozen=True)
class _Columns:
    """Columns still at work, m of M.

    `rises` from sample to sample, `least` and present variance (`noise`) of samples (T, m); scales, series, number (m,).
    """

    rises: Floats
    least: Floats
    noise: Floats
    scales: tuple[Floats, Floats, Floats]
    series: NDArray[np.int64]
    number: NDArray[np.int64]

    def take(self, at: NDArray[np.int64], noise: Floats) -> _Columns:
        """Keep some columns, with new variances."""
        scales = self.scales[0][at], self.scales[1][at], self.scales[2][at]
        rises, least = self.rises.take(at, axis=1), self.least.take(at, axis=1)
        return _Columns(rises, least, noise.take(at, axis=1), scales, self.series[at], self.number[at])


def settle(
    years: Floats, values: Floats, scales: tuple[Floats, Floats, Floats], series: NDArray[np.int64], freedom: float
) -> Floats:
    """Find the noise variance s^2 / w of every sample.

    Parameters
    ----------
    years: dates (T,).
    values: samples (T, M), NaN where there is none.
    scales: s^2, ql and qs of each column (M,).
    series: the series of each column (M,), counted from 0: all columns of a series stop together.
    freedom: nu.

    Returns
    -------
    The variances (T, M) that the last states were smoothed with; `ABSENT` where there is no sample.
    """
    seen = np.isfinite(values)
    found = np.where(seen, scales[0], ABSENT)
    rises = np.diff(np.where(seen, values, 0.0), axis=0, prepend=0.0)
    least = np.where(seen, freedom / (freedom + 1) * scales[0], ABSENT)
    work = _Columns(rises, least, found.copy(), scales, series, np.arange(len(series)))
    for _ in range(ROUNDS - 1):
        noise, change = _reweigh(np.diff(years), work, freedom)
        moves = np.bincount(work.series, change >= STILL, minlength=int(series.max()) + 1)[work.series] > 0
        goes_on = moves & (change >= SETTLED)
        noise[:, ~moves] = work.noise[:, ~moves]  # a series that stands still keeps what it was last smoothed with
        found[:, work.number[~goes_on]] = noise[:, ~goes_on]
        work = work.take(np.flatnonzero(goes_on), noise)
        if not len(work.number):
            break
    found[:, work.number] = work.noise
    return found


def _reweigh(steps: Floats, at: _Columns, freedom: float) -> tuple[Floats, Floats]:
    """Smooth once: the new variances (T, m), and the largest change of a weight in each column (m,)."""
    gains, scale = _forward(steps, at), at.scales[0]
    noise, change = np.empty_like(at.noise), np.zeros_like(scale)
    r0, r1, n0, n1, n2 = (np.zeros_like(scale) for _ in range(5))  # Durbin & Koopman's r and N
    for t in range(len(noise) - 1, -1, -1):
        if t < len(steps):
            r1 += steps[t] * r0
            n2 += steps[t] * n1
            n1 += steps[t] * n0
            n2 += steps[t] * n1
        spread, u, level, slope = gains[t]
        g0, g1 = level * n0 + slope * n1, level * n1 + slope * n2
        spread += level * g0 + slope * g1
        u -= level * r0 + slope * r1
        r0 += u
        n0 += spread - 2 * g0
        n1 -= g1
        u *= u
        u -= spread
        u *= at.noise[t]
        u += 1  # E[(A - l)^2] is this share of the variance
        u *= at.noise[t]
        u *= 1 / (freedom + 1)
        np.add(u, at.least[t], out=noise[t])
        np.maximum(change, np.abs(scale / noise[t] - scale / at.noise[t]), out=change)
    return noise, change


def _forward(steps: Floats, at: _Columns) -> list[Gains]:
    """Kalman filter: v is the innovation, b the slope, [[p, q], [q, r]] their covariance before a sample is used."""
    _, level_var, slope_var = at.scales
    v, b, q = at.rises[0].copy(), np.zeros_like(level_var), np.zeros_like(level_var)
    p, r = np.full_like(level_var, FIRST_LEVEL_SD**2), np.full_like(level_var, FIRST_SLOPE_SD**2)
    gains = []
    for t, noise in enumerate(at.noise):
        inverse = 1 / (p + noise)
        level, slope = p * inverse, q * inverse
        gains.append((inverse, v * inverse, level, slope))
        if t == len(steps):
            break
        dt = steps[t]
        b += slope * v
        v -= level * v
        v += at.rises[t + 1]
        v -= dt * b
        r -= slope * q
        q = noise * slope
        p = noise * level + dt * q
        q += dt * r
        p += dt * q
        step = dt * slope_var
        r += step
        step *= dt / 2
        q += step
        step *= 2 / 3 * dt
        step += dt * level_var
        p += step
    return gains
