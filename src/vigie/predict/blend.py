"""Blending patches of one panel, row by row: memory holds one row of patches, whatever the height of the scene."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vigie.predict.lattice import Lattice


class RowBlender:
    """Add weighted patches from top to bottom, and take finished lines off the top.

    Parameters
    ----------
    lattice: the patches' size and ramp.
    channels: channels of a patch's values.
    columns: the half-open range of scene columns that the panel keeps.
    top: the first scene line that will be taken.
    """

    def __init__(self, lattice: Lattice, channels: int, columns: tuple[int, int], top: int) -> None:
        ramp = lattice.ramp()
        self._weight = ramp[:, None] * ramp[None, :]
        self._columns = columns
        self._top = top
        self._sum = np.zeros((channels, 0, columns[1] - columns[0]), dtype=np.float32)
        self._total = np.zeros((0, columns[1] - columns[0]), dtype=np.float32)

    def add(self, values: NDArray[np.float32], y: int, x: int) -> None:
        """Add a patch's values (channel, y, x) whose corner lies at scene line y, column x."""
        lines = slice(max(y, self._top), y + values.shape[1])
        columns = slice(max(x, self._columns[0]), min(x + values.shape[2], self._columns[1]))
        if lines.start >= lines.stop or columns.start >= columns.stop:
            return
        self._grow(lines.stop - self._top)
        part = (slice(lines.start - y, lines.stop - y), slice(columns.start - x, columns.stop - x))
        place = (
            slice(lines.start - self._top, lines.stop - self._top),
            slice(columns.start - self._columns[0], columns.stop - self._columns[0]),
        )
        weight = self._weight[part]
        self._sum[(slice(None), *place)] += values[(slice(None), *part)] * weight
        self._total[place] += weight

    def take(self, end: int) -> NDArray[np.float32]:
        """Take the finished lines up to scene line `end`: weighted means (channel, y, x)."""
        count = end - self._top
        mean = self._sum[:, :count] / self._total[:count]
        self._sum = self._sum[:, count:].copy()
        self._total = self._total[count:].copy()
        self._top = end
        return np.ascontiguousarray(mean)

    def _grow(self, lines: int) -> None:
        lack = lines - self._total.shape[0]
        if lack > 0:
            self._sum = np.concatenate(
                [self._sum, np.zeros((self._sum.shape[0], lack, self._sum.shape[2]), np.float32)], axis=1
            )
            self._total = np.concatenate([self._total, np.zeros((lack, self._total.shape[1]), np.float32)])
