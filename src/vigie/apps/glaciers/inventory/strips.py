"""Strips of rows: sums over large maps in little memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vigie.core.tiles import Tile, Window, tiles

ROWS = 512
"""Rows worked on at once."""

Read = Callable[[Window], NDArray[Any]]
"""Reads values (..., y, x) of a window of a map."""


def held(values: NDArray[Any]) -> Read:
    """Read windows of an array (..., y, x) that is held in memory.

    Examples
    --------
    >>> held(np.arange(6).reshape(2, 3))({"y": slice(1, 2), "x": slice(0, 2)}).tolist()
    [[3, 4]]
    """
    return lambda window: values[..., window["y"], window["x"]]


def strips(shape: tuple[int, ...], halo: int = 0) -> list[Tile]:
    """Cut a map (y, x) into strips that read `halo` more rows on either side."""
    return tiles({"y": shape[0], "x": shape[1]}, {"y": ROWS, "x": shape[1]}, {"y": halo})


def pixel_counts(labels: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    """Count the pixels of each number from 0 to count - 1.

    Examples
    --------
    >>> pixel_counts(np.array([[2, 0], [2, 2]], dtype=np.int32), 4).tolist()
    [1, 0, 3, 0]
    """
    found = np.zeros(count, dtype=np.int64)
    for strip in strips(labels.shape):
        found += np.bincount(labels[strip.keep["y"]].ravel(), minlength=count)
    return found
