"""What predicted quantiles say: probabilities, means and draws from the inverse distribution function that they stand for.

It is linear between levels, and constant below the first and above the last: quantiles say nothing of what lies beyond, and
nothing is invented here. The first axis is the level. Rates are in mm/h, though nothing depends on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vigie.core.errors import VigieError
from vigie.verify.events import EventSample

Floats = NDArray[np.float64]

ROUNDING = 1e-5
"""Quantiles may cross by so much, mm/h: rounding of 32-bit numbers that were blended."""

SAME_LEVEL = 1e-6
"""Levels that differ by less are one: 0.95 in 32 bits is 0.94999999."""


@dataclass(frozen=True)
class QuantileSample:
    """Predicted quantiles (level, ...), their levels (level,) and the truth (...); a row counts where all are known."""

    quantiles: NDArray[np.floating]
    levels: NDArray[np.floating]
    truth: NDArray[np.floating]

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit together, levels that do not increase, and quantiles that cross."""
        check_quantiles(self.quantiles, self.levels)
        if self.quantiles.shape[1:] != self.truth.shape:
            raise VigieError(
                "quantiles and truth do not fit together",
                found=f"quantiles {self.quantiles.shape}, truth {self.truth.shape}",
                expected="(level, ...) and (...)",
            )

    @property
    def rows(self) -> NDArray[np.bool_]:
        """Where all are known."""
        known: NDArray[np.bool_] = np.isfinite(self.quantiles).all(axis=0) & np.isfinite(self.truth)
        return known

    def known(self) -> tuple[Floats, Floats]:
        """Take the quantiles (level, row) and the truth (row,) of known rows, rounding put right."""
        rows = self.rows
        ordered = np.maximum.accumulate(self.quantiles[:, rows].astype(np.float64), axis=0)
        return ordered, self.truth[rows].astype(np.float64)


def check_quantiles(quantiles: NDArray[np.floating], levels: NDArray[np.floating]) -> None:
    """Refuse levels that do not increase between 0 and 1, and quantiles (level, ...) that cross.

    Raises
    ------
    VigieError: see above.
    """
    inside = levels.ndim == 1 and levels.size > 1 and levels[0] > 0 and levels[-1] < 1
    if not inside or (np.diff(levels) <= 0).any():
        raise VigieError(
            "levels of quantiles must increase between 0 and 1", found=levels.tolist(), expected="for instance .01 .02"
        )
    if quantiles.shape[:1] != levels.shape:
        raise VigieError(
            "there must be one quantile for each level, along the first axis",
            found=f"quantiles {quantiles.shape}",
            expected=f"({levels.size}, ...)",
        )
    crossed = np.diff(quantiles.astype(np.float64), axis=0) < -ROUNDING
    if crossed.any():
        raise VigieError(
            "quantiles cross",
            found=f"{int(crossed.any(axis=0).sum())} rows where a higher level has a lower quantile",
            expected="quantiles that rise with their level",
            do="sort them along the level, or use a head that cannot cross",
        )


def probability_below(quantiles: Floats, levels: Floats, value: NDArray[np.floating] | float) -> Floats:
    """Compute P(Y < value) of every row of quantiles (level, ...) by linear interpolation of the level.

    Examples
    --------
    >>> q, levels = np.array([[0.0], [0.0], [2.0]]), np.array([0.25, 0.5, 0.75])
    >>> [float(probability_below(q, levels, v)[0]) for v in (0.0, 1.0, 2.0, 3.0)]
    [0.0, 0.625, 0.75, 1.0]
    """
    return _level(quantiles, levels, value, _number(quantiles < value))


def probability_up_to(quantiles: Floats, levels: Floats, value: NDArray[np.floating] | float) -> Floats:
    """Compute P(Y <= value), the distribution function; it differs from P(Y < value) where quantiles are tied.

    Examples
    --------
    >>> q, levels = np.array([[0.0], [0.0], [2.0]]), np.array([0.25, 0.5, 0.75])
    >>> [float(probability_up_to(q, levels, v)[0]) for v in (-1.0, 0.0, 1.0, 2.0)]
    [0.0, 0.5, 0.625, 1.0]
    """
    return _level(quantiles, levels, value, _number(quantiles <= value))


def exceedance(quantiles: Floats, levels: Floats, thresholds: tuple[float, ...]) -> Floats:
    """Compute the probabilities (threshold, ...) that thresholds are reached, 1 - P(Y < threshold)."""
    return np.stack([1.0 - probability_below(quantiles, levels, t) for t in thresholds])


def exceedance_sample(sample: QuantileSample, thresholds: tuple[float, ...]) -> EventSample:
    """Turn quantiles into events "rate >= threshold", so that Brier score and reliability can be counted.

    Examples
    --------
    >>> sample = QuantileSample(np.array([[0.0], [2.0], [4.0]]), np.array([0.25, 0.5, 0.75]), np.array([3.0]))
    >>> exceedance_sample(sample, (1.0, 3.5)).probability.tolist()
    [[0.625], [0.3125]]
    """
    quantiles, truth = sample.known()
    occurred = np.stack([truth >= t for t in thresholds]).astype(np.float64)
    probability = exceedance(quantiles, sample.levels.astype(np.float64), thresholds)
    return EventSample(probability, occurred, tuple(f">= {t:g}" for t in thresholds))


