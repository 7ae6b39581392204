"""How far an image lies from where it should: a sub-pixel shift, found in many windows, believed only if they agree.

Windows are compared by the orientation of their gradients (orientation correlation: Fitch et al. 2002; best of the methods that
Heid & Kääb 2012 compared on glaciers), with angles doubled, so that neither gain nor an inverted contrast between sensors
matters and missing pixels simply have no orientation. The peak is refined by a matrix Fourier transform (Guizar-Sicairos
et al. 2008).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pydantic import BaseModel, ConfigDict, Field

from vigie.core.errors import VigieError
from vigie.core.tiles import Window
from vigie.harmonize.lattice import lattice
from vigie.harmonize.reader import SceneReader
from vigie.harmonize.warp import read_band

Float = NDArray[np.float32]
Orientation = NDArray[np.complex128]
Image = Callable[[Window], Float]
"""Gives the pixels (y, x) of a window, NaN where missing; windows may reach beyond the grid."""


class CoregisterSettings(BaseModel):
    """When a shift between two images is believed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    side: int = Field(default=128, ge=32, description="side of the windows that are compared, pixels")
    count: int = Field(default=6, ge=2, description="windows along each side of the image, at most")
    limit_m: float = Field(default=300.0, gt=0, description="largest shift that is believed, metres")
    peak: float = Field(
        default=6.0, gt=0, description="height of a window's correlation peak, in standard deviations of the rest"
    )
    windows: int = Field(default=4, ge=1, description="windows that must agree, at least")
    share: float = Field(default=0.5, gt=0, le=1, description="share of the windows with data that must agree, at least")
    agree_px: float = Field(default=0.5, gt=0, description="windows agree when they are so near to the median, pixels")


@dataclass(frozen=True)
class Shift:
    """Metres towards x and y of the grid by which the moving image must be moved to lie on the reference.

    `quality` is the share of windows with data that agree, `n` their number, `spread_m` 1.4826 times their median absolute
    deviation. Give `moved_m` to `SceneReader`.
    """

    dx_m: float
    dy_m: float
    quality: float
    n: int
    spread_m: float

    @property
    def moved_m(self) -> tuple[float, float]:
        """The shift as `SceneReader` takes it."""
        return self.dx_m, self.dy_m


@dataclass(frozen=True)
class BandImage:
    """One band of a scene as an `Image`."""

    reader: SceneReader
    band: str

    def __call__(self, window: Window) -> Float:
        """Read a window of the band."""
        band = next((b for b in self.reader.scene.bands if b.name == self.band), None)
        if band is None:
            names = ", ".join(b.name for b in self.reader.scene.bands)
            raise VigieError(
                f"scene '{self.reader.scene.id}' has no band '{self.band}'",
                expected=names,
                do="choose another band in harmonize.coregister",
            )
        return read_band(band, self.reader.image_grid, window, self.reader.settings.refine)[0]


def measure_shift(moving: Image, reference: Image, grid: GeoBox, settings: CoregisterSettings | None = None) -> Shift:
    """Measure by how much `moving` must be moved to lie on `reference`; both are read on `grid`.

    A first pass finds whole pixels, a second compares windows moved by them, so that the same ground is in both.

    Raises
    ------
    VigieError
        If too few windows agree, or the shift is larger than the limit: a doubtful shift is worse than none.
    """
    settings = settings or CoregisterSettings()
    first = _agreement(moving, reference, grid, settings, (0, 0))
    start = int(np.rint(first.rows)), int(np.rint(first.columns))
    found = _agreement(moving, reference, grid, settings, start)
    a = grid.affine
    shift = Shift(
        dx_m=a.a * found.columns + a.b * found.rows,
        dy_m=a.d * found.columns + a.e * found.rows,
        quality=found.agreeing / found.windows,
        n=found.agreeing,
        spread_m=found.spread * float(np.sqrt(abs(a.determinant))),
    )
    if np.hypot(shift.dx_m, shift.dy_m) > settings.limit_m:
        raise VigieError(
            "the images are further apart than co-registration believes",
            found=f"{shift.dx_m:.1f} m, {shift.dy_m:.1f} m",
            expected=f"at most {settings.limit_m:g} m",
            do="check the georeference, or raise `limit_m`",
        )
    return shift


@dataclass(frozen=True)
class _Agreement:
    """Median shift of the windows that agree, in pixels, and how many of how many do."""

    rows: float
    columns: float
    spread: float
    agreeing: int
    windows: int


