"""What predicted quantiles are trained to make small, and whether the truth does make it smallest.

A score takes quantiles (N, K, ...) and rain rates (N, ...), both on the scale that is learnt, and the levels (K) of the
quantiles; it gives (N, ...).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

Score = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Objective:
    """A score of quantiles, whether it is proper, and one sentence that says why."""

    score: Score
    proper: bool
    why: str


def each_pinball(quantiles: Tensor, y: Tensor, levels: Tensor) -> Tensor:
    """Score each quantile: max(tau u, (tau - 1) u), u = y - q (Koenker & Bassett 1978); (N, K, ...)."""
    tau, u = _along(levels, quantiles), y.unsqueeze(1) - quantiles
    return (tau * u).maximum((tau - 1) * u)


def pinball(quantiles: Tensor, y: Tensor, levels: Tensor) -> Tensor:
    """Average over levels; with levels that fill (0, 1) evenly it is half the CRPS.

    Examples
    --------
    >>> import torch
    >>> pinball(torch.zeros(1, 1), torch.tensor([2.0]), torch.tensor([0.9]))
    tensor([1.8000])
    """
    return each_pinball(quantiles, y, levels).mean(dim=1)


def tail_weighted(quantiles: Tensor, y: Tensor, levels: Tensor) -> Tensor:
    """Weigh levels by 3 tau^2, whose integral is 1: high quantiles count more (Gneiting & Ranjan 2011, table 4)."""
    return (3 * _along(levels, quantiles) ** 2 * each_pinball(quantiles, y, levels)).mean(dim=1)


def threshold_weighted(threshold: float, factor: float) -> Score:
    """Add `factor` times the CRPS beyond a threshold to the pinball score.

    twCRPS with weight 1{z >= t} by chaining v(z) = max(z, t): 2 mean_tau rho_tau(v(y) - v(q)) (Allen et al. 2023,
    arXiv:2202.12732). The threshold is on the scale that is learnt.
    """

    def score(quantiles: Tensor, y: Tensor, levels: Tensor) -> Tensor:
        beyond = pinball(quantiles.clamp(min=threshold), y.clamp(min=threshold), levels)
        return pinball(quantiles, y, levels) + factor * 2 * beyond

    return score


def rain_weighted(scale_mm_h: float, cap_mm_h: float) -> Score:
    """Weigh pixels by 1 + min(y, cap) / scale: improper, it moves every quantile up; for comparison, or with calibration."""

    def score(quantiles: Tensor, y: Tensor, levels: Tensor) -> Tensor:
        return (1 + y.clamp(max=cap_mm_h) / scale_mm_h) * pinball(quantiles, y, levels)

    return score


PINBALL = Objective(pinball, True, "Each level's pinball score is smallest in the mean at that quantile.")
TAIL_WEIGHTED = Objective(
    tail_weighted, True, "Weights that depend on the level alone leave each level's pinball score smallest at its quantile."
)
BEYOND_THRESHOLD = "The threshold-weighted CRPS is proper, and added to the pinball score it stays strictly so."
HEAVIER_RAIN = (
    "Weights that depend on the outcome make the quantiles of the weighted distribution the best answer: they are too high, "
    "and must be recalibrated."
)


def _along(levels: Tensor, quantiles: Tensor) -> Tensor:
    return levels.to(quantiles).reshape(1, -1, *[1] * (quantiles.ndim - 2))
