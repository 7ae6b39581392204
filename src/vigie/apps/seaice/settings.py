"""Settings of sea-ice experiments."""

from __future__ import annotations

from datetime import date
from typing import Self

from pydantic import Field, field_validator, model_validator

from vigie.acquire.series_sources import SeriesSourceSettings
from vigie.learn.fit import FitSettings
from vigie.learn.forecast.network import ForecastNetworkSettings
from vigie.learn.forecast.samples import ForecastWindowSettings
from vigie.story.experiment import Experiment, Settings


class Period(Settings):
    """Days from one to another, both included."""

    begin: date = Field(description="first day")
    end: date = Field(description="last day")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.end < self.begin:
            raise ValueError(f"a period ends after it begins, not on {self.end} after {self.begin}")
        return self


class AcquireSettings(Settings):
    """Which maps take part."""

    sources: tuple[SeriesSourceSettings, ...] = Field(min_length=1, description="files of daily maps, one table each")


class HarmonizeSettings(Settings):
    """How maps come into the cube."""


class TrainSettings(Settings):
    """What is learnt."""

    periods: tuple[Period, ...] = Field(min_length=1, description="days that are learnt from; climatologies are of them too")
    leads_days: int = Field(default=14, ge=1, le=30, description="leads that are learnt: every day up to this one")
    members: int = Field(default=1, ge=1, description="networks, trained from different seeds, whose forecasts are averaged")
    network: ForecastNetworkSettings = Field(default_factory=ForecastNetworkSettings, description="the network")
    windows: ForecastWindowSettings = Field(default_factory=ForecastWindowSettings, description="how samples are drawn")
    fit: FitSettings = Field(default_factory=FitSettings, description="how each network is trained")


class PredictSettings(Settings):
    """Which forecasts are made."""

    periods: tuple[Period, ...] = Field(min_length=1, description="days that forecasts start on, apart from what was learnt")
    every_days: int = Field(default=3, ge=1, description="days between starts")
    leads_days: tuple[int, ...] = Field(default=(1, 3, 5, 7, 10, 14), min_length=1, description="leads that are kept")
    members: int = Field(default=20, ge=2, description="members that are drawn from each forecast")

    @field_validator("leads_days")
    @classmethod
    def _leads_increase(cls, leads: tuple[int, ...]) -> tuple[int, ...]:
        if any(b <= a for a, b in zip((0, *leads), leads, strict=False)):
            raise ValueError("leads of one day or more, each longer than the one before")
        return leads


class VerifySettings(Settings):
    """What forecasts are held against."""

    bootstrap: int = Field(default=500, ge=2, description="resamples of starts, week by week, for intervals")


class SeaIceExperiment(Experiment):
    """An experiment that forecasts sea ice."""

    acquire: AcquireSettings = Field(description="which maps take part")
    harmonize: HarmonizeSettings = Field(default_factory=HarmonizeSettings, description="how maps come into the cube")
    train: TrainSettings = Field(description="what is learnt")
    predict: PredictSettings = Field(description="which forecasts are made")
    verify: VerifySettings = Field(default_factory=VerifySettings, description="what forecasts are held against")

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        if self.predict.leads_days[-1] > self.train.leads_days:
            raise ValueError(
                f"predict.leads_days look {self.predict.leads_days[-1]} days ahead, "
                f"and train.leads_days learns {self.train.leads_days}"
            )
        for start in self.predict.periods:
            for learnt in self.train.periods:
                if start.begin <= learnt.end and learnt.begin <= start.end:
                    raise ValueError(
                        f"forecasts of {start.begin} to {start.end} would be of days that were learnt from "
                        f"({learnt.begin} to {learnt.end}): keep predict.periods and train.periods apart"
                    )
        return self
