"""The precipitation `predict`: every swath through the models that did not see it, into `prediction.zarr`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import lcm
from typing import Any
from zlib import crc32

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from vigie.apps.precipitation.settings import TrainSettings
from vigie.apps.precipitation.swaths import catalogued, fold_folder, fold_table, group_of, opened, settings_of
from vigie.core import store
from vigie.core.errors import VigieError
from vigie.core.granule import Granule
from vigie.core.tiles import Tile
from vigie.learn.folds import NEVER
from vigie.learn.retrieval import RetrievalSettings, build
from vigie.learn.retrieval_model import read_card
from vigie.learn.swaths import ChannelScaling
from vigie.predict.swath import GENERATIVE, Kept, SwathPrediction, template
from vigie.story.experiment import to_json
from vigie.story.run import Run, log
from vigie.story.scenes import fold_name

BEGUN = "begun"
TILES_A_TASK = 4
"""Tiles that one worker of a parallel engine does at a time: enough to stream, few enough to share out."""


@dataclass(frozen=True)
class Task:
    """Tiles, and the work that they belong to."""

    name: str
    work: SwathPrediction
    tiles: tuple[Tile, ...]


def predict(run: Run) -> None:
    """Retrieve every swath by each model that it needs; finished tiles are kept."""
    tasks = []
    for granule in catalogued(run):
        for fold in folds_needed(run, granule):
            work = prepared(run, granule, fold)
            todo = store.pending(work.path, work.tiles(), work.group)
            size = len(todo) if run.experiment.engine.kind == "serial" else TILES_A_TASK
            tasks += [Task(granule.id, work, tuple(todo[at : at + size])) for at in range(0, len(todo), max(size, 1))]
    with run.progress.task("predict", sum(len(task.tiles) for task in tasks)) as advance:
        for name, count in run.experiment.engine.start().map(perform, tasks):
            advance(count, name)


def perform(task: Task) -> tuple[str, int]:
    """Do one task; give the swath's name and the number of tiles."""
    return task.name, task.work(task.tiles)


def folds_needed(run: Run, granule: Granule) -> list[int]:
    """Name the folds whose models retrieve a swath: those that hold out a part of it, else the final model."""
    return list(fold_table(run).get(granule.id, ())) or [NEVER]


def node_of(granule: Granule, fold: int) -> str:
    """Node of a swath as one fold's model sees it."""
    return f"{group_of(granule)}/{fold_name(fold)}"


def prepared(run: Run, granule: Granule, fold: int) -> SwathPrediction:
    """Make the empty node of a swath, unless it is there for the same model, and all that its retrieval needs."""
    settings = settings_of(run)
    folder, path, group = run.artefact("train") / fold_name(fold), run.artefact("predict"), node_of(granule, fold)
    card, reader = read_card(folder), opened(run, granule)
    drawing = folder / GENERATIVE / "card.json"
    told = json.dumps([card, drawing.read_text(encoding="utf-8") if drawing.is_file() else ""], sort_keys=True)
    known = {"card": hashlib.sha256(told.encode()).hexdigest()}
    shown = shown_of(granule, tuple(map(str, reader.dataset["channel"].values)), card)
    scans, halo = tiling(seen_by(settings.train), settings.predict.scans)
    seed = crc32(f"{run.experiment.seed} {granule.id}".encode())
    kept = Kept(settings.predict.levels, settings.predict.members, seed)
    work = SwathPrediction(folder, known["card"], reader, shown, kept, path, group, scans, halo)
    if not store.marked(path, BEGUN, group) or store.marker(path, BEGUN, group) != known:
        attributes: dict[str, object] = {
            "swath": granule.id,
            "sensor": granule.sensor,
            "model": fold_name(fold),
            "experiment": to_json(run.experiment),
        }
        covered = card["covering"]["levels"] if card["covering"] else ()
        empty = template(reader.dataset, kept, covered, attributes)
        store.create(path, empty, {"scan": scans}, group)
        store.mark(path, BEGUN, group, known)
    return work


def shown_of(granule: Granule, there: tuple[str, ...], card: Mapping[str, Any]) -> tuple[str, ...]:
    """Choose the channels of a swath that its model is shown: those it learnt from, in its order, and others near to one.

    Raises
    ------
    VigieError: there is none.
    """
    learnt = card["inputs"]["channels"]
    temperatures = {name: card["scaling"]["mean"].get(name, 0.0) for name in learnt}
    near = ChannelScaling(mean=temperatures, deviation=dict.fromkeys(learnt, 1.0)).known(there)
    shown = (*(name for name in learnt if name in there), *(name for name in near if name not in learnt))
    if not shown:
        raise VigieError(
            f"the model knows no channel of swath '{granule.id}'",
            found=", ".join(there) or "no channel",
            expected=", ".join(learnt),
            do="train on a sensor like this one, or leave the swath out",
        )
    unused, missing = sorted(set(there) - set(shown)), sorted(set(learnt) - set(shown))
    if unused or missing:
        told = [f"{what} {', '.join(names)}" for what, names in (("without", missing), ("unused", unused)) if names]
        log.info("predict: %s, %s", granule.id, "; ".join(told))
    return shown


def seen_by(settings: TrainSettings) -> list[RetrievalSettings]:
    """Say through which networks a swath goes; one that generates members from images sees as far as its like."""
    drawing = settings.generative
    images = drawing is not None and drawing.method.name == "unet"
    like = [RetrievalSettings(name="unet", widths=drawing.method.widths)] if drawing is not None and images else []
    return [*(kind.network for kind in settings.kinds), *like]


def tiling(networks: Sequence[RetrievalSettings], scans: int) -> tuple[int, int]:
    """Give the scans of a tile and of its halo: all that networks see of a pixel, both in steps that they can halve evenly.

    Examples
    --------
    >>> tiling([RetrievalSettings()], 100), tiling([RetrievalSettings(), RetrievalSettings(name="unet", widths=(8, 16))], 101)
    ((100, 0), (102, 12))
    """
    with torch.random.fork_rng([]):
        made = [build(network.model_copy(update={"stem": "described"}), 1) for network in networks]
    reach, multiple = max((network.receptive_field or 1) // 2 for network in made), lcm(*(n.multiple for n in made))
    up = [-(-count // multiple) * multiple for count in (scans, reach)]
    return up[0], up[1]


def retrieved(run: Run, granule: Granule, fold: int) -> xr.Dataset:
    """Open what a fold's model retrieved of a swath, lazily."""
    node: xr.Dataset = xr.open_zarr(
        run.artefact("predict"), group=node_of(granule, fold), consolidated=False, mask_and_scale=False, chunks=None
    )
    return node


def held_out(run: Run, name: str) -> NDArray[np.int16]:
    """Folds (scan, pixel) of a labelled swath, read from the disk where they are looked at."""
    owners: NDArray[np.int16] = np.load(fold_folder(run) / f"{name}.npy", mmap_mode="r")
    return owners
