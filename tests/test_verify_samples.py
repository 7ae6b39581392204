"""The real samples load as the notes describe them, and the cheap baselines give the notes' numbers."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import xarray as xr

from vigie.apps.glaciers.classes import CLASSES
from vigie.core import cube, grid
from vigie.verify import thresholds
from vigie.verify.classes import LabelledTile, count_classes, finish_classes

pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module")
def data(samples: Path) -> ModuleType:
    path = Path(__file__).resolve().parents[1] / "benchmarks" / "glaciers_data.py"
    spec = importlib.util.spec_from_file_location("glaciers_data", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["glaciers_data"] = module
    spec.loader.exec_module(module)
    module.samples_folder = lambda: samples / "glaciers"
    return module


@pytest.fixture(scope="module")
def chips(data: ModuleType) -> dict[str, xr.Dataset]:
    return data.chips()


@pytest.fixture(scope="module")
def film(data: ModuleType) -> dict[str, xr.Dataset]:
    return data.film()


def test_chips_are_as_in_the_notes(chips: dict[str, xr.Dataset]) -> None:
    fractions = {"3": 0.037, "126": 0.156, "151": 0.158, "155": 0.143, "157": 0.070, "163": 0.175}
    for name, expected in fractions.items():
        cube.check(chips[name])
        assert float((chips[name]["truth"] == 1).mean()) == pytest.approx(expected, abs=6e-4)
        assert grid.pixel_m(grid.grid_of(chips[name])) == pytest.approx(10.0)
    assert chips["155"].attrs["group"] == chips["157"].attrs["group"] != chips["151"].attrs["group"]


def test_shadow_looks_like_water(chips: dict[str, xr.Dataset]) -> None:
    for name, water, flat in (("157", 66157, 11034), ("151", 38115, 7214)):
        wet = thresholds.ndwi(chips[name]) > 0.3
        assert int(wet.sum()) == pytest.approx(water, rel=0.01)
        assert int((wet & (chips[name]["observation"].sel(band="slope").values <= 5)).sum()) == pytest.approx(flat, rel=0.01)


def test_snow_index_of_debris_labels(chips: dict[str, xr.Dataset]) -> None:
    shares = {n: float((thresholds.ndsi(c)[c["truth"].values == 1] > 0.4).mean()) for n, c in chips.items()}
    assert shares["155"] == pytest.approx(0.199, abs=2e-3)
    assert max(share for name, share in shares.items() if name != "155") <= 0.0251


def test_landsat7_is_as_in_the_notes(data: ModuleType) -> None:
    scene = data.landsat7()["everest_landsat7"]
    cube.check(scene)
    counts = [int((scene["truth"] == code).sum()) for code in (0, 1, 2, 255)]
    assert counts == [240_607, 76_678, 39_561, 167_154]
    full = {band: float((scene["observation"].sel(band=band) >= 1 - 1e-6).mean()) for band in ("red", "green", "blue", "nir")}
    np.testing.assert_allclose(list(full.values()), [0.38, 0.36, 0.40, 0.21], atol=0.006)
    assert cube.flagged(scene["flags"], "saturated").mean() >= full["blue"]


def test_film_is_as_in_the_notes(film: dict[str, xr.Dataset]) -> None:
    for name, valid, inside, outside in (("langjokull", 0.781, 210.9, 93.9), ("vatnajokull_w", 0.892, 214.4, 94.1)):
        scene = film[name]
        cube.check(scene)
        missing = cube.flagged(scene["flags"], "nodata")
        assert float(1 - missing.mean()) == pytest.approx(valid, abs=5e-4)
        assert (missing == (scene["truth"] == 255)).all() and (missing == scene["observation"].isnull().all("band")).all()
        pan = scene["observation"].sel(band="pan") * 255
        assert float(pan.where(scene["truth"] == 1).mean()) == pytest.approx(inside, abs=0.06)
        assert float(pan.where(scene["truth"] == 0).mean()) == pytest.approx(outside, abs=0.06)


def test_stresses_are_those_of_the_notes(data: ModuleType, chips: dict[str, xr.Dataset], film: dict[str, xr.Dataset]) -> None:
    chip = chips["3"].isel(y=slice(0, 9), x=slice(0, 9))
    stored = chip["observation"] / xr.DataArray([1e-4] * 5 + [1.0] * 4, dims="band")
    notes = data.stress_notes(chip)["observation"]
    np.testing.assert_allclose(notes[:5] * 1e4, stored[:5] * 0.75 + 150, rtol=1e-5)
    np.testing.assert_allclose(notes[5], stored[5] + 1500)
    np.testing.assert_allclose(notes[6], stored[6] * 0.9 + 10, rtol=1e-5)
    np.testing.assert_array_equal(notes[7:], stored[7:])
    strong = data.stress_strong(chip)["observation"]
    np.testing.assert_allclose(strong[:5] * 1e4, stored[:5] * 0.4, rtol=1e-5)
    np.testing.assert_allclose(strong[5], stored[5] + 4000)
    bright = data.exposure(film["langjokull"], 1.1)
    assert float(bright["observation"].max()) == 1.0
    assert cube.flagged(bright["flags"], "saturated").sum() > cube.flagged(film["langjokull"]["flags"], "saturated").sum()
    assert (cube.flagged(bright["flags"], "nodata") == cube.flagged(film["langjokull"]["flags"], "nodata")).all()


@pytest.mark.parametrize(
    ("test", "train", "clean", "iou"),
    [
        ("vatnajokull_w", "langjokull", thresholds.untouched, 0.839),
        ("langjokull", "vatnajokull_w", thresholds.untouched, 0.831),
        ("vatnajokull_w", "langjokull", thresholds.MedianClean(7), 0.859),
        ("langjokull", "vatnajokull_w", thresholds.MedianClean(7), 0.858),
        ("vatnajokull_w", "langjokull", thresholds.MedianClean(11, 2000), 0.874),
        ("langjokull", "vatnajokull_w", thresholds.MedianClean(11, 2000), 0.867),
    ],
)
def test_otsu_gives_the_numbers_of_the_notes(
    data: ModuleType, film: dict[str, xr.Dataset], test: str, train: str, clean: thresholds.Clean, iou: float
) -> None:
    labels = CLASSES.label("glacier-or-not")
    probability = thresholds.TrainOtsu(clean=clean).fit([film[train]]).probability(film[test])
    tile = LabelledTile(probability, labels.rows(film[test]["truth"].values), labels.names, 75.0)
    assert finish_classes(count_classes(tile))["iou"].sel(label=labels.names[1]).item() == pytest.approx(iou, abs=0.003)
