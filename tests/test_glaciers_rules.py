"""Spectral rules: what they are sure of, and that they never touch debris labels or scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from vigie.apps.glaciers.classes import CLASSES
from vigie.apps.glaciers.rules import DEBRIS, ICE, LAND, UNKNOWN, WATER, refined, with_rules
from vigie.core.cube import FLAGS, band_coordinates
from vigie.core.scene import Band
from vigie.learn.patches import LabelledScene
from vigie.learn.scaling import RobustScaling, measure

NAMES = ("green", "red", "nir", "swir16")
SURFACES = {  # green, red, nir, swir16 reflectance; slope in degrees
    "snow": (0.80, 0.78, 0.70, 0.08, 10.0),
    "lake": (0.10, 0.06, 0.02, 0.01, 1.0),
    "rock": (0.12, 0.15, 0.20, 0.25, 30.0),
    "steep dark": (0.10, 0.06, 0.02, 0.01, 40.0),
}


def pixel_row(labels: list[int], shadow: bool = False) -> xr.Dataset:
    bands = [Band(n, "reflectance", "", 1, 10.0, "1", 0.6, 0.1) for n in NAMES] + [
        Band("slope", "terrain", "", 2, 10.0, "degree")
    ]
    values = np.array(list(SURFACES.values()), np.float32).T[:, None, :]
    flags = np.full((1, len(SURFACES)), FLAGS["shadow"] if shadow else 0, np.uint8)
    return xr.Dataset(
        {
            "observation": (("band", "y", "x"), values),
            "flags": (("y", "x"), flags),
            "truth": (("y", "x"), np.array([labels], np.uint8)),
        },
        coords=band_coordinates(bands),
        attrs={"scene": "row"},
    )


def test_rules_name_what_they_are_sure_of() -> None:
    assert refined(pixel_row([0, 0, 0, 0])).tolist() == [[ICE, WATER, LAND, UNKNOWN]]


def test_debris_labels_stay_debris_and_unknown_stays_unknown() -> None:
    assert refined(pixel_row([1, 1, 255, 255])).tolist() == [[DEBRIS, DEBRIS, UNKNOWN, UNKNOWN]]


def test_shadow_is_neither_water_nor_land() -> None:
    assert refined(pixel_row([0, 0, 0, 0], shadow=True)).tolist() == [[ICE, UNKNOWN, UNKNOWN, UNKNOWN]]


@pytest.mark.parametrize(("legend", "count"), [("debris-or-not", 2), ("ice-and-debris", 1)])
def test_only_debris_labels_are_taught_twice(legend: str, count: int) -> None:
    row = pixel_row([0, 0, 0, 1])
    sizes = {"y": 1, "x": 4}
    scene = LabelledScene(
        "row", row.isel, sizes, measure(row.isel, sizes, RobustScaling()), CLASSES.label(legend), "sentinel-2"
    )
    assert len(with_rules(scene)) == count


@pytest.mark.realdata
def test_rules_and_labels_agree_on_the_real_chips(samples: Path) -> None:
    """Ponds and lakes are a small share of the chips, snow is common on 157, and nothing labelled debris changes."""
    from vigie.acquire.sources import SourceSettings, gather
    from vigie.harmonize.grids import target_grid
    from vigie.harmonize.levels import measured
    from vigie.harmonize.reader import SceneReader
    from vigie.harmonize.settings import HarmonizeSettings

    folder = samples / "glaciers/s2_debris_chips_everest_sikkim"
    source = SourceSettings(images=(str(folder / "image157.tif"),), truth=str(folder / "label157.tif"), legend="debris-or-not")
    (scene,) = gather([source])
    reader = measured(SceneReader(scene, target_grid([scene]), None, HarmonizeSettings(shadow="affine")))
    data = reader({"y": slice(0, 500), "x": slice(0, 500)})
    codes = refined(data)
    assert (codes[data["truth"].values == 1] == DEBRIS).all()
    assert 0.001 < (codes == WATER).mean() < 0.1 and (codes == ICE).mean() > 0.1
