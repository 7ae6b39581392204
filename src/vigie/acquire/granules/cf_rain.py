"""Rain in NetCDF files of the CF conventions: which variable it is, in which unit, where and when."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.core.errors import VigieError
from vigie.core.rain_units import MM, MM_PER_HOUR, is_amount

STANDARD_NAMES = (
    "rainfall_rate",
    "precipitation_flux",
    "rainfall_flux",
    "lwe_precipitation_rate",
    "precipitation_amount",
    "lwe_thickness_of_precipitation_amount",
    "thickness_of_rainfall_amount",
)
"""What CF calls rain."""
NAMES = ("rainfall_rate", "precipitation", "pr", "precip", "rain", "tp", "truth")
"""What variables without a standard name are called."""
AXES = {"latitude": ("latitude", "lat"), "longitude": ("longitude", "lon")}
"""Standard names of positions, and what they are called for short."""
LEAST_MM_H = -1e-3
"""Packed files hold rain a little below zero, which is zero; what is lower is not rain."""


@dataclass(frozen=True)
class CfRain:
    """One variable of rain; nothing is held open between reads. `variable` and `units` say what the file does not."""

    path: Path
    variable: str = ""
    units: str = ""

    @cached_property
    def latitude(self) -> NDArray[np.floating]:
        """Degrees north: of stations (n), of rows, or of cells (row, column)."""
        return self._position("latitude")

    @cached_property
    def longitude(self) -> NDArray[np.floating]:
        """Degrees east, like `latitude`."""
        return self._position("longitude")

    @cached_property
    def stations(self) -> bool:
        """Whether it lies at points of one dimension rather than on a grid."""
        with self._opened() as file:
            return self._axis(file, "latitude").dims == self._axis(file, "longitude").dims and self.latitude.ndim == 1

    @cached_property
    def times(self) -> NDArray[np.datetime64]:
        """Middle of the bounds of each step; the time itself where there are none."""
        with self._opened() as file:
            time = self._time(file)
            bounds = self._bounds(file)
            found = time.values if bounds is None else bounds[:, 0] + (bounds[:, 1] - bounds[:, 0]) / 2
        return np.atleast_1d(found).astype("datetime64[ns]")

    def rate(self, step: int, rows: slice = slice(None)) -> NDArray[np.float32]:
        """Read one step of time: mm h-1 of stations (n), or of some rows of a grid (row, column); NaN where missing.

        Raises
        ------
        VigieError: the unit is missing or none of rain, an amount has no interval, or rain is below zero.
        """
        with self._opened() as file:
            rain = self._rain(file)
            time = self._time(file)
            chosen = rain.isel({str(time.dims[0]): step}) if time.dims and time.dims[0] in rain.dims else rain
            dims = list(dict.fromkeys([*self._axis(file, "latitude").dims, *self._axis(file, "longitude").dims]))
            if set(chosen.dims) != set(dims):
                raise VigieError(f"{self.path.name}: {rain.name} has other dimensions", found=rain.dims, expected=dims)
            part = chosen.transpose(*dims)
            values = (part if self.stations else part.isel({dims[0]: rows})).values.astype(np.float64)
            found = values * self._factor(file, rain, step)
        if np.nanmin(found, initial=0.0) < LEAST_MM_H:
            raise VigieError(f"{self.path.name}: {rain.name} is below zero", found=f"{np.nanmin(found):.3g} mm/h")
        return np.where(found < 0, 0.0, found).astype(np.float32)

    @contextmanager
    def _opened(self) -> Iterator[xr.Dataset]:
        with self.path.open("rb") as begin:
            engine = "scipy" if begin.read(3) == b"CDF" else "h5netcdf"
        try:
            with xr.open_dataset(self.path, engine=engine) as file:
                yield file
        except (OSError, ValueError) as error:
            raise VigieError(f"{self.path} cannot be read", found=error, expected="a NetCDF file", do="get it again") from error

    def _rain(self, file: xr.Dataset) -> xr.DataArray:
        """Find the variable: the one that is named, else the only one that CF or custom calls rain."""
        by_name = [name for name in NAMES if name in file.data_vars]
        by_standard = [str(n) for n, v in file.data_vars.items() if v.attrs.get("standard_name") in STANDARD_NAMES]
        found = [self.variable] if self.variable else by_standard or by_name
        if len(found) != 1 or found[0] not in file.data_vars:
            told = ", ".join(sorted(map(str, file.data_vars)))
            raise VigieError(
                f"{self.path.name} holds no rain" if len(found) < 2 else f"{self.path.name} holds rain more than once",
                found=f"variables {told}" if len(found) < 2 else ", ".join(found),
                expected=f"'{self.variable}'" if self.variable else f"a variable with standard_name {STANDARD_NAMES[0]}, or so",
                do="name the variable in [[acquire.labels]], or leave the file out",
            )
        return file[found[0]]

    def _factor(self, file: xr.Dataset, rain: xr.DataArray, step: int) -> float:
        """What makes mm h-1 of stored values."""
        units = self.units or str(rain.attrs.get("units", ""))
        if not is_amount(units, f"{rain.name} of {self.path.name}"):
            return MM_PER_HOUR[units]
        bounds = self._bounds(file)
        if bounds is None:
            raise VigieError(
                f"{self.path.name}: {rain.name} is an amount, and nobody says in which interval it fell",
                found=f"units {units!r}, no bounds of time",
                expected="time bounds, or a rate",
                do="give time an attribute bounds, as CF says",
            )
        return MM[units] / float((bounds[step, 1] - bounds[step, 0]) / np.timedelta64(1, "h"))

    def _time(self, file: xr.Dataset) -> xr.DataArray:
        found: list[xr.DataArray] = [v for v in file.coords.values() if v.dtype.kind == "M" and v.ndim < 2]
        if len(found) != 1:
            raise VigieError(
                f"{self.path.name} does not tell its time",
                found=f"coordinates {', '.join(sorted(map(str, file.coords)))}",
                expected="one coordinate of time, of the standard calendar",
            )
        return found[0]

    def _bounds(self, file: xr.Dataset) -> NDArray[np.datetime64] | None:
        name = self._time(file).attrs.get("bounds") or self._time(file).encoding.get("bounds")
        if not name or name not in file.variables:
            return None
        return np.asarray(file[name].values, dtype="datetime64[ns]").reshape(-1, 2)

    def _axis(self, file: xr.Dataset, axis: str) -> xr.DataArray:
        for name, variable in file.variables.items():
            if variable.attrs.get("standard_name") == axis or name in AXES[axis]:
                found: xr.DataArray = file[name]
                return found
        raise VigieError(
            f"{self.path.name} does not tell where its rain fell",
            found=f"variables {', '.join(sorted(map(str, file.variables)))}",
            expected=f"a variable {axis}, degrees",
        )

    def _position(self, axis: str) -> NDArray[np.floating]:
        with self._opened() as file:
            return np.asarray(self._axis(file, axis).values)
