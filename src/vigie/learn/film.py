"""Simulate declassified film (KH-9, KH-4B) from multispectral reflectance, so that a network learns film from modern labels.

The order is that of a camera and a scanner: the scene is weighed by an unknown spectral sensitivity, dimmed towards the frame's
corners, blurred by optics and motion, turned into density by the film's characteristic curve, grained, scanned with an exposure
that saturates the brightest snow, and finally carries dust, scratches and reseau crosses. The formulation is ours (notes, M4).

A `Film` is drawn once for a scene. Grain and damage are functions of its keys and of the place in the scene, so that any window
of the scene is the same pixels of the same film.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import BaseModel, Field
from scipy import ndimage, special

from vigie.core.errors import VigieError

Range = tuple[float, float]
Image = NDArray[np.float64]

SCRATCHED_PX = 256
"""Side of the squares of the scene's lattice that scratches are drawn for, pixels."""


class FilmSettings(BaseModel, extra="forbid", frozen=True):
    """Ranges from which the film of a scene is drawn; every draw is uniform in its range."""

    contrast: Range = Field(default=(2.0, 6.0), description="slope of the characteristic curve per decade of exposure")
    speed: Range = Field(default=(0.1, 0.5), description="exposure (reflectance) at the middle of the curve")
    blur_px: Range = Field(default=(0.5, 2.0), description="standard deviation of the point spread function, pixels")
    coarsening: Range = Field(
        default=(1.0, 2.0),
        description="effective pixel size over that of the input, for a film that resolves less than its scan",
    )
    grain_dn: Range = Field(default=(2.0, 10.0), description="standard deviation of grain, DN")
    grain_px: float = Field(default=0.7, gt=0, description="standard deviation of the grain's blur, pixels")
    field_angle_deg: Range = Field(
        default=(0.0, 20.0), description="half field of view at the corner of the scene's frame, for cos^4 vignetting"
    )
    saturated: Range = Field(default=(0.0, 0.4), description="share of valid pixels that the scan saturates")
    scratches: int = Field(default=2, ge=0, description="number of scratches a square of the scene's lattice")
    dust: float = Field(default=5e-5, ge=0, le=0.1, description="share of pixels where a speck of dust lies")
    reseau_px: Range = Field(default=(60.0, 200.0), description="spacing of reseau crosses, pixels")
    reseau_arm_px: Range = Field(default=(4.0, 10.0), description="half length of a cross's arm, pixels")
    reseau_width_px: Range = Field(default=(1.0, 2.0), description="width of a cross's line, pixels")
    reseau_share: float = Field(default=0.5, ge=0, le=1, description="share of films that carry crosses")


def film_bands(scene: xr.Dataset) -> list[int]:
    """List the bands of a scene that film may be mixed from: reflectance between 0.4 and 0.95 um.

    Examples
    --------
    >>> film_bands(xr.Dataset(coords={"kind": ("band", ["reflectance", "reflectance", "terrain"]),
    ...                               "wavelength_um": ("band", [0.56, 1.6, float("nan")])}))
    [0]
    """
    pairs = zip(scene["kind"].values.tolist(), scene["wavelength_um"].values.tolist())
    return [i for i, (kind, micron) in enumerate(pairs) if kind == "reflectance" and 0.4 <= micron <= 0.95]


@dataclass(frozen=True)
class Reseau:
    """Crosses on a square lattice: spacing, corner (y, x), half arm, half line, pixels; and the share of DN they leave."""

    step: float
    corner: tuple[float, float]
    arm: float
    half: float
    passes: float


@dataclass(frozen=True)
class Film:
    """One film of one scene.

    mix: shares of the bands in the exposure; sizes (y, x) of the scene; axis (y, x): where it is brightest, in half sizes from
    the centre; edge: tangent of the field angle at the corner; sigma_px of the blur; contrast and speed of the characteristic
    curve; saturated: share of the pixels; grain_dn and grain_px; dust: share of the pixels, and its DN; reseau: None without
    crosses; scratches: keys of each one's five numbers; keys of the grain (two) and of the dust.
    """

    mix: tuple[float, ...]
    sizes: tuple[int, int]
    axis: tuple[float, float]
    edge: float
    sigma_px: float
    contrast: float
    speed: float
    saturated: float
    grain_dn: float
    grain_px: float
    dust: tuple[float, float]
    reseau: Reseau | None
    scratches: tuple[tuple[int, ...], ...]
    keys: tuple[int, ...]

    @property
    def halo_px(self) -> int:
        """How far the blur reaches."""
        return len(taps(self.sigma_px)) // 2


