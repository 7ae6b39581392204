"""The default `acquire` and `harmonize` of experiments that map classes; `train` and `predict` have modules of their own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from odc.geo.geobox import GeoBox

from vigie.acquire.catalog import catalog_hash, write_catalog
from vigie.acquire.files import local_path
from vigie.acquire.sources import gather, sensor_files
from vigie.core.cube import FLAGS
from vigie.core.errors import VigieError, counted
from vigie.core.scene import Scene, Truth
from vigie.core.tiles import Tile, tiles
from vigie.harmonize.cube import Fill, begin
from vigie.harmonize.grids import target_grid
from vigie.harmonize.labels import BACKGROUND, read_truth
from vigie.harmonize.reader import SceneReader
from vigie.harmonize.settings import HarmonizeSettings
from vigie.learn import networks
from vigie.learn.windows import check_shares
from vigie.story import limits
from vigie.story.coregistration import Moved, measured_move, record, references
from vigie.story.forests import check_growable
from vigie.story.run import Run, log
from vigie.story.scenes import Classes, catalogued, group_of, hiding, left_out, settings_of
from vigie.story.settings import TrainSettings


def check(run: Run) -> None:
    """Refuse networks whose first weights cannot be had, or that cannot take windows and patches of the settings' sides."""
    settings = settings_of(run)
    sides = {"train.windows.size": settings.train.windows.size, "predict.patch": settings.predict.patch}
    for kind in settings.train.networks:
        networks.check(kind, sides)


def acquire(run: Run, classes: Classes) -> None:
    """Find the scenes that the experiment names and leave them in `catalog.parquet`."""
    settings = settings_of(run)
    scenes = gather(settings.acquire.sources, run.base)
    check_scenes(scenes, settings.train)
    check_growable(scenes, settings.harmonize, settings.train)
    limits.check(run, scenes)
    check_codes(scenes, classes, settings.harmonize)
    write_catalog(scenes, run.artefact("acquire"))
    files = filter(None, (local_path(href) for scene in scenes for href in scene.sha256))
    run.note_files("acquire", [*files, *sensor_files(settings.acquire.sources, run.base)])
    run.note_digest(catalog_hash(scenes))
    labelled = sum(scene.truth is not None for scene in scenes)
    systems = ", ".join(sorted({scene.crs for scene in scenes}))
    log.info("acquire: %s, %d with labels, in %s", counted(len(scenes), "scene"), labelled, systems)


def check_scenes(scenes: Sequence[Scene], train: TrainSettings) -> None:
    """Refuse scenes that nothing could map in the end, or whose parts could not be told apart.

    Raises
    ------
    VigieError: scenes without labels while no model is trained on everything, shares of windows for a sensor without labels, or
    a scene called like a block of another.
    """
    unlabelled = [scene.id for scene in scenes if scene.truth is None]
    if unlabelled and len(unlabelled) < len(scenes) and not train.final and train.folds.by != "none":
        raise VigieError(
            "no model would map the scenes without labels",
            found=f"train.final = false, and no labels for {', '.join(unlabelled)}",
            expected="labels for every scene, or a model trained on everything",
            do="set train.final = true, give these scenes `truth`, or leave them out",
        )
    check_shares(train.windows.shares, {scene.sensor for scene in scenes if scene.truth is not None})
    names = {scene.id for scene in scenes}
    blocks = [name for name in sorted(names) if name.rpartition(".")[0] in names and name.rpartition(".")[2].isdigit()]
    if blocks and train.folds.by == "block":
        raise VigieError(
            f"scene '{blocks[0]}' is called like a block of scene '{blocks[0].rpartition('.')[0]}'",
            expected="names that differ from another scene's by more than a dot and a number",
            do="rename the image, or choose another train.folds.by",
        )


def check_codes(scenes: Sequence[Scene], classes: Classes, settings: HarmonizeSettings) -> None:
    """Refuse labels that hold, on the grid of their scene, a code that their legend does not know."""
    for scene in scenes:
        if scene.truth is not None:
            legend = classes.label(scene.truth.legend)
            codes = codes_of(scene.truth, target_grid([scene], settings.grid), settings.tile)
            legend.rows(np.array(sorted(codes), dtype=np.uint8), f"labels {scene.truth.href} of scene '{scene.id}'")


