"""Extended generalised Pareto distribution: the whole range of rain where it rains, without a threshold to choose."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vigie.learn.rain_heads import generalised_pareto as gpd
from vigie.learn.rain_heads.head import positive, within
from vigie.learn.rain_heads.special import log1mexp

SHAPES = (1e-3, 0.5)
"""Limits of xi: from all but exponential tails to those without a variance."""


@dataclass(frozen=True)
class ExtendedGpd:
    """F(y) = (1 - S(y))^kappa, S that of a GPD (Naveau, Huser, Ribereau & Hannart 2016, WRR 52, 2753; their first family).

    kappa shapes drizzle (F ~ y^kappa), xi the upper tail; everything is in closed form. Parameters: sigma (mm h-1), xi within
    SHAPES, kappa.
    """

    name: str = "egpd"
    channels: int = 3

    def log_density(self, raw: Tensor, y: Tensor) -> Tensor:
        """ln kappa - ln sigma + (1 + xi) ln S + (kappa - 1) ln(1 - S)."""
        sigma, xi, kappa = self._parameters(raw)
        hazard = gpd.hazard(y, sigma, xi)
        return torch.log(kappa / sigma) - (1 + xi) * hazard + (kappa - 1) * log1mexp(hazard)

    def survival(self, raw: Tensor, y: Tensor) -> Tensor:
        """1 - (1 - S)^kappa, precise where it is small."""
        sigma, xi, kappa = self._parameters(raw)
        return -torch.expm1(kappa * log1mexp(gpd.hazard(y, sigma, xi)))

    def exceeded(self, raw: Tensor, probability: Tensor) -> Tensor:
        """Find the GPD's excess that is exceeded with probability 1 - (1 - p)^(1/kappa)."""
        sigma, xi, kappa = self._parameters(raw)
        return gpd.excess(-torch.expm1(torch.log1p(-probability) / kappa), sigma, xi)

    def mean(self, raw: Tensor) -> Tensor:
        """sigma / xi [kappa B(kappa, 1 - xi) - 1], in double precision: the bracket nearly cancels for small xi."""
        sigma, xi, kappa = (parameter.double() for parameter in self._parameters(raw))
        log_product = torch.lgamma(kappa + 1) + torch.lgamma(1 - xi) - torch.lgamma(kappa + 1 - xi)
        return (sigma / xi * torch.expm1(log_product)).to(raw.dtype)

    def _parameters(self, raw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return positive(raw[:, 0:1]), within(raw[:, 1:2], SHAPES), positive(raw[:, 2:3])
