"""Brittle Bingham-Maxwell ice (Olason et al. 2022, JAMES 14, e2021MS002685): elastic until it breaks, then it flows.

Intact ice is an elastic plate. Where stress leaves the Mohr-Coulomb envelope, damage falls from 1 towards 0, stiffness with
it, and broken ice forgets its stress in minutes; pressure below what ridges it is borne for good. Damage, normal and tension
stress are at centres, shear stress at corners, where the weakest of four cells decides on stiffness.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from vigie.core.errors import VigieError
from vigie.physics.seaice import stencil, vp
from vigie.physics.seaice.constants import ICE_KG_M3
from vigie.physics.seaice.momentum import Drift, Loads, accelerate, drift_of, with_drift
from vigie.physics.seaice.recompute import repeat
from vigie.physics.seaice.settings import Bbm
from vigie.physics.seaice.state import IceState

SAMPLE_M = 0.1
"""Width of the sample that the cohesion is measured on."""

BROKEN = 1e-2
"""Ice that is weaker than this forgets its stress at once anyway."""

SLACK_N_M = 1e-3
"""Stress and cohesion are no less, so that roots and ratios have slopes everywhere."""


class Brittle(NamedTuple):
    """Drift and stress, and the damage that goes with them."""

    drift: Drift
    damage: Tensor


@dataclass(frozen=True)
class Plate:
    """What does not change during a step: thickness, exp(-C (1 - A)), ridging pressure and cohesion, both N m-1."""

    thickness_m: Tensor
    packing: Tensor
    ridging: Tensor
    cohesion: Tensor


def plate(state: IceState, chosen: Bbm, dx_m: float) -> Plate:
    """Prepare what the step needs to know of the ice."""
    thick, packing = state.thickness_m, torch.exp(-chosen.weakening * (1.0 - state.concentration))
    cohesion = chosen.cohesion_pa * math.sqrt(SAMPLE_M / dx_m) * thick
    return Plate(thick, packing, chosen.ridging_pa * thick**2.5 * packing, cohesion.clamp(min=SLACK_N_M))


def wave_speed(chosen: Bbm) -> float:
    """Speed of compression waves in intact ice, m s-1.

    Examples
    --------
    >>> round(wave_speed(Bbm()))
    863
    """
    return math.sqrt(chosen.stiffness_pa / (ICE_KG_M3 * (1.0 - chosen.poisson**2)))


def stretch(now: Brittle, ice: Plate, dt_s: float, chosen: Bbm, on: Loads) -> Drift:
    """Load the plate elastically over dt_s and let it forget: sigma <- (sigma + dt E K:e) lambda / (lambda + (1 - P) dt)."""
    nu, strain = chosen.poisson, vp.strain_rates(now.drift.u, now.drift.v, on.grid)
    sound = now.damage * ice.packing
    stiff = dt_s * chosen.stiffness_pa * ice.thickness_m * sound
    lasting = chosen.relaxation_s * sound.clamp(min=BROKEN) ** (chosen.exponent - 1.0)
    normal = now.drift.normal + stiff / (2.0 * (1.0 - nu)) * strain.divergence
    kept = remembered(normal, dt_s / lasting, ice, chosen)
    return now.drift._replace(
        normal=kept * normal,
        tension=kept * (now.drift.tension + stiff / (2.0 * (1.0 + nu)) * strain.tension),
        shear=stencil.to_corners(kept) * (now.drift.shear + stencil.least_at_corners(stiff) / (1.0 + nu) * strain.shear),
    )


def remembered(normal: Tensor, spent: Tensor, ice: Plate, chosen: Bbm) -> Tensor:
    """Share of its stress that ice keeps while `spent`, the step over the relaxation time, goes by.

    Under tension that is 1 / (1 + spent). Pressure up to what ridges the ice stays, and what exceeds it relaxes: implicitly,
    because the relaxation of broken ice is far shorter than a step. Between tension and pressure the share rises over a
    narrow range instead of jumping, so that gradients exist.
    """
    pressure = (-normal).clamp(min=0.0)
    relaxed = 1.0 / (1.0 + spent)
    resists = (pressure / (chosen.onset * ice.cohesion)).clamp(max=1.0)
    above = pressure.maximum(ice.ridging).clamp(min=SLACK_N_M)
    ridged = relaxed * (1.0 + spent * ice.ridging / above)
    return torch.lerp(relaxed, ridged.clamp(max=1.0), resists)


def excess(drift: Drift, ice: Plate, chosen: Bbm) -> Tensor:
    """Tell how far stress lies outside of the envelope: 1 - d_crit, 0 inside."""
    tau = torch.sqrt(drift.tension**2 + stencil.from_corners(drift.shear**2) + SLACK_N_M**2)
    crushing = (chosen.crushing_pa * ice.thickness_m).clamp(min=SLACK_N_M)
    sheared = ice.cohesion / (tau + chosen.friction * drift.normal).maximum(ice.cohesion)
    crushed = crushing / (-drift.normal).maximum(crushing)
    return 1.0 - sheared.minimum(crushed)


def break_up(drift: Drift, damage: Tensor, ice: Plate, dt_s: float, chosen: Bbm, dx_m: float) -> Brittle:
    """Take damage and stress back towards the envelope, over the time a shear wave takes to cross the cell."""
    stiff = chosen.stiffness_pa * (damage * ice.packing).clamp(min=BROKEN**2)
    crossing = dt_s / dx_m * torch.sqrt(stiff / (2.0 * (1.0 + chosen.poisson) * ICE_KG_M3))
    left = 1.0 - excess(drift, ice, chosen) * crossing
    eased = drift._replace(
        normal=left * drift.normal, tension=left * drift.tension, shear=stencil.to_corners(left) * drift.shear
    )
    return Brittle(eased, left * damage)


def elastic_step(now: Brittle, ice: Plate, dt_s: float, chosen: Bbm, on: Loads) -> Brittle:
    """Go one step in true time: load, break, accelerate."""
    broken = break_up(stretch(now, ice, dt_s, chosen, on), now.damage, ice, dt_s, chosen, on.grid.dx_m)
    return Brittle(accelerate(broken.drift, (broken.drift.u, broken.drift.v), (0.0, 0.0), on), broken.damage)


def solve(state: IceState, on: Loads, dt_s: float, chosen: Bbm) -> IceState:
    """Find drift, stress and damage after dt_s by many elastic steps.

    Parameters
    ----------
    on: loads for one elastic step, dt_s / cycles long.

    Raises
    ------
    VigieError: a wave would cross a cell in less than an elastic step.
    """
    short = dt_s / chosen.cycles
    least = math.ceil(2.0 * dt_s * wave_speed(chosen) / on.grid.dx_m)  # in two dimensions, where faces have half a cell's mass
    if chosen.cycles < least:
        raise VigieError(
            "elastic steps of the brittle rheology are too long for the grid",
            found=f"{chosen.cycles} cycles in {dt_s:g} s on cells of {on.grid.dx_m:g} m",
            expected=f"at least {least} cycles",
            do=f"set rheology.cycles = {least} or shorten the step",
        )
    ice = plate(state, chosen, on.grid.dx_m)
    first = Brittle(drift_of(state), state.damage)
    last = repeat(lambda now: elastic_step(now, ice, short, chosen, on), first, chosen.cycles, chosen.checkpoint_every)
    return with_drift(replace(state, damage=last.damage), last.drift)


def heal(state: IceState, dt_s: float, chosen: Bbm) -> IceState:
    """Let cracks freeze over dt_s."""
    return replace(state, damage=(state.damage + dt_s / (chosen.healing_days * 86400.0)).clamp(max=1.0))
