"""Rain rates on grids, as labels for others: RADOLAN composites, IMERG, and NetCDF of the CF conventions.

Times are the middle of what was measured: of a grid's time bounds, of RADOLAN's hour or day, of IMERG's half hour. A CF
variable without bounds is taken to hold at its time, and must be a rate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.acquire.granules import imerg, pps, radolan
from vigie.acquire.granules.cf_rain import CfRain
from vigie.acquire.granules.colocate import Positions
from vigie.core.label_field import LabelField, Latitudes, Period, within


@dataclass(frozen=True)
class Radolan:
    """A composite: `href` is a file, or a member of an archive; `binary` how it is stored."""

    href: str

    told = "radar"

    @cached_property
    def times(self) -> NDArray[np.datetime64]:
        """Middle of its interval, one time."""
        return np.atleast_1d(self._middle(self._composite))

    def positions(self) -> Positions:
        """Give latitude and longitude of its cells, on the sphere of the composite."""
        return radolan_positions()

    def fields(self, period: Period, latitudes: Latitudes) -> Iterator[LabelField]:
        """Read it, where its time is in the period."""
        composite = self._composite
        middle = self._middle(composite)
        if period[0] <= middle <= period[1]:
            rate = (composite["rainfall_amount"].values / composite.attrs["interval_hours"]).astype(np.float32)
            time = np.repeat(middle, rate.shape[0])
            yield LabelField(*radolan_positions(), rate, time, ends=(True, True), sides=(True, True))

    @property
    def _composite(self) -> xr.Dataset:
        return radolan.read_ascii(self.href) if self.href.endswith(".asc") else radolan.read_binary(Path(self.href))

    @staticmethod
    def _middle(composite: xr.Dataset) -> NDArray[np.datetime64]:
        half = np.timedelta64(round(composite.attrs["interval_hours"] * 1800), "s")
        return np.asarray(composite["time"].values - half, dtype="datetime64[ns]")


def radolan_positions() -> Positions:
    """Give latitude and longitude of the centres of RADOLAN's cells, degrees."""
    from pyproj import Transformer

    grid = radolan.grid()
    x, y = np.meshgrid(grid.coordinates["x"].values, grid.coordinates["y"].values)
    back = Transformer.from_crs(radolan.CRS, "+proj=longlat +R=6370040", always_xy=True)
    longitude, latitude = back.transform(x, y)
    return latitude, longitude


@dataclass(frozen=True)
class Imerg:
    """A half hour, or a longer interval, of IMERG; only the latitudes that are asked for are read."""

    path: Path

    told = ""

    @cached_property
    def times(self) -> NDArray[np.datetime64]:
        """Middle of each interval."""
        with pps.opened(self.path) as file:
            bounds = pps.stored(file, "Grid/time_bnds").astype(np.float64)
        milliseconds = np.rint(1000 * bounds.mean(axis=1)).astype(np.int64)
        return np.asarray(imerg.EPOCH + milliseconds.astype("timedelta64[ms]"))

    def positions(self) -> Positions:
        """Give latitude and longitude of its cells."""
        with pps.opened(self.path) as file:
            return axes_crossed(pps.stored(file, "Grid/lat"), pps.stored(file, "Grid/lon"))

    def fields(self, period: Period, latitudes: Latitudes) -> Iterator[LabelField]:
        """Read the intervals whose middle is in the period."""
        chosen = within(self.times, period)
        if not chosen:
            return
        with pps.opened(self.path) as file:
            whole = pps.stored(file, "Grid/lat")
        rows = rows_between(whole, latitudes)
        found = imerg.read(self.path, {"latitude": rows})
        for step in chosen:
            rate = found["rainfall_rate"].values[step]
            yield regular_field(whole, rows, found["longitude"].values, rate, self.times[step])


@dataclass(frozen=True)
class CfGrid:
    """Rain rates of a NetCDF file on latitudes and longitudes, of one or two dimensions."""

    rain: CfRain

    told = ""

    @property
    def times(self) -> NDArray[np.datetime64]:
        """Middle of what each step holds."""
        return self.rain.times

    def positions(self) -> Positions:
        """Give latitude and longitude of its cells."""
        latitude, longitude = self.rain.latitude, self.rain.longitude
        return (latitude, longitude) if latitude.ndim == 2 else axes_crossed(latitude, longitude)

    def fields(self, period: Period, latitudes: Latitudes) -> Iterator[LabelField]:
        """Read the steps of the period one by one."""
        latitude, longitude = self.rain.latitude, self.rain.longitude
        rows = rows_between(latitude, latitudes) if latitude.ndim == 1 else slice(0, len(latitude))
        steps = within(self.times, period)
        for step, rate in zip(steps, self.rain.rates(steps, rows), strict=True):
            if latitude.ndim == 1:
                yield regular_field(latitude, rows, longitude, rate, self.times[step])
            else:
                time = np.full(len(rate), self.times[step])
                yield LabelField(latitude, longitude, rate, time, ends=(True, True), sides=(True, True))


def axes_crossed(latitude: NDArray[np.floating], longitude: NDArray[np.floating]) -> Positions:
    """Give every pair of a latitude and a longitude (row, column)."""
    north, east = np.meshgrid(latitude, longitude, indexing="ij")
    return north, east


def rows_between(latitude: NDArray[np.floating], latitudes: Latitudes) -> slice:
    """Find the rows between two latitudes, and one more on either side.

    Examples
    --------
    >>> rows_between(np.arange(90.0, -91.0, -10.0), (25.0, 41.0))
    slice(4, 8, None)
    """
    inside = np.flatnonzero((latitude >= latitudes[0]) & (latitude <= latitudes[1]))
    if not inside.size:
        inside = np.array([int(np.abs(latitude - np.mean(latitudes)).argmin())])
    return slice(max(0, int(inside[0]) - 1), min(len(latitude), int(inside[-1]) + 2))


def regular_field(
    latitude: NDArray[np.floating],
    rows: slice,
    longitude: NDArray[np.floating],
    rate: NDArray[np.float32],
    time: np.datetime64,
) -> LabelField:
    """Make a field of some rows of a grid of latitudes and longitudes; cells shrink towards the poles.

    The grid ends where its first and last row do, unless they lie at a pole, and has no sides where it closes around the Earth.
    """
    degrees = latitude.astype(np.float64)
    step = float(np.abs(np.diff(degrees)).max()) if len(degrees) > 1 else 0.0
    open_ended = [bool(abs(degrees[at]) + step < 90 - 1e-3) for at in (0, -1)]
    side = not closes(longitude.astype(np.float64))
    north, east = axes_crossed(degrees[rows], longitude)
    return LabelField(
        north,
        east,
        rate,
        np.full(len(north), time),
        area=np.maximum(np.cos(np.deg2rad(north)), 1e-6),
        ends=(rows.start == 0 and open_ended[0], rows.stop == len(latitude) and open_ended[1]),
        sides=(side, side),
    )


def closes(longitude: NDArray[np.floating]) -> bool:
    """Say whether columns go once around the Earth.

    Examples
    --------
    >>> closes(np.arange(-179.5, 180.0)), closes(np.arange(0.0, 90.0))
    (True, False)
    """
    if len(longitude) < 2:
        return False
    step = float(np.abs(np.diff(longitude)).max())
    return bool(abs(np.ptp(longitude)) + 1.5 * step >= 360)
