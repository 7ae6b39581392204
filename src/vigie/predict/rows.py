"""Rows of patches: lines of a scene read and standardised once, and cut into what the network looks at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from vigie.core.cube import FLAGS, Reader
from vigie.learn.bands import describe
from vigie.learn.inputs import inputs_of
from vigie.learn.scaling import RobustScaling, standardise
from vigie.predict.lattice import fit_patch


@dataclass(frozen=True)
class Look:
    """How rows of patches are read from a scene: call it with the row's line and the columns its patches begin at."""

    reader: Reader
    sizes: tuple[int, int]
    statistics: xr.Dataset
    scaling: RobustScaling
    patch: int

    def __call__(self, y: int, starts: NDArray[np.int64]) -> PatchRow:
        """Read and standardise the lines of one row of patches."""
        x0, x1 = int(starts[0]), min(int(starts[-1]) + self.patch, self.sizes[1])
        window = {"y": slice(y, min(y + self.patch, self.sizes[0])), "x": slice(x0, x1)}
        scene = inputs_of(self.reader(window), self.scaling)
        x, mask = standardise(scene, self.statistics, self.scaling)
        # Memory of torch's own is aligned, and what is aligned alike is rounded alike.
        bands, sensor = describe(scene).clone(), str(scene.attrs.get("sensor", ""))
        return PatchRow(y, x0, starts, self.patch, x, mask, scene["flags"].values, bands, sensor)


@dataclass(frozen=True)
class PatchRow:
    """One row of patches from scene line `y`, column `x0`: standardised bands (band, y, x), mask (2, y, x) and flags (y, x)."""

    y: int
    x0: int
    starts: NDArray[np.int64]
    patch: int
    x: NDArray[np.float32]
    mask: NDArray[np.float32]
    flags: NDArray[np.uint8]
    bands: Tensor
    sensor: str

    def batches(self, size: int) -> Iterator[Batch]:
        """Cut the row into batches of `size` patches; the last may begin fewer."""
        for begin in range(0, len(self.starts), size):
            yield Batch(self, self.starts[begin : begin + size], size)

    def flags_from(self, line: int, columns: tuple[int, int]) -> NDArray[np.uint8]:
        """Flags of this row's lines from scene line `line` on, in the panel's columns."""
        return self.flags[max(0, line - self.y) :, columns[0] - self.x0 : columns[1] - self.x0]


@dataclass(frozen=True)
class Batch:
    """Patches of a row that begin at scene columns `starts`; where they are fewer than `size` the last is repeated."""

    row: PatchRow
    starts: NDArray[np.int64]
    size: int

    @property
    def inputs(self) -> tuple[Tensor, Tensor]:
        """Bands (size, band, y, x) and masks (size, 2, y, x)."""
        return self._stack(self.row.x), self._stack(self.row.mask)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Patches, lines and columns."""
        return len(self.starts), self.row.patch, self.row.patch

    @property
    def empty(self) -> bool:
        """Whether no pixel of any patch has data."""
        first, last = int(self.starts[0]) - self.row.x0, int(self.starts[-1]) - self.row.x0
        return bool((self.row.flags[:, first : last + self.row.patch] & FLAGS["nodata"]).all())

    def _stack(self, values: NDArray[np.float32]) -> Tensor:
        patch, at = self.row.patch, (self.starts - self.row.x0).tolist()
        cuts = [fit_patch(values[..., x : x + patch], patch) for x in at + at[-1:] * (self.size - len(at))]
        return torch.from_numpy(np.stack(cuts))
