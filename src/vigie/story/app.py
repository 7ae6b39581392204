"""An application: what it changes in the story that all applications share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from vigie.core.errors import VigieError, nearest
from vigie.core.legend import Legend
from vigie.story.applying import Applying
from vigie.story.experiment import Experiment
from vigie.story.run import STAGES, Run, log

Stage = Callable[[Run], None]


@dataclass(frozen=True)
class Assessing:
    """How an application holds anybody's products against a reference.

    `settings` is what an assessment file says; `perform(settings, base, out)` writes figures and a page into the folder `out`,
    with relative paths starting from `base`, and gives the page.
    """

    settings: type[BaseModel]
    perform: Callable[[Any, Path, Path], Path]


@dataclass(frozen=True)
class App:
    """Six stages, by name, and the settings they read.

    `explain(run)` tells line by line what a run would read, compute and write, and refuses at its end what cannot fit.
    `check(run)` refuses settings that could not be trained with, before a stage removes what was there.
    `assess` holds products of anybody against a reference, where the application has a protocol for that.
    `demo(folder)` writes a synthetic Earth into a folder and gives the experiment that runs on it; `legend` is what its models
    tell apart. `applying` says how its models serve somebody's own data; None: they do not.
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
    legend: Legend | None = None
    explain: Callable[[Run], Iterable[str]] = lambda run: ()
    check: Stage = lambda run: None
    assess: Assessing | None = None
    applying: Applying | None = None

    def stage(self, name: str) -> Stage:
        """Find a stage by its name."""
        stage: Stage = getattr(self, name)
        return stage


def app_names() -> tuple[str, ...]:
    """Names of the installed applications (entry points `vigie.apps`)."""
    return tuple(sorted(point.name for point in entry_points(group="vigie.apps")))


def find_app(name: str) -> App:
    """Import the application of that name, and no other."""
    for point in entry_points(group="vigie.apps"):
        if point.name == name:
            app: App = point.load()
            return app
    raise VigieError(
        f"there is no application '{name}'",
        expected=", ".join(app_names()),
        do=nearest(name, app_names()) or "see `vigie apps`",
    )


def perform(app: App, run: Run, stages: tuple[str, ...] = STAGES) -> None:
    """Run stages in order, skipping what is done and unchanged.

    Raises
    ------
    VigieError: a stage would remove what is not of a run, see `Run.check_own`; and what the stages refuse.
    """
    run.check_own(stages)
    if "train" in stages and not run.done("train"):
        app.check(run)
    for name in stages:
        if run.done(name):
            log.info("%s: done already, unchanged (%s)", name, run.artefact(name))
            continue
        with run.doing(name):
            app.stage(name)(run)


def perform_alone(app: App, run: Run, stage: str) -> None:
    """Run one stage on what the stages before it left.

    Raises
    ------
    VigieError: one of those has not been done, or was done with other settings.
    """
    undone = [name for name in STAGES[: STAGES.index(stage)] if not run.done(name)]
    if undone:
        there = run.artefact(undone[0]).exists()
        raise VigieError(
            f"'{stage}' works on what '{undone[0]}' leaves, which is not done",
            found=f"{run.artefact(undone[0])} of other settings or inputs"
            if there
            else f"nothing at {run.artefact(undone[0])}",
            expected=f"the stage '{undone[0]}' done with the settings and inputs of this experiment",
            do=f"run `vigie {undone[0]}` first, or `vigie run` for all stages",
        )
    perform(app, run, (stage,))