def draw_film(settings: FilmSettings, bands: int, sizes: tuple[int, int], seed: Sequence[int]) -> Film:
    """Draw the film of a scene from its ranges.

    Parameters
    ----------
    bands
        Number of bands that it may be mixed from; the spectral sensitivity is not known, so shares are Dirichlet(1).
    sizes
        Lines and columns of the whole scene.
    seed
        Whole numbers >= 0: the same ones give the same film.
    """
    if bands < 1 or min(sizes) < 1:
        raise VigieError("film cannot be simulated", found=f"{bands} bands, {sizes} px", expected="at least one of each")
    random = np.random.default_rng(list(seed))

    def uniform(limits: Range) -> float:
        return float(random.uniform(*limits))

    def keys(count: int) -> tuple[int, ...]:
        return tuple(random.integers(2**63, size=count).tolist())

    # A box of side c has the variance c^2 / 12; that of the input's own pixel is there already.
    sigma_px = math.hypot(uniform(settings.blur_px), math.sqrt(max(uniform(settings.coarsening) ** 2 - 1, 0.0) / 12))
    step = uniform(settings.reseau_px)
    reseau = Reseau(
        step,
        (uniform((0.0, step)), uniform((0.0, step))),
        uniform(settings.reseau_arm_px),
        uniform(settings.reseau_width_px) / 2,
        uniform((0.05, 0.4)),
    )
    return Film(
        mix=tuple(random.dirichlet(np.ones(bands)).tolist()),
        sizes=sizes,
        axis=(uniform((-1.0, 1.0)), uniform((-1.0, 1.0))),
        edge=math.tan(math.radians(uniform(settings.field_angle_deg))),
        sigma_px=sigma_px,
        contrast=uniform(settings.contrast),
        speed=uniform(settings.speed),
        saturated=uniform(settings.saturated),
        grain_dn=uniform(settings.grain_dn),
        grain_px=settings.grain_px,
        dust=(settings.dust, round(uniform((0.0, 255.0)))),
        reseau=reseau if uniform((0.0, 1.0)) < settings.reseau_share else None,
        scratches=tuple(keys(5) for _ in range(settings.scratches)),
        keys=keys(3),
    )


def density(film: Film, reflectance: NDArray[np.floating], seen: NDArray[np.bool_], corner: tuple[int, int]) -> Image:
    """Expose and develop a film: relative density 0-1 of a window.

    Parameters
    ----------
    reflectance
        (B, y, x) of the bands `film_bands` lists, about 0-1; anything where not seen. The outermost `film.halo_px` pixels of
        what comes out miss a part of their blur, apart from those at the scene's own edge.
    seen
        (y, x), what has data; what has not does not bleed into it.
    corner
        Line and column of the window's first pixel in the scene.
    """
    if reflectance.shape != (len(film.mix), *seen.shape):
        raise VigieError(
            "film cannot be simulated",
            found=f"reflectance {reflectance.shape}, seen {seen.shape}",
            expected=f"reflectance ({len(film.mix)}, y, x) and seen (y, x)",
        )
    # One band after the other: numpy's own sum takes another order where windows are small.
    exposure = sum(share * np.where(seen, band, 0.0) for share, band in zip(film.mix, reflectance.astype(np.float64)))
    exposure = np.maximum(exposure, 1e-3) * _vignetting(film, *_places(seen, corner)) * seen
    shape = taps(film.sigma_px)
    blurred = _blurred(exposure, shape) / np.maximum(_blurred(seen.astype(np.float64), shape), 1e-6)
    decades = np.log10(np.maximum(blurred, 1e-4)) - math.log10(film.speed)
    return np.asarray(special.expit(film.contrast * decades), dtype=np.float64)


def white_level(film: Film, densities: Image) -> float:
    """Density that the scan shows as 255 DN, so that the film's share of the scene saturates; 1 where there is nothing."""
    if not densities.size:
        return 1.0
    return max(float(np.sort(densities, axis=None)[round((1 - film.saturated) * (densities.size - 1))]), 1e-3)


