"""Swaths as records: retrievals of vigie, granules and tables of any reader of `vigie.acquire.granules`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import xarray as xr

from vigie.acquire.granules.recognise import open_swath
from vigie.apps.precipitation.assess.record import Part, Record, Texts, days_of, joined, stamps_of
from vigie.apps.precipitation.assess.settings import RecordSettings
from vigie.core.errors import VigieError, counted
from vigie.core.rain_units import mm_per_day
from vigie.core.swath import FLAGS

RATES = ("rainfall_rate", "truth")
"""Rain of a swath: what a product says, or the labels it carries."""
QUANTILES, MEMBERS = "rainfall_rate_quantile", "rainfall_rate_member"
LAYERS = {QUANTILES: ("quantile", "rain_quantile"), MEMBERS: ("member", "rain_member")}
"""Distributions: the dimension of each, and its name here."""
JUDGED = {"quantiles": (QUANTILES, MEMBERS), "members": (MEMBERS, QUANTILES)}
"""Distributions by the settings' `distribution`: the first that a swath holds is judged, for members may be another model's."""
SWATH = ("scan", "pixel")
EARTH_KM_DEG = 111.195
"""Length of a degree on the sphere."""


def is_retrieval(file: xr.Dataset) -> bool:
    """Say whether an open file is a swath that vigie, or someone with its layout, retrieved."""
    return any(name in file and file[name].dims[-2:] == SWATH for name in RATES) and "brightness_temperature" not in file


def retrieval_record(paths: Sequence[Path], settings: RecordSettings) -> Record:
    """Open retrievals in the layout of `rain.nc`.

    Raises
    ------
    VigieError: positions are missing, there is no rain, or its unit is missing.
    """
    return _record(paths, settings, _read_retrieval)


def granule_record(paths: Sequence[Path], settings: RecordSettings) -> Record:
    """Open granules, tables or images with the reader of their kind.

    Raises
    ------
    VigieError: a file is no such swath, or holds no rain.
    """
    return _record(paths, settings, partial(_read_granule, label_source=settings.label_source))


Reader = Callable[[Path, slice], xr.Dataset]


def _record(paths: Sequence[Path], settings: RecordSettings, read: Reader) -> Record:
    parts, looks = [], []
    for path in paths:
        with read(path, slice(None)) as swath:
            name = rate_name(swath, path, settings)
            parts.append(_part(swath, path, partial(_standard, read, path, name, settings)))
            layers = [swath.sizes[dim] for variable, (dim, _) in LAYERS.items() if variable in swath]
            suspect = int((swath["flags"].values & FLAGS["suspect"] != 0).sum()) if "flags" in swath else 0
            looks.append((max(layers, default=1), pixel_km(swath["latitude"].values, swath["longitude"].values), suspect))
    suspect = sum(look[2] for look in looks)
    notes = (f"{counted(suspect, 'footprint')} that the product itself calls suspect take part.",) if suspect else ()
    known = [look[1] for look in looks if np.isfinite(look[1])]
    return Record(
        settings.name,
        "swath",
        tuple(parts),
        np.nan,
        layers=max(look[0] for look in looks),
        cell_km=float(np.median(known)) if known else np.nan,
        notes=notes,
    )


def _part(swath: xr.Dataset, path: Path, read: Callable[[slice], xr.Dataset]) -> Part:
    """Take from an open file what is known of it without its rain."""
    known = "time" in swath.coords
    time = swath["time"].values if known else np.full(swath.sizes["scan"], np.datetime64("NaT", "ns"))
    latitude, longitude = (swath[axis].values for axis in ("latitude", "longitude"))
    seen = np.isfinite(latitude) & np.isfinite(longitude)
    centre = (float(latitude[seen].mean()), float(longitude[seen].mean())) if seen.any() else (np.nan, np.nan)
    return Part(path.name, time, _groups(swath, path), {"pixel": swath.sizes["pixel"]}, read, centre)


def rate_name(swath: xr.Dataset, path: Path, settings: RecordSettings) -> str:
    """Choose the variable that holds rain.

    Raises
    ------
    VigieError: there is none.
    """
    known = [name for name in swath.data_vars if swath[name].dims == SWATH]
    name = settings.variable or next((name for name in RATES if name in swath), "")
    if name not in known:
        raise VigieError(
            f"{path.name} holds no rain" + (f" '{name}'" if name else ""),
            found=joined(sorted(map(str, known)), 8),
            expected=f"one of {', '.join(RATES)}",
            do=f"name the variable of '{settings.name}', or leave the file out",
        )
    return name


def pixel_km(latitude: np.ndarray, longitude: np.ndarray) -> float:
    """Measure how far apart pixels are: the geometric mean along and across the track, km; NaN of tables.

    Examples
    --------
    >>> lat, lon = np.mgrid[0:1:0.1, 0:1:0.1]
    >>> round(pixel_km(lat, lon), 1)
    11.1
    """
    if min(latitude.shape) < 2:
        return float("nan")
    steps = []
    for axis in (0, 1):
        north = np.diff(latitude.astype(np.float64), axis=axis)
        east = (np.diff(longitude.astype(np.float64), axis=axis) + 180) % 360 - 180
        middle = np.cos(np.deg2rad(np.take(latitude, range(north.shape[axis]), axis=axis)))
        gaps = np.hypot(north, east * middle) * EARTH_KM_DEG
        steps.append(np.median(gaps[np.isfinite(gaps)]) if np.isfinite(gaps).any() else np.nan)
    return float(np.sqrt(steps[0] * steps[1]))


def _groups(swath: xr.Dataset, path: Path) -> Texts:
    if "group" in swath.coords:
        return np.array(swath["group"].values.tolist(), dtype=np.str_)
    days = days_of(stamps_of(swath["time"].values)) if "time" in swath.coords else np.array([""] * swath.sizes["scan"])
    return np.where(days == "", path.stem, days)


def _read_granule(path: Path, window: slice, label_source: str) -> xr.Dataset:
    return open_swath(path, window, label_source)


def _read_retrieval(path: Path, window: slice) -> xr.Dataset:
    """Open lazily: quantiles are many."""
    file = xr.open_dataset(path, engine="h5netcdf")
    swath = file.isel(scan=window)
    swath.set_close(file.close)
    missing = [name for name in ("latitude", "longitude") if name not in swath.variables]
    if missing:
        raise VigieError(f"{path.name} does not say where its footprints are", found=f"no {', '.join(missing)}")
    return swath


def _standard(read: Reader, path: Path, name: str, settings: RecordSettings, window: slice) -> xr.Dataset:
    """Read some scans as a record holds them."""
    with read(path, window) as swath:
        factor = mm_per_day(f"{name} of {path.name}", str(swath[name].attrs.get("units", "")), settings.units) / 24.0
        found = {"rain": swath[name].astype(np.float64) * factor}
        if name == RATES[0]:
            judged = next((layer for layer in JUDGED[settings.distribution] if layer in swath), None)
            found |= {LAYERS[judged][1]: swath[judged] * factor} if judged else {}
            if judged == MEMBERS:
                found["rain"] = found["rain_member"].mean("member", dtype=np.float64, skipna=False)
        coords = {axis: (("step", "pixel"), swath[axis].values) for axis in ("latitude", "longitude")}
        data = xr.Dataset({key: value.variable for key, value in found.items()}).rename(scan="step")
        levels = {"quantile": swath["quantile"].values} if "rain_quantile" in data else {}
        return data.assign_coords({**coords, **levels}).load()
