"""What a microwave radiometer sees of sea, land, air and rain: a simple forward model that is differentiable throughout.

A column has four layers of rain below the freezing level and six of ice above; temperature falls by 6.5 K a kilometre, relative
humidity with pressure. Two streams run through it (`vigie.physics.twostream`); both polarisations see the same column,
so that their difference comes from the surface and from ice that lies flat. Left out: cloud ice, melting particles, the tilt of
rain shafts, soil moisture and snow on the ground.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vigie.core.errors import VigieError
from vigie.core.swath import Channel
from vigie.physics import absorption
from vigie.physics.surface import emissivity
from vigie.physics.twostream import upwelling

LAPSE_K_PER_KM = 6.5
PRESSURE_SCALE_KM = 7.7
ICE_SCALE_KM = 2.0
TROPOPAUSE_K = 210.0
"""Air is no colder than this."""

RAIN_LAYERS = 4
"""Layers of equal thickness from the ground to the freezing level."""

CLOUD_LAYER = RAIN_LAYERS - 1
"""Where cloud droplets are: below the freezing level."""

ICE_LAYERS_KM = (1.0, 1.0, 1.5, 1.5, 2.0, 3.0)
"""Thickness of the layers above."""


@dataclass(frozen=True)
class State:
    """What the model needs to know of each place: maps of one shape, or of shapes that broadcast.

    Parameters
    ----------
    rain_rate: mm h-1 at the ground.
    water_vapour: total column, kg m-2.
    cloud_liquid: column of cloud droplets, kg m-2.
    ice_water_path: column of precipitating ice, kg m-2 (see `ice_water_path` for a relation to rain).
    skin_temperature: K.
    wind_speed: m s-1, at 10 m.
    land_fraction: 0 (sea) to 1.
    """

    rain_rate: Tensor
    water_vapour: Tensor
    cloud_liquid: Tensor
    ice_water_path: Tensor
    skin_temperature: Tensor
    wind_speed: Tensor
    land_fraction: Tensor


@dataclass(frozen=True)
class Column:
    """Layers above each place, (..., layer), the lowest first: thickness, pressure over 1013.25 hPa, vapour in g m-3, cloud and
    ice in kg m-2, rain in mm h-1."""

    thickness_km: Tensor
    temperature_k: Tensor
    pressure: Tensor
    vapour: Tensor
    cloud: Tensor
    rain: Tensor
    ice: Tensor


def ice_water_path(rain_rate: Tensor) -> Tensor:
    """Relate the column of precipitating ice (kg m-2) to the rain rate (mm h-1) below it: 0.28 R^0.6.

    What crosses the freezing level as ice arrives as rain: a flux R of particles that fall at v holds R / v in a cubic metre.
    With v = 2 R^0.4 m s-1 (from snowflakes in drizzle to graupel in showers) and a content that falls off over 2 km, the column
    is 0.28 R^0.6.

    Examples
    --------
    >>> [round(float(one), 2) for one in ice_water_path(torch.tensor([0.1, 1.0, 10.0]))]
    [0.06, 0.26, 1.1]
    """
    return 0.28 * absorption.straightened_power(rain_rate, 0.6)


def column(state: State) -> Column:
    """Fill the layers above each place.

    The freezing level is where the lapse rate reaches 273.15 K, at least half a kilometre up; cloud lies in the layer
    below it.
    """
    skin = state.skin_temperature[..., None]
    freezing_km = ((skin - 273.15) / LAPSE_K_PER_KM).clamp(min=0.5)
    above = skin.new_tensor(ICE_LAYERS_KM)
    below = torch.ones_like(above[:1]).expand(RAIN_LAYERS)
    thickness = torch.cat([freezing_km / RAIN_LAYERS * below, above.expand(*skin.shape[:-1], -1)], dim=-1)
    top = thickness.cumsum(-1)
    middle = top - thickness / 2
    raining, icy = torch.cat([below, 0 * above]), torch.cat([0 * below, _shares(above)])
    cloudy = (torch.arange(len(raining), device=skin.device) == CLOUD_LAYER).to(skin.dtype)
    temperature = (skin - LAPSE_K_PER_KM * middle).clamp(min=TROPOPAUSE_K)
    pressure = torch.exp(-middle / PRESSURE_SCALE_KM)
    moist = _moisture(pressure, temperature)
    return Column(
        thickness_km=thickness,
        temperature_k=temperature,
        pressure=pressure,
        vapour=state.water_vapour[..., None] * moist / (moist * thickness).sum(-1, keepdim=True),
        cloud=state.cloud_liquid[..., None] * cloudy,
        rain=state.rain_rate[..., None] * raining,
        ice=state.ice_water_path[..., None] * icy,
    )


def optical_depth(air: Column, frequency_ghz: float) -> tuple[Tensor, Tensor]:
    """Sum up what each layer (..., layer) absorbs and what it scatters backwards, straight upwards, without its ice."""
    gas = absorption.oxygen(frequency_ghz, air.pressure, air.temperature_k)
    gas = gas + absorption.vapour(frequency_ghz, air.pressure, air.temperature_k, air.vapour)
    rain_absorbs, rain_scatters = absorption.rain(frequency_ghz, air.rain)
    drops = absorption.liquid(frequency_ghz, air.temperature_k[..., CLOUD_LAYER, None]) * air.cloud
    return (gas + rain_absorbs) * air.thickness_km + drops, rain_scatters * air.thickness_km


def brightness_temperature(state: State, channels: Sequence[Channel]) -> Tensor:
    """Compute brightness temperatures (..., channel) in K at the top of the air, before any antenna smooths them.

    A channel with two sidebands sees their mean.

    Raises
    ------
    VigieError: a channel's incidence or polarisation is unknown, or its frequency lies in the oxygen band.

    Examples
    --------
    >>> sea = State(*(torch.tensor(x) for x in (0.0, 30.0, 0.05, 0.0, 295.0, 7.0, 0.0)))
    >>> pair = [Channel(36.64, side, footprint_km=12.1, incidence_deg=52.8) for side in "VH"]
    >>> brightness_temperature(sea, pair).round().tolist()
    [218.0, 159.0]
    """
    for channel in channels:
        _check(channel)
    air = column(state)
    depths = {f: optical_depth(air, f) for f in {f for channel in channels for f in _sides(channel)}}
    return torch.stack([_seen(state, air, channel, depths) for channel in channels], dim=-1)


def _seen(state: State, air: Column, channel: Channel, depths: Mapping[float, tuple[Tensor, Tensor]]) -> Tensor:
    """Brightness temperature of one channel: its ice, its surface, and the mean of its sidebands."""
    slant, skin = 1 / math.cos(math.radians(channel.incidence_deg)), state.skin_temperature
    seen = []
    for f in _sides(channel):
        absorbed, scattered = depths[f]
        ice_absorbs, ice_scatters = absorption.ice(f, channel.polarisation)
        absorbed, scattered = absorbed + ice_absorbs * air.ice, scattered + ice_scatters * air.ice
        ground = emissivity(f, channel.incidence_deg, channel.polarisation, skin, state.wind_speed, state.land_fraction)
        seen.append(upwelling(ground, skin, absorbed * slant, scattered * slant, air.temperature_k))
    return torch.stack(seen).mean(0)


def _sides(channel: Channel) -> tuple[float, ...]:
    """Frequencies (GHz) at which a channel listens."""
    aside = channel.sideband_ghz
    return (channel.frequency_ghz - aside, channel.frequency_ghz + aside) if aside else (channel.frequency_ghz,)


def _moisture(pressure: Tensor, temperature_k: Tensor) -> Tensor:
    """Shape of the vapour's profile: relative humidity as Manabe and Wetherald (1967) have it, saturation by Magnus."""
    celsius = temperature_k - 273.15
    return (pressure - 0.02).clamp(min=0.0) * torch.exp(17.62 * celsius / (243.12 + celsius)) / temperature_k


def _shares(thickness_km: Tensor) -> Tensor:
    """How a column that falls off over ICE_SCALE_KM divides among layers."""
    top = thickness_km.cumsum(-1)
    share = torch.exp((thickness_km - top) / ICE_SCALE_KM) - torch.exp(-top / ICE_SCALE_KM)
    return share / share.sum()


def _check(channel: Channel) -> None:
    if channel.polarisation not in ("V", "H") or not 0 <= channel.incidence_deg < 85:
        raise VigieError(
            f"channel {channel.name} cannot be simulated",
            found=f"polarisation '{channel.polarisation}', incidence {channel.incidence_deg:g} degrees",
            expected="V or H, seen at a known incidence of 0 to 85 degrees",
            do="give the channel's incidence_deg and polarisation",
        )
