"""The default `verify`: predictions and reference methods against the truth, in one table, with intervals.

`scores.nc` has one group for each label legend, since labels that mean different things cannot share a table:

    /<legend>              scores of every model (see `verify.scores`)
    /<legend>/reliability  the model's reliability table
    /<legend>/confusion    the model's confusion counts
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from vigie.core.cube import label_rows
from vigie.core.errors import VigieError
from vigie.core.grid import pixel_m
from vigie.core.legend import LabelLegend
from vigie.core.store import whole_file
from vigie.core.tiles import Tile, Window, tiles
from vigie.harmonize.cube import CubeReader
from vigie.learn.folds import NEVER
from vigie.story.baselines import Baselines, check_size, learnt_from, made
from vigie.story.prediction import read_probability
from vigie.story.run import Run, log
from vigie.story.scenes import Classes, Cropped, Part, catalogued, opened, part_sizes, parts_of, regions_of, settings_of
from vigie.verify import scores
from vigie.verify.baselines import Baseline, Fitted
from vigie.verify.boundary import halo_px
from vigie.verify.calibration import reliability
from vigie.verify.classes import LabelledTile, label_probability
from vigie.verify.tally import Tally

TILE = 2048
"""Tiles that scores are counted on, pixels; boundary distances look `verify.boundary.halo_px` beyond them."""


@dataclass(frozen=True)
class Trial:
    """One part with truth: who predicts it must not have seen it; `group` names scenes of the same ground."""

    part: Part
    labels: LabelLegend
    reader: CubeReader
    gsd_m: float
    group: str


def verify(run: Run, classes: Classes, baselines: Baselines) -> None:
    """Score every part that has truth and that its model never saw, and leave `scores.nc`."""
    trials: dict[str, list[Trial]] = {}
    for trial in trials_of(run, classes):
        trials.setdefault(trial.labels.name, []).append(trial)
    nodes: dict[str, xr.Dataset] = {}
    for name, group in trials.items():
        ours = counted(run, [mapped_tiles(run, trial, classes) for trial in group], group, f"verify {name}")
        tables = [assembled(run, scores.OURS, ours, group)]
        for wanted in settings_of(run).verify.baselines:
            tables.append(assembled(run, wanted, baseline_counts(run, wanted, group, baselines), group))
        nodes[f"/{name}"] = scores.compare(tables)
        nodes[f"/{name}/reliability"] = reliability(ours["calibration"].sum("scene"))
        nodes[f"/{name}/confusion"] = ours["classes"].sum("scene").total
        told = scores.table(nodes[f"/{name}"], ["mean_iou", "accuracy", "ece"]).to_string()
        log.info("verify: %s, %s\n%s", name, nodes[f"/{name}"].attrs["intervals"], told)
    if not nodes:
        log.info("verify: nothing is scored: %s", why_not(run))
    tree = xr.DataTree.from_dict(nodes or {"/": xr.Dataset(attrs={"note": why_not(run)})})
    with whole_file(run.artefact("verify")) as draft:
        # Made in memory: HDF5 may crash the process when the disk is full.
        draft.write_bytes(tree.to_netcdf(engine="h5netcdf"))


def trials_of(run: Run, classes: Classes) -> Iterator[Trial]:
    """List the parts that have truth and that a model predicted without having seen them."""
    scenes = {scene.id: scene for scene in catalogued(run)}
    for part in parts_of(run, settings_of(run).train.folds):
        scene = scenes[part.scene]
        if scene.truth is not None and part.fold != NEVER:
            reader = opened(run, scene)
            yield Trial(part, classes.label(scene.truth.legend), reader, pixel_m(reader.grid), scene.group or scene.id)


def why_not(run: Run) -> str:
    """Say why no part can be scored."""
    if any(scene.truth is not None for scene in catalogued(run)):
        return "every scene with truth was learnt from, since train.folds.by = 'none' holds nothing out"
    return "no scene has truth"


def counted(run: Run, streams: Sequence[Iterator[LabelledTile]], group: Sequence[Trial], title: str) -> dict[str, Tally]:
    """Count every tile, by part."""
    counts = []
    with run.progress.task(title, len(group)) as advance:
        for trial, stream in zip(group, streams, strict=True):
            total = scores.add_counts([scores.count_tile(tile) for tile in stream])
            counts.append({name: tally.at(scene=trial.part.name) for name, tally in total.items()})
            advance(note=trial.part.name)
    return scores.add_counts(counts)


def assembled(run: Run, model: str, counts: Mapping[str, Tally], group: Sequence[Trial]) -> xr.Dataset:
    """Turn counts into scores with intervals, from what is independent: groups of scenes, never neighbouring blocks."""
    replicates, groups = settings_of(run).verify.bootstrap, {trial.part.name: trial.group for trial in group}
    return scores.assemble(model, counts, groups=groups, replicates=replicates, seed=run.experiment.seed)


def cuts(trial: Trial) -> list[Tile]:
    """Cut a part into tiles with halo."""
    y, x = part_sizes(trial.part)
    return tiles({"y": y, "x": x}, {"y": TILE, "x": TILE}, dict.fromkeys(("y", "x"), halo_px(trial.gsd_m)))


def mapped_tiles(run: Run, trial: Trial, classes: Classes) -> Iterator[LabelledTile]:
    """Read a part's prediction beside its truth, tile by tile."""
    read = Cropped(trial.reader, trial.part.window)
    for tile in cuts(trial):
        rows = label_rows(read(tile.read), trial.labels)
        leaves = read_probability(run.artefact("predict"), trial.part.name, tile.read)
        probability = label_probability(leaves, trial.labels, classes.legend)
        yield LabelledTile(probability, rows, trial.labels.names, trial.gsd_m, tile.inner)


