"""The default `predict`: every part of every scene by the model that did not see it, into `prediction.zarr`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.core import store
from vigie.core.errors import counted
from vigie.core.grid import coordinates
from vigie.core.tiles import Window
from vigie.harmonize.cube import CubeReader
from vigie.learn.model import read_card
from vigie.learn.scaling import measure
from vigie.predict.memory import check_memory
from vigie.predict.scene import Job, ScenePrediction, cached_model, template
from vigie.story.apply import used_tables
from vigie.story.experiment import to_json
from vigie.story.run import Run, log
from vigie.story.scenes import (
    Cropped,
    Part,
    catalogued,
    fold_name,
    group_of,
    opened,
    part_grid,
    part_sizes,
    parts_of,
    settings_of,
    statistics_json,
)

CHUNK = 512
"""Width of a chunk of the store, pixels; tiles are whole numbers of chunks wide."""
BEGUN = "begun"
"""Marker of a node whose template is written; it carries what the node's model is known by."""
TILES_A_JOB = 4
"""Tiles that one worker of a parallel engine does at a time: enough to stream, few enough to share out."""


def predict(run: Run) -> None:
    """Predict every part of every scene; finished tiles are kept."""
    predict_parts(run, run.artefact("train"), parts_of(run, settings_of(run).train.folds))


def predict_parts(run: Run, models: Path, parts: list[Part]) -> None:
    """Predict parts with the models of their folds; the engine is given the jobs of all parts at once."""
    scenes = {scene.id: scene for scene in catalogued(run)}
    tiles_a_job = None if run.experiment.engine.kind == "serial" else TILES_A_JOB
    tasks: list[Task] = []
    for part in parts:
        work = prepared(run, models / fold_name(part.fold), part, opened(run, scenes[part.scene]))
        jobs = work.jobs(tiles_a_job)
        tasks += [Task(part.name, work, job) for job in jobs]
        todo = counted(sum(len(job.tiles) for job in jobs), "tile")
        log.info("predict: %s, %s to do with model %s", part.name, todo, work.model.name)
    with run.progress.task("predict", sum(len(task.job.tiles) for task in tasks)) as advance:
        for name, count in run.experiment.engine.start().map(perform, tasks):
            advance(count, name)


@dataclass(frozen=True)
class Task:
    """A job, and the part and the work that it belongs to."""

    part: str
    work: ScenePrediction
    job: Job


def perform(task: Task) -> tuple[str, int]:
    """Do one job; give the part's name and the number of tiles."""
    return task.part, task.work(task.job)


def prepared(run: Run, model_folder: Path, part: Part, reader: CubeReader) -> ScenePrediction:
    """Make a part's empty node, unless there is one for the same model, and everything its prediction needs."""
    settings = settings_of(run).predict
    model = cached_model(model_folder, settings.device, settings.precision)
    sizes = part_sizes(part)
    check_memory(settings, sizes, len(model.legend.classes), model.networks)
    statistics = measure(reader, reader.sizes, model.scaling)
    path, group = run.artefact("predict"), group_of(part.name)
    work = ScenePrediction(model_folder, Cropped(reader, part.window), sizes, statistics, path, group, settings)
    known = identity(model_folder)
    if not store.marked(path, BEGUN, group) or store.marker(path, BEGUN, group) != known:
        empty = template(coordinates(part_grid(reader.grid, part)), sizes, model.head)
        store.create(path, annotated(run, empty, work, part), {"y": settings.lines, "x": CHUNK}, group)
        store.mark(path, BEGUN, group, known)
    return work


def identity(model_folder: Path) -> dict[str, Any]:
    """Tell a model by what decides its maps: the sha256 of its weights, its calibration and its scaling."""
    card = read_card(model_folder)
    return {"weights": weights_of(card), "calibration": card["calibration"], "scaling": card["scaling"]}


def weights_of(card: dict[str, Any]) -> dict[str, str]:
    """Give the sha256 of each member's weights by the name of its file."""
    return {name: member["sha256"] for name, member in card["members"].items()}


def annotated(run: Run, node: xr.Dataset, work: ScenePrediction, part: Part) -> xr.Dataset:
    """Add to a node everything that its values came from."""
    card = read_card(work.model)
    scene = next(scene for scene in catalogued(run) if scene.id == part.scene)
    node.attrs |= {
        "scene": part.scene,
        "part": part.name,
        "sensor": scene.sensor,
        "datetime": scene.datetime or "",
        "region": scene.region,
        "model": work.model.name,
        "weights_sha256": json.dumps(weights_of(card), sort_keys=True),
        "calibration": json.dumps(card["calibration"], sort_keys=True),
        "scaling": json.dumps(statistics_json(work.statistics), sort_keys=True),
        "experiment": to_json(run.experiment, used_tables(run)),
    }
    return node


def read_probability(path: Path, part: str, window: Window) -> NDArray[np.float32]:
    """Read calibrated probabilities (class, y, x) of a window of a predicted part, NaN where there are none."""
    with xr.open_zarr(path, group=group_of(part), consolidated=False, chunks=None) as node:
        return np.asarray(node["probability"].isel({d: window[d] for d in ("y", "x")}).values, dtype=np.float32)
