"""The default `verify`: predictions and reference methods against the truth, in one table, with intervals.

`scores.nc` has one group for each label legend, since labels that mean different things cannot share a table:

    /<legend>              scores of every model (see `verify.scores`)
    /<legend>/reliability  the network's reliability table
    /<legend>/confusion    the network's confusion counts
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from vigie.core.errors import VigieError, nearest
from vigie.core.legend import LabelLegend
from vigie.core.store import whole_file
from vigie.core.tiles import Tile, tiles
from vigie.harmonize.cube import CubeReader
from vigie.learn.folds import NEVER, split
from vigie.story.prediction import read_probability
from vigie.story.run import Run, log
from vigie.story.scenes import Classes, Cropped, Part, catalogued, opened, part_sizes, parts_of, regions_of, settings_of
from vigie.verify import scores
from vigie.verify.baselines import Baseline, Fitted
from vigie.verify.calibration import reliability
from vigie.verify.classes import LabelledTile, label_tile
from vigie.verify.tally import Tally

TILE, HALO = 2048, 256
"""Tiles that scores are counted on, and how far beyond them boundary distances look, pixels."""
WHOLE_SCENE_PIXELS = 50_000_000
"""Baselines hold a scene in memory; larger scenes are refused."""

Baselines = Mapping[str, Callable[[LabelLegend], Baseline]]
"""Reference methods by name; each is made for a label legend."""


@dataclass(frozen=True)
class Trial:
    """One part with truth: who predicts it must not have seen it."""

    part: Part
    labels: LabelLegend
    reader: CubeReader
    gsd_m: float


def verify(run: Run, classes: Classes, baselines: Baselines) -> None:
    """Score every part that has truth and that its network never saw, and leave `scores.nc`."""
    trials: dict[str, list[Trial]] = {}
    for trial in trials_of(run, classes):
        trials.setdefault(trial.labels.name, []).append(trial)
    nodes: dict[str, xr.Dataset] = {}
    for name, group in trials.items():
        network = counted(run, [network_tiles(run, trial, classes) for trial in group], group, f"verify {name}")
        tables = [assembled(run, "network", network)]
        for wanted in settings_of(run).verify.baselines:
            tables.append(assembled(run, wanted, baseline_counts(run, wanted, group, baselines)))
        nodes[f"/{name}"] = scores.compare(tables)
        nodes[f"/{name}/reliability"] = reliability(network["calibration"].sum("scene"))
        nodes[f"/{name}/confusion"] = network["classes"].sum("scene").total
        log.info("verify: %s\n%s", name, scores.table(nodes[f"/{name}"], ["mean_iou", "accuracy", "ece"]).to_string())
    tree = xr.DataTree.from_dict(nodes or {"/": xr.Dataset(attrs={"note": "no scene has truth"})})
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
            yield Trial(part, classes.label(scene.truth.legend), reader, abs(float(reader.grid.resolution.y)))


def counted(run: Run, streams: Sequence[Iterator[LabelledTile]], group: Sequence[Trial], title: str) -> dict[str, Tally]:
    """Count every tile, by part."""
    counts = []
    with run.progress.task(title, len(group)) as advance:
        for trial, stream in zip(group, streams, strict=True):
            total = scores.add_counts([scores.count_tile(tile) for tile in stream])
            counts.append({name: tally.at(scene=trial.part.name) for name, tally in total.items()})
            advance(note=trial.part.name)
    return scores.add_counts(counts)


def assembled(run: Run, model: str, counts: Mapping[str, Tally]) -> xr.Dataset:
    """Turn counts into scores with intervals."""
    replicates = settings_of(run).verify.bootstrap
    return scores.assemble(model, counts, replicates=replicates, seed=run.experiment.seed)


def cuts(trial: Trial) -> list[Tile]:
    """Cut a part into tiles with halo."""
    y, x = part_sizes(trial.part)
    return tiles({"y": y, "x": x}, {"y": TILE, "x": TILE}, {"y": HALO, "x": HALO})


def network_tiles(run: Run, trial: Trial, classes: Classes) -> Iterator[LabelledTile]:
    """Read a part's prediction beside its truth, tile by tile."""
    read = Cropped(trial.reader, trial.part.window)
    for tile in cuts(trial):
        truth = read(tile.read)["truth"].values
        probability = read_probability(run.artefact("predict"), trial.part.name, tile.read)
        labelled = label_tile(probability, truth, trial.labels, classes.legend, trial.gsd_m)
        yield replace(labelled, inner=tile.inner)


def baseline_counts(run: Run, name: str, group: Sequence[Trial], baselines: Baselines) -> dict[str, Tally]:
    """Train a reference method on what each part's network was trained on, and count what it says of the part."""
    if name not in baselines:
        raise VigieError(f"there is no baseline '{name}'", expected=", ".join(baselines), do=nearest(name, tuple(baselines)))
    sensors = {scene.id: scene.sensor for scene in catalogued(run)}
    learnt: dict[tuple[int, str], Fitted] = {}

    def tiles_of(trial: Trial) -> Iterator[LabelledTile]:
        key = (trial.part.fold, sensors[trial.part.scene])
        if key not in learnt:
            learnt[key] = fitted(run, trial, group, baselines[name](trial.labels))
        yield from baseline_tiles(trial, learnt[key])

    return counted(run, [tiles_of(trial) for trial in group], group, f"verify {name}")


def fitted(run: Run, trial: Trial, group: Sequence[Trial], baseline: Baseline) -> Fitted:
    """Fit a reference method on the training regions of a part's fold, those of its own sensor."""
    folds = settings_of(run).train.folds
    learn, _ = split(regions_of(run, folds), trial.part.fold, folds.buffer_px)
    readers = {other.part.scene: other.reader for other in group}
    sensors = {scene.id: scene.sensor for scene in catalogued(run)}
    alike = [region for region in learn if region.scene in readers and sensors[region.scene] == sensors[trial.part.scene]]
    return baseline.fit([readers[region.scene](region.window) for region in alike])


def baseline_tiles(trial: Trial, method: Fitted) -> Iterator[LabelledTile]:
    """Predict a part with a fitted reference method, whole."""
    y, x = part_sizes(trial.part)
    if y * x > WHOLE_SCENE_PIXELS:
        raise VigieError(
            f"baselines need '{trial.part.name}' in memory",
            found=f"{y * x / 1e6:.0f} million pixels",
            expected=f"at most {WHOLE_SCENE_PIXELS / 1e6:.0f} million",
            do="leave verify.baselines empty, or score a crop",
        )
    scene = trial.reader(trial.part.window)
    probability = method.probability(scene)
    if probability.shape[0] != len(trial.labels.codes):
        raise VigieError(
            f"this baseline cannot tell the labels '{trial.labels.name}' apart",
            found=f"{probability.shape[0]} classes",
            expected=f"{len(trial.labels.codes)}: {', '.join(trial.labels.names)}",
            do="choose a random forest or gradient boosting in verify.baselines",
        )
    rows = trial.labels.rows(scene["truth"].values)
    yield LabelledTile(probability.astype(np.float32), rows, trial.labels.names, trial.gsd_m)
