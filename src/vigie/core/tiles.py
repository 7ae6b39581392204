"""Windows and tiles: the explicit unit of work over any named dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

from vigie.core.errors import VigieError

Window = Mapping[str, slice]
"""What `Dataset.isel` takes: one slice a dimension, for instance {"y": slice(0, 256), "x": slice(0, 256)}."""


@dataclass(frozen=True)
class Tile:
    """One unit of work: the window to read (with its halo) and the window to keep."""

    read: Window
    keep: Window

    @property
    def name(self) -> str:
        """A name that is the same in every run, made of where the kept window begins."""
        return "_".join(f"{dim}{part.start}" for dim, part in self.keep.items())

    @property
    def inner(self) -> Window:
        """The kept window counted from the corner of the read one."""
        return {
            dim: slice(part.start - self.read[dim].start, part.stop - self.read[dim].start) for dim, part in self.keep.items()
        }


def tiles(sizes: Mapping[str, int], keep: Mapping[str, int], halo: Mapping[str, int] | None = None) -> list[Tile]:
    """Cut an array into tiles that keep `keep` pixels each and read `halo` more on every side, cut at the array's edge.

    Kept windows cover the array once, in row-major order.

    Examples
    --------
    >>> [tile.name for tile in tiles({"y": 5, "x": 4}, {"y": 3, "x": 4})]
    ['y0_x0', 'y3_x0']
    >>> tiles({"y": 5}, {"y": 3}, {"y": 1})[1].read
    {'y': slice(2, 5, None)}
    """
    halo = halo or {}
    for dim, size in keep.items():
        if dim not in sizes or size < 1 or halo.get(dim, 0) < 0:
            raise VigieError(
                f"cannot tile dimension '{dim}'",
                found=f"keep={size}, halo={halo.get(dim, 0)}, dimensions {dict(sizes)}",
                expected="a known dimension, keep >= 1 and halo >= 0",
            )
    cuts = [[(dim, at, min(at + keep[dim], sizes[dim])) for at in range(0, sizes[dim], keep[dim])] for dim in keep]
    return [
        Tile(
            read={d: slice(max(0, a - halo.get(d, 0)), min(sizes[d], b + halo.get(d, 0))) for d, a, b in corner},
            keep={d: slice(a, b) for d, a, b in corner},
        )
        for corner in product(*cuts)
    ]


def window_sizes(window: Window) -> dict[str, int]:
    """Count the pixels of a window along each of its dimensions."""
    return {dim: part.stop - part.start for dim, part in window.items()}
