"""What a glaciers experiment can choose beyond what all mapping experiments share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from vigie.apps.glaciers.baselines import BASELINES
from vigie.apps.glaciers.classes import CLEAN, DEBRIS, LAND, WATER
from vigie.apps.glaciers.inventory.settings import InventorySettings
from vigie.core.errors import nearest
from vigie.story.experiment import Settings
from vigie.story.settings import MapExperiment, VerifySettings


class HistorySettings(Settings):
    """How maps of several dates are made consistent and followed through time."""

    dwell_years: Mapping[str, float] = Field(
        default={LAND: 200.0, CLEAN: 60.0, DEBRIS: 60.0, WATER: 40.0},
        description="years that a pixel stays in a class; nothing says that ice may only retreat",
    )
    prior: Mapping[str, float] = Field(
        default={LAND: 0.55, CLEAN: 0.25, DEBRIS: 0.12, WATER: 0.08}, description="class shares the model was trained on"
    )
    confidence: float = Field(default=0.9, gt=0, le=1, description="chance that a date's image shows what is there")
    hidden_confidence: float = Field(
        default=0.3, ge=0, le=1, description="the same where shadow or saturation is flagged; cloud shows nothing"
    )
    clearest_day: int | None = Field(
        default=None,
        ge=1,
        le=366,
        description="day of the year with the least snow; left out, 235 in the north, 52 in the south",
    )
    snow: tuple[float, float] = Field(default=(0.02, 0.5), description="chance of snow on land on that day and half a year off")


class PublishSettings(Settings):
    """What is delivered."""

    outlines: str | None = Field(default=None, description="known outlines (RGI 6 or 7): glaciers keep identity and divides")
    outlines_layer: str | None = Field(
        default=None, description="layer of the outlines where their file holds several with polygons"
    )
    inventory: InventorySettings = Field(
        default_factory=lambda: InventorySettings(), description="inventory of glaciers and lakes"
    )
    history: HistorySettings = Field(default_factory=HistorySettings, description="history of glaciers and lakes")

    @model_validator(mode="after")
    def _layer_of_outlines(self) -> Self:
        if self.outlines_layer is not None and self.outlines is None:
            raise ValueError("outlines beside outlines_layer: the file that holds the layer")
        return self


class LabelSettings(Settings):
    """What is learnt from besides the scenes and labels as they are."""

    rules: Literal["none", "spectral"] = Field(
        default="spectral", description="'spectral' teaches ice, water and land by index rules where labels only know debris"
    )
    film_copies: int = Field(default=0, ge=0, description="simulated films of each multispectral scene to learn from")


class GlacierVerifySettings(VerifySettings):
    """What predictions are held against, among the reference methods of glacier mappers."""

    @field_validator("baselines")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in BASELINES:
                raise ValueError(f"reference methods among {', '.join(BASELINES)}; {nearest(name, tuple(BASELINES))}")
        return names


class GlacierExperiment(MapExperiment):
    """An experiment that maps clean ice, debris-covered ice and water, and inventories glaciers and lakes."""

    labels: LabelSettings = Field(default_factory=LabelSettings, description="what labels teach")
    verify: GlacierVerifySettings = Field(
        default_factory=GlacierVerifySettings, description="what predictions are held against"
    )
    publish: PublishSettings = Field(default_factory=PublishSettings, description="what is delivered")
