"""Bring rain rates of radars, grids and gauges onto the footprints of a radiometer's swath.

Each footprint takes the mean that its antenna would see (`vigie.harmonize.footprint_labels`). Of several files, or several
times of one, the nearest in time to the footprint wins. What becomes of every footprint stands in `label_status`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.core.errors import VigieError, nearest
from vigie.core.granule import LabelFile
from vigie.core.label_field import UNKNOWN_PHASE, LabelField, Latitudes, Period
from vigie.core.sphere import EARTH_RADIUS_KM, unit_vectors
from vigie.core.swath import LABEL_STATUS
from vigie.core.vocabulary import named
from vigie.harmonize.footprint_labels import Footprints, points_of, scanwards, weigh
from vigie.physics.footprint import reach_km

ReadFields = Callable[[LabelFile, Period, Latitudes], Iterator[LabelField]]
"""Reads what a file measured in a period, between two latitudes at least; it pickles."""

KEPT = ("truth", "label_distance_km", "label_minutes", "label_share")
"""Variables that are NaN where there is no label."""


@dataclass(frozen=True)
class Labels:
    """Labels of n footprints: rain rate mm/h, distance km, minutes, share of the weight, phase, and codes of `LABEL_STATUS`."""

    truth: NDArray[np.float64]
    distance_km: NDArray[np.float64]
    minutes: NDArray[np.float64]
    share: NDArray[np.float64]
    phase: NDArray[np.uint8]
    status: NDArray[np.uint8]

    @classmethod
    def none(cls, count: int) -> Self:
        """Make labels of footprints that nothing was measured for."""
        gone = np.full(count, np.nan)
        late = np.full(count, LABEL_STATUS["too_late"], np.uint8)
        return cls(gone, gone, gone, gone, np.full(count, UNKNOWN_PHASE, np.uint8), late)

    def or_nearer(self, other: Self) -> Self:
        """Take each footprint's labels from the other where they are nearer in time, or where there are none here."""
        nearer = np.where(self.status == other.status, np.abs(other.minutes) < np.abs(self.minutes), other.status < self.status)
        return type(self)(
            *(np.where(nearer, getattr(other, part.name), getattr(self, part.name)) for part in fields(type(self)))
        )


def with_labels(swath: xr.Dataset, files: Sequence[LabelFile], read: ReadFields) -> xr.Dataset:
    """Give a swath, or some scans of one, the rain rates of other files; a swath without such files stays as it is.

    Parameters
    ----------
    swath: in the layout of `vigie.core.swath`, loaded, with times.
    files: of one source of labels; the first wins where two are equally near in time.
    read: reads their fields.

    Returns
    -------
    The swath with `truth`, `phase`, `label_distance_km`, `label_minutes`, `label_share` and `label_status` (scan, pixel), and
    the attribute `label_source`.

    Raises
    ------
    VigieError: a channel is unknown, or has no footprint.
    """
    if not files:
        return swath
    place = unit_vectors(swath["latitude"].values, swath["longitude"].values)
    found = Labels.none(place.shape[0] * place.shape[1])
    for file in files:
        seen = footprints(swath, place, axes_of(swath, file.channel))
        for field in _near(swath, file, reach(file, seen.axes_km), read):
            found = found.or_nearer(labels_of(seen, field, file))
    return _assigned(swath, found, files[0].label_source)


def footprints(swath: xr.Dataset, place: NDArray[np.float64], axes_km: tuple[float, float]) -> Footprints:
    """List the footprints of a swath, scan after scan; `place` are its positions as unit vectors (scan, pixel, 3)."""
    time = np.broadcast_to(swath["time"].values.astype("datetime64[ns]")[:, None], place.shape[:2])
    return Footprints(place.reshape(-1, 3), time.ravel(), scanwards(place).reshape(-1, 3), axes_km)


