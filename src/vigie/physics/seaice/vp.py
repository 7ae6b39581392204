"""Viscous-plastic ice (Hibler 1979): rates of strain, strength, viscosity, and the stress on an elliptic yield curve.

Stress and strain are kept as half sum, half difference and shear, in which the law is two lines:
normal = zeta (e_I - Delta), tension = eta (e11 - e22), shear = 2 eta e12,
with eta = zeta / e^2 and zeta = P / 2 (Delta + Delta_min).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from vigie.physics.seaice import stencil
from vigie.physics.seaice.grid import CGrid
from vigie.physics.seaice.settings import PlasticSettings
from vigie.physics.seaice.state import IceState

RIGID_PER_S = 1e-11
"""Delta is no less, so that its square root has a slope where ice does not deform."""


class Strain(NamedTuple):
    """Rates of strain, s-1: divergence (e11 + e22) and tension (e11 - e22) at centres, shear (e12) at corners."""

    divergence: Tensor
    tension: Tensor
    shear: Tensor


def strain_rates(u: Tensor, v: Tensor, grid: CGrid) -> Strain:
    """Differentiate the drift; shear is zero at corners that touch a coast.

    Examples
    --------
    >>> grid = CGrid(torch.ones(3, 3, dtype=torch.bool), dx_m=1e3)
    >>> spread = strain_rates(torch.arange(4.0).expand(3, 4), torch.zeros(4, 3), grid)
    >>> round(float(spread.divergence[1, 1]), 6), float(spread.shear.abs().max())
    (0.001, 0.0)
    """
    e11, e22 = stencil.step_x(u) / grid.dx_m, stencil.step_y(v) / grid.dx_m
    sheared = (stencil.rise_y(u) + stencil.rise_x(v)) * grid.corner_open
    return Strain(e11 + e22, e11 - e22, sheared * (0.5 / grid.dx_m))


def strength(state: IceState, plastic: PlasticSettings) -> Tensor:
    """Compute P = P* h exp(-C (1 - A)), N m-1, with the cell-mean thickness h."""
    return plastic.strength_pa * state.thickness_m * torch.exp(-plastic.weakening * (1.0 - state.concentration))


def deformation(strain: Strain, ellipse: float) -> Tensor:
    """Compute Delta, s-1, at centres; there the square of shear is the mean of four corners."""
    sheared = 4.0 * stencil.from_corners(strain.shear * strain.shear)
    outside = (strain.tension * strain.tension + sheared) / ellipse**2
    return torch.sqrt(strain.divergence * strain.divergence + outside + RIGID_PER_S**2)


def bulk_viscosity(strong: Tensor, delta: Tensor, plastic: PlasticSettings) -> Tensor:
    """Compute zeta = P / 2 (Delta + Delta_min), kg s-1."""
    return 0.5 * strong / (delta + plastic.least_rate_per_s)


def stress(strain: Strain, delta: Tensor, zeta: Tensor, corner_zeta: Tensor, ellipse: float) -> tuple[Tensor, Tensor, Tensor]:
    """Compute normal, tension and shear stress, N m-1, with replacement pressure: ice that does not deform bears none."""
    tension = zeta * strain.tension / ellipse**2
    return zeta * (strain.divergence - delta), tension, corner_zeta * strain.shear * (2.0 / ellipse**2)
