"""Settings of an assessment: which products are held against which reference, and how."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from vigie.story.experiment import Settings

LevelYears = tuple[float, ...]


class RecordSettings(Settings):
    """Files of one product, and what they do not say themselves."""

    name: str = Field(min_length=1, description="what tables and the page call it")
    files: tuple[str, ...] = Field(
        min_length=1,
        description="paths, globs or sample: patterns: swaths, granules, tables, grids, NetCDF series or tables of gauges",
    )
    variable: str = Field(default="", description="the rain variable, where a file has several or an unknown one")
    units: str = Field(default="", description="unit of the rain, of files that do not say it, such as 'mm day-1' or 'inch'")
    step_h: float = Field(default=0, ge=0, description="hours that one step stands for; 0: as the times of the files tell")
    temperature: str = Field(default="", description="temperature or dew point for scaling, where it has an unknown name")
    distribution: Literal["quantiles", "members"] = Field(
        default="quantiles",
        description="what is judged of swaths that hold both; of 'members' the rain rate is their mean",
    )
    label_source: str = Field(default="", description="where rain of tables comes from: dpr, cmb, era5 ...; tables need it")

    @field_validator("files", mode="before")
    @classmethod
    def _one_or_many(cls, files: Any) -> Any:
        return (files,) if isinstance(files, str) else files


class ProductSettings(RecordSettings):
    """A product that is assessed."""

    weather: Literal["same", "own"] = Field(
        default="same", description="'own' of a climate model, whose days are not those of the reference: climates are compared"
    )


class PairingSettings(Settings):
    """How products and a reference on other places or times come together: averages over cells and intervals of both."""

    cell_deg: float = Field(default=0.25, gt=0, le=10, description="cells of the averages, degrees")
    hours: float = Field(default=1.0, gt=0, le=24, description="intervals of the averages, hours")
    only: tuple[str, ...] = Field(
        default=(), description="names of the places that are compared, of records that name theirs; left out: all they share"
    )
    within_km: float = Field(default=25.0, gt=0, description="places without a name are the same up to this distance, km")


class ExtremesSettings(Settings):
    """Return levels of daily rain."""

    years: LevelYears = Field(default=(2, 5, 10, 20, 50, 100), min_length=1, description="return periods, years")
    threshold_mm: float | None = Field(default=None, gt=0, description="threshold of excesses, mm per day, for all records")
    threshold_quantile: float = Field(
        default=0.95, gt=0.5, lt=1, description="without threshold_mm: this quantile of the wet days of each record"
    )
    separation_days: int = Field(
        default=1,
        ge=0,
        description="days at or below the threshold that end a cluster of excesses, of which the highest is fitted (runs "
        "declustering, Coles 2001, 5.3.2; 1 is what extRemes takes, Gilleland & Katz 2016); 0: every excess is fitted",
    )
    bootstrap: int = Field(default=300, ge=20, description="parametric draws for the 90 % intervals of return levels")

    @field_validator("years")
    @classmethod
    def _beyond_one(cls, years: LevelYears) -> LevelYears:
        if min(years) <= 1 or list(years) != sorted(set(years)):
            raise ValueError("return periods above 1 year, in ascending order")
        return years


class ScalingSettings(Settings):
    """Extremes by temperature."""

    bins: int = Field(default=12, ge=5, description="bins of temperature, of equal count")
    quantile: float = Field(default=0.99, gt=0.5, lt=1, description="quantile of the wet days of a bin")


class SensitivitySettings(Settings):
    """Climate models whose hydrological sensitivity spans the range that is held plausible."""

    pr: str = Field(description="global means of rain by scenario, time, model and run (NetCDF); any unit")
    tas: str = Field(description="global means of temperature, likewise")


class AssessmentSettings(Settings):
    """Products held against a reference."""

    app: str = Field(description="name of the application, see `vigie apps`")
    name: str = Field(min_length=1, description="title of the page")
    summary: str = Field(default="", description="one sentence for the page")
    seed: int = Field(default=0, ge=0, description="makes everything random the same in every run")
    reference: RecordSettings = Field(description="what products are held against")
    products: tuple[ProductSettings, ...] = Field(min_length=1, description="what is assessed, one table each")
    pairing: PairingSettings = Field(default_factory=PairingSettings, description="how other places and times come together")
    thresholds: tuple[float, ...] = Field(
        default=(), description="rates that are detected; left out: 0.1 1 5 10 mm/h, of daily records 1 10 20 50 mm/day"
    )
    wet_mm_day: float = Field(default=1.0, gt=0, description="least rain of a wet day in extremes and scaling, mm")
    base_years: tuple[int, int] | None = Field(
        default=None, description="years whose percentiles make R95p and R99p; left out: all that are compared"
    )
    places: int = Field(
        default=12,
        ge=1,
        description="places whose extremes, trends and scaling are told; of grids so many cells, spread evenly",
    )
    revisits_h: tuple[float, ...] = Field(
        default=(2, 3, 6, 12), description="revisit times whose sampling error is told, hours"
    )
    bootstrap: int = Field(default=1000, ge=2, description="resamples of days, months, years or orbits for intervals")
    draws: int = Field(default=20, ge=1, description="samples of every predicted distribution")
    extremes: ExtremesSettings = Field(default_factory=ExtremesSettings, description="return levels")
    scaling: ScalingSettings = Field(default_factory=ScalingSettings, description="extremes by temperature")
    sensitivity: SensitivitySettings | None = Field(default=None, description="climate models for hydrological sensitivity")

    @model_validator(mode="after")
    def _names_differ(self) -> AssessmentSettings:
        names = [self.reference.name, *(product.name for product in self.products)]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"a name for each product and the reference, not {', '.join(twice)} twice")
        if list(self.thresholds) != sorted(set(self.thresholds)) or min(self.thresholds, default=1) <= 0:
            raise ValueError("thresholds above 0 that increase")
        return self
