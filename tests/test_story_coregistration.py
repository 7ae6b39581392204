"""Scenes moved onto a reference before they are written: a known shift comes back, is recorded, is refused when doubtful."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from scipy.ndimage import map_coordinates

from vigie.acquire.sources import SourceSettings, gather
from vigie.core.errors import VigieError
from vigie.core.scene import Scene
from vigie.harmonize.cube import open_scene
from vigie.learn.folds import NEVER
from vigie.story.app import find_app, perform
from vigie.story.coregistration import CoregisterPlan, measured_move, references, shared_grid
from vigie.story.products import part_provenance
from vigie.story.reading import validate
from vigie.story.run import Run
from vigie.story.scenes import Part, catalogued, fold_name
from vigie.story.settings import HarmonizeStageSettings
from vigie.synthetic.files import sensor_file, write_film, write_multispectral
from vigie.synthetic.glaciers import Area

GSD_M = 30.0
AREA = Area("almaz", seed=3, size=192, gsd_m=GSD_M)
REFERENCE, LATER, FILM = "synthetic_2021-08-21_almaz", "synthetic_2003-08-30_almaz", "kh9_1975-08-20_almaz"
WRONG_BY = {LATER: (17.3, -8.9), FILM: (-71.5, 44.2)}
"""Metres (x, y) that the files say their images lie beside the truth: not whole pixels."""
PLAN = CoregisterPlan(reference=REFERENCE, side=64)
SETTINGS = HarmonizeStageSettings(coregister=PLAN)


def misplace(path: Path, by_m: tuple[float, float]) -> None:
    with rasterio.open(path, "r+") as image:
        image.transform = Affine.translation(*by_m) @ image.transform


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good scene, one of another year and a film that lie beside it, and a scene elsewhere."""
    folder = tmp_path_factory.mktemp("images")
    for date in ("2021-08-21", "2003-08-30"):
        write_multispectral(folder, AREA, date)
    write_film(folder, AREA, "1975-08-20")
    write_multispectral(folder, Area("burhan", seed=29, size=96, west=480_000.0), "2021-08-21")
    for name, by_m in WRONG_BY.items():
        misplace(folder / f"{name}.tif", by_m)
    shutil.copy(sensor_file(), folder / "sensor.toml")
    return folder


def sources(folder: Path) -> list[dict[str, str]]:
    satellite = {"images": str(folder / "synthetic_*.tif"), "sensor": str(folder / "sensor.toml")}
    return [satellite, {"images": str(folder / "kh9_*.tif"), "sensor": "hexagon-kh9"}]


@pytest.fixture(scope="module")
def scenes(folder: Path) -> dict[str, Scene]:
    return {scene.id: scene for scene in gather([SourceSettings(**source) for source in sources(folder)])}


def run_of(folder: Path, out: Path, **plan: object) -> Run:
    content = {"app": "glaciers", "name": "moved", "acquire": {"sources": sources(folder)}}
    content["harmonize"] = {"coregister": {"reference": REFERENCE, "side": 64, **plan}}
    return Run(validate(content, "here")[1], out)


