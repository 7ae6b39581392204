"""What an antenna sees of a field of rain rates: mean, share of its weight that was valid, distance and time of what it weighs.

Every pair of a footprint and a position within its reach counts, weighted by the antenna's gain there: a Gaussian over the 3 dB
ellipse, the long axis along the line of sight, which is at right angles to the scan. Sums run over pairs in the order of the
field, so that a footprint's labels are the same bytes however an orbit is cut into tiles.
"""

# Why not pyresample: `get_neighbour_info` gives a fixed number of neighbours, and warns where there are more. An antenna wants
# all within its reach, 10 on a radar's swath and 6000 on a grid of 1 km: with so many it takes fifty times as long as the ball
# queries of scipy's tree, which no pole or date line disturbs either, on the unit sphere. `resample_gauss` is the tests' judge.

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vigie.core.label_field import UNKNOWN_PHASE, LabelField
from vigie.core.sphere import EARTH_RADIUS_KM, chord_km, unit_vectors
from vigie.core.swath import PHASES
from vigie.physics.footprint import log_gain

Floats = NDArray[np.float64]
PAIRS = 1_000_000
"""Pairs of footprints and positions that are weighed at once: memory follows them."""
MOST_BEYOND = 256
"""Positions by which a field is continued at most."""
NANOSECONDS = 60e9
"""Of a minute."""


@dataclass(frozen=True)
class Footprints:
    """Where a radiometer looks: place (n, 3) on the unit sphere, time (n), scanwards (n, 3), a unit vector along the scan.

    `axes_km` are those of the 3 dB ellipse, along the line of sight and across it; where nobody knows the scan's direction
    (NaN) a circle of the same area stands for it.
    """

    place: Floats
    time: NDArray[np.datetime64]
    scanwards: Floats
    axes_km: tuple[float, float]

    def part(self, chosen: slice | NDArray[np.intp]) -> Footprints:
        """Take some of them."""
        return Footprints(self.place[chosen], self.time[chosen], self.scanwards[chosen], self.axes_km)


@dataclass(frozen=True)
class Points:
    """A field as a list: place (n, 3), rate mm/h (n), phase (n), time (n), area (n)."""

    place: Floats
    rate: Floats
    phase: NDArray[np.uint8]
    time: NDArray[np.datetime64]
    area: Floats

    def part(self, chosen: NDArray[np.bool_]) -> Points:
        """Take some of them, in their order."""
        return Points(self.place[chosen], self.rate[chosen], self.phase[chosen], self.time[chosen], self.area[chosen])


@dataclass(frozen=True)
class Weighed:
    """What footprints see (n).

    Attributes
    ----------
    rate: mean of valid labels, mm/h, NaN where there are none, as below.
    share: of the weight that was valid.
    distance_km: of the centre of the valid weight.
    minutes: from the footprint's own time to that of the valid weight.
    phase: of most of the rain, "none" without any.
    near: whether anything was within reach and in time.
    """

    rate: Floats
    share: Floats
    distance_km: Floats
    minutes: Floats
    phase: NDArray[np.uint8]
    near: NDArray[np.bool_]


def scanwards(place: Floats) -> Floats:
    """Give the direction in which scans (scan, pixel, 3) run at each pixel; NaN beside a missing position and in a lone pixel.

    Examples
    --------
    >>> scanwards(unit_vectors(np.zeros((1, 3)), np.array([[-1.0, 0.0, 1.0]])))[0, 1].round(9).tolist()
    [0.0, 1.0, 0.0]
    """
    if place.shape[1] < 2:
        return np.full(place.shape, np.nan)
    step = np.gradient(place, axis=1)
    length = np.sqrt(_dot(step, step))[..., None]
    return np.asarray(np.divide(step, length, out=np.full(step.shape, np.nan), where=length > 0))


