"""The synthetic Earth seen by a radiometer: granules in the layout of `vigie.core.swath`, with the true rain beside them.

The instrument is like GMI: its channels, footprints, noise and scans 13.5 km apart. Unlike GMI's its scans are straight lines
across the track. The radiative transfer is handed in (`Observe`), because it is written in torch (`vigie.physics.antenna`) and
this package does without: one model, one place, and gradients where they are needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.core.store import whole_file
from vigie.core.swath import Channel, channel_coordinates, missing_flags
from vigie.synthetic.rain import Climate, Map, Weather, draw_weather

CELL_KM = 4.5
"""Cells of the plane on which weather is drawn: pixels of a scan are as far apart."""

LINES_PER_SCAN = 3
"""GMI turns once while it flies 13.5 km: every third line of cells is seen."""

SCAN_SECONDS = 1.875
"""32 turns a minute."""

RADIUS_KM, INCLINATION_DEG, PERIOD_SECONDS, DAY_SECONDS = 6371.0, 65.0, 5556.0, 86164.0
"""The sphere, and GPM's orbit over it."""

RAINING_MM_H = 0.05
"""Below this nothing falls, for `phase`: the least rate that the radar labels hold."""

GMI = (
    *(Channel(10.65, side, 24.9, 52.8) for side in "VH"),
    *(Channel(18.7, side, 14.0, 52.8) for side in "VH"),
    Channel(23.8, "V", 12.5, 52.8),
    *(Channel(36.64, side, 12.1, 52.8) for side in "VH"),
    *(Channel(89.0, side, 5.6, 52.8) for side in "VH"),
    *(Channel(166.0, side, 5.1, 49.2) for side in "VH"),
    Channel(183.31, "V", 4.7, 49.2, sideband_ghz=3.0),
    Channel(183.31, "V", 4.7, 49.2, sideband_ghz=7.0),
)
"""GMI's channels; footprints are means of the axes 19 x 32, 11 x 18, 10 x 16, 9 x 16, 4.4 x 7.2, 4.1 x 6.3, 3.8 x 5.8 km."""

NEDT_K = (0.77, 0.78, 0.63, 0.60, 0.51, 0.41, 0.42, 0.32, 0.31, 0.70, 0.65, 0.56, 0.47)
"""Noise of each in orbit, as public code has it; less than was required (NOAA: 0.96, 0.84, 1.05, 0.65, 0.57, 1.5 K)."""


class Observe(Protocol):
    """What turns maps (line, cell) into brightness temperatures (line, cell, channel): `vigie.physics.antenna.observe`."""

    def __call__(
        self,
        state: Mapping[str, NDArray[np.floating]],
        channels: Sequence[Channel],
        spacing_km: tuple[float, float],
        nedt_k: Sequence[float],
        seed: int,
    ) -> NDArray[np.float32]:
        """Give K."""
        ...


@dataclass(frozen=True)
class Granule:
    """A piece of one orbit: everything about it follows from its seed.

    `start_deg` is where it begins along the orbit, from the ascending node; `time` is UTC at its first scan.
    """

    name: str
    seed: int
    time: str
    start_deg: float
    node_longitude_deg: float
    scans: int = 96
    pixels: int = 128
    climate: Climate = field(default_factory=Climate)


def ground(granule: Granule) -> tuple[Map, Map]:
    """Compute latitude and longitude (line, cell) in degrees of every cell below a granule.

    The track is that of a circular orbit over a turning sphere; lines lie at right angles to it.
    """
    line = np.arange(granule.scans * LINES_PER_SCAN)[:, None] * CELL_KM / RADIUS_KM
    cell = (np.arange(granule.pixels)[None, :] - (granule.pixels - 1) / 2) * CELL_KM / RADIUS_KM
    along, tilt = np.radians(granule.start_deg) + line, np.radians(INCLINATION_DEG)
    x, y, z = np.cos(cell) * np.cos(along), np.cos(cell) * np.sin(along), np.sin(cell)
    latitude = np.degrees(np.arcsin(y * np.sin(tilt) + z * np.cos(tilt)))
    turned = 360.0 * line / (2 * np.pi) * PERIOD_SECONDS / DAY_SECONDS
    longitude = granule.node_longitude_deg + np.degrees(np.arctan2(y * np.cos(tilt) - z * np.sin(tilt), x)) - turned
    return latitude, (longitude + 180.0) % 360.0 - 180.0


