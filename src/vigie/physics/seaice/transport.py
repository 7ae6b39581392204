"""Transport of ice by its drift: in flux form, so that nothing is lost, and never below zero.

Concentration is carried first; thickness, snow, damage and surface temperature ride on it as properties of the ice that
moves, as in incremental remapping (Lipscomb and Hunke 2004, Mon. Weather Rev. 132, 1341). Properties stay within the range of
their neighbours', up to a Courant number of about a quarter. Values at faces are reconstructed from limited slopes; in time it
is Heun's method, two forward steps averaged, which keeps what one forward step keeps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from vigie.physics.seaice import stencil
from vigie.physics.seaice.constants import FREEZING_C
from vigie.physics.seaice.grid import CGrid
from vigie.physics.seaice.state import IceState

ICE_FREE = 1e-6
"""Concentrations below are too little to tell the properties of the ice."""

Limiter = Callable[[Tensor, Tensor], Tensor]
"""From the differences to both neighbours to the difference across a cell."""


def upwind(back: Tensor, ahead: Tensor) -> Tensor:
    """Take cells to be flat: first order, and diffusive."""
    return torch.zeros_like(back)


def van_leer(back: Tensor, ahead: Tensor) -> Tensor:
    """Take the harmonic mean of both differences, none at extrema (van Leer 1974): second order where the field is smooth.

    Examples
    --------
    >>> van_leer(torch.tensor([1.0, 1.0, -1.0]), torch.tensor([1.0, 3.0, 1.0])).tolist()
    [1.0, 1.5, 0.0]
    """
    product = (back * ahead).clamp(min=0.0)
    return 2.0 * product / torch.where(product > 0, back + ahead, 1.0)


SCHEMES: dict[str, Limiter] = {"upwind": upwind, "van_leer": van_leer}


def carry(state: IceState, dt_s: float, grid: CGrid, limiter: Limiter) -> IceState:
    """Carry ice along for dt_s; concentration may come out above one where ice converges.

    Damage of cells without ice is 1, their surface at the freezing point.
    """
    ice = state.concentration
    riding = torch.stack([state.thickness_m, state.snow_m, ice * state.damage, ice * state.surface_c])
    first = _forward(ice, riding, state, dt_s, grid, limiter)
    second = _forward(*first, state, dt_s, grid, limiter)
    ice, riding = (0.5 * (before + after) for before, after in zip((ice, riding), second, strict=True))
    thick, snow, damage, surface = riding.unbind(0)
    return replace(
        state,
        concentration=ice,
        thickness_m=thick,
        snow_m=snow,
        damage=per_ice(damage, ice, 1.0).clamp(0.0, 1.0),
        surface_c=per_ice(surface, ice, FREEZING_C),
    )


def per_ice(amount: Tensor, ice: Tensor, without: float) -> Tensor:
    """Divide by concentration where there is ice, with a slope everywhere."""
    some = ice > ICE_FREE
    return torch.where(some, amount / torch.where(some, ice, 1.0), without)


def courant(state: IceState, dt_s: float, grid: CGrid) -> Tensor:
    """Share of a cell that ice crosses in dt_s, the most of all."""
    u, v = state.drift()
    moving = (u.abs() + v.abs()) * (state.concentration > ICE_FREE)
    return dt_s / grid.dx_m * moving.max()


def _forward(ice: Tensor, riding: Tensor, state: IceState, dt_s: float, grid: CGrid, limiter: Limiter) -> tuple[Tensor, Tensor]:
    """One forward step of concentration and of what rides on it."""
    some = (ice > ICE_FREE).to(ice.dtype)
    property_ = per_ice(riding, ice, 0.0)
    u, v, turned = state.u_m_s * grid.u_open, state.v_m_s * grid.v_open, property_.mT
    meet_u, meet_v = grid.u_open * (stencil.to_u(some) == 1), grid.v_open * (stencil.to_v(some) == 1)
    ice_x, riding_x = _fluxes(ice, property_, u, grid.u_open, meet_u, limiter)
    ice_y, riding_y = _fluxes(ice.mT, turned, v.mT, grid.v_open.mT, meet_v.mT, limiter)
    share = dt_s / grid.dx_m
    ice = ice - share * (stencil.step_x(ice_x) + stencil.step_x(ice_y).mT)
    return ice, riding - share * (stencil.step_x(riding_x) + stencil.step_x(riding_y).mT)


def _fluxes(ice: Tensor, property_: Tensor, u: Tensor, opened: Tensor, meet: Tensor, limiter: Limiter) -> tuple[Tensor, Tensor]:
    """Fluxes along x through faces, of concentration and of what rides on it; slopes end at coasts and at the ice's edge."""
    ice_left, ice_right = _sides(ice, opened, limiter)
    left, right = _sides(property_, meet, limiter)
    rightward, leftward = u.clamp(min=0.0) * ice_left, u.clamp(max=0.0) * ice_right
    return rightward + leftward, rightward * left + leftward * right


def _sides(field: Tensor, linked: Tensor, limiter: Limiter) -> tuple[Tensor, Tensor]:
    """Values at each face, seen from the cell to the left and from the cell to the right."""
    rise = stencil.rise_x(field) * linked
    half = 0.5 * limiter(rise[..., :-1], rise[..., 1:])
    return pad(field + half, (1, 0)), pad(field - half, (0, 1))
