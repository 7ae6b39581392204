"""Glaciers: clean ice, debris-covered ice and lakes, mapped from spy film to today's satellites."""

from __future__ import annotations

from functools import partial
from typing import cast

from vigie.apps.glaciers.baselines import BASELINES
from vigie.apps.glaciers.classes import CLASSES
from vigie.apps.glaciers.demo import demo
from vigie.apps.glaciers.publish import publish
from vigie.apps.glaciers.rules import with_rules
from vigie.apps.glaciers.settings import GlacierExperiment
from vigie.story import prediction, stages, training, verification
from vigie.story.app import App
from vigie.story.run import Run


def train(run: Run) -> None:
    """Train on the labels as they are, and on what spectral rules add where they only know debris."""
    rules = cast(GlacierExperiment, run.experiment).labels.rules
    training.train(run, CLASSES, with_rules if rules == "spectral" else training.as_labelled)


app = App(
    name="glaciers",
    summary="clean ice, debris-covered ice and lakes, from 1960s spy film to today's satellites; inventories over time",
    settings=GlacierExperiment,
    acquire=partial(stages.acquire, classes=CLASSES),
    harmonize=stages.harmonize,
    train=train,
    predict=prediction.predict,
    verify=partial(verification.verify, classes=CLASSES, baselines=BASELINES),
    publish=publish,
    demo=demo,
)
