"""What a network is told about each band: a descriptor of fixed width, whatever the sensor.

A network never learns "channel 3"; it learns "reflectance about 0.66 um, 30 nm wide, seen at 10 m". A descriptor is made of

    ln(wavelength) as sines and cosines of several periods, an indicator (1 where the band has a wavelength)
    ln(bandwidth), an indicator;  ln(ground sampling distance / 10 m), an indicator
    the kind of band (one-hot), and the name where only the name tells bands apart: terrain and radar polarisation (one-hot)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from vigie.core.errors import VigieError
from vigie.core.scene import KINDS

TERRAIN = ("slope", "relief", "aspect_sin", "aspect_cos", "slope_300m", "slope_700m", "roughness", "height")
"""Terrain bands a network may see. Absolute elevation is none: it tells the region, not the surface (notes, trap 5)."""

NOT_AN_INPUT = ("elevation",)
INPUT_KINDS = (*KINDS, "colour", "brightness")
"""Kinds of band a network is shown: those of scenes, and what `learn.colour` makes of reflectances."""
POLARISATIONS = ("vv", "vh", "hh", "hv")
PERIODS = (16.0, 8.0, 4.0, 2.0, 1.0, 0.5)
"""Periods of the Fourier features in units of ln(wavelength): the longest spans blue light to L-band radar, the shortest
turns by 94 degrees between Sentinel-2's blue and green."""

_NAMES = (*TERRAIN, *POLARISATIONS)
_KIND_AT = 2 * len(PERIODS) + 5
_NAME_AT = _KIND_AT + len(INPUT_KINDS)
_GSD_AT = 2 * len(PERIODS) + 3
WIDTH = _NAME_AT + len(_NAMES)
"""Length D of a descriptor."""


def usable(scene: xr.Dataset) -> list[int]:
    """List the bands a network may take as input: all but absolute elevation.

    Raises
    ------
    VigieError
        If a terrain band has a name that no descriptor can tell from another.

    Examples
    --------
    >>> usable(xr.Dataset(coords={"band": ["red", "elevation", "slope"],
    ...                           "kind": ("band", ["reflectance", "terrain", "terrain"])}))
    [0, 2]
    """
    pairs = list(zip(map(str, scene["band"].values), map(str, scene["kind"].values)))
    strange = [name for name, kind in pairs if kind == "terrain" and name not in (*TERRAIN, *NOT_AN_INPUT)]
    if strange:
        raise VigieError(
            "terrain bands with unknown names",
            found=strange,
            expected=", ".join((*TERRAIN, *NOT_AN_INPUT)),
            do="rename the bands or leave them out of the scene",
        )
    return [i for i, (name, kind) in enumerate(pairs) if not (kind == "terrain" and name in NOT_AN_INPUT)]


def describe(scene: xr.Dataset) -> Tensor:
    """Describe every band of a scene by numbers a network can learn from.

    Parameters
    ----------
    scene
        A dataset with the band coordinates of `vigie.core.cube`: band, kind, wavelength_um, bandwidth_um, gsd_m. Data
        variables are not looked at.

    Returns
    -------
    Tensor
        (B, WIDTH) float32, finite: an unknown wavelength, bandwidth or GSD (NaN) is 0 with indicator 0.

    Examples
    --------
    >>> from vigie.core.cube import band_coordinates
    >>> from vigie.core.scene import Band
    >>> red = Band("red", "reflectance", "b4.tif", 1, 10.0, "1", 0.665, 0.03)
    >>> slope = Band("slope", "terrain", "slope.tif", 1, 30.0, "degree")
    >>> tuple(describe(xr.Dataset(coords=band_coordinates([red, slope]))).shape) == (2, WIDTH)
    True
    """
    kinds = [str(k) for k in scene["kind"].values]
    log_wavelength, has_wavelength = logarithm(scene, "wavelength_um", 1.0)
    log_bandwidth, has_bandwidth = logarithm(scene, "bandwidth_um", 1.0)
    log_gsd, has_gsd = logarithm(scene, "gsd_m", 10.0)
    columns = [
        waves(log_wavelength, has_wavelength, PERIODS),
        np.stack([has_wavelength, 0.25 * log_bandwidth, has_bandwidth, 0.5 * log_gsd, has_gsd], axis=1),
        np.array([[float(kind == k) for k in INPUT_KINDS] for kind in kinds]).reshape(-1, len(INPUT_KINDS)),
        np.array([_name_features(str(b), k) for b, k in zip(scene["band"].values, kinds)]).reshape(-1, len(_NAMES)),
    ]
    return torch.from_numpy(np.concatenate(columns, axis=1).astype(np.float32))


def waves(phase: NDArray[np.float64], known: NDArray[np.float64], periods: Sequence[float]) -> NDArray[np.float64]:
    """Take sines, then cosines, of values (B) at several periods: (B, 2 periods), 0 where they are not known.

    Examples
    --------
    >>> waves(np.array([1.0, 0.0]), np.array([1.0, 0.0]), (4.0,)).round(6).tolist()
    [[1.0, 0.0], [0.0, 0.0]]
    """
    turns = 2 * math.pi * phase[:, None] / np.array(periods)
    return np.concatenate([np.sin(turns), np.cos(turns)], axis=1) * known[:, None]


def logarithm(scene: xr.Dataset, name: str, unit: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Take ln(value / unit) of a coordinate, 0 where unknown, and the indicator of where it is known.

    Raises
    ------
    VigieError: a value is not positive.
    """
    values = np.asarray(scene[name].values, dtype=np.float64)
    if (values <= 0).any():
        raise VigieError(f"band coordinate '{name}' must be positive", found=values.tolist(), expected="> 0 or NaN")
    known = np.isfinite(values)
    return np.log(np.where(known, values, unit) / unit), known.astype(np.float64)


def position(bands: Tensor, name: str) -> int | None:
    """Find the band called `name` (one of TERRAIN) among descriptors (B, WIDTH), or None.

    Examples
    --------
    >>> position(torch.zeros(3, WIDTH), "slope") is None
    True
    """
    hits = torch.nonzero(bands[:, _NAME_AT + _NAMES.index(name)] > 0.5).flatten().tolist()
    return int(hits[0]) if hits else None


def is_kind(bands: Tensor, kind: str) -> Tensor:
    """Say which of the bands described by `bands` (B, WIDTH) are of a kind: (B,) bool."""
    return bands[:, _KIND_AT + INPUT_KINDS.index(kind)] > 0.5


def with_gsd_scaled(bands: Tensor, factor: float) -> Tensor:
    """Describe the same bands seen with pixels `factor` times as large (unknown sampling distances stay unknown)."""
    scaled = bands.clone()
    scaled[:, _GSD_AT] += 0.5 * math.log(factor) * bands[:, _GSD_AT + 1]
    return scaled


def _name_features(name: str, kind: str) -> list[float]:
    """One-hot of the names that alone tell bands of one kind apart."""
    if kind == "terrain":
        return [float(name == known) for known in _NAMES]
    parts = name.lower().split("_") if kind == "sar" else []
    return [0.0] * len(TERRAIN) + [float(p in parts) for p in POLARISATIONS]
