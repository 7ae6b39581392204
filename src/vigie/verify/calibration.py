"""Do probabilities mean what they say: reliability tables that add, expected calibration error, Brier score, log loss."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.verify.classes import LabelledTile
from vigie.verify.tally import Metric, Tally

Counts = NDArray[np.int64]

BINS = 10
"""Equal bins of probability, as in Guo et al. 2017 and the notes' ECE."""

LOG_FLOOR = 1e-6
"""Probabilities are raised to this before their logarithm, so one certain error costs 13.8 nats and not infinity."""


def count_calibration(tile: LabelledTile) -> Tally:
    """Count, in bins of probability, what was said and what came true, on known pixels that have a probability.

    `said_top`, `came_top` (bin): confidence of the likeliest label, and how often it was right. `said`, `came` (label, bin):
    probability of each label, and how often it occurred. `brier` = sum over labels of (p - o)^2; `log_loss` = -ln p(truth).
    """
    y_x = tile.kept
    known = (tile.rows[y_x] >= 0) & np.isfinite(tile.probability[:, *y_x]).all(axis=0)
    p = tile.probability[:, *y_x][:, known].astype(np.float64)
    rows = tile.rows[y_x][known]
    occurred = np.equal(np.arange(len(tile.labels))[:, None], rows)
    decided = tile.decided()[y_x][known]
    # NONE wins where no label has most of the probability: its confidence is what the labels leave
    top = np.maximum(p.max(axis=0, initial=0.0), 1.0 - p.sum(axis=0))
    columns = [_binned(p_label, hit) for p_label, hit in zip(p, occurred, strict=True)]
    said, came, seen = (np.stack(part) for part in zip(*columns, strict=True))
    said_top, came_top, seen_top = _binned(top, decided == rows)
    rest = np.clip(1.0 - p.sum(axis=0), 0.0, 1.0)
    at_truth = p[rows, np.arange(rows.size)]
    total = xr.Dataset(
        {
            "said": (("label", "bin"), said),
            "came": (("label", "bin"), came),
            "said_top": ("bin", said_top),
            "came_top": ("bin", came_top),
            "brier": ((p - occurred) ** 2).sum() + (rest**2).sum(),
            "log_loss": -np.log(np.maximum(at_truth, LOG_FLOOR)).sum(),
        },
        coords={"label": list(tile.labels), "bin": (np.arange(BINS) + 0.5) / BINS},
    )
    weight = {"said": (("label", "bin"), seen), "came": (("label", "bin"), seen), "brier": rows.size, "log_loss": rows.size}
    tops = {"said_top": ("bin", seen_top), "came_top": ("bin", seen_top)}
    return Tally(total, xr.Dataset({**weight, **tops}, coords=total.coords))


def finish_calibration(tally: Tally) -> xr.Dataset:
    """Turn binned counts into `ece` (likeliest label), `label_ece` (each label), `brier` and `log_loss`.

    ECE = sum_k (n_k / n) |confidence_k - accuracy_k| over ten bins (Guo et al. 2017); lower is better for all four.

    Examples
    --------
    >>> p = np.full((1, 4), 0.75, np.float32)
    >>> tile = LabelledTile(np.stack([1 - p, p]), np.array([[1, 1, 1, 0]], np.int16), ("land", "ice"), 10.0)
    >>> float(finish_calibration(count_calibration(tile))["ece"].round(6))
    0.0
    """
    mean = tally.mean()
    return xr.Dataset(
        {
            "ece": _gap(mean["said_top"] - mean["came_top"], tally.weight["said_top"]),
            "label_ece": _gap(mean["said"] - mean["came"], tally.weight["said"]),
            "brier": mean["brier"],
            "log_loss": mean["log_loss"],
        }
    )


def reliability(tally: Tally) -> xr.Dataset:
    """Tabulate reliability by label and bin: mean probability `said`, observed frequency `came`, and `pixels`."""
    mean = tally.mean()
    return xr.Dataset({"said": mean["said"], "came": mean["came"], "pixels": tally.weight["said"]})


CALIBRATION: Metric[LabelledTile] = Metric(count_calibration, finish_calibration)
"""Scores of probabilities."""


def _binned(p: NDArray[np.float64], hit: NDArray[np.bool_]) -> tuple[NDArray[np.float64], Counts, Counts]:
    """Sum probabilities, hits and pixels by bin; p = 1 belongs to the last bin."""
    at = np.clip((p * BINS).astype(np.int64), 0, BINS - 1)
    said = np.bincount(at, weights=p, minlength=BINS).astype(np.float64)
    came = np.bincount(at[hit], minlength=BINS).astype(np.int64)
    return said, came, np.bincount(at, minlength=BINS).astype(np.int64)


def _gap(gap: xr.DataArray, pixels: xr.DataArray) -> xr.DataArray:
    everything = pixels.sum("bin")
    return (abs(gap).fillna(0.0) * pixels).sum("bin") / everything.where(everything > 0)
