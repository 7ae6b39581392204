"""Heat at the surface of ice and water: turbulent and radiative fluxes, and the temperature that balances them.

Ice has no heat capacity (Semtner 1976, J. Phys. Oceanogr. 6, 379): what the surface loses, ice conducts up from the water at
its base. Fluxes are positive upwards.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from vigie.physics.seaice.constants import (
    AIR_J_KG_K,
    AIR_KG_M3,
    FREEZING_C,
    KELVIN,
    STEFAN_BOLTZMANN,
    SUBLIMATION_J_KG,
    VAPORISATION_J_KG,
)
from vigie.physics.seaice.drag import speed
from vigie.physics.seaice.forcing import Forcing, saturated_over_ice, saturated_over_water
from vigie.physics.seaice.settings import ThermodynamicsSettings

MELTING_C = 0.0
"""Snow and the fresh surface of ice melt here."""


class Surface(NamedTuple):
    """Temperature in C; W m-2 that melt the surface; W m-2 that ice conducts upwards."""

    temperature_c: Tensor
    melting: Tensor
    conducted: Tensor


def conductance(thickness_m: Tensor, snow_m: Tensor, chosen: ThermodynamicsSettings) -> Tensor:
    """Conductance of ice under snow, W m-2 K-1, with Semtner's factor; of the ice itself, not of the cell's mean.

    Examples
    --------
    >>> round(float(conductance(torch.tensor(1.0), torch.tensor(0.0), ThermodynamicsSettings())), 2)
    2.16
    """
    ice, snow = chosen.ice_conductivity_w_m_k, chosen.snow_conductivity_w_m_k
    return chosen.conduction * ice * snow / (snow * thickness_m.clamp(min=chosen.thinnest_m) + ice * snow_m)


def from_water(forcing: Forcing, chosen: ThermodynamicsSettings) -> Tensor:
    """Compute what open water loses to the air, W m-2."""
    water, exchange = forcing.ocean_c, _exchange(forcing)
    evaporated = VAPORISATION_J_KG * (saturated_over_water(water) - forcing.humidity)
    turbulent = exchange * (AIR_J_KG_K * (water - forcing.air_c) + evaporated)
    sun = (1.0 - chosen.albedo_water) * forcing.shortwave_w_m2
    return turbulent + _infrared(water, forcing, chosen) - sun


def balance(thickness_m: Tensor, snow_m: Tensor, guess_c: Tensor, forcing: Forcing, chosen: ThermodynamicsSettings) -> Surface:
    """Find the temperature at which the surface loses what ice conducts, by Newton's method, the melting point at most.

    Parameters
    ----------
    thickness_m, snow_m: of the ice itself.
    guess_c: the temperature before, which also says whether the albedo is that of a melting surface.
    """
    conducts, sun = conductance(thickness_m, snow_m, chosen), sunlight(snow_m, guess_c, forcing, chosen)
    found = guess_c.clamp(max=MELTING_C)
    for _ in range(chosen.iterations):
        lost, slope = _upward(found, forcing, chosen)
        found = found + (conducts * (FREEZING_C - found) - lost + sun) / (conducts + slope)
    surface = found.clamp(max=MELTING_C)
    conducted = conducts * (FREEZING_C - surface)
    left = (conducted - _upward(surface, forcing, chosen)[0] + sun).clamp(min=0.0)
    return Surface(surface, left * (found > MELTING_C), conducted)


def sunlight(snow_m: Tensor, surface_c: Tensor, forcing: Forcing, chosen: ThermodynamicsSettings) -> Tensor:
    """Compute what the surface keeps of sunlight, W m-2: snow covers more of the ice the deeper it lies."""
    covered = snow_m / (snow_m + chosen.snow_patch_m)
    melting = (surface_c - MELTING_C + 1.0).clamp(0.0, 1.0)
    snow, ice = _between(chosen.albedo_snow, melting), _between(chosen.albedo_ice, melting)
    lost = (1.0 - chosen.kept) * chosen.penetrating * (1.0 - covered)
    return (1.0 - torch.lerp(ice, snow, covered)) * (1.0 - lost) * forcing.shortwave_w_m2


def _upward(surface_c: Tensor, forcing: Forcing, chosen: ThermodynamicsSettings) -> tuple[Tensor, Tensor]:
    """What ice gives to the air without sunlight, W m-2, and its slope in temperature."""
    exchange, saturated = _exchange(forcing), saturated_over_ice(surface_c)
    turbulent = exchange * (AIR_J_KG_K * (surface_c - forcing.air_c) + SUBLIMATION_J_KG * (saturated - forcing.humidity))
    steeper = SUBLIMATION_J_KG * saturated * 22.46 * 272.62 / (272.62 + surface_c) ** 2
    glow = 4.0 * chosen.emissivity * STEFAN_BOLTZMANN * (surface_c + KELVIN) ** 3
    return turbulent + _infrared(surface_c, forcing, chosen), exchange * (AIR_J_KG_K + steeper) + glow


def _between(albedo: tuple[float, float], melting: Tensor) -> Tensor:
    """Albedo of a surface that is cold, melting, or on its way there."""
    cold, wet = albedo
    return cold + (wet - cold) * melting


def _exchange(forcing: Forcing) -> Tensor:
    """Mass of air that trades places with the surface's, kg m-2 s-1."""
    return AIR_KG_M3 * forcing.heat_transfer * speed(forcing.wind_u_m_s, forcing.wind_v_m_s)


def _infrared(surface_c: Tensor, forcing: Forcing, chosen: ThermodynamicsSettings) -> Tensor:
    return chosen.emissivity * (STEFAN_BOLTZMANN * (surface_c + KELVIN) ** 4 - forcing.longwave_w_m2)
