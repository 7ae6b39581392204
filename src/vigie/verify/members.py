"""Scores of ensemble members: plain and fair CRPS, and their threshold-weighted kin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.core.errors import VigieError
from vigie.verify.quantile_scores import TAIL_MM_H
from vigie.verify.spread import SpreadSample
from vigie.verify.tally import Metric, Tally

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class MemberSample:
    """Members (member, ...) beside the truth (...), mm/h; a row counts where all are known."""

    members: NDArray[np.floating]
    truth: NDArray[np.floating]

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit together, and a single member, which has no spread."""
        if self.members.shape[1:] != self.truth.shape or self.members.ndim == 0 or len(self.members) < 2:
            raise VigieError(
                "members and truth do not fit together",
                found=f"members {self.members.shape}, truth {self.truth.shape}",
                expected="(member, ...) and (...), with two members or more",
            )

    @property
    def rows(self) -> NDArray[np.bool_]:
        """Where all are known."""
        known: NDArray[np.bool_] = np.isfinite(self.members).all(axis=0) & np.isfinite(self.truth)
        return known

    def known(self) -> tuple[Floats, Floats]:
        """Take the members (member, row) and the truth (row,) of known rows."""
        rows = self.rows
        return self.members[:, rows].astype(np.float64), self.truth[rows].astype(np.float64)


def mean_distance(members: Floats, truth: Floats) -> Floats:
    """Compute mean_i |x_i - y|, (row,)."""
    distance: Floats = np.abs(members - truth).mean(axis=0)
    return distance


def pair_distance(members: Floats) -> Floats:
    """Sum |x_i - x_j| over all ordered pairs of members, (row,), from their order: 2 sum_i (2 i - m - 1) x_(i).

    Examples
    --------
    >>> pair_distance(np.array([[0.0], [3.0], [1.0]])).tolist()
    [12.0]
    """
    m = len(members)
    pairs: Floats = 2.0 * np.einsum("m,m...->...", 2.0 * np.arange(1, m + 1) - m - 1, np.sort(members, axis=0))
    return pairs


def crps_plain(members: Floats, truth: Floats) -> Floats:
    """Compute the CRPS of the step function of members, mean |x - y| - sum |x_i - x_j| / (2 m^2), (row,)."""
    return mean_distance(members, truth) - pair_distance(members) / (2 * len(members) ** 2)


def crps_fair(members: Floats, truth: Floats) -> Floats:
    """Estimate the CRPS of the distribution that members were drawn from: 2 m (m - 1) below the pairs (Ferro 2014), (row,)."""
    return mean_distance(members, truth) - pair_distance(members) / (2 * len(members) * (len(members) - 1))


def spread_of_members(sample: MemberSample) -> SpreadSample:
    """Take mean and variance of members; times (m + 1) / m, because the mean of m members errs too (Fortin et al. 2014)."""
    members, truth = sample.known()
    m = len(members)
    return SpreadSample(members.mean(axis=0), members.var(axis=0, ddof=1) * (m + 1) / m, truth)


def count_members(sample: MemberSample, tail_mm_h: tuple[float, ...] = TAIL_MM_H) -> Tally:
    """Sum plain and fair CRPS, and the same chained through v(z) = max(z, threshold), over known rows."""
    members, y = sample.known()
    tails = [(np.maximum(members, t), np.maximum(y, t)) for t in tail_mm_h]
    total = xr.Dataset(
        {
            "crps": crps_plain(members, y).sum(),
            "crps_fair": crps_fair(members, y).sum(),
            "twcrps": ("threshold_mm_h", [crps_plain(*tail).sum() for tail in tails]),
            "twcrps_fair": ("threshold_mm_h", [crps_fair(*tail).sum() for tail in tails]),
        },
        coords={"threshold_mm_h": list(tail_mm_h)},
    )
    return Tally(total, xr.Dataset(dict.fromkeys(total.data_vars, y.size)))


MEMBERS: Metric[MemberSample] = Metric(count_members, Tally.mean)
"""Scores of members, mm/h: `crps`, `crps_fair`, `twcrps` and `twcrps_fair` (threshold_mm_h)."""