def _agreement(
    moving: Image, reference: Image, grid: GeoBox, settings: CoregisterSettings, start: tuple[int, int]
) -> _Agreement:
    sizes = {"y": int(grid.shape[0]), "x": int(grid.shape[1])}
    shifts, windows = [], 0
    for window in lattice(sizes, settings.side, settings.count):
        there = {d: slice(window[d].start - s, window[d].stop - s) for d, s in zip(("y", "x"), start, strict=True)}
        pair = orientation(reference(window)), orientation(moving(there))
        if min(np.count_nonzero(image) for image in pair) < settings.side**2 / 4:
            continue
        windows += 1
        rows, columns, peak = peak_shift(*pair)
        if peak >= settings.peak:
            shifts.append((rows + start[0], columns + start[1]))
    return _agree(np.array(shifts).reshape(-1, 2), windows, settings)


def _agree(shifts: NDArray[np.float64], windows: int, settings: CoregisterSettings) -> _Agreement:
    """Take the median of the windows near the median of all; refuse when they are too few."""
    near = shifts
    if len(shifts):
        near = shifts[np.hypot(*(shifts - np.median(shifts, axis=0)).T) <= 2 * settings.agree_px]
    if len(near):
        near = shifts[np.hypot(*(shifts - np.median(near, axis=0)).T) <= settings.agree_px]
    if len(near) < max(settings.windows, settings.share * windows):
        raise VigieError(
            "the images cannot be co-registered: their windows do not agree on a shift",
            found=f"{len(near)} of {windows} windows",
            expected=f"at least {settings.windows} and {settings.share:.0%} of them",
            do="choose bands and dates that look alike, or leave the image where it is",
        )
    middle = np.median(near, axis=0)
    spread = 1.4826 * float(np.median(np.hypot(*(near - middle).T)))
    return _Agreement(float(middle[0]), float(middle[1]), spread, len(near), windows)


def orientation(image: Float) -> Orientation:
    """Turn an image (y, x) into doubled gradient orientations of length 0..1; 0 where the image is missing or flat.

    Gradients below their median fade out: what they point to is noise.

    Examples
    --------
    >>> ramp = np.add.outer(np.arange(5.0), np.zeros(5))
    >>> bool(np.allclose(orientation(ramp), orientation(-3 * ramp + 7)))
    True
    """
    field = np.zeros(image.shape, dtype=np.complex128)
    soft = _blur(_blur(image.astype(np.float64), 0), 1)
    field[2:-2, 2:-2] = (soft[1:-1, 2:] - soft[1:-1, :-2]) + 1j * (soft[2:, 1:-1] - soft[:-2, 1:-1])
    field[np.isnan(field)] = 0
    length = np.abs(field)
    if not length.any():
        return field
    fade = length**2 + np.median(length[length > 0]) ** 2
    return np.asarray(field**2 / fade)


def _blur(image: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Weigh three neighbours 1 2 1: detail finer than two pixels would pull sub-pixel shifts towards whole pixels."""
    line = np.moveaxis(image, axis, 0)
    return np.moveaxis(line[:-2] + 2 * line[1:-1] + line[2:], 0, axis)


def peak_shift(reference: Orientation, moving: Orientation) -> tuple[float, float, float]:
    """Find the shift (rows, columns) that brings `moving` onto `reference`, and the height of its peak.

    The height is counted in standard deviations of the correlation at all other shifts; for unrelated images it is 3 to 6.

    Examples
    --------
    >>> scene = np.random.default_rng(0).normal(size=(64, 64))
    >>> field = orientation(scene)
    >>> rows, columns, peak = peak_shift(field, np.roll(field, (3, -2), axis=(0, 1)))
    >>> round(rows), round(columns), peak > 6
    (-3, 2, True)
    """
    taper = np.sqrt(np.outer(*(np.hanning(n + 2)[1:-1] for n in reference.shape)))
    cross = np.fft.fft2(reference * taper) * np.conj(np.fft.fft2(moving * taper))
    correlation = np.fft.ifft2(cross).real
    top = np.unravel_index(int(np.argmax(correlation)), correlation.shape)
    peak = float((correlation[top] - correlation.mean()) / correlation.std())
    whole = [int(t) - n if t > n // 2 else int(t) for t, n in zip(top, correlation.shape, strict=True)]
    for step in (0.1, 0.01):
        whole = _refine(cross, whole, step)
    return float(whole[0]), float(whole[1]), peak


def _refine(cross: Orientation, about: list[float] | list[int], step: float) -> list[float]:
    """Evaluate the correlation on a fine lattice about a place and give its highest point."""
    fine = np.arange(-10, 11) * step
    offsets = [place + fine for place in about]
    waves = [np.exp(2j * np.pi * np.outer(o, np.fft.fftfreq(n))) for o, n in zip(offsets, cross.shape, strict=True)]
    values = (waves[0] @ cross @ waves[1].T).real
    top = np.unravel_index(int(np.argmax(values)), values.shape)
    return [float(o[t]) for o, t in zip(offsets, top, strict=True)]
