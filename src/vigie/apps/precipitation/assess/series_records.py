"""Series and grids of anybody as records: CF NetCDF."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import xarray as xr

from vigie.apps.precipitation.assess.grid_records import on_the_sphere
from vigie.apps.precipitation.assess.record import Part, Record, days_of, joined, refuse_twice, stamps_of, step_length_h
from vigie.apps.precipitation.assess.settings import RecordSettings
from vigie.apps.precipitation.assess.swath_records import EARTH_KM_DEG
from vigie.core.errors import VigieError, nearest
from vigie.core.rain_units import mm_per_day

RAIN = ("pr", "precipitation", "tp", "rain", "rainfall", "rainfall_rate", "rainfall_amount", "prcp", "precip")
RAIN_STANDARD = ("precipitation_flux", "lwe_precipitation_rate", "rainfall_rate", "precipitation_amount", "rainfall_flux")
"""CF names of rain."""
TEMPERATURE = {
    **dict.fromkeys(("tdps", "d2m", "dew_point"), "dew point"),
    **dict.fromkeys(("tas", "t2m"), "air temperature"),
    "tasmax": "daily maximum temperature",
    "air_temperature_2m": "air temperature",
    "temperature": "temperature",
}
"""Temperatures and what the page calls them, the best for scaling first: dew point knows how much moisture there is."""
MEMBERS = ("member", "realization", "number", "ensemble")
LATITUDES, LONGITUDES = ("latitude", "lat"), ("longitude", "lon")
KELVIN_C = 273.15
LOWEST_MM_H = -0.01
"""Rain below zero down to this is rounding and becomes 0; anything lower is refused."""


def netcdf_record(paths: Sequence[Path], settings: RecordSettings) -> Record:
    """Open NetCDF files that follow CF: rain over time at places or on a grid.

    Raises
    ------
    VigieError: a file is damaged, has no rain, no time, no unit, or files differ in place.
    """
    looks = sorted((_look(path, settings) for path in paths), key=lambda look: str(look.attrs["stamps"][0]))
    first = looks[0]
    for look in looks:
        if dict(look.sizes) != dict(first.sizes):
            raise VigieError(
                f"files of '{settings.name}' differ in place", found=f"{dict(look.sizes)} in {look.attrs['path'].name}"
            )
    step_h = step_length_h([look.attrs["stamps"] for look in looks], settings.step_h, settings.name)
    daily = abs(step_h - 24) < 1e-6
    spatial = {str(dim): first.sizes[dim] for dim in ("y", "x", "place") if dim in first.sizes}
    parts = [
        Part(
            look.attrs["path"].name,
            look.attrs["time"],
            days_of(look.attrs["stamps"]),
            spatial,
            partial(_read, look.attrs["path"], look.attrs["names"], settings, step_h),
        )
        for look in looks
    ]
    refuse_twice(parts, daily, settings.name)
    return Record(
        settings.name,
        "grid" if "y" in spatial else "places",
        tuple(parts),
        step_h,
        first.drop_attrs(),
        layers=int(first.attrs["layers"]),
        temperature=TEMPERATURE.get(named := first.attrs["names"].get("temperature", ""), named),
        cell_km=_cell_km(first),
    )


def _look(path: Path, settings: RecordSettings) -> xr.Dataset:
    """Find out what a file holds: its places as a dataset, times, variables and layers among its attributes."""
    with _opened(path) as file:
        rain = _rain_name(file, path, settings)
        layers = [d for d in file[rain].dims if d in (*MEMBERS, "quantile")]
        spatial = [str(d) for d in file[rain].dims if d not in ("time", *layers)]
        if "time" not in file[rain].dims or len(spatial) > 2:
            raise VigieError(
                f"{path.name}: '{rain}' is no series", found=file[rain].dims, expected="time, and places or a grid"
            )
        names = {"rain": rain}
        temperature = settings.temperature or next((t for t in TEMPERATURE if t in file), "")
        if settings.temperature and settings.temperature not in file:
            known = [str(name) for name in file.data_vars]
            raise VigieError(f"{path.name} has no '{temperature}'", found=joined(known, 8), do=nearest(temperature, known))
        names |= {"temperature": temperature} if temperature else {}
        place = _places(file, spatial)
        count = int(np.prod([file.sizes[d] for d in layers])) if layers else 1
        return place.assign_attrs(
            path=path, time=file["time"].values, stamps=stamps_of(file["time"].values), names=names, layers=count
        )


def _opened(path: Path) -> xr.Dataset:
    try:
        return xr.open_dataset(path)
    except (OSError, ValueError) as error:
        raise VigieError(f"{path} cannot be read", found=error, expected="a whole NetCDF file") from error


def _rain_name(file: xr.Dataset, path: Path, settings: RecordSettings) -> str:
    found = [str(n) for n, v in file.data_vars.items() if n in RAIN or v.attrs.get("standard_name") in RAIN_STANDARD]
    if not settings.variable and len(found) > 1:
        raise VigieError(
            f"{path.name} holds several rain variables",
            found=joined(found, 8),
            expected="one, or its name",
            do=f"name the variable of '{settings.name}'",
        )
    name = settings.variable or next(iter(found), "")
    if not name or name not in file:
        known = [str(n) for n in file.data_vars]
        raise VigieError(
            f"{path.name} holds no rain" + (f" '{name}'" if name else ""),
            found=joined(known, 8),
            expected=f"one of {', '.join(RAIN)}, or a standard_name of CF",
            do=nearest(name, known) or f"name the variable of '{settings.name}'",
        )
    return name


def _places(file: xr.Dataset, spatial: Sequence[str]) -> xr.Dataset:
    """Give positions as a record has them; NaN where a file does not say them."""
    latitude, longitude = (next((n for n in names if n in file.variables), None) for names in (LATITUDES, LONGITUDES))
    if len(spatial) < 2:
        size = file.sizes[spatial[0]] if spatial else 1
        found = {
            axis: ("place", np.broadcast_to(_wrapped(file, n, axis), size) if n else np.full(size, np.nan))
            for axis, n in (("latitude", latitude), ("longitude", longitude))
        }
        named = spatial and spatial[0] in file.coords and file[spatial[0]].dtype.kind in "UOT"
        names = file[spatial[0]].values.tolist() if named else [f"place {number + 1}" for number in range(size)]
        return xr.Dataset({**found, "name": ("place", np.array(names, dtype=np.str_))}, attrs={})
    axes = {
        axis: _wrapped(file, dim, "longitude" if dim in LONGITUDES else "")
        if dim in file.variables
        else np.arange(file.sizes[dim])
        for axis, dim in zip(("y", "x"), spatial, strict=True)
    }
    north, east = _positions(file, spatial, latitude, longitude, axes)
    cells = {"latitude": (("y", "x"), north), "longitude": (("y", "x"), east)}
    return xr.Dataset(cells, {axis: np.asarray(values, np.float64) for axis, values in axes.items()})


def _positions(
    file: xr.Dataset, spatial: Sequence[str], latitude: str | None, longitude: str | None, axes: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Latitude and longitude (y, x) from axes, from fields of positions, or through the CRS."""
    shape = tuple(file.sizes[d] for d in spatial)
    if latitude in spatial and longitude in spatial:
        return np.meshgrid(axes["y"], axes["x"], indexing="ij")
    if latitude and longitude and file[latitude].shape == shape:
        return _wrapped(file, latitude, "latitude"), _wrapped(file, longitude, "longitude")
    if "spatial_ref" in file.variables and tuple(spatial) == ("y", "x"):
        return on_the_sphere(file)
    return np.full(shape, np.nan), np.full(shape, np.nan)


