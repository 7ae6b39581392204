"""When a model doubts: what is unlike what it learnt from, and how wide its intervals must be to cover as often as they say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vigie.apps.precipitation.material import CALIBRATION_SHARE, Material
from vigie.apps.precipitation.settings import FamiliarSettings, TrainSettings
from vigie.apps.precipitation.swaths import catalogued, opened
from vigie.core.errors import VigieError
from vigie.learn.regimes import regime_names
from vigie.learn.retrieval_inputs import Table
from vigie.learn.retrieval_model import SPREAD, Covering, DoubtMethod, Familiar, Reference, RetrievalModel
from vigie.learn.swaths import Footprints, learnt_from
from vigie.predict.swath import distributions, of_outputs
from vigie.story.run import Run, log
from vigie.story.scenes import fold_name
from vigie.verify.conformal import calibrate, conformal_rank
from vigie.verify.drift import FITS, alarm_threshold

Floats = NDArray[np.float64]
STRETCH = 100
"""Rows of one place lie together: where there is but one group, every fifth stretch of so many calibrates."""


def familiar(
    run: Run, material: Material, settings: FamiliarSettings, members: RetrievalModel
) -> tuple[Familiar | None, dict[str, Tensor]]:
    """Choose pixels that were learnt from to compare new ones with, and measure how far familiar ones are from them.

    Most groups (days, orbits) are compared with, the others tell the threshold. Nothing, and told, where that is too few.
    """
    references: list[Reference] = []
    rows: dict[str, Tensor] = {}
    scores: list[Floats] = []
    try:
        for method, fields in ways(settings):
            name = f"reference-{len(references)}" if method != SPREAD else ""
            if method == SPREAD:
                score = apart(material, lambda part: spread_in(members, part))[1][:, 0]
            else:
                kept, calibrating = apart(material, partial(values_in, run, fields))
                kept = kept[np.isfinite(kept).all(axis=1)]
                kept = kept[:: max(1, -(-len(kept) // settings.rows))]
                score = FITS[method](kept, settings.neighbours).score(calibrating)
                rows[name] = torch.from_numpy(kept.astype(np.float32))
            scale = alarm_threshold(score, settings.false_alarm_rate)
            names = fields or material.inputs.channels if method != SPREAD else ()
            references.append(Reference(method=method, fields=names, rows=name, scale=scale))
            scores.append(score / scale)
        threshold = alarm_threshold(np.fmax.reduce(scores), settings.false_alarm_rate)
    except VigieError as error:
        log.warning("train %s: nothing will be flagged as out of distribution: %s", fold_name(material.fold), error)
        return None, {}
    found = Familiar(
        references=tuple(references),
        neighbours=settings.neighbours,
        threshold=threshold,
        false_alarm_rate=settings.false_alarm_rate,
    )
    return found, rows


def ways(settings: FamiliarSettings) -> list[tuple[DoubtMethod, tuple[str, ...]]]:
    """List every way to doubt: each method with each group of fields; members disagree about the rain alone."""
    compared = [(method, fields) for method in settings.methods if method != SPREAD for fields in settings.compared]
    return [*compared, *((method, ()) for method in settings.methods if method == SPREAD)]


def apart(material: Material, values: Callable[[Footprints], Floats]) -> tuple[Floats, Floats]:
    """Values (n, F) of known pixels (scan, pixel, F): of most groups, and of the groups set aside."""
    sides: tuple[list[Floats], list[Floats]] = [], []
    for part in material.parts:
        there = values(part)
        known, aside = learnt_from(part, material.fold), material.aside(part)
        for side, where in zip(sides, (known & ~aside, aside), strict=True):
            side.append(there[where].astype(np.float64))
    kept, calibrating = (np.concatenate(side) for side in sides)
    if len(kept) and len(calibrating):
        return kept, calibrating
    rows = np.concatenate([kept, calibrating])
    fifth = (np.arange(len(rows)) // STRETCH) % CALIBRATION_SHARE == 0
    return rows[~fifth], rows[fifth]


def values_in(run: Run, fields: Sequence[str], part: Footprints) -> Floats:
    """Take what is compared (scan, pixel, F): fields, or channels where none is named."""
    return fields_of(run, part.id, fields) if fields else part.temperature.astype(np.float64)


def spread_in(model: RetrievalModel, part: Footprints) -> Floats:
    """Measure how far members disagree (scan, pixel, 1), mm/h."""
    table = Table(part.x, part.names, part.bands)
    (spread,) = of_outputs(model, table, lambda raw: (model.spread_of(raw),))
    return spread[..., None].astype(np.float64)


def fields_of(run: Run, name: str, fields: Sequence[str]) -> Floats:
    """Ancillary fields (scan, pixel, F) of a swath."""
    granule = next(granule for granule in catalogued(run) if granule.id == name)
    data = opened(run, granule)({})
    return np.stack([data[field].values for field in fields], axis=-1).astype(np.float64)


def covering(model: RetrievalModel, material: Material, settings: TrainSettings) -> Covering | None:
    """Calibrate intervals on the groups that were set aside, regime by regime; None where none are asked for.

    A regime with too few pixels there is told and left out: its pixels have no interval.

    Raises
    ------
    VigieError: no group was set aside.
    """
    if not settings.intervals.levels:
        return None
    low, high = settings.intervals.levels
    ends, truth, codes = [], [], []
    for part in material.parts:
        where = material.aside(part)
        if where.any():
            ends.append(quantiles_of(model, part, where, (low, high)))
            truth.append(part.y[where])
            codes.append(part.group[where])
    if not ends:
        raise VigieError(
            "there is nothing to calibrate intervals on",
            found="one group of footprints alone",
            expected=f"{CALIBRATION_SHARE} orbits or days, of which one is set aside",
            do="add swaths, or leave train.intervals.levels out",
        )
    (lower, upper), code = np.concatenate(ends, axis=1), np.concatenate(codes)
    names, count = np.array(regime_names(settings.regimes)), np.bincount(code)
    few = [n for n in np.unique(code).tolist() if conformal_rank(int(count[n]), 1 - (high - low)) > count[n]]
    if few:
        log.warning("train %s: too few pixels to calibrate intervals: %s", fold_name(material.fold), ", ".join(names[few]))
    enough = ~np.isin(code, few)
    rain = np.concatenate(truth).astype(np.float64)[enough]
    found = calibrate(lower[enough], upper[enough], rain, 1 - (high - low), names[code[enough]])
    return Covering(levels=(low, high), regimes=settings.regimes, widening_mm_h=found.widening)


def quantiles_of(model: RetrievalModel, part: Footprints, where: NDArray[np.bool_], levels: Sequence[float]) -> Floats:
    """Quantiles (K, n) of chosen pixels of a swath, which networks of single pixels see alone and others with all around."""
    if model.image:
        return distributions(model, Table(part.x, part.names, part.bands), levels)[0][:, where].astype(np.float64)
    alone = Table(part.x[where][:, None], part.names, part.bands)
    return distributions(model, alone, levels)[0][:, :, 0].astype(np.float64)
