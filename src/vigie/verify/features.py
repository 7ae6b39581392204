"""Features of the baselines: spectral indices, window statistics over valid pixels, and per-scene standardisation.

A recipe is a function from a scene (layout of `vigie.core.cube`) to features (feature, y, x); it finds bands by their names and
refuses a scene that lacks one. Window statistics reach `HALO_PX` pixels, which a tile must bring as its halo.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import ndimage

from vigie.core.cube import flagged
from vigie.core.errors import VigieError

Recipe = Callable[[xr.Dataset], xr.DataArray]
Scale = Callable[[xr.Dataset], xr.DataArray]
Image = NDArray[np.floating]
Mask = NDArray[np.bool_]
Clear = Callable[[xr.Dataset], Mask]

HALO_PX = 50
"""Half of the widest window any recipe here uses (101 px)."""

RHO_MIN = 1e-3
"""Reflectances are clipped here before they enter a ratio."""

SCALED_KINDS = ("reflectance", "thermal", "anomaly", "sar", "coherence", "pan")
"""Kinds whose gain and offset vary from scene to scene; terrain stays absolute."""

SCALED_LAYERS = ("blue", "green", "red", "nir", "swir16", "thermal", "coherence",
                 "red std 9", "thermal mean 41", "thermal anomaly 101")  # fmt: skip
"""Features of `pixel_and_context` that are bands with gain and offset, or context of such."""


def bands(observation: xr.DataArray, names: Sequence[str]) -> dict[str, Image]:
    """Take bands by name, or say which the scene lacks.

    Examples
    --------
    >>> observation = xr.DataArray(np.zeros((1, 2, 2)), dims=("band", "y", "x"), coords={"band": ["red"]})
    >>> bands(observation, ["red"])["red"].shape
    (2, 2)
    """
    present = observation["band"].values.tolist()
    missing = [name for name in names if name not in present]
    if missing:
        raise VigieError(
            "this baseline cannot be computed: bands are missing",
            found=", ".join(present),
            expected=", ".join(names),
            do=f"give scenes that have {', '.join(missing)}, or choose a baseline that needs fewer bands",
        )
    return {name: observation.sel(band=name).values for name in names}


def index(a: Image, b: Image, floor: float = RHO_MIN) -> Image:
    """Compute the normalised difference (a - b) / (a + b) of two reflectances clipped at `floor`.

    NDSI = index(green, swir16); NDWI = index(green, nir) (McFeeters 1996); NDVI = index(nir, red).

    Examples
    --------
    >>> float(index(np.array(0.6), np.array(0.2)).round(3))
    0.5
    """
    a, b = np.maximum(a, floor), np.maximum(b, floor)
    ratio: Image = (a - b) / (a + b)
    return ratio


def window_mean(image: Image, size_px: int) -> Image:
    """Average the valid (not NaN) pixels of a square window centred on each pixel; NaN where there are none.

    Examples
    --------
    >>> window_mean(np.array([[1.0, np.nan, 4.0]]), 3).round(6).tolist()
    [[1.0, 2.5, 4.0]]
    """
    valid = np.isfinite(image)
    share = ndimage.uniform_filter(valid.astype(np.float64), size_px)
    mean = ndimage.uniform_filter(np.where(valid, image, 0.0).astype(np.float64), size_px)
    seen = share > 0.5 / size_px**2
    average: Image = np.divide(mean, share, out=np.full(image.shape, np.nan), where=seen)
    return average


def window_std(image: Image, size_px: int) -> Image:
    """Compute the standard deviation of the valid pixels of a square window centred on each pixel.

    Examples
    --------
    >>> window_std(np.array([[1.0, 3.0, 3.0]]), 3).round(3).tolist()
    [[0.943, 0.943, 0.0]]
    """
    wide = image.astype(np.float64)
    variance = window_mean(wide**2, size_px) - window_mean(wide, size_px) ** 2
    return np.sqrt(np.maximum(variance, 0.0))


def unscaled(scene: xr.Dataset) -> xr.DataArray:
    """Leave the bands in physical units ("raw")."""
    return scene["observation"]


def asked(scene: xr.Dataset) -> Mask:
    """Say which pixels a baseline is asked about, to learn from or to predict: all, or those of the variable `asked` (y, x).

    Features, percentiles and thresholds of a scene's own are always those of the whole scene, however it is cut for folds.

    Examples
    --------
    >>> asked(xr.Dataset({"flags": (("y", "x"), np.zeros((1, 3), np.uint8))})).tolist()
    [[True, True, True]]
    """
    mask: Mask = scene["asked"].values if "asked" in scene else np.ones(scene["flags"].shape, dtype=bool)
    return mask


def clear(scene: xr.Dataset) -> Mask:
    """Say which pixels may enter a scene's percentiles: no nodata, cloud, shadow or saturation is flagged there."""
    mask: Mask = ~flagged(scene["flags"], "nodata", "cloud", "shadow", "saturated").values
    return mask


