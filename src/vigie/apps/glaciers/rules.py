"""Spectral rules that teach clean ice, water and land where labels only know debris.

"Not debris" is not "not glacier": labels of debris alone leave clean ice, water and land free. Where they say "no debris on
ice", three old and tested rules say what a pixel is instead, and where none of them is sure it stays unknown. The same image is
then learnt from twice, once with each set of labels. Rules only teach: scores never use them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.apps.glaciers.classes import CLASSES
from vigie.core.cube import Reader, flagged
from vigie.core.tiles import Window
from vigie.learn.patches import LabelledScene

COARSE, RULED = CLASSES.labels["debris-or-not"], CLASSES.labels["classes"]
NEEDED = ("green", "red", "nir", "swir16", "slope")
NO_DEBRIS, DEBRIS_LABEL = 0, 1
"""Codes of 'debris-or-not'."""
LAND, ICE, DEBRIS, WATER, UNKNOWN = 0, 1, 2, 3, 255
"""Codes of 'classes', which the rules give."""


@dataclass(frozen=True)
class Ruled:
    """A reader that puts labels by rules in the place of debris labels."""

    read: Reader

    def __call__(self, window: Window) -> xr.Dataset:
        """Read a window."""
        scene = self.read(window)
        return scene.assign(truth=(("y", "x"), refined(scene)))


def with_rules(scene: LabelledScene) -> list[LabelledScene]:
    """Give a scene, and once more with labels by rules where it has debris labels and the bands the rules need."""
    corner = scene.read({"y": slice(0, 1), "x": slice(0, 1)})
    if scene.labels.name != COARSE.name or not set(NEEDED) <= set(corner["band"].values.tolist()):
        return [scene]
    return [scene, replace(scene, read=Ruled(scene.read), labels=RULED)]


def refined(scene: xr.Dataset) -> NDArray[np.uint8]:
    """Name every pixel that a rule or a debris label is sure of (y, x), 255 elsewhere.

    Snow and ice: NDSI > 0.4 and NIR > 0.11 (Hall et al. 1995; Dozier 1989). Water: NDWI > 0.3 (McFeeters 1996) on slopes of at
    most 5 degrees, out of shadow. Land: no snow (NDSI < 0.2), no water (NDWI < 0.2), out of shadow.
    """
    green, red, nir, swir, slope = (scene["observation"].sel(band=name).values for name in NEEDED)
    lit = ~flagged(scene["flags"], "shadow", "nodata").values
    ndsi, ndwi = difference(green, swir), difference(green, nir)
    free = scene["truth"].values == NO_DEBRIS
    water = (ndwi > 0.3) & (slope <= 5) & lit & (red < green)
    ice = (ndsi > 0.4) & (nir > 0.11) & ~water
    land = (ndsi < 0.2) & (ndwi < 0.2) & lit
    codes = np.full(free.shape, UNKNOWN, dtype=np.uint8)
    for code, mask in ((LAND, land), (ICE, ice), (WATER, water)):
        codes[free & mask] = code
    codes[scene["truth"].values == DEBRIS_LABEL] = DEBRIS
    return codes


def difference(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.floating]:
    """Normalised difference (a - b) / (a + b) of reflectances, which are kept above 1e-3 (notes M1)."""
    a, b = np.maximum(a, 1e-3), np.maximum(b, 1e-3)
    return np.asarray((a - b) / (a + b))
