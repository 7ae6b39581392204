"""The scenes of a run as the stages see them: from the catalogue, from the cube, and cut into regions of folds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from vigie.acquire.catalog import read_catalog
from vigie.core.cube import Reader
from vigie.core.errors import VigieError, counted, nearest
from vigie.core.grid import crop
from vigie.core.legend import LabelLegend, Legend
from vigie.core.scene import Scene
from vigie.core.tiles import Window
from vigie.harmonize.cube import CubeReader, open_scene, pixels_done, pixels_with
from vigie.learn.folds import NEVER, FoldSettings, Region, SceneInfo, assign, folds_of
from vigie.learn.networks import NetworkSettings
from vigie.learn.patches import LabelledScene
from vigie.learn.scaling import RobustScaling, measure
from vigie.story.run import Run
from vigie.story.settings import MapExperiment

GRID = "grid"


@dataclass(frozen=True)
class Classes:
    """The leaf classes that an application maps, and what the codes of its label files mean, by name.

    `limits` says for model cards what is hard about these classes, a sentence each.
    """

    legend: Legend
    labels: Mapping[str, LabelLegend]
    limits: tuple[str, ...] = ()

    def label(self, name: str) -> LabelLegend:
        """Find a label legend by its name."""
        if name not in self.labels:
            known = sorted(self.labels)
            raise VigieError(
                f"there is no label legend '{name}'",
                expected=", ".join(known),
                do=nearest(name, known) or "correct the legend of the source",
            )
        return self.labels[name]


@dataclass(frozen=True)
class Part:
    """A part of a scene that one model predicts: its name, the scene, the window, and the model's fold."""

    name: str
    scene: str
    window: Window
    fold: int


@dataclass(frozen=True)
class Cropped:
    """A reader that sees only one window of another one's scene."""

    read: Reader
    window: Window

    def __call__(self, window: Window) -> xr.Dataset:
        """Read a window counted from the corner of the crop."""
        moved = {d: slice(part.start + self.window[d].start, part.stop + self.window[d].start) for d, part in window.items()}
        return self.read(moved)


def settings_of(run: Run) -> MapExperiment:
    """The run's settings, as an experiment that maps classes, with weights where they lie from the experiment's file."""
    experiment = cast(MapExperiment, run.experiment)
    kinds = [placed(kind, run.base) for kind in (experiment.train.network, *experiment.train.beside)]
    train = experiment.train.model_copy(update={"network": kinds[0], "beside": tuple(kinds[1:])})
    return experiment.model_copy(update={"train": train})


def placed(network: NetworkSettings, base: Path) -> NetworkSettings:
    """Take the path of a network's weights, if it has one, from the experiment's folder."""
    if network.weights_file is None:
        return network
    return network.model_copy(update={"weights": str(base / network.weights_file)})


def weight_files(run: Run) -> list[Path]:
    """Files outside the run that networks begin with: `train` notes them, so that a replaced one is noticed."""
    train = settings_of(run).train
    files = [kind.weights_file for kind in (train.network, *train.beside)]
    return [Path(file) for file in files if file is not None]


def catalogued(run: Run) -> list[Scene]:
    """Scenes of the catalogue."""
    return read_catalog(run.artefact("acquire"))


def taking_part(run: Run) -> list[Scene]:
    """Scenes of the catalogue that show something, once they are harmonized: others teach nothing and are not mapped."""
    return [scene for scene in catalogued(run) if shows_ground(run, scene)]


def left_out(run: Run) -> list[str]:
    """Names of the scenes that show nothing."""
    return [scene.id for scene in catalogued(run) if not shows_ground(run, scene)]


def shows_ground(run: Run, scene: Scene) -> bool:
    """Say whether a harmonized scene has a pixel that its percentiles could be measured on: see `learn.scaling`."""
    path, group = run.artefact("harmonize"), group_of(scene.id)
    return pixels_with(path, group, hiding(run)) < pixels_done(path, group)


def hiding(run: Run) -> tuple[str, ...]:
    """Flags of pixels that nothing is measured on."""
    return tuple(dict.fromkeys(("nodata", *settings_of(run).train.scaling.exclude)))


def group_of(scene_id: str) -> str:
    """Node of a scene in the cube and in the prediction."""
    return f"{GRID}/{scene_id}"


def opened(run: Run, scene: Scene) -> CubeReader:
    """Open a scene of the cube."""
    return open_scene(run.artefact("harmonize"), group_of(scene.id))


def labelled(run: Run, classes: Classes, scaling: RobustScaling) -> list[LabelledScene]:
    """Scenes to learn from, with their percentiles measured."""
    found = []
    for scene in taking_part(run):
        if scene.truth is not None:
            read = opened(run, scene)
            statistics = measure(read, read.sizes, scaling)
            labels = classes.label(scene.truth.legend)
            found.append(LabelledScene(scene.id, read, read.sizes, statistics, labels, scene.sensor))
    if not found:
        raise VigieError(
            "no scene has labels to learn from",
            found=f"{counted(len(catalogued(run)), 'scene')}, {len(left_out(run))} of them without a clear pixel",
            expected="`truth` and `legend` in at least one of [[acquire.sources]]",
            do="add labels, or use a trained model with `vigie apply`",
        )
    return found


def regions_of(run: Run, folds: FoldSettings) -> list[Region]:
    """Give every part of every labelled scene to a fold."""
    infos = []
    for scene in taking_part(run):
        if scene.truth is not None:
            infos.append(SceneInfo(scene.id, opened(run, scene).sizes, scene.sensor, scene.region, scene.group))
    return assign(infos, folds)


def parts_of(run: Run, folds: FoldSettings) -> list[Part]:
    """Cut scenes into the parts that are predicted: labelled ones by the model that did not see them, others by the final.

    What every fold learns from is mapped by the final model, or by none where no such model is trained.
    """
    scenes = taking_part(run)
    regions = regions_of(run, folds) if any(scene.truth for scene in scenes) else []
    cut: dict[str, list[Region]] = {}
    for region in regions:
        cut.setdefault(region.scene, []).append(region)
    parts = []
    for scene in scenes:
        pieces = cut.get(scene.id, [])
        if len(pieces) > 1:
            parts += [Part(f"{scene.id}.{n}", scene.id, piece.window, piece.fold) for n, piece in enumerate(pieces)]
        else:
            sizes = opened(run, scene).sizes
            whole = {d: slice(0, sizes[d]) for d in ("y", "x")}
            fold = pieces[0].fold if pieces else NEVER
            if fold != NEVER or settings_of(run).train.final or not folds_of(regions):
                parts.append(Part(scene.id, scene.id, whole, fold))
    return parts


def fold_name(fold: int) -> str:
    """Folder of a fold's model: 'all' is the one trained on everything."""
    return "all" if fold == NEVER else f"fold-{fold}"


def part_grid(whole: GeoBox, part: Part) -> GeoBox:
    """Cut the grid of a part out of its scene's."""
    return crop(whole, part.window)


def part_sizes(part: Part) -> tuple[int, int]:
    """Lines and columns of a part."""
    return part.window["y"].stop - part.window["y"].start, part.window["x"].stop - part.window["x"].start


def statistics_json(statistics: xr.Dataset) -> dict[str, dict[str, float | None]]:
    """Percentiles of every band as plain numbers, for products."""
    return {
        str(band): {
            str(name): None if np.isnan(value := float(statistics[name].sel(band=band))) else value
            for name in statistics.data_vars
        }
        for band in statistics["band"].values
    }
