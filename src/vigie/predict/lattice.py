"""The patch lattice: where the network looks, fixed by the size of the scene alone, so that results never depend on tiling.

Every patch has the same shape. Patches overlap and are blended with a smooth ramp; because the lattice does not know about
tiles, any tiling and any engine add the same numbers in the same order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vigie.core.errors import VigieError


@dataclass(frozen=True)
class Lattice:
    """Square patches of `patch` pixels that overlap by at least `overlap`, over a scene of any size."""

    patch: int
    overlap: int

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < self.patch:
            raise VigieError(
                "patches cannot be laid out",
                found=f"patch {self.patch}, overlap {self.overlap}",
                expected="0 <= overlap < patch",
                do="raise predict.patch or lower predict.overlap",
            )

    def starts(self, size: int) -> NDArray[np.int64]:
        """Give the first pixel of every patch along a side of `size` pixels, evenly spread.

        A side shorter than a patch has one patch, at 0; what it lacks is filled by reflection.

        Examples
        --------
        >>> Lattice(patch=4, overlap=1).starts(10)
        array([0, 3, 6])
        >>> Lattice(patch=4, overlap=1).starts(3)
        array([0])
        """
        if size <= self.patch:
            return np.zeros(1, dtype=np.int64)
        count = -(-(size - self.overlap) // (self.patch - self.overlap))
        return np.round(np.linspace(0, size - self.patch, count)).astype(np.int64)

    def touching(self, size: int, begin: int, end: int) -> NDArray[np.int64]:
        """Give the starts of the patches that touch the half-open range [begin, end)."""
        starts = self.starts(size)
        return starts[(starts < end) & (starts + self.patch > begin)]

    def ramp(self) -> NDArray[np.float32]:
        """Weigh a patch's pixels along one side: sin^2, never below 1e-3, 1 outside the overlap.

        Examples
        --------
        >>> Lattice(patch=6, overlap=2).ramp().astype(float).round(2).tolist()
        [0.15, 0.85, 1.0, 1.0, 0.85, 0.15]
        """
        weight = np.ones(self.patch, dtype=np.float32)
        if self.overlap:
            width = min(self.overlap, self.patch // 2)
            rise = np.sin(np.pi / 2 * (np.arange(width) + 0.5) / width) ** 2
            weight[:width] = np.maximum(rise, 1e-3)
            weight[-width:] = weight[:width][::-1]
        return weight


def fit_patch(values: NDArray[np.generic], patch: int) -> NDArray[np.generic]:
    """Fill an array (..., y, x) smaller than a patch up to the patch's size, by reflection at its far edges.

    Examples
    --------
    >>> fit_patch(np.array([[1, 2, 3]]), 5).tolist()[0]
    [1, 2, 3, 2, 1]
    """
    lack = [(0, 0)] * (values.ndim - 2) + [(0, max(0, patch - n)) for n in values.shape[-2:]]
    if not any(after for _, after in lack):
        return values
    return np.pad(values, lack, mode="reflect")
