"""What one fold's model learns from: the swaths as it is shown them, and whose labels and temperatures are changed for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vigie.apps.precipitation.settings import TrainSettings
from vigie.apps.precipitation.swaths import LabelledSwath, catalogued, opened, settings_of
from vigie.core.errors import VigieError
from vigie.learn.adaptation import fit_coral
from vigie.learn.folds import NEVER
from vigie.learn.hybrid import fit_label_map
from vigie.learn.retrieval_inputs import OBSERVED, Inputs, clear_sky_of
from vigie.learn.retrieval_model import chosen_channels
from vigie.learn.swaths import (
    ChannelScaling,
    Choice,
    Floats,
    Footprints,
    footprints,
    learnt_from,
    measure,
    standardised,
    trusted,
    without_rain,
)
from vigie.learn.translation import Domain, fit_translation, rain_classes, translate, wet_edges
from vigie.story.run import Run
from vigie.story.scenes import fold_name

CALIBRATION_SHARE = 5
"""One group in so many is set aside: it tells what familiar pixels look like, and how often intervals cover."""
ROWS = 20_000
"""Rows that statistics of two domains are measured on, at most: more say no more."""
WET_MM_H, CLASSES = 0.1, 4
"""Rain that is rain, and classes of it within which temperatures are carried from one domain to another."""


@dataclass(frozen=True)
class Material:
    """What one fold's model learns from.

    parts: labelled swaths; others: those that it adapts to, whose rain is not looked at; learnt: which pixels of a part are
    learnt from, aside: which are set aside to calibrate on.
    """

    fold: int
    inputs: Inputs
    parts: Sequence[Footprints]
    others: Sequence[Footprints]
    scaling: ChannelScaling
    learnt: Choice
    aside: Choice


Change = Callable[[Sequence[Footprints]], list[Footprints]]


def material(run: Run, swaths: Sequence[LabelledSwath], fold: int) -> Material:
    """Gather what a fold's model learns from.

    Raises
    ------
    VigieError: a simulated or an observed label source has no labels, or there is nothing to adapt to.
    """
    settings, folder = settings_of(run).train, run.artefact("train") / ".training" / fold_name(fold) / "footprints"
    inputs = inputs_of(run, swaths, fold)
    parts = [mapped(taken(run, swath, inputs), folder) for swath in swaths]
    others = adapted_to(run, parts, inputs, fold, folder)
    learnt, aside = choices(settings, parts, fold)
    changes = (matched(settings, learnt), translated(settings, learnt), recoloured(settings, others, learnt))
    parts = reduce(lambda made, change: [mapped(part, folder) for part in change(made)], changes, parts)
    return Material(fold, inputs, parts, others, measure(parts, learnt), learnt, aside)


def inputs_of(run: Run, swaths: Sequence[LabelledSwath], fold: int) -> Inputs:
    """Say what networks are shown, with the clear sky of what the fold does not hold out where they are shown departures."""
    settings = settings_of(run).train
    inputs = Inputs(channels_of(swaths, settings.channels), settings.seen.ancillary, settings.seen.layers)
    if "departure" not in inputs.layers:
        return inputs
    loaded = [opened(run, swath.granule)({}) for swath in swaths]
    rows = [without_rain(d) & trusted(d) & ((s.fold != fold) | (fold < 0)) for d, s in zip(loaded, swaths, strict=True)]
    told = [(data, chosen) for data, chosen in zip(loaded, rows, strict=True) if chosen.any()]
    if not told:
        raise VigieError(
            "there is no clear sky to depart from",
            found="no footprint outside the fold that is known to be dry",
            expected="swaths with rain rates of 0, or with a phase of 'none'",
            do="add such a table to [[acquire.sources]], or leave 'departure' out of layers",
        )
    return replace(inputs, clear_sky=clear_sky_of([data for data, _ in told], inputs.channels, [chosen for _, chosen in told]))


def channels_of(swaths: Sequence[LabelledSwath], wanted: Sequence[str]) -> tuple[str, ...]:
    """Name the channels that are learnt from: those that every labelled swath has."""
    first, *others = [swath.granule.channels for swath in swaths]
    there = tuple(name for name in first if all(name in other for other in others))
    return chosen_channels(there, wanted)


def taken(run: Run, swath: LabelledSwath, inputs: Inputs) -> Footprints:
    """Take of a swath what networks are shown, and say whether its labels are observed where they are told."""
    settings, data = settings_of(run).train, opened(run, swath.granule)({})
    if OBSERVED in settings.seen.ancillary:
        flag = np.full(data["latitude"].shape, float(swath.granule.label_source in settings.hybrid.observed), dtype=np.float32)
        data[OBSERVED] = (("scan", "pixel"), flag)
    return footprints(data, inputs, swath.fold, settings.regimes)


def mapped(part: Footprints, folder: Path) -> Footprints:
    """Keep the arrays of a swath in files, from which pages are read as they are needed: many orbits do not fit into memory."""
    folder.mkdir(parents=True, exist_ok=True)
    kept: dict[str, NDArray[np.generic]] = {}
    for name in ("x", "temperature", "y"):
        values: NDArray[np.generic] = getattr(part, name)
        if isinstance(values, np.memmap):
            continue
        path = folder / f"{part.id}-{name}.npy"
        draft = path.with_suffix(".draft.npy")
        np.save(draft, values)
        draft.replace(path)
        kept[name] = np.load(path, mmap_mode="r")
    return replace(part, **kept)  # type: ignore[arg-type]


def choices(settings: TrainSettings, parts: Sequence[Footprints], fold: int) -> tuple[Choice, Choice]:
    """Say which pixels are learnt from, and which are set aside: whole groups, where intervals are calibrated.

    Simulated labels calibrate nothing.
    """
    real = [part for part in parts if not simulated(settings, part)]
    units = np.unique(np.concatenate([part.unit[learnt_from(part, fold).any(axis=1)] for part in real]))
    kept = units[::CALIBRATION_SHARE]

    def aside(part: Footprints) -> NDArray[np.bool_]:
        chosen = np.isin(part.unit, kept) & (not simulated(settings, part))
        return learnt_from(part, fold) & chosen[:, None]

    def learnt(part: Footprints) -> NDArray[np.bool_]:
        return learnt_from(part, fold) & ~aside(part) if settings.sets_aside else learnt_from(part, fold)

    return learnt, aside


def adapted_to(run: Run, parts: Sequence[Footprints], inputs: Inputs, fold: int, folder: Path) -> list[Footprints]:
    """Take the pixels that the model adapts to, without their rain; none where it does not adapt."""
    settings = settings_of(run).train.adapt
    if settings.method == "none":
        return []
    if settings.to == "held-out":
        found = [replace(part, y=np.where(part.fold == fold, 0, np.nan).astype(np.float32)) for part in parts if fold != NEVER]
    else:
        bare = [granule for granule in catalogued(run) if not granule.label_source]
        found = []
        for granule in bare:
            missing = sorted(set(inputs.channels) - set(granule.channels))
            if missing:
                raise VigieError(
                    f"swath '{granule.id}' cannot be adapted to: it lacks channels that are learnt from",
                    found=f"no {', '.join(missing)}; it has {', '.join(granule.channels)}",
                    expected="the channels of the labelled swaths",
                    do="name in train.channels those that all have, or leave the swath out",
                )
            data = opened(run, granule)({})
            made = footprints(data, inputs, np.full(data["latitude"].shape, NEVER, dtype=np.int16))
            found.append(replace(made, y=np.zeros(made.fold.shape, dtype=np.float32)))
    if not found:
        raise VigieError(
            "there is nothing to adapt to",
            found="no swath without rain rates" if settings.to == "unlabelled" else "a model that holds out nothing",
            expected="swaths without rain rates" if settings.to == "unlabelled" else "train.final = false, and folds",
            do="change train.adapt.to, or set train.adapt.method = 'none'",
        )
    # A rain rate of 0 marks what is looked at, and reaches no loss.
    return [mapped(replace(part, id=f"{part.id}-adapted-to"), folder) for part in found]


def simulated(settings: TrainSettings, part: Footprints) -> bool:
    """Say whether the labels of a swath are simulated."""
    return settings.hybrid.simulates(part.source)


def simulated_and_observed(settings: TrainSettings, parts: Sequence[Footprints], learnt: Choice) -> list[list[Footprints]]:
    """Tell apart swaths with simulated labels and those with observed ones.

    Raises
    ------
    VigieError: nothing is learnt from one of the two.
    """
    sides = [[part for part in parts if simulated(settings, part) is wanted] for wanted in (True, False)]
    if not all(any(learnt(part).any() for part in side) for side in sides):
        raise VigieError(
            "there is nothing to carry simulated labels to, or none to carry",
            found="a fold that holds out all simulated or all observed labels",
            expected="labels of both to learn from in every fold",
            do="hold out by something else in train.folds, or leave labels and temperatures of train.hybrid as they are",
        )
    return sides


def matched(settings: TrainSettings, learnt: Choice) -> Change:
    """Give simulated rain rates the distribution of observed ones, of what is learnt from."""

    def change(parts: Sequence[Footprints]) -> list[Footprints]:
        if settings.hybrid.labels == "as-they-are":
            return list(parts)
        sides = simulated_and_observed(settings, parts, learnt)
        made_up, real = (np.concatenate([part.y[learnt(part)] for part in side]) for side in sides)
        found = fit_label_map(made_up, real)
        return [replace(p, y=found(p.y).astype(np.float32)) if simulated(settings, p) else p for p in parts]

    return change


def translated(settings: TrainSettings, learnt: Choice) -> Change:
    """Carry simulated temperatures to where observed ones of the same rain are; rows with gaps teach nothing afterwards.

    Ancillary fields, and the one that tells which labels are observed, stay as they are.
    """

    def change(parts: Sequence[Footprints]) -> list[Footprints]:
        if settings.hybrid.temperatures == "as-they-are":
            return list(parts)
        carried = [k for k, name in enumerate(parts[0].names) if name not in settings.seen.ancillary]
        narrow = [seen_as(part, carried) for part in parts]
        scaling = measure(narrow, learnt)
        sides = simulated_and_observed(settings, narrow, learnt)
        drawn = [rows_of(side, learnt, scaling) for side in sides]
        edges = wet_edges(torch.from_numpy(np.concatenate([y for _, y in drawn])), WET_MM_H, CLASSES)
        source, target = (Domain(torch.from_numpy(z), rain_classes(torch.from_numpy(y), edges)) for z, y in drawn)
        network = fit_translation(source, target)

        def moved(part: Footprints) -> Footprints:
            seen = seen_as(part, carried)
            z = standardised(seen.x, seen.names, scaling).numpy().astype(np.float32)
            whole = np.isfinite(z).all(axis=-1) & np.isfinite(part.y)
            rows = Domain(torch.from_numpy(z[whole]), rain_classes(torch.from_numpy(part.y[whole]), edges))
            z[whole] = translate(network, rows, int(source.classes.max()) + 1).numpy()
            x = np.array(part.x)
            x[..., carried] = unstandardised(z, seen.names, scaling)
            return replace(part, x=x, y=np.where(whole, part.y, np.nan).astype(np.float32))

        return [moved(part) if simulated(settings, part) else part for part in parts]

    return change


def seen_as(part: Footprints, columns: Sequence[int]) -> Footprints:
    """Leave some columns of what is seen."""
    chosen = list(columns)
    return replace(part, x=part.x[..., chosen], names=tuple(part.names[k] for k in chosen), bands=part.bands[chosen])


def recoloured(settings: TrainSettings, others: Sequence[Footprints], learnt: Choice) -> Change:
    """Give inputs that are learnt from mean and covariance of those adapted to; rows with gaps teach nothing afterwards."""

    def change(parts: Sequence[Footprints]) -> list[Footprints]:
        if settings.adapt.method != "coral":
            return list(parts)
        scaling = measure(parts, learnt)
        source, _ = rows_of(parts, learnt, scaling)
        target, _ = rows_of(others, lambda part: np.isfinite(part.y), scaling)
        coral = fit_coral(source, target, settings.adapt.ridge)

        def moved(part: Footprints) -> Footprints:
            z = standardised(part.x, part.names, scaling).numpy()
            made = coral(z.reshape(-1, z.shape[-1])).reshape(z.shape).astype(np.float32)
            whole = np.isfinite(made).all(axis=-1)
            return replace(
                part, x=unstandardised(made, part.names, scaling), y=np.where(whole, part.y, np.nan).astype(np.float32)
            )

        return [moved(part) for part in parts]

    return change


def rows_of(parts: Sequence[Footprints], chosen: Choice, scaling: ChannelScaling) -> tuple[Floats, Floats]:
    """Standardised inputs (n, B) without gaps, and rain rates (n,), of chosen pixels, evenly thinned to a bounded number."""
    x, y = [], []
    for part in parts:
        where = chosen(part)
        x.append(standardised(part.x[where], part.names, scaling).numpy())
        y.append(part.y[where])
    table, rain = np.concatenate(x), np.concatenate(y)
    whole = np.flatnonzero(np.isfinite(table).all(axis=1))
    kept = whole[:: max(1, len(whole) // ROWS)]
    return table[kept], rain[kept]


def unstandardised(z: Floats, names: Sequence[str], scaling: ChannelScaling) -> Floats:
    """Undo `standardised`."""
    mean, deviation = scaling.of(names).T
    return np.asarray(z * deviation + mean, dtype=np.float32)
