"""Scenes that clouds hide from edge to edge take no part: nothing could be measured on them, learnt from them or mapped."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from rasterio.coords import disjoint_bounds
from rasterio.io import DatasetReader
from rasterio.windows import Window, bounds, from_bounds

from vigie.acquire.files import is_remote
from vigie.core.errors import VigieError
from vigie.core.raster import opened
from vigie.core.scene import QualityMask, Scene

log = logging.getLogger("vigie")

HIDING = ("nodata", "shadow", "cloud")
"""Flags of pixels that show nothing of the ground."""
SIDE = 1024
"""Pixels are looked at in squares of this side, and only until a clear one is found."""


def with_clear_pixels(scenes: Sequence[Scene]) -> list[Scene]:
    """Leave out scenes whose quality masks show cloud and no clear pixel, and say which.

    Raises
    ------
    VigieError: no scene is left.
    """
    overcast = [scene.id for scene in scenes if is_overcast(scene)]
    if overcast and len(overcast) == len(scenes):
        raise VigieError(
            "no scene has a clear pixel",
            found=f"cloud, its shadow or nodata everywhere in {', '.join(overcast)}",
            expected="some clear ground",
            do="choose other dates, or mend the quality masks",
        )
    for name in overcast:
        log.info("acquire: scene '%s' is left out: its masks show cloud and no clear pixel", name)
    return [scene for scene in scenes if scene.id not in overcast]


def is_overcast(scene: Scene) -> bool:
    """Say whether a scene's quality masks show cloud and leave no clear pixel.

    Remote masks are not looked at: what they hide is known when the scene is harmonized.
    """
    masks = [mask for mask in scene.masks if {*mask.bits, *mask.values} & {*HIDING} and not is_remote(mask.href)]
    cloudy = [mask for mask in masks if "cloud" in {*mask.bits, *mask.values}]
    if not cloudy:
        return False
    clouds = False
    with opened(cloudy[0].href) as frame:
        for window in _squares(frame):
            place, shape = bounds(window, frame.transform), (int(window.height), int(window.width))
            hidden = _nodata(scene, place, shape)
            for mask in masks:
                hidden |= _flagged(mask, HIDING, place, shape)
            if not hidden.all():
                return False
            clouds = clouds or any(_flagged(mask, ("cloud",), place, shape).any() for mask in cloudy)
    return clouds


def _squares(frame: DatasetReader) -> Iterator[Window]:
    for row in range(0, frame.height, SIDE):
        for column in range(0, frame.width, SIDE):
            yield Window(column, row, min(SIDE, frame.width - column), min(SIDE, frame.height - row))


Place = tuple[float, float, float, float]
Shape = tuple[int, int]


def _flagged(mask: QualityMask, names: Sequence[str], place: Place, shape: Shape) -> NDArray[np.bool_]:
    """Where a mask raises any of the named flags."""
    codes = _look(mask.href, mask.index, place, shape)
    bits = {bit for name in names for bit in mask.bits.get(name, ())}
    values = [value for name in names for value in mask.values.get(name, ())]
    pattern = sum(1 << bit for bit in bits)
    flagged: NDArray[np.bool_] = np.isin(codes, values) | (codes.astype(np.int64) & pattern != 0)
    return flagged


def _nodata(scene: Scene, place: Place, shape: Shape) -> NDArray[np.bool_]:
    """Where the scene's first band is missing."""
    band = next((band for band in scene.bands if band.kind != "terrain" and not is_remote(band.href)), None)
    if band is None:
        return np.zeros(shape, dtype=bool)
    stored = _look(band.href, band.index, place, shape)
    missing: NDArray[np.bool_] = ~np.isfinite(stored) | (stored == (np.nan if band.nodata is None else band.nodata))
    return missing


def _look(href: str, index: int, place: Place, shape: Shape) -> NDArray[np.generic]:
    """Read the pixels nearest to those of another grid, 0 far from the file; rasters of one product cover the same ground."""
    with opened(href) as source:
        window = from_bounds(*place, source.transform)
        if disjoint_bounds(place, source.bounds):
            return np.zeros(shape, dtype=source.dtypes[index - 1])
        stored: NDArray[np.generic] = source.read(index, window=window, out_shape=shape)
        return stored