def _wrapped(file: xr.Dataset, name: str, axis: str) -> np.ndarray:
    values = file[name].values.astype(np.float64)
    return np.where(values > 180, values - 360, values) if axis == "longitude" else values


def _cell_km(place: xr.Dataset) -> float:
    """Side of a cell: of metres if the axes go beyond degrees."""
    if "y" not in place.sizes or place.sizes["y"] < 2:
        return float("nan")
    step = float(np.median(np.abs(np.diff(place["y"].values))))
    if np.isfinite(place["latitude"]).all() and np.allclose(place["latitude"][:, 0], place["y"]):
        return step * EARTH_KM_DEG
    return step / 1000


def _read(path: Path, names: Mapping[str, str], settings: RecordSettings, step_h: float, steps: slice) -> xr.Dataset:
    """Read some steps as a record holds them; times are known already."""
    with xr.open_dataset(path, decode_times=False) as file:
        rain = file[names["rain"]].isel(time=steps)
        factor = mm_per_day(f"{names['rain']} of {path.name}", str(rain.attrs.get("units", "")), settings.units, step_h) / 24
        found: dict[str, xr.DataArray] = {}
        member = next((m for m in MEMBERS if m in rain.dims), "")
        if member:
            found["rain_member"] = _standard(rain.rename({member: "member"}), ("member",)) * factor
            found["rain"] = found["rain_member"].mean("member")
        elif "quantile" in rain.dims:
            found["rain_quantile"] = _standard(rain, ("quantile",)) * factor
            found["rain"] = found["rain_quantile"].mean("quantile")
        else:
            found["rain"] = _standard(rain) * factor
        if "temperature" in names:
            found["temperature"] = _celsius(_standard(file[names["temperature"]].isel(time=steps)), path)
        coords = {"quantile": file["quantile"].values} if "rain_quantile" in found else {}
        data = xr.Dataset({name: value.variable for name, value in found.items()}).assign_coords(coords)
        return _not_negative(data, path)


def _standard(values: xr.DataArray, layers: tuple[str, ...] = ()) -> xr.DataArray:
    """Bring dimensions into the order and the names of a record, and a single series to one place."""
    spatial = [d for d in values.dims if d not in ("time", *layers)]
    named = {1: ("place",), 2: ("y", "x")}.get(len(spatial), ())
    values = values.transpose(*layers, "time", *spatial).astype(np.float64).drop_vars(list(values.coords))
    values = values.rename(time="step", **dict(zip(map(str, spatial), named)))
    return values if spatial else values.expand_dims("place", axis=-1)


def _celsius(values: xr.DataArray, path: Path) -> xr.DataArray:
    units = str(values.attrs.get("units", ""))
    if units in ("K", "kelvin"):
        return values - KELVIN_C
    if units in ("degC", "C", "celsius", "degrees_Celsius", "°C"):
        return values
    raise VigieError(f"{path.name}: temperature has no unit that is known", found=f"'{units}'", expected="K or degC")


def _not_negative(data: xr.Dataset, path: Path) -> xr.Dataset:
    """Clip rounding below zero, and refuse what is a fill."""
    lowest = float(data["rain"].min()) if data["rain"].size else 0.0
    if lowest < LOWEST_MM_H:
        raise VigieError(f"rain of {path.name} is negative", found=f"{lowest:g} mm/h", do="turn fill values into NaN")
    return data.assign({name: data[name].clip(min=0) for name in data.data_vars if str(name).startswith("rain")})
