"""What an experiment says about labels of others, turned into the files that each swath's footprints are labelled from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

from vigie.acquire.files import digests, list_files
from vigie.acquire.granules.colocate import Positions, nearest
from vigie.acquire.granules.labels import open_labels
from vigie.acquire.granules.pairs import check_source
from vigie.acquire.granules.recognise import open_swath
from vigie.acquire.sources import expand
from vigie.core.errors import VigieError
from vigie.core.errors import nearest as nearest_word
from vigie.core.granule import Granule, LabelFile
from vigie.core.label_field import LabelField
from vigie.core.sphere import chord_km, unit_vectors

MOST_POSITIONS = 20_000
"""Of a swath or a file of labels, when it is asked whether they meet: both are thinned to so many."""


class LabelSourceSettings(BaseModel):
    """Rain rates of a radar, a grid or gauges that footprints of swaths without any are labelled with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    files: tuple[str, ...] = Field(
        min_length=1, description="paths, globs or sample: patterns of radar granules, grids or tables of gauges, or archives"
    )
    label_source: str = Field(
        default="",
        description="where the rain rates come from: radar, gauge, mixed ...; DPR, CMB and RADOLAN tell it themselves",
    )
    distance_km: float = Field(
        default=5.0, gt=0, le=100, description="how far from a footprint the centre of its labels may lie, km"
    )
    minutes: float = Field(
        default=15.0, gt=0, le=1440, description="how far from its time labels may have been measured, minutes"
    )
    least_share: float = Field(
        default=0.5, gt=0, le=1, description="share of the antenna's weight that must fall on valid labels"
    )
    channel: str = Field(
        default="", description="channel over whose footprint labels are averaged, such as '36.64V'; left out: the finest one"
    )
    variable: str = Field(default="", description="variable of rain, in NetCDF files that have several")
    units: str = Field(default="", description="its units, in NetCDF files that do not tell them")

    @field_validator("files", mode="before")
    @classmethod
    def _one_or_many(cls, files: Any) -> Any:
        return (files,) if isinstance(files, str) else files


@dataclass(frozen=True)
class Look:
    """What acquire sees of a file of labels: the file, its period, and some of its positions, `gap_km` apart at most."""

    file: LabelFile
    period: tuple[np.datetime64, np.datetime64]
    positions: Positions
    gap_km: float


def gather_labels(sources: Sequence[LabelSourceSettings], base: Path, granules: Sequence[Granule]) -> list[Granule]:
    """Tell each swath without rain rates the files that it is labelled from; swaths with their own keep them.

    Raises
    ------
    VigieError: a file holds no labels or does not say where they come from; those of a source meet no swath, in time or in
        place; or a swath would be labelled from different sources.
    """
    asking = {granule.id: granule for granule in granules if granule.channels and granule.begin and not granule.label_source}
    if sources and not asking:
        raise VigieError(
            "[[acquire.labels]] have no swath to label",
            found=f"{len(granules)} swaths, with rain rates of their own or without times",
            expected="a swath with times and without rain rates",
            do="leave out [[acquire.labels]], or add such swaths to [[acquire.sources]]",
        )
    swaths = {name: thinned(_positions(granule)) for name, granule in asking.items()} if sources else {}
    met: dict[str, list[LabelFile]] = {name: [] for name in asking}
    for source in sources:
        looks = [look(href, source) for pattern in source.files for path in expand(pattern, base) for href in list_files(path)]
        for name, file in meetings(looks, asking, swaths):
            met[name].append(file)
    return [labelled_from(granule, met.get(granule.id, [])) for granule in granules]


def look(href: str, source: LabelSourceSettings) -> Look:
    """Look at one file of labels.

    Raises
    ------
    VigieError: it cannot be read, holds no rain or no time, or does not say where its labels come from.
    """
    reader = open_labels(href, source.label_source, source.variable, source.units)
    told = reader.told
    if told and source.label_source and told != source.label_source:
        raise VigieError(
            f"{Path(href).name}: its labels come from elsewhere", found=told, expected=f"label_source '{source.label_source}'"
        )
    if not told:
        check_source(Path(href), source.label_source)
    times = reader.times[~np.isnat(reader.times)]
    if not times.size:
        raise VigieError(f"{Path(href).name} does not tell when its rain fell", expected="times", do="leave it out")
    positions, gap_km = thinned(reader.positions())
    period = times.min(), times.max()
    begin, end = (np.datetime_as_string(moment, unit="ms") + "Z" for moment in period)
    file = LabelFile(
        href=href,
        label_source=told or source.label_source,
        begin=begin,
        end=end,
        sha256=digests([href])[href],
        **source.model_dump(include={"distance_km", "minutes", "least_share", "channel", "variable", "units"}),
    )
    return Look(file, period, positions, gap_km)


