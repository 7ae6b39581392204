"""What a network is shown of a scene: the bands it may use, reflectances as colours where that is asked for."""

from __future__ import annotations

import xarray as xr

from vigie.learn.bands import usable
from vigie.learn.scaling import RobustScaling, shown


def inputs_of(scene: xr.Dataset, scaling: RobustScaling) -> xr.Dataset:
    """Select and convert the bands of any window of a scene: the same bands in the same order for every window.

    Examples
    --------
    >>> from vigie.core.cube import band_coordinates
    >>> from vigie.core.scene import Band
    >>> import numpy as np
    >>> bands = [Band("pan", "pan", "", 1, 5.0, "DN"), Band("elevation", "terrain", "", 2, 30.0, "m")]
    >>> scene = xr.Dataset({"observation": (("band", "y", "x"), np.ones((2, 1, 1), np.float32))}, band_coordinates(bands))
    >>> inputs_of(scene, RobustScaling())["band"].values.tolist()
    ['pan']
    """
    scene = shown(scene, scaling)
    return scene.isel(band=usable(scene))
