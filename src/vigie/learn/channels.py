"""What a retrieval network is told about each channel of a radiometer: a descriptor of fixed width, whatever the sensor.

A network never learns "channel 8"; it learns "89 GHz, vertical, seen at 53 degrees through a 7 km footprint". A descriptor is
made of

    ln(frequency) as sines and cosines of several periods, an indicator (1 where the channel has a frequency)
    ln(1 + sideband), an indicator; polarisation (one-hot: V, H, mixed)
    ln(footprint / 10 km), an indicator; 1 / cos(incidence) - 1, an indicator
    the name of an ancillary field (one-hot), which is a channel like any other
    what is made of channels (one-hot: departure from clear sky, and differences of several kinds)
    an indicator of layers that say where a channel is missing

Optical bands are described by `vigie.learn.bands`, whose numbers these are not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from vigie.core.errors import VigieError, nearest
from vigie.learn.bands import logarithm, waves

PERIODS = (8.0, 4.0, 2.0, 1.0, 0.5)
"""Periods of the Fourier features in units of ln(frequency): the longest spans 6.9 to 190 GHz in less than half a turn, the
shortest turns by 50 degrees between 85.5 and 91.7 GHz and by 10 between 36.5 and 37 GHz."""

POLARISATIONS = ("V", "H", "")

ANCILLARY = (
    "total_column_water_vapour",
    "total_column_cloud_liquid_water",
    "total_column_cloud_ice_water",
    "skin_temperature",
    "air_temperature_2m",
    "convective_available_potential_energy",
    "eastward_wind_10m",
    "northward_wind_10m",
    "land_fraction",
    "sea_ice_fraction",
    "elevation",
    "relative_vapour",
    "observed_label",
)
"""Ancillary fields a network may see. Latitude and longitude are none: they tell the climate that was learnt in.
"observed_label" is 1 where the truth is observed and 0 where it is simulated (hybrid training)."""

KINDS = ("departure", "polarisation", "corrected", "line", "step")
"""What is made of channels: a temperature minus that of clear sky, V minus H, the polarisation-corrected temperature, a
sideband of a line minus its innermost one, and vertical polarisation minus that of the next frequency."""

WIDTH = 2 * len(PERIODS) + 7 + len(POLARISATIONS) + len(ANCILLARY) + len(KINDS) + 1
"""Length D of a descriptor."""


def describe(swath: xr.Dataset, ancillary: Sequence[str] = ()) -> Tensor:
    """Describe the channels of a swath, and after them ancillary fields, by numbers a network can learn from.

    Parameters
    ----------
    swath
        A dataset with the channel coordinates of `vigie.core.swath`. Data variables are not looked at.
    ancillary
        Names from ANCILLARY.

    Returns
    -------
    Tensor
        (B, WIDTH) float32, finite: what is unknown (NaN) is 0 with indicator 0.

    Raises
    ------
    VigieError: an ancillary name or a polarisation is unknown, or a frequency or a footprint is not positive.

    Examples
    --------
    >>> from vigie.core.swath import Channel, channel_coordinates
    >>> swath = xr.Dataset(coords=channel_coordinates([Channel(89.0, "V"), Channel(89.0, "H")]))
    >>> tuple(describe(swath, ["skin_temperature"]).shape) == (3, WIDTH)
    True
    """
    described = np.concatenate([_channels(swath), _ancillary(ancillary)], axis=0)
    return torch.from_numpy(described.astype(np.float32))


def describe_derived(kind: str, frequency_ghz: float, sideband_ghz: float = 0.0) -> Tensor:
    """Describe what is made of channels, (1, WIDTH): its kind of KINDS, and the first channel's frequency and sideband.

    Examples
    --------
    >>> describe_derived("corrected", 89.0).shape == (1, WIDTH)
    True
    """
    position = {"polarisation": "", "frequency_ghz": frequency_ghz, "sideband_ghz": sideband_ghz}
    unknown = {"footprint_km": float("nan"), "incidence_deg": float("nan")}
    alone = xr.Dataset(coords={name: ("channel", [value]) for name, value in {**position, **unknown}.items()})
    return of_kind(describe(alone), kind)


def of_kind(bands: Tensor, kind: str) -> Tensor:
    """Say of descriptors (B, WIDTH) of what kind they are, of KINDS."""
    marked = bands.clone()
    marked[:, -1 - len(KINDS) + KINDS.index(kind)] = 1.0
    return marked


def with_missing(x: Tensor, bands: Tensor) -> tuple[Tensor, Tensor]:
    """Put 0 where channels are missing (NaN), and append for each a layer that is 1 there, described as the channel itself.

    Where nothing is missing the new layers are 0 and change nothing.

    Parameters
    ----------
    x
        (N, B, H, W) standardised channels, NaN where missing.
    bands
        (B, WIDTH) descriptors.

    Returns
    -------
    tuple
        (N, 2B, H, W), finite, and (2B, WIDTH).

    Examples
    --------
    >>> x, bands = with_missing(torch.tensor([float("nan"), 2.0]).reshape(1, 2, 1, 1), torch.zeros(2, WIDTH))
    >>> x.flatten().tolist(), bands[:, -1].tolist()
    ([0.0, 2.0, 1.0, 0.0], [0.0, 0.0, 1.0, 1.0])
    """
    missing = x.isnan()
    marked = bands.clone()
    marked[:, -1] = 1.0
    return torch.cat([x.masked_fill(missing, 0.0), missing.to(x.dtype)], dim=1), torch.cat([bands, marked], dim=0)


def _channels(swath: xr.Dataset) -> NDArray[np.float64]:
    polarisations = [str(p) for p in swath["polarisation"].values]
    strange = sorted({p for p in polarisations if p not in POLARISATIONS})
    if strange:
        raise VigieError("channels with unknown polarisations", found=strange, expected="'V', 'H', or '' where it turns")
    log_frequency, has_frequency = logarithm(swath, "frequency_ghz", 1.0)
    log_footprint, has_footprint = logarithm(swath, "footprint_km", 10.0)
    sideband, has_sideband = _known(np.log1p(swath["sideband_ghz"].values))
    airmass, has_incidence = _known(1 / np.cos(np.deg2rad(swath["incidence_deg"].values)) - 1)
    known = [has_frequency, 0.5 * sideband, has_sideband, log_footprint, has_footprint, airmass, has_incidence]
    columns = [
        waves(log_frequency, has_frequency, PERIODS),
        np.stack(known, axis=1),
        _one_hot(polarisations, POLARISATIONS),
        np.zeros((len(polarisations), len(ANCILLARY) + len(KINDS) + 1)),
    ]
    return np.concatenate(columns, axis=1)


def _ancillary(names: Sequence[str]) -> NDArray[np.float64]:
    for name in names:
        if name not in ANCILLARY:
            raise VigieError(
                f"ancillary field '{name}' is no input", expected=", ".join(ANCILLARY), do=nearest(name, ANCILLARY)
            )
    described = np.zeros((len(names), WIDTH))
    first = WIDTH - 1 - len(KINDS) - len(ANCILLARY)
    described[:, first : first + len(ANCILLARY)] = _one_hot(names, ANCILLARY)
    return described


def _known(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Put 0 where values are unknown, and indicate where they are known."""
    known = np.isfinite(values)
    return np.where(known, values, 0.0), known.astype(np.float64)


def _one_hot(names: Sequence[str], among: Sequence[str]) -> NDArray[np.float64]:
    return np.array([[float(name == other) for other in among] for name in names]).reshape(-1, len(among))
