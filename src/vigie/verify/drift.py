"""Does the network extrapolate: distances of brightness temperatures from those it learnt from, and the alarm they raise.

A row that lacks a channel has no distance: NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import spatial

from vigie.core.errors import VigieError
from vigie.verify.conformal import conformal_quantile

Floats = NDArray[np.float64]

NEIGHBOURS = 10
"""The distance is that to the tenth neighbour: a near-copy or two in training is no company."""

BLOCK = 1024
"""Rows that are multiplied together: few enough that BLAS does it in the thread that asks, without waiting for others."""

SHRINKAGE = 1e-3
"""Of the covariances of `FITS`: channels that are nearly copies of each other do not make a departure infinite."""


class Drift(Protocol):
    """What was learnt from, as something that new rows are compared with."""

    def score(self, features: NDArray[np.floating]) -> Floats:
        """Tell how far rows (row, channel) are from it, (row,); NaN where a channel is missing."""
        ...


@dataclass(frozen=True)
class Mahalanobis:
    """Distances from the mean of training rows, in units of their covariance.

    `mean` (channel,) in K, `precision` (channel, channel) in K-2, the inverse covariance.
    """

    mean: Floats
    precision: Floats

    def score(self, features: NDArray[np.floating]) -> Floats:
        """Compute (x - mu)' C^-1 (x - mu) of rows (row, channel), (row,)."""
        table = _table(features, len(self.mean))
        squared = np.empty(len(table))
        for start in range(0, len(table), BLOCK):
            departure = table[start : start + BLOCK] - self.mean
            squared[start : start + BLOCK] = np.einsum("rc,rc->r", departure @ self.precision, departure)
        return squared


def fit_mahalanobis(training: NDArray[np.floating], shrinkage: float = 0.0) -> Mahalanobis:
    """Fit mean and covariance to training rows (row, channel), those with a missing channel left out.

    With a shrinkage s the covariance becomes (1 - s) C + s tr(C) / d I (Ledoit & Wolf 2004), for few rows or
    redundant channels.

    Raises
    ------
    VigieError: the covariance cannot be inverted, or shrinkage is no share.

    Examples
    --------
    >>> model = fit_mahalanobis(np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -2.0]]))
    >>> model.score(np.array([[0.0, 0.0], [0.0, 2.0], [2.0, 0.0]])).round(6).tolist()
    [0.0, 1.5, 6.0]
    """
    if not 0 <= shrinkage <= 1:
        raise VigieError("shrinkage is a share", found=shrinkage, expected="0 to 1")
    rows = _complete(training)
    channels = rows.shape[1]
    if len(rows) < 2:
        raise VigieError("a covariance needs rows", found=f"{len(rows)} complete rows", expected="many more than channels")
    covariance = np.atleast_2d(np.cov(rows, rowvar=False))
    covariance = (1 - shrinkage) * covariance + shrinkage * np.trace(covariance) / channels * np.eye(channels)
    if np.linalg.matrix_rank(covariance, hermitian=True) < channels:
        raise VigieError(
            "the covariance of the training rows cannot be inverted",
            found=f"{len(rows)} rows, rank {np.linalg.matrix_rank(covariance, hermitian=True)}",
            expected=f"rank {channels}",
            do="leave out channels that are copies or constant, or state a shrinkage, for instance 0.01",
        )
    return Mahalanobis(rows.mean(axis=0), np.linalg.inv(covariance))


@dataclass(frozen=True)
class Neighbours:
    """Distances to the k-th nearest training row, in standard deviations of each channel.

    The tree lies along the principal axes (channel, channel) of the rows: distances are the same, and where channels go
    together a search along them takes half the time.
    """

    mean: Floats
    deviation: Floats
    axes: Floats
    tree: Any
    k: int

    def score(self, features: NDArray[np.floating]) -> Floats:
        """Compute the Euclidean distance of standardised rows (row, channel) to their k-th neighbour, (row,).

        Training rows find themselves first.
        """
        table = (_table(features, len(self.mean)) - self.mean) / self.deviation
        known = np.isfinite(table).all(axis=1)
        distance = np.full(len(table), np.nan)
        distance[known] = self.tree.query(table[known] @ self.axes, k=[self.k])[0][:, 0]
        return distance


def fit_neighbours(training: NDArray[np.floating], k: int = NEIGHBOURS) -> Neighbours:
    """Remember training rows (row, channel), those with a missing channel left out.

    Raises
    ------
    VigieError: there are fewer rows than neighbours, or a channel does not vary.
    """
    rows = _complete(training)
    if len(rows) < k or k < 1:
        raise VigieError("there are too few neighbours", found=f"{len(rows)} complete rows, k = {k}", expected="1 <= k <= rows")
    mean, deviation = rows.mean(axis=0), rows.std(axis=0)
    if (deviation == 0).any():
        raise VigieError(
            "a channel does not vary", found=f"channels {np.flatnonzero(deviation == 0).tolist()}", do="leave it out"
        )
    standardised = (rows - mean) / deviation
    axes = np.linalg.eigh(standardised.T @ standardised)[1][:, ::-1]
    return Neighbours(mean, deviation, axes, spatial.cKDTree(standardised @ axes), k)


FITS: Mapping[str, Callable[[NDArray[np.floating], int], Drift]] = {
    "neighbours": fit_neighbours,
    "mahalanobis": lambda training, k: fit_mahalanobis(training, SHRINKAGE),
}
"""Ways to compare rows with training rows (row, channel); neighbours have a number k."""


def alarm_threshold(scores: NDArray[np.floating], false_alarm_rate: float) -> float:
    """Take the distance that rows like those of the calibration exceed no more often than `false_alarm_rate`.

    The rank is that of conformal intervals, so the rate holds on new rows, not only on these.

    Raises
    ------
    VigieError: there are too few scores for so rare an alarm.

    Examples
    --------
    >>> alarm_threshold(np.arange(1.0, 100.0), 0.05)
    95.0
    """
    return conformal_quantile(scores, false_alarm_rate, "calibration")


def _complete(training: NDArray[np.floating]) -> Floats:
    table = _table(training, training.shape[-1])
    return table[np.isfinite(table).all(axis=1)]


def _table(features: NDArray[np.floating], channels: int) -> Floats:
    if features.ndim != 2 or features.shape[1] != channels:
        raise VigieError("features are a table", found=f"shape {features.shape}", expected=f"(row, {channels})")
    return features.astype(np.float64)
