"""Scenes from local files of every family, written tiny with their producers' names; and everything that can be wrong."""

from __future__ import annotations

import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.transform import Affine
from shapely.geometry import shape

from vigie.acquire.clear import is_overcast
from vigie.acquire.files import digests, list_files
from vigie.acquire.local import find_scenes, parse_date
from vigie.acquire.raster import footprint, read_header
from vigie.acquire.sensor import load_sensor
from vigie.acquire.sources import SourceSettings, gather
from vigie.acquire.truth import read_truth
from vigie.core.errors import VigieError
from vigie.core.scene import QualityMask

SAFE = "S2A_MSIL2A_20230625T234621_N0509_R073_T45RVL_20230626T022157"
SAFE_BANDS = {10: ("B02", "B03", "B04", "B08"), 20: ("B05", "B06", "B07", "B8A", "B11", "B12", "SCL"), 60: ("B01", "B09")}
MUSCATE = "SENTINEL2A_20180105-105432-123_L2A_T31TCJ_C_V2-2"
MUSCATE_BANDS = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")
LANDSAT = "LC08_L2SP_140041_20200115_20200824_02_T1"


def write(path: Path, data=None, gsd=30.0, crs="EPSG:32645", origin=(478000, 3108140), count=1, dtype="uint16", **profile):
    """A tiny raster; `data` is a constant or an array (band, row, column)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    size = max(2, round(120 / gsd)) if gsd >= 1 else 4
    pixels = np.full((count, size, size), 2000 if data is None else data, dtype) if np.ndim(data) == 0 else data
    layout = {"transform": Affine(gsd, 0, origin[0], 0, -gsd, origin[1]), "crs": crs, "dtype": pixels.dtype, **profile}
    with rasterio.open(
        path, "w", driver="GTiff", count=pixels.shape[0], height=pixels.shape[1], width=pixels.shape[2], **layout
    ) as target:
        target.write(pixels)
    return path


def safe(folder: Path, offset: str = "-1000", dark: int = 1500) -> Path:
    root = folder / f"{SAFE}.SAFE"
    for gsd, names in SAFE_BANDS.items():
        for name in names:
            where = root / f"GRANULE/L2A_T45RVL_A041826_20230625T234624/IMG_DATA/R{gsd}m"
            write(where / f"T45RVL_20230625T234621_{name}_{gsd}m.tif", 4 if name == "SCL" else dark, gsd)
    offsets = "".join(f'<BOA_ADD_OFFSET band_id="{i}">{offset}</BOA_ADD_OFFSET>' for i in range(13)) if offset else ""
    (root / "MTD_MSIL2A.xml").write_text(f"<P><BOA_QUANTIFICATION_VALUE>10000</BOA_QUANTIFICATION_VALUE>{offsets}</P>")
    return root


def muscate(folder: Path, kinds=("FRE", "SRE")) -> Path:
    root = folder / MUSCATE
    for kind in kinds:
        for band in MUSCATE_BANDS:
            gsd = 10 if band in ("B2", "B3", "B4", "B8") else 20
            write(root / f"{MUSCATE}_{kind}_{band}.tif", 1200, gsd, dtype="int16")
    for mask in ("CLM", "MG2", "EDG", "SAT"):
        for resolution, gsd in (("R1", 10), ("R2", 20)):
            write(root / f"MASKS/{MUSCATE}_{mask}_{resolution}.tif", 0, gsd, dtype="uint8")
    return root


def landsat(folder: Path) -> Path:
    root = folder / LANDSAT
    for layer in ("SR_B1", "SR_B2", "SR_B3", "SR_B4", "SR_B5", "SR_B6", "SR_B7", "ST_B10", "QA_PIXEL", "QA_RADSAT"):
        write(root / f"{LANDSAT}_{layer}.TIF", nodata=0)
    return root


def zipped(folder: Path, archive: Path) -> Path:
    with zipfile.ZipFile(archive, "w") as target:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                target.write(path, path.relative_to(folder.parent).as_posix())
    return archive


def scenes_of(path: Path, sensor: str = "auto", **more):
    return gather([SourceSettings(images=str(path), sensor=sensor, **more)])


def by_name(scene):
    return {band.name: band for band in scene.bands}


# --- families ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("archive", [False, True])
def test_safe_folder_and_zip(tmp_path, archive):
    path = safe(tmp_path)
    (scene,) = scenes_of(zipped(path, tmp_path / f"{SAFE}.zip") if archive else path)
    bands = by_name(scene)
    assert (scene.id, scene.sensor, scene.datetime) == (SAFE, "sentinel-2", "2023-06-25T23:46:21Z")
    assert set(bands) == {b.name for b in load_sensor("sentinel-2").bands}
    assert {(b.scale, b.offset, b.nodata, b.saturated, b.units) for b in scene.bands} == {(1e-4, -0.1, 0, 65535, "1")}
    assert (bands["red"].gsd_m, bands["swir16"].gsd_m, bands["coastal"].gsd_m) == (10, 20, 60)
    assert (scene.shape, scene.transform[0]) == ((12, 12), 10)
    (mask,) = scene.masks
    assert mask.values["cloud"] == (8, 9, 10) and mask.href.endswith("SCL_20m.tif")
    assert len(scene.sha256) == 14
    assert sum("MTD" in href for href in scene.sha256) == 1
    with rasterio.open(bands["red"].href) as source:
        assert source.read(1)[0, 0] == 1500


def test_safe_without_offsets_has_none(tmp_path):
    (scene,) = scenes_of(safe(tmp_path, offset="", dark=300))
    assert {b.offset for b in scene.bands} == {0.0}


@pytest.mark.parametrize(("offset", "dark", "says"), [("-1000", 200, "below -0.05"), ("", 1020, "the offset is still in")])
def test_pixels_that_contradict_the_offset_are_refused(tmp_path, offset, dark, says):
    with pytest.raises(VigieError, match=says):
        scenes_of(safe(tmp_path, offset, dark))


def test_deep_shadow_in_some_bands_contradicts_no_offset(tmp_path):
    path = safe(tmp_path)
    for band in ("B11_20m", "B12_20m", "B02_10m"):
        write(next(path.rglob(f"*_{band}.tif")), 200, int(band[-3:-1]))
    assert {b.offset for b in scenes_of(path)[0].bands} == {-0.1}


def test_a_contradicted_offset_can_be_trusted_and_is_told(tmp_path, caplog):
    path = safe(tmp_path, dark=200)
    with pytest.raises(VigieError, match="or set offsets = 'trusted' in the experiment's source"):
        scenes_of(path)
    with caplog.at_level("INFO", "vigie"):
        assert {b.offset for b in scenes_of(path, offsets="trusted")[0].bands} == {-0.1}
    assert "below -0.05; its metadata is trusted all the same" in caplog.text


def test_safe_without_metadata_is_refused(tmp_path):
    path = safe(tmp_path)
    (path / "MTD_MSIL2A.xml").unlink()
    with pytest.raises(VigieError, match="metadata decides the radiometry"):
        scenes_of(path)


@pytest.mark.parametrize(("kinds", "used"), [(("FRE", "SRE"), "FRE"), (("SRE",), "SRE")])
def test_muscate_prefers_flat_reflectance(tmp_path, kinds, used):
    path = muscate(tmp_path, kinds)
    (scene,) = scenes_of(zipped(path, tmp_path / "muscate.zip"))
    assert (scene.id, scene.datetime) == (MUSCATE, "2018-01-05T10:54:32Z")
    assert len(scene.bands) == 10 and all(f"_{used}_" in b.href for b in scene.bands)
    assert {(b.scale, b.offset, b.nodata) for b in scene.bands} == {(1e-4, 0, -10000)}
    assert [Path(m.href).stem[-6:] for m in scene.masks] == ["CLM_R1", "MG2_R1", "EDG_R1", "SAT_R1"]


def test_muscate_without_its_cloud_mask_is_refused(tmp_path):
    path = muscate(tmp_path)
    (path / f"MASKS/{MUSCATE}_CLM_R1.tif").unlink()
    with pytest.raises(VigieError, match="lacks its quality mask CLM_R1"):
        scenes_of(path)


@pytest.mark.parametrize("form", ["folder", "tar", "tar.gz"])
def test_landsat_folder_and_tar(tmp_path, form):
    path = landsat(tmp_path)
    if form != "folder":
        target = tmp_path / f"{LANDSAT}.{form}"
        with tarfile.open(target, "w:gz" if form == "tar.gz" else "w") as tarred:
            for file in sorted(path.iterdir()):
                tarred.add(file, f"./{file.name}" if form == "tar" else file.name)
        path = target
    (scene,) = scenes_of(path)
    bands = by_name(scene)
    assert (scene.id, scene.sensor, scene.datetime) == (LANDSAT, "landsat-8", "2020-01-15")
    assert (bands["nir"].scale, bands["nir"].offset, bands["nir"].nodata) == (2.75e-5, -0.2, 0)
    assert (bands["thermal"].units, bands["thermal"].scale, bands["thermal"].offset) == ("K", 0.00341802, 149.0)
    assert scene.masks[0].bits["cloud"] == (1, 2, 3)
    with rasterio.open(bands["nir"].href) as source:
        assert source.read(1).max() == 2000
    loose = digests([(tmp_path / LANDSAT / f"{LANDSAT}_SR_B5.TIF").as_posix()])
    assert set(loose.values()) == {scene.sha256[bands["nir"].href]}


def test_landsat_level_1_takes_its_scene_coefficients(tmp_path):
    name = "LC09_L1TP_140041_20220115_20230824_02_T1"
    layers = [f"B{i}" for i in range(1, 8)]
    for layer in [*layers, "QA_PIXEL"]:
        write(tmp_path / f"{name}_{layer}.TIF")
    lines = [f"REFLECTANCE_MULT_BAND_{i} = 2.0E-05\nREFLECTANCE_ADD_BAND_{i} = -0.1" for i in range(1, 8)]
    (tmp_path / f"{name}_MTL.txt").write_text("SUN_ELEVATION = 30.0\n" + "\n".join(lines))
    (scene,) = scenes_of(tmp_path)
    assert by_name(scene)["red"].scale == pytest.approx(4e-5)
    assert by_name(scene)["red"].offset == pytest.approx(-0.2)
    (tmp_path / f"{name}_MTL.txt").write_text("SUN_ELEVATION = 30.0\n" + "\n".join(lines[1:]))
    with pytest.raises(VigieError, match="no coefficients for B1"):
        scenes_of(tmp_path)


def test_earth_search_folder(tmp_path):
    folder = tmp_path / "S2B_45RVL_20200106_0_L2A"
    for band in ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12", "SCL"):
        write(folder / f"{band}.tif", 4 if band == "SCL" else 300, 20)
    item = folder / f"{folder.name}.json"
    item.write_text('{"properties": {"earthsearch:boa_offset_applied": true, "s2:processing_baseline": "05.00"}}')
    (scene,) = scenes_of(folder)
    assert (scene.datetime, {b.offset for b in scene.bands}) == ("2020-01-06", {0.0})
    item.write_text('{"properties": {"s2:processing_baseline": "05.00"}}')
    with pytest.raises(VigieError, match=r"pixels disagree .* below -0\.05"):
        scenes_of(folder)


@pytest.mark.parametrize(
    ("name", "sensor", "bands", "date"),
    [
        ("IMG_SPOT6_PMS_201308032015087_ORT_ABC-001_R1C1.TIF", "spot-6", "red green blue nir", "2013-08-03T20:15:08Z"),
        ("IMG_SPOT7_P_201508032015087_ORT_ABC_R1C1.TIF", "spot-7", "pan", "2015-08-03T20:15:08Z"),
        ("IMG_PHR1A_MS-X_201408032015087_ORT_ABC_R1C1.TIF", "pleiades-1a", "green red nir", "2014-08-03T20:15:08Z"),
        ("DS1117-2056DF005.tif", "corona-kh4", "pan", None),
        ("DZB1216-500280L002001.tif", "hexagon-kh9", "pan", None),
        ("D3C1213-200346A003.tif", "hexagon-kh9-panoramic", "pan", None),
    ],
)
def test_single_file_families(tmp_path, name, sensor, bands, date):
    path = write(tmp_path / name, count=len(bands.split()), gsd=1.5, dtype="uint8", data=90)
    (scene,) = scenes_of(path)
    assert (scene.sensor, [b.name for b in scene.bands], scene.datetime) == (sensor, bands.split(), date)
    assert [b.index for b in scene.bands] == list(range(1, len(bands.split()) + 1))
    assert {b.gsd_m for b in scene.bands} == {1.5}


def test_aster_dates_are_month_first(tmp_path):
    stem = "AST_07XT_00411282015022621_20250809164339_SRF_VNIR"
    for band in ("B01", "B02", "B03N"):
        write(tmp_path / f"{stem}_{band}.tif", 300, 15, dtype="int16")
    (scene,) = scenes_of(tmp_path)
    assert (scene.sensor, scene.datetime) == ("aster", "2015-11-28T02:26:21Z")
    assert by_name(scene)["nir"].scale == 1e-3


def test_pre_collection_landsat_and_the_window_of_two_files(tmp_path):
    write(tmp_path / "LE71400412000304SGS00_RGB.tif", 90, count=3, dtype="uint8")
    write(tmp_path / "LE71400412000304SGS00_B4.tif", 80, dtype="uint8")
    (scene,) = scenes_of(tmp_path, "everest-landsat7")
    assert (scene.datetime, [b.name for b in scene.bands]) == ("2000-10-30", ["red", "green", "blue", "nir"])
    assert {(b.saturated, b.nodata, b.units) for b in scene.bands} == {(255, None, "DN")}


def test_a_sensor_file_of_ones_own_reads_its_files(tmp_path):
    toml = tmp_path / "mycam.toml"
    toml.write_text(
        """
