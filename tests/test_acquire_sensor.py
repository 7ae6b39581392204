"""Sensors are data: every file loads, radiometry is declared, names are recognised, and a new sensor needs no code."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from vigie.acquire import sensor as sensors
from vigie.acquire.local import recognise
from vigie.acquire.sensor import Sensor, all_sensors, known_sensors, load_sensor
from vigie.core.errors import VigieError

TOY = """
name = "toy-camera"
title = "An invented camera"
source = "this test"
bands = [
  { name = "green", kind = "reflectance", wavelength_um = 0.55, units = "1", scale = 1e-3 },
  { name = "nir", kind = "reflectance", wavelength_um = 0.85, units = "1", scale = 1e-3, nodata = -1 },
]
[[products]]
name = "pair"
id = 'TOY(?P<date>\\d{8})'
date_format = "%Y%m%d"
pattern = '{id}_(?P<layer>G|N)\\.tif'
files = [{ layer = "G", bands = ["green"] }, { layer = "N", bands = ["nir"], scale = 2e-3 }]
"""

EXPECTED = {
    "landsat-4", "landsat-5", "landsat-7", "landsat-8", "landsat-9", "sentinel-2", "spot-6", "spot-7", "pleiades-1a",
    "pleiades-1b", "aster", "corona-kh4", "hexagon-kh9", "hexagon-kh9-panoramic", "dem", "everest-debris-chip",
    "everest-landsat7",
}  # fmt: skip

SAFE = "S2B_MSIL2A_20220413T150759_N0400_R025_T33XWJ_20220414T082126"
NAMES = {
    "LC08_L2SP_140041_20200115_20200824_02_T1_SR_B4.TIF": ("landsat-8", "Collection 2 Level 2", "20200115"),
    "LT05_L2SP_140041_19900115_20200824_02_T1_ST_B6.TIF": ("landsat-5", "Collection 2 Level 2", "19900115"),
    "LT04_L2SP_140041_19830115_20200824_02_T1_SR_B4.TIF": ("landsat-4", "Collection 2 Level 2", "19830115"),
    "LC09_L1TP_140041_20220115_20230824_02_T2_B10.TIF": ("landsat-9", "Collection 2 Level 1", "20220115"),
    "LE07_L1TP_140041_20001030_20200917_02_T1_B6_VCID_1.TIF": ("landsat-7", "Collection 2 Level 1", "20001030"),
    "LE71400412000304SGS00_B4.TIF": ("landsat-7", "pre-collection Level 1", "2000304"),
    "LT51400411990016BKT01_B3.TIF": ("landsat-5", "pre-collection Level 1", "1990016"),
    f"{SAFE}.SAFE/GRANULE/L2A_T33XWJ_A026649_20220413T150756/IMG_DATA/R10m/T33XWJ_20220413T150759_B02_10m.jp2": (
        "sentinel-2", "ESA SAFE", "20220413T150759"),
    "SENTINEL2A_20180105-105432-123_L2A_T31TCJ_C_V2-2_FRE_B8A.tif": (
        "sentinel-2", "Theia/MUSCATE, flat reflectance", "20180105-105432"),
    "S2B_45RVL_20200106_0_L2A/B8A.tif": ("sentinel-2", "cloud-optimised GeoTIFF", "20200106"),
    "S2B_T43QDB_20200110T053549_L2A/B02.tif": ("sentinel-2", "cloud-optimised GeoTIFF", "20200110"),
    "IMG_SPOT6_PMS_201308032015087_ORT_ABC-001_R1C1.TIF": ("spot-6", "multispectral or pansharpened", "20130803201508"),
    "IMG_SPOT7_P_201508032015087_ORT_ABC_R2C1.TIF": ("spot-7", "panchromatic", "20150803201508"),
    "IMG_PHR1B_MS-N_201408032015087_ORT_ABC_R1C1.JP2": ("pleiades-1b", "natural colour", "20140803201508"),
    "AST_07XT_00411282015022621_20250809164339_SRF_VNIR_B03N.tif": ("aster", "AST_07 surface reflectance", "11282015022621"),
    "AST_L1T_00309122003230211_20190913112425_15725_ImageData3N.tif": (
        "aster", "AST_L1T, one GeoTIFF a band", "09122003230211"),
    "DS1117-2056DF005.tif": ("corona-kh4", "USGS entity", None),
    "DZB1216-500280L002001_ortho.tif": ("hexagon-kh9", "USGS entity", None),
    "D3C1213-200346A003.tif": ("hexagon-kh9-panoramic", "USGS entity", None),
    "kh9_1980-08-22_langjokull.tif": ("hexagon-kh9", "dated crop", "1980-08-22"),
}  # fmt: skip


def test_every_sensor_file_loads_under_its_own_name():
    assert set(known_sensors()) >= EXPECTED
    for name in known_sensors():
        loaded = load_sensor(name)
        assert loaded.name == name
        for band in loaded.bands:
            if band.kind in ("reflectance", "thermal"):
                assert band.wavelength_um and band.bandwidth_um, (name, band.name)
                assert (band.wavelength_um > 3) == (band.kind == "thermal")


@pytest.fixture(scope="module")
def everything():
    return all_sensors()


@pytest.mark.parametrize("path", NAMES)
def test_producers_names_are_recognised_by_one_sensor_only(path, everything):
    found = recognise([f"/data/{path}"], everything, named=False)
    assert [(f.sensor.name, f.product.name, f.words.get("date")) for f in found] == [NAMES[path]]


def test_film_cameras_are_never_confused():
    mapping, panoramic, corona = (load_sensor(n) for n in ("hexagon-kh9", "hexagon-kh9-panoramic", "corona-kh4"))
    assert recognise(["/d/D3C1213-200346A003.tif"], [mapping], named=True) == []
    assert recognise(["/d/DZB1216-500280L002001.tif"], [panoramic], named=True) == []
    assert recognise(["/d/DZB1216-500280L002001.tif", "/d/D3C1213-200346A003.tif"], [corona], named=True) == []


def test_a_named_sensor_takes_a_file_once():
    found = recognise(["/d/DZB1216-500280L002001_ortho.tif", "/d/scan7.tif"], [load_sensor("hexagon-kh9")], named=True)
    assert [f.scene for f in found] == ["DZB1216-500280L002001", "scan7"]


def test_landsat_collection_2_radiometry():
    for name in ("landsat-4", "landsat-5", "landsat-7", "landsat-8", "landsat-9"):
        level2 = load_sensor(name).products[0]
        assert (level2.scale, level2.offset, level2.nodata) == (2.75e-5, -0.2, 0)
        thermal = next(f for f in level2.files if f.layer.startswith("ST_"))
        assert (thermal.scale, thermal.offset, thermal.units) == (0.00341802, 149.0, "K")


def test_a_new_sensor_is_a_file_and_no_code(tmp_path):
    path = tmp_path / "toy.toml"
    path.write_text(TOY)
    toy = load_sensor(path)
    found = recognise(["/d/TOY20200102_G.tif", "/d/TOY20200102_N.tif"], [toy], named=False)
    assert [(f.scene, sorted(f.layers)) for f in found] == [("TOY20200102", ["G", "N"])]


MISTAKES = {
    "undeclared band": (
        'bands = ["green"]',
        'bands = ["gren"]',
        "is wrong; expected declared bands in .*, and not 'gren'; did you mean",
    ),
    "unknown kind": (
        'kind = "reflectance"',
        'kind = "refectance"',
        "'bands.0.kind' is wrong; found 'refectance'; .*'reflectance'",
    ),
    "unknown key": (
        'title = "An',
        'titel = "An',
        "key 'title' is missing .and 1 more.; to mend it: add it; docs/howto/sensor.md",
    ),
    "unknown key of a product": ('name = "pair"', 'name = "pair"\nlicnse = ""', "unknown key 'products.0.licnse'; .*'licence'"),
    "unknown key of the reseau": (
        "[[products]]",
        "[reseau]\narm_m = 1\nwidth_m = 1\nspacing_m = 9\nspacng = 9\n[[products]]",
        "unknown key 'reseau.spacng'; .*'spacing_m'",
    ),
    "date_format alone": (
        "id = 'TOY(?P<date>\\d{8})'",
        'id = "TOY"',
        "'products.0' is wrong; expected a named group 'date' and",
    ),
    "unclosed id": (
        "(?P<date>\\d{8})'",
        "(?P<date>\\d{8}'",
        r"'products.0.id' is wrong; found .*; expected a regular expression \(miss",
    ),
    "unclosed pattern": (
        "'{id}_(",
        "'{id}_((",
        r"'products.0.pattern' is wrong; found .*; expected a regular expression \(miss",
    ),
    "pattern without scene": (
        "'{id}_(",
        "'TOY_(",
        r"'products.0.pattern' is wrong; found .*; expected {id} in it, or a .*'scene'",
    ),
    "id twice": (
        "'{id}_(",
        "'{id}/{id}_(",
        r"'products.0.pattern' is wrong; found .*; expected a regular expression \(redefinition",
    ),
    "a group twice": (
        "'TOY(",
        "'(?P<layer>TOY)(",
        "'products.0' is wrong; expected an id and patterns that make one .*redefinition",
    ),
    "metadata without scene": (
        "\nfiles",
        "\nmetadata = { pattern = 'MTL', reader = 'landsat-mtl' }\nfiles",
        "'products.0.metadata.pattern' is wrong; found 'MTL'",
    ),
    "scale of 0": (
        "scale = 2e-3",
        "scale = 0",
        "'products.0.files.1.scale' is wrong; found 0.*; expected a number other than 0",
    ),
    "scale of a band of 0": (
        "scale = 1e-3 },",
        "scale = 0.0 },",
        "'bands.0.scale' is wrong; found 0.0; expected a number other",
    ),
    "infinite offset": ("scale = 2e-3", "offset = inf", "'products.0.files.1.offset' is wrong; found inf; expected a finite"),
    "no units": (', units = "1", scale = 1e-3 },', " },", "toml is wrong; expected units .* band 'green' has no units"),
    "band twice": ('name = "nir"', 'name = "green"', "toml is wrong; expected each band declared once"),
    "band twice in a product": (
        'bands = ["nir"]',
        'bands = ["green"]',
        "toml is wrong; expected each band once in product 'pair'",
    ),
}


@pytest.mark.parametrize(("right", "wrong", "says"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_in_a_sensor_file_are_named(tmp_path, right, wrong, says):
    path = tmp_path / "toy.toml"
    assert right in TOY
    path.write_text(TOY.replace(right, wrong, 1))
    with pytest.raises(VigieError, match=says) as caught:
        load_sensor(path)
    assert "to mend it: " in str(caught.value)
    assert "Value error" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_pattern_may_name_the_scene_itself(tmp_path):
    path = tmp_path / "toy.toml"
    path.write_text(TOY.replace("'{id}_(", "'(?P<scene>TOY(?P<date>\\d+))_("))
    (found,) = recognise(["/d/TOY20200102_G.tif"], [load_sensor(path)], named=False)
    assert (found.scene, found.words["date"]) == ("TOY20200102", "20200102")


def test_a_sensor_file_that_is_not_utf8_is_told(tmp_path):
    path = tmp_path / "toy.toml"
    path.write_bytes(TOY.replace("An invented", "Une caméra inventée").encode("latin-1"))
    with pytest.raises(VigieError, match=r"toy\.toml is not text; found .*0xe9.*; expected UTF-8"):
        load_sensor(path)


def test_unknown_sensors_bands_and_files():
    with pytest.raises(VigieError, match="did you mean 'sentinel-2'"):
        load_sensor("sentinel2")
    with pytest.raises(VigieError, match="did you mean 'swir16'"):
        load_sensor("sentinel-2").band("swir1")
    with pytest.raises(VigieError, match="does not exist"):
        load_sensor("nowhere.toml")


def test_broken_toml_is_named(tmp_path):
    path = tmp_path / "broken.toml"
    path.write_text("name = ")
    with pytest.raises(VigieError, match="is not TOML"):
        load_sensor(path)


@pytest.fixture
def third_party(tmp_path, monkeypatch):
    """An installed package that brings a sensor, as `pip install` would leave it."""
    (tmp_path / "toycam.toml").write_text(TOY)
    (tmp_path / "toycam.py").write_text(f"SENSOR = {str(tmp_path / 'toycam.toml')!r}\n")
    info = tmp_path / "toycam-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toycam\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{sensors.ENTRY_POINTS}]\ntoy-camera = toycam:SENSOR\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield info
    sys.modules.pop("toycam", None)


def test_third_parties_bring_sensors_by_entry_point(third_party):
    assert "toy-camera" in known_sensors()
    assert isinstance(load_sensor("toy-camera"), Sensor)


def test_two_declarations_of_one_name_are_refused(third_party: Path):
    (third_party / "entry_points.txt").write_text(f"[{sensors.ENTRY_POINTS}]\nlandsat-7 = toycam:SENSOR\n")
    importlib.invalidate_caches()
    with pytest.raises(VigieError, match="declared twice"):
        known_sensors()