def points_of(field: LabelField, reach_km: float) -> Points:
    """List the positions of a field, and beyond its ends and sides, as far as an antenna reaches, some that hold nothing.

    Without them a footprint that hangs over the edge of a radar's swath would seem to be seen whole.
    """
    place = unit_vectors(field.latitude, field.longitude)
    sides = _beyond(place, 1, field.sides, reach_km)
    place = _continued(place, 1, sides)
    ends = _beyond(place, 0, field.ends, reach_km)
    place = _continued(place, 0, ends)
    time = np.pad(field.time.astype("datetime64[ns]").astype(np.int64), ends, mode="edge").astype("datetime64[ns]")
    rate = np.pad(field.rate.astype(np.float64), (ends, sides), constant_values=np.nan)
    phase = np.full(field.rate.shape, UNKNOWN_PHASE, np.uint8) if field.phase is None else field.phase
    area = np.ones(field.rate.shape) if field.area is None else field.area.astype(np.float64)
    listed = Points(
        place.reshape(-1, 3),
        rate.ravel(),
        np.pad(phase, (ends, sides), constant_values=UNKNOWN_PHASE).ravel(),
        np.broadcast_to(time[:, None], rate.shape).ravel(),
        np.pad(area, (ends, sides), mode="edge").ravel(),
    )
    return listed.part(np.isfinite(listed.place).all(axis=1) & ~np.isnat(listed.time) & (listed.area > 0))


def weigh(seen: Footprints, points: Points, reach_km: float, minutes: float) -> Weighed:
    """Weigh what lies within reach of each footprint, and within some minutes of its time.

    Parameters
    ----------
    seen: n footprints; those without a place or a time see nothing.
    points: of one field.
    reach_km: of the antenna, or how far labels may lie at all, where that is more.
    minutes: largest difference of time.
    """
    count = len(seen.place)
    sums = np.zeros((count, 7 + len(PHASES)))
    known = np.flatnonzero(np.isfinite(seen.place).all(axis=1) & _while(seen.time, points.time, minutes))
    for at, near in _pairs(seen.place[known], points.place, reach_km):
        part = seen.part(known[at])
        sums[known[at]] = _sums(part, points.part(near.chosen), near, minutes, reach_km)
    total, good, wet, *offset, late = sums[:, :7].T
    with np.errstate(invalid="ignore", divide="ignore"):
        rate, share, after = wet / good, good / total, late / good
        distance = np.sqrt(sum(part**2 for part in offset)) / good
    return Weighed(rate, np.where(total > 0, share, np.nan), distance, after, _phase(sums[:, 7:], wet), total > 0)


def _while(asked: NDArray[np.datetime64], time: NDArray[np.datetime64], minutes: float) -> NDArray[np.bool_]:
    """Say which times lie within some minutes of a period, or a little beyond: pairs are told one by one later."""
    if not time.size:
        return np.zeros(asked.shape, dtype=bool)
    margin = np.timedelta64(int(np.ceil(minutes)), "m")
    return np.asarray((asked >= time.min() - margin) & (asked <= time.max() + margin))


@dataclass(frozen=True)
class _Pairs:
    """Which positions are near at all, and pairs of a footprint and one of these, by footprint, then by position."""

    chosen: NDArray[np.bool_]
    footprint: NDArray[np.intp]
    point: NDArray[np.intp]


def _pairs(place: Floats, points: Floats, reach_km: float) -> Iterator[tuple[slice, _Pairs]]:
    """Find pairs within reach, a little generously, some neighbouring footprints at a time."""
    from scipy.spatial import cKDTree

    radius = 1.001 * reach_km / EARTH_RADIUS_KM
    for start in range(0, len(place), 4096):
        asked = place[start : start + 4096]
        centre = asked.mean(axis=0)
        around = chord_km(asked, centre).max() + 1.01 * reach_km
        chosen = chord_km(points, centre) <= around
        if not chosen.any():
            continue
        tree = cKDTree(points[chosen])
        lengths = tree.query_ball_point(asked, radius, return_length=True)
        for part in _cut(lengths):
            found = tree.query_ball_point(asked[part], radius, return_sorted=True)
            count = lengths[part]
            flat = np.concatenate([np.asarray(one, dtype=np.intp) for one in found])
            footprint = np.repeat(np.arange(len(count)), count)
            yield slice(start + part.start, start + part.stop), _Pairs(chosen, footprint, flat)


def _cut(lengths: NDArray[np.integer]) -> Iterator[slice]:
    """Cut footprints where their pairs would become too many; one footprint is never cut."""
    start, held = 0, 0
    for at, length in enumerate(lengths.tolist()):
        if held and held + length > PAIRS:
            yield slice(start, at)
            start, held = at, 0
        held += length
    yield slice(start, len(lengths))


