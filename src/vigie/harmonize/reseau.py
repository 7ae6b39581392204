"""Find the reseau crosses of a scan of film: a lattice of thin dark crosses, exposed onto it to measure its deformation.

To a network they are dark lines that no landscape has; to a digital elevation model they are spikes. A scan that lies north-up
shows them tilted by the heading of the orbit. The tilt is found first, on some squares of the scan, then every cross of about
that tilt. What looks like a cross from afar is measured along its four arms: scratches, roads and moraines lack some of them.

All is found once for a whole scan, in blocks of its own lattice of pixels: no tile has a say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, hypot

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from vigie.core.errors import VigieError
from vigie.core.scene import Cross, Reseau
from vigie.core.tiles import Window, tiles
from vigie.harmonize.crosses import Image, Look, Span, measured_cross, turned
from vigie.harmonize.lattice import lattice

THINNEST_PX = 1.0
"""Lines thinner than this have little contrast left to be told from the landscape by."""
BLOCK = 1024
"""Side of the blocks that are searched, pixels."""
SQUARE, SQUARES = 1.2, 5
"""Squares that the tilt is found on: their side in spacings, so that each shows a cross, and how many along each side."""
ENOUGH = 3
"""Crosses that tell the tilt of a scan."""
TILTS_DEG = np.arange(-45.0, 45.0, 4.0)
"""Tilts that are tried at first; crosses look the same every 90 degrees."""
TEMPLATE_ARM = 16.0
"""Half length of a template's lines in widths, where arms are not shorter: half a step of the tilt moves their ends by half a
width."""
MARGIN_PX = 3.0
"""Ground beside a line that it is compared with, pixels."""
LIKENESS = 0.2
"""From here on a place is measured. Crosses drawn on film of Iceland, with pixels of 4 to 11 m, have more where their arms are
seen; of the film itself seven pixels in a million are measured, in vain."""


def too_thin(reseau: Reseau, gsd_m: float) -> bool:
    """Say that the lines of a reseau are too thin to be found at a pixel size.

    Examples
    --------
    >>> too_thin(Reseau(arm_m=760, width_m=11, spacing_m=6000), gsd_m=75)
    True
    """
    return reseau.width_m / gsd_m < THINNEST_PX


def find_crosses(look: Look, shape: tuple[int, int], reseau: Reseau, gsd_m: float) -> tuple[Cross, ...]:
    """Find the crosses of a scan, in the order of their rows.

    A cross counts when its middle lies on the scan and all four arms are seen, or at least half of each that the edge of the
    scan or missing data cuts off.

    Parameters
    ----------
    look
        Reads the scan, in parts of about 1024 lines of squares of 1.2 spacings, and of blocks of 1024 pixels with a margin.
    shape
        Rows and columns of the scan.
    reseau
        What its crosses are like.
    gsd_m
        Size of its pixels on the ground; they are square.

    Examples
    --------
    >>> from vigie.harmonize.crosses import drawn
    >>> film = np.random.default_rng(0).normal(120, 5, (400, 500)).astype(np.float32)
    >>> film[drawn(Cross(190.0, 260.0, 11.0, 80.0, 2.0), (0, 400), (0, 500))] = 20
    >>> around = np.pad(film, 500, constant_values=np.nan)
    >>> def look(rows, columns):
    ...     return around[rows[0] + 500 : rows[1] + 500, columns[0] + 500 : columns[1] + 500]
    >>> (cross,) = find_crosses(look, film.shape, Reseau(arm_m=800, width_m=20, spacing_m=4000), gsd_m=10)
    >>> round(cross.row), round(cross.column), round(cross.tilt_deg), round(cross.arm_px, -1)
    (190, 260, 11, 80.0)
    """
    search = Search(look, shape, reseau, gsd_m)
    tilt = search.tilt()
    return () if tilt is None else search.crosses(tilt)


@dataclass(frozen=True)
class Search:
    """A search for crosses on one scan: see `find_crosses`."""

    look: Look
    shape: tuple[int, int]
    reseau: Reseau
    gsd_m: float

    @property
    def sizes(self) -> dict[str, int]:
        """Rows and columns of the scan."""
        return {"y": self.shape[0], "x": self.shape[1]}

    @property
    def width_px(self) -> float:
        """Width of a line."""
        return self.reseau.width_m / self.gsd_m

    @property
    def arm_px(self) -> float:
        """Half length of a cross."""
        return self.reseau.arm_m / self.gsd_m

    @property
    def step(self) -> int:
        """Pixels that are averaged along each side before crosses are looked for: lines become one to two pixels wide."""
        return max(1, int(self.width_px))

    @property
    def _block_side(self) -> int:
        """Side of a block, in whole steps."""
        return max(1, BLOCK // self.step) * self.step

    def tilt(self) -> float | None:
        """Find the tilt of the crosses; None where none is seen."""
        found: list[float] = []
        for square in lattice(self.sizes, ceil(SQUARE * self.reseau.spacing_m / self.gsd_m), SQUARES):
            found += [cross.tilt_deg for cross in self.seen(square, TILTS_DEG)]
            if len(found) >= ENOUGH:
                break
        return _middle_tilt(found) if found else None

    def crosses(self, tilt_deg: float) -> tuple[Cross, ...]:
        """Find all crosses of about one tilt; of two that are nearer than half a spacing, the more usual arms count."""
        blocks = tiles(self.sizes, dict.fromkeys(("y", "x"), self._block_side))
        found = [cross for block in blocks for cross in self.seen(block.keep, np.array([tilt_deg]))]
        usual = float(np.median([cross.arm_px for cross in found])) if found else 0.0
        nearest, kept = self.reseau.spacing_m / self.gsd_m / 2, list[Cross]()
        for cross in sorted(found, key=lambda c: (abs(c.arm_px - usual), c.row, c.column)):
            if all(hypot(cross.row - other.row, cross.column - other.column) >= nearest for other in kept):
                kept.append(cross)
        return tuple(sorted(kept, key=lambda c: (c.row, c.column)))

    def seen(self, window: Window, tilts_deg: NDArray[np.float64]) -> list[Cross]:
        """Measure what looks like a cross in a window of the scan."""
        arm, width = (px / self.step for px in (min(TEMPLATE_ARM * self.width_px, self.arm_px), self.width_px))
        margin = ceil(arm + MARGIN_PX) + 1
        rows, columns = (self._with_margin(window[d], margin * self.step) for d in ("y", "x"))
        coarse = self._averaged(rows, columns)
        if not np.isfinite(coarse).any():
            return []
        like, tilt = _best(np.where(np.isfinite(coarse), coarse, np.nanmedian(coarse)), arm, width, tilts_deg)
        inner = slice(margin, -margin), slice(margin, -margin)
        places = np.argwhere(_peaks(like[inner], 2 * ceil(arm) + 1))
        guesses = [
            Cross(
                float(window["y"].start + (y + 0.5) * self.step),
                float(window["x"].start + (x + 0.5) * self.step),
                float(tilt[inner][y, x]),
                self.arm_px,
                self.width_px,
            )
            for y, x in places
        ]
        measured = (measured_cross(self.look, guess, slack_px=2.0 * self.step) for guess in guesses)
        return [cross for cross in measured if cross is not None and self._inside(cross)]

    def _averaged(self, rows: Span, columns: Span) -> NDArray[np.float64]:
        """Average squares of step x step pixels, NaN where any is missing; a fine scan is read in strips."""
        side, across = self._block_side, (columns[1] - columns[0]) // self.step
        strips = (self.look((top, min(top + side, rows[1])), columns) for top in range(*rows, side))
        return np.concatenate([s.reshape(-1, self.step, across, self.step).mean((1, 3), np.float64) for s in strips])

    def _with_margin(self, part: slice, margin: int) -> Span:
        """Widen a part to whole steps, and by a margin on both sides."""
        whole = ceil((part.stop - part.start) / self.step) * self.step
        return part.start - margin, part.start + whole + margin

    def _inside(self, cross: Cross) -> bool:
        return 0 <= cross.row <= self.shape[0] and 0 <= cross.column <= self.shape[1]


def likeness(image: Image, arm_px: float, width_px: float, tilts_deg: Sequence[float]) -> Iterator[NDArray[np.float64]]:
    """Say for one tilt after another how like the middle of a dark cross every pixel is, -1 to 1.

    It is the lesser of the normalised cross-correlations (Lewis 1995) with the two lines, over a line and the margin beside it:
    brightness and contrast of the film do not matter, and a single scratch, however dark, is no cross.

    Parameters
    ----------
    image
        (y, x), finite.
    arm_px, width_px, tilts_deg
        Crosses to compare with: see `vigie.core.scene.Cross`.

    Yields
    ------
    NDArray
        (y, x); 0 where all is flat. Within an arm of the edge it is not to be trusted.
    """
    side = 2 * ceil(arm_px + MARGIN_PX) + 1
    if min(image.shape) < side:
        raise VigieError("the image is smaller than the cross", found=image.shape, expected=f"at least {(side, side)}")
    size, half = [fft.next_fast_len(n + side - 1, real=True) for n in image.shape], side // 2
    inner = slice(half, half + image.shape[0]), slice(half, half + image.shape[1])
    centred = image.astype(np.float64) - float(image.mean())
    once, squared = fft.rfft2(centred, size), fft.rfft2(centred**2, size)

    def sums(spectrum: NDArray[np.complex128], kernel: NDArray[np.float64]) -> NDArray[np.float64]:
        # Correlation is convolution with the mirrored kernel, and a line is its own mirror image through its middle.
        return np.asarray(fft.irfft2(spectrum * fft.rfft2(kernel, size), size)[inner])

    def correlation(tilt_deg: float) -> NDArray[np.float64]:
        support, dark = _line(half, arm_px, width_px + 2 * MARGIN_PX, tilt_deg) >= 0.5, _line(half, arm_px, width_px, tilt_deg)
        template = np.where(support, dark[support].mean() - dark, 0.0)
        spread = sums(squared, support.astype(np.float64)) - sums(once, support.astype(np.float64)) ** 2 / support.sum()
        norm = np.sqrt(np.maximum(spread, 0.0) * (template**2).sum())
        known = norm > 1e-6 * max(1.0, float(norm.max()))
        return np.asarray(np.divide(sums(once, template), norm, out=np.zeros(image.shape), where=known))

    for tilt in tilts_deg:
        yield np.minimum(correlation(tilt), correlation(tilt + 90.0))


def _line(half: int, arm_px: float, width_px: float, tilt_deg: float) -> NDArray[np.float64]:
    """Draw a line through the middle of a square: about the share of every pixel that it covers."""
    place = np.arange(-half, half + 1, dtype=np.float64)
    y, x = place[:, None], place[None, :]
    along, across = (np.abs(part) for part in turned(y, x, tilt_deg))
    return np.asarray(np.clip(arm_px + 0.5 - along, 0, 1) * np.clip(width_px / 2 + 0.5 - across, 0, 1))


def _best(
    image: Image, arm_px: float, width_px: float, tilts_deg: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The greatest likeness of every pixel, and the tilt it has it for."""
    best, which = np.full(image.shape, -1.0), np.full(image.shape, tilts_deg[0])
    for tilt, like in zip(tilts_deg, likeness(image, arm_px, width_px, tilts_deg.tolist()), strict=True):
        better = like > best
        best[better], which[better] = like[better], tilt
    return best, which


def _peaks(like: NDArray[np.float64], side: int) -> NDArray[np.bool_]:
    """Places that are likely enough, and the likeliest of the square around them: crosses are three arms apart at least."""
    return np.asarray((like > LIKENESS) & (like == ndimage.maximum_filter(like, side)))


def _middle_tilt(tilts_deg: Sequence[float]) -> float:
    """The median of tilts, which repeat after 90 degrees."""
    first = tilts_deg[0]
    return first + float(np.median([(tilt - first + 45) % 90 - 45 for tilt in tilts_deg]))
