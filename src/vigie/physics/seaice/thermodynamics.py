"""Growth and melt of ice and snow: at the surface, at the base, at the floes' sides and on open water.

Left out: heat capacity of ice, salt, melt ponds, mass lost by sublimation, and heat that open water keeps. Sunlight that leads
take up melts floes at once; a warm ocean is given by the forcing.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from vigie.physics.seaice.constants import (
    FREEZING_C,
    FUSION_J_KG,
    ICE_KG_M3,
    SNOW_KG_M3,
    WATER_J_KG_K,
    WATER_KG_M3,
)
from vigie.physics.seaice.forcing import Forcing
from vigie.physics.seaice.grid import CGrid
from vigie.physics.seaice.settings import ThermodynamicsSettings
from vigie.physics.seaice.state import IceState
from vigie.physics.seaice.surface import Surface, balance, from_water
from vigie.physics.seaice.transport import per_ice

MELT_ICE_J_M3 = ICE_KG_M3 * FUSION_J_KG
MELT_SNOW_J_M3 = SNOW_KG_M3 * FUSION_J_KG


def grow(state: IceState, forcing: Forcing, dt_s: float, grid: CGrid, chosen: ThermodynamicsSettings) -> IceState:
    """Let ice and snow grow and melt for dt_s under a forcing that is on the grid."""
    ice = state.concentration
    thick, snow = per_ice(state.thickness_m, ice, 0.0), per_ice(state.snow_m, ice, 0.0)
    surface = balance(thick, snow, state.surface_c, forcing, chosen)
    below = ocean_heat(forcing, chosen)
    snow, rest = melt_snow(snow + forcing.snowfall_kg_m2_s * dt_s / SNOW_KG_M3, surface.melting * dt_s)
    grown, melted = _column(thick, rest, (surface.conducted - below) * dt_s)
    flooded, snow = flood(thick + grown - melted, snow)
    new, gained = _open_water(ice, forcing, below, dt_s, chosen)
    return _together(state, surface, ice * flooded, ice * melted + gained, snow, gained, new * grid.sea, chosen)


def ocean_heat(forcing: Forcing, chosen: ThermodynamicsSettings) -> Tensor:
    """Compute what the ocean gives to ice and to freezing water, W m-2: more the warmer it is than its freezing point."""
    warmth = (forcing.ocean_c - FREEZING_C).clamp(min=0.0)
    return forcing.ocean_heat_w_m2 + WATER_KG_M3 * WATER_J_KG_K * chosen.ocean_m_s * warmth


def melt_snow(snow_m: Tensor, energy_j_m2: Tensor) -> tuple[Tensor, Tensor]:
    """Melt snow with the energy at the surface; give what is left of both.

    Examples
    --------
    >>> snow, energy = melt_snow(torch.tensor(0.1), torch.tensor(2e7))
    >>> round(float(snow), 3), round(float(energy) / 1e6, 2)
    (0.0, 9.01)
    """
    melted = snow_m.minimum(energy_j_m2 / MELT_SNOW_J_M3)
    return snow_m - melted, energy_j_m2 - melted * MELT_SNOW_J_M3


def flood(thickness_m: Tensor, snow_m: Tensor) -> tuple[Tensor, Tensor]:
    """Turn snow below the water line into ice of the same mass, until the ice's surface is at the water line.

    Examples
    --------
    >>> ice, snow = flood(torch.tensor(1.0), torch.tensor(0.5))
    >>> round(float(ice), 4), round(float(snow), 4)
    (1.038, 0.3963)
    """
    draught = (ICE_KG_M3 * thickness_m + SNOW_KG_M3 * snow_m) / WATER_KG_M3
    below = (draught - thickness_m).clamp(min=0.0).minimum(snow_m * SNOW_KG_M3 / ICE_KG_M3)
    return thickness_m + below, snow_m - below * ICE_KG_M3 / SNOW_KG_M3


def _column(thick: Tensor, above_j_m2: Tensor, base_j_m2: Tensor) -> tuple[Tensor, Tensor]:
    """Thickness that freezes on at the base, and that melts on both sides, all of it at most."""
    grown = base_j_m2.clamp(min=0.0) / MELT_ICE_J_M3
    melted = (above_j_m2 + (-base_j_m2).clamp(min=0.0)) / MELT_ICE_J_M3
    return grown, melted.minimum(thick + grown)


def _open_water(
    ice: Tensor, forcing: Forcing, below: Tensor, dt_s: float, chosen: ThermodynamicsSettings
) -> tuple[Tensor, Tensor]:
    """Volume of ice that forms on open water, and that the heat it takes up can melt, per area of the cell."""
    lost, water = from_water(forcing, chosen), (1.0 - ice).clamp(min=0.0) * dt_s / MELT_ICE_J_M3
    return water * (lost - below).clamp(min=0.0), water * (-lost).clamp(min=0.0)


def _together(
    state: IceState,
    surface: Surface,
    volume: Tensor,
    melted: Tensor,
    snow: Tensor,
    gained: Tensor,
    new: Tensor,
    chosen: ThermodynamicsSettings,
) -> IceState:
    """Bring what happened to ice, snow and open water together into the cell's means.

    Floes lose area as they lose volume, and the snow on it; new ice is intact and has the thickness of new ice.
    """
    ice, left = state.concentration, (volume - gained).clamp(min=0.0)
    before = volume + melted - gained
    share = torch.where(before > 0, melted / torch.where(before > 0, before, 1.0), 0.0).clamp(max=1.0)
    floes = torch.where(left > 0, ice * (1.0 - chosen.lateral * share), 0.0)
    fresh = new / chosen.new_ice_m
    return replace(
        state,
        concentration=floes + fresh,
        thickness_m=left + new,
        snow_m=floes * snow,
        damage=per_ice(floes * state.damage + fresh, floes + fresh, 1.0),
        surface_c=torch.where(ice > 0, surface.temperature_c, state.surface_c),
    )