def axes_of(swath: xr.Dataset, channel: str) -> tuple[float, float]:
    """Look up the axes [km] of a channel's 3 dB ellipse, along the line of sight and across it; "" takes the finest channel.

    A channel whose aspect nobody knows has a circle.

    Raises
    ------
    VigieError: the swath has no such channel, or nobody knows its footprint.

    Examples
    --------
    >>> from vigie.core.swath import Channel, channel_coordinates
    >>> coarse, fine = Channel(36.64, "V", 12.0), Channel(89.0, "V", 6.0, footprint_aspect=2.25)
    >>> swath = xr.Dataset(coords=channel_coordinates([coarse, fine]))
    >>> axes_of(swath, ""), axes_of(swath, "36.64V")
    ((9.0, 4.0), (12.0, 12.0))
    """
    names = list(map(str, swath["channel"].values))
    name = swath.attrs.get("swath", "?")
    if channel and channel not in names:
        do = nearest(channel, names) or "correct channel of [[acquire.labels]]"
        raise VigieError(f"swath '{name}' has no channel '{channel}'", expected=", ".join(names), do=do)
    sizes = swath["footprint_km"].values
    if not np.isfinite(sizes[names.index(channel)] if channel else sizes).any():
        raise VigieError(f"swath '{name}' does not tell its footprints", found=f"footprint_km {sizes}", expected="km")
    at = names.index(channel) if channel else int(np.nanargmin(sizes))
    aspect = float(swath["footprint_aspect"].values[at]) if "footprint_aspect" in swath.coords else 1.0
    stretch = np.sqrt(aspect) if np.isfinite(aspect) else 1.0
    return float(sizes[at] * stretch), float(sizes[at] / stretch)


def reach(file: LabelFile, axes_km: tuple[float, float]) -> float:
    """Tell how far labels are looked for, km: as far as the antenna sees, and as far as the file's labels may lie."""
    return max(file.distance_km, reach_km(axes_km))


def labels_of(seen: Footprints, field: LabelField, file: LabelFile) -> Labels:
    """Bring one field onto footprints, and say of each what became of it."""
    within = reach(file, seen.axes_km)
    found = weigh(seen, points_of(field, within), within, file.minutes)
    enough, near = found.share >= file.least_share, found.distance_km <= file.distance_km
    unlabelled = np.select(
        [found.near & ~enough, found.near | _in_time(seen.time, field.time, file.minutes)],
        [LABEL_STATUS["not_valid"], LABEL_STATUS["too_far"]],
        LABEL_STATUS["too_late"],
    )
    good = found.near & enough & near & np.isfinite(found.rate)
    status = np.where(good, LABEL_STATUS["labelled"], unlabelled).astype(np.uint8)
    rate, distance, minutes, share = (
        np.where(good, values, np.nan) for values in (found.rate, found.distance_km, found.minutes, found.share)
    )
    return Labels(rate, distance, minutes, share, np.where(good, found.phase, UNKNOWN_PHASE).astype(np.uint8), status)


def _in_time(asked: NDArray[np.datetime64], time: NDArray[np.datetime64], minutes: float) -> NDArray[np.bool_]:
    """Say which times have another one within some minutes."""
    known = np.sort(time[~np.isnat(time)])
    if not known.size:
        return np.zeros(asked.shape, dtype=bool)
    after = np.searchsorted(known, asked)
    apart = [np.abs(known[np.clip(at, 0, known.size - 1)] - asked) for at in (after - 1, after)]
    limit = np.timedelta64(round(minutes * 60e9), "ns")
    return np.asarray(~np.isnat(asked) & ((apart[0] <= limit) | (apart[1] <= limit)))


def _near(swath: xr.Dataset, file: LabelFile, within_km: float, read: ReadFields) -> Iterator[LabelField]:
    """Read the fields of a file that any of these scans may see."""
    time, latitude = swath["time"].values.astype("datetime64[ns]"), swath["latitude"].values
    known = time[~np.isnat(time)]
    if known.size == 0 or not np.isfinite(latitude).any():
        return iter(())
    margin, around = np.timedelta64(round(file.minutes * 60e9), "ns"), np.rad2deg(2 * within_km / EARTH_RADIUS_KM)
    south, north = float(np.nanmin(latitude) - around), float(np.nanmax(latitude) + around)
    return read(file, (known.min() - margin, known.max() + margin), (south, north))


def _assigned(swath: xr.Dataset, found: Labels, source: str) -> xr.Dataset:
    """Put labels beside what was observed."""
    shape = swath["latitude"].shape
    values = dict(zip(KEPT, (found.truth, found.distance_km, found.minutes, found.share), strict=True))
    dims = ("scan", "pixel")
    made = {
        name: (dims, column.reshape(shape).astype(np.float32), named("rainfall_rate" if name == "truth" else name).attributes)
        for name, column in values.items()
    }
    codes = {"flag_values": np.array(list(LABEL_STATUS.values()), np.uint8), "flag_meanings": " ".join(LABEL_STATUS)}
    labelled: xr.Dataset = swath.assign(
        made
        | {
            "phase": (dims, found.phase.reshape(shape), named("phase").attributes),
            "label_status": (dims, found.status.reshape(shape), named("label_status").attributes | codes),
        }
    )
    return labelled.assign_attrs(label_source=source)
