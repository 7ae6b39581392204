"""The glaciers application: what it asks of outlines and settings before work, and what it gives the shared story."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
import xarray as xr
from odc.geo.geobox import GeoBox

from vigie.apps.glaciers import app
from vigie.apps.glaciers.baselines import BASELINES, TITLES
from vigie.apps.glaciers.classes import CLASSES, LEGEND
from vigie.apps.glaciers.histories import Epochs, areas_of, follow
from vigie.apps.glaciers.history.build import build_history
from vigie.apps.glaciers.history.classes import snow_chance
from vigie.apps.glaciers.inventories import Surface, known_outlines, seen_classes
from vigie.apps.glaciers.inventory.build import glacier_inventory
from vigie.apps.glaciers.inventory.deviation import area_deviations
from vigie.apps.glaciers.inventory.strips import held
from vigie.apps.glaciers.report import Findings, cloudiness, glaciers_section, headlines, history_section
from vigie.apps.glaciers.settings import HistorySettings
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
    assert TITLES[name] and TITLES[name] != name
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


def test_the_layer_of_the_outlines_can_be_chosen(images, tmp_path):
    lakes = run_with(images, tmp_path, shapely.affinity.translate(GLACIER, 200_000))
    gpd.GeoDataFrame(geometry=[GLACIER], crs="EPSG:32645").to_file(tmp_path / "outlines.gpkg", layer="glaciers")
    with pytest.raises(
        VigieError, match=r"several layers; found outlines \(Polygon\), glaciers .* with publish\.outlines_layer"
    ):
        perform(app, lakes, ("acquire",))
    content = lakes.experiment.model_dump(mode="json")
    content["publish"]["outlines_layer"] = "glaciers"
    chosen = Run(validate(content, "here")[1], tmp_path / "run", base=tmp_path)
    perform(app, chosen, ("acquire",))
    assert len(known_outlines(chosen, cover((WEST, NORTH - 1920, WEST + 1920, NORTH), "EPSG:32645", 30.0))) == 1
    del content["publish"]["outlines"]
    with pytest.raises(VigieError, match="outlines beside outlines_layer"):
        validate(content, "here")


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


@pytest.mark.parametrize(("clouded", "share"), [(slice(0, 0), 0.0), (slice(0, 15), 0.5), (slice(0, 30), 1.0)])
def test_cloud_is_not_inventoried_as_seen_ground(clouded, share):
    grid = cover((0, 0, 900, 900), "EPSG:32645", 30.0)
    codes, flags = np.zeros(grid.shape, np.uint8), np.zeros(grid.shape, np.uint8)
    codes[5:25, 5:25] = 1
    flags[:, clouded] = 8
    seen, cloud = seen_classes(codes, xr.DataArray(flags, dims=("y", "x")))
    assert cloud == pytest.approx(share)
    glaciers = glacier_inventory(seen, grid, LEGEND).glaciers
    assert glaciers["truncated"].tolist() == {0.0: [False], 0.5: [True], 1.0: []}[share]
    known = gpd.GeoDataFrame(geometry=[shapely.box(200, 200, 700, 700)], crs=32645)
    assert area_deviations(glaciers, known, grid, seen == LEGEND.unknown)["complete"].tolist() == [share == 0.0]
    notes = cloudiness([replace(surface("a", None, grid, ""), cloud=cloud)])
    assert [note.text.split(":")[0] for note in notes] == ([f"Cloud hides ground of a ({share:.1%})"] if share else [])


def seen_on(day: str, name: str, grid: GeoBox, ice: slice) -> Surface:
    """A surface with a square of ice on it, sure of its classes."""
    plain = surface(name, day, grid, "area")
    codes = plain.codes.copy()
    codes[5:25, ice] = 1
    probability = np.full((4, *grid.shape), 0.01, np.float32)
    np.put_along_axis(probability, codes[None].astype(int), 0.97, axis=0)
    return replace(plain, codes=codes, probability=held(probability))


def followed(area: list[Surface], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Epochs:
    flags = xr.Dataset({"flags": (("y", "x"), np.zeros(area[0].grid.shape, np.uint8))})
    monkeypatch.setattr("vigie.apps.glaciers.histories.open_prediction", lambda run, part: flags)
    source = {"images": "none.tif", "sensor": "none"}
    _, experiment = validate({"app": "glaciers", "name": "plain", "acquire": {"sources": [source]}}, "here")
    return follow(Run(experiment, tmp_path / "run"), "area", area, HistorySettings())


def found_on(*surfaces: Surface) -> Findings:
    inventories = [glacier_inventory(s.codes, s.grid, LEGEND, probability=s.probability) for s in surfaces]
    return Findings(surfaces, inventories, [None] * len(surfaces), ())


def test_headlines_count_ground_once_at_its_latest_date():
    grid = cover((0, 0, 900, 900), "EPSG:32645", 30.0)
    old, new = seen_on("1994-09-14", "old", grid, slice(5, 25)), seen_on("2021-08-21", "new", grid, slice(5, 15))
    _, glaciers, lakes, _ = headlines(found_on(new, old))
    assert (glaciers.value, glaciers.note) == ("1", "0.2 km² on 2021-08-21")
    assert (lakes.value, lakes.note) == ("0", "0.00 km² on 2021-08-21")
    other = seen_on("2019-08-25", "other", cover((900, 0, 1800, 900), "EPSG:32645", 30.0), slice(5, 25))
    _, glaciers, *_ = headlines(found_on(old, new, other))
    assert (glaciers.value, glaciers.note) == ("2", "0.5 km² at the latest date of each area (2019 to 2021)")


def test_neighbours_of_one_group_both_count():
    west, east = (cover((x, 0, x + 900, 900), "EPSG:32645", 30.0) for x in (0, 900))
    tiles = [seen_on("2021-08-21", name, grid, slice(5, 25)) for name, grid in (("west", west), ("east", east))]
    _, glaciers, *_ = headlines(found_on(*tiles))
    assert (glaciers.value, glaciers.note) == ("2", "0.7 km² on 2021-08-21")


def test_termini_are_told_in_words():
    grid = cover((0, 0, 900, 900), "EPSG:32645", 30.0)
    (table,) = glaciers_section(found_on(seen_on("2021-08-21", "new", grid, slice(5, 25)))).tables
    (row,) = table.rows
    assert dict(zip((column.label for column in table.columns), row, strict=True))["terminus"] == "not assigned"


def test_a_history_has_the_areas_of_its_inventories(monkeypatch, tmp_path):
    mercator = cover((300_000, 8_399_100, 300_900, 8_400_000), "EPSG:3857", 30.0)
    area = [seen_on(day, day, mercator, slice(5, 25)) for day in ("2001-08-20", "2010-08-20", "2019-08-20")]
    epochs = followed(area, monkeypatch, tmp_path)
    total = epochs.histories["glaciers"].total.set_index("date")
    for day, inventory in epochs.inventories.items():
        assert total.loc[day, "area_km2"] == inventory.glaciers["area_km2"].sum() == pytest.approx(0.36 / 4, rel=0.02)
        assert total.loc[day, "area_err_km2"] == pytest.approx(inventory.glaciers["area_err_km2"].iloc[0])


@pytest.mark.parametrize("hidden", ["shown as land", "unseen"])
def test_what_its_own_map_does_not_show_is_inferred(hidden, monkeypatch, tmp_path):
    grid = cover((0, 0, 900, 900), "EPSG:32645", 30.0)
    film = surface("1975-08-20", "1975-08-20", grid, "area")
    film = replace(film, probability=held(np.broadcast_to(np.float32([0.55, 0.25, 0.12, 0.08])[:, None, None], (4, 30, 30))))
    if hidden == "unseen":
        film = replace(film, codes=np.full_like(film.codes, LEGEND.unknown))
    years = [f"{year}-08-20" for year in (1994, 2003, 2012, 2021)]
    history = followed([film, *(seen_on(day, day, grid, slice(5, 25)) for day in years)], monkeypatch, tmp_path)
    for table in (history.histories["glaciers"].total, history.histories["glaciers"].objects):
        assert table["status"].tolist() == ["inferred", *4 * ["observed"]]
        assert table["area_km2"][0] == pytest.approx(0.36, rel=0.01) and table["shown"].tolist() == [0, 1, 1, 1, 1]
        assert table["area_err_km2"][0] > 3 * table["area_err_km2"][1]
    notes = [note.text for note in history_section(history).notes]
    assert notes == ["Area of glaciers is inferred, not observed, at 1975-08-20."]


def test_inventories_name_the_dem_that_they_were_computed_from(monkeypatch, tmp_path):
    grid = cover((0, 0, 900, 900), "EPSG:32645", 30.0)
    old, new = seen_on("1994-09-14", "old", grid, slice(5, 25)), seen_on("2021-08-21", "new", grid, slice(5, 15))
    high = replace(old, elevation_m=np.full(grid.shape, 5000, np.float32), dem_source="dem.tif")
    epochs = followed([high, new], monkeypatch, tmp_path)
    for inventory in epochs.inventories.values():
        assert set(inventory.glaciers["dem_source"]) == {inventory.settings.dem_source} == {"dem.tif"}
    for inventory in followed([old, new], monkeypatch, tmp_path).inventories.values():
        assert inventory.glaciers["dem_source"].isna().all()
        assert inventory.settings.dem_source is None


def test_guesses_of_one_date_err_together():
    lakes = gpd.GeoDataFrame(
        {"area_km2": [1.0, 1.0], "area_err_km2": 0.1, "shown": 0.0, "guess_err_km2": 0.4},
        geometry=[shapely.box(0, 0, 1000, 1000), shapely.box(5000, 0, 6000, 1000)],
        crs=32645,
    )
    history = build_history({date(1975, 8, 20): lakes}, pixel_m=30.0)
    assert history.outlines["area_err_km2"].tolist() == pytest.approx(2 * [np.hypot(0.1, 0.4)])
    assert history.total["area_err_km2"][0] == pytest.approx(np.hypot(0.1 * np.sqrt(2), 0.8))


def test_two_maps_of_one_day_share_an_inventory(monkeypatch, tmp_path):
    grid = cover((0, 0, 900, 900), "EPSG:32645", 30.0)
    days = (("2001-08-20", "a", slice(5, 15)), ("2001-08-20", "b", slice(5, 25)), ("2019-08-20", "c", slice(5, 25)))
    area = [seen_on(day, name, grid, ice) for day, name, ice in days]
    hidden = area[0].codes.copy()
    hidden[:, 15:] = LEGEND.unknown
    area[0] = replace(area[0], codes=hidden)
    for order in (area, [area[1], area[0], area[2]]):
        epochs = followed(order, monkeypatch, tmp_path)
        assert [str(day) for day in epochs.inventories] == ["2001-08-20", "2019-08-20"]
        assert np.array_equal(*epochs.consistent["map"].values[:2])
        first, last = (inventory.glaciers["area_km2"].sum() for inventory in epochs.inventories.values())
        assert first == last == pytest.approx(0.36, rel=0.01)
        assert set(next(iter(epochs.inventories.values())).settings.source.split(", ")) == {"a", "b"}
        assert "3 maps of 2 days" in history_section(epochs).text


def test_the_snow_season_is_that_of_the_hemisphere(monkeypatch, tmp_path):
    days = []
    monkeypatch.setattr(
        "vigie.apps.glaciers.histories.snow_chance",
        lambda times, day, *snow: days.append(day) or snow_chance(times, day, *snow),
    )
    for crs, north in (("EPSG:32645", 3_100_000), ("EPSG:32719", 6_300_000)):
        grid = cover((500_000, north - 900, 500_900, north), crs, 30.0)
        followed([seen_on(f"{year}-02-20", str(year), grid, slice(5, 25)) for year in (2001, 2010)], monkeypatch, tmp_path)
    assert days == [235, 52]
