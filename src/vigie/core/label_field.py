"""Rain rates that others measured, before they are brought onto footprints: one pass of a radar, or one moment of a grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Period = tuple[np.datetime64, np.datetime64]
"""First and last time that labels are asked for."""
Latitudes = tuple[float, float]
"""Southernmost and northernmost latitude, degrees."""
UNKNOWN_PHASE = 255
"""Where nobody says what falls."""


@dataclass(frozen=True)
class LabelField:
    """Rain rates on rows and columns of positions: scans and rays of a radar, lines of a grid, or one row of gauges.

    Attributes
    ----------
    latitude, longitude: (row, column) degrees; NaN where nobody knows.
    rate: (row, column) mm h-1; NaN where nothing valid was measured.
    time: (row) middle of what was measured, UTC; NaT where nobody knows.
    phase: (row, column) codes of `vigie.core.swath.PHASES`, 255 where unknown; None where the product does not tell it.
    area: (row, column) area that each position stands for, in any unit; None where all stand for the same.
    ends: whether the first and the last row are where the field ends: beyond, nothing was measured. A row that is merely the
        last that was read is no end, nor is one of gauges, or one beside a pole.
    sides: the same for the first and the last column; a grid around the Earth has none.
    """

    latitude: NDArray[np.floating]
    longitude: NDArray[np.floating]
    rate: NDArray[np.float32]
    time: NDArray[np.datetime64]
    phase: NDArray[np.uint8] | None = None
    area: NDArray[np.floating] | None = None
    ends: tuple[bool, bool] = (False, False)
    sides: tuple[bool, bool] = (False, False)


def within(times: NDArray[np.datetime64], period: Period) -> list[int]:
    """Number the times that lie in a period.

    Examples
    --------
    >>> times = np.array(["2020-01-01", "2020-01-02", "2020-01-03"], "datetime64[ns]")
    >>> within(times, (times[1], times[2]))
    [1, 2]
    """
    numbers: list[int] = np.flatnonzero((times >= period[0]) & (times <= period[1])).tolist()
    return numbers
