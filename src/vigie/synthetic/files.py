"""The synthetic Earth as files: what its satellites and spy cameras deliver, with maps of the true classes beside them."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from scipy import ndimage

from vigie.core.store import whole_file
from vigie.synthetic.glaciers import Area
from vigie.synthetic.terrain import noise

SENSOR = "synthetic-multispectral.toml"


def sensor_file() -> Path:
    """Path of the synthetic instrument's declaration."""
    return Path(str(files("vigie.synthetic") / SENSOR))


def write_multispectral(folder: Path, area: Area, date: str) -> Path:
    """Write a 7-band scene (reflectance x 1e4, kelvin x 100, metres; 0 is nodata) and its truth; give the scene's path."""
    bands, classes = area.reflectance(float(date[:4]), season=int(date[5:7]))
    stored = np.concatenate([bands[:5] * 1e4, bands[5:6] * 100, area.elevation[None]])
    stored = np.clip(np.rint(stored), 1, 65534).astype(np.uint16)
    stored[:, _outside_swath(area, date)] = 0
    path = folder / f"synthetic_{date}_{area.name}.tif"
    _write(path, stored, area, nodata=0)
    _write(folder / f"truth_{date}_{area.name}.tif", classes[None], area, nodata=255)
    return path


def write_film(folder: Path, area: Area, date: str) -> Path:
    """Write a one-band film (8 bit, saturated snow, grain, réseau crosses; 0 is nodata) and its truth; give the film's path.

    Density follows the logistic curve of exposure (notes M4; James 1977, The Theory of the Photographic Process).
    """
    bands, classes = area.reflectance(float(date[:4]), season=int(date[5:7]))
    rng = np.random.default_rng([area.seed, int(date[:4]), 7])
    exposure = 0.3 * bands[1] + 0.7 * bands[2]
    density = 255.0 / (1.0 + np.exp(-3.2 * (np.log10(exposure) - np.log10(0.28)) * 2.3))
    grain = ndimage.gaussian_filter(rng.standard_normal(density.shape), 0.7) * 14.0
    film = ndimage.gaussian_filter(density, 0.9) + grain + 6.0 * noise(density.shape, 3.0, area.seed + 61)
    film[_crosses(area)] = 12.0
    stored = np.clip(np.rint(film), 1, 255).astype(np.uint8)
    stored[_outside_swath(area, date)] = 0
    path = folder / f"kh9_{date}_{area.name}.tif"
    _write(path, stored[None], area, nodata=0)
    _write(folder / f"truth_{date}_{area.name}.tif", classes[None], area, nodata=255)
    return path


def _outside_swath(area: Area, date: str) -> NDArray[np.bool_]:
    """A corner that the sensor's track leaves out, another one at every date."""
    y, x = np.mgrid[: area.size, : area.size]
    corner = int(date[5:7]) % 2
    return np.asarray((x if corner else area.size - 1 - x) + y < area.size // 6)


def _crosses(area: Area, spacing: int = 90, arm: int = 4) -> NDArray[np.bool_]:
    """Réseau crosses of a mapping camera's film."""
    mask = np.zeros((area.size, area.size), dtype=bool)
    for y in range(spacing // 2, area.size, spacing):
        for x in range(spacing // 2, area.size, spacing):
            mask[y, max(0, x - arm) : x + arm + 1] = True
            mask[max(0, y - arm) : y + arm + 1, x] = True
    return mask


def _write(path: Path, bands: NDArray[np.generic], area: Area, nodata: int) -> None:
    profile = {
        "driver": "GTiff",
        "count": bands.shape[0],
        "height": area.size,
        "width": area.size,
        "dtype": bands.dtype.name,
        "crs": area.crs,
        "transform": Affine(area.gsd_m, 0, area.west, 0, -area.gsd_m, area.north),
        "nodata": nodata,
        "compress": "deflate",
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
    }
    with whole_file(path) as draft, rasterio.open(draft, "w", **profile) as target:
        target.write(bands)
