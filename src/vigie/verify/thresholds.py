"""Baselines of one number: thresholds of spectral indices, Otsu's threshold of film, and the cleaning of their maps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import ndimage

from vigie.core.cube import flagged
from vigie.core.errors import VigieError
from vigie.core.legend import LabelLegend
from vigie.verify import features
from vigie.verify.baselines import Needs

Mask = NDArray[np.bool_]
Quantity = Callable[[xr.Dataset], NDArray[np.floating]]
Clean = Callable[[Mask], Mask]

POOLED_PIXELS = 10_000_000
"""Pixels of one scene that a pooled threshold looks at; of larger scenes every n-th, which bounds the memory of many."""


def ndsi(scene: xr.Dataset) -> NDArray[np.floating]:
    """Compute the snow index (green - swir16) / (green + swir16)."""
    rho = features.bands(scene["observation"], ["green", "swir16"])
    return features.index(rho["green"], rho["swir16"])


def ndwi(scene: xr.Dataset) -> NDArray[np.floating]:
    """Compute the water index (green - nir) / (green + nir)."""
    rho = features.bands(scene["observation"], ["green", "nir"])
    return features.index(rho["green"], rho["nir"])


def red_swir_ratio(scene: xr.Dataset) -> NDArray[np.floating]:
    """Compute the band ratio red / swir16 that maps clean ice (Paul et al. 2013), clipped at reflectance 1e-3."""
    rho = features.bands(scene["observation"], ["red", "swir16"])
    return np.maximum(rho["red"], features.RHO_MIN) / np.maximum(rho["swir16"], features.RHO_MIN)


def pan(scene: xr.Dataset) -> NDArray[np.floating]:
    """Take the intensity of film."""
    return features.bands(scene["observation"], ["pan"])["pan"]


def otsu(values: NDArray[np.floating], bins: int = 256) -> float:
    """Find the threshold that separates a histogram best, argmax w0 w1 (mu0 - mu1)^2 (Otsu 1979); NaN is left out.

    Examples
    --------
    >>> 1.0 < otsu(np.array([1.0, 1.1, 0.9, 5.0, 5.2])) < 5.0
    True
    """
    finite = values[np.isfinite(values)]
    if finite.size == 0 or finite.min() == finite.max():
        raise VigieError(
            "Otsu's threshold needs at least two different valid values",
            found=f"{finite.size} valid pixels, {np.unique(finite).size} different",
            do="leave this scene out",
        )
    counts, edges = np.histogram(finite, bins)
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1].astype(np.float64)
    above = counts.sum() - below
    sums = np.cumsum(counts * centres)
    mean_below, mean_above = sums[:-1] / below, (sums[-1] - sums[:-1]) / above
    return float(centres[np.argmax(below * above * (mean_below - mean_above) ** 2)])


def check_threshold(quantity: Quantity, scene: xr.Dataset, labels: LabelLegend) -> None:
    """Refuse a scene that lacks bands of a quantity, or labels that are more than a yes and a no.

    Raises
    ------
    VigieError: which bands are missing, or how many codes there are.
    """
    if len(labels.codes) != 2:
        raise VigieError(
            f"a threshold cannot tell the labels '{labels.name}' apart",
            found=f"{len(labels.codes)} classes: {', '.join(labels.names)}",
            expected="two",
            do="choose a random forest or gradient boosting in verify.baselines",
        )
    quantity(scene)


def untouched(mask: Mask) -> Mask:
    """Leave a mask as it is."""
    return mask


@dataclass(frozen=True)
class MedianClean:
    """Clean a mask with a majority filter of `size_px`, then remove parts and holes smaller than `parts_px` pixels.

    Examples
    --------
    >>> speck = np.zeros((5, 5), bool)
    >>> speck[2, 2] = True
    >>> bool(MedianClean(3)(speck).any())
    False
    """

    size_px: int
    parts_px: int = 0

    def __call__(self, mask: Mask) -> Mask:
        """Clean one mask."""
        smooth: Mask = ndimage.median_filter(mask.astype(np.uint8), self.size_px).astype(bool)
        return ~without_small_parts(~without_small_parts(smooth, self.parts_px), self.parts_px)


def without_small_parts(mask: Mask, parts_px: int) -> Mask:
    """Remove 4-connected parts of fewer than `parts_px` pixels.

    Examples
    --------
    >>> without_small_parts(np.array([[True, True, False, True]]), 2).tolist()
    [[True, True, False, False]]
    """
    parts, _ = ndimage.label(mask)
    sizes = np.bincount(parts.ravel())
    kept: Mask = mask & (sizes >= parts_px)[parts]
    return kept


@dataclass(frozen=True)
class FittedThreshold:
    """Say class 1 where a quantity exceeds a threshold: probability 0 or 1, NaN where the scene has no data."""

    quantity: Quantity
    threshold: float
    clean: Clean = untouched

    def probability(self, scene: xr.Dataset) -> NDArray[np.float32]:
        """Predict (class, y, x) for one scene."""
        values = self.quantity(scene)
        valid = np.isfinite(values) & ~flagged(scene["flags"], "nodata").values
        inside = self.clean((values > self.threshold) & valid).astype(np.float32)
        return np.where(valid, np.stack([1 - inside, inside]), np.float32(np.nan))


@dataclass(frozen=True)
class IndexThreshold:
    """A threshold from the literature: fitting changes nothing.

    Examples
    --------
    >>> IndexThreshold(ndsi, 0.4).fit([]).threshold
    0.4
    """

    quantity: Quantity
    threshold: float
    clean: Clean = untouched
    needs: ClassVar[Needs] = "nothing"

    def check(self, scene: xr.Dataset, labels: LabelLegend) -> None:
        """Refuse what `check_threshold` does."""
        check_threshold(self.quantity, scene, labels)

    def fit(self, scenes: Iterable[xr.Dataset]) -> FittedThreshold:
        """Return the threshold as it is, whatever the scenes."""
        return FittedThreshold(self.quantity, self.threshold, self.clean)


@dataclass(frozen=True)
class TrainOtsu:
    """Otsu's threshold of the pooled training scenes, used on every other scene ("train threshold")."""

    quantity: Quantity = pan
    clean: Clean = untouched
    needs: ClassVar[Needs] = "scenes"

    def check(self, scene: xr.Dataset, labels: LabelLegend) -> None:
        """Refuse what `check_threshold` does."""
        check_threshold(self.quantity, scene, labels)

    def fit(self, scenes: Iterable[xr.Dataset]) -> FittedThreshold:
        """Find the threshold over all valid pixels of the scenes that may be learnt from."""
        values = [self._values(scene) for scene in scenes]
        if not values:
            raise VigieError("Otsu's training threshold needs scenes", found="none", do="give at least one scene")
        return FittedThreshold(self.quantity, otsu(np.concatenate(values)), self.clean)

    def _values(self, scene: xr.Dataset) -> NDArray[np.floating]:
        """Valid pixels of one scene, evenly thinned where there are many."""
        values = self.quantity(scene)[features.asked(scene)]
        return values[:: max(1, -(-values.size // POOLED_PIXELS))]


@dataclass(frozen=True)
class OwnOtsu:
    """Otsu's threshold found anew in each scene ("own threshold"): needs no training, follows any exposure."""

    quantity: Quantity = pan
    clean: Clean = untouched
    needs: ClassVar[Needs] = "nothing"

    def check(self, scene: xr.Dataset, labels: LabelLegend) -> None:
        """Refuse what `check_threshold` does."""
        check_threshold(self.quantity, scene, labels)

    def fit(self, scenes: Iterable[xr.Dataset]) -> OwnOtsu:
        """Return itself: there is nothing to learn."""
        return self

    def probability(self, scene: xr.Dataset) -> NDArray[np.float32]:
        """Predict (class, y, x) for one scene by its own threshold."""
        return FittedThreshold(self.quantity, otsu(self.quantity(scene)), self.clean).probability(scene)
