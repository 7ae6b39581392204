"""What a swath must look like: the layout of radiometer orbits, of radar swaths, and of tables of footprints.

Under `/swath` of `cube.zarr` each node is one granule, in scan geometry; a table of footprints is a swath one pixel wide.

    brightness_temperature (scan, pixel, channel)  float32  K, NaN where missing
    latitude, longitude    (scan, pixel)           float32  degrees north and east, longitude -180..180
    flags                  (scan, pixel)           uint8    bit flags, see FLAGS
    truth                  (scan, pixel)           float32  rain rate, mm h-1, NaN where unknown (only where labels exist)
    phase                  (scan, pixel)           uint8    PHASES, 255 where unknown (only where labels exist)
    any ancillary variable (scan, pixel)           float32  named and with units as in the vocabulary, NaN where missing
    time(scan)             datetime64[ns]          NaT where nobody knows
    group(scan)            text                    what a fold keeps together: an orbit or a day
    channel(channel)                               text, for instance "89.00V" or "183.31+-3V"
    frequency_ghz, sideband_ghz, footprint_km, incidence_deg (channel)   float64, NaN where unknown; sideband 0 where single
    polarisation(channel)                          "V", "H", or "" where it turns with the scan angle
    footprint_aspect(channel)                      float64, see Channel (may be left out: circles)
    attributes: swath, sensor, platform, product, label_source (one of LABEL_SOURCES, only where labels exist)

Where rain rates of a radar, a grid or gauges were brought onto the footprints (`vigie.harmonize.swath_labels`), there are also

    label_distance_km, label_minutes, label_share (scan, pixel)  float32  NaN where there is no truth
    label_status           (scan, pixel)           uint8    LABEL_STATUS: whether there is truth, and why not

A radar or gridded product of someone else has no channels: `truth` alone, or whatever its reader gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.core.errors import VigieError

FLAGS = {"nodata": 1, "incomplete": 2, "suspect": 4, "no_ancillary": 8}
"""Bit of every flag: no channel has data; some have none; the product's own quality flag, or a value that no Earth shows; the
ancillary fields are missing."""

PHASES = ("none", "rain", "snow")
"""What falls, by code."""

LABEL_SOURCES = ("dpr", "cmb", "cpr", "era5", "mixed", "gauge", "radar", "simulated")
"""Where rain rates that are learnt from, or held against, come from: they differ on the same footprint."""


LABEL_STATUS = {"labelled": 0, "not_valid": 1, "too_far": 2, "too_late": 3}
"""What became of a footprint that asked for labels. `too_late`: nothing was measured within the stated minutes of its time,
anywhere; `too_far`: something was, but elsewhere; `not_valid`: there, but too little of what its antenna weighs was valid."""


@dataclass(frozen=True)
class Channel:
    """One channel of a radiometer.

    `footprint_km` is the geometric mean of the axes of its 3 dB ellipse on the ground; `sideband_ghz` the distance of the two
    sidebands from the centre, 0 where there is one band; `polarisation` "V", "H", or "" where it turns with the scan angle;
    `footprint_aspect` the axis of that ellipse along the line of sight over the one across it, 1 or NaN for a circle.

    Examples
    --------
    >>> Channel(183.31, "V", sideband_ghz=3.0).name, Channel(10.65, "H").name
    ('183.31+-3V', '10.65H')
    """

    frequency_ghz: float
    polarisation: str
    footprint_km: float = float("nan")
    incidence_deg: float = float("nan")
    sideband_ghz: float = 0.0
    footprint_aspect: float = float("nan")

    @property
    def name(self) -> str:
        """Frequency, sidebands where there are two, polarisation."""
        sides = f"+-{self.sideband_ghz:g}" if self.sideband_ghz else ""
        return f"{self.frequency_ghz:.2f}{sides}{self.polarisation}"


def channel_coordinates(channels: Sequence[Channel]) -> dict[str, tuple[str, NDArray[np.generic]]]:
    """Describe channels as coordinates of dimension `channel`."""
    numbers = ("frequency_ghz", "sideband_ghz", "footprint_km", "footprint_aspect", "incidence_deg")
    return {
        "channel": ("channel", np.array([c.name for c in channels], dtype=np.str_)),
        "polarisation": ("channel", np.array([c.polarisation for c in channels], dtype=np.str_)),
        **{name: ("channel", np.array([getattr(c, name) for c in channels], dtype=np.float64)) for name in numbers},
    }


def check(swath: xr.Dataset) -> None:
    """Refuse a dataset that is not laid out as this module says, naming the first thing that is wrong.

    Raises
    ------
    VigieError: see above.
    """
    name = swath.attrs.get("swath", "?")
    needed = {
        "brightness_temperature": ("scan", "pixel", "channel"),
        "latitude": ("scan", "pixel"),
        "longitude": ("scan", "pixel"),
        "flags": ("scan", "pixel"),
    }
    for variable, dims in needed.items():
        if variable not in swath.variables or swath[variable].dims != dims:
            found = swath[variable].dims if variable in swath.variables else sorted(map(str, swath.variables))
            raise VigieError(f"swath '{name}': variable '{variable}' is not in place", found=found, expected=dims)
    for coordinate, farthest in (("latitude", 90), ("longitude", 180)):
        beyond = np.abs(swath[coordinate].values) > farthest
        if beyond.any():
            raise VigieError(
                f"swath '{name}': a {coordinate} lies beyond the Earth",
                found=f"{swath[coordinate].values[beyond][0]:g} on {int(beyond.sum())} of {beyond.size} footprints",
                expected=f"degrees within -{farthest}..{farthest}, NaN where nobody knows",
                do="mask fills, and wrap longitudes",
            )
    for coordinate in ("channel", "polarisation", "frequency_ghz", "sideband_ghz", "footprint_km", "incidence_deg"):
        if coordinate not in swath.coords:
            raise VigieError(
                f"swath '{name}': channels are not described",
                found=sorted(map(str, swath.coords)),
                expected=f"a coordinate '{coordinate}' along 'channel'",
            )
    if "truth" in swath and swath.attrs.get("label_source") not in LABEL_SOURCES:
        raise VigieError(
            f"swath '{name}': nobody says where its rain rates come from",
            found=f"label_source {swath.attrs.get('label_source')!r}",
            expected=f"one of {', '.join(LABEL_SOURCES)}",
            do="declare label_source of the source: simulated rain may be named like observed rain in its file",
        )


def missing_flags(temperature: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Flag pixels of (scan, pixel, channel) that lack all channels, or some.

    Examples
    --------
    >>> missing_flags(np.array([[[250.0, 240.0], [np.nan, 240.0], [np.nan, np.nan]]])).tolist()
    [[0, 2, 1]]
    """
    gone = ~np.isfinite(temperature)
    nothing = gone.all(axis=-1)
    some = gone.any(axis=-1) & ~nothing
    return np.asarray(FLAGS["nodata"] * nothing + FLAGS["incomplete"] * some, dtype=np.uint8)
