"""The precipitation `predict`: every swath through the models that did not see it, into `prediction.zarr`."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.apps.precipitation.swaths import catalogued, group_of, labelled, opened, settings_of
from vigie.core import store
from vigie.core.granule import Granule
from vigie.core.tiles import Tile
from vigie.learn.folds import NEVER
from vigie.learn.retrieval_model import read_card
from vigie.learn.swath_folds import folds_in
from vigie.predict.swath import SwathPrediction, template
from vigie.story.experiment import to_json
from vigie.story.run import Run
from vigie.story.scenes import fold_name

BEGUN = "begun"
HALO = 64
"""Scans that an image network sees beyond a tile."""


@dataclass(frozen=True)
class Task:
    """A tile, and the work that it belongs to."""

    name: str
    work: SwathPrediction
    tile: Tile


def predict(run: Run) -> None:
    """Retrieve every swath by each model that it needs; finished tiles are kept."""
    tasks = []
    for granule in catalogued(run):
        for fold in folds_needed(run, granule):
            work = prepared(run, granule, fold)
            tasks += [Task(granule.id, work, tile) for tile in store.pending(work.path, work.tiles(), work.group)]
    with run.progress.task("predict", len(tasks)) as advance:
        for name in run.experiment.engine.start().map(perform, tasks):
            advance(note=name)


def perform(task: Task) -> str:
    """Do one tile; give the swath's name."""
    task.work(task.tile)
    return task.name


def folds_needed(run: Run, granule: Granule) -> list[int]:
    """Name the folds whose models retrieve a swath: those that hold out a part of it, else the final model."""
    held = {swath.granule.id: folds_in([swath.fold]) for swath in labelled(run)}
    return held.get(granule.id) or [NEVER]


def node_of(granule: Granule, fold: int) -> str:
    """Node of a swath as one fold's model sees it."""
    return f"{group_of(granule)}/{fold_name(fold)}"


def prepared(run: Run, granule: Granule, fold: int) -> SwathPrediction:
    """Make the empty node of a swath, unless it is there for the same model, and all that its retrieval needs."""
    settings = settings_of(run)
    folder, path, group = run.artefact("train") / fold_name(fold), run.artefact("predict"), node_of(granule, fold)
    card, reader = read_card(folder), opened(run, granule)
    known = {"card": hashlib.sha256(json.dumps(card, sort_keys=True).encode()).hexdigest()}
    shown = tuple(name for name in map(str, reader.dataset["channel"].values) if name in card["channels"]) or tuple(
        map(str, reader.dataset["channel"].values)
    )
    halo = 0 if settings.train.network.name == "pixel" else HALO
    work = SwathPrediction(folder, reader, shown, settings.predict.levels, path, group, settings.predict.scans, halo)
    if not store.marked(path, BEGUN, group) or store.marker(path, BEGUN, group) != known:
        attributes: dict[str, object] = {
            "swath": granule.id,
            "sensor": granule.sensor,
            "model": fold_name(fold),
            "experiment": to_json(run.experiment),
        }
        empty = template(reader.dataset, settings.predict.levels, attributes)
        store.create(path, empty, {"scan": settings.predict.scans}, group)
        store.mark(path, BEGUN, group, known)
    return work


def retrieved(run: Run, granule: Granule, fold: int) -> xr.Dataset:
    """Open what a fold's model retrieved of a swath, lazily."""
    node: xr.Dataset = xr.open_zarr(
        run.artefact("predict"), group=node_of(granule, fold), consolidated=False, mask_and_scale=False, chunks=None
    )
    return node


def held_out(run: Run, name: str) -> NDArray[np.int16]:
    """Folds (scan, pixel) of a labelled swath."""
    return next(swath.fold for swath in labelled(run) if swath.granule.id == name)