def codes_of(truth: Truth, grid: GeoBox, tile: int) -> set[int]:
    """Codes that labels hold on a grid: of a vector layer those that it can burn, of a raster those that are read there."""
    if truth.burn is not None:
        return {BACKGROUND, truth.burn}
    todo = tiles({"y": int(grid.shape[0]), "x": int(grid.shape[1])}, {"y": tile, "x": tile})
    return {code for part in todo for code in np.unique(read_truth(truth, grid, part.keep)).tolist()}


def harmonize(run: Run) -> None:
    """Bring every scene onto its grid, as one node of `cube.zarr`; scenes are moved onto their reference first, where asked."""
    scenes = catalogued(run)
    limits.check(run, scenes)
    moves = moves_of(run, scenes)
    fills = [begun(run, scene, moves.get(scene.id)) for scene in scenes]
    tasks = [(fill, tile) for fill in fills for tile in fill.pending()]
    with run.progress.task("harmonize", len(tasks)) as advance:
        for name in run.experiment.engine.start().map(filled, tasks):
            advance(note=name)
    for scene, fill in zip(scenes, fills, strict=True):
        counts = fill.counts()
        if scene.id in moves:
            record(fill.path, fill.group, moves[scene.id])
        _tell(scene, counts)
    tell_left_out(run)


def tell_left_out(run: Run) -> None:
    """Warn of scenes that show nothing and take no further part.

    Raises
    ------
    VigieError: no scene shows anything.
    """
    flags, names = ", ".join(hiding(run)), left_out(run)
    if len(names) == len(catalogued(run)):
        raise VigieError(
            "no scene has a clear pixel on its grid",
            found=f"{flags} everywhere in {', '.join(names)}",
            expected="some clear ground",
            do="check nodata, bands and quality masks of the scenes, choose another grid, or other dates",
        )
    for name in names:
        log.warning("harmonize: scene '%s' is left out of all that follows: no pixel is free of %s", name, flags)


def moves_of(run: Run, scenes: list[Scene]) -> dict[str, Moved]:
    """Measure the shifts of all scenes that are to be moved, before any is written."""
    settings = settings_of(run).harmonize
    if settings.coregister is None:
        return {}
    chosen, moves = references(scenes, settings, settings.coregister), {}
    with run.progress.task("co-register", len(chosen)) as advance:
        for scene in scenes:
            if scene.id in chosen:
                moves[scene.id] = measured_move(scene, chosen[scene.id], settings, settings.coregister)
                log.info("harmonize: %s %s", scene.id, moves[scene.id])
                advance(note=scene.id)
    kept = [scene.id for scene in scenes if scene.id not in moves]
    log.info("harmonize: %s not moved: %s", counted(len(kept), "scene"), ", ".join(kept))
    return moves


def begun(run: Run, scene: Scene, moved: Moved | None) -> Fill:
    """Make a scene's empty node; give the work that fills it."""
    settings: HarmonizeSettings = settings_of(run).harmonize
    shift = moved.shift.moved_m if moved else (0.0, 0.0)
    reader = SceneReader(scene, target_grid([scene], settings.grid), settings=settings, moved_m=shift)
    path, group = run.artefact("harmonize"), group_of(scene.id)
    return Fill(begin(reader, path, group), path, group)


def filled(task: tuple[Fill, Tile]) -> str:
    """Write one tile of one scene; give the scene's name."""
    fill, tile = task
    fill(tile)
    return fill.reader.scene.id


def _tell(scene: Scene, counts: dict[str, int]) -> None:
    told = [f"{name} {100 * counts[name] / counts['pixels']:.1f} %" for name in FLAGS if counts.get(name)]
    if counts["infinite_values"]:
        told.append(f"{counted(counts['infinite_values'], 'infinite value')} taken as missing")
    log.info("harmonize: %s, %d pixels, %s", scene.id, counts["pixels"], ", ".join(told) or "nothing flagged")