def _sums(seen: Footprints, points: Points, pairs: _Pairs, minutes: float, reach_km: float) -> Floats:
    """Sum weights over pairs (n, 7 + phases): all, valid, times rate, times offset (3), times minutes; wet by phase."""
    apart = EARTH_RADIUS_KM * (points.place[pairs.point] - seen.place[pairs.footprint])
    after = (points.time[pairs.point] - seen.time[pairs.footprint]).astype(np.int64) / NANOSECONDS
    counted = (np.sqrt(_dot(apart, apart)) <= reach_km) & (np.abs(after) <= minutes)
    footprint, point, apart, after = pairs.footprint[counted], pairs.point[counted], apart[counted], after[counted]
    logarithm = _log_weight(seen, footprint, apart) + np.log(points.area[point])
    highest = np.full(len(seen.place), -np.inf)
    np.maximum.at(highest, footprint, logarithm)
    weight = np.exp(logarithm - highest[footprint])
    rate = points.rate[point]
    valid = np.where(np.isfinite(rate), weight, 0.0)
    wet = valid * np.nan_to_num(rate)
    columns = [weight, valid, wet, *(valid * apart[:, axis] for axis in range(3)), valid * after]
    columns += [wet * (points.phase[point] == code) for code in range(len(PHASES))]
    return np.stack([np.bincount(footprint, column, len(seen.place)) for column in columns], axis=-1)


def _log_weight(seen: Footprints, footprint: NDArray[np.intp], apart: Floats) -> Floats:
    """Look up the antenna's gain at each pair (logarithm)."""
    across = seen.scanwards[footprint]
    oriented = np.isfinite(across).all(axis=1)
    sight = np.cross(seen.place[footprint], across)
    mean = float(np.sqrt(seen.axes_km[0] * seen.axes_km[1]))
    ellipse = log_gain(_dot(apart, sight), _dot(apart, across), seen.axes_km)
    circle = log_gain(np.sqrt(_dot(apart, apart)), np.zeros(len(apart)), (mean, mean))
    return np.where(oriented, ellipse, circle)


def _phase(by_phase: Floats, wet: Floats) -> NDArray[np.uint8]:
    """Name the phase of more than half of the rain of each footprint; 255 where none is."""
    most = np.where(by_phase.max(axis=1) > 0.5 * wet, by_phase.argmax(axis=1), UNKNOWN_PHASE)
    return np.where(wet == 0, PHASES.index("none"), most).astype(np.uint8)


def _beyond(place: Floats, axis: int, edges: tuple[bool, bool], reach_km: float) -> tuple[int, int]:
    """Count the positions by which a field is to be continued before its first and after its last one."""
    if place.shape[axis] < 2:
        return 0, 0
    counts = []
    for edge, pair in zip(edges, ((0, 1), (-1, -2)), strict=True):
        first, second = (np.take(place, [at], axis=axis) for at in pair)
        step = chord_km(first, second)
        step = step[np.isfinite(step) & (step > 0)]
        counts.append(min(MOST_BEYOND, int(np.ceil(reach_km / step.min()))) if edge and step.size else 0)
    return counts[0], counts[1]


def _continued(place: Floats, axis: int, counts: tuple[int, int]) -> Floats:
    """Continue positions by equal steps, as the first two and the last two of them lie."""
    parts = [place]
    for count, (edge, inner), steps in (
        (counts[0], (0, 1), np.arange(counts[0], 0, -1)),
        (counts[1], (-1, -2), np.arange(1, counts[1] + 1)),
    ):
        if count:
            at, before = (np.expand_dims(place.take(number, axis=axis), axis) for number in (edge, inner))
            far = steps.reshape([-1 if dim == axis else 1 for dim in range(3)])
            made = at + far * (at - before)
            parts.insert(0 if edge == 0 else len(parts), made / np.sqrt(_dot(made, made))[..., None])
    return np.concatenate(parts, axis=axis)


def _dot(one: Floats, other: Floats) -> Floats:
    """Multiply vectors, term by term: a matrix product may round otherwise in another company."""
    return np.asarray(one[..., 0] * other[..., 0] + one[..., 1] * other[..., 1] + one[..., 2] * other[..., 2])
