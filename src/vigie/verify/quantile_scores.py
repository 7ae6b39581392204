"""Scores of predicted quantiles: CRPS, threshold-weighted CRPS, coverage and the histogram of the PIT.

Where levels are many and even, `crps` and `crps_integral` differ little; the first is what papers on quantile networks print.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.verify.quantiles import QuantileSample, probability_below, probability_up_to, quantile_at, segments
from vigie.verify.tally import Metric, Tally, add_all

Floats = NDArray[np.float64]

TAIL_MM_H = (5.0, 10.0)
"""Where the tail starts in threshold-weighted scores, mm/h."""

COVERAGE_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)

PIT_BINS = 20

BLOCK_ROWS = 65_536
"""Rows that are scored at once, which bounds memory: 99 levels of them take 50 MB an array."""


def pinball(quantiles: Floats, levels: Floats, truth: Floats) -> Floats:
    """Compute rho_tau(u) = max(tau u, (tau - 1) u), u = y - q, of every level and row (Koenker & Bassett 1978).

    Examples
    --------
    >>> pinball(np.array([[1.0], [3.0]]), np.array([0.25, 0.75]), np.array([2.0])).tolist()
    [[0.25], [0.25]]
    """
    tau = levels[:, None]
    u = truth - quantiles
    return np.maximum(tau * u, (tau - 1) * u)


def crps(quantiles: Floats, levels: Floats, truth: Floats) -> Floats:
    """Compute twice the mean pinball over levels, (row,): the usual approximation of the CRPS, for evenly spaced levels.

    It sees only the levels that there are: 99 of them miss the outer half per cent on both sides.
    """
    score: Floats = 2.0 * pinball(quantiles, levels, truth).mean(axis=0)
    return score


def crps_integral(quantiles: Floats, levels: Floats, truth: Floats) -> Floats:
    """Compute the exact CRPS of the inverse distribution that is linear between quantiles, (row,), for any levels.

    CRPS = 2 int_0^1 rho_tau(y - q(tau)) dtau, and rho_tau(u) = tau u + max(-u, 0) (Laio & Tamea 2007). On a linear piece the
    first term is a parabola, which Simpson's rule integrates exactly, the second a triangle or a trapezium.

    Examples
    --------
    >>> crps_integral(np.array([[2.0], [2.0]]), np.array([0.1, 0.9]), np.array([5.0])).round(12).tolist()
    [3.0]
    """
    width, low, high = segments(quantiles - truth, levels)
    edges = np.concatenate([[0.0], levels, [1.0]])[:, None]
    left, right = edges[:-1], edges[1:]
    weighted = -(left * low + (left + right) * (low + high) + right * high) / 6
    triangle = np.divide(high**2, 2 * (high - low), out=np.zeros(low.shape), where=(low < 0) & (high > 0))
    above = np.where(low >= 0, (low + high) / 2, triangle)
    score: Floats = 2.0 * np.einsum("l,lr->r", width, weighted + above)
    return score


def twcrps(quantiles: Floats, levels: Floats, truth: Floats, threshold: float) -> Floats:
    """Compute the CRPS with weight 1{z >= threshold}, by chaining v(z) = max(z, threshold) (Allen et al. 2023), (row,)."""
    return crps(*chained(quantiles, levels, truth, threshold))


def chained(quantiles: Floats, levels: Floats, truth: Floats, threshold: float) -> tuple[Floats, Floats, Floats]:
    """Chain quantiles and truth through v(z) = max(z, threshold), so that a CRPS becomes the threshold-weighted one."""
    return np.maximum(quantiles, threshold), levels, np.maximum(truth, threshold)


def pit_histogram(quantiles: Floats, levels: Floats, truth: Floats) -> Floats:
    """Sum the probability integral transform F(y) of rows by bin, without drawing (Czado et al. 2009).

    Where the distribution jumps (tied quantiles, many zeros), a row is spread over the jump; a truth beyond the outer quantiles
    is spread over what they leave.
    """
    low, high = probability_below(quantiles, levels, truth), probability_up_to(quantiles, levels, truth)
    under, over = truth < quantiles[0], truth > quantiles[-1]
    low, high = np.where(over, levels[-1], low), np.where(under, levels[0], high)
    edges = np.linspace(0.0, 1.0, PIT_BINS + 1)[:, None]
    step = (edges > low) | (edges == 1.0)
    ramp = np.divide(edges - low, high - low, out=step.astype(np.float64), where=high > low)
    histogram: Floats = np.diff(np.clip(ramp, 0.0, 1.0), axis=0).sum(axis=1)
    return histogram


def count_quantiles(
    sample: QuantileSample,
    tail_mm_h: tuple[float, ...] = TAIL_MM_H,
    coverage_levels: tuple[float, ...] = COVERAGE_LEVELS,
) -> Tally:
    """Sum CRPS, threshold-weighted CRPS (threshold_mm_h), coverage (level) and PIT (bin) over known rows.

    Raises
    ------
    VigieError: the predicted levels do not reach those whose coverage is wanted.
    """
    quantiles, y = sample.known()
    levels = sample.levels.astype(np.float64)
    starts = range(0, max(y.size, 1), BLOCK_ROWS)
    blocks = (slice(start, start + BLOCK_ROWS) for start in starts)
    return add_all(_count_block(quantiles[:, rows], levels, y[rows], tail_mm_h, coverage_levels) for rows in blocks)


def _count_block(
    quantiles: Floats, levels: Floats, y: Floats, tail_mm_h: tuple[float, ...], coverage_levels: tuple[float, ...]
) -> Tally:
    covered = y <= quantile_at(quantiles, levels, coverage_levels)
    total = xr.Dataset(
        {
            "crps": crps(quantiles, levels, y).sum(),
            "crps_integral": crps_integral(quantiles, levels, y).sum(),
            "twcrps": ("threshold_mm_h", [twcrps(quantiles, levels, y, t).sum() for t in tail_mm_h]),
            "twcrps_integral": ("threshold_mm_h", [crps_integral(*chained(quantiles, levels, y, t)).sum() for t in tail_mm_h]),
            "coverage": ("level", covered.sum(axis=1)),
            "pit": ("bin", pit_histogram(quantiles, levels, y)),
        },
        coords={
            "threshold_mm_h": list(tail_mm_h),
            "level": list(coverage_levels),
            "bin": (np.arange(PIT_BINS) + 0.5) / PIT_BINS,
        },
    )
    return Tally(total, xr.Dataset(dict.fromkeys(total.data_vars, y.size)))


def finish_quantiles(tally: Tally) -> xr.Dataset:
    """Turn sums into `crps`, `twcrps`, the `_integral` of both (mm/h), `coverage`, and `pit`, its density (1 = reliable).

    `coverage` is the share of rows at or below the quantile of each level; it exceeds the level where many rows are dry.

    Examples
    --------
    >>> levels = np.arange(1, 100) / 100
    >>> truth = np.linspace(0.0005, 0.9995, 1000)  # uniform, as the quantiles say
    >>> scores = finish_quantiles(count_quantiles(QuantileSample(np.tile(levels[:, None], 1000), levels, truth)))
    >>> float(scores["crps_integral"].round(3)), scores["coverage"].values.tolist()
    (0.167, [0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99])
    """
    mean = tally.mean()
    return mean.assign(pit=mean["pit"] * PIT_BINS)


QUANTILES: Metric[QuantileSample] = Metric(count_quantiles, finish_quantiles)
"""Scores of predicted quantiles."""
