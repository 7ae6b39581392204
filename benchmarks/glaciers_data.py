"""Load the real glacier samples as scenes in the layout of `vigie.core.cube`, and alter their radiometry for stress tests.

    chips()      six Sentinel-2 chips, 9 bands, labels 'debris-or-not'              (notes B1)
    film()       two KH-9 crops, 1 band, labels 'glacier-or-not'                   (notes B2)
    landsat7()   one Landsat-7 window, 4 saturated bands, labels 'ice-and-debris'  (notes B3)

The folder of samples is `VIGIE_SAMPLES`, by default `../shared/data` beside the repository.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import rasterio
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from vigie.core import cube, grid
from vigie.core.errors import VigieError
from vigie.core.scene import Band

CHIPS = {3: ("Sikkim", "3"), 126: ("Everest", "126"), 151: ("Everest", "151"), 155: ("Everest", "155-157"),
         157: ("Everest", "155-157"), 163: ("Everest", "163")}  # fmt: skip
"""Chip number -> region and group; 155 and 157 are 340 m apart, so they share a group (trap 2)."""

CHIP_BANDS = (
    # name, kind, units, wavelength_um, bandwidth_um, scale of stored numbers
    ("blue", "reflectance", "1", 0.4924, 0.066, 1e-4),
    ("green", "reflectance", "1", 0.5598, 0.036, 1e-4),
    ("red", "reflectance", "1", 0.6646, 0.031, 1e-4),
    ("nir", "reflectance", "1", 0.8328, 0.106, 1e-4),
    ("swir16", "reflectance", "1", 1.6137, 0.091, 1e-4),
    ("thermal", "thermal", "DN", 10.895, 0.59, 1.0),  # calibration of the file unknown: stays in digital numbers
    ("coherence", "coherence", "DN", None, None, 1.0),
    ("slope", "terrain", "degree", None, None, 1.0),
    ("elevation", "terrain", "m", None, None, 1.0),
)
LANDSAT7_BANDS = (
    # uncalibrated 8-bit numbers as a fraction of full scale
    ("red", "reflectance", "1", 0.6615, 0.063, 1 / 255),
    ("green", "reflectance", "1", 0.5605, 0.082, 1 / 255),
    ("blue", "reflectance", "1", 0.4785, 0.076, 1 / 255),
    ("nir", "reflectance", "1", 0.8350, 0.127, 1 / 255),
)
FILM_BANDS = (("pan", "pan", "1", 0.6, 0.2, 1 / 255),)

BandRow = tuple[str, str, str, float | None, float | None, float]


def samples_folder() -> Path:
    """Find the folder of real samples, or say how to name it."""
    default = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("VIGIE_SAMPLES", default)) / "glaciers"
    if not folder.is_dir():
        raise VigieError(
            "the real glacier samples are not there",
            found=folder,
            expected="a folder that holds glaciers/",
            do="set VIGIE_SAMPLES to the folder that mirrors the samples",
        )
    return folder


def chips() -> dict[str, xr.Dataset]:
    """Load the six debris chips: 9 bands at 10 m, truth codes of legend 'debris-or-not'."""
    folder = samples_folder() / "s2_debris_chips_everest_sikkim"
    scenes = {}
    for number, (region, group) in CHIPS.items():
        stored, geobox = read(folder / f"image{number}.tif")
        truth, _ = read(folder / f"label{number}.tif")
        labels = {"truth": truth[0], "legend": "debris-or-not"}
        tags = {"scene": str(number), "sensor": "sentinel2-chip", "region": region, "group": group, "datetime": ""}
        scenes[str(number)] = scene(stored, CHIP_BANDS, geobox, labels, tags)
    return scenes


def landsat7() -> dict[str, xr.Dataset]:
    """Load the Landsat-7 window of 2000-10-30: red, green, blue, nir at 30 m, truth codes of legend 'ice-and-debris'."""
    folder = samples_folder() / "everest_landsat7"
    visible, geobox = read(folder / "LE71400412000304SGS00_RGB.tif")
    nir, _ = read(folder / "LE71400412000304SGS00_B4.tif")
    truth, _ = read(folder / "label_3class_30m.tif")
    labels = {"truth": truth[0], "legend": "ice-and-debris"}
    tags = {"scene": "everest_landsat7", "sensor": "landsat7", "region": "Everest", "group": "everest_landsat7",
            "datetime": "2000-10-30T00:00:00Z"}  # fmt: skip
    dataset = scene(np.concatenate([visible, nir]), LANDSAT7_BANDS, geobox, labels, tags)
    return {"everest_landsat7": flag_saturated(dataset)}


def film() -> dict[str, xr.Dataset]:
    """Load the two KH-9 crops of 1980-08-22: one band at 75 m, a fraction of full scale, truth codes of 'glacier-or-not'."""
    folder = samples_folder() / "kh9_iceland"
    scenes = {}
    for name in ("vatnajokull_w", "langjokull"):
        stored, geobox = read(folder / f"kh9_1980-08-22_{name}.tif")
        truth, _ = read(folder / f"kh9_1980-08-22_{name}_glacier_mask.tif")
        labels = {"truth": truth[0], "legend": "glacier-or-not"}
        tags = {"scene": name, "sensor": "kh9-mapping", "region": "Iceland", "group": name, "datetime": "1980-08-22T00:00:00Z"}
        dataset = scene(stored, FILM_BANDS, geobox, labels, tags, nodata=0)
        scenes[name] = flag_saturated(dataset)
    return scenes


def read(path: Path) -> tuple[NDArray[np.generic], GeoBox]:
    """Read all bands of a GeoTIFF as stored (band, y, x), and its grid."""
    with rasterio.open(path) as source:
        return source.read(), GeoBox.from_rio(source)


def scene(
    stored: NDArray[np.generic],
    rows: Sequence[BandRow],
    geobox: GeoBox,
    labels: Mapping[str, object],
    tags: Mapping[str, str],
    nodata: float | None = None,
) -> xr.Dataset:
    """Lay out stored numbers as a scene in physical units, NaN and flag 'nodata' where any band has none."""
    gsd_m = grid.pixel_m(geobox)
    bands = [Band(n, k, "", i, gsd_m, u, w, b, s, nodata=nodata) for i, (n, k, u, w, b, s) in enumerate(rows, start=1)]
    scale = np.array([band.scale for band in bands])[:, None, None]
    missing = np.zeros(stored.shape[1:], bool) if nodata is None else (stored == nodata).any(axis=0)
    observation = np.where(missing, np.nan, stored * scale).astype(np.float32)
    dataset = xr.Dataset(
        {
            "observation": (("band", "y", "x"), observation),
            "flags": (("y", "x"), missing.astype(np.uint8) * np.uint8(cube.FLAGS["nodata"]), cube.flags_attributes()),
            "truth": (("y", "x"), np.asarray(labels["truth"], np.uint8)),
        },
        coords={**cube.band_coordinates(bands), **grid.coordinates(geobox)},
        attrs={**tags, "legend": str(labels["legend"])},
    )
    cube.check(dataset)
    return dataset


def flag_saturated(dataset: xr.Dataset) -> xr.Dataset:
    """Set flag 'saturated' exactly where some band stands at full scale (1.0), as a reader of the stored file would."""
    bit = np.uint8(cube.FLAGS["saturated"])
    full = (dataset["observation"] >= 1.0 - 1e-6).any("band")
    flags = (dataset["flags"] & ~bit) | (full.astype(np.uint8) * bit)
    return dataset.assign(flags=flags.astype(np.uint8).assign_attrs(dataset["flags"].attrs))


def stress_notes(dataset: xr.Dataset) -> xr.Dataset:
    """Another scene's radiometry as in notes B1: optical x 0.75 + 150 DN, thermal + 1500 DN, coherence x 0.9 + 10 DN."""
    return _altered(dataset, reflectance=(0.75, 150e-4), thermal=(1.0, 1500.0), coherence=(0.9, 10.0))


def stress_strong(dataset: xr.Dataset) -> xr.Dataset:
    """A radiometry outside every training jitter (bars of notes B1): optical x 0.4, thermal + 4000 DN."""
    return _altered(dataset, reflectance=(0.4, 0.0), thermal=(1.0, 4000.0))


def exposure(dataset: xr.Dataset, factor: float) -> xr.Dataset:
    """Film exposed differently (notes B2): x factor, clipped at full scale; what then stands at full scale is flagged."""
    altered = _altered(dataset, pan=(factor, 0.0))
    return flag_saturated(altered.assign(observation=altered["observation"].clip(max=1.0)))


def _altered(dataset: xr.Dataset, **gain_offset: tuple[float, float]) -> xr.Dataset:
    """Apply (gain, offset) to all bands of the named kinds."""
    pairs = np.array([gain_offset.get(kind, (1.0, 0.0)) for kind in dataset["kind"].values.tolist()], dtype=np.float32)
    gain, offset = (xr.DataArray(column, dims="band") for column in pairs.T)
    observation = dataset["observation"] * gain + offset
    return dataset.assign(observation=observation.assign_attrs(dataset["observation"].attrs))