def clear_without_shadow(scene: xr.Dataset) -> Mask:
    """Say which pixels are clear and lie outside shadow by NIR >= 0.25 x P75(NIR), a test that no gain changes."""
    nir = bands(scene["observation"], ["nir"])["nir"]
    mask: Mask = clear(scene) & (nir >= 0.25 * np.nanpercentile(nir, 75))
    return mask


def standardised(scene: xr.Dataset, over: Clear = clear) -> xr.DataArray:
    """Scale bands by the scene's own percentiles, (x - P50) / (P84 - P16 + 1e-6), over clear pixels ("std").

    Spectral, thermal, radar and film bands only; terrain stays absolute.

    Raises
    ------
    VigieError: the scene has no clear pixel.
    """
    observation = scene["observation"].astype(np.float32).copy()
    mask = over(scene)
    for at, kind in enumerate(scene["kind"].values.tolist()):
        if kind in SCALED_KINDS:
            observation.values[at] = _standardised(observation.values[at], mask, scene)
    return observation


def standardised_without_shadow(scene: xr.Dataset) -> xr.DataArray:
    """Scale bands by the scene's own percentiles over clear pixels outside shadow."""
    return standardised(scene, clear_without_shadow)


def _standardised(image: Image, mask: Mask, scene: xr.Dataset) -> Image:
    sample = image[mask & np.isfinite(image)]
    if sample.size == 0:
        raise VigieError(
            f"scene '{scene.attrs.get('scene', '?')}' has no clear pixel to standardise by",
            found=f"{int(mask.sum())} clear pixels, none finite",
            do="leave the scene out, or mend its flags",
        )
    low, middle, high = np.percentile(sample, [16, 50, 84])
    scaled: Image = (image - middle) / (high - low + 1e-6)
    return scaled


def pixel(scene: xr.Dataset, scale: Scale = unscaled) -> xr.DataArray:
    """Give the pixel's own features ("pixel"): eight bands, NDSI, NDWI, NDVI and (NIR - SWIR) / (NIR + SWIR)."""
    return _stack(_pixel(scene, scale), scene)


def pixel_and_context(scene: xr.Dataset, scale: Scale = unscaled) -> xr.DataArray:
    """Give the pixel's own features and those of its surroundings ("+context"), as in the notes' baselines of debris.

    Context: means of slope and NDSI in 21 px, height above the mean of 101 px, deviation of red in 9 px, mean thermal in 41 px
    and thermal above its mean of 101 px.
    """
    features = _pixel(scene, scale)
    height = bands(scene["observation"], ["elevation"])["elevation"]
    context = {
        "slope mean 21": window_mean(features["slope"], 21),
        "ndsi mean 21": window_mean(features["ndsi"], 21),
        "relief 101": height - window_mean(height, 101),
        "red std 9": window_std(features["red"], 9),
        "thermal mean 41": window_mean(features["thermal"], 41),
        "thermal anomaly 101": features["thermal"] - window_mean(features["thermal"], 101),
    }
    return _stack(features | context, scene)


