"""What drives the ice: wind, air, radiation and snowfall from above, current, warmth and tilt from below."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import torch
from torch import Tensor

from vigie.core.errors import VigieError
from vigie.physics.seaice.constants import FREEZING_C, KELVIN, STEFAN_BOLTZMANN
from vigie.physics.seaice.grid import CGrid

AIR_PA = 101325.0


def _everywhere(value: float) -> Tensor:
    """Defaults are exact until the grid's floating type is known."""
    return torch.tensor(value, dtype=torch.float64)


@dataclass(frozen=True)
class Forcing:
    """Fields at centres, (..., y, x) or of shapes that broadcast, at one time; vectors go along the grid's axes.

    Parameters
    ----------
    wind_u_m_s, wind_v_m_s: wind at 10 m, or at the height that `air_drag` and `heat_transfer` are for.
    air_c: temperature of the air.
    humidity: specific humidity of the air, kg kg-1.
    shortwave_w_m2, longwave_w_m2: radiation downwards.
    snowfall_kg_m2_s: water equivalent.
    current_u_m_s, current_v_m_s: of the ocean below the layer that the ice drags along.
    ocean_c: temperature of the water under the ice and between floes.
    ocean_heat_w_m2: heat from below to the ice, beside what warm water gives.
    sea_level_m: height of the sea's surface, whose tilt pulls at the ice.
    air_drag: coefficient of drag by wind.
    heat_transfer: coefficient of exchange of heat and vapour with the air.
    """

    wind_u_m_s: Tensor
    wind_v_m_s: Tensor
    air_c: Tensor = field(default_factory=lambda: _everywhere(FREEZING_C))
    humidity: Tensor = field(default_factory=lambda: _everywhere(3.2e-3))
    shortwave_w_m2: Tensor = field(default_factory=lambda: _everywhere(0.0))
    longwave_w_m2: Tensor = field(default_factory=lambda: _everywhere(280.0))
    snowfall_kg_m2_s: Tensor = field(default_factory=lambda: _everywhere(0.0))
    current_u_m_s: Tensor = field(default_factory=lambda: _everywhere(0.0))
    current_v_m_s: Tensor = field(default_factory=lambda: _everywhere(0.0))
    ocean_c: Tensor = field(default_factory=lambda: _everywhere(FREEZING_C))
    ocean_heat_w_m2: Tensor = field(default_factory=lambda: _everywhere(0.0))
    sea_level_m: Tensor = field(default_factory=lambda: _everywhere(0.0))
    air_drag: Tensor = field(default_factory=lambda: _everywhere(1.2e-3))
    heat_transfer: Tensor = field(default_factory=lambda: _everywhere(1.3e-3))

    def on(self, grid: CGrid) -> Forcing:
        """Bring every field to the grid's shape, device and floating type.

        Raises
        ------
        VigieError: a field does not fit the grid.

        Examples
        --------
        >>> grid = CGrid(torch.ones(2, 3, dtype=torch.bool), dx_m=25e3)
        >>> Forcing(torch.tensor(5.0), torch.tensor(0.0)).on(grid).wind_u_m_s.shape
        torch.Size([2, 3])
        """
        return Forcing(*(_fitted(one.name, getattr(self, one.name), grid) for one in fields(self)))


def between(earlier: Forcing, later: Forcing, share: float) -> Forcing:
    """Interpolate in time: a share of 0 is the earlier forcing, 1 the later.

    Examples
    --------
    >>> calm, windy = Forcing(torch.tensor(0.0), torch.tensor(0.0)), Forcing(torch.tensor(8.0), torch.tensor(0.0))
    >>> float(between(calm, windy, 0.25).wind_u_m_s)
    2.0
    """
    pairs = ((getattr(earlier, one.name), getattr(later, one.name)) for one in fields(Forcing))
    return Forcing(*(before + share * (after - before) for before, after in pairs))


def saturated_over_ice(temperature_c: Tensor) -> Tensor:
    """Specific humidity (kg kg-1) of saturated air over ice at sea level, by Magnus (Sonntag 1990).

    Examples
    --------
    >>> saturated_over_ice(torch.tensor([-20.0, 0.0])).mul(1e4).round().tolist()
    [6.0, 38.0]
    """
    return _magnus(22.46, 272.62, temperature_c)


def saturated_over_water(temperature_c: Tensor) -> Tensor:
    """Specific humidity (kg kg-1) of saturated air over water at sea level, by Magnus (Sonntag 1990)."""
    return _magnus(17.62, 243.12, temperature_c)


def longwave(air_c: Tensor, cloud: Tensor) -> Tensor:
    """Estimate radiation from the sky (W m-2) from the air's temperature and the cloud cover (0 to 1).

    Maykut and Church (1973), fitted at Barrow: emissivity 0.7855 + 0.2232 cloud^2.75.

    Examples
    --------
    >>> longwave(torch.tensor(-30.0), torch.tensor([0.0, 1.0])).round().tolist()
    [156.0, 200.0]
    """
    return STEFAN_BOLTZMANN * (air_c + KELVIN) ** 4 * (0.7855 + 0.2232 * cloud**2.75)


def _magnus(slope: float, offset_c: float, temperature_c: Tensor) -> Tensor:
    return 0.622 * 611.2 / AIR_PA * torch.exp(slope * temperature_c / (offset_c + temperature_c))


def _fitted(name: str, given: Tensor, grid: CGrid) -> Tensor:
    moved = given.to(grid.device, grid.dtype)
    try:
        return moved.expand(*moved.shape[:-2], *grid.shape)
    except RuntimeError as error:
        raise VigieError(
            f"forcing field {name} does not fit the grid", found=tuple(given.shape), expected=f"(..., {grid.shape})"
        ) from error
