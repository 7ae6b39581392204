"""Labelled scenes as a network sees them: windows with standardised bands and label rows, and where each label lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.core.cube import Reader, label_rows
from vigie.core.errors import VigieError
from vigie.core.legend import LabelLegend
from vigie.core.tiles import Window, tiles, window_sizes
from vigie.learn.inputs import inputs_of
from vigie.learn.scaling import RobustScaling, lattice, standardise

BLOCK = 1024
"""Side of the windows that are read while a scene is brought into memory, pixels."""

POSITIONS = 2**16
"""Positions kept of each label in each scene."""


@dataclass(frozen=True)
class LabelledScene:
    """A scene to learn from: its reader, its size along y and x, its percentiles, what its labels mean, and who saw it."""

    id: str
    read: Reader
    sizes: Mapping[str, int]
    statistics: xr.Dataset
    labels: LabelLegend
    sensor: str


@dataclass(frozen=True)
class Patch:
    """A window as the network sees it.

    x (B, H, W) standardised bands; mask (2, H, W) valid and saturated; rows (H, W), the row of the label matrix that is true,
    -1 where nothing is learnt.
    """

    x: NDArray[np.float32]
    mask: NDArray[np.float32]
    rows: NDArray[np.int16]

    def cut(self, window: Window) -> Patch:
        """Take a part of it, without a copy."""
        y, x = window["y"], window["x"]
        return Patch(self.x[:, y, x], self.mask[:, y, x], self.rows[y, x])

    @property
    def nbytes(self) -> int:
        """Memory it takes."""
        return self.x.nbytes + self.mask.nbytes + self.rows.nbytes


def read_patch(scene: LabelledScene, window: Window, scaling: RobustScaling) -> Patch:
    """Read a window and standardise it.

    Raises
    ------
    VigieError: the scene has no labels, or codes that its label legend does not know.
    """
    data = scene.read(window)
    rows = _label_rows(scene, data)
    data = inputs_of(data, scaling)
    x, mask = standardise(data, scene.statistics, scaling)
    return Patch(x, mask, rows)


def load_patch(scene: LabelledScene, scaling: RobustScaling) -> Patch:
    """Bring a whole scene into memory, block by block."""
    shape = (scene.sizes["y"], scene.sizes["x"])
    whole: Patch | None = None
    for tile in tiles({"y": shape[0], "x": shape[1]}, {"y": BLOCK, "x": BLOCK}):
        part = read_patch(scene, tile.keep, scaling)
        if whole is None:
            whole = Patch(
                np.empty((len(part.x), *shape), np.float32), np.empty((2, *shape), np.float32), np.empty(shape, np.int16)
            )
        room = whole.cut(tile.keep)
        room.x[...], room.mask[...], room.rows[...] = part.x, part.mask, part.rows
    if whole is None:
        raise VigieError(f"scene '{scene.id}' is empty", found=dict(scene.sizes), expected="at least one pixel")
    return whole


def whole_bytes(scene: LabelledScene, band_count: int) -> int:
    """Memory that `load_patch` will take."""
    return scene.sizes["y"] * scene.sizes["x"] * (4 * band_count + 8 + 2)


@dataclass(frozen=True)
class Census:
    """How many pixels carry each label, estimated on a lattice of windows, and where some of them are: (n, 2) of y, x."""

    counts: Mapping[str, float]
    positions: Mapping[str, NDArray[np.int64]]


def census(scene: LabelledScene, window: Window, max_pixels: int, whole: Patch | None = None) -> Census:
    """Count the labels inside a window; it is the same whether the scene is in memory (`whole`) or read piece by piece."""
    probes = _probes(window, max_pixels)
    seen = sum(_pixels(probe) for probe in probes)
    limit = max(1, POSITIONS // len(probes))
    counts: dict[str, float] = {}
    positions: dict[str, list[NDArray[np.int64]]] = {}
    for probe in probes:
        rows = whole.rows[probe["y"], probe["x"]] if whole else _label_rows(scene, scene.read(probe))
        for row, name in enumerate(scene.labels.names):
            where = np.flatnonzero(rows == row)
            if where.size:
                counts[name] = counts.get(name, 0.0) + where.size * _pixels(window) / seen
                y, x = np.unravel_index(where[:: -(-where.size // limit)], rows.shape)
                positions.setdefault(name, []).append(np.stack([y + probe["y"].start, x + probe["x"].start], axis=1))
    return Census(counts, {name: np.concatenate(parts) for name, parts in positions.items()})


def labels_shown(scene: LabelledScene, window: Window, max_pixels: int) -> set[frozenset[str]]:
    """Tell which labels lie in a window, each as the leaf classes that it stands for: what `folds.check_classes` asks."""
    groups = dict(scene.labels.groups.values())
    return {frozenset(groups[name]) for name in census(scene, window, max_pixels).counts}


def _label_rows(scene: LabelledScene, data: xr.Dataset) -> NDArray[np.int16]:
    """Rows of the label matrix, -1 where unknown or not to be learnt from."""
    if "truth" not in data:
        raise VigieError(
            f"scene '{scene.id}' has no labels to learn from",
            do="give it a truth layer, or leave it out of the training scenes",
        )
    return label_rows(data, scene.labels)


def _probes(window: Window, max_pixels: int) -> list[Window]:
    """The lattice of a part of a scene."""
    y, x = window["y"].start, window["x"].start
    return [
        {"y": slice(part["y"].start + y, part["y"].stop + y), "x": slice(part["x"].start + x, part["x"].stop + x)}
        for part in lattice(window_sizes(window), max_pixels)
    ]


def _pixels(window: Window) -> int:
    sizes = window_sizes(window)
    return sizes["y"] * sizes["x"]