def pixel_and_context_standardised(scene: xr.Dataset, over: Clear = clear) -> xr.DataArray:
    """Give the features of `pixel_and_context`, bands and their context layers each scaled by its own percentiles.

    This is how the notes' "std" rows were computed. `pixel_and_context(scene, scale=standardised)` takes the context of
    standardised bands instead and keeps its contrast; it serves debris better.
    """
    table = pixel_and_context(scene)
    mask = over(scene)
    for at, name in enumerate(table["feature"].values.tolist()):
        if name in SCALED_LAYERS:
            table.values[at] = _standardised(table.values[at], mask, scene)
    return table


def film_intensity(scene: xr.Dataset, scale: Scale = unscaled) -> xr.DataArray:
    """Give the film's intensity alone."""
    return _stack(bands(scale(scene), ["pan"]), scene)


def film_local(scene: xr.Dataset, scale: Scale = unscaled) -> xr.DataArray:
    """Give the film's intensity with its mean and deviation in 5, 15 and 41 px windows over valid pixels."""
    pan = bands(scale(scene), ["pan"])["pan"]
    return _stack({"pan": pan} | _local("pan", pan, (5, 15, 41)), scene)


def four_bands(scene: xr.Dataset, scale: Scale = unscaled) -> xr.DataArray:
    """Give red, green, blue and NIR."""
    return _stack(bands(scale(scene), ["red", "green", "blue", "nir"]), scene)


def four_bands_local(scene: xr.Dataset, scale: Scale = unscaled) -> xr.DataArray:
    """Give four bands, NDVI, local means and deviations of red and NIR (5, 15, 31 px), and the saturated share of 15 px."""
    own = bands(scale(scene), ["red", "green", "blue", "nir"])
    raw = bands(scene["observation"], ["red", "nir"])
    saturated = flagged(scene["flags"], "saturated").values.astype(np.float64)
    features = own | {"ndvi": index(raw["nir"], raw["red"])}
    for name in ("red", "nir"):
        features |= _local(name, own[name], (5, 15, 31))
    return _stack(features | {"saturated share 15": window_mean(saturated, 15)}, scene)


def _pixel(scene: xr.Dataset, scale: Scale) -> dict[str, Image]:
    own = ("blue", "green", "red", "nir", "swir16", "thermal", "coherence", "slope")
    rho = bands(scene["observation"], ["green", "red", "nir", "swir16"])
    return bands(scale(scene), own) | {
        "ndsi": index(rho["green"], rho["swir16"]),
        "ndwi": index(rho["green"], rho["nir"]),
        "ndvi": index(rho["nir"], rho["red"]),
        "ndsi nir": index(rho["nir"], rho["swir16"]),
    }


def _local(name: str, image: Image, sizes_px: Sequence[int]) -> dict[str, Image]:
    means = {f"{name} mean {size}": window_mean(image, size) for size in sizes_px}
    return means | {f"{name} std {size}": window_std(image, size) for size in sizes_px}


def _stack(features: Mapping[str, Image], scene: xr.Dataset) -> xr.DataArray:
    stacked = np.stack([image.astype(np.float32) for image in features.values()])
    y_x = {dim: scene[dim] for dim in ("y", "x") if dim in scene.coords}
    return xr.DataArray(stacked, dims=("feature", "y", "x"), coords={"feature": list(features), **y_x}, name="features")


def every_band_local(scene: xr.Dataset, scale: Scale = unscaled) -> xr.DataArray:
    """Give every band the scene has, with local means and deviations (5, 15 px) of those that are measured."""
    names = [str(name) for name in scene["band"].values if name != "elevation"]
    kinds = dict(zip(scene["band"].values.tolist(), scene["kind"].values.tolist(), strict=True))
    features = dict(bands(scale(scene), names))
    for name in names:
        if kinds[name] != "terrain":
            features |= _local(name, features[name], (5, 15))
    return _stack(features, scene)
