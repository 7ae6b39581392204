"""A deterministic lattice of windows: what is measured once for a whole scene is measured there, never tile by tile."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vigie.core.tiles import Window

SIDE = 256
COUNT = 6


def lattice(sizes: Mapping[str, int], side: int = SIDE, count: int = COUNT) -> list[Window]:
    """Spread at most count x count windows evenly over a scene; a scene they can cover is covered whole.

    Examples
    --------
    >>> [w["x"] for w in lattice({"y": 10, "x": 1000}, side=100, count=3)]
    [slice(0, 100, None), slice(450, 550, None), slice(900, 1000, None)]
    >>> lattice({"y": 30, "x": 40}, side=100)
    [{'y': slice(0, 30, None), 'x': slice(0, 40, None)}]
    """
    return [{"y": y, "x": x} for y in _along(sizes["y"], side, count) for x in _along(sizes["x"], side, count)]


def _along(size: int, side: int, count: int) -> list[slice]:
    if size <= side * count:
        return [slice(a, min(a + side, size)) for a in range(0, size, side)]
    return [slice(int(a), int(a) + side) for a in np.rint(np.linspace(0, size - side, count))]
