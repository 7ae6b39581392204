"""What can be chosen about the sea-ice model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field


class DragSettings(BaseModel, extra="forbid", frozen=True):
    """How water holds the ice, and how little ice still moves as ice."""

    water: float = Field(default=5.5e-3, gt=0, description="coefficient of drag between ice and water")
    turning_deg: float = Field(
        default=0.0, ge=-90, le=90, description="how far the water's stress is turned to the left of its motion past the ice"
    )
    least_concentration: float = Field(
        default=0.01, gt=0, le=1, description="concentration below which a cell moves as if it had this much ice"
    )
    least_thickness_m: float = Field(default=0.05, gt=0, description="thickness of that ice")


class PlasticSettings(BaseModel, extra="forbid", frozen=True):
    """Strength and yield curve of viscous-plastic ice (Hibler 1979)."""

    strength_pa: float = Field(default=27.5e3, gt=0, description="P*, strength of ice one metre thick")
    weakening: float = Field(default=20.0, gt=0, description="C, how fast strength falls with open water")
    ellipse: float = Field(default=2.0, ge=1, description="e, ratio of the axes of the yield curve")
    least_rate_per_s: float = Field(default=2e-9, gt=0, description="rate of strain below which ice creeps like a fluid")


class Mevp(BaseModel, extra="forbid", frozen=True):
    """Viscous-plastic ice, solved by pseudo-time steps (modified EVP; Bouillon 2013, Kimmritz 2016)."""

    rheology: Literal["mevp"] = "mevp"
    plastic: PlasticSettings = Field(default_factory=PlasticSettings, description="strength and yield curve")
    cycles: int = Field(default=200, ge=1, description="pseudo-time steps in each step")
    relaxation: Literal["adaptive"] | float = Field(
        default="adaptive", description="alpha = beta: a number, or 'adaptive' to choose it in each cell as stability demands"
    )
    least_relaxation: float = Field(default=50.0, gt=1, description="the least alpha where it adapts")
    checkpoint_every: int = Field(
        default=20, ge=0, description="pseudo-time steps that gradients recompute at once to save memory; 0 keeps all"
    )


class Bbm(BaseModel, extra="forbid", frozen=True):
    """Brittle Bingham-Maxwell ice: elastic until it breaks, then it flows (Olason 2022)."""

    rheology: Literal["bbm"] = "bbm"
    stiffness_pa: float = Field(default=5.96e8, gt=0, description="Y, Young's modulus of intact ice")
    poisson: float = Field(default=1 / 3, gt=0, lt=0.5, description="Poisson's ratio")
    ridging_pa: float = Field(default=1e4, gt=0, description="P0, pressure that ridges ice one metre thick")
    onset: float = Field(
        default=0.1, gt=0, description="pressure, as a share of cohesion, over which ice that flows begins to resist"
    )
    relaxation_s: float = Field(default=1e7, gt=0, description="lambda0, over which intact ice forgets its stress")
    exponent: float = Field(default=5.0, gt=1, description="alpha, how fast that time falls with damage")
    weakening: float = Field(default=20.0, gt=0, description="C, how fast stiffness falls with open water")
    friction: float = Field(default=0.7, ge=0, description="tan phi, internal friction")
    cohesion_pa: float = Field(default=2e6, gt=0, description="cohesion of a sample 0.1 m wide; falls with the root of width")
    crushing_pa: float = Field(default=1e10, gt=0, description="pressure at which ice is crushed")
    healing_days: float = Field(default=25.0, gt=0, description="over which broken ice is whole again")
    cycles: int = Field(default=250, ge=1, description="elastic steps in each step; waves must not cross a cell in one")
    checkpoint_every: int = Field(
        default=20, ge=0, description="elastic steps that gradients recompute at once to save memory; 0 keeps all"
    )


class TransportSettings(BaseModel, extra="forbid", frozen=True):
    """How ice is carried along."""

    scheme: Literal["van_leer", "upwind"] = Field(
        default="van_leer", description="'van_leer' is of second order where ice is smooth, 'upwind' of first"
    )


class RidgingSettings(BaseModel, extra="forbid", frozen=True):
    """How thick ice can be."""

    thinnest_m: float = Field(default=0.01, gt=0, description="thinner ice rafts until it is as thick")
    thickest_m: float = Field(default=20.0, gt=0, description="thicker ice spreads until it is as thin")


class ThermodynamicsSettings(BaseModel, extra="forbid", frozen=True):
    """Ice and snow without heat capacity (Semtner 1976, zero layers)."""

    ice_conductivity_w_m_k: float = Field(default=2.03, gt=0, description="of ice")
    snow_conductivity_w_m_k: float = Field(default=0.31, gt=0, description="of snow")
    conduction: float = Field(default=1.065, gt=0, description="Semtner's gamma, which makes up for the lack of heat capacity")
    penetrating: float = Field(default=0.17, ge=0, le=1, description="I0, share of sunlight that enters bare ice")
    kept: float = Field(default=0.4, ge=0, le=1, description="Semtner's beta, share of that which still warms the surface")
    emissivity: float = Field(default=0.996, gt=0, le=1, description="of ice, snow and water in the infrared")
    albedo_snow: tuple[float, float] = Field(default=(0.85, 0.75), description="of snow, cold and melting")
    albedo_ice: tuple[float, float] = Field(default=(0.65, 0.58), description="of bare ice, cold and melting")
    albedo_water: float = Field(default=0.07, ge=0, le=1, description="of open water")
    snow_patch_m: float = Field(default=0.02, gt=0, description="depth of snow that hides half of the ice")
    new_ice_m: float = Field(default=0.25, gt=0, description="h0, thickness of ice that forms on open water")
    lateral: float = Field(default=0.5, ge=0, le=1, description="phi_m, share of area lost over share of thickness melted")
    thinnest_m: float = Field(default=0.05, gt=0, description="conduction takes ice to be no thinner")
    ocean_m_s: float = Field(default=3e-5, gt=0, description="speed at which warm water gives its heat to the ice")
    iterations: int = Field(default=3, ge=1, description="Newton steps for the surface's temperature")


class SeaIceSettings(BaseModel, extra="forbid", frozen=True):
    """The whole sea-ice model.

    Examples
    --------
    >>> SeaIceSettings.model_validate({"rheology": {"rheology": "bbm", "cycles": 240}}).rheology.cycles
    240
    """

    drag: DragSettings = Field(default_factory=DragSettings, description="drag of water, least ice")
    rheology: Annotated[Mevp | Bbm, Field(discriminator="rheology")] = Field(
        default_factory=Mevp, description="how ice resists: mevp or bbm"
    )
    transport: TransportSettings = Field(default_factory=TransportSettings, description="how ice is carried along")
    ridging: RidgingSettings = Field(default_factory=RidgingSettings, description="how thick ice can be")
    thermodynamics: ThermodynamicsSettings | None = Field(
        default_factory=ThermodynamicsSettings, description="growth and melt; none leaves the ice as thick as it is"
    )
