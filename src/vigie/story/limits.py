"""What does not fit on the disk or in memory is refused before any work begins."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence

from vigie.core.errors import VigieError, sized
from vigie.core.scene import Scene
from vigie.harmonize.cube import pixels_done
from vigie.harmonize.grids import target_grid
from vigie.harmonize.terrain import DERIVED
from vigie.predict import memory
from vigie.story.run import Run
from vigie.story.scenes import group_of, settings_of

LAYERS_IN_WORK = 3
"""Copies of a tile's bands that are in memory at once while it is harmonized."""
CLASSES = 4
"""Classes that a network is taken to tell apart before there is one."""


def shapes_of(run: Run, scenes: Sequence[Scene]) -> list[tuple[int, int]]:
    """Rows and columns of scenes on the grids they are brought onto."""
    grids = [target_grid([scene], settings_of(run).harmonize.grid) for scene in scenes]
    return [(int(grid.shape[0]), int(grid.shape[1])) for grid in grids]


def cube_bytes(run: Run, scenes: Sequence[Scene]) -> int:
    """Size of the cube before compression."""
    shapes = shapes_of(run, scenes)
    return sum(y * x * (4 * layers(scene) + 2) for (y, x), scene in zip(shapes, scenes, strict=True))


def bytes_to_write(run: Run, scenes: Sequence[Scene]) -> int:
    """Size of what the cube still lacks, before compression: tiles that a stopped run finished are on the disk already."""
    shapes, path = shapes_of(run, scenes), run.artefact("harmonize")
    lacking = [max(0, y * x - pixels_done(path, group_of(scene.id))) for (y, x), scene in zip(shapes, scenes, strict=True)]
    return sum(pixels * (4 * layers(scene) + 2) for pixels, scene in zip(lacking, scenes, strict=True))


def layers(scene: Scene) -> int:
    """Bands of a scene in the cube, with all that can be derived from terrain."""
    return len(scene.bands) + len(DERIVED) + sum(band.kind == "thermal" for band in scene.bands)


def tile_bytes(run: Run, scenes: Sequence[Scene]) -> int:
    """Memory that harmonizing one tile takes."""
    side = settings_of(run).harmonize.tile
    pixels = max(min(y, side) * min(x, side) for y, x in shapes_of(run, scenes))
    return LAYERS_IN_WORK * 4 * max(layers(scene) for scene in scenes) * pixels


def predict_gib(run: Run, scenes: Sequence[Scene]) -> float:
    """Memory that predicting one tile takes, GiB."""
    settings, kinds = settings_of(run).predict, settings_of(run).train.networks
    return memory.needed_gib(settings, widest(run, scenes), CLASSES, kinds)


def widest(run: Run, scenes: Sequence[Scene]) -> tuple[int, int]:
    """Rows and columns of the scene whose panels are the widest."""
    return max(shapes_of(run, scenes), key=lambda shape: shape[1])


def check(run: Run, scenes: Sequence[Scene]) -> None:
    """Refuse what the disk or the memory cannot hold.

    Raises
    ------
    VigieError: the cube is larger than the free disk, or a tile of harmonize or predict is larger than the memory.
    """
    disk = next(folder for folder in (run.folder.absolute(), *run.folder.absolute().parents) if folder.is_dir())
    free, need = shutil.disk_usage(disk).free, bytes_to_write(run, scenes)
    if need > free:
        raise VigieError(
            "the disk cannot hold the cube",
            found=f"{sized(free)} free in {run.folder}",
            expected=f"up to {sized(need)} for what is still to be written, before compression",
            do="free space, choose another folder with --out, or take fewer scenes",
        )
    whole, tile = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), tile_bytes(run, scenes)
    if tile > whole:
        raise VigieError(
            "a tile of harmonize does not fit in memory",
            found=f"about {sized(tile)} for {settings_of(run).harmonize.tile} px",
            expected=f"at most {sized(whole)}, all that this machine has",
            do="lower harmonize.tile, for instance with --set harmonize.tile=512",
        )
    predict, kinds = settings_of(run).predict, settings_of(run).train.networks
    memory.check_memory(predict, widest(run, scenes), CLASSES, kinds)
