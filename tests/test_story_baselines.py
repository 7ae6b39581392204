"""Reference methods that could not be computed or fitted are refused before networks learn, in the words of `verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from vigie.apps.glaciers import app
from vigie.apps.glaciers.baselines import BASELINES
from vigie.apps.glaciers.classes import CLASSES
from vigie.apps.glaciers.settings import GlacierExperiment
from vigie.core.errors import VigieError
from vigie.story import baselines
from vigie.story.app import perform
from vigie.story.baselines import check_fits
from vigie.story.run import Run
from vigie.synthetic.files import sensor_file, write_film, write_multispectral
from vigie.synthetic.glaciers import Area

NAMES = ("almaz", "burhan", "chandra")
EXPECTED = r"expected two classes of 'classes' there, seen by this sensor"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three scenes of a satellite and three films; half of every truth is ice."""
    folder = tmp_path_factory.mktemp("images")
    for number, name in enumerate(NAMES):
        area = Area(name, seed=3 + number, size=48, west=450_000.0 + 30_000 * number)
        write_multispectral(folder, area, "2021-08-21")
        write_film(folder, area, "1975-08-20")
    (folder / "sensor.toml").write_text(sensor_file().read_text())
    for truth in folder.glob("truth_*.tif"):
        spread(truth, 24)
    return folder


def spread(truth: Path, rows: int) -> None:
    """Make so many rows ice, and the others land."""
    with rasterio.open(truth, "r+") as labels:
        codes = np.zeros((1, *labels.shape), np.uint8)
        codes[0, :rows] = 1
        labels.write(codes)


def run_of(images: Path, tmp_path: Path, wanted: str, satellite: str = "*", film: str = "*", **train: Any) -> Run:
    def source(images: str, sensor: str, truth: str) -> dict[str, Any]:
        return {"images": images, "sensor": sensor, "truth": truth, "legend": "classes", "group": "{scene}"}

    sources = [
        source(f"synthetic_2021-08-21_{satellite}.tif", "sensor.toml", "truth_2021-08-21_*.tif"),
        source(f"kh9_1975-08-20_{film}.tif", "hexagon-kh9", "truth_1975-08-20_*.tif"),
    ]
    for one, name in zip(sources, (satellite, film), strict=True):
        one["truth"] = one["truth"] if "*" in name else one["truth"].replace("*", name)
    content = {
        "app": "glaciers",
        "name": "run",
        "acquire": {"sources": [one for one, name in zip(sources, (satellite, film), strict=True) if name]},
        "train": {"fit": {"steps": 1, "warmup_steps": 0}, **train},
        "verify": {"baselines": [wanted]},
    }
    return Run(GlacierExperiment.model_validate(content), tmp_path / "run", base=images)


def test_missing_bands_are_told_before_images_are_copied(images: Path, tmp_path: Path) -> None:
    told = r"baseline 'random-forest-film', scene 'synthetic_2021-08-21_almaz': .*bands are missing; found blue, .*expected pan"
    with pytest.raises(VigieError, match=told):
        perform(app, run_of(images, tmp_path, "random-forest-film"))
    assert not (tmp_path / "run" / "cube.zarr").exists()


def test_thresholds_are_not_asked_for_four_classes(images: Path, tmp_path: Path) -> None:
    told = r"baseline 'otsu-own', scene 'kh9_.*': a threshold cannot tell the labels 'classes' apart; found 4 classes: land"
    with pytest.raises(VigieError, match=told):
        perform(app, run_of(images, tmp_path, "otsu-own", satellite=""), ("acquire",))


def test_scenes_too_large_for_the_memory_are_told(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "WHOLE_SCENE_PIXELS", 2000)
    with pytest.raises(VigieError, match=r"baselines need 'synthetic_2021-08-21_almaz' in memory"):
        perform(app, run_of(images, tmp_path, "random-forest"), ("acquire",))


def test_a_sensor_with_a_single_scene_leaves_a_method_nothing_to_learn_from(images: Path, tmp_path: Path) -> None:
    run = run_of(images, tmp_path, "random-forest", film="almaz")
    told = r"baseline 'random-forest' cannot learn to predict scene 'kh9_1975-08-20_almaz' of hexagon-kh9; found no other image"
    with pytest.raises(VigieError, match=rf"{told}.*in the training part of fold \d; {EXPECTED}"):
        perform(app, run, ("acquire",))
    halves = {"by": "block", "buffer_px": 0}
    perform(app, run_of(images, tmp_path / "halves", "random-forest", film="almaz", folds=halves), ("acquire",))


def test_a_sensor_that_is_held_out_teaches_no_method_of_its_own(images: Path, tmp_path: Path) -> None:
    with pytest.raises(VigieError, match="baseline 'gradient-boosting' cannot learn to predict"):
        perform(app, run_of(images, tmp_path, "gradient-boosting", folds={"by": "sensor"}), ("acquire",))


def test_without_folds_nothing_is_fitted_and_nothing_refused(images: Path, tmp_path: Path) -> None:
    perform(app, run_of(images, tmp_path, "random-forest-film", folds={"by": "none"}), ("acquire",))


def test_one_class_in_a_training_part_is_told_before_networks_learn(images: Path, tmp_path: Path) -> None:
    # Networks learn both classes from the other sensor's scenes; a reference method knows its own sensor only.
    for name in ("burhan", "chandra"):
        spread(images / f"truth_2021-08-21_{name}.tif", 0)
    run = run_of(images, tmp_path, "random-forest")
    perform(app, run, ("acquire", "harmonize"))
    told = r"baseline 'random-forest' cannot learn to predict scene 'synthetic_2021-08-21_almaz' of synthetic-multispectral; "
    with pytest.raises(VigieError, match=rf"{told}found labels of land alone in the training part of fold 0; {EXPECTED}"):
        perform(app, run, ("train",))
    assert not (run.artefact("train") / ".training").exists()
    for name in ("burhan", "chandra"):
        spread(images / f"truth_2021-08-21_{name}.tif", 24)
    again = run_of(images, tmp_path / "again", "random-forest")
    perform(app, again, ("acquire", "harmonize"))
    check_fits(again, CLASSES, BASELINES)
