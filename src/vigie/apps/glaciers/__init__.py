"""Glaciers: clean ice, debris-covered ice and lakes, mapped from spy film to today's satellites."""

from __future__ import annotations

from functools import partial
from typing import cast

from vigie.apps.glaciers.baselines import BASELINES
from vigie.apps.glaciers.classes import CLASSES
from vigie.apps.glaciers.demo import demo
from vigie.apps.glaciers.inventories import check_outlines
from vigie.apps.glaciers.publish import publish
from vigie.apps.glaciers.rules import with_rules
from vigie.apps.glaciers.settings import GlacierExperiment
from vigie.learn.filmed import film_copies
from vigie.learn.patches import LabelledScene
from vigie.story import prediction, stages, training, verification
from vigie.story.app import App
from vigie.story.baselines import check_baselines, check_fits
from vigie.story.explain import explain_maps
from vigie.story.map_apply import applying
from vigie.story.run import Run


def acquire(run: Run) -> None:
    """Find the scenes, and refuse known outlines and reference methods that could not serve them."""
    stages.acquire(run, CLASSES)
    check_outlines(run)
    check_baselines(run, CLASSES, BASELINES)


def train(run: Run) -> None:
    """Train on scenes as they are labelled, on what spectral rules add to debris labels, and on simulated film."""
    check_fits(run, CLASSES, BASELINES)
    experiment = cast(GlacierExperiment, run.experiment)
    scaling, labels = experiment.train.scaling, experiment.labels

    def teach(scene: LabelledScene) -> list[LabelledScene]:
        lectures = with_rules(scene) if labels.rules == "spectral" else [scene]
        return lectures + [
            film for taught in lectures for film in film_copies(taught, labels.film_copies, scaling, run.experiment.seed)
        ]

    training.train(run, CLASSES, teach)


app = App(
    name="glaciers",
    summary="clean ice, debris-covered ice and lakes, from 1960s spy film to today's satellites; inventories over time",
    settings=GlacierExperiment,
    acquire=acquire,
    harmonize=stages.harmonize,
    train=train,
    predict=prediction.predict,
    verify=partial(verification.verify, classes=CLASSES, baselines=BASELINES),
    publish=publish,
    demo=demo,
    explain=explain_maps,
    legend=CLASSES.legend,
    check=stages.check,
    applying=applying("glaciers", CLASSES.legend, acquire),
)