def make_swath(granule: Granule, observe: Observe) -> xr.Dataset:
    """Draw the weather below a granule and let the instrument see it.

    Truth is the mean rain rate of a cell of 4.5 km, about a radar's footprint; snow is liquid-equivalent. One scan in fifty is
    lost, and one channel for a tenth of the granule.

    Returns
    -------
    xr.Dataset
        In the layout of `vigie.core.swath`, with truth, phase and ancillary fields.
    """
    rng = np.random.default_rng([granule.seed, 61])
    latitude, longitude = ground(granule)
    weather = draw_weather(latitude, CELL_KM, granule.climate, rng)
    image = observe(_state(weather), GMI, (CELL_KM, CELL_KM), NEDT_K, granule.seed)
    seen = slice(LINES_PER_SCAN // 2, None, LINES_PER_SCAN)
    swath = xr.Dataset(
        {name: (("scan", "pixel"), values[seen].astype(np.float32), {"units": unit}) for name, unit, values in _maps(weather)},
        coords={
            "latitude": (("scan", "pixel"), latitude[seen].astype(np.float32), {"units": "degrees_north"}),
            "longitude": (("scan", "pixel"), longitude[seen].astype(np.float32), {"units": "degrees_east"}),
            "time": ("scan", _times(granule)),
            "group": ("scan", np.full(granule.scans, granule.name)),
            **channel_coordinates(GMI),
        },
        attrs=_attributes(granule),
    )
    temperature = _damaged(image[seen], rng)
    swath["brightness_temperature"] = (("scan", "pixel", "channel"), temperature, {"units": "K"})
    swath["flags"] = (("scan", "pixel"), missing_flags(temperature))
    swath["phase"] = (("scan", "pixel"), _phase(weather)[seen])
    return swath


def save_swath(path: Path, swath: xr.Dataset) -> None:
    """Write a swath as NetCDF-4, for `xr.load_dataset(path, engine="h5netcdf")` to give back.

    Raises
    ------
    VigieError: the disk is full.
    """
    packed = {str(name): {"zlib": True, "complevel": 4} for name, one in swath.data_vars.items() if one.dtype.kind in "fu"}
    with whole_file(path) as draft:
        swath.to_netcdf(draft, engine="h5netcdf", encoding=packed)


def write_orbits(folder: Path, count: int, seed: int, climate: Climate, observe: Observe) -> list[Path]:
    """Write granules of as many days, each somewhere else on its orbit, and give their paths.

    The same seed gives the same places, days and weather in every climate: only warmth, moisture and rates differ.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        granule = Granule(
            name=f"synthetic-{seed}-{number:03d}",
            seed=seed * 1000 + number,
            time=str(
                np.datetime64("2020-01-01T00:00:00", "s") + np.timedelta64(number * 86400 + int(rng.integers(86400)), "s")
            ),
            start_deg=float(rng.uniform(0, 360)),
            node_longitude_deg=float(rng.uniform(-180, 180)),
            climate=climate,
        )
        paths.append(folder / f"{granule.name}.nc")
        save_swath(paths[-1], make_swath(granule, observe))
    return paths


def _state(weather: Weather) -> dict[str, NDArray[np.floating]]:
    """What microwaves see of the weather: snow does not emit like rain, its ice scatters all the same."""
    return {
        "rain_rate": weather.rain_rate * weather.liquid,
        "water_vapour": weather.water_vapour,
        "cloud_liquid": weather.cloud_liquid,
        "ice_water_path": weather.ice_water_path,
        "skin_temperature": weather.skin_temperature,
        "wind_speed": np.hypot(weather.eastward_wind, weather.northward_wind),
        "land_fraction": weather.land_fraction,
    }


def _maps(weather: Weather) -> list[tuple[str, str, Map]]:
    return [
        ("truth", "mm h-1", weather.rain_rate),
        ("total_column_water_vapour", "kg m-2", weather.water_vapour),
        ("total_column_cloud_liquid_water", "kg m-2", weather.cloud_liquid),
        ("skin_temperature", "K", weather.skin_temperature),
        ("eastward_wind_10m", "m s-1", weather.eastward_wind),
        ("northward_wind_10m", "m s-1", weather.northward_wind),
        ("land_fraction", "1", weather.land_fraction),
    ]


def _phase(weather: Weather) -> NDArray[np.uint8]:
    falls = weather.rain_rate >= RAINING_MM_H
    return np.where(falls, np.where(weather.liquid >= 0.5, 1, 2), 0).astype(np.uint8)


def _times(granule: Granule) -> NDArray[np.datetime64]:
    step = np.arange(granule.scans) * int(SCAN_SECONDS * 1e9)
    return np.asarray(np.datetime64(granule.time, "ns") + step.astype("timedelta64[ns]"))


def _damaged(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Lose one scan in fifty, and one channel for a tenth of the scans."""
    damaged = image.copy()
    scans = len(image)
    damaged[rng.choice(scans, size=max(1, scans // 50), replace=False)] = np.nan
    first = int(rng.integers(scans - scans // 10))
    damaged[first : first + scans // 10, :, int(rng.integers(image.shape[2]))] = np.nan
    return damaged


def _attributes(granule: Granule) -> dict[str, str | float]:
    return {
        "swath": granule.name,
        "sensor": "GMI",
        "platform": "synthetic",
        "product": "vigie.synthetic.orbit",
        "label_source": "simulated",
        "warming_k": granule.climate.warming_k,
    }
