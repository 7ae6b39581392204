"""From what an experiment says to scenes with labels, elevation and groups; and the real glacier samples."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from pydantic import ValidationError
from pyproj import Transformer
from rasterio.transform import Affine
from shapely.geometry import GeometryCollection, LineString, Point, box, shape

from vigie.acquire.catalog import catalog_hash, read_catalog, write_catalog
from vigie.acquire.sources import SourceSettings, gather
from vigie.acquire.truth import counterpart
from vigie.core.errors import VigieError

CHIPS = "glaciers/s2_debris_chips_everest_sikkim"
KH9 = "glaciers/kh9_iceland/kh9_1980-08-22"
L7 = "glaciers/everest_landsat7"


def write(path: Path, count: int = 1, origin=(478000.0, 3108140.0), crs: str = "EPSG:32645", gsd: float = 10.0, value: int = 1):
    path.parent.mkdir(parents=True, exist_ok=True)
    layout = {"transform": Affine(gsd, 0, origin[0], 0, -gsd, origin[1]), "crs": crs, "dtype": "uint8"}
    with rasterio.open(path, "w", driver="GTiff", count=count, height=20, width=20, **layout) as target:
        target.write(np.full((count, 20, 20), value, "uint8"))
    return path


@pytest.fixture
def chips(tmp_path):
    """Two chips 3 km apart with their labels, and a mask that looks like an image."""
    for number, east in ((3, 478000.0), (12, 481200.0)):
        write(tmp_path / f"chips/image{number}.tif", 9, (east, 3108140.0))
        write(tmp_path / f"chips/label{number}.tif", 1, (east, 3108140.0))
    return tmp_path


def source(**said) -> SourceSettings:
    return SourceSettings(**{"images": "chips/image*.tif", "sensor": "everest-debris-chip", **said})


def test_stars_pair_images_with_labels(chips):
    scenes = gather([source(truth="chips/label*.tif", legend="debris or not", region="Everest")], chips)
    assert [(s.id, Path(s.truth.href).name) for s in scenes] == [("image3", "label3.tif"), ("image12", "label12.tif")]
    assert {(s.truth.legend, s.truth.burn, s.region) for s in scenes} == {("debris or not", None, "Everest")}
    assert all(scene.truth.href in scene.sha256 for scene in scenes)


def test_labels_that_match_the_images_pattern_are_no_images(chips):
    for name in ("a", "b"):
        write(chips / f"film/{name}.tif")
        write(chips / f"film/{name}_mask.tif")
    said = SourceSettings(images="film/*.tif", sensor="hexagon-kh9", truth="film/*_mask.tif", legend="ice")
    assert [(s.id, Path(s.truth.href).name) for s in gather([said], chips)] == [("a", "a_mask.tif"), ("b", "b_mask.tif")]


def test_scene_names_and_folders_pair_too(chips):
    scenes = gather([source(truth="chips/label3.tif", legend="x", images="chips/image3.tif")], chips)
    assert scenes[0].truth.href.endswith("label3.tif")
    write(chips / "labels/image3.tif")
    (scene,) = gather([source(images="chips/image3.tif", truth="labels/{scene}.tif", legend="x")], chips)
    assert scene.truth.href.endswith("labels/image3.tif")


def test_vector_labels_are_burnt(chips):
    outline = gpd.GeoDataFrame(geometry=[box(478000, 3107940, 478100, 3108140)], crs="EPSG:32645").to_crs(4326)
    outline.to_file(chips / "glaciers.shp")
    (scene,) = gather(
        [source(images="chips/image3.tif", truth="glaciers.shp", legend="ice", burn=1, epoch="2010-04-09")], chips
    )
    assert (scene.truth.burn, scene.truth.epoch) == (1, "2010-04-09")
    assert {Path(href).suffix for href in scene.sha256} == {".tif", ".shp", ".shx", ".dbf", ".prj", ".cpg"}


def test_labels_that_cannot_serve_are_refused(chips):
    gpd.GeoDataFrame(geometry=[Point(0, 0).buffer(1)], crs="EPSG:4326").to_file(chips / "far.gpkg")
    gpd.GeoDataFrame(geometry=[Point(0, 0).buffer(1)], crs="EPSG:4326").to_file(chips / "nowhere.shp")
    (chips / "nowhere.prj").unlink()
    (chips / "broken.gpkg").write_bytes(b"no layer")
    one = {"images": "chips/image3.tif", "legend": "ice"}
    for said, says in [
        ({"truth": "far.gpkg", "burn": 1}, "do not touch the image"),
        ({"truth": "nowhere.shp", "burn": 1}, "no CRS"),
        ({"truth": "broken.gpkg", "burn": 1}, "cannot be read as a vector layer"),
        ({"truth": "far.gpkg"}, "'burn' is missing"),
        ({"truth": "chips/label3.tif", "burn": 1}, "given for a raster"),
        ({"truth": "chips/label4.tif"}, "does not exist"),
        ({"truth": "chips/label12.tif"}, "do not touch the image"),
    ]:
        with pytest.raises(VigieError, match=says):
            gather([source(**one, **said)], chips)


@pytest.mark.parametrize("name", ["ice.parquet", "ice.geoparquet"])
def test_geoparquet_labels_serve(chips, name):
    field = GeometryCollection([box(478000, 3107940, 478100, 3108140), Point(478000, 3108000)])
    gpd.GeoDataFrame(geometry=[field], crs="EPSG:32645").to_parquet(chips / name)
    (scene,) = gather([source(images="chips/image3.tif", truth=name, legend="ice", burn=1)], chips)
    assert scene.truth.href.endswith(name) and scene.truth.href in scene.sha256
    (chips / name).write_bytes(b"no table")
    with pytest.raises(VigieError, match="cannot be read as a vector layer"):
        gather([source(images="chips/image3.tif", truth=name, legend="ice", burn=1)], chips)


def test_a_shapefile_that_is_cut_off_is_refused(chips):
    fields = [box(478000 + i, 3107940, 478100, 3108140) for i in range(20)]
    gpd.GeoDataFrame(geometry=fields, crs="EPSG:32645").to_file(chips / "ice.shp")
    said = {"images": "chips/image3.tif", "truth": "ice.shp", "legend": "ice", "burn": 1}
    assert gather([source(**said)], chips)[0].truth.href.endswith("ice.shp")
    whole = (chips / "ice.shp").read_bytes()
    (chips / "ice.shp").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(VigieError, match=rf"ice\.shp is cut off; found {len(whole) // 2} bytes; expected {len(whole)} bytes"):
        gather([source(**said)], chips)


def test_outlines_on_a_building_site_are_refused(chips):
    site = 'LOCAL_CS["building site",UNIT["metre",1],AXIS["x",EAST],AXIS["y",NORTH]]'
    gpd.GeoDataFrame(geometry=[box(478000, 3107940, 478100, 3108140)], crs=site).to_file(chips / "ice.gpkg")
    with pytest.raises(VigieError, match=r"has a CRS without a place on the Earth; found .*building site"):
        gather([source(images="chips/image3.tif", truth="ice.gpkg", legend="ice", burn=1)], chips)


def test_the_layer_with_polygons_is_taken_and_several_are_refused(chips):
    field, path = box(478000, 3107940, 478100, 3108140), chips / "ice.gpkg"
    gpd.GeoDataFrame(geometry=[LineString([(478000, 3108000), (478100, 3108000)])], crs="EPSG:32645").to_file(
        path, layer="lines"
    )
    said = {"images": "chips/image3.tif", "truth": "ice.gpkg", "legend": "ice", "burn": 1}
    gpd.GeoDataFrame(geometry=[field], crs="EPSG:32645").to_file(path, layer="fields")
    (scene,) = gather([source(**said)], chips)
    assert scene.truth.href.endswith("ice.gpkg|layername=fields")
    moved = replace(scene, truth=replace(scene.truth, href=scene.truth.href.replace("fields", "others")))
    assert catalog_hash([scene]) != catalog_hash([moved])
    gpd.GeoDataFrame(geometry=[field], crs="EPSG:32645").to_file(path, layer="lakes")
    with pytest.raises(VigieError, match=r"several layers; found .*fields \(Polygon\).*say which with `layer` in the source"):
        gather([source(**said)], chips)
    assert gather([source(**said, layer="lakes")], chips)[0].truth.href.endswith("|layername=lakes")
    with pytest.raises(VigieError, match=r"no layer 'lake'.*did you mean 'lakes'"):
        gather([source(**said, layer="lake")], chips)


def test_codes_of_label_rasters_are_checked_and_nodata_is_told(chips, caplog):
    with rasterio.open(chips / "chips/label3.tif") as old:
        profile = old.profile
    said = [source(images="chips/image3.tif", truth="codes.tif", legend="ice")]
    codes = np.ones((1, 20, 20), "float32")
    for hole, nodata, good in [(np.nan, None, True), (-9999, -9999, True), (-9999, None, False), (0.5, None, False)]:
        codes[0, 3, 4] = hole
        with rasterio.open(chips / "codes.tif", "w", **{**profile, "dtype": "float32", "nodata": nodata}) as target:
            target.write(codes)
        if good:
            with caplog.at_level("INFO", "vigie"):
                assert gather(said, chips)[0].truth
        else:
            with pytest.raises(VigieError, match="are no codes"):
                gather(said, chips)
    assert caplog.text.count("-9999 is declared nodata and means unknown") == 1


def test_a_missing_label_of_one_image_is_named(chips):
    (chips / "chips/label12.tif").unlink()
    with pytest.raises(VigieError, match=r"label12\.tif does not exist"):
        gather([source(truth="chips/label*.tif", legend="x")], chips)


def test_patterns_that_do_not_correspond():
    assert counterpart("/d/a/b1_x.tif", "*/b*_x.tif", "l/*/m*.tif") == "l/a/m1.tif"
    assert counterpart("/d/a/image3.tif", "**/image*.tif", "l*.tif") == "l3.tif"
    assert counterpart("/d/b7/image3.tif", "b?/im*[!4].ti?", "label*.tif") == "labelage.tif"
    with pytest.raises(VigieError, match="do not correspond"):
        counterpart("/d/image3.tif", "image3.tif", "label*.tif")


def test_dem_becomes_a_band(chips):
    write(chips / "dem.tif", crs="EPSG:4326", origin=(86.7, 28.2), gsd=0.02)
    write(chips / "film.tif")
    film = {"images": "film.tif", "sensor": "hexagon-kh9"}
    (scene,) = gather([SourceSettings(**film, dem="dem.tif")], chips)
    assert [(b.name, b.kind, b.units) for b in scene.bands] == [("pan", "pan", "DN"), ("elevation", "terrain", "m")]
    assert (scene.crs, scene.transform[0]) == ("EPSG:32645", 10)
    with pytest.raises(VigieError, match="has elevation already"):
        gather([source(dem="dem.tif")], chips)
    write(chips / "far.tif", crs="EPSG:4326", origin=(0, 0), gsd=0.02)
    with pytest.raises(VigieError, match="does not touch scene"):
        gather([SourceSettings(**film, dem="far.tif")], chips)


def test_elevation_of_any_scale_and_unit_is_in_metres(chips):
    write(chips / "film.tif")
    write(chips / "dem.tif")
    said = [SourceSettings(images="film.tif", sensor="hexagon-kh9", dem="dem.tif")]
    for unit, factor in {"": 1, "Metre": 1, "ft": 0.3048, "US survey foot": 1200 / 3937}.items():
        with rasterio.open(chips / "dem.tif", "r+") as target:
            target.scales, target.offsets, target.units = (0.1,), (500.0,), (unit,)
        band = gather(said, chips)[0].bands[-1]
        assert (band.scale, band.offset, band.units) == (pytest.approx(0.1 * factor), pytest.approx(500 * factor), "m")
    with rasterio.open(chips / "dem.tif", "r+") as target:
        target.units = ("fathom",)
    with pytest.raises(VigieError, match=r"unit of elevations in .*dem\.tif is unknown; found fathom"):
        gather(said, chips)


def test_home_is_understood_everywhere(chips, monkeypatch):
    monkeypatch.setenv("HOME", str(chips))
    write(chips / "dem.tif")
    said = {"images": "~/chips/label*.tif", "sensor": "hexagon-kh9", "truth": "~/chips/image*.tif", "legend": "x"}
    write(chips / "chips/label12.tif", origin=(478000.0, 3108140.0))
    write(chips / "chips/image12.tif", origin=(478000.0, 3108140.0))
    scenes = gather([SourceSettings(**said, dem="~/dem.tif")], Path("/"))
    assert [Path(s.truth.href).name for s in scenes] == ["image3.tif", "image12.tif"]
    assert {Path(s.bands[-1].href).name for s in scenes} == {"dem.tif"}
    with pytest.raises(VigieError, match="names a home that is not there"):
        gather([SourceSettings(**said, dem="~nobody-at-all/dem.tif")], Path("/"))


def test_scenes_on_both_sides_of_longitude_180_are_one_group(tmp_path):
    x, y = Transformer.from_crs("EPSG:4326", "EPSG:32660", always_xy=True).transform(180.0, 71.0)
    write(tmp_path / "west.tif", crs="EPSG:32660", origin=(x - 620, y), gsd=20)
    write(tmp_path / "east.tif", crs="EPSG:32660", origin=(x + 220, y), gsd=20)
    scenes = gather([SourceSettings(images="*.tif", sensor="hexagon-kh9")], tmp_path)
    east, west = (shape(scene.footprint).bounds for scene in scenes)
    assert west[2] > 179 and east[0] < -179
    assert {scene.group for scene in scenes} == {"east"}


CLOUDY = """
name = "cloudy"
title = "An invented camera"
source = "this test"
bands = [{ name = "red", kind = "reflectance", units = "1", nodata = 0 }]
[[products]]
name = "any"
id = 'c[0-9]'
pattern = '{id}\\.tif'
files = [{ bands = ["red"] }]
masks = [{ index = 2, bits = { cloud = [0] }, values = { nodata = [8] } }]
"""


def test_a_scene_of_nothing_but_cloud_takes_no_part(tmp_path, caplog):
    (tmp_path / "cloudy.toml").write_text(CLOUDY)
    for name in ("c1", "c2", "c3"):
        write(tmp_path / f"{name}.tif", 2, value=9)
    with rasterio.open(tmp_path / "c1.tif", "r+") as target:
        pixels = target.read()
        pixels[0, :5], pixels[1, :5], pixels[1, 5] = 0, 0, 8
        target.write(pixels)
    with rasterio.open(tmp_path / "c3.tif", "r+") as target:
        pixels[1, 19, 19] = 4
        target.write(pixels)
    said = {"sensor": "cloudy.toml"}
    with caplog.at_level("INFO", "vigie"):
        assert [s.id for s in gather([SourceSettings(images="c*.tif", **said)], tmp_path)] == ["c3"]
    assert caplog.messages == [
        f"acquire: scene '{name}' is left out: its masks show cloud and no clear pixel" for name in ("c1", "c2")
    ]
    with pytest.raises(VigieError, match=r"no scene has a clear pixel; found .* in c1"):
        gather([SourceSettings(images="c1.tif", **said)], tmp_path)


def test_scenes_closer_than_a_kilometre_are_one_group(chips):
    write(chips / "chips/image40.tif", 9, (478000.0 + 200 + 700, 3108140.0))
    groups = {scene.id: scene.group for scene in gather([source()], chips)}
    assert groups == {"image3": "image3", "image40": "image3", "image12": "image12"}
    named = gather([source(group="{scene}")], chips)
    assert {scene.group for scene in named} == {"image3", "image12", "image40"}
    assert {scene.group for scene in gather([source(group="all")], chips)} == {"all"}


def test_the_same_name_twice_is_refused(chips):
    with pytest.raises(VigieError, match="same name; found image12, image3"):
        gather([source(), source()], chips)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"images": "a.tif", "stac": {"url": "x"}},
        {"images": "a.tif", "truth": "b.tif"},
        {"images": "a.tif", "legend": "x"},
        {"images": "a.tif", "burn": 1},
        {"images": "a.tif", "layer": "ice"},
        {"images": "a.tif", "truth": "b.tif", "legend": "x", "layer": "ice"},
        {"images": "a.tif", "sensr": "x"},
        {"images": "a.tif", "truth": "b.gpkg", "legend": "x", "burn": 255},
        {"stac": {"url": "x"}, "truth": "l*.tif", "legend": "x"},
        {"stac": {"url": "x"}, "date": "2020-01-01"},
    ],
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        SourceSettings(**wrong)


def test_dates_from_toml_and_text():
    assert SourceSettings(images="a.tif", date=dt.date(1980, 8, 22)).date == "1980-08-22"
    assert SourceSettings(images="a.tif", date=dt.datetime(1980, 8, 22, 12)).date == "1980-08-22T12:00:00Z"
    assert SourceSettings(images=["a.tif", "b.tif"], date="1980-08-22").images == ("a.tif", "b.tif")


# --- real samples -----------------------------------------------------------------------------------------------------


@pytest.fixture
def real(samples, monkeypatch):
    monkeypatch.setenv("VIGIE_SAMPLES", str(samples))
    return [
        SourceSettings(
            images=f"sample:{CHIPS}/image*.tif", truth=f"sample:{CHIPS}/label*.tif", legend="debris", region="Everest"
        ),
        SourceSettings(
            images=f"sample:{L7}/LE7*.tif", sensor="everest-landsat7", truth=f"sample:{L7}/label_3class_30m.tif", legend="three"
        ),
        SourceSettings(images=f"sample:{KH9}_*.tif", truth=f"sample:{KH9}_*_glacier_mask.tif", legend="ice", region="Iceland"),
    ]


@pytest.mark.realdata
def test_the_real_glacier_samples(real, tmp_path):
    scenes = {scene.id: scene for scene in gather(real)}
    assert len(scenes) == 6 + 1 + 2
    chip = scenes["image157"]
    assert (chip.sensor, chip.datetime, chip.shape, chip.crs) == ("everest-debris-chip", None, (500, 500), "EPSG:32645")
    assert [(b.name, b.kind) for b in chip.bands][5:] == [
        ("thermal", "thermal"), ("coherence", "coherence"), ("slope", "terrain"), ("elevation", "terrain"),
    ]  # fmt: skip
    assert chip.group == scenes["image155"].group == "image155"
    assert len({scene.group for scene in scenes.values()}) == 8
    landsat = scenes["LE71400412000304SGS00"]
    assert (landsat.datetime, landsat.shape) == ("2000-10-30", (655, 800))
    assert [(b.name, b.index, b.nodata, b.saturated) for b in landsat.bands] == [
        ("red", 1, None, 255), ("green", 2, None, 255), ("blue", 3, None, 255), ("nir", 1, None, 255),
    ]  # fmt: skip
    film = scenes["kh9_1980-08-22_langjokull"]
    assert (film.sensor, film.datetime, film.bands[0].nodata, film.bands[0].gsd_m) == ("hexagon-kh9", "1980-08-22", 0, 75)
    assert film.truth.href.endswith("langjokull_glacier_mask.tif")
    centres = {name: shape(scenes[name].footprint).centroid for name in ("image3", "image157")}
    assert (centres["image3"].x, centres["image3"].y) == pytest.approx((88.235, 27.836), abs=2e-3)
    assert (centres["image157"].x, centres["image157"].y) == pytest.approx((86.938, 27.883), abs=2e-3)
    assert shape(landsat.footprint).bounds == pytest.approx((86.776, 27.921, 87.020, 28.099), abs=2e-3)
    write_catalog(list(scenes.values()), tmp_path / "catalog.parquet")
    back = read_catalog(tmp_path / "catalog.parquet")
    assert back == list(scenes.values()) and catalog_hash(back) == catalog_hash(scenes.values())


@pytest.mark.realdata
def test_the_catalogue_hash_knows_no_place(real, samples, tmp_path, monkeypatch):
    here = catalog_hash(gather([real[2]]))
    (tmp_path / "glaciers").mkdir()
    (tmp_path / "glaciers/kh9_iceland").symlink_to(samples / "glaciers/kh9_iceland")
    monkeypatch.setenv("VIGIE_SAMPLES", str(tmp_path))
    assert catalog_hash(gather([real[2]])) == here
