"""The glaciers application: what it asks of outlines and settings before work, and what it gives the shared story."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from odc.geo.geobox import GeoBox

from vigie.apps.glaciers import app
from vigie.apps.glaciers.baselines import BASELINES
from vigie.apps.glaciers.classes import CLASSES, LEGEND
from vigie.apps.glaciers.histories import areas_of
from vigie.apps.glaciers.inventories import Surface, known_outlines
from vigie.apps.glaciers.inventory.build import glacier_inventory
from vigie.apps.glaciers.inventory.strips import held
from vigie.core.errors import VigieError
from vigie.core.grid import cover
from vigie.core.scene import Scene
from vigie.story.app import Stage, perform
from vigie.story.reading import validate
from vigie.story.run import STAGES, Run
from vigie.story.scenes import Part
from vigie.synthetic.files import sensor_file, write_multispectral
from vigie.synthetic.glaciers import Area

WEST, NORTH = 450_000.0, 3_100_000.0
GLACIER = shapely.box(WEST + 300, NORTH - 1500, WEST + 1500, NORTH - 300)
CROSSED = shapely.Polygon([(WEST + dx, NORTH - dy) for dx, dy in ((0, 0), (900, 900), (900, 0), (0, 900))])


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_multispectral(folder, Area("almaz", seed=3, size=64), "2021-08-21")
    shutil.copy(sensor_file(), folder / "sensor.toml")
    return folder


def run_with(images: Path, out: Path, *shapes: shapely.Geometry | None, crs: str = "EPSG:32645") -> Run:
    """A run that is given outlines."""
    gpd.GeoDataFrame(geometry=list(shapes), crs=crs).to_file(out / "outlines.gpkg")
    source = {"images": str(images / "synthetic_*.tif"), "sensor": str(images / "sensor.toml")}
    content = {"app": "glaciers", "name": "outlined", "acquire": {"sources": [source]}}
    return Run(validate({**content, "publish": {"outlines": "outlines.gpkg"}}, "here")[1], out / "run", base=out)


def test_it_fills_every_stage():
    assert [name for name in STAGES if not callable(app.stage(name))] == []
    assert app.legend == LEGEND
    stage: Stage = app.stage("publish")
    assert stage is app.publish


@pytest.mark.parametrize("name", CLASSES.labels)
def test_every_label_legend_stands_for_classes_of_the_map(name):
    matrix = CLASSES.label(name).matrix(LEGEND)
    assert matrix.shape == (len(CLASSES.label(name).names), 4)
    assert np.array_equal(matrix.sum(axis=0), np.ones(4))


@pytest.mark.parametrize("name", BASELINES)
def test_every_reference_method_can_be_made(name):
    method = BASELINES[name](CLASSES.label("lake-or-not"))
    assert callable(method.fit)


def test_outlines_that_serve_are_read_and_their_repairs_told(images, tmp_path, caplog):
    run = run_with(images, tmp_path, shapely.force_3d(GLACIER, 5000.0), CROSSED, None)
    with caplog.at_level(logging.INFO, "vigie"):
        perform(app, run, ("acquire",))
    told = [line for line in caplog.messages if line.startswith("outlines:")]
    assert len(told) == 2
    assert any("1 of 3" in line and "repaired (Self-intersection), +" in line for line in told)
    assert any("1 of 3" in line and "dropped (no geometry)" in line for line in told)
    near = known_outlines(run, cover((WEST, NORTH - 1920, WEST + 1920, NORTH), "EPSG:32645", 30.0))
    assert len(near) == 2
    assert near.is_valid.all()
    assert not near.has_z.any()
    assert known_outlines(run, cover((WEST + 50_000, NORTH - 1920, WEST + 52_000, NORTH), "EPSG:32645", 30.0)) is None


def test_outlines_of_another_place_are_refused_before_work(images, tmp_path):
    run = run_with(images, tmp_path, shapely.affinity.translate(GLACIER, 200_000))
    with pytest.raises(VigieError, match="touch none of the images; found outlines at lon/lat 88"):
        perform(app, run, ("acquire",))
    assert not run.done("acquire")


def test_outlines_that_are_missing_or_empty_are_refused_before_work(images, tmp_path):
    run = run_with(images, tmp_path, shapely.LineString([(WEST, NORTH), (WEST + 900, NORTH - 900)]))
    with pytest.raises(VigieError, match="no polygon in"):
        perform(app, run, ("acquire",))
    (tmp_path / "outlines.gpkg").unlink()
    with pytest.raises(VigieError, match=r"outlines\.gpkg does not exist"):
        perform(app, run, ("acquire",))


def test_without_outlines_nothing_is_asked(images, tmp_path):
    source = {"images": str(images / "synthetic_*.tif"), "sensor": str(images / "sensor.toml")}
    _, experiment = validate({"app": "glaciers", "name": "plain", "acquire": {"sources": [source]}}, "here")
    run = Run(experiment, tmp_path / "run")
    perform(app, run, ("acquire",))
    assert run.done("acquire")
    assert known_outlines(run, cover((0, 0, 90, 90), "EPSG:32645", 30.0)) is None


def surface(name: str, date: str | None, grid: GeoBox, group: str) -> Surface:
    sizes = {"y": slice(0, grid.shape[0]), "x": slice(0, grid.shape[1])}
    scene = Scene(name, "sensor", date, (), "EPSG:32645", tuple(grid.affine)[:6], grid.shape, {}, group=group)
    codes = np.zeros(grid.shape, dtype=np.uint8)
    return Surface(Part(name, name, sizes, 0), scene, grid, codes, held(np.full((4, *grid.shape), 0.25, np.float32)), None)


def test_areas_of_one_group_have_histories_of_their_own():
    fine, coarse = (cover((0, 0, 900, 900), "EPSG:32645", gsd_m) for gsd_m in (30.0, 90.0))
    seen = [
        surface("late", "2021-08-21", fine, "almaz"),
        surface("early", "1994-09-14", fine, "almaz"),
        surface("film-1", "1975-08-20", coarse, "almaz"),
        surface("film-2", "1976-08-20", coarse, "almaz"),
        surface("undated", None, fine, "almaz"),
        surface("alone", "2021-08-21", cover((0, 0, 300, 300), "EPSG:32645", 30.0), "burhan"),
    ]
    areas = {name: [s.scene.id for s in area] for name, area in areas_of(seen).items()}
    assert areas == {"early": ["early", "late"], "film-1": ["film-1", "film-2"]}
    assert list(areas_of(seen[:2])) == ["almaz"]
    nameless = [surface("b", "2021-08-21", fine, ""), surface("a", "1994-09-14", fine, "")]
    assert list(areas_of(nameless)) == ["a"]


def test_a_map_without_glaciers_has_an_inventory():
    grid = cover((0, 0, 900, 600), "EPSG:32645", 30.0)
    seen = surface("plain", "2021-08-21", grid, "")
    found = glacier_inventory(seen.codes, grid, LEGEND, probability=seen.probability)
    assert (len(found.glaciers), len(found.complexes), len(found.lakes)) == (0, 0, 0)
    assert "area_mean_km2" in found.glaciers
