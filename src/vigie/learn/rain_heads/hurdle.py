"""A hurdle: whether it rains, and how much if it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from vigie.learn.rain_heads.head import check_levels, check_thresholds, checked, column, known, ordered, weighted_mean
from vigie.learn.rain_heads.positive import PositiveRain


@dataclass(frozen=True)
class HurdleHead:
    """Raw output as the probability p of rain (first channel, a logit) and a distribution of rain where it rains.

    Loss: -[1{y = 0} ln(1 - p) + 1{y > 0} (ln p + ln f(y))], the logarithmic score. Quantiles are 0 up to level 1 - p.

    Examples
    --------
    >>> from vigie.learn.rain_heads.positive import Lognormal
    >>> head = HurdleHead(Lognormal())
    >>> raw = torch.tensor([[0.0, 0.0, 1.0]])
    >>> head.name, head.quantiles(raw, (0.4, 0.75)), head.exceedance(raw, (0.0, 1.0))
    ('hurdle-lognormal', tensor([[0., 1.]]), tensor([[0.5000, 0.2500]]))
    """

    rain: PositiveRain

    @property
    def name(self) -> str:
        """Its name in settings."""
        return f"hurdle-{self.rain.name}"

    @property
    def channels(self) -> int:
        """The logit, and the parameters of rain."""
        return 1 + self.rain.channels

    @property
    def proper(self) -> bool:
        """The loss is."""
        return True

    @property
    def why(self) -> str:
        """One sentence."""
        return (
            "The logarithmic score of a probability at 0 and a density above it is strictly proper (Gneiting & Raftery 2007)."
        )

    def loss(self, raw: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        """Average the logarithmic score."""
        raw = checked(raw, self)
        truth = known(y, weight, raw)
        wet = truth > 0
        rains = F.binary_cross_entropy_with_logits(raw[:, 0], wet.to(raw.dtype), reduction="none")
        # Where it is dry, 1 mm h-1 keeps the density that is not asked for finite.
        density = self.rain.log_density(raw[:, 1:], torch.where(wet, truth, 1.0).unsqueeze(1)).squeeze(1)
        return weighted_mean(rains - torch.where(wet, density, 0.0), weight)

    def quantiles(self, raw: Tensor, levels: Sequence[float]) -> Tensor:
        """Find what is exceeded with (1 - level) / p where it rains; numerically where rain is gamma, else in closed form."""
        check_levels(levels)
        raw = checked(raw, self)
        exceeding = column([1 - level for level in levels], raw) / raw[:, :1].sigmoid()
        rain = self.rain.exceeded(raw[:, 1:], exceeding.clamp(max=1))
        return ordered(torch.where(exceeding < 1, rain, 0.0))

    def mean(self, raw: Tensor) -> Tensor:
        """Multiply p and the mean where it rains."""
        raw = checked(raw, self)
        return (raw[:, :1].sigmoid() * self.rain.mean(raw[:, 1:])).squeeze(1)

    def distribution(self, raw: Tensor, levels: Sequence[float]) -> tuple[Tensor, Tensor]:
        """Give both."""
        return self.quantiles(raw, levels), self.mean(raw)

    def exceedance(self, raw: Tensor, thresholds: Sequence[float]) -> Tensor:
        """Multiply p and the probability of more where it rains."""
        check_thresholds(thresholds)
        raw = checked(raw, self)
        return raw[:, :1].sigmoid() * self.rain.survival(raw[:, 1:], column(thresholds, raw))