def baseline_counts(run: Run, name: str, group: Sequence[Trial], baselines: Baselines) -> dict[str, Tally]:
    """Train a reference method on what each part's model was trained on, and count what it says of the part."""
    sensors = {scene.id: scene.sensor for scene in catalogued(run)}
    learnt: dict[tuple[int, str], Fitted] = {}

    def tiles_of(trial: Trial) -> Iterator[LabelledTile]:
        key = (trial.part.fold, sensors[trial.part.scene])
        if key not in learnt:
            learnt[key] = fitted(run, trial, group, made(baselines, name, trial.labels))
        yield from baseline_tiles(trial, learnt[key])

    return counted(run, [tiles_of(trial) for trial in group], group, f"verify {name}")


def fitted(run: Run, trial: Trial, group: Sequence[Trial], baseline: Baseline) -> Fitted:
    """Fit a reference method on the training regions of a part's fold, those of its own sensor, scene by scene."""
    folds, scenes = settings_of(run).train.folds, {scene.id: scene for scene in catalogued(run)}
    readers = {other.part.scene: other.reader for other in group}
    windows = learnt_from(regions_of(run, folds), trial.part.fold, scenes[trial.part.scene], scenes, folds.buffer_px)
    return baseline.fit(whole_scene(readers[name], inside) for name, inside in windows.items())


def whole_scene(reader: CubeReader, windows: Sequence[Window]) -> xr.Dataset:
    """Read a whole scene, and mark the windows that a reference method is asked about: however they are cut, it sees the same.

    Raises
    ------
    VigieError: the scene is too large for the memory.
    """
    check_size(str(reader.dataset.attrs.get("scene", reader.group)), reader.sizes)
    y, x = reader.sizes["y"], reader.sizes["x"]
    asked = np.zeros((y, x), dtype=bool)
    for window in windows:
        asked[window["y"], window["x"]] = True
    return reader({"y": slice(0, y), "x": slice(0, x)}).assign(asked=(("y", "x"), asked))


def baseline_tiles(trial: Trial, method: Fitted) -> Iterator[LabelledTile]:
    """Predict a part with a fitted reference method that looks at the whole scene."""
    scene, at = whole_scene(trial.reader, [trial.part.window]), (trial.part.window["y"], trial.part.window["x"])
    probability = method.probability(scene)
    if probability.shape[0] != len(trial.labels.codes):
        raise VigieError(
            f"this baseline cannot tell the labels '{trial.labels.name}' apart",
            found=f"{probability.shape[0]} classes",
            expected=f"{len(trial.labels.codes)}: {', '.join(trial.labels.names)}",
            do="choose a random forest or gradient boosting in verify.baselines",
        )
    inside = np.ascontiguousarray(probability[:, *at], dtype=np.float32)
    yield LabelledTile(inside, label_rows(scene, trial.labels)[at], trial.labels.names, trial.gsd_m)
