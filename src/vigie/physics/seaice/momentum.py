"""The balance of forces on ice, on the faces of a C-grid.

m (du/dt + f k x u) = A tau_a + A tau_w + div sigma - m g grad(sea level), with m = rho_i h + rho_s h_s. The drag of water is
linear in the new drift, with its speed from the old one; Coriolis takes the old drift, which many small steps make implicit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

from torch import Tensor

from vigie.physics.seaice import stencil
from vigie.physics.seaice.constants import GRAVITY_M_S2, ICE_KG_M3, SNOW_KG_M3, WATER_KG_M3
from vigie.physics.seaice.drag import speed, wind_stress
from vigie.physics.seaice.forcing import Forcing
from vigie.physics.seaice.grid import CGrid
from vigie.physics.seaice.settings import DragSettings
from vigie.physics.seaice.state import IceState

LIGHT = 4.0
"""Cells are light if their mass is so many times less than their neighbourhood's."""


class Drift(NamedTuple):
    """Drift on faces and stress over the ice's depth, as in `vigie.physics.seaice.state.IceState`."""

    u: Tensor
    v: Tensor
    normal: Tensor
    tension: Tensor
    shear: Tensor


def drift_of(state: IceState) -> Drift:
    """Take drift and stress out of a state."""
    return Drift(state.u_m_s, state.v_m_s, state.stress_normal, state.stress_tension, state.stress_shear)


def with_drift(state: IceState, drift: Drift) -> IceState:
    """Put drift and stress into a state."""
    stress = {"stress_normal": drift.normal, "stress_tension": drift.tension, "stress_shear": drift.shear}
    return replace(state, u_m_s=drift.u, v_m_s=drift.v, **stress)


@dataclass(frozen=True)
class Side:
    """What does not change during a step, on the faces across one axis.

    Parameters
    ----------
    inertia: mass over the length of the step, kg m-2 s-1.
    water: A rho_w C_w.
    force: of wind and tilt, Pa.
    coriolis: m f, with the sign that it has in this component's equation.
    along, across: the current's component along this axis, and the other one.
    left: 1 where the left of the component's axis is the other axis, else -1.
    opened: 1 where ice can pass.
    """

    inertia: Tensor
    water: Tensor
    force: Tensor
    coriolis: Tensor
    along: Tensor
    across: Tensor
    left: float
    opened: Tensor


@dataclass(frozen=True)
class Loads:
    """All that pushes ice during a step but its own stress.

    Parameters
    ----------
    u, v: on both kinds of faces.
    inertia: mass over the length of the step at centres.
    bond: share of shear that a corner bears, less than 1 where one of its four cells is much lighter than their mean: heavy
        ice does not drag at light ice beside it, which no finite step could follow.
    turning: cosine and sine of the angle between water's stress and its motion past the ice.
    """

    u: Side
    v: Side
    inertia: Tensor
    bond: Tensor
    turning: tuple[float, float]
    grid: CGrid


def loads(state: IceState, forcing: Forcing, dt_s: float, drag: DragSettings, grid: CGrid) -> Loads:
    """Prepare what pushes ice during a step of dt_s.

    A cell with less ice than the settings' least moves as if it had that much: the equation stays well posed in open water,
    whose "drift" is that of thin floes. The forcing must be on the grid.
    """
    ice = state.concentration.clamp(min=drag.least_concentration)
    thick = state.thickness_m.maximum(drag.least_thickness_m * ice)
    mass = ICE_KG_M3 * thick + SNOW_KG_M3 * state.snow_m
    pull_x, pull_y = wind_stress(forcing.wind_u_m_s, forcing.wind_v_m_s, forcing.air_drag)
    weight = mass * GRAVITY_M_S2 / grid.dx_m
    current, level = (forcing.current_u_m_s, forcing.current_v_m_s), forcing.sea_level_m
    u = Side(
        inertia=_inhabited(stencil.to_u(mass), grid.u_open) / dt_s,
        water=WATER_KG_M3 * drag.water * stencil.to_u(ice),
        force=stencil.to_u(ice * pull_x) - stencil.to_u(weight) * stencil.rise_x(level),
        coriolis=stencil.to_u(mass * grid.coriolis),
        along=stencil.to_u(current[0]),
        across=stencil.to_u(current[1]),
        left=-1.0,
        opened=grid.u_open,
    )
    v = Side(
        inertia=_inhabited(stencil.to_v(mass), grid.v_open) / dt_s,
        water=WATER_KG_M3 * drag.water * stencil.to_v(ice),
        force=stencil.to_v(ice * pull_y) - stencil.to_v(weight) * stencil.rise_y(level),
        coriolis=-stencil.to_v(mass * grid.coriolis),
        along=stencil.to_v(current[1]),
        across=stencil.to_v(current[0]),
        left=1.0,
        opened=grid.v_open,
    )
    turn = math.radians(drag.turning_deg)
    light = stencil.least_at_corners(mass) / (stencil.to_corners(mass) + 1.0 - grid.corner_open)
    bond = (LIGHT * light).clamp(max=1.0) * grid.corner_open
    return Loads(u, v, mass / dt_s, bond, (math.cos(turn), math.sin(turn)), grid)


def accelerate(now: Drift, start: tuple[Tensor, Tensor], beta: tuple[Tensor | float, Tensor | float], on: Loads) -> Drift:
    """Move the drift on by one pseudo-time step towards the balance at the end of the step that began with `start`.

    With a beta of zero and `start` the drift itself, this is one step in true time.
    """
    dx = on.grid.dx_m
    push_u = (stencil.rise_x(now.normal + now.tension) + stencil.step_y(now.shear)) / dx
    push_v = (stencil.rise_y(now.normal - now.tension) + stencil.step_x(now.shear)) / dx
    u = _balance(on.u, now.u, stencil.v_to_u(now.v), start[0], push_u, beta[0], on.turning)
    v = _balance(on.v, now.v, stencil.u_to_v(now.u), start[1], push_v, beta[1], on.turning)
    return now._replace(u=u, v=v)


def _balance(
    on: Side, along: Tensor, across: Tensor, start: Tensor, push: Tensor, beta: Tensor | float, turning: tuple[float, float]
) -> Tensor:
    """Solve one component's equation for its new drift."""
    cos, sin = turning
    behind = on.across - across
    grip = on.water * speed(on.along - along, behind)
    towed = grip * on.along
    if sin:
        towed = grip * (cos * on.along + on.left * sin * behind)
    force = on.force + towed + push + on.coriolis * across
    return on.opened * (on.inertia * (beta * along + start) + force) / (on.inertia * (1.0 + beta) + cos * grip)


def _inhabited(mass: Tensor, opened: Tensor) -> Tensor:
    """Give closed faces a mass, so that nothing is divided by zero there."""
    return mass + (1.0 - opened)
