"""A compound Poisson-gamma distribution: a number of showers, each with its rain, told by a mean and a dispersion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vigie.core.errors import VigieError
from vigie.learn.rain_heads.head import check_levels, check_thresholds, checked, column, known, ordered, positive, weighted_mean
from vigie.learn.rain_heads.positive import gamma_exceeded
from vigie.learn.rain_heads.special import upper_gamma

SHOWERS = 64
"""Terms of the series."""


@dataclass(frozen=True)
class TweedieHead:
    """Raw output as the mean m and the dispersion phi of a Tweedie distribution (Jorgensen 1987): its variance is phi m^p.

    It is the sum of a Poisson number of gamma showers, m^(2-p) / (phi (2-p)) of them on average. The loss is minus the
    logarithm of the likelihood, by its series (Dunn & Smyth 2005, Statistics and Computing 15, 267). Where it rains, quantiles
    and probabilities are those of the gamma distribution of its mean and variance: exact where showers are few, and within 3 %
    of probability elsewhere.

    Parameters
    ----------
    power
        p: the variance is proportional to mean^p; 1 is Poisson, 2 is gamma.

    Examples
    --------
    >>> import torch
    >>> head, raw = TweedieHead(), torch.tensor([[0.5413, 0.5413]])
    >>> head.mean(raw), head.exceedance(raw, (0.0, 1.0)), head.quantiles(raw, (0.1, 0.5))
    (tensor([1.0010]), tensor([[0.8645, 0.3898]]), tensor([[0.0000, 0.7353]]))
    """

    power: float = 1.5

    def __post_init__(self) -> None:
        """Refuse powers that are not of zeros and rain."""
        if not 1 < self.power < 2:
            raise VigieError("this is no Tweedie power of rain", found=self.power, expected="a number between 1 and 2")

    @property
    def name(self) -> str:
        """Its name in settings."""
        return "tweedie"

    @property
    def channels(self) -> int:
        """Mean and dispersion."""
        return 2

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
        """Average minus the logarithm of the likelihood."""
        m, phi = (parameter.squeeze(1) for parameter in self._parameters(raw))
        y = known(y, weight, m)
        wet = y > 0
        # Where it is dry, 1 mm h-1 keeps the density that is not asked for finite.
        density = self.log_density(torch.where(wet, y, 1.0), m, phi)
        return weighted_mean(torch.where(wet, -density, self._showers(m, phi)), weight)

    def log_density(self, y: Tensor, m: Tensor, phi: Tensor) -> Tensor:
        """Take the logarithm of the density at y > 0, mm h-1: the series over the number of showers.

        Where the likeliest number is half of `SHOWERS` or more, the saddlepoint approximation, whose error falls with it to
        below 1 % there: -1/2 ln(2 pi phi y^p) - d(y, m) / (2 phi).
        """
        p = self.power
        few = y ** (2 - p) / (phi * (2 - p)) < SHOWERS / 2
        saddlepoint = -0.5 * torch.log(2 * math.pi * phi * y**p) - self.deviance(y, m) / (2 * phi)
        shape, scale = (2 - p) / (p - 1), phi * (p - 1) * m ** (p - 1)
        number = torch.arange(1, SHOWERS + 1, dtype=y.dtype, device=y.device)
        constant = torch.lgamma(number + 1) + torch.lgamma(number * shape)
        rate, size = self._showers(m, phi), torch.where(few, y, 1.0) / scale
        power = torch.log(rate) + shape * torch.log(size)
        series = torch.logsumexp(number * power.unsqueeze(-1) - constant, dim=-1)
        return torch.where(few, series - rate - size - torch.log(y), saddlepoint)

    def deviance(self, y: Tensor, m: Tensor) -> Tensor:
        """Compute 2 [y^(2-p) / ((1-p) (2-p)) - y m^(1-p) / (1-p) + m^(2-p) / (2-p)] of rain rates and their means, mm h-1."""
        p = self.power
        return 2 * (y ** (2 - p) / ((1 - p) * (2 - p)) - y * m ** (1 - p) / (1 - p) + m ** (2 - p) / (2 - p))

    def mean(self, raw: Tensor) -> Tensor:
        """First channel, made positive."""
        return self._parameters(raw)[0].squeeze(1)

    def quantiles(self, raw: Tensor, levels: Sequence[float]) -> Tensor:
        """Find what is exceeded with (1 - level) / P(rain) where it rains, numerically; 0 up to level 1 - P(rain)."""
        check_levels(levels)
        rains, mean, shape = self._where_it_rains(raw)
        exceeding = column([1 - level for level in levels], rains) / rains
        rain = mean / shape * gamma_exceeded(shape, exceeding.clamp(max=1))
        return ordered(torch.where(exceeding < 1, rain, 0.0))

    def distribution(self, raw: Tensor, levels: Sequence[float]) -> tuple[Tensor, Tensor]:
        """Give both."""
        return self.quantiles(raw, levels), self.mean(raw)

    def exceedance(self, raw: Tensor, thresholds: Sequence[float]) -> Tensor:
        """Multiply P(rain) and the probability of more where it rains."""
        check_thresholds(thresholds)
        rains, mean, shape = self._where_it_rains(raw)
        return rains * upper_gamma(shape, column(thresholds, rains) * shape / mean)

    def _parameters(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        raw = checked(raw, self)
        return positive(raw[:, 0:1]), positive(raw[:, 1:2])

    def _showers(self, m: Tensor, phi: Tensor) -> Tensor:
        """Give their mean number."""
        return m ** (2 - self.power) / (phi * (2 - self.power))

    def _where_it_rains(self, raw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Give the probability of rain, and the mean and gamma shape of rain where it rains, each (N, 1, ...)."""
        m, phi = self._parameters(raw)
        rains = -torch.expm1(-self._showers(m, phi))
        relative_variance = (phi * m ** (self.power - 2) + 1) * rains - 1
        return rains, m / rains, 1 / relative_variance
