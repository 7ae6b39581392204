"""Censored shifted gamma distribution (CSGD): one continuous family, cut at 0, for rain and no rain at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vigie.learn.rain_heads.head import check_levels, check_thresholds, checked, column, known, ordered, positive, weighted_mean
from vigie.learn.rain_heads.positive import gamma_exceeded
from vigie.learn.rain_heads.special import lower_gamma, upper_gamma


@dataclass(frozen=True)
class CensoredShiftedGammaHead:
    """Raw output as shape k, scale theta and shift delta of max(G - delta, 0), G gamma distributed: P(0) = G_k(delta / theta).

    Scheuerer & Hamill 2015 (MWR 143, 4578), trained on the CRPS in closed form. Quantiles invert the incomplete gamma function
    numerically, and have no gradient.

    Examples
    --------
    >>> head = CensoredShiftedGammaHead()
    >>> raw = torch.tensor([[0.5, 0.5, 0.0]], dtype=torch.float64)
    >>> round(float(head.exceedance(raw, (0.0,))), 3), head.quantiles(raw, (0.1, 0.9)).round(decimals=3)
    (0.479, tensor([[0.0000, 1.5090]], dtype=torch.float64))
    """

    name: str = "csgd"
    channels: int = 3
    proper: bool = True
    why: str = "The CRPS is strictly proper for distributions with a mean (Gneiting & Raftery 2007)."

    def loss(self, raw: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        """Average the CRPS."""
        raw = checked(raw, self)
        return weighted_mean(crps(known(y, weight, raw).unsqueeze(1), *_parameters(raw)).squeeze(1), weight)

    def quantiles(self, raw: Tensor, levels: Sequence[float]) -> Tensor:
        """Find what is exceeded with probability 1 - level, numerically."""
        check_levels(levels)
        raw = checked(raw, self)
        k, theta, delta = _parameters(raw)
        return ordered(theta * gamma_exceeded(k, 1 - column(levels, raw)) - delta)

    def mean(self, raw: Tensor) -> Tensor:
        """k theta [1 - G_{k+1}(delta / theta)] - delta [1 - G_k(delta / theta)]."""
        k, theta, delta = _parameters(checked(raw, self))
        cut = delta / theta
        return (k * theta * upper_gamma(k + 1, cut) - delta * upper_gamma(k, cut)).clamp(min=0).squeeze(1)

    def distribution(self, raw: Tensor, levels: Sequence[float]) -> tuple[Tensor, Tensor]:
        """Give both."""
        return self.quantiles(raw, levels), self.mean(raw)

    def exceedance(self, raw: Tensor, thresholds: Sequence[float]) -> Tensor:
        """1 - G_k((t + delta) / theta)."""
        check_thresholds(thresholds)
        raw = checked(raw, self)
        k, theta, delta = _parameters(raw)
        return upper_gamma(k, (column(thresholds, raw) + delta) / theta)


def crps(y: Tensor, k: Tensor, theta: Tensor, delta: Tensor) -> Tensor:
    """Compute the CRPS of the censored shifted gamma distribution at y >= 0.

    Scheuerer & Hamill 2015, equation 10, with u = (y + delta) / theta, c = delta / theta and B the beta function:

    theta u (2 G_k(u) - 1) - delta G_k(c)^2 + k theta [1 + 2 G_k(c) G_{k+1}(c) - G_k(c)^2 - 2 G_{k+1}(u)]
    - k theta / pi B(1/2, k + 1/2) [1 - G_{2k}(2c)]
    """
    u, c = (y + delta) / theta, delta / theta
    dry, dry_next = lower_gamma(k, c), lower_gamma(k + 1, c)
    half = torch.full_like(k, 0.5)
    beta = torch.exp(torch.lgamma(half) + torch.lgamma(k + 0.5) - torch.lgamma(k + 1))
    bracket = 1 + 2 * dry * dry_next - dry**2 - 2 * lower_gamma(k + 1, u)
    spread = k * theta / torch.pi * beta * (1 - lower_gamma(2 * k, 2 * c))
    return theta * u * (2 * lower_gamma(k, u) - 1) - delta * dry**2 + k * theta * bracket - spread


def _parameters(raw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Shape, scale and shift (mm h-1), (N, 1, ...) each."""
    k, theta, delta = (positive(raw[:, i : i + 1]) for i in range(3))
    return k, theta, delta
