"""What goes wrong with data and machines: one clear line, exit code 2, nothing half-written; what can be repaired is told."""

from __future__ import annotations

import errno
import re
import shutil
import socket
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine

from vigie.acquire.samples import registry
from vigie.acquire.sources import SourceSettings, gather
from vigie.core.cube import FLAGS
from vigie.core.errors import VigieError
from vigie.harmonize.cube import open_scene
from vigie.story import limits
from vigie.story.settings import TrainSettings
from vigie.story.stages import check_scenes
from vigie.synthetic.files import sensor_file, write_film, write_multispectral
from vigie.synthetic.glaciers import Area

AREA = Area("almaz", seed=3, size=96)
SCENE, FILM = "synthetic_2021-08-21_almaz", "kh9_1975-08-20_almaz"
WEST, NORTH = 450_000.0, 3_100_000.0
FIELD = shapely.box(WEST + 300, NORTH - 1500, WEST + 1500, NORTH - 300)
BOW_TIE = shapely.Polygon([(WEST + dx, NORTH - dy) for dx, dy in ((300, 300), (1500, 1500), (1500, 300), (300, 1500))])
LOCAL = 'LOCAL_CS["x",UNIT["metre",1]]'
"""A CRS as drone software writes it."""
BOMB = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><x>&b;</x>'
TRUTH = 'truth = "truth_2021-08-21_almaz.tif"\nlegend = "classes"'
SMALL = """
[train]
network = { widths = [8, 16], stem_channels = 8 }
windows = { size = 64, batch = 2 }
fit = { steps = 1, warmup_steps = 0 }
"""
"""A network that takes no time."""

