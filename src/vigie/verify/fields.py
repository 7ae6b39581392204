"""Fractions skill score of rain fields: is rain as frequent in the neighbourhood, if not on the very pixel.

Windows are normalised by their valid pixels, so that missing data and borders neither count as dry nor shrink the field.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.core.errors import VigieError
from vigie.core.tiles import Window
from vigie.verify.rain import THRESHOLDS_MM_H
from vigie.verify.tally import Metric, Tally

Counts = NDArray[np.int64]

SIZES_PX = (1, 3, 5, 9, 17)
"""Widths of the neighbourhoods, pixels."""


@dataclass(frozen=True)
class FieldSample:
    """Estimated and observed rain (y, x), mm/h, NaN where missing.

    `inner` is the window that counts, where a tile brings a halo: half the largest neighbourhood on every side makes the score
    that of the whole field.
    """

    estimate: NDArray[np.floating]
    truth: NDArray[np.floating]
    inner: Window = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse arrays that are no fields, or do not fit together."""
        if self.estimate.shape != self.truth.shape or self.truth.ndim != 2:
            raise VigieError(
                "fields do not fit together",
                found=f"estimate {self.estimate.shape}, truth {self.truth.shape}",
                expected="(y, x) twice",
            )

    @property
    def kept(self) -> tuple[slice, slice]:
        """The window that counts, as an index of (y, x)."""
        return self.inner.get("y", slice(None)), self.inner.get("x", slice(None))


def window_count(mask: NDArray[np.bool_], size_px: int) -> Counts:
    """Count the true pixels of the window around every pixel; outside the field nothing is true.

    Counts come from a summed-area table of integers, so they are exact whatever the tile.

    Examples
    --------
    >>> window_count(np.array([[True, False, True, True]]), 3).tolist()
    [[1, 2, 2, 2]]
    """
    if size_px < 1 or size_px % 2 == 0:
        raise VigieError("a neighbourhood needs a pixel in its middle", found=f"{size_px} pixels", expected="an odd number")
    half = size_px // 2
    padded = np.pad(mask.astype(np.int64), ((half + 1, half), (half + 1, half)))
    table = padded.cumsum(axis=0).cumsum(axis=1)
    n = size_px
    counts: Counts = table[n:, n:] - table[:-n, n:] - table[n:, :-n] + table[:-n, :-n]
    return counts


def count_fractions(
    sample: FieldSample,
    thresholds_mm_h: tuple[float, ...] = THRESHOLDS_MM_H,
    sizes_px: tuple[int, ...] = SIZES_PX,
) -> Tally:
    """Sum squared differences and squares of fractions (threshold_mm_h, size_px) over windows around valid pixels.

    `occurred` (threshold_mm_h): how often the truth reaches each threshold.
    """
    valid = np.isfinite(sample.estimate) & np.isfinite(sample.truth)
    kept = valid[sample.kept]
    cells = [[_squares(sample, valid, t, n) for n in sizes_px] for t in thresholds_mm_h]
    difference, both = np.moveaxis(np.array(cells, dtype=np.float64), -1, 0)
    dims = ("threshold_mm_h", "size_px")
    occurred = [int((sample.truth[sample.kept][kept] >= t).sum()) for t in thresholds_mm_h]
    total = xr.Dataset(
        {"difference": (dims, difference), "both": (dims, both), "occurred": ("threshold_mm_h", occurred)},
        coords={"threshold_mm_h": list(thresholds_mm_h), "size_px": list(sizes_px)},
    )
    return Tally(total, xr.Dataset(dict.fromkeys(total.data_vars, int(kept.sum()))))


def finish_fractions(tally: Tally) -> xr.Dataset:
    """Turn sums into `fss` = 1 - sum (P_f - P_o)^2 / (sum P_f^2 + sum P_o^2), and `fss_useful` = 0.5 + f_o / 2.

    A score above `fss_useful` is skilful; f_o is the observed frequency (Roberts & Lean 2008). NaN where neither field reaches
    the threshold.

    Examples
    --------
    >>> truth = np.pad([[2.0]], 7)
    >>> shifted = FieldSample(np.roll(truth, 1, axis=1), truth)
    >>> finish_fractions(count_fractions(shifted, (1.0,), (1, 3, 5)))["fss"].values.round(3).tolist()
    [[0.0, 0.667, 0.8]]
    """
    total = tally.total
    return xr.Dataset(
        {
            "fss": 1.0 - total["difference"] / total["both"].where(total["both"] > 0),
            "fss_useful": 0.5 + tally.mean()["occurred"] / 2,
        }
    )


FRACTIONS: Metric[FieldSample] = Metric(count_fractions, finish_fractions)
"""Fractions skill score."""


def _squares(sample: FieldSample, valid: NDArray[np.bool_], threshold: float, size_px: int) -> tuple[float, float]:
    """Sum (P_f - P_o)^2 and P_f^2 + P_o^2 over the windows around valid pixels that count."""
    pixels = window_count(valid, size_px)[sample.kept]
    around = valid[sample.kept]
    estimate, truth = (
        window_count((rain >= threshold) & valid, size_px)[sample.kept][around] / pixels[around]
        for rain in (sample.estimate, sample.truth)
    )
    return float(((estimate - truth) ** 2).sum()), float((estimate**2).sum() + (truth**2).sum())