def mean_of_quantiles(quantiles: Floats, levels: Floats) -> Floats:
    """Integrate the inverse distribution function: the mean of what quantiles (level, ...) stand for.

    With 99 levels it differs from the plain average of the quantiles by the half per cent of weight at both ends.

    Examples
    --------
    >>> mean_of_quantiles(np.array([[1.0], [2.0], [6.0]]), np.array([0.25, 0.5, 0.75])).tolist()
    [3.125]
    """
    width = np.diff(np.concatenate([[0.0], levels, [1.0]]))
    # Every quantile ends a piece and begins the next; the outer ones stand for all that lies beyond, too.
    weight = (width[:-1] + width[1:]) / 2
    weight[[0, -1]] += width[[0, -1]] / 2
    mean: Floats = np.einsum("l,l...->...", weight, quantiles)
    return mean


def variance_of_quantiles(quantiles: Floats, levels: Floats) -> Floats:
    """Integrate the squared departure from the mean of what quantiles (level, ...) stand for."""
    width, low, high = segments(quantiles - mean_of_quantiles(quantiles, levels), levels)
    variance: Floats = np.einsum("l,l...->...", width, (low**2 + low * high + high**2) / 3)
    return variance


def draw(quantiles: Floats, levels: Floats, draws: int = 20, seed: int = 0) -> Floats:
    """Draw (draw, ...) from quantiles (level, ...), every row on its own, by linear interpolation of the inverse distribution.

    Rows are independent: draws have the right extremes of single footprints, and no spatial texture.
    """
    u = np.random.default_rng(seed).random((draws, quantiles[0].size))
    return inverse(quantiles, levels, u.reshape(draws, *quantiles.shape[1:]))


def inverse(quantiles: Floats, levels: Floats, u: Floats) -> Floats:
    """Look up the quantiles (draw, ...) of levels u (draw, ...) that differ from row to row, constant beyond the outer ones.

    Examples
    --------
    >>> inverse(np.array([[0.0, 2.0], [4.0, 6.0]]), np.array([0.25, 0.75]), np.array([[0.5, 0.9]])).tolist()
    [[2.0, 6.0]]
    """
    rows, u = quantiles.reshape(len(levels), -1), u.reshape(len(u), -1)
    above = np.clip(np.searchsorted(levels, u), 1, len(levels) - 1)
    column = np.arange(rows.shape[1])
    low, high = rows[above - 1, column], rows[above, column]
    share = np.clip((u - levels[above - 1]) / (levels[above] - levels[above - 1]), 0.0, 1.0)
    drawn: Floats = low + share * (high - low)
    return drawn.reshape(len(u), *quantiles.shape[1:])


def quantile_at(quantiles: Floats, levels: Floats, wanted: tuple[float, ...]) -> Floats:
    """Interpolate the quantiles (wanted, ...) of other levels.

    Raises
    ------
    VigieError: a wanted level lies beyond the first or the last, where nothing is known.
    """
    asked = np.asarray(wanted, dtype=np.float64)
    beyond = asked[(asked < levels[0] - SAME_LEVEL) | (asked > levels[-1] + SAME_LEVEL)]
    if beyond.size:
        raise VigieError(
            "a quantile is wanted beyond the levels that were predicted",
            found=beyond.tolist(),
            expected=f"between {levels[0]:g} and {levels[-1]:g}",
            do="ask for other levels, or add a model of the tail",
        )
    above = np.clip(np.searchsorted(levels, asked), 1, len(levels) - 1)
    share = (asked - levels[above - 1]) / (levels[above] - levels[above - 1])
    share = share.reshape(-1, *[1] * (quantiles.ndim - 1))
    found: Floats = quantiles[above - 1] + share * (quantiles[above] - quantiles[above - 1])
    return found


def segments(quantiles: Floats, levels: Floats) -> tuple[Floats, Floats, Floats]:
    """Cut the inverse distribution function into linear pieces: width (piece,) in probability, quantiles at both ends."""
    ends = np.concatenate([quantiles[:1], quantiles, quantiles[-1:]])
    return np.diff(np.concatenate([[0.0], levels, [1.0]])), ends[:-1], ends[1:]


def _number(reached: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Count the quantiles of each row that a value has reached; short integers are added four times as fast."""
    count: NDArray[np.int64] = reached.sum(axis=0, dtype=np.int16).astype(np.int64)
    return count


def _level(quantiles: Floats, levels: Floats, value: NDArray[np.floating] | float, reached: NDArray[np.int64]) -> Floats:
    """Interpolate the level of a value that lies above the first `reached` quantiles of each row."""
    above = np.clip(reached, 1, len(levels) - 1)
    low, high = (np.take_along_axis(quantiles, at[None], axis=0)[0] for at in (above - 1, above))
    share = np.divide(value - low, high - low, out=np.zeros(low.shape), where=high > low)
    inside = levels[above - 1] + share * (levels[above] - levels[above - 1])
    return np.where(reached == 0, 0.0, np.where(reached == len(levels), 1.0, inside))
