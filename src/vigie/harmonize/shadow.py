"""Cast shadow from near infrared, by tests that no gain (and no offset) of the radiometry can change.

Deep shadow spoils per-scene statistics: without it, standardised bands keep their accuracy in strongly shadowed scenes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vigie.core.scene import Band

NEAR_INFRARED_UM = (0.75, 1.0)
SHARE = 0.25
"""Shadow is darker than this share of the bright quartile (our formulation)."""
SHARE_ABOVE_DARK = 0.2
"""The same share counted from the darkest ground: both tests agree where that is 6 % of the bright quartile."""
BRIGHT = 75.0
DARK = 1.0
"""Percentiles that stand for sunlit ground and for the darkest ground, which path radiance and sensor offset lift alike."""


def near_infrared(bands: Sequence[Band]) -> Band | None:
    """Find the near-infrared reflectance band, the one nearest to 0.85 um; film has none.

    Examples
    --------
    >>> nir = Band("nir", "reflectance", "a.tif", 4, 10.0, "1", wavelength_um=0.842)
    >>> near_infrared([Band("red", "reflectance", "a.tif", 3, 10.0, "1", wavelength_um=0.665), nir]).name
    'nir'
    >>> near_infrared([Band("film", "pan", "a.tif", 1, 5.0, "1")]) is None
    True
    """
    low, high = NEAR_INFRARED_UM
    found = [b for b in bands if b.kind == "reflectance" and b.wavelength_um is not None and low <= b.wavelength_um <= high]
    return min(found, key=lambda b: abs((b.wavelength_um or 0) - 0.85)) if found else None


def shadow_threshold(values: NDArray[np.floating], test: Literal["gain", "affine"]) -> float | None:
    """Give the near-infrared value below which a pixel lies in shadow.

    'gain': 0.25 x P75, unchanged in its verdict by any gain. 'affine': P1 + 0.2 x (P75 - P1), unchanged by gain and offset,
    for radiometry whose zero is unknown; it takes the darkest ground for black.

    Parameters
    ----------
    values: near infrared of the whole scene, or of a fair sample; NaN where missing.
    test: which of the two.

    Returns
    -------
    The threshold in the units of `values`; None where nothing is valid.

    Examples
    --------
    >>> scene = np.linspace(0.0, 1.0, 101)
    >>> round(shadow_threshold(scene, "gain"), 4), round(shadow_threshold(scene, "affine"), 4)
    (0.1875, 0.158)
    """
    valid = values[np.isfinite(values)]
    if not valid.size:
        return None
    dark, bright = np.percentile(valid, [DARK, BRIGHT])
    if test == "gain":
        return float(SHARE * bright)
    return float(dark + SHARE_ABOVE_DARK * (bright - dark))
