"""When a model doubts: what is unlike what it learnt from, and how wide its intervals must be to cover as often as they say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from vigie.apps.precipitation.material import CALIBRATION_SHARE, Material
from vigie.apps.precipitation.settings import FamiliarSettings, TrainSettings
from vigie.core.errors import VigieError
from vigie.learn.regimes import regime_names
from vigie.learn.retrieval_model import Covering, Familiar, RetrievalModel
from vigie.learn.swaths import Footprints, learnt_from, shown_mask, standardised
from vigie.story.run import log
from vigie.story.scenes import fold_name
from vigie.verify.conformal import calibrate, conformal_rank
from vigie.verify.drift import alarm_threshold, fit_mahalanobis

STRETCH = 100
"""Rows of one place lie together: where there is but one group, every fifth stretch of so many calibrates."""
BATCH = 4096


def familiar(material: Material, settings: FamiliarSettings) -> Familiar | None:
    """Measure what was learnt from: mean and covariance on most groups of pixels, the threshold on the others.

    None, and told, where too few pixels have all channels.
    """
    kept, calibrating = apart(material)
    try:
        known = fit_mahalanobis(kept, settings.shrinkage)
        threshold = alarm_threshold(known.score(calibrating), settings.false_alarm_rate)
    except VigieError as error:
        log.warning("train %s: nothing will be flagged as out of distribution: %s", fold_name(material.fold), error)
        return None
    return Familiar(
        mean=tuple(known.mean.tolist()),
        precision=tuple(map(tuple, known.precision.tolist())),
        threshold=threshold,
        false_alarm_rate=settings.false_alarm_rate,
    )


def apart(material: Material) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Temperatures of known pixels with all channels: those of most groups, and those of the groups set aside."""
    sides: tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]] = [], []
    for part in material.parts:
        known, aside = learnt_from(part, material.fold), material.aside(part)
        for side, where in zip(sides, (known & ~aside, aside), strict=True):
            rows = part.temperature[where]
            side.append(rows[np.isfinite(rows).all(axis=1)])
    kept, calibrating = (np.concatenate(side).astype(np.float64) for side in sides)
    if len(kept) and len(calibrating):
        return kept, calibrating
    rows = np.concatenate([kept, calibrating])
    fifth = (np.arange(len(rows)) // STRETCH) % CALIBRATION_SHARE == 0
    return rows[~fifth], rows[fifth]


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


def quantiles_of(
    model: RetrievalModel, part: Footprints, where: NDArray[np.bool_], levels: Sequence[float]
) -> NDArray[np.float64]:
    """Quantiles (K, n) of chosen pixels of a swath, which networks of single pixels see alone and others with all around."""
    z = standardised(part.x, part.names, model.scaling)
    if not model.image:
        rows = z[torch.from_numpy(where)][..., None, None]
        made = [model.distribution(r, shown_mask(r), part.bands, levels)[0][..., 0, 0] for r in torch.split(rows, BATCH)]
        return torch.cat(made).T.double().numpy()
    scans, pixels = where.shape
    padding = (0, -pixels % model.multiple, 0, -scans % model.multiple)
    image = torch.nn.functional.pad(z.movedim(-1, 0)[None], padding, value=torch.nan)
    found = model.distribution(image, shown_mask(image), part.bands, levels)[0][0, :, :scans, :pixels]
    return found[:, torch.from_numpy(where)].double().numpy()