def scan(film: Film, developed: Image, white: float, corner: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Scan a window of developed film: grainy and damaged DN of 1-255 (0 is what film does not show), and what is saturated."""
    y, x = _places(developed, corner)
    dn = 255.0 * (developed / white) + film.grain_dn * _grain(film, y, x)
    saturated = dn >= 255.0
    dn = _damaged(film, np.clip(dn, 0.0, 255.0), y, x)
    return np.clip(dn, 1.0, 255.0).astype(np.float32), saturated & (dn >= 255.0)


def taps(sigma_px: float) -> Image:
    """Weights of a Gaussian blur out to three standard deviations, which sum to 1."""
    radius = max(1, math.ceil(3 * sigma_px))
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma_px) ** 2)
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def _places(image: NDArray[np.generic], corner: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Lines (y, 1) and columns (1, x) of a window's pixels in the scene."""
    lines, columns = (np.arange(at, at + count) for at, count in zip(corner, image.shape))
    return lines[:, None], columns[None, :]


def _vignetting(film: Film, y: NDArray[np.int64], x: NDArray[np.int64]) -> Image:
    """cos^4 of the field angle; the optical axis lies anywhere within the scene."""
    down, right = ((2 * at + 1) / size - 1 - axis for at, size, axis in zip((y, x), film.sizes, film.axis))
    return np.asarray((1 + film.edge**2 * (down**2 + right**2) / 2) ** -2.0)


def _blurred(image: Image, weights: Image) -> Image:
    """Convolve along lines and columns with what is 0 outside."""
    along = ndimage.correlate1d(image, weights, axis=0, mode="constant")
    return np.asarray(ndimage.correlate1d(along, weights, axis=1, mode="constant"))


def _uniform(key: int, y: NDArray[np.int64], x: NDArray[np.int64]) -> Image:
    """Uniform numbers between 0 and 1 for places: SplitMix64 (Steele et al. 2014) of key, line and column."""
    lines = _mixed(y.astype(np.uint64) + np.uint64(key))
    return ((_mixed(lines + x.astype(np.uint64)) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def _mixed(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(state ^ (state >> np.uint64(31)))


def _wider(at: NDArray[np.int64], by: int) -> NDArray[np.int64]:
    """Places of a line with `by` more on either side."""
    return np.arange(at.flat[0] - by, at.flat[-1] + 1 + by)


def _grain(film: Film, y: NDArray[np.int64], x: NDArray[np.int64]) -> Image:
    """White noise (Box and Muller 1958) blurred to the grain's size, with a standard deviation of 1."""
    weights = taps(film.grain_px)
    reach = len(weights) // 2
    lines, columns = _wider(y, reach)[:, None], _wider(x, reach)[None, :]
    size, angle = (_uniform(key, lines, columns) for key in film.keys[:2])
    noise = _blurred(np.sqrt(-2 * np.log(size)) * np.cos(2 * np.pi * angle), weights)
    # White noise keeps the sum of the squared weights of its variance, once a direction.
    return noise[reach:-reach, reach:-reach] / float((weights**2).sum())


def _damaged(film: Film, dn: Image, y: NDArray[np.int64], x: NDArray[np.int64]) -> Image:
    """Lay scratches, dust and reseau crosses over the scan."""
    for keys in film.scratches:
        dn = np.where(*_scratch(keys, y, x), dn)
    share, grey = film.dust
    specks = _uniform(film.keys[2], _wider(y, 1)[:, None], _wider(x, 1)[None, :]) < share
    dn = np.where(ndimage.binary_dilation(specks, np.ones((3, 3), dtype=bool))[1:-1, 1:-1], grey, dn)
    return np.where(_crossed(film.reseau, y, x), dn * film.reseau.passes, dn) if film.reseau else dn


def _scratch(keys: Sequence[int], y: NDArray[np.int64], x: NDArray[np.int64]) -> tuple[NDArray[np.bool_], Image]:
    """Where a scratch lies in each square of the lattice, and its DN.

    It is part of a line about 1 px wide: scratches run along the film, here within 10 degrees of a column.
    """
    (lines, row), (columns, column) = (np.unique(at.ravel() // SCRATCHED_PX, return_inverse=True) for at in (y, x))
    drawn = np.stack([_uniform(key, lines[:, None], columns[None, :]) for key in keys])
    tilt, start, top, length, grey = drawn[:, row[:, None], column[None, :]]
    tilt, top = np.radians(20 * tilt - 10), 1.5 * top - 0.5
    down, right = (at % SCRATCHED_PX for at in (y, x))
    distance = np.abs((right - SCRATCHED_PX * start) * np.cos(tilt) - down * np.sin(tilt))
    part = (down >= SCRATCHED_PX * top) & (down < SCRATCHED_PX * (top + length))
    return (distance < 0.6) & part, np.round(255 * grey)


def _crossed(reseau: Reseau, y: NDArray[np.int64], x: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Where crosses lie."""
    step = reseau.step
    dy, dx = (np.abs((at - corner + step / 2) % step - step / 2) for at, corner in zip((y, x), reseau.corner))
    return np.asarray(((dy <= reseau.half) & (dx <= reseau.arm)) | ((dx <= reseau.half) & (dy <= reseau.arm)))
