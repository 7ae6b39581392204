"""Settings of precipitation experiments."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from vigie.acquire.label_sources import LabelSourceSettings
from vigie.acquire.swath_sources import GranuleSourceSettings
from vigie.learn.fit import FitSettings
from vigie.learn.generative.settings import GenerativeSettings
from vigie.learn.hybrid import HybridSettings
from vigie.learn.rain_heads.settings import RainHeadSettings, increasing
from vigie.learn.rain_lesson import AdaptSettings, RobustSettings
from vigie.learn.regimes import RegimeSettings
from vigie.learn.retrieval import RetrievalSettings
from vigie.learn.retrieval_inputs import Layer, View, union
from vigie.learn.retrieval_model import SPREAD, DoubtMethod
from vigie.learn.swath_folds import SwathFoldSettings
from vigie.learn.swaths import SwathWindowSettings
from vigie.predict.swath import TAIL_LEVELS
from vigie.story.experiment import Experiment, Settings

LEVELS = tuple(k / 100 for k in range(1, 100))


class AcquireSettings(Settings):
    """Which swaths take part."""

    sources: tuple[GranuleSourceSettings, ...] = Field(min_length=1, description="granules, tables or images, one table each")
    labels: tuple[LabelSourceSettings, ...] = Field(
        default=(), description="rain rates of others, brought onto the footprints of swaths that have none, one table each"
    )


class HarmonizeSettings(Settings):
    """How swaths come into the cube."""


class FamiliarSettings(Settings):
    """When a pixel counts as unlike what was learnt from."""

    compared: tuple[tuple[str, ...], ...] = Field(
        default=((),),
        description="groups of ancillary fields that are compared, each by itself; an empty group: all channels",
    )
    methods: tuple[DoubtMethod, ...] = Field(
        default=("mahalanobis",),
        min_length=1,
        description="how doubt is measured; the largest score counts: 'mahalanobis' (distance from the mean of what was learnt "
        "from), 'neighbours' (distance to the nearest pixels that were learnt from: slower, better where these are no single "
        "cloud), 'spread' (how far members disagree, calibrated on every fifth orbit or day, which is then not learnt from)",
    )
    neighbours: int = Field(default=5, ge=1, description="distances are those to this nearest pixel that was learnt from")
    rows: int = Field(default=1000, ge=100, description="pixels that new ones are compared with, at most")
    false_alarm_rate: float = Field(
        default=0.05, gt=0, lt=0.5, description="share of familiar pixels that may be flagged as out of distribution"
    )


class IntervalSettings(Settings):
    """Intervals that cover as often as they say."""

    levels: tuple[float, float] | tuple[()] = Field(
        default=(),
        description="levels of the quantiles between which an interval is calibrated, such as [0.05, 0.95], in each regime of "
        "train.regimes, on every fifth orbit or day, which is then not learnt from; left out: none is",
    )

    @field_validator("levels")
    @classmethod
    def _levels_increase(cls, levels: tuple[float, ...]) -> tuple[float, ...]:
        return increasing(levels) if levels else levels


class GeneratedSettings(Settings):
    """Members that a network generates, with the texture of rain where it sees images."""

    how: Literal["alone", "around"] = Field(
        default="alone",
        description="'alone', or 'around' the model that predicts quantiles: what it leaves is generated, learnt from every "
        "fifth orbit or day, which that model then does not learn from",
    )
    networks: int = Field(default=1, ge=1, description="networks that draw members in turn")
    method: GenerativeSettings = Field(default_factory=GenerativeSettings, description="how members are generated")
    scale_mm_h: float = Field(default=0.1, gt=0, description="rain where the transform turns from linear to logarithmic, mm/h")
    fit: FitSettings = Field(default_factory=FitSettings, description="how the network is trained")


class MemberSettings(Settings):
    """Members of one kind."""

    members: int = Field(default=1, ge=1, description="members of this kind, trained from different seeds")
    network: RetrievalSettings = Field(default_factory=RetrievalSettings, description="the network")
    head: RainHeadSettings = Field(default_factory=RainHeadSettings, description="what its output means, and its loss")
    fit: FitSettings = Field(default_factory=FitSettings, description="how the network is trained")
    layers: tuple[Layer, ...] = Field(
        default=("temperature",),
        description="what it sees of the channels: 'temperature', 'departure' (from what clear sky would show), 'invariant' "
        "(differences that hold across climates), 'relative-vapour'",
    )
    ancillary: tuple[str, ...] = Field(default=(), description="ancillary fields that it sees")

    @property
    def view(self) -> View:
        """What the network sees."""
        return View(self.layers, self.ancillary)

    @model_validator(mode="after")
    def _sees_something(self) -> Self:
        if not self.layers:
            raise ValueError("a network that sees no layer retrieves nothing: name one in layers")
        return self


class TrainSettings(MemberSettings):
    """What is learnt, and how it is held to account."""

    more: tuple[MemberSettings, ...] = Field(
        default=(), description="members of further kinds, whose distributions are averaged with those of the first"
    )
    channels: tuple[str, ...] = Field(default=(), description="channels to learn from, such as '89.00V'; left out: all")
    folds: SwathFoldSettings = Field(default_factory=SwathFoldSettings, description="what is held out together")
    final: bool = Field(default=True, description="also train on everything: the model for new swaths")
    windows: SwathWindowSettings = Field(default_factory=SwathWindowSettings, description="how samples are drawn")
    hybrid: HybridSettings = Field(default_factory=HybridSettings, description="how simulated labels take part")
    regimes: RegimeSettings = Field(default_factory=RegimeSettings, description="regimes that are minded apart")
    robust: RobustSettings = Field(default_factory=RobustSettings, description="how regimes are minded while learning")
    adapt: AdaptSettings = Field(default_factory=AdaptSettings, description="how the model is adapted to other swaths")
    familiar: FamiliarSettings = Field(default_factory=FamiliarSettings, description="what counts as out of distribution")
    intervals: IntervalSettings = Field(default_factory=IntervalSettings, description="intervals that are calibrated")
    generative: GeneratedSettings | None = Field(
        default=None,
        description="a network that generates predict.members; left out: they are drawn from quantiles, footprint by footprint",
    )

    @property
    def sets_aside(self) -> bool:
        """Whether every fifth group is kept from the members' training."""
        around = self.generative is not None and self.generative.how == "around"
        return bool(self.intervals.levels) or SPREAD in self.familiar.methods or around

    @property
    def seen(self) -> View:
        """All that any member sees."""
        return union([kind.view for kind in self.kinds])

    @property
    def kinds(self) -> tuple[MemberSettings, ...]:
        """All kinds of members."""
        return (self, *self.more)

    @model_validator(mode="after")
    def _parts_fit_together(self) -> TrainSettings:
        if self.windows.size == 1 and any(kind.network.name == "unet" for kind in self.kinds):
            raise ValueError("network 'unet' sees images: set windows.size, for instance 64")
        if self.windows.size == 1 and self.generative and self.generative.method.name == "unet":
            raise ValueError("generative.method.name 'unet' sees images: set windows.size, for instance 64")
        if SPREAD in self.familiar.methods and sum(kind.members for kind in self.kinds) < 2:
            raise ValueError("familiar.methods 'spread' asks members whether they disagree: set members to 2 or more")
        if self.robust.method != "none" and not self.regimes.by:
            raise ValueError("'group-dro' minds regimes: say in train.regimes.by what they differ in")
        if not self.hybrid.observed and self.hybrid != HybridSettings():
            raise ValueError("hybrid training needs train.hybrid.observed: the label sources that count as observed")
        if self.adapt.method != "none" and self.adapt.to == "held-out" and self.final:
            raise ValueError("what is held out can be adapted to by models of folds alone: set train.final = false")
        return self


class PredictSettings(Settings):
    """How the model runs."""

    levels: tuple[float, ...] = Field(default=LEVELS, description="levels of the quantiles that are kept")
    members: int = Field(
        default=0, ge=0, description="members that are drawn from each distribution and kept; the experiment's seed draws them"
    )
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

    grid_deg: float = Field(default=1.0, gt=0, le=10, description="cells of the gridded climatologies, degrees")
    periods: tuple[Literal["day", "month", "all"], ...] = Field(
        default=("day", "month", "all"), description="climatologies of each day, of each month, and of everything"
    )
    formats: tuple[Literal["zarr"], ...] = Field(
        default=(), description="what climatologies are written as beside CF NetCDF: 'zarr'"
    )

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

    @model_validator(mode="after")
    def _intervals_lie_within_what_is_said(self) -> PrecipitationExperiment:
        if self.train.intervals.levels:
            low, high = self.train.intervals.levels
            least, most = self.predict.levels[0], max(self.predict.levels[-1], TAIL_LEVELS[-1])
            if low < least or high > most:
                raise ValueError(f"train.intervals.levels within {least:g} and {most:g}: nothing is said beyond these levels")
        return self
