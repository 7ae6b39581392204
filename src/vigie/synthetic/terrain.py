"""A mountain range from a random spectrum: elevation, slope, and where valleys are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Field = NDArray[np.float32]


def noise(shape: tuple[int, int], slope: float, seed: int) -> Field:
    """Draw a random field whose power spectrum falls as k^-slope, with mean 0 and standard deviation 1.

    Examples
    --------
    >>> field = noise((64, 64), 3.0, seed=1)
    >>> float(abs(field.mean()).round(3)), float(field.std().round(3))
    (0.0, 1.0)
    """
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft2(rng.standard_normal(shape))
    ky, kx = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None, :]
    k = np.hypot(ky, kx)
    k[0, 0] = np.inf
    field = np.fft.irfft2(spectrum * k ** (-slope / 2), s=shape)
    return np.asarray((field - field.mean()) / field.std(), dtype=np.float32)


def mountains(size: int, gsd_m: float, seed: int) -> Field:
    """Build an elevation model (y, x) in metres: sharp ridges between smooth valleys that widen downwards.

    Ridges are the zero lines of a random field; broad valleys between them have concave, smooth floors, as glaciers leave them.
    """
    fold = noise((size, size), 4.4, seed)
    ridge = np.exp(-np.abs(fold) / 0.55)
    broad = noise((size, size), 5.0, seed + 2)
    crag = noise((size, size), 3.0, seed + 1)
    elevation = 4500.0 + 1500.0 * (ridge - ridge.mean()) + 260.0 * broad + 110.0 * crag * ridge**1.5
    return np.asarray(ndimage.gaussian_filter(elevation, 45.0 / gsd_m), dtype=np.float32)


def slope_deg(elevation: Field, gsd_m: float) -> Field:
    """Slope in degrees by central differences.

    Examples
    --------
    >>> plane = np.outer(np.ones(8), np.arange(8) * 10.0).astype("float32")
    >>> float(slope_deg(plane, 10.0)[4, 4])
    45.0
    """
    dy, dx = np.gradient(elevation, gsd_m)
    return np.asarray(np.degrees(np.arctan(np.hypot(dx, dy))), dtype=np.float32)


def hillshade(elevation: Field, gsd_m: float, sun_elevation_deg: float, sun_azimuth_deg: float) -> Field:
    """Cosine of the angle between the sun and the surface normal, 0 where the surface looks away from the sun."""
    dy, dx = np.gradient(elevation, gsd_m)
    height, azimuth = np.radians(sun_elevation_deg), np.radians(sun_azimuth_deg)
    east, north = np.cos(height) * np.sin(azimuth), np.cos(height) * np.cos(azimuth)
    cosine = (np.sin(height) - east * dx + north * dy) / np.sqrt(1 + dx**2 + dy**2)
    return np.asarray(np.clip(cosine, 0, 1), dtype=np.float32)


def valleys(elevation: Field, gsd_m: float, reach_m: float = 700.0) -> Field:
    """How far, in metres, the ground lies below its surroundings within `reach_m`: positive in valleys."""
    return np.asarray(ndimage.gaussian_filter(elevation, reach_m / gsd_m) - elevation, dtype=np.float32)
