"""Reference methods: what each learns from, and those that could not be computed or fitted, refused before any training.

What the catalogue tells (bands, labels, sensors, sizes) is asked when scenes are acquired, what the labels show before networks
learn. Both ask as `verify` will, so that nothing is learnt for hours only to be refused there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from vigie.core.cube import band_coordinates, label_rows
from vigie.core.errors import VigieError, nearest
from vigie.core.legend import LabelLegend
from vigie.core.scene import Scene
from vigie.core.tiles import Window, tiles, window_sizes
from vigie.harmonize.cube import CubeReader
from vigie.harmonize.grids import target_grid
from vigie.harmonize.reader import SceneReader
from vigie.harmonize.settings import HarmonizeSettings
from vigie.learn.folds import NEVER, FoldSettings, Region, SceneInfo, assign, split
from vigie.story.run import Run
from vigie.story.scenes import Classes, catalogued, opened, regions_of, settings_of, taking_part
from vigie.verify.baselines import Baseline

WHOLE_SCENE_PIXELS = 50_000_000
"""Baselines hold a scene in memory, one at a time, to learn from it or to predict it; larger scenes are refused."""
BLOCK = 1024
"""Side of the windows that labels are looked at in, pixels."""

Baselines = Mapping[str, Callable[[LabelLegend], Baseline]]
"""Reference methods by name; each is made for a label legend."""
Windows = Mapping[str, Sequence[Window]]
"""Windows by the scene that they lie in."""


@dataclass(frozen=True)
class Fit:
    """What a reference method is fitted on: windows of a fold's training part, to predict scenes of a sensor and its labels."""

    fold: int
    scene: Scene
    windows: Windows


def made(baselines: Baselines, name: str, labels: LabelLegend) -> Baseline:
    """Make a reference method for a label legend.

    Raises
    ------
    VigieError: there is none of that name.
    """
    if name not in baselines:
        raise VigieError(
            f"there is no baseline '{name}'",
            expected=", ".join(baselines),
            do=nearest(name, tuple(baselines)) or "correct verify.baselines",
        )
    return baselines[name](labels)


def learnt_from(regions: Sequence[Region], fold: int, scene: Scene, scenes: Mapping[str, Scene], buffer_px: int) -> Windows:
    """Say what a reference method learns from to predict a scene: a fold's training part, of the scene's sensor and labels."""
    windows: dict[str, list[Window]] = {}
    for region in split(regions, fold, buffer_px)[0]:
        other = scenes[region.scene]
        if other.sensor == scene.sensor and legend_of(other) == legend_of(scene):
            windows.setdefault(region.scene, []).append(region.window)
    return windows


def legend_of(scene: Scene) -> str:
    """Name of a scene's label legend, '' where it has no labels."""
    return scene.truth.legend if scene.truth is not None else ""


def check_baselines(run: Run, classes: Classes, baselines: Baselines) -> None:
    """Refuse reference methods that the scenes of the catalogue do not suit.

    Raises
    ------
    VigieError: a method is unknown, lacks bands of a labelled scene or cannot tell its labels apart, a scene is too large for
        it, or a fold leaves it no scene of the same sensor and labels to learn from.
    """
    settings, folds = settings_of(run), settings_of(run).train.folds
    scenes = [scene for scene in catalogued(run) if scene.truth is not None]
    if not settings.verify.baselines or not scenes or folds.by == "none":
        return
    infos = []
    for scene in scenes:
        rows, columns = target_grid([scene], settings.harmonize.grid).shape
        infos.append(SceneInfo(scene.id, {"y": int(rows), "x": int(columns)}, scene.sensor, scene.region, scene.group))
        check_size(scene.id, infos[-1].sizes)
        for name in settings.verify.baselines:
            check_computable(name, scene, baselines, classes.label(legend_of(scene)), settings.harmonize)
    for fit in fits(assign(infos, folds), scenes, folds):
        for name, method in methods(run, classes, baselines, fit):
            if method.needs != "nothing" and not fit.windows:
                raise _unfit(name, fit, "no other image of this sensor with these labels")


