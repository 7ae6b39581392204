"""A small Earth with glaciers, debris, lakes and snow patches whose true classes are known at every date.

The equilibrium line rises with time, so glaciers shrink and proglacial lakes grow; one valley's glacier surges. Scenes of it
are drawn with plausible spectra (orders of magnitude of Dozier 1989 for snow and of USGS library rock and water), terrain
illumination, sensor noise and saturation, and are written as the files real sensors deliver.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vigie.synthetic.terrain import Field, hillshade, mountains, noise, slope_deg, valleys

LAND, CLEAN_ICE, DEBRIS, WATER = 0, 1, 2, 3

SPECTRA = {
    #              blue   green  red    nir    swir16 thermal K
    LAND: (0.09, 0.11, 0.14, 0.19, 0.24, 284.0),
    CLEAN_ICE: (0.72, 0.70, 0.66, 0.55, 0.07, 271.0),
    DEBRIS: (0.10, 0.12, 0.14, 0.18, 0.21, 277.0),
    WATER: (0.12, 0.13, 0.09, 0.03, 0.01, 276.0),
}
BANDS = ("blue", "green", "red", "nir", "swir16", "thermal")
SNOW = (0.85, 0.84, 0.82, 0.74, 0.10, 270.0)


@dataclass(frozen=True)
class Area:
    """One area of the synthetic Earth: its terrain never changes, its ice does.

    `size` pixels of `gsd_m` metres; `west`, `north` place it in `crs`.
    """

    name: str
    seed: int
    size: int = 320
    gsd_m: float = 30.0
    west: float = 450_000.0
    north: float = 3_100_000.0
    crs: str = "EPSG:32645"

    @property
    def elevation(self) -> Field:
        """Elevation in metres (y, x)."""
        return mountains(self.size, self.gsd_m, self.seed)

    def classes(self, year: float) -> NDArray[np.uint8]:
        """True classes (y, x) in a year: 0 land, 1 clean ice, 2 debris-covered ice, 3 water."""
        z = self.elevation
        line = np.quantile(z, 0.62) + 2.2 * (year - 2000.0)
        slope, valley = slope_deg(z, self.gsd_m), valleys(z, self.gsd_m)
        rough = 50.0 * noise(z.shape, 3.4, self.seed + 11)
        accumulation = (z + rough > line) & (slope < 45)
        tongue = (valley + 0.4 * rough > -20.0) & (z > line - 380.0) & (slope < 25)
        ice = _connected(_smooth(accumulation | tongue), seeds=accumulation)
        debris = ice & (line - z + rough > 150.0) & (slope < 22)
        classes = np.where(ice, CLEAN_ICE, LAND).astype(np.uint8)
        classes[_smooth(debris) & ice] = DEBRIS
        classes[self._lakes(classes, z, slope)] = WATER
        return classes

    def _lakes(self, classes: NDArray[np.uint8], z: Field, slope: Field) -> NDArray[np.bool_]:
        """Lakes fill flat ground just below the ice, and small ponds lie on the debris."""
        ice = classes > LAND
        near = ndimage.distance_transform_edt(~ice) * self.gsd_m < 900.0
        hollow = ndimage.gaussian_filter(z, 240.0 / self.gsd_m) - z
        floor = (slope < 11.0) & (hollow > 2.0) & ~ice & near
        ponds = (classes == DEBRIS) & (slope < 10.0) & (noise(z.shape, 1.8, self.seed + 23) > 2.0)
        return np.asarray(ndimage.binary_opening(floor, iterations=2) | ponds)

    def reflectance(self, year: float, season: int) -> tuple[Field, NDArray[np.uint8]]:
        """Draw what a perfect sensor sees: bands (band, y, x) of BANDS, reflectance 0-1 and kelvin, and the classes."""
        rng = np.random.default_rng([self.seed, int(year), season])
        z, classes = self.elevation, self.classes(year)
        light = hillshade(z, self.gsd_m, rng.uniform(35, 55), rng.uniform(130, 200)) * 0.9 + 0.12
        spectra = np.array([SPECTRA[code] for code in range(4)], dtype=np.float32)
        bands = spectra[classes].transpose(2, 0, 1).copy()
        patches = (classes == LAND) & (z > np.quantile(z, 0.55)) & (noise(z.shape, 2.4, self.seed + 31 + season) > 1.5)
        bands[:, patches] = np.array(SNOW, dtype=np.float32)[:, None]
        texture = 1 + 0.12 * noise(z.shape, 1.2, self.seed + 41) + 0.05 * noise(z.shape, 2.5, self.seed + 43 + season)
        bands[:5] *= np.clip(texture, 0.4, 1.8) * light
        bands[5] += 6.0 * (light - 0.7) - 0.0035 * (z - z.mean()) + 0.6 * noise(z.shape, 1.0, self.seed + 47 + season)
        bands[:5] += rng.normal(0, 0.004, bands[:5].shape)
        return np.clip(ndimage.gaussian_filter(bands, (0, 0.5, 0.5)), 0.001, None).astype(np.float32), classes


def _smooth(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Round a mask's outline: ice has no single-pixel teeth."""
    return np.asarray(ndimage.gaussian_filter(mask.astype(np.float32), 2.0) > 0.5)


def _connected(mask: NDArray[np.bool_], seeds: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Keep the parts of a mask that hold a seed."""
    labels, _ = ndimage.label(mask)
    kept = np.unique(labels[seeds & mask])
    return np.isin(labels, kept[kept > 0])
