"""Settings of precipitation experiments."""

from __future__ import annotations

from pydantic import Field, field_validator, model_validator

from vigie.acquire.swath_sources import GranuleSourceSettings
from vigie.learn.fit import FitSettings
from vigie.learn.rain_heads.settings import RainHeadSettings, increasing
from vigie.learn.retrieval import RetrievalSettings
from vigie.learn.swath_folds import SwathFoldSettings
from vigie.learn.swaths import SwathWindowSettings
from vigie.story.experiment import Experiment, Settings

LEVELS = tuple(k / 100 for k in range(1, 100))


class AcquireSettings(Settings):
    """Which swaths take part."""

    sources: tuple[GranuleSourceSettings, ...] = Field(min_length=1, description="granules, tables or images, one table each")


class HarmonizeSettings(Settings):
    """How swaths come into the cube."""


class FamiliarSettings(Settings):
    """When a pixel counts as unlike what was learnt from."""

    false_alarm_rate: float = Field(
        default=0.05, gt=0, lt=0.5, description="share of familiar pixels that may be flagged as out of distribution"
    )
    shrinkage: float = Field(
        default=0.0, ge=0, le=1, description="shrinkage of the covariance of channels, for few pixels or redundant channels"
    )


class TrainSettings(Settings):
    """What is learnt, and how it is held to account."""

    channels: tuple[str, ...] = Field(default=(), description="channels to learn from, such as '89.00V'; left out: all")
    ancillary: tuple[str, ...] = Field(default=(), description="ancillary fields to learn from")
    folds: SwathFoldSettings = Field(default_factory=SwathFoldSettings, description="what is held out together")
    final: bool = Field(default=True, description="also train on everything: the model for new swaths")
    members: int = Field(default=1, ge=1, description="members of the model, trained from different seeds")
    network: RetrievalSettings = Field(default_factory=RetrievalSettings, description="the network")
    head: RainHeadSettings = Field(default_factory=RainHeadSettings, description="what its output means, and its loss")
    windows: SwathWindowSettings = Field(default_factory=SwathWindowSettings, description="how samples are drawn")
    fit: FitSettings = Field(default_factory=FitSettings, description="how the network is trained")
    familiar: FamiliarSettings = Field(default_factory=FamiliarSettings, description="what counts as out of distribution")

    @model_validator(mode="after")
    def _images_need_windows(self) -> TrainSettings:
        if self.network.name == "unet" and self.windows.size == 1:
            raise ValueError("network 'unet' sees images: set windows.size, for instance 64")
        return self


class PredictSettings(Settings):
    """How the model runs."""

    levels: tuple[float, ...] = Field(default=LEVELS, description="levels of the quantiles that are kept")
    scans: int = Field(default=512, ge=1, description="scans that are retrieved and written together: memory follows them")

    @field_validator("levels")
    @classmethod
    def _levels_increase(cls, levels: tuple[float, ...]) -> tuple[float, ...]:
        if len(levels) < 2:
            raise ValueError("two levels or more")
        return increasing(levels)


class VerifySettings(Settings):
    """What retrievals are held against."""

    baselines: tuple[str, ...] = Field(default=(), description="reference methods scored in the same table")
    bootstrap: int = Field(default=1000, ge=2, description="resamples of groups for intervals")
    draws: int = Field(default=20, ge=1, description="samples of every predicted distribution, for statistics of the tail")


class PublishSettings(Settings):
    """What is written for other tools."""

    grid_deg: float = Field(default=1.0, gt=0, le=10, description="cells of the gridded climatology, degrees")

    @field_validator("grid_deg")
    @classmethod
    def _cells_divide_the_earth(cls, degrees: float) -> float:
        if abs(180 / degrees - round(180 / degrees)) > 1e-9:
            raise ValueError("180 degrees are a whole number of cells")
        return degrees


class PrecipitationExperiment(Experiment):
    """An experiment that retrieves rain."""

    acquire: AcquireSettings = Field(description="which swaths take part")
    harmonize: HarmonizeSettings = Field(default_factory=HarmonizeSettings, description="how swaths come into the cube")
    train: TrainSettings = Field(default_factory=TrainSettings, description="what is learnt")
    predict: PredictSettings = Field(default_factory=PredictSettings, description="how the model runs")
    verify: VerifySettings = Field(default_factory=VerifySettings, description="what retrievals are held against")
    publish: PublishSettings = Field(default_factory=PublishSettings, description="what is written")
