"""What a run would read, compute and write, told before any work."""

from __future__ import annotations

from vigie.acquire.sources import gather
from vigie.core.scene import Scene
from vigie.harmonize.grids import target_grid
from vigie.harmonize.terrain import DERIVED
from vigie.predict.lattice import Lattice
from vigie.predict.scene import panel_gib
from vigie.story.run import STAGES, Run
from vigie.story.scenes import catalogued, settings_of

TERRAIN_BANDS = len(DERIVED)
"""Bands that elevation adds."""


def explain(run: Run) -> str:
    """Tell the size of every stage's work, and refuse what cannot fit in memory."""
    scenes = catalogued(run) if run.done("acquire") else gather(settings_of(run).acquire.sources, run.base)
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
    return [f"acquire    {len(scenes)} scenes in {len(files)} files, {labelled} with labels; {', '.join(sensors)}"]


def _shapes(run: Run, scenes: list[Scene]) -> list[tuple[int, int]]:
    grids = [target_grid([scene], settings_of(run).harmonize.grid) for scene in scenes]
    return [(int(grid.shape[0]), int(grid.shape[1])) for grid in grids]


def _harmonize(run: Run, scenes: list[Scene]) -> list[str]:
    settings = settings_of(run).harmonize
    shapes = _shapes(run, scenes)
    pixels = sum(y * x for y, x in shapes)
    size = sum(y * x * (4 * (len(scene.bands) + TERRAIN_BANDS) + 2) for (y, x), scene in zip(shapes, scenes, strict=True))
    read = sum(scene.shape[0] * scene.shape[1] * len(scene.bands) * 2 for scene in scenes)
    widest = max(len(scene.bands) for scene in scenes) + TERRAIN_BANDS
    tile = 3 * 4 * widest * settings.tile**2
    return [
        f"harmonize  {pixels / 1e6:.2f} million pixels; reads about {_bytes(read)}, writes up to {_bytes(size)} before "
        f"compression; memory about {_bytes(tile)} a tile"
    ]


def _train(run: Run, scenes: list[Scene]) -> list[str]:
    train = settings_of(run).train
    models = train.members * train.fit.steps
    windows = f"{train.windows.batch} windows of {train.windows.size} px a step"
    return [
        f"train      {train.network.name}, {train.members} member(s) a fold by {train.folds.by}"
        f"{' and one model on everything' if train.final else ''}; {models} steps a fold, {windows}"
    ]


def _predict(run: Run, scenes: list[Scene]) -> list[str]:
    settings = settings_of(run).predict
    lattice = Lattice(settings.patch, settings.overlap)
    shapes = _shapes(run, scenes)
    patches = sum(len(lattice.starts(y)) * len(lattice.starts(x)) for y, x in shapes)
    memory = max(panel_gib(settings, shape, classes=4, members=settings_of(run).train.members) for shape in shapes)
    return [f"predict    {patches} patches of {settings.patch} px in {len(shapes)} scenes; memory about {memory:.2f} GiB"]


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
