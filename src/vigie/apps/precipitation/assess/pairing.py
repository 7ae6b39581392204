"""Bring a product and a reference together: footprint by footprint, cell by cell, place by place, or as averages of cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.acquire.granules.colocate import coincide
from vigie.apps.precipitation.assess.areas import common_area, how_cells_count
from vigie.apps.precipitation.assess.bins import averages
from vigie.apps.precipitation.assess.matching import Cells, chosen, same_cells
from vigie.apps.precipitation.assess.record import DAY_H, Part, Record, Texts, groups_of, steps_at_once
from vigie.apps.precipitation.assess.settings import AssessmentSettings, ProductSettings
from vigie.core.errors import VigieError, counted

Floats = NDArray[np.float64]

SAME_CENTRE_DEG = 0.02
"""Mean positions of one granule in two files differ by less."""
SAME_TIME = np.timedelta64(30, "m")
"""Granules that begin further apart are different overpasses."""


@dataclass(frozen=True)
class Match:
    """Some steps of a product beside the reference, in the unit of the pairing, with the group and the number of each step.

    `quantiles` (level, step, ...) at `levels`, or `members` (member, step, ...), where the product has them; `area` of each
    rate, about 1 on average, None where all count alike; `fields` says whether (step, y, x) are images.
    """

    estimate: Floats
    truth: Floats
    group: Texts
    step: NDArray[np.int64]
    quantiles: Floats | None = None
    levels: Floats | None = None
    members: Floats | None = None
    area: Floats | None = None
    fields: bool = False

    def only(self, steps: NDArray[np.bool_]) -> Match:
        """Keep some steps."""
        layers = (None if part is None else part[:, steps] for part in (self.quantiles, self.members))
        quantiles, members = layers
        estimate, truth, group, step = self.estimate[steps], self.truth[steps], self.group[steps], self.step[steps]
        area = None if self.area is None else self.area[steps]
        return Match(estimate, truth, group, step, quantiles, self.levels, members, area, self.fields)


@dataclass(frozen=True)
class Pairing:
    """How a product and the reference come together: in words, the unit of both, and the matches, read when asked.

    `cells` says which places or cells of both are the same, None where there are none; `area` (y, x) how much those of the
    product's grid cover, 1 on average over the common cells, None where places or cells count alike; `grouped` what intervals
    resample.
    """

    product: Record
    reference: Record
    how: str
    units: str
    grouped: str
    matches: Callable[[], Iterator[Match]]
    cells: Cells | None = None
    area: xr.DataArray | None = None
    cell_km: float = np.nan
    own_weather: bool = False
    notes: tuple[str, ...] = field(default_factory=tuple)

    @property
    def daily(self) -> bool:
        """Whether rates are of days."""
        return self.units == "mm day-1"


def pair(product: Record, reference: Record, said: ProductSettings, settings: AssessmentSettings) -> Pairing:
    """Bring two records together, in the first way that they allow.

    Raises
    ------
    VigieError: they have no place or time in common, or weather of its own has no places in common; places are named that they
        do not share.
    """
    own = said.weather == "own"
    cells = None
    if product.geometry == reference.geometry != "swath" and abs(product.step_h - reference.step_h) < 1e-6:
        cells = same_cells(product, reference, settings.pairing.within_km)
    if settings.pairing.only:
        cells = chosen(cells, settings.pairing.only)
    if cells is not None:
        return _series(product, reference, cells, own)
    if product.geometry == reference.geometry == "swath":
        found = _footprints(product, reference)
        if found is not None:
            return found
    if own:
        raise VigieError(
            f"'{product.name}' has weather of its own, and no places in common with '{reference.name}'",
            found=f"{product.geometry} in steps of {product.step_h:g} h, {reference.geometry} of {reference.step_h:g} h",
            expected="the same places, or one grid, and steps of one length",
            do="bring both to one grid first",
        )
    return _averages(product, reference, settings)


def _footprints(product: Record, reference: Record) -> Pairing | None:
    """Pair granules that see the same footprints; None where there are none."""
    pairs = [(part, other) for part in product.parts if (other := _counterpart(part, reference.parts)) is not None]
    if not pairs:
        return None
    left = len(product.parts) - len(pairs)
    notes = (f"{counted(left, 'granule')} of {product.name} without the same footprints in {reference.name} take no part.",)

    def matches() -> Iterator[Match]:
        before = 0
        for part, other in pairs:
            steps = steps_at_once(part.sizes.values(), product.layers + 2)
            for start in range(0, part.time.size, steps):
                window = slice(start, min(start + steps, part.time.size))
                ours, theirs = part.read(window), other.read(window)
                if not coincide(_positions(ours), _positions(theirs)):
                    raise VigieError(f"{part.name} and {other.name} have other footprints", do="give one granule once")
                group = np.where(other.group[window] != "", other.group[window], part.group[window])
                number = before + np.arange(window.start, window.stop)
                yield _match(ours, theirs, (group, number), 1.0, min(part.time.size, *part.sizes.values()) > 1)
            before += part.time.size

    how = f"footprint by footprint: {product.name} and {reference.name} have the same positions"
    return Pairing(
        product, reference, how, "mm h-1", "orbits or days", matches, cell_km=product.cell_km, notes=notes if left else ()
    )


def _counterpart(part: Part, others: Sequence[Part]) -> Part | None:
    for other in others:
        alike = part.sizes == other.sizes and part.time.size == other.time.size
        apart = np.abs(np.array(part.centre) - np.array(other.centre)).max()
        if alike and apart < SAME_CENTRE_DEG and not _begin_apart(part.time, other.time):
            return other
    return None


def _begin_apart(one: NDArray[np.datetime64], other: NDArray[np.datetime64]) -> bool:
    known = [times[~np.isnat(times)] for times in (one, other)]
    return all(times.size for times in known) and bool(abs(known[0][0] - known[1][0]) > SAME_TIME)


def _positions(data: xr.Dataset) -> tuple[Floats, Floats]:
    return data["latitude"].values, data["longitude"].values


def _series(product: Record, reference: Record, cells: Cells, own: bool) -> Pairing:
    """Pair steps of the same time at the same places."""
    daily = product.daily and reference.daily
    scale, units = (DAY_H, "mm day-1") if daily else (1.0, "mm h-1")
    runs = list(_common_runs(product, reference))
    if not runs:
        raise no_overlap(product, reference)
    groups, grouped = groups_of(np.concatenate([run.keys for run in runs]))
    starts = np.cumsum([0, *(run.keys.size for run in runs)])
    area = common_area(product, cells)
    each = None if area is None else cells.pick(area.to_dataset(name="area"), 0)["area"].values

    def matches() -> Iterator[Match]:
        for run, start in zip(runs, starts):
            ours, theirs = (
                cells.pick(part.read(steps), which)
                for which, (part, steps) in enumerate(((run.part, run.steps), (run.other, run.other_steps)))
            )
            number = np.arange(start, start + run.keys.size)
            fields = product.geometry == "grid" and not own
            yield _match(ours, theirs, (groups[number], number), scale, fields, each)

    how = f"{cells.how}, at the {counted(int(starts[-1]), 'time')} that both have"
    notes: tuple[str, ...] = ("Days of its own weather: only climates are compared, not days.",) if own else ()
    notes += how_cells_count(product, area)
    return Pairing(product, reference, how, units, grouped, matches, cells, area, product.cell_km, own, notes)


@dataclass(frozen=True)
class _Run:
    """Consecutive steps of one file each, of the same times."""

    part: Part
    steps: slice
    other: Part
    other_steps: slice
    keys: Texts


def _common_runs(product: Record, reference: Record) -> Iterator[_Run]:
    """Find the times that both have, in pieces that fit in memory."""
    daily = product.daily and reference.daily
    there = {key: (part, number) for part in reference.parts for number, key in enumerate(part.keys(daily).tolist()) if key}
    most = steps_at_once(product.parts[0].sizes.values(), product.layers + 2)
    for part in product.parts:
        keys = part.keys(daily)
        here = [(number, *there[key]) for number, key in enumerate(keys.tolist()) if key in there]
        begin = 0
        for end in range(1, len(here) + 1):
            whole = end < len(here) and end - begin < most and _follows(here[end - 1], here[end])
            if not whole:
                first, last = here[begin], here[end - 1]
                steps, other_steps = slice(first[0], last[0] + 1), slice(first[2], last[2] + 1)
                yield _Run(part, steps, first[1], other_steps, keys[steps])
                begin = end


def _follows(one: tuple[int, Part, int], following: tuple[int, Part, int]) -> bool:
    return following[0] == one[0] + 1 and following[1] is one[1] and following[2] == one[2] + 1


def _averages(product: Record, reference: Record, settings: AssessmentSettings) -> Pairing:
    """Average both over cells and intervals, and pair the averages."""
    pairing = settings.pairing
    for record in (product, reference):
        if record.step_h > pairing.hours * (1 + 1e-6):
            raise VigieError(
                f"'{record.name}' has steps of {record.step_h:g} h, which are longer than what is averaged",
                found=f"intervals of {pairing.hours:g} h",
                expected="intervals that hold whole steps of both",
                do=f"set pairing.hours = {record.step_h:g}" if record.step_h <= DAY_H else "bring both to steps of one length",
            )
    found = averages(product, reference, pairing.cell_deg, pairing.hours)
    if found is None:
        raise no_overlap(product, reference)
    groups, grouped = groups_of(found.key)
    how = (
        f"{product.name} and {reference.name} are at other places or times, so both are averaged over cells of "
        f"{pairing.cell_deg:g} degrees and intervals of {pairing.hours:g} h; {found.key.size:,} averages that both have"
    )
    notes = (
        "Averages are weaker than what was averaged, in both; distributions are not averaged.",
        "Averages count by the area of their cell; within a cell all that was seen counts alike.",
    )
    match = Match(found.product, found.reference, groups, np.arange(found.key.size), area=found.area)
    return Pairing(product, reference, how, "mm h-1", grouped, lambda: iter((match,)), notes=notes)


def no_overlap(product: Record, reference: Record) -> VigieError:
    """Say that two records have nothing in common, with the span of each."""
    return VigieError(
        f"'{product.name}' and '{reference.name}' have no place and time in common",
        found="; ".join(_span(record) for record in (product, reference)),
        expected="the same places and times in both",
        do="choose files of the same days and region",
    )


def _span(record: Record) -> str:
    known = sorted(key for key in record.keys if key)
    return f"{record.name} {known[0]} to {known[-1]}" if known else f"{record.name} without times"


def _match(
    ours: xr.Dataset,
    theirs: xr.Dataset,
    steps: tuple[Texts, NDArray[np.int64]],
    scale: float,
    fields: bool,
    area: Floats | None = None,
) -> Match:
    """Put data of the same steps, with their groups and numbers, and of the same places side by side, in the unit wanted."""
    quantiles = ours["rain_quantile"].values.astype(np.float64) * scale if "rain_quantile" in ours else None
    members = ours["rain_member"].values.astype(np.float64) * scale if "rain_member" in ours else None
    levels = ours["quantile"].values.astype(np.float64) if quantiles is not None else None
    estimate, truth = (data["rain"].values.astype(np.float64) * scale for data in (ours, theirs))
    each = None if area is None else np.broadcast_to(area, truth.shape)
    return Match(estimate, truth, *steps, quantiles, levels, members, each, fields)
