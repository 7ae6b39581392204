"""Precipitation: rain from microwave radiometers, with the whole distribution, honest extremes, and where it extrapolates."""

from __future__ import annotations

from vigie.apps.precipitation import prediction, publish, swaths, training, verification
from vigie.apps.precipitation.apply import APPLYING
from vigie.apps.precipitation.assess.command import assess
from vigie.apps.precipitation.assess.settings import AssessmentSettings
from vigie.apps.precipitation.demo import demo
from vigie.apps.precipitation.explain import explain
from vigie.apps.precipitation.settings import PrecipitationExperiment
from vigie.story.app import App, Assessing

app = App(
    name="precipitation",
    summary="rain from microwave radiometers with its whole distribution, honest extremes and flags where it extrapolates",
    settings=PrecipitationExperiment,
    acquire=swaths.acquire,
    harmonize=swaths.harmonize,
    train=training.train,
    predict=prediction.predict,
    verify=verification.verify,
    publish=publish.publish,
    demo=demo,
    explain=explain,
    check=verification.check,
    assess=Assessing(AssessmentSettings, assess),
    applying=APPLYING,
)
"""The experiment: six functions, in order."""
