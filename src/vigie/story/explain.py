"""What a run would read, compute and write, told before any work."""

from __future__ import annotations

from collections.abc import Iterator

from vigie.acquire.sources import gather
from vigie.core.errors import counted, sized
from vigie.core.scene import Scene
from vigie.learn.encoders import RANDOM
from vigie.learn.networks import FOREST
from vigie.predict.lattice import Lattice
from vigie.story.limits import check, cube_bytes, predict_gib, shapes_of, tile_bytes
from vigie.story.run import STAGES, Run
from vigie.story.scenes import catalogued, settings_of


def explain_maps(run: Run) -> Iterator[str]:
    """Tell what a run that maps scenes would do, then refuse what cannot fit."""
    scenes = planned(run)
    yield explain(run, scenes)
    check(run, scenes)


def planned(run: Run) -> list[Scene]:
    """The scenes that a run would work on: those of its catalogue, or what its sources give."""
    return catalogued(run) if run.done("acquire") else gather(settings_of(run).acquire.sources, run.base)


def explain(run: Run, scenes: list[Scene]) -> str:
    """Tell the size of every stage's work on the scenes."""
    todo = [stage for stage in STAGES if not run.done(stage)]
    lines = [
        f"{run.experiment.name}: {run.experiment.app} in {run.folder}",
        f"to do      {', '.join(todo) if todo else 'nothing: every stage is done and unchanged'}",
        f"engine     {run.experiment.engine.kind}",
        *_acquire(scenes),
        *_harmonize(run, scenes),
        *_train(run, scenes),
        *_predict(run, scenes),
    ]
    return "\n".join(lines)


def _acquire(scenes: list[Scene]) -> list[str]:
    files = {band.href for scene in scenes for band in scene.bands}
    sensors = sorted({scene.sensor for scene in scenes})
    labelled = sum(scene.truth is not None for scene in scenes)
    there = f"{counted(len(scenes), 'scene')} in {counted(len(files), 'file')}"
    return [f"acquire    {there}, {labelled} with labels; {', '.join(sensors)}"]


def _harmonize(run: Run, scenes: list[Scene]) -> list[str]:
    pixels = sum(y * x for y, x in shapes_of(run, scenes)) / 1e6
    read = sum(scene.shape[0] * scene.shape[1] * len(scene.bands) * 2 for scene in scenes)
    return [
        f"harmonize  {pixels:.2f} million pixels; reads about {sized(read)}, writes up to {sized(cube_bytes(run, scenes))} "
        f"before compression; memory about {sized(tile_bytes(run, scenes))} a tile"
    ]


def _train(run: Run, scenes: list[Scene]) -> list[str]:
    train = settings_of(run).train
    steps = sum(kind.name != FOREST for kind in train.networks) * train.fit.steps
    kinds = " and ".join(
        kind.name + (f" ({kind.weights} weights)" if kind.weights != RANDOM else "") for kind in (train.network, *train.beside)
    )
    windows = f"{train.windows.batch} windows of {train.windows.size} px a step"
    return [
        f"train      {kinds}, {len(train.networks)} member(s) a fold by {train.folds.by}"
        f"{' and one model on everything' if train.final else ''}; {steps} steps a fold, {windows}"
    ]


def _predict(run: Run, scenes: list[Scene]) -> list[str]:
    settings = settings_of(run).predict
    lattice = Lattice(settings.patch, settings.overlap)
    shapes = shapes_of(run, scenes)
    patches = sum(len(lattice.starts(y)) * len(lattice.starts(x)) for y, x in shapes)
    memory = sized(predict_gib(run, scenes) * 2**30)
    there = f"in {counted(len(shapes), 'scene')}"
    return [f"predict    {patches} patches of {settings.patch} px {there}; memory about {memory}"]
