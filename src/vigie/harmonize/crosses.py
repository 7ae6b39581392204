"""Reseau crosses on a scan, one by one: which pixels they cover, and where exactly one lies, measured along its four arms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil, cos, floor, radians, sin
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vigie.core.scene import Cross

Image = NDArray[np.floating]
Span = tuple[int, int]
Look = Callable[[Span, Span], NDArray[np.float32]]
"""Read rows and columns of a scan, NaN where it is missing and outside."""

TURNS_DEG = ((4.0, 0.5, 0.5), (0.5, 0.1, 1.0))
"""How a tilt is refined: so far to both sides, in such steps, on such a part of the arms."""
DARK_SHARE = 0.7
"""An arm reaches as far as more than this share of its pixels is darker than the ground on both sides; by chance a third is."""
SHORTEST, LONGEST = 0.6, 1.35
"""Arms of a cross, in arms that are declared: the scale of film changes with the height of the flight and of the ground."""
SEEN = 0.5
"""An arm that the edge of the scan, or missing data, cuts off is believed when at least this share of it is seen."""


def turned(y: Image, x: Image, tilt_deg: float) -> tuple[Image, Image]:
    """Coordinates along and across a line that is tilted from the rows, clockwise in the image."""
    c, s = cos(radians(tilt_deg)), sin(radians(tilt_deg))
    return x * c + y * s, y * c - x * s


def drawn(cross: Cross, rows: Span, columns: Span, spread_px: float = 0.0) -> NDArray[np.bool_]:
    """Say which pixels of a window have their centre on a cross whose lines are widened by `spread_px` on every side.

    Examples
    --------
    >>> drawn(Cross(1.5, 2.5, 0.0, 1.0, 1.0), (0, 3), (0, 5)).astype(int)
    array([[0, 0, 1, 0, 0],
           [0, 1, 1, 1, 0],
           [0, 0, 1, 0, 0]])
    """
    y = np.arange(*rows)[:, None] + 0.5 - cross.row
    x = np.arange(*columns)[None, :] + 0.5 - cross.column
    u, v = (np.abs(place) for place in turned(y, x, cross.tilt_deg))
    near, within = cross.width_px / 2 + spread_px, cross.arm_px + spread_px
    return np.asarray(((v <= near) & (u <= within)) | ((u <= near) & (v <= within)))


def reach(cross: Cross, spread_px: float = 0.0) -> tuple[Span, Span]:
    """Rows and columns that a cross can touch, its lines widened by `spread_px`."""
    half = cross.arm_px + cross.width_px + spread_px
    rows, columns = ((floor(at - half), ceil(at + half)) for at in (cross.row, cross.column))
    return rows, columns


def measured_cross(look: Look, guess: Cross, slack_px: float) -> Cross | None:
    """Measure a cross near a guess: its middle, tilt and arms; None where there are not four dark arms.

    Parameters
    ----------
    look
        Reads the scan.
    guess
        Where it may be, and what it would be like.
    slack_px
        How far from there its middle is looked for.
    """
    arm = ceil(LONGEST * guess.arm_px)
    rows, columns = reach(guess, arm - guess.arm_px + slack_px + 4 * guess.width_px + 8)
    strips, cross = Strips(look(rows, columns), (rows[0], columns[0]), guess.width_px, ceil(slack_px)), guess
    for span_deg, step_deg, part in TURNS_DEG:
        tilts = cross.tilt_deg + np.arange(-span_deg, span_deg + step_deg / 2, step_deg)
        depth, cross = max((strips.fitted(cross, float(tilt), ceil(part * guess.arm_px)) for tilt in tilts), key=itemgetter(0))
        if not depth > 0:
            return None
    arms = [_dark_length(half, guess.arm_px) for half in strips.arms(cross, arm)]
    if min(arms) < SHORTEST * guess.arm_px:
        return None
    # The arms are equal on film: dark ground lengthens some, and hides the ends of others.
    usual = float(np.median(arms))
    return Cross(round(cross.row, 2), round(cross.column, 2), round(cross.tilt_deg, 2), usual, guess.width_px)


@dataclass(frozen=True)
class Strips:
    """The two lines of a cross, sampled as strips pixel by pixel along and across.

    image, corner: pixels around the cross, and the row and column of the first. slack: how far aside lines are looked for.
    """

    image: Image
    corner: tuple[int, int]
    width_px: float
    slack: int

    @property
    def flank(self) -> int:
        """Distance of the ground beside a line from its middle: beyond its blur."""
        return ceil(self.width_px / 2) + 2

    def sample(self, cross: Cross, tilt_deg: float, arm: int) -> NDArray[np.float64]:
        """Sample both lines (line, position along, offset across), NaN where the scan is missing."""
        wide = self.slack + 2 * self.flank
        along, across = np.arange(-arm, arm + 1)[:, None], np.arange(-wide, wide + 1)[None, :]
        c, s = cos(radians(tilt_deg)), sin(radians(tilt_deg))
        y = np.stack([along * s + across * c, along * c - across * s]) + cross.row - self.corner[0] - 0.5
        x = np.stack([along * c - across * s, -along * s - across * c]) + cross.column - self.corner[1] - 0.5
        return np.asarray(ndimage.map_coordinates(self.image, [y, x], order=1, cval=np.nan, output=np.float64))

    def fitted(self, cross: Cross, tilt_deg: float, arm: int) -> tuple[float, Cross]:
        """Move a cross of a given tilt to where its lines are darkest; give how dark they are there, and the cross."""
        strips = self.sample(cross, tilt_deg, arm)
        seen = [strip[np.isfinite(strip).all(axis=1)] for strip in strips]
        if not all(len(strip) for strip in seen):
            return -np.inf, cross
        depths = self.depth(np.stack([strip.mean(axis=0) for strip in seen]))
        first, second = (_vertex(depth) - self.slack for depth in depths)
        c, s = cos(radians(tilt_deg)), sin(radians(tilt_deg))
        # Lines move across themselves: the first along (-s, c), the second along (-c, -s) of (x, y).
        row, column = cross.row + first * c - second * s, cross.column - first * s - second * c
        return float(depths.max(axis=1).sum()), Cross(row, column, tilt_deg, cross.arm_px, cross.width_px)

    def depth(self, profiles: NDArray[np.float64]) -> NDArray[np.float64]:
        """How much darker than the darker of its flanks a line is at every offset within the slack (..., offset)."""
        smooth = ndimage.uniform_filter1d(profiles, 2 * int(self.width_px / 2) + 1, axis=-1)
        count = profiles.shape[-1] - 4 * self.flank
        left, line, right = (smooth[..., at : at + count] for at in (self.flank, 2 * self.flank, 3 * self.flank))
        return np.asarray(np.minimum(left, right) - line)

    def arms(self, cross: Cross, arm: int) -> Iterator[NDArray[np.float64]]:
        """How much darker than its flanks each of the four arms is, pixel by pixel from the middle; NaN where not seen."""
        still = Strips(self.image, self.corner, self.width_px, 0)
        for strip in still.sample(cross, cross.tilt_deg, arm):
            depth = still.depth(strip)[:, 0]
            yield depth[arm:]
            yield depth[arm::-1]


def _vertex(depth: NDArray[np.float64]) -> float:
    """Where a sampled curve is highest, to a part of a sample: the vertex of the parabola through its highest three."""
    at = int(depth.argmax())
    if not 0 < at < len(depth) - 1:
        return float(at)
    before, top, after = (float(value) for value in depth[at - 1 : at + 2])
    bend = before - 2 * top + after
    return at + (0.5 * (before - after) / bend if bend < 0 else 0.0)


def _dark_length(depth: NDArray[np.float64], arm_px: float) -> float:
    """How far an arm is dark, in pixels; one that is dark as far as it is seen is as long as it should be."""
    seen = np.isfinite(depth)
    gain = np.cumsum(np.where(seen, (depth > 0) - DARK_SHARE, 0.0))
    length, visible = float(gain.argmax() + 1) if gain.max() > 0 else 0.0, float(seen.sum())
    cut_off = SEEN * arm_px <= visible < arm_px and length >= 0.9 * visible
    return arm_px if cut_off else length
