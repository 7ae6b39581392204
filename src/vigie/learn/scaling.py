"""Scene-wise robust scaling: what a network sees does not depend on a scene's gain and offset.

Every measured band of a scene is standardised with three percentiles of the whole scene,

    z = (x - P50) / (P84 - P16),

the median and, for a normal distribution, twice the standard deviation. Terrain stays absolute: 30 degrees are 30 degrees
everywhere. A band without spread carries no information and becomes 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, sqrt
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

from vigie.core.cube import FLAGS, Reader, flagged
from vigie.core.errors import VigieError, nearest
from vigie.core.tiles import Window, tiles
from vigie.learn.colour import as_colours

TERRAIN_SCALES: Mapping[str, float] = {
    "slope": 30.0,
    "relief": 100.0,
    "aspect_sin": 1.0,
    "aspect_cos": 1.0,
    "slope_300m": 20.0,
    "slope_700m": 20.0,
    "roughness": 10.0,
    "height": 300.0,
}
"""Divisors of terrain bands: 1 is a steep, high or rough place; aspect stays as it is."""

COLOUR_SCALE, BRIGHTNESS_SCALE = 0.5, 1.4
"""Divisors of colour and brightness, in natural logarithms: rock, ice, water and plants are a few units apart."""

UNUSED = ("elevation",)
"""Terrain bands that are never shown to a network: absolute height tells the region, not the surface."""

LATTICE_SIDE = 128
"""Side of the lattice's windows, pixels: many small ones say more of a scene than a few large ones, but cost more reads."""

ENOUGH = 4096
"""Clear pixels of a band below which all of a large scene is looked at: film and swath edges are mostly empty."""

ALMOST_ZERO = float(np.finfo(np.float32).eps)
"""What a standardised value of exactly 0 becomes, such as whole-number medians and flat ground: 0 is what is missing.

Far too small to matter, and large enough that products with weights are no subnormal numbers, which are slow."""

BLOCK = 1024
"""Side of the windows in which a scene is read whole, pixels."""


class RobustScaling(BaseModel):
    """How scenes are standardised.

    A strongly shadowed scene would be lost if flagged pixels entered its percentiles; for 'colour' see `learn.colour`.

    Examples
    --------
    >>> RobustScaling().names
    ('p16', 'p50', 'p84')
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    percentiles: tuple[float, float, float] = Field(
        default=(16.0, 50.0, 84.0), description="lower, middle and upper percentile by which a scene's bands are standardised"
    )
    reflectances: Literal["colour", "percentiles"] = Field(
        default="colour",
        description="three calibrated bands or more: as 'colour' and brightness, or by band with 'percentiles' as all others",
    )
    clip: float = Field(default=10.0, gt=0, description="bound of standardised values")
    exclude: tuple[str, ...] = Field(
        default=("nodata", "saturated", "shadow", "cloud"), description="pixels with these flags do not enter the percentiles"
    )
    max_pixels: int = Field(default=2**22, ge=1, description="pixels read of a large scene for its percentiles, at most")

    @field_validator("percentiles")
    @classmethod
    def _ascending(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        if not 0 <= value[0] < value[1] < value[2] <= 100:
            raise ValueError(f"percentiles must ascend between 0 and 100, not {value}")
        return value

    @field_validator("exclude")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for flag in value:
            if flag not in FLAGS:
                raise ValueError(f"unknown flag '{flag}', known are {', '.join(FLAGS)}; {nearest(flag, list(FLAGS))}")
        return value

    @property
    def names(self) -> tuple[str, str, str]:
        """Names of the three percentiles' variables."""
        low, middle, high = (f"p{p:g}" for p in self.percentiles)
        return low, middle, high


