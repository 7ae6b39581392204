"""Quantiles up to a high level, and a generalised Pareto tail above it that does not end where the quantiles do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vigie.core.errors import VigieError
from vigie.learn.rain_heads import generalised_pareto as gpd
from vigie.learn.rain_heads.head import (
    check_levels,
    check_thresholds,
    checked,
    column,
    known,
    ordered,
    positive,
    weighted_mean,
    within,
)
from vigie.learn.rain_heads.quantile import QuantileHead
from vigie.learn.rain_heads.quantile_curve import integral, interpolated, probability_below

SHAPES = (-0.1, 0.5)
"""Limits of xi."""


@dataclass(frozen=True)
class TailHead:
    """Extreme quantile regression network (EQRN): a quantile head up to level tau0, its last, and a GPD of what exceeds it.

    Pasche & Engelke 2024 (AOAS1907). Above Q(tau0) excesses are GPD with shape xi within SHAPES and orthogonal scale
    nu = sigma (1 + xi), the last two channels: Q(tau) = Q(tau0) + sigma / xi [((1 - tau0) / (1 - tau))^xi - 1]. Both are
    learnt at once, but the tail never moves Q(tau0): it would raise it to have fewer excesses. So the loss is no value
    to compare models by; its slope is what counts.

    It is meant for pixels where rain is more probable than 1 - tau0: where it is not, Q(tau0) is 0 and the tail gives 1 - tau0
    of rain all the same.

    Parameters
    ----------
    body
        Head of the quantiles up to tau0.
    score
        Of excesses: `generalised_pareto.log_score` or `generalised_pareto.crps`.
    ceiling_mm_h
        Where labels end: one that reaches it says only that there is at least so much rain. inf: nowhere.

    Examples
    --------
    >>> head = TailHead(QuantileHead((0.5, 0.9)))
    >>> raw = torch.tensor([[1.0, 5.0, 0.0, 0.0]])
    >>> head.quantiles(raw, (0.5, 0.9, 0.99, 0.999)).round(decimals=2)
    tensor([[1.0000, 2.3100, 4.0000, 6.6900]])
    """

    body: QuantileHead
    score: gpd.ExcessScore = gpd.log_score
    ceiling_mm_h: float = float("inf")

    def __post_init__(self) -> None:
        """Refuse a ceiling without rain below it."""
        if not self.ceiling_mm_h > 0:
            raise VigieError(
                "labels cannot end here", found=f"a ceiling of {self.ceiling_mm_h} mm/h", expected="above 0, or inf"
            )

    @property
    def name(self) -> str:
        """Its name in settings."""
        return "tail"

    @property
    def channels(self) -> int:
        """Those of the body, nu and xi."""
        return self.body.channels + 2

    @property
    def tau0(self) -> float:
        """Level where the tail begins."""
        return self.body.levels[-1]

    @property
    def proper(self) -> bool:
        """As the body is."""
        return self.body.proper

    @property
    def why(self) -> str:
        """What the body says of itself, and what becomes of the tail."""
        return f"{self.body.why} The score of excesses over the body's fixed last quantile is proper for their distribution."

    def loss(self, raw: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        """Add the body's loss and the mean score of excesses; pixels below Q(tau0) have none, and count 0 in that mean."""
        raw = checked(raw, self)
        start, sigma, xi = self._tail(raw)
        start = start.detach()
        z, limit = known(y, weight, raw).unsqueeze(1) - start, self.ceiling_mm_h - start
        # Beyond the ceiling nothing is known of the tail but that it is there.
        within_reach = (z > 0) & (limit > 0)
        score = self.score(torch.where(within_reach, z, 1.0), torch.where(within_reach, limit, 1.0), sigma, xi)
        above = weighted_mean(torch.where(within_reach, score, 0.0).squeeze(1), weight)
        return self.body.loss(raw[:, :-2], y, weight) + above

    def quantiles(self, raw: Tensor, levels: Sequence[float]) -> Tensor:
        """Interpolate up to tau0, and invert the GPD above, in closed form."""
        check_levels(levels)
        raw = checked(raw, self)
        _, sigma, xi = self._tail(raw)
        below = interpolated(self.body.knots(raw[:, :-2]), self.body.levels, levels)
        surviving = column([min((1 - level) / (1 - self.tau0), 1.0) for level in levels], raw)
        return ordered(below + gpd.excess(surviving, sigma, xi))

    def mean(self, raw: Tensor) -> Tensor:
        """Integrate the inverse distribution function, in closed form."""
        raw = checked(raw, self)
        start, sigma, xi = self._tail(raw)
        above = (1 - self.tau0) * (start + sigma / (1 - xi))
        return integral(self.body.knots(raw[:, :-2]), self.body.levels) + above.squeeze(1)

    def distribution(self, raw: Tensor, levels: Sequence[float]) -> tuple[Tensor, Tensor]:
        """Give both."""
        return self.quantiles(raw, levels), self.mean(raw)

    def exceedance(self, raw: Tensor, thresholds: Sequence[float]) -> Tensor:
        """Invert the interpolation up to Q(tau0), and take (1 - tau0) S(t - Q(tau0)) from there on."""
        check_thresholds(thresholds)
        raw = checked(raw, self)
        start, sigma, xi = self._tail(raw)
        below = 1 - probability_below(self.body.knots(raw[:, :-2]), self.body.levels, thresholds)
        z = column(thresholds, raw) - start
        above = (1 - self.tau0) * gpd.survival(z.clamp(min=0), sigma, xi)
        return torch.where(z < 0, below, above)

    def _tail(self, raw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Q(tau0), sigma and xi, (N, 1, ...) each."""
        xi = within(raw[:, -1:], SHAPES)
        return self.body.knots(raw[:, :-2])[:, -1:], positive(raw[:, -2:-1]) / (1 + xi), xi
