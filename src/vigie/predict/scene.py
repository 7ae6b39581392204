"""The model over one scene of any size: read ahead, run, blend, write; killed at any moment, it goes on where it was.

A job is a run of tiles that lie under each other in one panel. Inside a job rows of patches stream from top to bottom: the next
row is read while the network runs, finished lines are written while it goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from vigie.core import store
from vigie.core.cube import FLAGS, Reader, flags_attributes
from vigie.core.errors import VigieError
from vigie.core.tiles import Tile, tiles
from vigie.learn.heads import Head
from vigie.learn.model import Model, load, read_card
from vigie.learn.windows import prefetch
from vigie.predict.blend import RowBlender
from vigie.predict.forward import batch_size, run, streams_of
from vigie.predict.lattice import Lattice
from vigie.predict.rows import Look
from vigie.predict.settings import PredictSettings

Precision = Literal["32-true", "bf16-mixed"]


@dataclass(frozen=True)
class Job:
    """Tiles of one panel, one below the other without a gap."""

    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class ScenePrediction:
    """Everything one scene's prediction needs; it pickles, so that any engine can run its jobs.

    `sizes` are the scene's {"y", "x"}; `statistics` come from `learn.scaling.measure`; `group` is the node in the store; `card`
    is the sha256 of the model's card as it was when the prediction was planned, so that no job runs with another one ('' where
    the folder holds none, and `run` is given one).
    """

    model: Path
    reader: Reader
    sizes: tuple[int, int]
    statistics: xr.Dataset
    store: Path
    group: str
    settings: PredictSettings
    card: str = field(init=False)

    def __post_init__(self) -> None:
        """Note which model it is."""
        there = (self.model / "card.json").is_file()
        object.__setattr__(self, "card", card_digest(self.model) if there else "")

    def tiles(self) -> list[Tile]:
        """The tiles of the store: `lines` high, `panel` wide."""
        y, x = self.sizes
        return tiles({"y": y, "x": x}, {"y": self.settings.lines, "x": self.settings.panel})

    def jobs(self, tiles_a_job: int | None = None) -> list[Job]:
        """Group the tiles still to be done into jobs; None makes jobs as long as possible."""
        todo = store.pending(self.store, self.tiles(), self.group)
        runs: list[list[Tile]] = []
        for tile in sorted(todo, key=lambda t: (t.keep["x"].start, t.keep["y"].start)):
            last = runs[-1][-1] if runs else None
            adjoins = last and last.keep["x"] == tile.keep["x"] and last.keep["y"].stop == tile.keep["y"].start
            if adjoins and (tiles_a_job is None or len(runs[-1]) < tiles_a_job):
                runs[-1].append(tile)
            else:
                runs.append([tile])
        return [Job(tuple(run)) for run in runs]

    def __call__(self, job: Job) -> int:
        """Predict and write the tiles of a job; give their number."""
        for _ in self.run(job):
            pass
        return len(job.tiles)

    def run(self, job: Job, model: Model | None = None) -> Iterator[Tile]:
        """Predict and write the tiles of a job, yielding each as soon as it is on disk."""
        model = model or cached_model(self.model, self.settings.device, self.settings.precision, self.card)
        for tile, blended, flags in blended_tiles(self, model, job):
            missing = (flags & FLAGS["nodata"]) != 0
            found = model.head.variables(blended, missing) | {"flags": xr.Variable(("y", "x"), flags)}
            store.write(self.store, tile, xr.Dataset(found), self.group)
            yield tile


def card_digest(folder: Path) -> str:
    """Tell a model by the sha256 of its card, which lists those of its weights."""
    read_card(folder)
    return sha256((folder / "card.json").read_bytes()).hexdigest()


def cached_model(folder: Path, device: str, precision: Precision, card: str = "") -> Model:
    """Load a model once a process: workers run many jobs with the same one, and read one that was trained anew again.

    Parameters
    ----------
    card: the digest that the model's card must have; any, if empty.

    Raises
    ------
    VigieError: the model in the folder is another one by now.
    """
    found = card_digest(folder)
    if card not in ("", found):
        raise VigieError(
            f"the model in {folder} has changed while it was predicted with",
            found=f"a card of sha256 {found}",
            expected=card,
            do="run `vigie predict` again",
        )
    # A model and a link to it are one.
    return _loaded(folder.resolve(), found, device, precision)


@lru_cache(maxsize=4)
def _loaded(folder: Path, card: str, device: str, precision: Precision) -> Model:
    chosen = device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    return load(folder, device=chosen, precision=precision)


def template(grid_coordinates: dict[str, Any], sizes: tuple[int, int], head: Head) -> xr.Dataset:
    """Make the empty node that `ScenePrediction` fills: the head's variables, and the scene's flags."""
    node = head.template(sizes).assign_coords(grid_coordinates)
    node["flags"] = store.empty(("y", "x"), sizes, "uint8", flags_attributes())
    return node


def blended_tiles(
    work: ScenePrediction, model: Model, job: Job
) -> Iterator[tuple[Tile, NDArray[np.float32], NDArray[np.uint8]]]:
    """Stream a job: every tile with its blended estimate (layers, y, x) and its flags."""
    lattice = Lattice(work.settings.patch, work.settings.overlap)
    columns = (job.tiles[0].keep["x"].start, job.tiles[0].keep["x"].stop)
    top, bottom = job.tiles[0].keep["y"].start, job.tiles[-1].keep["y"].stop
    blender = RowBlender(lattice, model.head.layers, columns, top)
    rows = lattice.touching(work.sizes[0], top, bottom)
    starts = lattice.touching(work.sizes[1], *columns)
    size = batch_size(model, len(lattice.starts(work.sizes[1])), work.settings.batch)
    look = Look(work.reader, work.sizes, work.statistics, model.scaling, work.settings.patch)
    batches = (batch for row in prefetch((look(int(y), starts) for y in rows), depth=1) for batch in row.batches(size))
    waiting = list(job.tiles)
    flags = np.zeros((0, columns[1] - columns[0]), dtype=np.uint8)
    for batch, values in streams_of(model).map(partial(run, model), batches):
        row = batch.row
        for start, value in zip(batch.starts, values):
            blender.add(value, row.y, int(start))
        if batch.starts[-1] < starts[-1]:
            continue
        flags = np.concatenate([flags, row.flags_from(top + flags.shape[0], columns)])
        finished = min((int(y) for y in rows if y > row.y), default=bottom)
        while waiting and waiting[0].keep["y"].stop <= finished:
            tile = waiting.pop(0)
            count = tile.keep["y"].stop - top
            yield tile, blender.take(tile.keep["y"].stop), flags[:count]
            flags, top = flags[count:], tile.keep["y"].stop