def lattice(sizes: Mapping[str, int], max_pixels: int) -> list[Window]:
    """Spread square windows evenly over a scene, at most `max_pixels` in all; a small scene is covered whole.

    The windows depend on the scene's size alone, so what is measured on them does not depend on how work is cut into tiles.

    Examples
    --------
    >>> lattice({"y": 1100, "x": 200}, 2**22)
    [{'y': slice(0, 1024, None), 'x': slice(0, 200, None)}, {'y': slice(1024, 1100, None), 'x': slice(0, 200, None)}]
    >>> len(lattice({"y": 20_000, "x": 20_000}, 2**22))
    256
    """
    height, width = sizes["y"], sizes["x"]
    if height * width <= max_pixels:
        return _blocks(sizes)
    side_y, side_x = min(LATTICE_SIDE, height), min(LATTICE_SIDE, width)
    count = max(1, max_pixels // (side_y * side_x))
    rows = min(max(1, round(sqrt(count * height * side_x / (width * side_y)))), count, height // side_y)
    columns = min(count // rows, width // side_x)
    ys, xs = _spread(height, side_y, rows), _spread(width, side_x, columns)
    return [{"y": slice(y, y + side_y), "x": slice(x, x + side_x)} for y in ys for x in xs]


def _blocks(sizes: Mapping[str, int]) -> list[Window]:
    """Windows that cover a scene."""
    return [tile.keep for tile in tiles({"y": sizes["y"], "x": sizes["x"]}, {"y": BLOCK, "x": BLOCK})]


def _spread(size: int, side: int, count: int) -> list[int]:
    """Starts of `count` windows whose centres are the centres of `count` equal parts of the axis."""
    return [min(max(0, int((i + 0.5) * size / count - side / 2)), size - side) for i in range(count)]


def shown(scene: xr.Dataset, scaling: RobustScaling) -> xr.Dataset:
    """Convert reflectances to colours where the scaling asks for it."""
    return as_colours(scene) if scaling.reflectances == "colour" else scene


def measure(read: Reader, sizes: Mapping[str, int], scaling: RobustScaling) -> xr.Dataset:
    """Measure the percentiles of every band over the valid pixels of a whole scene.

    Where the lattice shows too little of a measured band, the whole scene is looked at, thinned, and then every pixel.

    Parameters
    ----------
    read, sizes: the scene's reader and its full size along y and x.
    scaling: which percentiles, over which pixels.

    Returns
    -------
    One value a band of `p16`, `p50`, `p84` (NaN for a band that is empty) and `pixels`, the number of pixels they stand on.

    Raises
    ------
    VigieError: the scene has no valid pixel at all, or none where all of its reflectances are known, if they become colours.
    """
    kinds, blocks = _clear_values(read, lattice(sizes, scaling.max_pixels), scaling, 1)
    measured = _measured(kinds)
    coarse = ceil(sqrt(sizes["y"] * sizes["x"] / scaling.max_pixels))
    for thin in (coarse, 1) if coarse > 1 else ():
        poor = [number for number, part in enumerate(blocks) if part.size < ENOUGH]
        if measured[poor].any():
            finer = _clear_values(read, _blocks(sizes), scaling, thin, poor)[1]
            blocks = [finer[poor.index(n)] if n in poor else part for n, part in enumerate(blocks)]
    values = np.full((3, len(blocks)), np.nan)
    pixels = np.array([part.size for part in blocks], dtype=np.int64)
    for number in np.flatnonzero(pixels):
        values[:, number] = np.percentile(blocks[number].astype(np.float64), scaling.percentiles)
    if not (pixels[measured].any() and pixels[kinds.values == "colour"].all()):
        raise _unmeasurable(read, sizes, scaling)
    found = {name: ("band", values[i]) for i, name in enumerate(scaling.names)}
    return xr.Dataset({**found, "pixels": ("band", pixels)}, coords={"band": ("band", kinds["band"].values)})


def _measured(kinds: xr.DataArray) -> NDArray[np.bool_]:
    """Which bands tell what the image shows: all but terrain, unless there is nothing else."""
    measured: NDArray[np.bool_] = kinds.values != "terrain"
    return measured if measured.any() else ~measured


def _unmeasurable(read: Reader, sizes: Mapping[str, int], scaling: RobustScaling) -> VigieError:
    """Say what a scene lacks: clear pixels, or data of a reflectance, without which no pixel has a colour."""
    plain = scaling.model_copy(update={"reflectances": "percentiles"})
    kinds, blocks = _clear_values(read, lattice(sizes, scaling.max_pixels), plain, 1)
    reflectances = [
        (name, part.size) for name, kind, part in zip(kinds["band"].values, kinds.values, blocks) if kind == "reflectance"
    ]
    if scaling.reflectances == "colour" and any(size for _, size in reflectances):
        return VigieError(
            "a scene has no pixel whose colour is known",
            found=f"reflectances without data: {[str(name) for name, size in reflectances if not size]} in {dict(sizes)}",
            expected="pixels where every reflectance has data",
            do="leave the empty band out, or train with train.scaling.reflectances = 'percentiles': each band alone",
        )
    return VigieError(
        "a scene has no pixel to measure its brightness on",
        found=f"no pixel free of {', '.join(scaling.exclude)} in {dict(sizes)}",
        expected="some clear land or ice",
        do="leave the scene out, or mend its nodata and quality masks",
    )


def _clear_values(
    read: Reader, windows: Sequence[Window], scaling: RobustScaling, thin: int, bands: Sequence[int] | None = None
) -> tuple[xr.DataArray, list[NDArray[np.floating]]]:
    """Kinds of bands, and their values on the clear pixels of lines and columns whose number is a multiple of `thin`."""
    kinds, found = xr.DataArray(), list[list[NDArray[np.floating]]]()
    for window in windows:
        scene = shown(read(window), scaling)
        scene = scene if bands is None else scene.isel(band=bands)
        y, x = (slice(-window[d].start % thin, None, thin) for d in ("y", "x"))
        clear = ~flagged(scene["flags"], *scaling.exclude).values[y, x]
        kinds = scene["kind"]
        found = found or [[] for _ in kinds]
        for parts, band in zip(found, scene["observation"].values[:, y, x], strict=True):
            parts.append(band[clear & np.isfinite(band)])
    return kinds, [np.concatenate(parts) for parts in found]


def standardise(
    scene: xr.Dataset, statistics: xr.Dataset, scaling: RobustScaling
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Turn a window of a scene into what a network sees.

    Parameters
    ----------
    scene: any window of the scene, any selection of its bands, in the layout of `core.cube`.
    statistics: what `measure` found on the whole scene.

    Returns
    -------
    x: (band, y, x) float32 within +-clip; 0, the scene's median, where missing, and nowhere else. 'elevation' is not used and
        stays 0.
    mask: (2, y, x) float32, 1 where the pixel is valid, that is where any band but terrain has data, and where it is saturated.
    """
    values = scene["observation"].values
    scale, offset = _scale_offset(scene, statistics, scaling)
    nodata = flagged(scene["flags"], "nodata").values
    missing = ~np.isfinite(values) | nodata | ~np.isfinite(scale)[:, None, None]
    z = (values.astype(np.float64) - offset[:, None, None]) / scale[:, None, None]
    x: NDArray[np.float32] = np.clip(np.where(missing, 0.0, z), -scaling.clip, scaling.clip).astype(np.float32)
    x[(x == 0) & ~missing] = ALMOST_ZERO
    valid = ~nodata & np.isfinite(values[_measured(scene["kind"])]).any(axis=0)
    saturated = flagged(scene["flags"], "saturated").values & valid
    return x, np.stack([valid, saturated]).astype(np.float32)


def _scale_offset(
    scene: xr.Dataset, statistics: xr.Dataset, scaling: RobustScaling
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Divisor and offset of every band; a NaN divisor marks a band that says nothing."""
    names, kinds, known = scene["band"].values.tolist(), scene["kind"].values.tolist(), statistics["band"].values.tolist()
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise VigieError(
            f"scene '{scene.attrs.get('scene', '?')}': bands without statistics",
            found=unknown,
            expected=known,
            do="measure the whole scene again: its bands have changed",
        )
    at = [known.index(name) for name in names]
    low, middle, high = (statistics[name].values[at] for name in scaling.names)
    scale = np.where(high > low, high - low, np.nan)
    offset = np.array(middle, dtype=np.float64)
    for i, (name, kind) in enumerate(zip(names, kinds, strict=True)):
        if kind == "terrain":
            scale[i], offset[i] = _terrain_scale(name), 0.0
        elif kind == "colour":
            scale[i], offset[i] = COLOUR_SCALE, 0.0
        elif kind == "brightness":
            scale[i] = BRIGHTNESS_SCALE
    return scale, offset


def _terrain_scale(name: str) -> float:
    if name in UNUSED:
        return np.nan
    if name not in TERRAIN_SCALES:
        raise VigieError(
            f"terrain band '{name}' has no scale",
            expected=f"{', '.join((*TERRAIN_SCALES, *UNUSED))}",
            do=nearest(name, [*TERRAIN_SCALES, *UNUSED]) or "rename the band after what it measures",
        )
    return TERRAIN_SCALES[name]
