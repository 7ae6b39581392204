"""The swaths of a run as the stages see them, and the first two stages: found, then brought into the cube."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.acquire.files import local_path
from vigie.acquire.granules.recognise import open_swath
from vigie.acquire.label_sources import gather_labels, read_fields
from vigie.acquire.swath_sources import gather_granules, granules_hash, read_granules, write_granules
from vigie.apps.precipitation.settings import PrecipitationExperiment
from vigie.core.errors import VigieError, counted
from vigie.core.granule import Granule
from vigie.core.store import whole_folder
from vigie.core.swath import LABEL_STATUS
from vigie.core.tiles import Tile
from vigie.harmonize.swath import SwathFill, SwathReader
from vigie.harmonize.swath_labels import with_labels
from vigie.learn.swath_folds import fold_of_pixels, folds_in
from vigie.story.run import NOTES, Run, log

FOLDS = "folds.json"
"""File that names the folds of each labelled swath."""


def settings_of(run: Run) -> PrecipitationExperiment:
    """The run's settings."""
    return cast(PrecipitationExperiment, run.experiment)


def group_of(granule: Granule) -> str:
    """Node of a granule in the cube and in the prediction."""
    return f"swath/{granule.id}"


def acquire(run: Run) -> None:
    """Find the swaths that the experiment names, and labels for them, and leave them in `catalog.parquet`."""
    granules = gathered(run)
    check_granules(granules)
    write_granules(granules, run.artefact("acquire"))
    run.note_files("acquire", read_by(granules))
    run.note_digest(granules_hash(granules))
    for granule in granules:
        told = ", ".join(f"{name.removeprefix('count_')} {number}" for name, number in granule.counts.items() if number)
        log.info("acquire: %s, %d x %d %s%s", granule.id, granule.scans, granule.pixels, granule.sensor, told and f": {told}")
        if granule.labels:
            log.info(
                "acquire: %s, labels of %s from %s", granule.id, granule.label_source, counted(len(granule.labels), "file")
            )


def gathered(run: Run) -> list[Granule]:
    """Look at the files that the experiment names: swaths, each with the files that it is labelled from."""
    settings = settings_of(run).acquire
    return gather_labels(settings.labels, run.base, gather_granules(settings.sources, run.base))


def read_by(granules: list[Granule]) -> list[Path]:
    """Name the files on disk that swaths and their labels are read from."""
    hrefs = [href for granule in granules for href in (granule.href, *(file.href for file in granule.labels))]
    found = [local_path(href) for href in dict.fromkeys(hrefs)]
    return list(dict.fromkeys(path for path in found if path is not None))


def check_granules(granules: list[Granule]) -> None:
    """Refuse swaths from which nothing could be retrieved."""
    empty = [granule.id for granule in granules if not granule.channels]
    if empty:
        raise VigieError(
            "swaths without brightness temperatures take no part",
            found=", ".join(empty),
            expected="radiometer swaths or tables of footprints",
            do="leave them out of [[acquire.sources]]",
        )
    if not any(granule.rain for granule in granules):
        raise VigieError(
            "no swath has rain rates to learn from",
            found=counted(len(granules), "swath"),
            expected="at least one with labels",
            do="add a table or swath with rain rates to [[acquire.sources]], or [[acquire.labels]]",
        )


def harmonize(run: Run) -> None:
    """Bring every swath into the cube, as one node, with labels of others on its footprints."""
    path = run.artefact("harmonize")
    fills = [SwathFill(g, partial(scans_of, g), partial(labels_on, g), path, group_of(g)) for g in catalogued(run)]
    for fill in fills:
        fill.begin()
    tasks = [(fill, tile) for fill in fills for tile in fill.pending()]
    with run.progress.task("harmonize", len(tasks)) as advance:
        for name in run.experiment.engine.start().map(filled, tasks):
            advance(note=name)
    for fill in fills:
        counts = fill.counts()
        flagged = ", ".join(f"{name} {n}" for name, n in counts.items() if n and name not in ("pixels", "labelled"))
        log.info("harmonize: %s, %d pixels, %s", fill.granule.id, counts["pixels"], flagged or "nothing flagged")
        if counts["nodata"] == counts["pixels"]:
            log.warning("harmonize: swath '%s' has no brightness temperature at all", fill.granule.id)
        if counts.get("labelled") == 0:
            log.warning("harmonize: swath '%s' got no label", fill.granule.id)
        elif fill.granule.labels:
            log.info("harmonize: %s, %d pixels labelled", fill.granule.id, counts["labelled"])
    check_labelled([fill.counts() for fill in fills if fill.granule.labels])