def check_fits(run: Run, classes: Classes, baselines: Baselines) -> None:
    """Refuse reference methods that the labels of a fold's training part cannot teach two classes.

    Raises
    ------
    VigieError: which method, for which scene, and the class that is shown.
    """
    folds = settings_of(run).train.folds
    if not settings_of(run).verify.baselines or folds.by == "none":
        return
    scenes = [scene for scene in taking_part(run) if scene.truth is not None]
    if not scenes:
        return
    readers = {scene.id: opened(run, scene) for scene in scenes}
    for fit in fits(regions_of(run, folds), scenes, folds):
        learners = [(name, m.needs) for name, m in methods(run, classes, baselines, fit) if m.needs != "nothing"]
        shown = classes_shown(fit, readers, classes.label(legend_of(fit.scene))) if learners else []
        for name, needs in learners:
            if not fit.windows or (needs == "classes" and len(shown) < 2):
                raise _unfit(name, fit, f"labels of {', '.join(shown) or 'no class'} alone")


def methods(run: Run, classes: Classes, baselines: Baselines, fit: Fit) -> list[tuple[str, Baseline]]:
    """Make the reference methods that the experiment asks for, with their names."""
    labels = classes.label(legend_of(fit.scene))
    return [(name, made(baselines, name, labels)) for name in settings_of(run).verify.baselines]


def check_computable(name: str, scene: Scene, baselines: Baselines, labels: LabelLegend, harmonize: HarmonizeSettings) -> None:
    """Refuse a method that needs other bands or labels than a scene has."""
    method = made(baselines, name, labels)
    try:
        method.check(sketch(scene, harmonize), labels)
    except VigieError as error:
        problem = f"baseline '{name}', scene '{scene.id}': {error.problem}"
        raise VigieError(problem, found=error.found, expected=error.expected, do=error.do) from error


def check_size(name: str, sizes: Mapping[str, int]) -> None:
    """Refuse a scene that does not fit in the memory of a method that looks at all of it."""
    pixels = sizes["y"] * sizes["x"]
    if pixels > WHOLE_SCENE_PIXELS:
        raise VigieError(
            f"baselines need '{name}' in memory",
            found=f"{pixels / 1e6:.0f} million pixels",
            expected=f"at most {WHOLE_SCENE_PIXELS / 1e6:.0f} million",
            do="leave verify.baselines empty, or score a crop",
        )


def sketch(scene: Scene, harmonize: HarmonizeSettings) -> xr.Dataset:
    """Make up a few pixels of the bands that a scene will have in the cube."""
    bands = SceneReader(scene, target_grid([scene], harmonize.grid), settings=harmonize).bands
    return xr.Dataset(
        {
            "observation": (("band", "y", "x"), np.ones((len(bands), 3, 3), dtype=np.float32)),
            "flags": (("y", "x"), np.zeros((3, 3), dtype=np.uint8)),
        },
        band_coordinates(bands),
        {"scene": scene.id},
    )


def fits(regions: Sequence[Region], scenes: Sequence[Scene], folds: FoldSettings) -> Iterator[Fit]:
    """List what is fitted: once for each fold, sensor and label legend that is scored."""
    by_id = {scene.id: scene for scene in scenes}
    asked: dict[tuple[int, str, str], Scene] = {}
    for region in regions:
        if region.fold != NEVER:
            scene = by_id[region.scene]
            asked.setdefault((region.fold, scene.sensor, legend_of(scene)), scene)
    for (fold, _, _), scene in asked.items():
        yield Fit(fold, scene, learnt_from(regions, fold, scene, by_id, folds.buffer_px))


def classes_shown(fit: Fit, readers: Mapping[str, CubeReader], labels: LabelLegend) -> list[str]:
    """Name the labels that are known where a method learns, at most two or so of them: no more is asked."""
    found: set[int] = set()
    for name, windows in fit.windows.items():
        truth = readers[name].dataset[["truth", "flags"]]
        for window in windows:
            inside = truth.isel(window)
            for tile in tiles(window_sizes(window), {"y": BLOCK, "x": BLOCK}):
                rows = label_rows(inside.isel(tile.keep).load(), labels)
                found |= set(np.unique(rows[rows >= 0]).tolist())
                if len(found) > 1:
                    return [labels.names[row] for row in sorted(found)]
    return [labels.names[row] for row in sorted(found)]


def _unfit(name: str, fit: Fit, found: str) -> VigieError:
    return VigieError(
        f"baseline '{name}' cannot learn to predict scene '{fit.scene.id}' of {fit.scene.sensor}",
        found=f"{found} in the training part of fold {fit.fold}",
        expected=f"two classes of '{legend_of(fit.scene)}' there, seen by this sensor",
        do="hold out smaller parts (train.folds.by = 'block'), add such images, or leave the method out of verify.baselines",
    )
