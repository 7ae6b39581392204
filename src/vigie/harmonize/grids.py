"""Grids of scenes, and where the pixels of one grid fall on another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from vigie.core.errors import VigieError
from vigie.core.grid import cover, in_metres
from vigie.core.scene import Scene
from vigie.harmonize.settings import GridSettings

Pixels = NDArray[np.float64]
Bounds = tuple[float, float, float, float]
"""West, south, east, north."""
SAME_GRID_PX = 1e-3
"""Pixel centres closer than this, in source pixels, are the same place."""
FAR_PX = 8
"""Places outside the source are pulled so near to its edge, beside two target pixels, that windows do not grow without end."""


def scene_grid(scene: Scene) -> GeoBox:
    """Give the grid of a scene's finest band.

    Examples
    --------
    >>> scene = Scene("s", "sensor", None, (), "EPSG:32645", (10.0, 0.0, 5e5, 0.0, -10.0, 3e6), (20, 30), {})
    >>> scene_grid(scene).shape
    Shape2d(x=30, y=20)
    """
    return GeoBox(scene.shape, Affine(*scene.transform), scene.crs)


def target_grid(scenes: Sequence[Scene], settings: GridSettings | None = None) -> GeoBox:
    """Choose the grid that scenes are brought onto.

    One scene without wishes keeps its own finest grid, pixel by pixel. Otherwise the grid covers `bounds` (or all scenes), is
    north-up, and has its edges on multiples of the resolution.

    Raises
    ------
    VigieError
        If a projected grid cannot be chosen from what is given, such as for a scene in degrees.

    Examples
    --------
    >>> scene = Scene("s", "sensor", None, (), "EPSG:32645", (10.0, 0.0, 500003.0, 0.0, -10.0, 3e6), (20, 30), {})
    >>> target_grid([scene], GridSettings(resolution_m=30)).affine.c
    499980.0
    """
    settings = settings or GridSettings()
    grids = [scene_grid(scene) for scene in scenes]
    if settings == GridSettings() and grids and all(grid == grids[0] for grid in grids):
        _resolution_m(grids[0], settings)
        return grids[0]
    if not grids and (settings.crs is None or settings.resolution_m is None or settings.bounds is None):
        raise VigieError("no grid can be chosen without a scene", expected="crs, resolution_m and bounds")
    if settings.crs is None:
        _resolution_m(grids[0], settings)
    crs = settings.crs or str(grids[0].crs)
    resolution_m = settings.resolution_m or min(_resolution_m(grid, settings) for grid in grids)
    return cover(settings.bounds or _bounds(grids, crs), crs, resolution_m)


def _resolution_m(grid: GeoBox, settings: GridSettings) -> float:
    if not in_metres(grid.crs):
        lon, lat = grid.footprint("EPSG:4326").centroid.coords[0]
        utm = (32600 if lat >= 0 else 32700) + int((lon + 180) % 360 // 6) + 1
        crs = f"--set harmonize.grid.crs=EPSG:{utm} " if settings.crs is None else ""
        raise VigieError(
            "the image's grid is not in metres",
            found=grid.crs,
            expected="a grid in metres, for instance in the UTM zone of the place",
            do=f"add {crs}--set harmonize.grid.resolution_m=30 with the pixel size you want",
        )
    return float(np.sqrt(abs(grid.affine.determinant)))


def _bounds(grids: Sequence[GeoBox], crs: str) -> Bounds:
    west, south, east, north = zip(*(bounds_in(grid, crs) for grid in grids), strict=True)
    return min(west), min(south), max(east), max(north)


def bounds_in(grid: GeoBox, crs: str) -> Bounds:
    """Give west, south, east and north of a grid in another coordinate system.

    Examples
    --------
    >>> [round(v, 3) for v in bounds_in(cover((4.9e5, 3e6, 5.1e5, 3.01e6), "EPSG:32645", 10), "EPSG:4326")]
    [86.899, 27.122, 87.101, 27.213]
    """
    box = grid.boundingbox
    bounds = box.left, box.bottom, box.right, box.top
    if str(grid.crs) == crs:
        return bounds
    west, south, east, north = Transformer.from_crs(str(grid.crs), crs, always_xy=True).transform_bounds(*bounds)
    return float(west), float(south), float(east), float(north)


def apart(one: GeoBox, other: GeoBox) -> bool:
    """Say that two grids have no ground in common, as far as their bounds tell."""
    a, b = bounds_in(one, str(other.crs)), bounds_in(other, str(other.crs))
    return a[0] >= b[2] or b[0] >= a[2] or a[1] >= b[3] or b[1] >= a[3]


@dataclass(frozen=True)
class Placement:
    """Where pixels of `target` fall on `source`.

    Places are always computed from the indices of the whole target, never of a window, so they do not depend on tiling. Pixel
    coordinates are (row, column) with (0, 0) at the outer corner of the first pixel and (0.5, 0.5) at its centre.

    Examples
    --------
    >>> fine, coarse = (GeoBox((8, 8), Affine(s, 0, 0, 0, -s, 80), "EPSG:32645") for s in (10, 20))
    >>> Placement(fine, coarse).ratio
    2.0
    """

    source: GeoBox
    target: GeoBox

    @cached_property
    def matrix(self) -> Affine | None:
        """Affine map from target to source pixels (x before y), or None where the coordinate systems differ."""
        return ~self.source.affine @ self.target.affine if self.source.crs == self.target.crs else None

    @cached_property
    def aligned(self) -> bool:
        """True where rows of the target are rows of the source."""
        m = self.matrix
        reach = max(self.target.shape)
        return m is not None and max(abs(m.b), abs(m.d)) * reach < SAME_GRID_PX and m.a > 0 and m.e > 0

    @cached_property
    def offset(self) -> tuple[int, int] | None:
        """Rows and columns to add to target indices where both grids share their lattice, else None."""
        m = self.matrix
        if m is None or not self.aligned:
            return None
        rows, columns = self.target.shape
        drift = max(abs(m.a - 1) * columns, abs(m.e - 1) * rows)
        rest = max(abs(m.c - round(m.c)), abs(m.f - round(m.f)))
        return (round(m.f), round(m.c)) if drift + rest < SAME_GRID_PX else None

    @cached_property
    def ratio(self) -> float:
        """Side of a target pixel in source pixels, at the middle of the target."""
        rows, columns = self.target.shape
        corners = np.array([rows // 2, rows // 2 + 1.0])[:, None], np.array([columns // 2, columns // 2 + 1.0])[None, :]
        y, x = (np.broadcast_to(v, (2, 2)) for v in self.places(*corners))
        side = (y[0, 1] - y[0, 0], x[0, 1] - x[0, 0]), (y[1, 0] - y[0, 0], x[1, 0] - x[0, 0])
        return float(np.sqrt(abs(side[0][0] * side[1][1] - side[0][1] * side[1][0])))

    def places(self, rows: Pixels, columns: Pixels) -> tuple[Pixels, Pixels]:
        """Map target pixel coordinates, rows (n, 1) and columns (1, m), to source rows and columns.

        Aligned grids give (n, 1) and (1, m) back, others (n, m). Places no projection can reach are far outside.
        """
        m = self.matrix
        if m is not None and self.aligned:
            return m.e * rows + m.f, m.a * columns + m.c
        if m is not None:
            return m.d * columns + m.e * rows + m.f, m.a * columns + m.b * rows + m.c
        t, s = self.target.affine, ~self.source.affine
        east, north = t.a * columns + t.b * rows + t.c, t.d * columns + t.e * rows + t.f
        east, north = (np.ascontiguousarray(np.broadcast_to(v, (rows.size, columns.size))) for v in (east, north))
        x, y = self._transformer.transform(east, north)
        return s.d * x + s.e * y + s.f, s.a * x + s.b * y + s.c

    def near(self, rows: Pixels, columns: Pixels) -> tuple[Pixels, Pixels]:
        """Like `places`, with what lies far outside the source pulled near; target pixels that touch it stay as they are."""
        y, x = self.places(rows, columns)
        height, width = self.source.shape
        far = FAR_PX + float(np.ceil(2 * self.ratio))

        def pull(v: Pixels, size: int) -> Pixels:
            return np.clip(np.nan_to_num(v, nan=-far), -far, size + far)

        return pull(y, height), pull(x, width)

    @cached_property
    def _transformer(self) -> Transformer:
        return Transformer.from_crs(str(self.target.crs), str(self.source.crs), always_xy=True)
