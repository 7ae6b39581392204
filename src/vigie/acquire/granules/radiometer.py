"""Read brightness temperatures of 1C and 1C-R granules: which swath groups, on whose footprints, which scans.

The swath groups of a 1C granule see the ground at positions of their own (GMI above 160 GHz looks some 60 km nearer to the
satellite). Channels of other groups are brought to the footprints of the first one that is asked for: the nearest footprint
counts, up to the distance that `radiometers.toml` states; beyond it the channel is missing. In a 1C-R granule this has been
done already.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray
from xarray import Dataset

from vigie.acquire.granules import pps
from vigie.acquire.granules.colocate import Positions, coincide, nearest
from vigie.acquire.granules.instruments import DeclaredChannel, Instrument, SwathGroup, instrument
from vigie.acquire.granules.layout import swath, temperature_flags, valid_temperature, wrap
from vigie.core.errors import VigieError
from vigie.core.swath import FLAGS, check

ALGORITHM = "1C"
MARGIN_SCANS = 24
"""Scans read around a window from other swath groups: at the edge of its swath GMI sees one place about ten scans apart."""
ROUNDING_GHZ = 0.5
"""How far the words of a file may lie from the true frequency."""
_NUMBERED = re.compile(r"(\d+)\)\s*(\d+(?:\.\d+)?)\s*(?:\+/-\s*(\d+(?:\.\d+)?))?\s*GHz(?:\s+Q?([VH])-Pol)?")


def read(path: Path, window: slice = pps.WHOLE, groups: Sequence[str] = ()) -> Dataset:
    """Read a 1C or 1C-R granule in the layout of `vigie.core.swath`.

    Parameters
    ----------
    path: the granule.
    window: which scans; what is read does not depend on how an orbit is cut.
    groups: swath groups to read, for instance ("S1",); the first gives the footprints. () takes all that are declared.

    Raises
    ------
    VigieError: it is no such granule, a group or data set is missing, or its channels are not those declared.
    """
    with pps.opened(path) as file:
        found = pps.expect(file, (ALGORITHM,))
        radiometer = instrument(found.sensor)
        wanted = [radiometer.swath(group) for group in groups] or list(radiometer.swaths)
        first = pps.swath_group(file, (wanted[0].group,))
        start, stop = pps.scans(file, first, window)
        here = _positions(file, first, slice(start, stop))
        in_file_order = [declared for declared in radiometer.swaths if declared in wanted]
        parts = [_brought(file, radiometer, declared, here, (start, stop)) for declared in in_file_order]
        time = pps.scan_time(file, first, slice(start, stop))
    temperature = np.concatenate([part[0] for part in parts], axis=-1)
    channels = radiometer.channels([declared.group for declared in wanted])
    suspect = np.any([part[1] for part in parts], axis=0)
    fields: dict[str, NDArray[np.generic]] = {
        "brightness_temperature": temperature,
        "latitude": here[0].astype(np.float32),
        "longitude": wrap(here[1]),
        "flags": temperature_flags(temperature, channels) | (FLAGS["suspect"] * suspect).astype(np.uint8),
    }
    attributes = {
        "swath": f"{found.orbit}-{found.sensor}",
        "sensor": found.sensor,
        "platform": found.platform,
        "product": found.product,
        "footprints_of": first,
        "within_km": radiometer.within_km,
    }
    made = swath(fields, time, found.orbit, attributes, channels)
    check(made)
    return made


def _positions(file: h5py.File, group: str, window: slice) -> Positions:
    return pps.measured(file, f"{group}/Latitude", window), pps.measured(file, f"{group}/Longitude", window)


def _brought(
    file: h5py.File, radiometer: Instrument, declared: SwathGroup, here: Positions, scans: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Temperatures of one swath group on the footprints `here`, and where it has some whose quality is not good."""
    pps.swath_group(file, (declared.group,))
    window = slice(*scans)
    there = _positions(file, declared.group, window)
    if coincide(here, there):
        return _temperature(file, declared, there, window)
    around = slice(max(0, scans[0] - MARGIN_SCANS), scans[1] + MARGIN_SCANS)
    there = _positions(file, declared.group, around)
    temperature, suspect = _temperature(file, declared, there, around)
    index = nearest(here, there, radiometer.within_km)
    flat = temperature.reshape(-1, temperature.shape[-1])
    near = index >= 0
    return np.where(near[..., None], flat[index], np.float32("nan")), near & suspect.ravel()[index]


def _temperature(
    file: h5py.File, declared: SwathGroup, positions: Positions, window: slice
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    _check_channels(file, declared)
    temperature = valid_temperature(pps.measured(file, f"{declared.group}/Tc", window))
    temperature[~np.isfinite(positions[0])] = np.nan
    suspect = pps.stored(file, f"{declared.group}/Quality", window) != 0
    return temperature, suspect & np.isfinite(temperature).any(axis=-1)


def _check_channels(file: h5py.File, declared: SwathGroup) -> None:
    """Hold the declared order of channels against what the attribute LongName numbers, and their number against the array's."""
    name = f"{declared.group}/Tc"
    if not isinstance(file.get(name), h5py.Dataset):
        pps.stored(file, name)
    said = pps.text(file[name].attrs.get("LongName", b""))
    expected = [channel.name for channel in declared.described()]
    if file[name].shape[-1] != len(declared.channels):
        raise VigieError(
            f"{file.filename}: {name} has other channels",
            found=file[name].shape[-1],
            expected=", ".join(expected),
            do="download the whole granule, in a version that is read, or leave it out",
        )
    for number, *words in _NUMBERED.findall(said):
        if int(number) > len(declared.channels) or not _agrees(declared.channels[int(number) - 1], *words):
            raise VigieError(
                f"{file.filename}: {name} has its channels in another order",
                found=" ".join(said.split()),
                expected=", ".join(expected),
                do="correct the order in radiometers.toml",
            )


def _agrees(channel: DeclaredChannel, frequency: str, sideband: str, polarisation: str) -> bool:
    """Say whether the words of LongName, '' where it is silent, may mean a channel; files round (91.665, 183.31 +/-7)."""
    return (
        abs(channel.frequency_ghz - float(frequency)) <= ROUNDING_GHZ
        and (not sideband or abs(channel.sideband_ghz - float(sideband)) <= ROUNDING_GHZ)
        and (not polarisation or not channel.polarisation or channel.polarisation == polarisation)
    )
