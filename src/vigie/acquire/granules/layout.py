"""Put what a reader found into the layout of swaths: positions wrapped, temperatures checked, flags set, all described."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.core.swath import FLAGS, Channel, channel_coordinates, missing_flags
from vigie.core.vocabulary import named

LOWEST_K = 50.0
"""Nothing on Earth is colder; 0 and fills are below."""
HIGHEST_K = 330.0
"""Nothing on Earth shines brighter than the hottest desert."""
HIGHEST_LOW_FREQUENCY_K = 300.0
"""Below 12 GHz soil shines from below its hot skin, and transmitters disturb: what is brighter is most often theirs."""
LOW_FREQUENCY_GHZ = 12.0


def valid_temperature(temperature: NDArray[np.floating]) -> NDArray[np.float32]:
    """Give brightness temperatures [K] with NaN for fills, zeros and anything at or below 50 K.

    Examples
    --------
    >>> valid_temperature(np.array([0.0, -9999.9, 50.0, 89.2])).tolist()
    [nan, nan, nan, 89.199...]
    """
    return np.where(temperature > LOWEST_K, temperature, np.nan).astype(np.float32)


def temperature_flags(temperature: NDArray[np.floating], channels: Sequence[Channel]) -> NDArray[np.uint8]:
    """Flag pixels of (scan, pixel, channel) that lack channels, or are brighter in one than Earth can be (radio interference).

    Examples
    --------
    >>> both = [Channel(10.65, "V"), Channel(18.7, "H")]
    >>> temperature_flags(np.array([[[305.0, 280.0], [290.0, 357.0], [290.0, np.nan], [290.0, 301.0]]]), both).tolist()
    [[4, 4, 2, 0]]
    """
    frequency = np.array([channel.frequency_ghz for channel in channels])
    highest = np.where(frequency < LOW_FREQUENCY_GHZ, HIGHEST_LOW_FREQUENCY_K, HIGHEST_K)
    implausible = (temperature > highest).any(axis=-1)
    return missing_flags(temperature) | (FLAGS["suspect"] * implausible).astype(np.uint8)


def wrap(longitude: NDArray[np.floating]) -> NDArray[np.float32]:
    """Wrap longitudes [degrees east] into -180..180; NaN stays.

    Examples
    --------
    >>> wrap(np.array([-180.5, 179.5, 200.0, 360.0])).tolist()
    [179.5, 179.5, -160.0, 0.0]
    """
    inside = (longitude >= -180) & (longitude <= 180)
    return np.where(inside, longitude, (longitude + 180) % 360 - 180).astype(np.float32)


def swath(
    fields: Mapping[str, NDArray[np.generic]],
    time: NDArray[np.datetime64],
    group: NDArray[np.str_] | str,
    attributes: Mapping[str, object],
    channels: Sequence[Channel] = (),
) -> xr.Dataset:
    """Describe arrays as one swath.

    Parameters
    ----------
    fields: (scan, pixel) arrays by name, `brightness_temperature` with a third axis of channels; names and units are those of
        the vocabulary; `latitude`, `longitude` and `flags` among them.
    time, group: of each scan; one text stands for all.
    attributes: of the data set: swath, sensor, platform, product, and label_source where it has labels.
    channels: what the third axis is.
    """
    count = len(time)
    groups = np.array([group] * count, dtype=np.str_) if isinstance(group, str) else group
    described = {
        name: (("scan", "pixel", "channel")[: values.ndim], np.asarray(values), _attributes(name))
        for name, values in fields.items()
    }
    described["flags"][2].update({"flag_masks": np.array(list(FLAGS.values()), np.uint8), "flag_meanings": " ".join(FLAGS)})
    coordinates = {"time": ("scan", time.astype("datetime64[ns]")), "group": ("scan", groups)}
    return xr.Dataset(described, {**coordinates, **(channel_coordinates(channels) if channels else {})}, dict(attributes))


def _attributes(name: str) -> dict[str, object]:
    if name == "truth":
        return {**named("rainfall_rate").attributes}
    return {**named(name).attributes}
