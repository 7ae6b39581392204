"""What a forest asks of scenes is told before any pixel is read: one sensor, few enough bands, and those it was grown on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vigie.acquire.sources import SourceSettings, gather
from vigie.apps.glaciers.classes import LEGEND
from vigie.cli import main
from vigie.core.errors import VigieError
from vigie.core.scene import Scene
from vigie.harmonize.cube import harmonize_scene, open_scene
from vigie.harmonize.settings import HarmonizeSettings
from vigie.learn.bands import describe
from vigie.learn.forest import MOST_BANDS, Forest
from vigie.learn.inputs import inputs_of
from vigie.learn.model import Model
from vigie.learn.networks import NetworkSettings, build
from vigie.learn.scaling import RobustScaling
from vigie.story.forests import check_growable, shown_bands
from vigie.story.settings import TrainSettings
from vigie.synthetic.files import sensor_file, write_film, write_multispectral
from vigie.synthetic.glaciers import Area

WITH_FOREST = TrainSettings(beside=({"name": "forest"},))
KIND = NetworkSettings(name="forest", sides=(3,), trees=1, leaves=2)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, area = tmp_path_factory.mktemp("data"), Area("almaz", seed=3, size=96)
    write_multispectral(folder, area, "2021-08-21")
    write_film(folder, area, "1975-08-20")
    shutil.copy(sensor_file(), folder / "sensor.toml")
    return folder


@pytest.fixture(scope="module")
def scene(data: Path) -> Scene:
    """Reflectances, a thermal band and elevation, with labels."""
    truth = {"truth": str(data / "truth_2021-08-21_almaz.tif"), "legend": "classes"}
    (found,) = gather([SourceSettings(images=str(data / "synthetic_*.tif"), sensor=str(data / "sensor.toml"), **truth)])
    return found


@pytest.mark.parametrize("terrain", ["derive", "none"])
@pytest.mark.parametrize("reflectances", ["percentiles", "colour"])
def test_bands_are_known_before_any_pixel_is_read(scene, tmp_path, terrain, reflectances):
    settings, scaling = HarmonizeSettings(terrain=terrain), RobustScaling(reflectances=reflectances)
    harmonize_scene(scene, tmp_path / "cube.zarr", "grid/s", settings)
    cube = open_scene(tmp_path / "cube.zarr", "grid/s")({"y": slice(0, 1), "x": slice(0, 1)})
    torch.testing.assert_close(shown_bands(scene, settings, scaling), describe(inputs_of(cube, scaling)), rtol=0, atol=0)


def test_a_forest_of_several_sensors_is_refused_before_any_work(scene):
    both = [scene, replace(scene, id="film", sensor="hexagon-kh9")]
    check_growable(both, HarmonizeSettings(), TrainSettings())
    with pytest.raises(VigieError, match="a forest knows the bands of one sensor; found scenes of hexagon-kh9, "):
        check_growable(both, HarmonizeSettings(), WITH_FOREST)


def test_a_forest_of_too_many_bands_is_refused_before_any_work(scene):
    """Terrain, an anomaly of each thermal band and brightness count, absolute elevation does not."""
    shown = len(shown_bands(scene, HarmonizeSettings(), WITH_FOREST.scaling))
    more = [replace(scene.bands[0], name=f"b{n}") for n in range(MOST_BANDS - shown + 1)]
    wide, wider = (replace(scene, bands=(*scene.bands, *bands)) for bands in (more[1:], more))
    check_growable([wide], HarmonizeSettings(), WITH_FOREST)
    check_growable([wider], HarmonizeSettings(), TrainSettings())
    check_growable([wider], HarmonizeSettings(terrain="none"), WITH_FOREST)
    with pytest.raises(VigieError, match=f"no room for so many bands; found 65 bands in {scene.id}; expected at most 64"):
        check_growable([wider], HarmonizeSettings(), WITH_FOREST)
    check_growable([replace(wider, truth=None)], HarmonizeSettings(), WITH_FOREST)


@pytest.fixture
def trained(scene: Scene, tmp_path: Path) -> Path:
    """A model with a forest that knows the bands of the scene's sensor, and nothing else."""
    forest = build(KIND, len(LEGEND.classes))
    assert isinstance(forest, Forest)
    forest.accept(shown_bands(scene, HarmonizeSettings(), RobustScaling()))
    origin = {"app": "glaciers", "harmonize": {}, "predict": {"patch": 64, "overlap": 16}}
    facts = {"origin": origin, "experiment": "sketch", "sensors": [scene.sensor]}
    Model([forest], [KIND], LEGEND, RobustScaling(), facts=facts).save(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def apply(capsys: pytest.CaptureFixture[str], trained: Path, tmp_path: Path) -> Callable[..., tuple[int | None, str]]:
    def command(*words: object) -> tuple[int | None, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main(["apply", str(trained), *map(str, words), "--out", str(tmp_path / "map")])
        return left.value.code, capsys.readouterr().err

    return command


def test_apply_refuses_bands_that_a_forest_does_not_know_before_they_are_copied(apply, data, tmp_path):
    code, err = apply(data / "kh9_1975-08-20_almaz.tif", "--quiet")
    assert (code, err.count("\n")) == (2, 1)
    assert "vigie: the forest was grown on other bands; found 1 bands; expected the " in err
    assert not (tmp_path / "map").exists()


def test_apply_maps_bands_that_a_forest_knows(apply, data, tmp_path):
    code, err = apply(data / "synthetic_2021-08-21_almaz.tif", "--sensor", data / "sensor.toml")
    assert code is None, err
    assert (tmp_path / "map" / "products" / "report.html").is_file()