def check_labelled(counts: list[dict[str, int]]) -> None:
    """Refuse labels of others that no footprint got.

    Raises
    ------
    VigieError: see above.
    """
    total = {name: sum(each[name] for each in counts) for name in LABEL_STATUS}
    if counts and not total["labelled"]:
        told = ", ".join(f"{name.replace('_', ' ')} {number}" for name, number in total.items() if number)
        raise VigieError(
            "no footprint got a label from [[acquire.labels]]",
            found=told,
            expected="labels within distance_km and minutes of some footprint, least_share of them valid",
            do="correct files, distance_km, minutes or least_share of [[acquire.labels]]",
        )


def filled(task: tuple[SwathFill, Tile]) -> str:
    """Write one tile of one swath; give its name."""
    fill, tile = task
    return fill(tile)


def scans_of(granule: Granule, window: slice) -> xr.Dataset:
    """Read some scans of a granule from its file."""
    return open_swath(Path(granule.href), window, "" if granule.labels else granule.label_source)


def labels_on(granule: Granule, scans: xr.Dataset) -> xr.Dataset:
    """Give scans of a granule the rain rates of the files that it is labelled from, if any."""
    return with_labels(scans, granule.labels, read_fields)


def catalogued(run: Run) -> list[Granule]:
    """Granules of the catalogue."""
    return read_granules(run.artefact("acquire"))


def opened(run: Run, granule: Granule) -> SwathReader:
    """Open a swath of the cube."""
    return SwathReader(run.artefact("harmonize"), group_of(granule))


@dataclass(frozen=True)
class LabelledSwath:
    """A swath with rain rates, nothing of it loaded, and the folds that test on its pixels."""

    granule: Granule
    reader: SwathReader
    folds: tuple[int, ...]
    owners: Path

    @property
    def data(self) -> xr.Dataset:
        """The swath, lazily: what is read of it is forgotten with the dataset."""
        return SwathReader(self.reader.path, self.reader.group).dataset

    @property
    def fold(self) -> NDArray[np.int16]:
        """Fold that tests on each pixel (scan, pixel), -1 where none does; read from the disk where it is looked at."""
        owners: NDArray[np.int16] = np.load(self.owners, mmap_mode="r")
        return owners


def labelled(run: Run) -> list[LabelledSwath]:
    """Give the swaths that have rain rates, and the folds of their pixels; nothing is loaded."""
    folder, table = fold_folder(run), fold_table(run)
    return [
        LabelledSwath(granule, opened(run, granule), table[granule.id], folder / f"{granule.id}.npy")
        for granule in catalogued(run)
        if granule.label_source
    ]


def fold_table(run: Run) -> dict[str, tuple[int, ...]]:
    """Name the folds that test on a part of each labelled swath."""
    table = json.loads((fold_folder(run) / FOLDS).read_text(encoding="utf-8"))
    return {name: tuple(folds) for name, folds in table.items()}


def fold_folder(run: Run) -> Path:
    """Share the pixels of labelled swaths out among folds, once a run, and give the folder where that is written down.

    Beside `folds.json`, which names the folds of each swath, lies an array (scan, pixel) for each: 2 bytes a pixel, of which
    only what is asked for is read. Only positions, groups, times and water vapour are looked at, never temperatures.
    """
    settings = settings_of(run).train.folds
    depends_on = json.dumps([run.fingerprint("harmonize"), settings.model_dump(mode="json")])
    folder = run.folder / NOTES / "folds" / hashlib.sha256(depends_on.encode()).hexdigest()[:16]
    if not (folder / FOLDS).is_file():
        granules = [granule for granule in catalogued(run) if granule.label_source]
        found = fold_of_pixels([opened(run, granule).dataset for granule in granules], settings) if granules else []
        shutil.rmtree(folder.parent, ignore_errors=True)  # of other settings
        with whole_folder(folder) as draft:
            for granule, owners in zip(granules, found, strict=True):
                np.save(draft / f"{granule.id}.npy", owners)
            table = {granule.id: folds_in([owners]) for granule, owners in zip(granules, found, strict=True)}
            (draft / FOLDS).write_text(json.dumps(table), encoding="utf-8")
    return folder
