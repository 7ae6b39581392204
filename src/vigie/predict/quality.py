"""How far each retrieval can be trusted: what a network learnt from, and what it is shown now, compared pixel by pixel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.learn.retrieval_model import SPREAD, Reference, RetrievalModel
from vigie.verify.drift import FITS, Drift

QUALITY = {"good": 0, "missing_channel": 1, "out_of_distribution": 2, "no_retrieval": 3}
"""Codes of `quality_flag`; the highest that holds is written."""

Floats = NDArray[np.float32]


def judged(
    model: RetrievalModel, swath: xr.Dataset, channel_names: Sequence[str], distance: Floats, spread_mm_h: Floats | None
) -> xr.Dataset:
    """Say of each pixel of a loaded swath how far it can be trusted: `ood_score` and `quality_flag` (scan, pixel).

    Parameters
    ----------
    distance: what `distances` gives of these pixels (scan, pixel).
    spread_mm_h: how far members are from each other (scan, pixel); None where nobody asks.
    """
    temperature = swath["brightness_temperature"].sel(channel=list(channel_names)).values
    score = distance if spread_mm_h is None else np.fmax(distance, spread_mm_h / spread_scale(model))
    score = np.where(unseen(temperature), np.float32("nan"), score)
    maps = ("scan", "pixel")
    return xr.Dataset(
        {
            "ood_score": (maps, score.astype(np.float32)),
            "quality_flag": (maps, quality(model, temperature, channel_names, score)),
        }
    )


def distances(model: RetrievalModel, swath: xr.Dataset, channel_names: Sequence[str]) -> Floats:
    """Measure how far pixels (scan, pixel) are from what the model learnt from, the largest over its references.

    A reference is left out where a pixel lacks what it compares; NaN where that leaves none.
    """
    shape = swath["brightness_temperature"].shape[:2]
    found = [np.full(shape, np.nan)]
    for reference in model.familiar.references if model.familiar else ():
        if reference.method != SPREAD:
            far = compared(model, reference).score(
                values_of(swath, reference.fields, channel_names).reshape(-1, len(reference.fields))
            )
            found.append(far.reshape(shape) / reference.scale)
    return np.asarray(np.fmax.reduce(found), dtype=np.float32)


def spread_scale(model: RetrievalModel) -> float:
    """Give the disagreement of members that few familiar pixels exceed, mm/h."""
    assert model.familiar is not None
    return next(reference.scale for reference in model.familiar.references if reference.method == SPREAD)


def values_of(swath: xr.Dataset, names: Sequence[str], channel_names: Sequence[str]) -> Floats:
    """Channels that are shown, and ancillary fields (scan, pixel, F), NaN where a swath does not have them."""
    temperature = swath["brightness_temperature"]
    if set(names) <= set(channel_names):
        return np.asarray(temperature.sel(channel=list(names)).values)
    shown = {name: temperature.sel(channel=name) for name in names if name in channel_names}
    nothing = np.full(temperature.shape[:2], np.nan, dtype=np.float32)
    fields = [shown[name].values if name in shown else swath[name].values if name in swath else nothing for name in names]
    return np.stack(fields, axis=-1).astype(np.float32)


def compared(model: RetrievalModel, reference: Reference) -> Drift:
    """Give what new pixels are compared with, which is made once."""
    assert model.familiar is not None
    if reference not in model.drifts:
        rows = model.rows[reference.rows].numpy().astype(np.float64)
        model.drifts[reference] = FITS[reference.method](rows, model.familiar.neighbours)
    found: Drift = model.drifts[reference]
    return found


def quality(
    model: RetrievalModel,
    temperature: Floats,
    channel_names: Sequence[str],
    score: Floats,
) -> NDArray[np.uint8]:
    """Say how far each pixel can be trusted, by the codes of `QUALITY`; a channel that was learnt from may be missing."""
    incomplete = ~np.isfinite(temperature).all(axis=-1) | bool(set(model.inputs.channels) - set(channel_names))
    found = np.where(incomplete, QUALITY["missing_channel"], QUALITY["good"])
    if model.familiar is not None:
        found = np.where(score > model.familiar.threshold, QUALITY["out_of_distribution"], found)
    return np.where(unseen(temperature), QUALITY["no_retrieval"], found).astype(np.uint8)


def unseen(temperature: Floats) -> NDArray[np.bool_]:
    """Say of which pixels (scan, pixel) no channel (scan, pixel, B) has data."""
    return np.asarray(~np.isfinite(temperature).any(axis=-1))