name = "mycam"
title = "An invented camera"
source = "this test"
bands = [
  { name = "green", kind = "reflectance", wavelength_um = 0.55, gsd_m = 5, units = "1", scale = 1e-3, offset = -0.01 },
  { name = "vv", kind = "sar", units = "dB", nodata = -99 },
]
[[products]]
name = "stack"
id = 'MYCAM-(?P<date>\\d{4}-\\d{2}-\\d{2})'
date_format = "%Y-%m-%d"
pattern = '{id}\\.tif'
files = [{ bands = ["green", "vv"] }]
masks = [{ index = 3, values = { cloud = [7] } }]
"""
    )
    write(tmp_path / "MYCAM-2021-07-14.tif", 5, count=3, gsd=5, dtype="int16")
    (scene,) = gather([SourceSettings(images="MYCAM*.tif", sensor="mycam.toml")], tmp_path)
    green, vv = scene.bands
    assert (scene.datetime, green.scale, green.offset) == ("2021-07-14", 1e-3, -0.01)
    assert (vv.index, vv.nodata, vv.units) == (2, -99, "dB")
    assert (scene.masks[0].index, scene.masks[0].values) == (3, {"cloud": (7,)})


def test_dem_scene_in_degrees_knows_its_ground_size(tmp_path):
    path = write(tmp_path / "N27E086.tif", 5000, 1 / 1200, "EPSG:4326", (86, 28), dtype="int16")
    (scene,) = scenes_of(path, "dem")
    assert scene.bands[0].nodata == -32768
    assert scene.bands[0].gsd_m == pytest.approx(92.4, abs=0.3)


# --- dates, bands, footprints -----------------------------------------------------------------------------------------


def test_date_from_tags_name_or_user(tmp_path):
    path = write(tmp_path / "DZB1216-500280L002001.tif", 90, dtype="uint8")
    assert scenes_of(path)[0].datetime is None
    with rasterio.open(path, "r+") as target:
        target.update_tags(DATE="1980-08-22", TIFFTAG_DATETIME="2024:01:01 00:00:00")
    assert scenes_of(path)[0].datetime == "1980-08-22"
    assert scenes_of(path, date="1980-08-23")[0].datetime == "1980-08-23"


def test_dates_as_exif_writes_them(tmp_path):
    path = write(tmp_path / "DZB1216-500280L002001.tif", 90, dtype="uint8")
    for tag, date in {"2021:08:21 10:00:00": "2021-08-21T10:00:00Z", "2021:08:21": "2021-08-21", "0000:00:00": None}.items():
        with rasterio.open(path, "r+") as target:
            target.update_tags(DATE=tag)
        assert scenes_of(path)[0].datetime == date
    with rasterio.open(path, "r+") as target:
        target.update_tags(DATE="last summer")
    with pytest.raises(VigieError, match=r"DZB1216-500280L002001\.tif: its tag DATE holds no date; found last summer"):
        scenes_of(path)
    assert scenes_of(path, date="2021-08-21")[0].datetime == "2021-08-21"


def test_wrong_dates_are_named(tmp_path):
    with pytest.raises(VigieError, match="is not a date"):
        parse_date("22/08/1980")
    path = write(tmp_path / "kh9_1980-13-45_somewhere.tif", 90, dtype="uint8")
    with pytest.raises(VigieError, match="its name holds no date"):
        scenes_of(path)


def test_bands_can_be_chosen_and_unknown_ones_are_named(tmp_path):
    path = landsat(tmp_path)
    (scene,) = scenes_of(path, bands=("green", "nir"))
    assert [b.name for b in scene.bands] == ["green", "nir"]
    with pytest.raises(VigieError, match="did you mean 'green'"):
        scenes_of(path, bands=("gren",))


def test_a_missing_band_is_named(tmp_path):
    path = landsat(tmp_path)
    (path / f"{LANDSAT}_SR_B5.TIF").unlink()
    with pytest.raises(VigieError, match="lacks the file of nir"):
        scenes_of(path)
    assert len(scenes_of(path, bands=("green", "red"))[0].bands) == 2


def test_too_few_bands_in_the_file(tmp_path):
    path = write(tmp_path / "chip.tif", count=4)
    with pytest.raises(VigieError, match=r"lacks bands; found 4 band\(s\); expected 9: blue"):
        scenes_of(path, "everest-debris-chip")


def test_file_nodata_counts_over_the_declared(tmp_path):
    path = write(tmp_path / "DZB1216-500280L002001.tif", 90, dtype="uint8", nodata=17)
    assert scenes_of(path)[0].bands[0].nodata == 17


def test_scale_and_offset_of_the_file_count_where_the_sensor_states_none(tmp_path):
    film, landsat_5 = tmp_path / "DZB1216-500280L002001.tif", "LT05_L2SP_140041_19900115_20200824_02_T1"
    paths = [write(film, 90, dtype="uint8")]
    paths += [write(tmp_path / f"{landsat_5}_{layer}.TIF") for layer in ("SR_B4", "QA_PIXEL")]
    for path in paths:
        with rasterio.open(path, "r+") as target:
            target.scales, target.offsets = (0.5,), (3.0,)
    (pan,), (nir,) = scenes_of(film)[0].bands, scenes_of(tmp_path, bands=("nir",), sensor="landsat-5")[0].bands
    assert (pan.scale, pan.offset, nir.scale, nir.offset) == (0.5, 3.0, 2.75e-5, -0.2)


def test_bands_on_different_crs_are_one_scene_on_the_finest_grid(tmp_path):
    path = landsat(tmp_path)
    write(path / f"{LANDSAT}_SR_B4.TIF", gsd=15, crs="EPSG:32646", origin=(-112000, 3118140))
    (scene,) = scenes_of(path)
    assert (scene.crs, scene.transform[0]) == ("EPSG:32646", 15)


def test_footprint_follows_bent_edges_and_the_antimeridian(tmp_path):
    plain = footprint(read_header(write(tmp_path / "a.tif", gsd=30).as_posix()))
    assert shape(plain).is_valid and shape(plain).area > 0
    across = read_header(write(tmp_path / "b.tif", gsd=60, crs="EPSG:32601", origin=(166000, 7200000)).as_posix())
    wide = read_header(
        write(tmp_path / "c.tif", np.ones((1, 400, 400), "uint8"), 1000, "EPSG:32601", (100000, 7300000)).as_posix()
    )
    assert shape(footprint(across)).bounds[2] - shape(footprint(across)).bounds[0] < 1
    polar = read_header(write(tmp_path / "p.tif", gsd=30, crs="EPSG:3413", origin=(-1158060, 1158060)).as_posix())
    assert shape(footprint(polar)).area < 1e-3 and shape(footprint(polar)).bounds[::2] == (-180, 180)
    outline = shape(footprint(wide))
    assert outline.geom_type == "MultiPolygon" and outline.is_valid
    assert max(part.bounds[2] - part.bounds[0] for part in outline.geoms) < 10


@settings(max_examples=25, deadline=None)
@given(lon=st.floats(-179, 179), lat=st.floats(-79, 79), size=st.integers(2, 40), gsd=st.sampled_from([1e-4, 1e-3, 1e-2]))
def test_footprints_contain_the_centre(tmp_path_factory, lon, lat, size, gsd):
    path = tmp_path_factory.mktemp("f") / "x.tif"
    write(path, np.ones((1, size, size), "uint8"), gsd, "EPSG:4326", (lon, lat))
    header = read_header(path.as_posix())
    outline = shape(footprint(header))
    assert outline.is_valid
    assert outline.area == pytest.approx((size * gsd) ** 2, rel=1e-2) or outline.geom_type == "MultiPolygon"


# --- faults -----------------------------------------------------------------------------------------------------------


def test_missing_and_empty_inputs(tmp_path):
    with pytest.raises(VigieError, match="does not exist"):
        scenes_of(tmp_path / "nothing.tif")
    with pytest.raises(VigieError, match=r"nothing matches 'b\*\.tif'"):
        gather([SourceSettings(images="b*.tif")], tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(VigieError, match="empty folder"):
        scenes_of(tmp_path / "empty")


def test_files_of_no_known_product(tmp_path):
    path = write(tmp_path / "holiday.tif")
    with pytest.raises(VigieError, match="no product of any known sensor"):
        scenes_of(path)
    write(tmp_path / "DZB1216-500280L002001.tif", 90, dtype="uint8")
    assert len(scenes_of(tmp_path)) == 1
    with pytest.raises(VigieError, match=r"named like this; found .*holiday\.tif"):
        gather([SourceSettings(images=(str(path), str(tmp_path / "DZB1216-500280L002001.tif")))])


@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_truncated_tif(tmp_path, keep):
    rng = np.random.default_rng(0)
    grain = rng.integers(1, 255, (1, 300, 300), dtype=np.uint8)
    path = write(tmp_path / "DZB1216-500280L002001.tif", grain, compress="deflate")
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * keep)])
    with pytest.raises(VigieError, match="cannot be read as a raster"):
        scenes_of(path)


def read_labels(path: Path) -> None:
    read_truth(path, "classes", None, None, footprint(read_header(path.as_posix())))


def read_mask(path: Path) -> None:
    cloudy = QualityMask(path.as_posix(), values={"cloud": tuple(range(7))})
    (scene,) = find_scenes([write(path.with_name("kh9.tif"), 9, dtype="uint8").as_posix()], [load_sensor("hexagon-kh9")], True)
    is_overcast(replace(scene, masks=(cloudy,), bands=()))


@pytest.mark.parametrize("read", [read_labels, read_mask])
def test_a_broken_block_amid_a_raster_is_named_with_its_cause(tmp_path, read):
    tiles = {"tiled": True, "blockxsize": 32, "blockysize": 32, "compress": "deflate"}
    path = write(tmp_path / "a.tif", np.arange(9216, dtype="uint16").reshape(1, 96, 96) % 7, **tiles)
    with rasterio.open(path) as whole:
        begin, size = (int(whole.get_tag_item(f"BLOCK_{what}_1_1", "TIFF", bidx=1)) for what in ("OFFSET", "SIZE"))
    raw = bytearray(path.read_bytes())
    raw[begin : begin + size] = b"\xff" * size
    path.write_bytes(raw)
    with pytest.raises(VigieError, match=r"cannot .*read.*IReadBlock failed at X offset 1, Y offset 1.* / ZIPDecode") as caught:
        read(path)
    assert "previous exception" not in str(caught.value)


def test_not_a_raster(tmp_path):
    path = tmp_path / "DZB1216-500280L002001.tif"
    path.write_text("<html>404</html>")
    with pytest.raises(VigieError, match="cannot be read as a raster"):
        scenes_of(path)


def test_no_crs_and_rotated(tmp_path):
    path = write(tmp_path / "DZB1216-500280L002001.tif", 9, crs=None, dtype="uint8")
    with pytest.raises(VigieError, match="has no CRS"):
        scenes_of(path)
    rotated = Affine(30, 5, 478000, 5, -30, 3108140)
    write(path, 9, dtype="uint8", transform=rotated)
    with pytest.raises(VigieError, match="not on a north-up grid"):
        scenes_of(path)
    write(path, 9, dtype="uint8", transform=Affine(30, 0, 478000, 0, 30, 3108140))
    with pytest.raises(VigieError, match="not on a north-up grid"):
        scenes_of(path)


@pytest.mark.parametrize("member", ["../evil.tif", "/etc/evil.tif", "a/../../evil.tif", "C:\\evil.tif"])
def test_zip_members_that_leave_the_folder_are_refused(tmp_path, member):
    path = tmp_path / "product.zip"
    with zipfile.ZipFile(path, "w") as target:
        target.writestr(member, b"x")
    with pytest.raises(VigieError, match="leads out of the archive"):
        list_files(path)


def test_links_in_tars_are_refused(tmp_path):
    path = tmp_path / "product.tar"
    with tarfile.open(path, "w") as target:
        link = tarfile.TarInfo("LC08_SR_B4.TIF")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        target.addfile(link)
    with pytest.raises(VigieError, match="a link or leads out"):
        list_files(path)


@pytest.mark.parametrize("name", ["product.zip", "product.tar", "product.tar.gz"])
def test_damaged_archives_are_named(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"not an archive at all")
    with pytest.raises(VigieError, match="cannot be read"):
        list_files(path)


def test_the_same_scene_twice_is_refused(tmp_path):
    landsat(tmp_path / "a")
    landsat(tmp_path / "b")
    with pytest.raises(VigieError, match="is there twice"):
        scenes_of(tmp_path)


def test_a_file_of_two_sensors_asks_for_the_sensor(tmp_path):
    path = write(tmp_path / "LC08_x.tif")
    one = load_sensor("hexagon-kh9").model_copy(update={"name": "one"})
    with pytest.raises(VigieError, match="could be of two sensors"):
        find_scenes([path.as_posix()], [one, load_sensor("dem")], named=True)


def test_digests_stream_the_bytes(tmp_path):
    import hashlib

    path = tmp_path / "x.bin"
    path.write_bytes(bytes(range(256)) * 10000)
    assert digests([path.as_posix(), "https://example.org/x.tif"]) == {
        path.as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
    }
