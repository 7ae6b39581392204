"""Intervals that cover as often as they say: conformalised quantile regression, for all rows or regime by regime.

The guarantee holds for rows that are exchangeable with those of the calibration: other days, same climate. It is one of all
rows (of a group), not one of heavy rain, which conditions on the outcome.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from vigie.core.errors import VigieError

Floats = NDArray[np.floating]

EVERYWHERE = "all"
"""The group of all rows, where none are told apart."""

ROUNDING = 1e-9
"""Of (n + 1)(1 - a): 10 x 0.9 must not become rank 10 because 0.9 has no exact binary form."""


def conformal_rank(rows: int, miscoverage: float) -> int:
    """Give the rank among `rows` sorted scores that covers 1 - miscoverage of new ones: ceil((n + 1)(1 - a)).

    It is larger than `rows` where there are too few of them.

    Examples
    --------
    >>> conformal_rank(9, 0.1), conformal_rank(100, 0.1), conformal_rank(8, 0.1)
    (9, 91, 9)
    """
    if not 0 < miscoverage < 1:
        raise VigieError("miscoverage is a share", found=miscoverage, expected="between 0 and 1, for instance 0.1")
    return max(1, ceil((rows + 1) * (1 - miscoverage) - ROUNDING))


def conformal_quantile(scores: Floats, miscoverage: float, of: str = EVERYWHERE) -> float:
    """Take the score that a new one stays at or below with probability 1 - miscoverage; NaN is left out.

    Raises
    ------
    VigieError: there are too few scores for this miscoverage.
    """
    known = np.sort(scores[np.isfinite(scores)])
    rank = conformal_rank(known.size, miscoverage)
    if rank > known.size:
        raise VigieError(
            f"group '{of}' has too few rows to calibrate on",
            found=f"{known.size} rows",
            expected=f"at least {ceil(1 / miscoverage - 1 - ROUNDING)} for a miscoverage of {miscoverage:g}",
            do="merge groups, or calibrate on more days",
        )
    return float(known[rank - 1])


@dataclass(frozen=True)
class Conformal:
    """How far both ends of an interval are moved outward, by group; negative where intervals were too wide."""

    widening: Mapping[str, float]
    miscoverage: float

    def apply(self, low: Floats, high: Floats, groups: NDArray[np.str_] | None = None) -> tuple[Floats, Floats]:
        """Move the ends of intervals; where an interval would turn inside out, both become its middle.

        Ends may fall below 0: cut them there where the truth cannot be negative, which loses no coverage.

        Raises
        ------
        VigieError: a group was not calibrated.
        """
        by = _moved(self.widening, low.shape, groups)
        low, high = low - by, high + by
        middle, inverted = (low + high) / 2, low > high
        return np.where(inverted, middle, low), np.where(inverted, middle, high)


def calibrate(
    low: Floats, high: Floats, truth: Floats, miscoverage: float, groups: NDArray[np.str_] | None = None
) -> Conformal:
    """Calibrate intervals on rows that no model learnt from, whole days apart from those of training.

    The score of a row is E = max(low - y, y - high); both ends are widened by the ceil((n + 1)(1 - a)) / n quantile of E (CQR,
    Romano, Patterson & Candes 2019), of each group by itself where groups are given (Mondrian; Vovk et al. 2003).

    Parameters
    ----------
    low, high: predicted quantiles, (row,), for instance of .05 and .95.
    truth: (row,), NaN where unknown.
    miscoverage: share of rows that may lie outside, for instance 0.1.
    groups: label of each row that is known before the truth is (surface, sensor, tercile of water vapour).

    Raises
    ------
    VigieError: a group is too small.

    Examples
    --------
    >>> y = np.arange(1.0, 20.0)
    >>> conformal = calibrate(np.zeros(19), np.full(19, 10.0), y, 0.1)
    >>> conformal.widening, [end.tolist() for end in conformal.apply(np.array([2.0]), np.array([5.0]))]
    ({'all': 8.0}, [[-6.0], [13.0]])
    """
    score = np.maximum(low - truth, truth - high)
    if groups is None:
        return Conformal({EVERYWHERE: conformal_quantile(score, miscoverage)}, miscoverage)
    if groups.shape != truth.shape:
        raise VigieError("each row needs its group", found=f"{groups.shape} groups, {truth.shape} rows")
    names = [str(name) for name in np.unique(groups)]
    return Conformal({name: conformal_quantile(score[groups == name], miscoverage, name) for name in names}, miscoverage)


def _moved(widening: Mapping[str, float], shape: tuple[int, ...], groups: NDArray[np.str_] | None) -> NDArray[np.float64]:
    labels = np.full(shape, EVERYWHERE) if groups is None else groups
    names, at = np.unique(labels, return_inverse=True)
    unknown = [str(name) for name in names if str(name) not in widening]
    if unknown:
        raise VigieError("these groups were not calibrated", found=unknown, expected=sorted(widening))
    return np.array([widening[str(name)] for name in names], dtype=np.float64)[at].reshape(shape)
