"""Rain heads by name, and the settings they are built from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from pydantic import BaseModel, Field, field_validator, model_validator

from vigie.core.errors import VigieError
from vigie.learn.rain_heads import generalised_pareto as gpd
from vigie.learn.rain_heads.censored_gamma import CensoredShiftedGammaHead
from vigie.learn.rain_heads.extended_gpd import ExtendedGpd
from vigie.learn.rain_heads.head import RainHead, check_levels
from vigie.learn.rain_heads.hurdle import HurdleHead
from vigie.learn.rain_heads.objectives import (
    BEYOND_THRESHOLD,
    HEAVIER_RAIN,
    PINBALL,
    TAIL_WEIGHTED,
    Objective,
    rain_weighted,
    threshold_weighted,
)
from vigie.learn.rain_heads.positive import Gamma, Lognormal
from vigie.learn.rain_heads.quantile import LEVELS, QuantileHead
from vigie.learn.rain_heads.tail import TailHead
from vigie.learn.rain_heads.transforms import SCALES
from vigie.learn.rain_heads.tweedie import TweedieHead

QUANTILES = {"levels", "objective", "scale"}
"""Settings of heads that are made of quantiles."""
TAIL = {"tail_from", "excess", "ceiling_mm_h"}
"""Settings of a tail."""


class RainHeadSettings(BaseModel, extra="forbid", frozen=True):
    """What raw output means, and what it is trained on."""

    name: Literal["quantile", "tail", "hurdle-gamma", "hurdle-lognormal", "hurdle-egpd", "csgd", "tweedie"] = Field(
        default="quantile",
        description="'quantile', 'tail' (quantiles and a generalised Pareto tail), 'hurdle-gamma', 'hurdle-lognormal', "
        "'hurdle-egpd', 'csgd' (censored-shifted gamma), or 'tweedie' (compound Poisson-gamma)",
    )
    levels: tuple[float, ...] = Field(default=LEVELS, description="levels of the quantiles of 'quantile' and 'tail'")
    objective: Literal["pinball", "tail-weighted", "threshold-weighted", "rain-weighted"] = Field(
        default="pinball",
        description="what quantiles are trained on: 'pinball'; with levels weighed by 3 tau^2 ('tail-weighted'); with the CRPS "
        "beyond a threshold ('threshold-weighted'); with more weight where it rains more ('rain-weighted': improper)",
    )
    threshold_mm_h: float = Field(default=5.0, gt=0, description="threshold of 'threshold-weighted', mm/h")
    threshold_factor: float = Field(default=1.0, ge=0, description="weight of the CRPS beyond the threshold")
    rain_scale_mm_h: float = Field(default=2.0, gt=0, description="'rain-weighted': rain that doubles a pixel's weight, mm/h")
    rain_cap_mm_h: float = Field(default=20.0, gt=0, description="'rain-weighted': rain beyond which weights stay, mm/h")
    scale: Literal["linear", "log-linear"] = Field(
        default="linear", description="what quantiles are learnt on: mm/h, or its logarithm below 1 mm/h ('log-linear')"
    )
    tail_from: float = Field(default=0.9, gt=0, lt=1, description="level where the tail of 'tail' begins")
    excess: Literal["likelihood", "crps"] = Field(default="likelihood", description="what the tail of 'tail' is trained on")
    ceiling_mm_h: float | None = Field(
        default=None, gt=0, description="where labels end, mm/h, for 'tail': those that reach it count as at least so much"
    )
    power: float = Field(default=1.5, gt=1, lt=2, description="power of 'tweedie'")

    @field_validator("levels")
    @classmethod
    def _levels_increase(cls, levels: tuple[float, ...]) -> tuple[float, ...]:
        return increasing(levels)

    @model_validator(mode="after")
    def _settings_fit_together(self) -> RainHeadSettings:
        own = {"quantile": QUANTILES, "tail": {*QUANTILES, *TAIL}, "tweedie": {"power"}}.get(self.name, set[str]())
        others = sorted({*QUANTILES, *TAIL, "power"} - own)
        idle = [name for name in others if getattr(self, name) != type(self).model_fields[name].default]
        if idle:
            raise ValueError(f"head '{self.name}' takes no {', '.join(idle)}: leave it out")
        if self.objective == "rain-weighted" and self.scale != "linear":
            raise ValueError("objective 'rain-weighted' weighs rain in mm/h: leave out 'scale'")
        return self


def increasing(levels: tuple[float, ...]) -> tuple[float, ...]:
    """Give levels back that increase; settings name their key where a validator raises a ValueError.

    Raises
    ------
    ValueError: they are not increasing levels within (0, 1).
    """
    try:
        check_levels(levels)
    except VigieError as error:
        raise ValueError(f"{error.expected}, not {error.found}") from error
    return levels


def build(settings: RainHeadSettings) -> RainHead:
    """Build the head that the settings name.

    Examples
    --------
    >>> build(RainHeadSettings(name="hurdle-gamma")).channels, build(RainHeadSettings(name="tail")).channels
    (3, 92)
    """
    return HEADS[settings.name](settings)


def _quantile(settings: RainHeadSettings) -> QuantileHead:
    return QuantileHead(settings.levels, OBJECTIVES[settings.objective](settings), SCALES[settings.scale])


def _tail(settings: RainHeadSettings) -> TailHead:
    levels = (*(level for level in settings.levels if level < settings.tail_from), settings.tail_from)
    ceiling = float("inf") if settings.ceiling_mm_h is None else settings.ceiling_mm_h
    return TailHead(_quantile(settings.model_copy(update={"levels": levels})), EXCESS_SCORES[settings.excess], ceiling)


def _threshold_weighted(settings: RainHeadSettings) -> Objective:
    threshold = SCALES[settings.scale].to(torch.tensor(settings.threshold_mm_h)).item()
    return Objective(threshold_weighted(threshold, settings.threshold_factor), True, BEYOND_THRESHOLD)


def _rain_weighted(settings: RainHeadSettings) -> Objective:
    return Objective(rain_weighted(settings.rain_scale_mm_h, settings.rain_cap_mm_h), False, HEAVIER_RAIN)


OBJECTIVES: Mapping[str, Callable[[RainHeadSettings], Objective]] = {
    "pinball": lambda settings: PINBALL,
    "tail-weighted": lambda settings: TAIL_WEIGHTED,
    "threshold-weighted": _threshold_weighted,
    "rain-weighted": _rain_weighted,
}
EXCESS_SCORES: Mapping[str, gpd.ExcessScore] = {"likelihood": gpd.log_score, "crps": gpd.crps}

HEADS: Mapping[str, Callable[[RainHeadSettings], RainHead]] = {
    "quantile": _quantile,
    "tail": _tail,
    "hurdle-gamma": lambda settings: HurdleHead(Gamma()),
    "hurdle-lognormal": lambda settings: HurdleHead(Lognormal()),
    "hurdle-egpd": lambda settings: HurdleHead(ExtendedGpd()),
    "csgd": lambda settings: CensoredShiftedGammaHead(),
    "tweedie": lambda settings: TweedieHead(settings.power),
}
