"""How wind, water and the Earth's turning push ice: quadratic drag, and drift where ice is free."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vigie.physics.seaice.constants import AIR_KG_M3, ICE_KG_M3, WATER_KG_M3

STILL_M_S = 1e-5
"""Speeds are no less, so that the square root has a slope everywhere."""


def speed(along: Tensor, across: Tensor) -> Tensor:
    """Length of a vector, with a slope everywhere."""
    return torch.sqrt(along * along + across * across + STILL_M_S**2)


def wind_stress(wind_u: Tensor, wind_v: Tensor, coefficient: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the stress of wind on ice, Pa: rho_a C_a |u_a| u_a, in the direction of the wind.

    Examples
    --------
    >>> x, y = wind_stress(torch.tensor(3.0), torch.tensor(4.0), torch.tensor(1.2e-3))
    >>> round(float(x), 4), round(float(y), 4)
    (0.0234, 0.0312)
    """
    pull = AIR_KG_M3 * coefficient * speed(wind_u, wind_v)
    return pull * wind_u, pull * wind_v


def free_drift(stress: complex, thickness_m: float, water_drag: float, turning_deg: float, coriolis_per_s: float) -> complex:
    """Solve for the steady drift (m s-1) of ice without internal stress over water at rest.

    The stress tau balances the drag of water and Coriolis: tau = (rho_w C_w |u| e^(i theta) + i f rho_i h) u. The square of
    its absolute value grows with |u|, which bisection finds.

    Parameters
    ----------
    stress: of the wind on ice, Pa, x + iy.
    thickness_m: of the ice itself.
    water_drag, turning_deg: coefficient of drag, and how far its stress is turned to the left of the water's motion.
    coriolis_per_s: Coriolis parameter.

    Examples
    --------
    >>> drift = free_drift(1.3 * 1.2e-3 * 10.0**2, 0.0, 5.5e-3, 0.0, 1.46e-4)
    >>> round(drift.real, 4), drift.imag  # thin ice: sqrt(rho_a C_a / rho_w C_w) of 10 m/s
    (0.1663, 0.0)
    """
    turn = complex(math.cos(math.radians(turning_deg)), math.sin(math.radians(turning_deg)))

    def resistance(q: float) -> complex:
        return WATER_KG_M3 * water_drag * q * turn + 1j * coriolis_per_s * ICE_KG_M3 * thickness_m

    low, high = 0.0, 10.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if abs(resistance(middle)) * middle < abs(stress) else (low, middle)
    return stress / resistance(high)
