"""Read scenes of the SatRain benchmark: GMI or ATMS beside radar rain, on the swath or on a grid of 0.036 degrees.

A scene is a handful of NetCDF files with one stamp, a folder for each kind: `gmi/gmi_<stamp>.nc` with `observations` and
positions, `target/target_<stamp>.nc` with `surface_precip` and its quality, `ancillary/ancillary_<stamp>.nc` with ERA5 fields.
The published files are compressed with Zstandard, for which HDF5 needs a filter: the package hdf5plugin gives it.

Source: Pfreundschuh et al. 2026, doi:10.1038/s41597-026-06565-0, and the loaders of its package `satrain`.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.acquire.granules.instruments import instrument
from vigie.acquire.granules.layout import swath, temperature_flags, valid_temperature, wrap
from vigie.core.errors import VigieError
from vigie.core.swath import FLAGS, check

PLATFORMS = {"gmi": "GPM", "atms": "NPP"}
OBSERVED, TARGET = "observations", "surface_precip"
LEAST_QUALITY = {"radar_quality_index": 0.5, "valid_fraction": 0.5}
"""Where the target's quality is lower its rain is unknown: the benchmark's own thresholds."""
ANCILLARY = {
    "total_column_water_vapor": "total_column_water_vapour",
    "total_column_cloud_liquid_water": "total_column_cloud_liquid_water",
    "total_column_cloud_ice_water": "total_column_cloud_ice_water",
    "two_meter_temperature": "air_temperature_2m",
    "skin_temperature": "skin_temperature",
    "ten_meter_wind_u": "eastward_wind_10m",
    "ten_meter_wind_v": "northward_wind_10m",
    "cape": "convective_available_potential_energy",
    "sea_ice_concentration": "sea_ice_fraction",
    "snow_depth": "snow_depth",
    "elevation": "elevation",
}
"""Ancillary variables: their names, and those of the vocabulary."""
_NAME = re.compile(r"^(?P<sensor>gmi|atms)_(?P<stamp>\d{12,14})$")


def read(path: Path, label_source: str = "radar") -> xr.Dataset:
    """Read a scene in the layout of `vigie.core.swath`; a gridded scene has its rows as scans.

    Target and ancillary files are read where they lie in the neighbouring folders; without a target there is no `truth`.

    Parameters
    ----------
    path: the file of observations.
    label_source: where its rain comes from: "radar", or "gauge" where a domain's reference is one.

    Raises
    ------
    VigieError: it is no such file, or its channels are not those of its sensor.
    """
    named_so = _NAME.match(path.stem)
    if named_so is None:
        raise VigieError(f"{path.name} is not named as SatRain names scenes", expected="gmi_<stamp>.nc or atms_<stamp>.nc")
    channels = instrument(named_so["sensor"].upper()).channels()
    with _opened(path) as scene:
        if OBSERVED not in scene or scene.sizes.get("channel") != len(channels):
            raise VigieError(
                f"{path.name} holds no scene of {named_so['sensor'].upper()}",
                found=dict(scene.sizes),
                expected=f"{OBSERVED} with {len(channels)} channels",
            )
        rows, columns = (str(dim) for dim in scene[OBSERVED].dims if dim != "channel")
        temperature = valid_temperature(scene[OBSERVED].transpose(rows, columns, "channel").values)
        latitude, longitude = (
            part.transpose(rows, columns).values for part in xr.broadcast(scene["latitude"], scene["longitude"])
        )
        time = _scan_time(scene, rows, named_so["stamp"])
        origin = str(scene.attrs.get("gpm_input_file", ""))
    fields: dict[str, NDArray[np.generic]] = {
        "brightness_temperature": temperature,
        "latitude": latitude.astype(np.float32),
        "longitude": wrap(longitude),
    }
    fields |= _ancillary(neighbour(path, "ancillary"), (rows, columns)) | _truth(neighbour(path, "target"), (rows, columns))
    absent = not set(fields) & set(ANCILLARY.values())
    fields["flags"] = temperature_flags(temperature, channels) | np.uint8(FLAGS["no_ancillary"] * absent)
    attributes = {
        "swath": path.stem,
        "sensor": named_so["sensor"].upper(),
        "platform": PLATFORMS[named_so["sensor"]],
        "product": "SatRain",
        "granule": origin,
        **({"label_source": label_source} if "truth" in fields else {}),
    }
    made = swath(fields, time, named_so["stamp"], attributes, channels)
    check(made)
    return made


def neighbour(path: Path, kind: str) -> Path:
    """Name the file of another kind of the same scene.

    Examples
    --------
    >>> neighbour(Path("on_swath/gmi/gmi_20180101120000.nc"), "target").as_posix()
    'on_swath/target/target_20180101120000.nc'
    """
    return path.parent.parent / kind / f"{kind}_{path.stem.partition('_')[2]}.nc"


def _opened(path: Path) -> xr.Dataset:
    """Open a file; its filter is registered where the package that gives it is installed."""
    from importlib import import_module
    from importlib.util import find_spec

    if find_spec("hdf5plugin"):
        import_module("hdf5plugin")
    try:
        return xr.load_dataset(path, engine="h5netcdf")
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise VigieError(
            f"{path} cannot be read",
            found=error,
            expected="a NetCDF file of SatRain",
            do="install hdf5plugin if a filter is missing",
        ) from error


def _truth(path: Path, dims: tuple[str, str]) -> dict[str, NDArray[np.generic]]:
    if not path.is_file():
        return {}
    with _opened(path) as target:
        if TARGET not in target:
            raise VigieError(f"{path.name} holds no rain", found=sorted(map(str, target.data_vars)), expected=TARGET)
        rain = target[TARGET]
        for name, least in LEAST_QUALITY.items():
            if name in target:
                rain = rain.where(target[name] >= least - 1e-3)
        return {"truth": rain.transpose(*dims).values.astype(np.float32)}


def _ancillary(path: Path, dims: tuple[str, str]) -> dict[str, NDArray[np.generic]]:
    if not path.is_file():
        return {}
    with _opened(path) as found:
        return {
            ours: found[theirs].transpose(*dims).values.astype(np.float32)
            for theirs, ours in ANCILLARY.items()
            if theirs in found
        }


def _scan_time(scene: xr.Dataset, rows: str, stamp: str) -> NDArray[np.datetime64]:
    """The time of each scan; on a grid, whose rows are no scans, the scene's median time, which is its stamp."""
    if "scan_time" in scene.variables and scene["scan_time"].dims == (rows,):
        return np.asarray(scene["scan_time"].values, dtype="datetime64[ns]")
    digits = stamp.ljust(14, "0")
    day, clock = "-".join((digits[:4], digits[4:6], digits[6:8])), ":".join((digits[8:10], digits[10:12], digits[12:]))
    return np.full(scene.sizes[rows], f"{day}T{clock}", dtype="datetime64[ns]")
