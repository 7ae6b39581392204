"""Quantiles at fixed levels, which never cross: the workhorse, free of any assumption about the distribution's shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from vigie.learn.rain_heads.head import check_levels, check_thresholds, checked, column, known, ordered, weighted_mean
from vigie.learn.rain_heads.objectives import PINBALL, Objective
from vigie.learn.rain_heads.quantile_curve import integral, interpolated, non_crossing, probability_below
from vigie.learn.rain_heads.transforms import LINEAR, Scale

LEVELS = tuple(k / 100 for k in range(1, 100))
"""Levels of quantiles where none are asked for."""


@dataclass(frozen=True)
class QuantileHead:
    """Raw output as quantiles at fixed levels, linear between them and constant beyond (`quantile_curve`).

    The mean is that of this distribution: the outer quantiles stand for all that lies beyond them. Nothing can exceed the
    last quantile; `TailHead` goes on where it ends.

    Parameters
    ----------
    levels
        Of the quantiles, increasing within (0, 1).
    objective
        What training makes small; see `objectives`.
    scale
        What rain rates are learnt on; with "log-linear" dequantise zeros first (`transforms.dequantised`).

    Raises
    ------
    VigieError: levels do not increase within (0, 1).

    Examples
    --------
    >>> import torch
    >>> head = QuantileHead((0.25, 0.5, 0.75))
    >>> raw = torch.tensor([[1.0, 4.0, 4.0]])
    >>> head.quantiles(raw, (0.5, 0.625)), head.exceedance(raw, (1.6931,)).round(decimals=3)
    (tensor([[1.6931, 2.0397]]), tensor([[0.5000]]))
    """

    levels: tuple[float, ...] = LEVELS
    objective: Objective = PINBALL
    scale: Scale = LINEAR

    def __post_init__(self) -> None:
        """Refuse strange levels."""
        check_levels(self.levels)

    @property
    def name(self) -> str:
        """Its name in settings."""
        return "quantile"

    @property
    def channels(self) -> int:
        """One a level."""
        return len(self.levels)

    @property
    def proper(self) -> bool:
        """As the objective is."""
        return self.objective.proper

    @property
    def why(self) -> str:
        """What the objective says of itself."""
        return self.objective.why

    def loss(self, raw: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        """Average the objective, on the scale that is learnt, of quantiles that are not yet cut at 0."""
        raw = checked(raw, self)
        truth = self.scale.to(known(y, weight, raw))
        score = self.objective.score(non_crossing(raw), truth, column(self.levels, raw).flatten())
        return weighted_mean(score, weight)

    def knots(self, raw: Tensor) -> Tensor:
        """Turn raw output into the quantiles at the head's own levels: (N, channels, ...), mm h-1."""
        return ordered(self.scale.back(non_crossing(checked(raw, self))))

    def quantiles(self, raw: Tensor, levels: Sequence[float]) -> Tensor:
        """Interpolate between the head's levels; beyond the outer ones they are the outer ones."""
        return self.distribution(raw, levels)[0]

    def mean(self, raw: Tensor) -> Tensor:
        """Integrate the inverse distribution function, in closed form."""
        return self._integral(self.knots(raw))

    def distribution(self, raw: Tensor, levels: Sequence[float]) -> tuple[Tensor, Tensor]:
        """Make the knots once for both."""
        check_levels(levels)
        knots = self.knots(raw)
        return interpolated(knots, self.levels, levels), self._integral(knots)

    def _integral(self, knots: Tensor) -> Tensor:
        return integral(knots, self.levels) + (1 - self.levels[-1]) * knots[:, -1]

    def exceedance(self, raw: Tensor, thresholds: Sequence[float]) -> Tensor:
        """Invert the interpolation, in closed form: 0 from the last quantile on."""
        check_thresholds(thresholds)
        return 1 - probability_below(self.knots(raw), self.levels, thresholds)
