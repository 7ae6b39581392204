"""Colour apart from brightness: what a surface is made of survives another sun, another season and another calibration.

The reflectances of a pixel become centred log ratios, the coordinates of compositional data (Aitchison 1986),

    colour_b = ln r_b - mean_b ln r_b        brightness = mean_b ln r_b

A gain common to all bands - illumination, exposure, terrain shading - moves brightness only; index thresholds such as the NDSI
are functions of colour. Percentiles of a scene, by contrast, depend on what the scene is made of.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from vigie.core.cube import Reader
from vigie.core.tiles import Window

FLOOR = 0.01
"""Reflectances are kept above this, so that noise in deep shadow has no colour."""
FEWEST = 3
"""Fewer bands have no colour worth the name."""


def has_colour(scene: xr.Dataset) -> bool:
    """Say whether a scene has at least three calibrated reflectances."""
    return int(_reflectances(scene).sum()) >= FEWEST


def as_colours(scene: xr.Dataset) -> xr.Dataset:
    """Replace reflectances by colours, in place and order, and append brightness; scenes without colour stay as they are.

    A pixel that lacks one of them has neither colour nor brightness: both are of all bands together.

    Examples
    --------
    >>> from vigie.core.cube import band_coordinates
    >>> from vigie.core.scene import Band
    >>> bands = [Band(n, "reflectance", "", 1, 10.0, "1", w, 0.05) for n, w in (("green", .56), ("red", .66), ("nir", .83))]
    >>> grey = np.full((3, 1, 1), 0.2, np.float32)
    >>> scene = xr.Dataset({"observation": (("band", "y", "x"), grey)}, band_coordinates(bands))
    >>> as_colours(scene)["observation"].values.ravel().round(2)
    array([ 0.  ,  0.  ,  0.  , -1.61], dtype=float32)
    """
    if not has_colour(scene):
        return scene
    chosen = _reflectances(scene)
    values = scene["observation"].values
    logs = np.log(np.maximum(values[chosen], FLOOR))
    brightness = logs.mean(axis=0, keepdims=True)
    changed = values.astype(np.float32, copy=True)
    changed[chosen] = logs - brightness
    return _with_brightness(scene, chosen, np.concatenate([changed, brightness.astype(np.float32)]))


def _with_brightness(scene: xr.Dataset, chosen: np.ndarray, observation: np.ndarray) -> xr.Dataset:
    extra = {"band": "brightness", "kind": "brightness", "units": "1"}
    coords = {
        name: ("band", np.append(scene[name].values, extra.get(name, np.nan)))
        for name in ("band", "kind", "units", "wavelength_um", "bandwidth_um", "gsd_m")
    }
    coords["kind"] = ("band", np.append(np.where(chosen, "colour", scene["kind"].values), "brightness"))
    rest = scene.drop_vars(["observation", *coords])
    return rest.assign_coords(coords).assign(observation=(("band", "y", "x"), observation))


def _reflectances(scene: xr.Dataset) -> np.ndarray:
    return np.asarray((scene["kind"].values == "reflectance") & (scene["units"].values == "1"))


class Coloured:
    """A reader that gives colours instead of reflectances."""

    def __init__(self, read: Reader) -> None:
        self.read = read

    def __call__(self, window: Window) -> xr.Dataset:
        """Read a window."""
        return as_colours(self.read(window))