Make = Callable[[Path], str]
"""Spoils something in a folder of good data, and gives the source's lines."""


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good data: a scene, a film, their labels."""
    folder = tmp_path_factory.mktemp("good")
    write_multispectral(folder, AREA, "2021-08-21")
    write_film(folder, AREA, "1975-08-20")
    shutil.copy(sensor_file(), folder / "sensor.toml")
    return folder


@pytest.fixture
def data(good: Path, tmp_path: Path) -> Path:
    """A copy of good data that a test may spoil."""
    return Path(shutil.copytree(good, tmp_path / "data"))


@pytest.fixture
def vigie(run_verb: Callable[..., tuple[int | None, str]], data: Path) -> Callable[..., tuple[int | None, str]]:
    """Run a command on an experiment with one source; exit code and what was said on standard error."""

    def command(verb: str, source: str, more: str = "", log: bool = False) -> tuple[int | None, str]:
        sensor = "" if "sensor" in source else 'sensor = "sensor.toml"\n'
        content = f'app = "glaciers"\nname = "run"\n[[acquire.sources]]\n{sensor}{source}\n{more}'
        return run_verb(verb, content, data, log)

    return command


def image(name: str = SCENE) -> str:
    return f'images = "{name}.tif"\n'


def rewritten(folder: Path, change: Callable[[np.ndarray], np.ndarray] = lambda bands: bands, **profile: object) -> str:
    """Write the scene anew, with other pixels or another profile."""
    path = folder / f"{SCENE}.tif"
    with rasterio.open(path) as source:
        bands, old = source.read(), source.profile
    bands = change(bands)
    path.unlink()
    with rasterio.open(path, "w", **{**old, "count": len(bands), "dtype": bands.dtype.name, **profile}) as target:
        target.write(bands)
    return image()


def truncated(folder: Path) -> str:
    path = folder / f"{SCENE}.tif"
    path.write_bytes(path.read_bytes()[:20_000])
    return image()


def not_a_raster(folder: Path) -> str:
    (folder / f"{SCENE}.tif").write_text("<html>404</html>")
    return image()


def rotated(folder: Path) -> str:
    return rewritten(folder, transform=Affine.translation(WEST, NORTH) @ Affine.rotation(20) @ Affine.scale(30, -30))


def in_degrees(folder: Path) -> str:
    return rewritten(folder, crs="EPSG:4326", transform=Affine(3e-4, 0, 86.5, 0, -3e-4, 28.0))


def far_labels(folder: Path) -> str:
    with rasterio.open(folder / "truth_2021-08-21_almaz.tif", "r+") as labels:
        labels.transform = Affine.translation(200_000, 0) @ labels.transform
    return image() + TRUTH


def strange_labels(folder: Path) -> str:
    with rasterio.open(folder / "truth_2021-08-21_almaz.tif", "r+") as labels:
        codes = labels.read()
        codes[0, 30:60, 30:60] = 77
        labels.write(codes)
    return image() + TRUTH


def vector(*shapes: shapely.Geometry | None, crs: str | None = "EPSG:32645") -> Make:
    def write(folder: Path) -> str:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "'crs' was not provided")
            gpd.GeoDataFrame(geometry=list(shapes), crs=crs).to_file(folder / "labels.gpkg")
        return image() + 'truth = "labels.gpkg"\nlegend = "glacier-or-not"\nburn = 1'

    return write


def escaping_zip(folder: Path) -> str:
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        archive.writestr("../../escaped.tif", b"x")
    return 'images = "images.zip"'


def xml_bomb(folder: Path) -> str:
    root = folder / "S2A_MSIL2A_20230625T234621_N0509_R073_T45RVL_20230626T022157.SAFE"
    images = root / "GRANULE" / "L2A_T45RVL_A000001_20230625T234621" / "IMG_DATA" / "R10m"
    images.mkdir(parents=True)
    (root / "MTD_MSIL2A.xml").write_text(BOMB)
    (images / "T45RVL_20230625T234621_B02_10m.jp2").write_bytes(b"")
    return f'images = "{root.name}"\nsensor = "sentinel-2"\nbands = ["blue"]'


BAD: dict[str, tuple[Make, tuple[str, ...]]] = {
    "missing file": (lambda _: image("none"), ("none.tif does not exist",)),
    "nothing matches": (lambda _: image("none*"), ("nothing matches 'none*.tif'", "found no file under")),
    "truncated file": (truncated, ("cannot be read as a raster", "expected a whole GeoTIFF", "download the file again")),
    "not a raster": (not_a_raster, ("cannot be read as a raster; found the file not recognized",)),
    "complex numbers": (
        lambda f: rewritten(f, lambda b: b.astype("complex64")),
        (f"{SCENE}.tif does not hold real", "complex64"),
    ),
    "no CRS": (lambda f: rewritten(f, crs=None), ("has no CRS", "found no georeferencing", "gdal_edit.py -a_srs")),
    "local CRS": (
        lambda f: rewritten(f, crs=LOCAL),
        (f"{SCENE}.tif has a CRS without a place on the Earth; found ", '"x"', "expected a CRS that leads to longitude"),
    ),
    "CRS of another planet": (lambda f: rewritten(f, crs="IAU_2015:30100"), ("without a place on the Earth", "Moon")),
    "rotated": (rotated, ("is not on a north-up grid", "found transform (28.19", "gdalwarp")),
    "in degrees": (in_degrees, ("grid is not in metres; found EPSG:4326", "--set harmonize.grid.crs=EPSG:32645")),
    "in feet": (
        lambda f: rewritten(f, crs="EPSG:2225"),
        ("grid is not in metres; found EPSG:2225", "harmonize.grid.crs=EPSG:"),
    ),
    "grid in degrees": (
        lambda _: image() + '[harmonize.grid]\ncrs = "EPSG:4326"',
        ("a grid needs metres; found EPSG:4326", "choose another CRS"),
    ),
    "grid without pixel size": (
        lambda f: in_degrees(f) + '[harmonize.grid]\ncrs = "EPSG:32645"',
        ("grid is not in metres; found EPSG:4326", "to mend it: add --set harmonize.grid.resolution_m=30 with"),
    ),
    "band missing": (lambda f: rewritten(f, lambda b: b[:3]), ("lacks bands", "found 3 band(s)", "expected 7: blue")),
    "unknown band": (lambda _: image() + 'bands = ["redd"]', ("has no band 'redd'", "did you mean 'red'?")),
    "unknown sensor": (lambda _: image() + 'sensor = "sentinel-3"', ("is unknown", "did you mean 'sentinel-2'?")),
    "no sensor's file": (lambda _: image() + 'sensor = "auto"', ("no product of any known sensor is named like this",)),
    "labels elsewhere": (far_labels, ("do not touch the image", "found labels at lon/lat", "expected image at", "both CRS")),
    "unknown legend": (lambda _: image() + TRUTH[:-1].replace("classes", "classs") + '"', ("did you mean 'classes'?",)),
    "empty layer": (vector(), ("are of no use; found no feature",)),
    "empty geometries": (vector(shapely.Polygon(), None), ("found no polygon among its features",)),
    "lines": (vector(shapely.LineString([(WEST, NORTH), (WEST + 900, NORTH - 900)])), ("expected a layer with polygons",)),
    "unknown codes": (
        strange_labels,
        (f"truth_2021-08-21_almaz.tif of scene '{SCENE}' hold codes that", "found [77]; expected [0,"),
    ),
    "unknown burn": (
        lambda f: vector(FIELD)(f)[:-1] + "7",
        ("labels.gpkg of scene", "'glacier-or-not' does not know; found [7]"),
    ),
    "outlines without CRS": (vector(FIELD, crs=None), ("found no CRS", "ogr2ogr -a_srs")),
    "outlines in a local CRS": (
        vector(FIELD, crs=LOCAL),
        ("labels.gpkg has a CRS without a place on the Earth", "ogr2ogr -a_srs"),
    ),
    "outlines elsewhere": (vector(shapely.affinity.translate(FIELD, 2e5)), ("do not touch the image",)),
    "DEM elsewhere": (
        lambda f: far_labels(f)[:0] + image(FILM) + 'sensor = "hexagon-kh9"\ndem = "truth_2021-08-21_almaz.tif"',
        ("the DEM", "does not touch scene", "give a DEM of the same place"),
    ),
    "zip that leaves its folder": (escaping_zip, ("leads out of the archive; found ../../escaped.tif",)),
    "XML bomb": (xml_bomb, ("declares entities or a DTD", "DTDForbidden", "get it again")),
}


@pytest.mark.parametrize(("make", "words"), BAD.values(), ids=BAD)
def test_bad_input_is_refused_before_anything_is_written(refused, vigie, data, make, words):
    refused(vigie("acquire", make(data)), *words)
    assert not (data.parent / "runs").exists()
    assert not list(data.parent.rglob("escaped.tif"))


def harmonized(vigie, data: Path, source: str, name: str = SCENE) -> tuple[str, object]:
    """Acquire and harmonize; what was said, and the scene that came out."""
    said = []
    for stage in ("acquire", "harmonize"):
        code, err = vigie(stage, source, log=True)
        assert code is None, err
        said.append(err)
    reader = open_scene(data.parent / "runs" / "run" / "cube.zarr", f"grid/{name}")
    return "".join(said), reader({"y": slice(0, reader.sizes["y"]), "x": slice(0, reader.sizes["x"])})


def test_a_scene_without_a_pixel_is_refused(refused, vigie, data):
    source = rewritten(data, lambda bands: bands * 0)
    assert vigie("acquire", source)[0] is None
    refused(vigie("harmonize", source), "no scene has a clear pixel", f"nodata, saturated, shadow, cloud everywhere in {SCENE}")


def test_nan_and_infinite_values_are_missing_and_told(vigie, data):
    def spoil(bands: np.ndarray) -> np.ndarray:
        spoilt = bands.astype("float32")
        spoilt[:6, 40:50, 40:50] = np.nan
        spoilt[0, 60:64, 60:64], spoilt[1, 70, 70] = np.inf, -np.inf
        return spoilt

    said, scene = harmonized(vigie, data, rewritten(data, spoil))
    assert "17 infinite values taken as missing" in said
    missing = (scene["flags"].values & FLAGS["nodata"]) != 0
    assert missing[40:50, 40:50].all()
    assert missing[60:64, 60:64].all()
    assert missing[70, 70]
    assert not np.isinf(scene["observation"].values).any()


def test_geometries_that_cross_themselves_or_have_heights_are_burnt_and_told(vigie, data):
    source = vector(BOW_TIE, shapely.force_3d(FIELD, 10.0), shapely.Polygon(), None)(data)
    said, scene = harmonized(vigie, data, source)
    assert "of 4 features 2 empty or no polygon, left out; 1 cross themselves" in said
    assert "1 with heights" in said
    assert int((scene["truth"].values == 1).sum()) == 1600


def test_polygons_of_mixed_kinds_are_burnt(vigie, data):
    shapes = gpd.GeoDataFrame(geometry=[FIELD, shapely.MultiPolygon([FIELD]), shapely.Point(WEST, NORTH)], crs="EPSG:32645")
    shapes.to_crs("EPSG:4326").to_file(data / "labels.geojson")
    _, scene = harmonized(vigie, data, image() + 'truth = "labels.geojson"\nlegend = "glacier-or-not"\nburn = 1')
    assert abs(int((scene["truth"].values == 1).sum()) - 1600) < 90


def test_scenes_of_several_crs_go_together_and_are_told(vigie, data):
    write_multispectral(data, Area("burhan", seed=29, size=96, crs="EPSG:32646"), "2021-08-21")
    said, _ = harmonized(vigie, data, image("synthetic_*"))
    assert "2 scenes, 0 with labels, in EPSG:32645, EPSG:32646" in said
    other = open_scene(data.parent / "runs" / "run" / "cube.zarr", "grid/synthetic_2021-08-21_burhan")
    assert other.grid.crs.to_epsg() == 32646


def test_an_elevation_model_serves_scenes_without_elevation(refused, vigie, data):
    with rasterio.open(data / f"{SCENE}.tif") as scene:
        profile = scene.profile | {"count": 1, "dtype": "float32", "nodata": -9999.0}
        elevation = scene.read(7).astype("float32")
    with rasterio.open(data / "dem.tif", "w", **profile) as target:
        target.write(elevation, 1)
    _, film = harmonized(vigie, data, image(FILM) + 'sensor = "hexagon-kh9"\ndem = "dem.tif"', FILM)
    assert film["band"].values.tolist()[:2] == ["pan", "elevation"]
    assert np.allclose(film["observation"].sel(band="elevation").values[20:-20, 20:-20], elevation[20:-20, 20:-20])
    assert np.isfinite(film["observation"].sel(band="slope").values[20:-20, 20:-20]).all()
    refused(vigie("acquire", image() + 'dem = "dem.tif"'), "has elevation already", "leave out the DEM")


def test_codes_outside_the_grid_do_not_count(vigie, data):
    with rasterio.open(data / "truth_2021-08-21_almaz.tif", "r+") as labels:
        codes = labels.read()
        codes[0, :20] = 77
        labels.write(codes)
    grid = f"[harmonize.grid]\nbounds = [{WEST}, {NORTH - 2880}, {WEST + 2880}, {NORTH - 900}]"
    assert vigie("acquire", image() + TRUTH, grid) == (None, "")


def test_a_fold_without_a_class_is_refused(refused, vigie, data):
    write_multispectral(data, Area("burhan", seed=29, size=96, west=480_000.0), "2021-08-21")
    with rasterio.open(data / "truth_2021-08-21_burhan.tif", "r+") as labels:
        labels.write(np.minimum(labels.read(), 1))
    with rasterio.open(data / "truth_2021-08-21_almaz.tif", "r+") as labels:
        codes = np.minimum(labels.read(), 1)
        codes[0, 40:60, 40:60] = 3
        labels.write(codes)
    source = image("synthetic_*") + TRUTH.replace("almaz", "*").replace("2021-08-21_", "")
    refused(vigie("run", source, SMALL), "a fold's training part lacks a class; found no labels that tell", "water")


def test_one_scene_cannot_be_held_out_from_itself(refused, vigie):
    refused(vigie("run", image() + TRUTH, SMALL), "cannot make 2 folds by scene; found 1 part", "hold out by 'block'")


def test_nothing_to_learn_from_is_told(refused, vigie):
    refused(vigie("run", image(), SMALL), "no scene has labels to learn from", "`vigie apply`")


def test_a_tile_larger_than_the_settings_allow_is_refused_before_work(refused, vigie, data):
    told = vigie("run", image() + TRUTH, f"[predict]\nmemory_gib = 0.0001\n{SMALL}")
    refused(told, "a tile of predict does not fit in memory; found about", "lower predict.panel")
    assert not (data.parent / "runs" / "run" / "cube.zarr").exists()


def test_a_tile_larger_than_the_memory_is_refused(refused, vigie, monkeypatch):
    monkeypatch.setattr(limits.os, "sysconf", lambda name: 1000)
    refused(
        vigie("acquire", image()),
        "a tile of harmonize does not fit in memory; found about 1.7 MiB for 1024 px; expected at most 976.6 KiB",
        "harmonize.tile",
    )


def test_scenes_that_no_model_would_map_are_refused_before_work(refused, vigie, data):
    both = f'{image()}sensor = "sensor.toml"\n{TRUTH}\n[[acquire.sources]]\nimages = "kh9_*.tif"\nsensor = "hexagon-kh9"\n'
    told = vigie("acquire", both, "[train]\nfinal = false")
    refused(
        told, f"no model would map the scenes without labels; found train.final = false, and no labels for {FILM}", "or leave"
    )


def test_shares_of_a_sensor_without_labels_are_refused_before_work(refused, vigie):
    both = f'{image()}sensor = "sensor.toml"\n{TRUTH}\n'
    told = vigie("acquire", both, "[train.windows.shares]\nhexagon-kh9 = 2")
    refused(told, "train.windows.shares: no labelled scene is of sensor 'hexagon-kh9'; expected of synthetic", "take it out")


def test_a_scene_called_like_a_block_of_another_is_refused(data):
    (scene,) = gather([SourceSettings(images=str(data / f"{SCENE}.tif"), sensor=str(data / "sensor.toml"))])
    both = [scene, replace(scene, id=f"{SCENE}.0")]
    check_scenes(both, TrainSettings())
    with pytest.raises(VigieError, match=rf"scene '{SCENE}.0' is called like a block of scene '{SCENE}'.*rename the image"):
        check_scenes(both, TrainSettings(folds={"by": "block"}))


def test_predict_settings_that_cannot_work_are_told_when_read(refused, vigie):
    refused(vigie("acquire", image(), "[predict]\npatch = 32"), "key 'predict.overlap' is wrong; found 64", "fewer pixels than")
    refused(vigie("acquire", image(), '[predict]\ndevice = "gpu"'), "key 'predict.device' is wrong; found 'gpu'", "'cuda:1'")


def test_a_finished_cube_needs_no_more_room(refused, vigie, data, monkeypatch):
    small = "[harmonize]\nchunk = 32\ntile = 32"
    for stage in ("acquire", "harmonize"):
        assert vigie(stage, image(), small)[0] is None
    run = data.parent / "runs" / "run"
    (run / ".stages" / "harmonize.json").unlink()
    (marker,) = (run / ".cube.zarr.done" / "grid" / SCENE).glob("y0_x0")
    with monkeypatch.context() as patch:
        patch.setattr(limits.shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10, 9, 1))
        assert vigie("harmonize", image(), small)[0] is None
        marker.unlink()
        (run / ".stages" / "harmonize.json").unlink()
        refused(vigie("harmonize", image(), small), "the disk cannot hold the cube", "still to be written")


def test_a_full_disk_is_told_before_work(refused, vigie, data, monkeypatch):
    monkeypatch.setattr(limits.shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10, 9, 1))
    refused(
        vigie("run", image()),
        "the disk cannot hold the cube; found 1 B free",
        "expected up to 594.0 KiB",
        "choose another folder with --out",
    )
    assert not (data.parent / "runs" / "run" / "cube.zarr").exists()


def test_a_disk_that_fills_up_leaves_nothing_half_written_and_the_run_goes_on(refused, vigie, data, monkeypatch):
    assert vigie("acquire", image())[0] is None
    replace, left = Path.replace, [3]

    def full(self: Path, target: Path) -> Path:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(self, target)

    small = "[harmonize]\nchunk = 32\ntile = 32"
    assert vigie("acquire", image(), small)[0] is None
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        refused(vigie("harmonize", image(), small), "cannot write", "found No space left on device", "finished tiles are kept")
    assert not [path for path in (data.parent / "runs").rglob(".*") if re.match(r"\.[0-9a-f]{32}\.", path.name)]
    assert vigie("harmonize", image(), small)[0] is None


def test_a_dask_scheduler_out_of_reach_is_told(refused, vigie):
    engine = '[engine]\nkind = "dask"\naddress = "tcp://127.0.0.1:9"\ntimeout_s = 0.2'
    assert vigie("acquire", image(), engine)[0] is None
    refused(
        vigie("harmonize", image(), engine),
        "the Dask scheduler cannot be reached; found tcp://127.0.0.1:9",
        "leave the address out",
    )


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No network, and an empty cache."""

    def closed(*_: object, **__: object) -> None:
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", closed)
    monkeypatch.setattr(socket, "getaddrinfo", closed)
    monkeypatch.delenv("VIGIE_SAMPLES", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


SAMPLE = next(name for name, sample in registry().items() if name.endswith(".tif") and not sample.derivation)


@pytest.mark.usefixtures("offline")
def test_no_network_is_told(refused, vigie, tmp_path):
    refused(vigie("acquire", f'images = "sample:{SAMPLE}"'), "cannot be fetched; found no network", "VIGIE_SAMPLES")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


@pytest.mark.usefixtures("offline")
def test_a_catalogue_out_of_reach_is_told(refused, vigie):
    refused(
        vigie("acquire", 'stac = { url = "https://stac.invalid/v1" }'),
        "cannot be reached; found no network",
        "catalogue on disk",
    )


def test_a_sample_that_is_not_the_registered_one_is_refused(refused, vigie, data, monkeypatch):
    (data / SAMPLE).parent.mkdir(parents=True)
    (data / SAMPLE).write_bytes(b"something else")
    monkeypatch.setenv("VIGIE_SAMPLES", str(data))
    refused(
        vigie("acquire", f'images = "sample:{SAMPLE}"'),
        "is not the registered sample; found sha256",
        "14 bytes",
        "expected sha256",
    )


def test_a_changed_input_is_noticed_and_one_that_is_gone_is_not_asked_for(refused, vigie, data):
    source = image() + TRUTH
    for stage in ("acquire", "harmonize"):
        assert vigie(stage, source)[0] is None
    labels = data / "truth_2021-08-21_almaz.tif"
    labels.touch()
    told = vigie("acquire", source, log=True)[1]
    assert f"acquire: {labels} has changed since it was read" in told
    assert "acquire: 1 scene, 1 with labels" in told
    assert "done already" in vigie("harmonize", source, log=True)[1]
    with rasterio.open(labels, "r+") as file:
        file.write(np.zeros_like(file.read()))
    refused(vigie("harmonize", source), "found", "catalog.parquet of other settings or inputs", "run `vigie acquire` first")
    assert vigie("acquire", source)[0] is None
    assert "harmonize: left" in vigie("harmonize", source, log=True)[1]
    reader = open_scene(data.parent / "runs" / "run" / "cube.zarr", f"grid/{SCENE}")
    assert not reader({"y": slice(0, 96), "x": slice(0, 96)})["truth"].values.any()
    labels.unlink()
    assert "done already" in vigie("harmonize", source, log=True)[1]


def test_a_changed_sensor_file_is_noticed(refused, vigie, data):
    for stage in ("acquire", "harmonize"):
        assert vigie(stage, image())[0] is None
    sensor = data / "sensor.toml"
    sensor.write_text(sensor.read_text().replace("scale = 1e-4", "scale = 2e-4"))
    refused(vigie("harmonize", image()), "of other settings or inputs", "run `vigie acquire` first")
    assert f"acquire: {sensor} has changed since it was read" in vigie("acquire", image(), log=True)[1]
    assert "settings or inputs have changed, what was there is removed" in vigie("harmonize", image(), log=True)[1]