@pytest.fixture(scope="module")
def moved(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = run_of(folder, tmp_path_factory.mktemp("run"))
    perform(find_app("glaciers"), run, ("acquire", "harmonize"))
    return run


@pytest.mark.parametrize("name", WRONG_BY)
def test_the_known_shift_comes_back_and_is_recorded(moved, name):
    node = open_scene(moved.artefact("harmonize"), f"grid/{name}").dataset
    record = json.loads(node.attrs["coregistration"])
    assert record["reference"] == REFERENCE
    assert np.hypot(record["dx_m"] + WRONG_BY[name][0], record["dy_m"] + WRONG_BY[name][1]) < 0.15 * GSD_M
    assert record["quality"] > 0.5
    assert record["n"] >= 4


def test_products_carry_the_shift(moved):
    (scene,) = [scene for scene in catalogued(moved) if scene.id == FILM]
    part = Part(FILM, FILM, {"y": slice(0, 192), "x": slice(0, 192)}, NEVER)
    card = moved.artefact("train") / fold_name(NEVER) / "card.json"
    card.parent.mkdir(parents=True)
    card.write_text("{}")
    record = part_provenance(moved, part)
    shutil.rmtree(moved.artefact("train"))
    assert record["inputs"][0]["id"] == scene.id
    assert record["coregistration"][FILM]["reference"] == REFERENCE


def test_images_lie_on_the_reference_afterwards(folder, scenes, moved):
    """The moved image, read where the reference has its pixels, is nearer to the unmoved truth than before."""

    def gap(image: np.ndarray, truth: np.ndarray) -> float:
        inside = slice(16, -16), slice(16, -16)
        return float(np.nanmean(np.abs(image[inside] - truth[inside])))

    truth = AREA.reflectance(2003.0, season=8)[0][2]
    with rasterio.open(folder / f"{LATER}.tif") as file:
        as_it_was = file.read(3) * 1e-4
    reader = open_scene(moved.artefact("harmonize"), f"grid/{LATER}")
    red = reader({"y": slice(0, 192), "x": slice(0, 192)})["observation"].sel(band="red").values
    dx, dy = (by / GSD_M for by in WRONG_BY[LATER])
    rows, columns = np.mgrid[:192, :192]
    expected = map_coordinates(truth, [rows - dy, columns + dx], order=1, mode="nearest")
    assert gap(red, expected) < 0.5 * gap(as_it_was, expected)


def test_the_reference_and_scenes_elsewhere_stay(moved):
    for name in (REFERENCE, "synthetic_2021-08-21_burhan"):
        assert "coregistration" not in open_scene(moved.artefact("harmonize"), f"grid/{name}").dataset.attrs


def test_shifts_are_told(folder, tmp_path, caplog):
    run = run_of(folder, tmp_path, scenes=[LATER])
    with caplog.at_level(logging.INFO, "vigie"):
        perform(find_app("glaciers"), run, ("acquire", "harmonize"))
    (line,) = [line for line in caplog.messages if " moved " in line]
    assert line.startswith(f"harmonize: {LATER} moved -1")
    assert f"onto {REFERENCE}" in line
    assert "windows agree" in line
    assert "harmonize: 3 scenes not moved: " in caplog.text


def test_a_doubtful_shift_is_refused_before_anything_is_written(folder, tmp_path):
    run = run_of(folder, tmp_path, peak=50.0)
    perform(find_app("glaciers"), run, ("acquire",))
    with pytest.raises(VigieError, match=r"cannot be moved onto .*windows do not agree on a shift; found 0 of"):
        perform(find_app("glaciers"), run, ("harmonize",))
    assert not run.artefact("harmonize").exists()


def test_a_shift_beyond_the_limit_is_refused(scenes):
    plan = PLAN.model_copy(update={"limit_m": 5.0})
    with pytest.raises(VigieError, match="further apart than co-registration believes"):
        measured_move(scenes[FILM], scenes[REFERENCE], SETTINGS, plan)


def test_first_in_group_is_the_first_of_each_group(scenes):
    chosen = references(list(scenes.values()), SETTINGS, CoregisterPlan())
    first = next(scene for scene in scenes.values() if scene.group == scenes[FILM].group)
    assert {other.id for other in chosen.values()} == {first.id}
    assert set(chosen) == {REFERENCE, LATER, FILM} - {first.id}


def test_references_are_chosen_on_the_grid_that_is_asked_for(scenes):
    """Images in degrees are brought into metres by the grid's CRS; without it they are refused."""
    degrees = {"crs": "EPSG:4326", "transform": (3e-4, 0.0, 86.5, 0.0, -3e-4, 28.0)}
    both = [replace(scenes[name], **degrees) for name in (REFERENCE, LATER)]
    settings = HarmonizeStageSettings(grid={"crs": "EPSG:32645", "resolution_m": GSD_M})
    assert set(references(both, settings, PLAN)) == {LATER}


def test_an_unknown_reference_is_refused(scenes):
    with pytest.raises(VigieError, match="did you mean 'synthetic_2021-08-21_almaz'"):
        references(list(scenes.values()), SETTINGS, CoregisterPlan(reference="synthetic_2021-08-21_alma"))
    with pytest.raises(VigieError, match="no scene is to be moved"):
        references(list(scenes.values()), SETTINGS, CoregisterPlan(scenes=("corona*",)))


def test_scenes_without_a_common_kind_of_band_are_refused(scenes):
    with pytest.raises(VigieError, match="none of the bands to co-register with; found pan; expected one of nir"):
        measured_move(scenes[FILM], scenes[REFERENCE], SETTINGS, CoregisterPlan(bands=("nir",)))


def test_shifts_are_measured_on_the_ground_that_scenes_share(scenes):
    own = shared_grid(scenes[LATER], scenes[REFERENCE], SETTINGS, GSD_M)
    assert own.resolution.x == GSD_M
    assert own.shape == (192, 191)
    coarse = shared_grid(scenes[LATER], scenes[REFERENCE], SETTINGS, 100.0)
    assert coarse.resolution.x == 100.0
    assert coarse.affine.c % 100 == 0
