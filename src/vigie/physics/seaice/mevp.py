"""Modified elastic-viscous-plastic solution of the balance of forces: pseudo-time steps towards implicit viscous-plastic flow.

Bouillon et al. (2013, Ocean Modelling 71, 2) make a plain iteration of EVP; Kimmritz et al. (2016, Ocean Modelling 101, 90)
choose alpha = beta in each cell as large as stability demands there: sqrt(2 zeta pi^2 dt / (dx^2 m)).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from vigie.physics.seaice import stencil, vp
from vigie.physics.seaice.momentum import Drift, Loads, accelerate, drift_of, with_drift
from vigie.physics.seaice.recompute import repeat
from vigie.physics.seaice.settings import Mevp
from vigie.physics.seaice.state import IceState


class Relaxation(NamedTuple):
    """How slowly stress (alpha, at centres and corners) and drift (beta, on faces) follow: each goes 1/alpha of its way."""

    centre: Tensor | float
    corner: Tensor | float
    u: Tensor | float
    v: Tensor | float


Relax = Callable[[Tensor, Tensor], Relaxation]
"""From the bulk viscosity at centres and corners to the relaxation it needs."""


def relaxation(chosen: Mevp, on: Loads) -> Relax:
    """Choose alpha and beta as the settings say."""
    if chosen.relaxation == "adaptive":
        return adaptive(chosen.least_relaxation, on)
    return lambda zeta, corner_zeta: Relaxation(*[float(chosen.relaxation)] * 4)


def adaptive(least: float, on: Loads) -> Relax:
    """Choose alpha = beta at every place, from viscosity and mass there, not below the least."""
    factor = 2.0 * math.pi**2 / on.grid.dx_m**2
    land = 1.0 - on.grid.sea
    centre = factor / (on.inertia + land)
    corner = factor / (stencil.to_corners(on.inertia) + 1.0 - on.grid.corner_open)
    u, v = factor / on.u.inertia, factor / on.v.inertia

    def relax(zeta: Tensor, corner_zeta: Tensor) -> Relaxation:
        at_u = stencil.to_u(zeta).maximum(stencil.from_v(corner_zeta))
        at_v = stencil.to_v(zeta).maximum(stencil.from_u(corner_zeta))
        pairs = ((zeta, centre), (corner_zeta, corner), (at_u, u), (at_v, v))
        return Relaxation(*(torch.sqrt((here * scale).clamp(min=least**2)) for here, scale in pairs))

    return relax


def pseudo_step(now: Drift, start: tuple[Tensor, Tensor], strong: Tensor, relax: Relax, on: Loads, chosen: Mevp) -> Drift:
    """Go one pseudo-time step: stress towards the plastic stress of this drift, then drift towards balance.

    Parameters
    ----------
    now: drift and stress of this pseudo-time.
    start: drift at the beginning of the step in true time.
    strong: P, N m-1.
    """
    plastic = chosen.plastic
    strain = vp.strain_rates(now.u, now.v, on.grid)
    delta = vp.deformation(strain, plastic.ellipse)
    zeta = vp.bulk_viscosity(strong, delta, plastic)
    corner_zeta = on.bond * stencil.to_corners(zeta)
    normal, tension, shear = vp.stress(strain, delta, zeta, corner_zeta, plastic.ellipse)
    slow = relax(zeta, corner_zeta)
    stressed = now._replace(
        normal=now.normal + (normal - now.normal) / slow.centre,
        tension=now.tension + (tension - now.tension) / slow.centre,
        shear=now.shear + (shear - now.shear) / slow.corner,
    )
    return accelerate(stressed, start, (slow.u, slow.v), on)


def solve(state: IceState, on: Loads, chosen: Mevp) -> IceState:
    """Find drift and stress at the end of a step by all of its pseudo-time steps."""
    start, relax = (state.u_m_s, state.v_m_s), relaxation(chosen, on)
    strong = vp.strength(state, chosen.plastic)

    def cycle(now: Drift) -> Drift:
        return pseudo_step(now, start, strong, relax, on, chosen)

    last = repeat(cycle, drift_of(state), chosen.cycles, chosen.checkpoint_every)
    return with_drift(state, last)
