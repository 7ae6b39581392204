"""The default `acquire` and `harmonize` of experiments that map classes; `train` and `predict` have modules of their own."""

from __future__ import annotations

import time

from vigie.acquire.catalog import catalog_hash, write_catalog
from vigie.acquire.files import local_path
from vigie.acquire.sources import gather, sensor_files
from vigie.core.cube import FLAGS
from vigie.core.engine import Engine
from vigie.core.scene import Scene
from vigie.core.tiles import tiles
from vigie.harmonize.cube import fill
from vigie.harmonize.grids import target_grid
from vigie.harmonize.reader import SceneReader
from vigie.harmonize.settings import HarmonizeSettings
from vigie.story import limits
from vigie.story.coregistration import Moved, measured_move, record, references
from vigie.story.run import Run, log
from vigie.story.scenes import Classes, catalogued, group_of, settings_of


def acquire(run: Run, classes: Classes) -> None:
    """Find the scenes that the experiment names and leave them in `catalog.parquet`."""
    scenes = gather(settings_of(run).acquire.sources, run.base)
    for scene in scenes:
        if scene.truth is not None:
            classes.label(scene.truth.legend)
    limits.check(run, scenes)
    write_catalog(scenes, run.artefact("acquire"))
    files = filter(None, (local_path(href) for scene in scenes for href in scene.sha256))
    run.note_files("acquire", [*files, *sensor_files(settings_of(run).acquire.sources, run.base)])
    run.note_digest(catalog_hash(scenes))
    labelled = sum(scene.truth is not None for scene in scenes)
    log.info("acquire: %d scenes, %d with labels, in %s", len(scenes), labelled, ", ".join(sorted({s.crs for s in scenes})))


def harmonize(run: Run) -> None:
    """Bring every scene onto its grid, as one node of `cube.zarr`; scenes are moved onto their reference first, where asked."""
    engine, scenes = run.experiment.engine.start(), catalogued(run)
    limits.check(run, scenes)
    moves = moves_of(run, scenes)
    for scene in scenes:
        started = time.monotonic()
        counts = written(run, scene, moves.get(scene.id), engine)
        _tell(scene, counts, time.monotonic() - started)


def moves_of(run: Run, scenes: list[Scene]) -> dict[str, Moved]:
    """Measure the shifts of all scenes that are to be moved, before any is written."""
    settings = settings_of(run).harmonize
    if settings.coregister is None:
        return {}
    chosen, moves = references(scenes, settings.coregister), {}
    with run.progress.task("co-register", len(chosen)) as advance:
        for scene in scenes:
            if scene.id in chosen:
                moves[scene.id] = measured_move(scene, chosen[scene.id], settings, settings.coregister)
                log.info("harmonize: %s %s", scene.id, moves[scene.id])
                advance(note=scene.id)
    kept = [scene.id for scene in scenes if scene.id not in moves]
    log.info("harmonize: %d scenes stay where they are: %s", len(kept), ", ".join(kept))
    return moves


def written(run: Run, scene: Scene, moved: Moved | None, engine: Engine) -> dict[str, int]:
    """Write a scene's node; give what was counted in it."""
    settings: HarmonizeSettings = settings_of(run).harmonize
    shift = moved.shift.moved_m if moved else (0.0, 0.0)
    reader = SceneReader(scene, target_grid([scene], settings.grid), settings=settings, moved_m=shift)
    every = tiles(reader.sizes, dict.fromkeys(("y", "x"), settings.tile))
    with run.progress.task(f"harmonize {scene.id}", len(every)) as advance:
        told = [0]

        def progress(done: int, _: int) -> None:
            advance(done - told[-1])
            told.append(done)

        counts = fill(reader, run.artefact("harmonize"), group_of(scene.id), engine, progress)
    if moved:
        record(run.artefact("harmonize"), group_of(scene.id), moved)
    return counts


def _tell(scene: Scene, counts: dict[str, int], seconds: float) -> None:
    told = [f"{name} {100 * counts[name] / counts['pixels']:.1f} %" for name in FLAGS if counts.get(name)]
    if counts["infinite_values"]:
        told.append(f"{counts['infinite_values']} infinite values taken as missing")
    log.info("harmonize: %s, %d pixels, %s, %.1f s", scene.id, counts["pixels"], ", ".join(told) or "nothing flagged", seconds)
