"""The default `acquire` and `harmonize` of experiments that map classes; `train` and `predict` have modules of their own."""

from __future__ import annotations

import shutil

from vigie.acquire.catalog import write_catalog
from vigie.acquire.sources import gather
from vigie.core.cube import FLAGS
from vigie.core.errors import VigieError
from vigie.core.scene import Scene
from vigie.harmonize.cube import harmonize_scene
from vigie.harmonize.terrain import DERIVED
from vigie.story.run import Run, log
from vigie.story.scenes import Classes, catalogued, group_of, settings_of


def acquire(run: Run, classes: Classes) -> None:
    """Find the scenes that the experiment names and leave them in `catalog.parquet`."""
    scenes = gather(settings_of(run).acquire.sources, run.base)
    for scene in scenes:
        if scene.truth is not None:
            classes.label(scene.truth.legend)
    write_catalog(scenes, run.artefact("acquire"))
    log.info("acquire: %d scenes, %d with labels", len(scenes), sum(scene.truth is not None for scene in scenes))


def harmonize(run: Run) -> None:
    """Bring every scene onto its grid, as one node of `cube.zarr`."""
    settings = settings_of(run).harmonize
    engine = run.experiment.engine.start()
    scenes = catalogued(run)
    _check_disk(run, scenes)
    with run.progress.task("harmonize", len(scenes)) as advance:
        for scene in scenes:
            counts = harmonize_scene(scene, run.artefact("harmonize"), group_of(scene.id), settings, engine=engine)
            _tell(scene, counts)
            advance(note=scene.id)


def _tell(scene: Scene, counts: dict[str, int]) -> None:
    shares = ", ".join(f"{name} {100 * counts[name] / counts['pixels']:.1f} %" for name in FLAGS if counts.get(name))
    log.info("harmonize: %s, %d pixels%s", scene.id, counts["pixels"], f", {shares}" if shares else "")


def _check_disk(run: Run, scenes: list[Scene]) -> None:
    """Refuse to begin what the disk cannot hold."""
    need = sum(scene.shape[0] * scene.shape[1] * (4 * (len(scene.bands) + len(DERIVED)) + 2) for scene in scenes)
    run.folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(run.folder).free
    if need > free:
        raise VigieError(
            "the disk cannot hold the cube",
            found=f"{free / 2**30:.1f} GiB free in {run.folder}",
            expected=f"up to {need / 2**30:.1f} GiB before compression",
            do="free space, choose another folder with --out, or take fewer scenes",
        )
