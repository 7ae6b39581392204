"""Bar B5: pixels of one sensor classified by what was learnt from another, at sites never seen.

    python benchmarks/glaciers_pixels.py [--trees N] [--seed N]

Labelled pixels of four North American glaciers, Sentinel-2 and Landsat 8, 2021. Prints the rows of the notes for three sets of
features: the notes' own (six reflectances, NDSI, NDVI, NDWI), colour (`vigie.learn.colour`: centred log ratios of the six), and
colour with brightness. Leaves with exit code 1 when colour does not beat the notes' transfer bar.
Reads the samples from VIGIE_SAMPLES (default ../shared/data beside this repository).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import xarray as xr
from glaciers_data import samples_folder

from vigie.acquire.sensor import Sensor, load_sensor
from vigie.core import cube
from vigie.core.legend import LabelLegend
from vigie.core.scene import Band
from vigie.learn.colour import as_colours
from vigie.verify.baselines import Trees, random_forest
from vigie.verify.classes import LabelledTile, count_classes, finish_classes
from vigie.verify.features import Recipe, index
from vigie.verify.tally import Tally

NAMES = ("snow", "shadowed snow", "ice", "rock", "water")
LABELS = LabelLegend("pixels", {code: (name, (name,)) for code, name in enumerate(NAMES, start=1)})
BANDS = ("blue", "green", "red", "nir", "swir16", "swir22")
SENTINEL_2 = ("B2", "B3", "B4", "B8", "B11", "B12")
LANDSAT = ("SR_B2", "SR_B3", "SR_B4", "SR_B5", "SR_B6", "SR_B7")
BAR_ACCURACY, BAR_F1 = 0.676, 0.415
"""Notes B5, Sentinel-2 of other sites -> Landsat site."""

Sites = Mapping[str, xr.Dataset]


@dataclass(frozen=True)
class Row:
    """One line of the notes' table; by site: what is learnt never comes from the site that is mapped."""

    title: str
    learn: Sites
    test: Sites
    by_site: bool = False


def main() -> int:
    """Print all rows, and say whether the bar is met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trees", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    forest = partial(random_forest, args.trees, 3, args.seed)
    found = {}
    print(f"{'features':<19} {'learnt from -> tested on':<36} accuracy  macro-F1  F1 of {', '.join(NAMES)}")
    for row in rows():
        for name, recipe in RECIPES.items():
            scores = finish_classes(tested(row, recipe, forest))
            accuracy, f1 = float(scores["accuracy"]), scores["f1"].values
            classes = "  ".join(f"{value:.3f}" for value in f1)
            print(f"{name:<19} {row.title:<36} {accuracy:8.3f}  {f1.mean():8.3f}  {classes}", flush=True)
            found[name, row.title] = accuracy, float(f1.mean())
    accuracy, f1 = found["colour", TRANSFER]
    met = accuracy > BAR_ACCURACY and f1 > BAR_F1
    print(f"{'met ' if met else 'MISS'}  colour, {TRANSFER}: {accuracy:.3f} / {f1:.3f}, bar {BAR_ACCURACY} / {BAR_F1}")
    return 0 if met else 1


TRANSFER = "S2 of other sites -> Landsat site"


def rows() -> Iterator[Row]:
    """The notes' table."""
    sentinel, landsat = load_sensor("sentinel-2"), load_sensor("landsat-8")
    product = next(product for product in landsat.products if product.name == "Collection 2 Level 2")
    s2 = sites("Sentinel-2_SR_training_data.csv.gz", SENTINEL_2, sentinel, 0.0)
    stored = sites("Landsat_training_data.csv.gz", LANDSAT, landsat, 0.0)
    mended = sites("Landsat_training_data.csv.gz", LANDSAT, landsat, product.offset or 0.0)
    yield Row("S2 -> Landsat as stored", s2, stored)
    yield Row("S2 -> Landsat", s2, mended)
    yield Row("Landsat as stored -> S2", stored, s2)
    yield Row("Landsat -> S2", mended, s2)
    yield Row("S2, other sites", s2, s2, by_site=True)
    yield Row("Landsat, other sites", mended, mended, by_site=True)
    yield Row(TRANSFER, s2, mended, by_site=True)


def sites(file: str, columns: tuple[str, ...], sensor: Sensor, offset: float) -> dict[str, xr.Dataset]:
    """Lay the pixels of each site out as a scene of one line; those with an empty band are left out.

    Stored Landsat numbers were scaled, but the offset of Collection 2 was forgotten: `offset` is added.
    """
    table = pd.read_csv(samples_folder() / "pixel_samples" / file).dropna(subset=list(columns))
    return {
        str(site): pixels(group[list(columns)].to_numpy() + offset, group["class"].to_numpy(), sensor, f"{sensor.name} {site}")
        for site, group in table.groupby("site_name")
    }


def pixels(reflectance: np.ndarray, codes: np.ndarray, sensor: Sensor, name: str) -> xr.Dataset:
    """Make a scene of one line of pixels (pixel, band)."""
    known = {band.name: band for band in sensor.bands}
    chosen = [known[band] for band in BANDS]
    bands = [Band(b.name, b.kind, "", n, b.gsd_m, "1", b.wavelength_um, b.bandwidth_um) for n, b in enumerate(chosen, start=1)]
    return xr.Dataset(
        {
            "observation": (("band", "y", "x"), reflectance.T[:, np.newaxis].astype(np.float32)),
            "flags": (("y", "x"), np.zeros((1, len(codes)), np.uint8)),
            "truth": (("y", "x"), codes[np.newaxis].astype(np.uint8)),
        },
        coords=cube.band_coordinates(bands),
        attrs={"scene": name},
    )


def notes(scene: xr.Dataset) -> xr.DataArray:
    """Six reflectances with NDSI, NDVI and NDWI."""
    green, red, nir, swir = (scene["observation"].sel(band=name).values for name in ("green", "red", "nir", "swir16"))
    indices = np.stack([index(green, swir), index(nir, red), index(green, nir)])
    return xr.DataArray(np.concatenate([scene["observation"].values, indices]), dims=("feature", "y", "x"))


def colour(scene: xr.Dataset, *kinds: str) -> xr.DataArray:
    """Centred log ratios of the reflectances, and brightness where it is asked for."""
    coloured = as_colours(scene)
    chosen = np.isin(coloured["kind"].values, ("colour", *kinds))
    return xr.DataArray(coloured["observation"].values[chosen], dims=("feature", "y", "x"))


RECIPES: Mapping[str, Recipe] = {
    "notes": notes,
    "colour": colour,
    "colour, brightness": lambda scene: colour(scene, "brightness"),
}


def tested(row: Row, recipe: Recipe, forest: Callable[[], object]) -> Tally:
    """Learn and count, all sites together or one site after the other."""
    method = Trees(recipe, forest, LABELS, pixels=sys.maxsize)
    counts = []
    fitted = None if row.by_site else method.fit(list(row.learn.values()))
    for site, scene in row.test.items():
        learnt = fitted or method.fit([other for name, other in row.learn.items() if name != site])
        tile = LabelledTile(learnt.probability(scene), LABELS.rows(scene["truth"].values), NAMES, 1.0)
        counts.append(count_classes(tile))
    return sum(counts[1:], counts[0])


if __name__ == "__main__":
    sys.exit(main())