def meetings(
    looks: Sequence[Look], granules: dict[str, Granule], swaths: dict[str, tuple[Positions, float]]
) -> Iterator[tuple[str, LabelFile]]:
    """Name the swaths that files of one source meet, in time and in place.

    Raises
    ------
    VigieError: there is none.
    """
    in_time = [(seen, name) for seen in looks for name, granule in granules.items() if overlaps(seen, granule)]
    if not in_time:
        raise VigieError(
            "labels and swaths do not overlap in time",
            found=f"labels {_from_to([s.file.begin for s in looks], [s.file.end for s in looks])}, swaths "
            f"{_from_to([g.begin or '' for g in granules.values()], [g.end or '' for g in granules.values()])}",
            expected=f"within {looks[0].file.minutes:g} minutes",
            do="correct files or minutes of [[acquire.labels]]",
        )
    met = [(name, seen.file) for seen, name in in_time if meets(seen, *swaths[name])]
    if not met:
        raise VigieError(
            "labels and swaths do not overlap in place",
            found=f"labels in {_box([seen.positions for seen, _ in in_time])}, swaths of their time in "
            f"{_box([swaths[name][0] for _, name in in_time])}",
            expected=f"within {looks[0].file.distance_km:g} km",
            do="correct files of [[acquire.labels]]",
        )
    yield from met


def labelled_from(granule: Granule, files: Sequence[LabelFile]) -> Granule:
    """Give a swath the files that it is labelled from.

    Raises
    ------
    VigieError: their labels come from different sources, which differ on the same footprint, or the swath lacks the channel
        over whose footprint they are averaged.
    """
    if not files:
        return granule
    for file in files:
        if file.channel and file.channel not in granule.channels:
            raise VigieError(
                f"swath '{granule.id}' has no channel '{file.channel}'",
                expected=", ".join(granule.channels),
                do=nearest_word(file.channel, granule.channels) or "correct channel of [[acquire.labels]]",
            )
    sources = sorted({file.label_source for file in files})
    if len(sources) > 1:
        raise VigieError(
            f"swath '{granule.id}' would be labelled from different sources",
            found=", ".join(sources),
            expected="one label_source for each swath",
            do="leave one of them out of [[acquire.labels]]",
        )
    return replace(granule, labels=tuple(files), label_source=sources[0], rain=True)


def read_fields(
    file: LabelFile, period: tuple[np.datetime64, np.datetime64], latitudes: tuple[float, float]
) -> Iterator[LabelField]:
    """Read what a file of labels measured in a period, between two latitudes at least."""
    reader = open_labels(file.href, file.label_source, file.variable, file.units)
    yield from reader.fields(period, latitudes)


def overlaps(seen: Look, granule: Granule) -> bool:
    """Say whether a file of labels was measured while a swath was seen, give or take the minutes that it may."""
    if granule.begin is None or granule.end is None:
        return False
    # A granule's times are told to the second.
    margin = np.timedelta64(round(seen.file.minutes * 60) + 1, "s")
    begin, end = (np.datetime64(moment.removesuffix("Z"), "ns") for moment in (granule.begin, granule.end))
    return bool(seen.period[0] <= end + margin and seen.period[1] >= begin - margin)


def meets(seen: Look, positions: Positions, gap_km: float) -> bool:
    """Say whether labels may lie near footprints; both are thinned, so that a near miss counts."""
    return bool((nearest(positions, seen.positions, seen.file.distance_km + gap_km + seen.gap_km) >= 0).any())


def thinned(positions: Positions) -> tuple[Positions, float]:
    """Keep some positions (row, column), and tell how far from one of them any may lie, km.

    Examples
    --------
    >>> (latitude, _), gap_km = thinned(tuple(np.mgrid[0.0:3.0:0.01, 0.0:3.0:0.01]))
    >>> latitude.shape, round(gap_km)
    ((101, 101), 3)
    """
    latitude, longitude = positions
    step = max(1, int(np.ceil(np.sqrt(latitude.size / MOST_POSITIONS))))
    kept = np.ix_(*(_kept(size, min(step, size)) for size in latitude.shape))
    place = unit_vectors(latitude[kept], longitude[kept])
    gaps = [chord_km(place[1:], place[:-1]), chord_km(place[:, 1:], place[:, :-1])]
    known = np.concatenate([gap[np.isfinite(gap)] for gap in gaps])
    return (latitude[kept], longitude[kept]), float(known.max()) if step > 1 and known.size else 0.0


def _kept(size: int, step: int) -> NDArray[np.intp]:
    """Every so many of a dimension, and its last."""
    return np.unique(np.append(np.arange(0, size, step), size - 1))


def _positions(granule: Granule) -> Positions:
    swath = open_swath(Path(granule.href))
    return swath["latitude"].values, swath["longitude"].values


def _from_to(begins: Sequence[str], ends: Sequence[str]) -> str:
    return f"{min(begins)[:16]} to {max(ends)[:16]}"


def _box(positions: Sequence[Positions]) -> str:
    """Tell where positions lie, in whole degrees."""
    low, high = (
        [function([function(part[axis]) for part in positions]) for axis in (0, 1)] for function in (np.nanmin, np.nanmax)
    )
    return f"{low[0]:.0f}..{high[0]:.0f} N {low[1]:.0f}..{high[1]:.0f} E"
