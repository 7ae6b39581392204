"""Read images of tropical cyclones from MATLAB structs `mi`: one frequency of one imager, vertical and horizontal.

The struct names the sensor and not the frequency; the file's name ends with its role (37 or 85, whatever the true one is), and
the true channel is looked up in `radiometers.toml`. Positions are those corrected for parallax; the file also holds the raw
ones.
"""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xarray import Dataset

from vigie.acquire.granules.instruments import instrument
from vigie.acquire.granules.layout import swath, temperature_flags, valid_temperature, wrap
from vigie.core.errors import VigieError
from vigie.core.swath import Channel, check

STRUCT = "mi"
NEEDED = ("sensorType", "timeArray", "latMx", "lonMx", "rawLatMx", "rawLonMx", "bthMx", "btvMx")
ROLES_GHZ = {"37": 37.0, "85": 85.5, "89": 89.0, "91": 91.655}
"""What the last word of a file's name stands for."""
PLATFORMS = {"AMSR2": "GCOMW1", "TMI": "TRMM", "GMI": "GPM"}
"""Platforms of imagers that flew once; of SSMIS the struct tells the number."""
UNIX_EPOCH_DATENUM = 719529
"""MATLAB counts days; this one is 1970-01-01."""
LARGEST_STEP_GHZ = 7.0
"""A role and the true frequency lie no further apart (85.5 stands for 91.655)."""


def read(path: Path, role: str = "") -> Dataset:
    """Read an image in the layout of `vigie.core.swath`; its channels are V and H of one frequency.

    Parameters
    ----------
    path: the .mat file.
    role: which frequency it holds, a key of `ROLES_GHZ`; "" takes the last word of the file's name.

    Raises
    ------
    VigieError: it is no such file, a field is missing, the frequency is not told, or the sensor is unknown.
    """
    image = load(path)
    sensor, _, number = str(image["sensorType"]).partition("-")
    channels = _channels(path, sensor, role or path.stem.rpartition("_")[2])
    temperature = valid_temperature(np.stack([image["btvMx"], image["bthMx"]], axis=-1))
    time = from_datenum(np.atleast_1d(image["timeArray"]))
    latitude, longitude = image["latMx"], wrap(image["lonMx"])
    fields: dict[str, NDArray[np.generic]] = {
        "brightness_temperature": temperature,
        "latitude": latitude.astype(np.float32),
        "longitude": longitude,
        "flags": temperature_flags(temperature, channels),
    }
    attributes = {
        "swath": path.stem,
        "sensor": sensor,
        "platform": PLATFORMS.get(sensor, f"F{number}"),
        "product": "image of a tropical cyclone",
        "positions": "corrected for parallax",
        "largest_parallax_deg": float(np.abs(latitude - image["rawLatMx"]).max()),
    }
    made = swath(fields, time, str(time[0].astype("datetime64[D]")), attributes, channels)
    check(made)
    return made


def load(path: Path) -> dict[str, Any]:
    """Read the fields of the struct.

    Raises
    ------
    VigieError: the file is not MATLAB 5, has no struct `mi`, or that lacks a field.
    """
    from scipy.io import loadmat

    try:
        content = loadmat(path, squeeze_me=True, struct_as_record=False, variable_names=[STRUCT])
    except (OSError, ValueError, TypeError, NotImplementedError, EOFError, zlib.error) as error:
        raise VigieError(f"{path} cannot be read", found=error, expected="a MATLAB 5 file", do="download it again") from error
    struct = content.get(STRUCT)
    fields = {name: getattr(struct, name) for name in getattr(struct, "_fieldnames", ())}
    missing = [name for name in NEEDED if name not in fields]
    if missing:
        raise VigieError(
            f"{path} is no image of a cyclone", found=sorted(fields) or "no struct", expected=f"{STRUCT}.{missing[0]}"
        )
    return fields


def from_datenum(days: NDArray[np.floating]) -> NDArray[np.datetime64]:
    """Convert MATLAB's serial dates to times, to the millisecond.

    Examples
    --------
    >>> from_datenum(np.array([719529.0, 737829.25]))
    array(['1970-01-01T00:00:00.000000000', '2020-02-08T06:00:00.000000000'], dtype='datetime64[ns]')
    """
    milliseconds = np.rint((days.astype(np.float64) - UNIX_EPOCH_DATENUM) * 86_400_000).astype(np.int64)
    return milliseconds.astype("datetime64[ms]").astype("datetime64[ns]")


def _channels(path: Path, sensor: str, role: str) -> tuple[Channel, Channel]:
    """The two channels of the imager nearest to the role."""
    if role not in ROLES_GHZ:
        raise VigieError(
            f"{path.name}: nobody says which frequency it holds",
            found=f"'{role}' at the end of its name",
            expected=f"one of {', '.join(ROLES_GHZ)}",
            do="say it, or name the file like 20200208T061548_amsr2_37.mat",
        )
    told = re.sub(r"[^A-Z0-9]", "", sensor.upper())
    pair = sorted(instrument(told).channels(), key=lambda channel: abs(channel.frequency_ghz - ROLES_GHZ[role]))[:2]
    vertical, horizontal = sorted(pair, key=lambda channel: channel.polarisation, reverse=True)
    if abs(vertical.frequency_ghz - ROLES_GHZ[role]) > LARGEST_STEP_GHZ or horizontal.polarisation != "H":
        raise VigieError(f"{sensor} has no pair of channels near {role} GHz", found=[channel.name for channel in pair])
    return vertical, horizontal
