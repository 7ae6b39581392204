"""The maps of a run as the stages see them, and the first two stages: found, then brought into the cube."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import xarray as xr

from vigie.acquire.files import local_path
from vigie.acquire.ice.nsidc import nasateam_series, read_nasateam
from vigie.acquire.series_sources import gather_series, read_series, series_hash, write_series
from vigie.apps.seaice.settings import Period, SeaIceExperiment
from vigie.core import store
from vigie.core.errors import VigieError, counted
from vigie.core.sea_ice import STATUS
from vigie.core.series import Series
from vigie.harmonize.series import SeriesFill, SeriesReader
from vigie.story.run import Run, log

GROUP = "grid/ice"
"""Node of the maps in the cube."""
BEGUN = "begun"


def settings_of(run: Run) -> SeaIceExperiment:
    """The run's settings."""
    return cast(SeaIceExperiment, run.experiment)


def acquire(run: Run) -> None:
    """Find the maps that the experiment names, and leave them in `catalog.parquet`."""
    series = gather_series(settings_of(run).acquire.sources, run.base)
    write_series(series, run.artefact("acquire"))
    run.note_files("acquire", [path for one in series if (path := local_path(one.href))])
    run.note_digest(series_hash(series))
    for one in series:
        gaps = f", {counted(one.counts['gaps'], 'day')} without a map" if one.counts["gaps"] else ""
        log.info(
            "acquire: %s, %d maps of %d x %d from %s to %s%s", one.id, one.times, *one.shape, one.begin[:10], one.end[:10], gaps
        )


def catalogued(run: Run) -> list[Series]:
    """Read the catalogue."""
    return read_series(run.artefact("acquire"))


@dataclass(frozen=True)
class Reading:
    """Reads maps of several files as if they were one; it pickles."""

    paths: tuple[Path, ...]
    firsts: tuple[int, ...]

    def __call__(self, times: slice) -> xr.Dataset:
        """Read maps, counted from the first of the first file."""
        parts = []
        for path, first, after in zip(self.paths, self.firsts, (*self.firsts[1:], times.stop), strict=True):
            start, stop = max(times.start, first), min(times.stop, after)
            if start < stop:
                parts.append(read_nasateam(path, slice(start - first, stop - first)))
        return xr.concat(parts, "time", data_vars="minimal", coords="minimal", compat="override", join="override")


def harmonize(run: Run) -> None:
    """Bring all maps into the cube, as one node, gaps filled and flagged."""
    series, path = catalogued(run), run.artefact("harmonize")
    fill = fill_of(series, path)
    if not store.marked(path, BEGUN, GROUP):
        fill.begin({"products": [one.product for one in series]})
        store.mark(path, BEGUN, GROUP)
    todo = store.pending(path, fill.tiles(), GROUP)
    with run.progress.task("harmonize", len(todo)) as advance:
        for _ in run.experiment.engine.start().map(fill, todo):
            advance()
    told = [store.marker(path, tile.name, GROUP) for tile in fill.tiles()]
    counts = {name: sum(int(one[name]) for one in told) for name in STATUS}
    log.info("harmonize: %s", ", ".join(f"{name} {count}" for name, count in counts.items()))
    if not counts["measured"]:
        raise VigieError("no map has a single measured cell", found=counts, do="look at the files of [[acquire.sources]]")


def fill_of(series: Sequence[Series], path: Path) -> SeriesFill:
    """Make the work that brings series into a cube."""
    paths = tuple(found for one in series if (found := local_path(one.href)))
    looked = [nasateam_series(one) for one in paths]
    firsts = tuple(int(n) for n in np.cumsum([0, *(len(times) for _, times, _ in looked)])[:-1])
    times = tuple(str(moment) for _, when, _ in looked for moment in when)
    return SeriesFill(Reading(paths, firsts), times, looked[0][0], path, GROUP)


def opened(run: Run) -> SeriesReader:
    """Open the node of the maps."""
    return SeriesReader(run.artefact("harmonize"), GROUP)


def days_in(reader: SeriesReader, periods: Sequence[Period], what: str) -> list[np.datetime64]:
    """Choose the days of periods that have a map.

    Raises
    ------
    VigieError: there is none.
    """
    found = [day for day in reader.days if any(np.datetime64(one.begin) <= day <= np.datetime64(one.end) for one in periods)]
    if not found:
        raise VigieError(
            f"{what} holds no map",
            found=f"maps from {reader.days[0]} to {reader.days[-1]}",
            expected=", ".join(f"{one.begin} to {one.end}" for one in periods),
            do=f"correct {what}, or add files to [[acquire.sources]]",
        )
    return found
