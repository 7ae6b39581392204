"""An application: what it changes in the story that all applications share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vigie.story.experiment import Experiment
from vigie.story.run import STAGES, Run, log

Stage = Callable[[Run], None]


@dataclass(frozen=True)
class App:
    """Six stages, by name, and the settings they read.

    `demo(folder)` writes a synthetic Earth into a folder and gives the experiment that runs on it.
    """

    name: str
    summary: str
    settings: type[Experiment]
    acquire: Stage
    harmonize: Stage
    train: Stage
    predict: Stage
    verify: Stage
    publish: Stage
    demo: Callable[[Path], dict[str, object]]

    def stage(self, name: str) -> Stage:
        """Find a stage by its name."""
        stage: Stage = getattr(self, name)
        return stage


def perform(app: App, run: Run, stages: tuple[str, ...] = STAGES) -> None:
    """Run stages in order, skipping what is done and unchanged."""
    for name in stages:
        if run.done(name):
            log.info("%s: done already, unchanged (%s)", name, run.artefact(name))
            continue
        with run.doing(name):
            app.stage(name)(run)
