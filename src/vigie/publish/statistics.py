"""Band statistics that add: every window is counted once, and the counts of windows are summed in any order."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class BandStatistics:
    """Count, range, mean and sum of squared deviations of a band's valid stored values.

    Two of them add by the rule of Chan, Golub and LeVeque (1983), which keeps its precision when the mean is large.

    Examples
    --------
    >>> whole = BandStatistics.of(np.array([1.0, 2.0, 3.0, np.nan]), math.nan)
    >>> parts = BandStatistics.of(np.array([1.0]), math.nan) + BandStatistics.of(np.array([2.0, 3.0, np.nan]), math.nan)
    >>> parts.mean, parts.deviation == whole.deviation, parts.valid_percent
    (2.0, True, 75.0)
    """

    pixels: int = 0
    valid: int = 0
    minimum: float = math.inf
    maximum: float = -math.inf
    mean: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, values: NDArray[Any], nodata: float | None) -> BandStatistics:
        """Count the values of one window; NaN and `nodata` are not valid."""
        good = values[_valid(values, nodata)]
        if not good.size:
            return cls(pixels=values.size)
        mean, squares = float(good.mean(dtype=np.float64)), float(good.var(dtype=np.float64)) * good.size
        return cls(values.size, good.size, float(good.min()), float(good.max()), mean, squares)

    def __add__(self, other: BandStatistics) -> BandStatistics:
        """Merge the statistics of two disjoint parts."""
        valid = self.valid + other.valid
        step = other.mean - self.mean
        share = other.valid / valid if valid else 0.0
        return BandStatistics(
            self.pixels + other.pixels,
            valid,
            min(self.minimum, other.minimum),
            max(self.maximum, other.maximum),
            self.mean + step * share,
            self.squares + other.squares + step * step * self.valid * share,
        )

    @property
    def deviation(self) -> float:
        """Standard deviation of the valid values."""
        return math.sqrt(self.squares / self.valid) if self.valid else math.nan

    @property
    def valid_percent(self) -> float:
        """Share of valid pixels, 0 to 100."""
        return 100.0 * self.valid / self.pixels if self.pixels else 0.0

    def tags(self) -> dict[str, str]:
        """Band metadata under the names GDAL gives to statistics; a band without a valid pixel has only its percentage."""
        percent = {"STATISTICS_VALID_PERCENT": f"{self.valid_percent:.6g}"}
        if not self.valid:
            return percent
        return percent | {
            "STATISTICS_MINIMUM": repr(self.minimum),
            "STATISTICS_MAXIMUM": repr(self.maximum),
            "STATISTICS_MEAN": repr(self.mean),
            "STATISTICS_STDDEV": repr(self.deviation),
        }


@dataclass(frozen=True)
class ClassCounts:
    """How many pixels hold each code of a uint8 raster; counts of windows add."""

    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, dtype=np.int64))

    @classmethod
    def of(cls, codes: NDArray[np.uint8]) -> ClassCounts:
        """Count the codes of one window."""
        return cls(np.bincount(codes.ravel(), minlength=256))

    def __add__(self, other: ClassCounts) -> ClassCounts:
        """Sum the counts of two disjoint parts."""
        return ClassCounts(self.counts + other.counts)


def _valid(values: NDArray[Any], nodata: float | None) -> NDArray[np.bool_]:
    if np.issubdtype(values.dtype, np.floating):
        return np.asarray(np.isfinite(values))
    return np.ones(values.shape, dtype=bool) if nodata is None else np.asarray(values != nodata)
