"""Settings of experiments that map classes: what the six default stages read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from vigie.acquire.sources import SourceSettings
from vigie.harmonize.settings import HarmonizeSettings
from vigie.learn.augment import AugmentSettings
from vigie.learn.fit import FitSettings
from vigie.learn.folds import FoldSettings
from vigie.learn.losses import LossSettings
from vigie.learn.networks import NetworkSettings
from vigie.learn.scaling import RobustScaling
from vigie.learn.windows import WindowSettings
from vigie.predict.settings import PredictSettings
from vigie.story.coregistration import CoregisterPlan
from vigie.story.experiment import Experiment, Settings


class AcquireSettings(Settings):
    """Which scenes take part."""

    sources: tuple[SourceSettings, ...] = Field(min_length=1, description="files, samples or STAC searches, one table each")


class HarmonizeStageSettings(HarmonizeSettings):
    """How scenes come onto grids, and whether they are moved before."""

    coregister: CoregisterPlan | None = Field(default=None, description="move scenes onto a reference; left out: none is moved")


class TrainSettings(Settings):
    """What is learnt, and how it is held to account."""

    folds: FoldSettings = Field(default_factory=FoldSettings, description="what is held out together")
    final: bool = Field(default=True, description="also train on everything: the model for new images")
    members: int = Field(default=1, ge=1, description="members of each kind in the model, trained from different seeds")
    network: NetworkSettings = Field(default_factory=NetworkSettings, description="the network")
    beside: tuple[NetworkSettings, ...] = Field(default=(), description="members of other kinds in the same model")
    loss: LossSettings = Field(default_factory=LossSettings, description="what is minimised")
    windows: WindowSettings = Field(default_factory=WindowSettings, description="how training windows are drawn")
    augment: AugmentSettings = Field(default_factory=AugmentSettings, description="how far windows are changed")
    scaling: RobustScaling = Field(default=RobustScaling(), description="how scenes are standardised")
    fit: FitSettings = Field(default_factory=FitSettings, description="how the network is trained")
    calibrate: Literal["held-out", "none"] = Field(
        default="held-out", description="temperature and biases of each model, from what models of other folds did not see"
    )

    @property
    def networks(self) -> list[NetworkSettings]:
        """Settings of every member of the model, kind by kind."""
        return [kind for kind in (self.network, *self.beside) for _ in range(self.members)]


class VerifySettings(Settings):
    """What predictions are held against."""

    baselines: tuple[str, ...] = Field(default=(), description="reference methods scored in the same table")
    bootstrap: int = Field(default=1000, ge=0, description="resamples of groups of scenes for confidence intervals; 0: none")


class MapExperiment(Experiment):
    """An experiment that turns scenes into maps of classes.

    Models are calibrated on patches of the side that they predict on; their weights do not depend on it.
    """

    ahead: ClassVar[Mapping[str, tuple[str, str]]] = {"train": ("predict", "patch")}

    acquire: AcquireSettings = Field(description="which scenes take part")
    harmonize: HarmonizeStageSettings = Field(default_factory=HarmonizeStageSettings, description="how scenes come onto grids")
    train: TrainSettings = Field(default_factory=TrainSettings, description="what is learnt")
    predict: PredictSettings = Field(default_factory=PredictSettings, description="how the model runs")
    verify: VerifySettings = Field(default_factory=VerifySettings, description="what predictions are held against")
