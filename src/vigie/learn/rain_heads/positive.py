"""Distributions of rain where it rains: gamma and lognormal, as the second half of a hurdle."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from scipy import special
from torch import Tensor

from vigie.learn.rain_heads.head import FLOOR, positive, within
from vigie.learn.rain_heads.special import upper_gamma


class PositiveRain(Protocol):
    """A distribution on y > 0 with density; raw output (N, channels, ...) holds its parameters.

    Values and probabilities (N, K, ...) are any number K of them a pixel.
    """

    @property
    def name(self) -> str:
        """Name of the family."""
        ...

    @property
    def channels(self) -> int:
        """Number of parameters."""
        ...

    def log_density(self, raw: Tensor, y: Tensor) -> Tensor:
        """Take the logarithm of the density at y > 0, mm h-1."""
        ...

    def survival(self, raw: Tensor, y: Tensor) -> Tensor:
        """Compute the probability of more than y >= 0."""
        ...

    def exceeded(self, raw: Tensor, probability: Tensor) -> Tensor:
        """Find the rain rate that is exceeded with a probability in (0, 1]; 0 where it is 1."""
        ...

    def mean(self, raw: Tensor) -> Tensor:
        """Compute the mean (N, 1, ...)."""
        ...


@dataclass(frozen=True)
class Gamma:
    """Gamma distribution by its mean and shape (k), which are orthogonal: density proportional to y^(k-1) exp(-k y / mean)."""

    name: str = "gamma"
    channels: int = 2

    def log_density(self, raw: Tensor, y: Tensor) -> Tensor:
        """See `PositiveRain`."""
        mean, k = self._parameters(raw)
        return k * torch.log(k / mean) - torch.lgamma(k) + (k - 1) * torch.log(y) - k * y / mean

    def survival(self, raw: Tensor, y: Tensor) -> Tensor:
        """Regularised upper incomplete gamma function; it has no gradient in the shape."""
        mean, k = self._parameters(raw)
        return upper_gamma(k, k * y / mean)

    def exceeded(self, raw: Tensor, probability: Tensor) -> Tensor:
        """Invert `survival` numerically (`gamma_exceeded`)."""
        mean, k = self._parameters(raw)
        return mean / k * gamma_exceeded(k, probability)

    def mean(self, raw: Tensor) -> Tensor:
        """First channel, made positive."""
        return self._parameters(raw)[0]

    def _parameters(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        return positive(raw[:, 0:1]), positive(raw[:, 1:2])


@dataclass(frozen=True)
class Lognormal:
    """Lognormal distribution: ln y is normal with mean mu and standard deviation sigma; all in closed form.

    mu = 10 tanh(raw / 10) and sigma < 3 are bounded: an exponential of anything else is infinite before long.
    """

    name: str = "lognormal"
    channels: int = 2

    def log_density(self, raw: Tensor, y: Tensor) -> Tensor:
        """See `PositiveRain`."""
        mu, sigma = self._parameters(raw)
        log_y = torch.log(y)
        return -0.5 * ((log_y - mu) / sigma) ** 2 - torch.log(sigma) - log_y - 0.5 * math.log(2 * math.pi)

    def survival(self, raw: Tensor, y: Tensor) -> Tensor:
        """Normal distribution function of -(ln y - mu) / sigma."""
        mu, sigma = self._parameters(raw)
        made: Tensor = torch.special.ndtr((mu - torch.log(y)) / sigma)
        return made

    def exceeded(self, raw: Tensor, probability: Tensor) -> Tensor:
        """exp(mu - sigma ndtri(probability))."""
        mu, sigma = self._parameters(raw)
        return torch.exp(mu - sigma * torch.special.ndtri(probability))

    def mean(self, raw: Tensor) -> Tensor:
        """exp(mu + sigma^2 / 2)."""
        mu, sigma = self._parameters(raw)
        return torch.exp(mu + sigma**2 / 2)

    def _parameters(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        return 10 * torch.tanh(raw[:, 0:1] / 10), within(raw[:, 1:2], (FLOOR, 3.0))


def gamma_exceeded(shape: Tensor, probability: Tensor) -> Tensor:
    """Invert the upper incomplete gamma function Q(shape, x) in x, numerically and without gradient (scipy.special).

    torch has no inverse; this is for prediction, not for training.
    """
    k, p = (tensor.detach().double().cpu().numpy() for tensor in (shape, probability))
    return torch.from_numpy(special.gammainccinv(k, p)).to(shape)
