"""A scene as a reader: band order, flags, masks, labels, co-registration, and the same bits for any tiling."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from shapely.geometry import GeometryCollection, Point, Polygon, box

from vigie.core.cube import FLAGS, check, flagged
from vigie.core.errors import VigieError
from vigie.core.scene import Band, QualityMask, Scene, Truth
from vigie.harmonize.grids import scene_grid, target_grid
from vigie.harmonize.labels import read_truth
from vigie.harmonize.levels import measured
from vigie.harmonize.reader import SceneReader
from vigie.harmonize.settings import GridSettings, HarmonizeSettings
from vigie.harmonize.terrain import DERIVED
from vigie.harmonize.warp import whole

UTM = "EPSG:32645"
FRAME = GeoBox((60, 70), Affine(10, 0, 500_000.25, 0, -10, 3_000_000.5), UTM)


def save(path: Path, values, box: GeoBox = FRAME, **more) -> str:
    profile = {"driver": "GTiff", "count": len(values), "dtype": values.dtype, "crs": str(box.crs), "transform": box.affine}
    with rasterio.open(path, "w", height=box.shape[0], width=box.shape[1], **(profile | more)) as out:
        out.write(values)
    return str(path)


def scene_of(bands, box: GeoBox = FRAME, **more) -> Scene:
    return Scene(
        "made", "maker", "2000-10-30T00:00:00Z", tuple(bands), str(box.crs), tuple(box.affine)[:6], tuple(box.shape), {}, **more
    )


@pytest.fixture
def made(tmp_path) -> Scene:
    """Two files on two grids, elevation and a stored slope, a quality mask, labels."""
    rng = np.random.default_rng(0)
    fine = rng.integers(1, 9000, (3, *FRAME.shape)).astype(np.uint16)
    fine[0, :5, :6], fine[2, 50:, 60:] = 0, 65535
    coarse_box = GeoBox((40, 40), Affine(20, 0, 499_990, 0, -20, 3_000_040), UTM)
    ground = np.stack([rng.integers(0, 60, (40, 40)), 4000 + np.add.outer(np.arange(40), np.arange(40)) * 7]).astype(np.int16)
    quality = np.zeros((1, *FRAME.shape), dtype=np.uint16)
    quality[0, 20:30], quality[0, :, 40:50] = 1 << 3, (1 << 4) | (1 << 5)
    files = {
        "fine": save(tmp_path / "fine.tif", fine),
        "ground": save(tmp_path / "ground.tif", ground, coarse_box),
        "quality": save(tmp_path / "quality.tif", quality),
        "label": save(tmp_path / "label.tif", rng.integers(0, 3, (1, *FRAME.shape)).astype(np.uint8)),
    }
    bands = [
        Band("green", "reflectance", files["fine"], 2, 10, "1", 0.56, 0.03, 1e-4, 0.0, 0, 9000),
        Band("slope", "terrain", files["ground"], 1, 20, "degree"),
        Band("nir", "reflectance", files["fine"], 1, 10, "1", 0.84, 0.1, 1e-4, 0.0, 0, 9000),
        Band("elevation", "terrain", files["ground"], 2, 20, "m"),
        Band("red", "reflectance", files["fine"], 3, 10, "1", 0.66, 0.03, 1e-4, 0.0, 0, 65535),
    ]
    masks = (QualityMask(files["quality"], bits={"cloud": (3,), "snow": (5, 7)}),)
    return scene_of(bands, masks=masks, truth=Truth(files["label"], "three"), region="here", group="one")


def read(scene: Scene, box: GeoBox = FRAME, **more):
    reader = SceneReader(scene, box, settings=HarmonizeSettings(**more))
    return reader(whole(box))


def test_a_scene_is_laid_out_as_a_cube(made):
    scene = read(made)
    check(scene)
    assert scene["band"].values.tolist() == [
        "green", "nir", "elevation", "red", *DERIVED,
    ]  # fmt: skip
    assert scene["units"].values.tolist()[-8:] == ["degree", "1", "1", "m", "degree", "degree", "m", "m"]
    assert scene.attrs["region"] == "here" and scene.attrs["legend"] == "three" and scene.attrs["infinite_values"] == 0
    with rasterio.open(made.bands[0].href) as dataset:
        stored = dataset.read([2, 1]).astype(np.float32) * np.float32(1e-4)
    stored[stored == 0] = np.nan
    assert np.array_equal(scene["observation"].values[:2], stored, equal_nan=True)
    with rasterio.open(made.truth.href) as dataset:
        assert np.array_equal(scene["truth"].values, dataset.read(1))


def test_stored_slope_stays_when_terrain_is_not_derived(made):
    scene = read(made, terrain="none")
    assert scene["band"].values.tolist() == ["green", "slope", "nir", "elevation", "red"]
    assert scene["observation"].sel(band="slope").max() > 50


def test_a_scene_without_elevation_has_no_terrain_and_can_take_a_dem(made):
    film = replace(made, bands=made.bands[:1], masks=(), truth=None)
    scene = read(film)
    assert scene["band"].values.tolist() == ["green"] and "truth" not in scene
    with_dem = SceneReader(film, FRAME, dem=made.bands[3])(whole(FRAME))
    assert with_dem["band"].values.tolist() == ["green", *DERIVED]
    assert np.array_equal(with_dem["observation"].values[1:], read(made)["observation"].values[4:], equal_nan=True)


def test_flags_say_what_the_files_say(made):
    flags = read(made)["flags"]
    rows, columns = np.mgrid[: FRAME.shape[0], : FRAME.shape[1]]
    assert np.array_equal(flagged(flags, "nodata").values, (rows < 5) & (columns < 6))
    assert np.array_equal(flagged(flags, "saturated").values, (rows >= 50) & (columns >= 60))
    assert np.array_equal(flagged(flags, "cloud").values, (rows >= 20) & (rows < 30) & ~((columns >= 40) & (columns < 50)))
    assert np.array_equal(flagged(flags, "snow").values, (columns >= 40) & (columns < 50))
    assert not flagged(read(made, nodata="all")["flags"], "nodata").any()


def test_quality_values_and_unknown_flags(made):
    mask = QualityMask(made.masks[0].href, values={"cloud": (8, 48)})
    assert flagged(read(replace(made, masks=(mask,)))["flags"], "cloud").sum() == 10 * 70 + 50 * 10
    with pytest.raises(VigieError, match=r"unknown flags; found \['fog'\]"):
        read(replace(made, masks=(QualityMask(made.masks[0].href, bits={"fog": (1,)}),)))


TARGETS = {
    "native": lambda scene: scene_grid(scene),
    "another zone": lambda scene: target_grid([scene], GridSettings(crs="EPSG:32644", resolution_m=13)),
    "coarser": lambda scene: target_grid([scene], GridSettings(resolution_m=27)),
}


@pytest.mark.parametrize("case", TARGETS)
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_tiling_gives_the_same_bits(made, case, data):
    target = TARGETS[case](made)
    options = HarmonizeSettings(shadow="affine", saturation="detect", refine="cubic")
    reader = measured(SceneReader(made, target, settings=options, moved_m=(3.3, -7.1)))
    everything, travelled = reader(whole(target)), pickle.loads(pickle.dumps(reader))  # noqa: S301
    row, column = (data.draw(st.integers(1, n - 1)) for n in target.shape)
    for rows in (slice(0, row), slice(row, target.shape[0])):
        for columns in (slice(0, column), slice(column, target.shape[1])):
            part = travelled({"y": rows, "x": columns})
            for name in ("observation", "flags", "truth"):
                assert part[name].values.tobytes() == everything[name].values[..., rows, columns].tobytes()


def test_a_moved_image_leaves_terrain_and_labels_in_place(made):
    still, moved = (SceneReader(made, FRAME, moved_m=m)(whole(FRAME)) for m in ((0.0, 0.0), (30.0, -20.0)))
    bands = ["green", "nir", "red"]
    image = [scene["observation"].sel(band=bands).values for scene in (still, moved)]
    assert np.array_equal(image[1][:, 2:, 3:], image[0][:, :-2, :-3], equal_nan=True)
    ground = [scene["observation"].sel(band=["elevation", "slope", "relief"]).values for scene in (still, moved)]
    assert np.array_equal(*ground, equal_nan=True)
    assert np.array_equal(still["truth"], moved["truth"])


def test_scenes_that_cannot_give_a_pixel_are_refused(made):
    far = GeoBox((10, 10), Affine(10, 0, 900_000, 0, -10, 3_000_000), UTM)
    with pytest.raises(VigieError, match="does not touch the grid"):
        SceneReader(made, far)
    with pytest.raises(VigieError, match="has no band"):
        SceneReader(replace(made, bands=()), FRAME)


# --- labels -----------------------------------------------------------------------------------------------------------------


def outlines(path: Path, shapes, crs=UTM) -> str:
    geopandas.GeoDataFrame(geometry=shapes, crs=UTM).to_crs(crs).to_file(path, driver="GPKG")
    return str(path)


@pytest.mark.parametrize("crs", [UTM, "EPSG:4326"])
def test_outlines_are_burnt_where_they_hold_a_pixels_centre(tmp_path, crs):
    lake, far = box(500_105, 2_999_705, 500_255, 2_999_855), box(500_405, 2_999_605, 500_455, 2_999_655)
    truth = Truth(outlines(tmp_path / "o.gpkg", [lake.difference(lake.centroid.buffer(30)), far], crs), "lakes", burn=3)
    codes = read_truth(truth, FRAME, whole(FRAME))
    columns, rows = np.meshgrid(np.arange(70) + 0.5, np.arange(60) + 0.5)
    x, y = FRAME.affine @ (columns, rows)
    inside = np.array([[lake.contains(Point(p)) for p in zip(*line, strict=True)] for line in zip(x, y, strict=True)])
    away = np.hypot(x - lake.centroid.x, y - lake.centroid.y)
    assert (codes[inside & (away > 30.5)] == 3).all() and not (codes[away < 29] == 3).any()
    within = (x > 500_106) & (x < 500_454) & (y > 2_999_606) & (y < 2_999_854)
    assert set(np.unique(codes[within])) == {0, 3}
    assert set(np.unique(codes[(x < 500_104) | (y > 2_999_857)])) == {255}
    assert set(np.unique(read_truth(truth, FRAME, whole(FRAME), beyond=0))) == {0, 3}


def test_burnt_outlines_do_not_depend_on_tiling(tmp_path):
    big = GeoBox((300, 310), FRAME.affine, UTM)
    rng = np.random.default_rng(0)
    shapes = [Point(500_000.25 + x, 3_000_000.5 - y).buffer(200) for x, y in rng.integers(0, 3000, (12, 2))]
    truth = Truth(outlines(tmp_path / "o.gpkg", shapes), "lakes", burn=1)
    everything = read_truth(truth, big, whole(big))
    for window in ({"y": slice(3, 290), "x": slice(255, 257)}, {"y": slice(250, 300), "x": slice(1, 310)}):
        assert np.array_equal(read_truth(truth, big, window), everything[window["y"], window["x"]])


def test_labels_outside_their_raster_are_unknown_and_odd_ones_refused(tmp_path, made):
    small = GeoBox((10, 10), FRAME.affine @ Affine.translation(5, 5), UTM)
    codes = read_truth(Truth(save(tmp_path / "s.tif", np.ones((1, 10, 10), np.uint8), small), "x"), FRAME, whole(FRAME))
    assert (codes == 1).sum() == 100 and (codes == 255).sum() == codes.size - 100
    odd = Truth(save(tmp_path / "f.tif", np.full((1, 10, 10), 0.5, np.float32), small), "x")
    with pytest.raises(VigieError, match="are no codes"):
        read_truth(odd, FRAME, whole(FRAME))
    with pytest.raises(VigieError, match=r"cannot read .*none.gpkg"):
        read_truth(Truth(str(tmp_path / "none.gpkg"), "x", burn=1), FRAME, whole(FRAME))
    points = outlines(tmp_path / "p.gpkg", [Point(500_100, 2_999_900)])
    with pytest.raises(VigieError, match=r"cannot be burnt.*Point"):
        read_truth(Truth(points, "x", burn=1), FRAME, whole(FRAME))


def test_declared_nodata_and_nan_of_label_rasters_are_unknown(tmp_path):
    for dtype, hole in (("uint8", 200), ("int16", -9999), ("float32", np.nan), ("float32", -1)):
        stored = np.ones((1, 60, 70), dtype)
        stored[0, :5] = hole
        codes = read_truth(Truth(save(tmp_path / "n.tif", stored, nodata=hole), "x"), FRAME, whole(FRAME))
        assert set(np.unique(codes[:5])) == {255} and set(np.unique(codes[5:])) == {1}


@pytest.mark.parametrize("name", ["c.gpkg", "c.parquet", "c.geoparquet"])
def test_polygons_in_collections_are_burnt_from_any_format(tmp_path, name):
    field = box(500_100, 2_999_700, 500_200, 2_999_800)
    layer = geopandas.GeoDataFrame(geometry=[GeometryCollection([field, Point(500_300, 2_999_900)]), None], crs=UTM)
    (layer.to_file if name == "c.gpkg" else layer.to_parquet)(tmp_path / name)
    codes = read_truth(Truth(str(tmp_path / name), "lakes", burn=3), FRAME, whole(FRAME))
    assert (codes == 3).sum() == 100 and set(np.unique(codes)) == {0, 3, 255}


def test_one_layer_of_several_is_burnt(tmp_path):
    path = tmp_path / "l.gpkg"
    for layer, east in (("ice", 500_100), ("lakes", 500_300)):
        field = box(east, 2_999_700, east + 100, 2_999_800)
        geopandas.GeoDataFrame(geometry=[field], crs=UTM).to_file(path, layer=layer)
    codes = read_truth(Truth(f"{path}|layername=lakes", "lakes", burn=3), FRAME, whole(FRAME))
    assert (codes == 3).sum() == 100 and set(np.unique(codes[:, :25])) == {255}


@pytest.mark.parametrize("crs", ["EPSG:32660", "EPSG:3413"])
@pytest.mark.parametrize("sides", [(1,), (-1,), (1, -1)])
def test_labels_around_longitude_180_are_burnt(tmp_path, crs, sides):
    to_grid = Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    x, y = to_grid.transform(180.0, 75.0)
    frame = GeoBox((100, 100), Affine(30, 0, x - 1500, 0, -30, y + 1500), crs)
    around = [[(side * lon, lat) for lon, lat in ((179.97, 75.002), (179.99, 75.002), (179.99, 75.008), (179.97, 75.008))]
              for side in sides]  # fmt: skip
    path = tmp_path / "o.gpkg"
    geopandas.GeoDataFrame(geometry=[Polygon(ring) for ring in around], crs="EPSG:4326").to_file(path)
    truth = Truth(str(path), "lakes", burn=3)
    codes = read_truth(truth, frame, whole(frame))
    expected = sum(Polygon([to_grid.transform(*place) for place in ring]).area for ring in around) / 900
    assert (codes == 3).sum() == pytest.approx(expected, abs=12)


def test_elevations_that_no_ground_has_are_missing_and_counted(tmp_path):
    z = np.full((1, 60, 70), 4000, np.int16)
    z[0, 20:24, 30:35], z[0, 0, 0], z[0, 1, 1] = -9999, 9001, -430
    dem = Band("elevation", "terrain", save(tmp_path / "dem.tif", z), 1, 10.0, "m")
    scene = read(scene_of([dem]))
    height = scene["observation"].sel(band="elevation").values
    assert np.isnan(height).sum() == 21 and np.isnan(height[20:24, 30:35]).all() and height[1, 1] == -430
    assert scene.attrs["impossible_elevations"] == 21


# --- real scenes ------------------------------------------------------------------------------------------------------------


def frame_of(href: Path) -> GeoBox:
    with rasterio.open(href) as dataset:
        return GeoBox(dataset.shape, dataset.transform, str(dataset.crs))


@pytest.mark.realdata
def test_landsat_7_comes_from_two_files_and_is_saturated_as_noted(samples):
    """Trap 6: 38/36/40 % of red, green, blue and 21 % of NIR saturated; both files share one grid."""
    folder = samples / "glaciers/everest_landsat7"
    rgb, nir = folder / "LE71400412000304SGS00_RGB.tif", folder / "LE71400412000304SGS00_B4.tif"
    bands = [Band(n, "reflectance", str(rgb), i, 30, "1", w, saturated=255) for i, (n, w) in enumerate(
        [("red", 0.66), ("green", 0.56), ("blue", 0.48)], start=1)]  # fmt: skip
    bands.append(Band("nir", "reflectance", str(nir), 1, 30, "1", 0.84, saturated=255))
    truth = Truth(str(folder / "label_3class_30m.tif"), "three")
    frame = frame_of(rgb)
    assert frame == frame_of(nir)
    reader = SceneReader(scene_of(bands, frame, truth=truth), frame)
    scene = reader(whole(frame))
    with rasterio.open(rgb) as a, rasterio.open(nir) as b:
        stored = np.concatenate([a.read(), b.read()])
    assert np.array_equal(scene["observation"].values, stored)
    assert np.array_equal(flagged(scene["flags"], "saturated").values, (stored == 255).any(axis=0))
    assert [round(float((s == 255).mean()), 2) for s in stored] == [0.38, 0.36, 0.40, 0.21]
    assert np.unique(scene["truth"].values, return_counts=True)[1].tolist() == [240607, 76678, 39561, 167154]
    undeclared = scene_of([replace(b, saturated=None) for b in bands], frame)
    found = measured(SceneReader(undeclared, frame, settings=HarmonizeSettings(saturation="detect")))
    assert found.levels.saturated == (("red", 255.0), ("green", 255.0), ("blue", 255.0), ("nir", 255.0))
    assert np.array_equal(found(whole(frame))["flags"], scene["flags"])


@pytest.mark.realdata
@pytest.mark.parametrize(("name", "valid"), [("langjokull", 0.781), ("vatnajokull_w", 0.892)])
def test_film_nodata_is_that_of_its_mask(samples, name, valid):
    """Trap 8: nodata is 0 in the image and 255 in the mask, on the same pixels."""
    href = samples / f"glaciers/kh9_iceland/kh9_1980-08-22_{name}.tif"
    frame = frame_of(href)
    truth = Truth(str(href.with_name(f"{href.stem}_glacier_mask.tif")), "ice")
    film = scene_of([Band("film", "pan", str(href), 1, 75, "1", nodata=0)], frame, truth=truth)
    scene = SceneReader(film, frame)(whole(frame))
    missing = flagged(scene["flags"], "nodata").values
    assert np.array_equal(missing, scene["truth"].values == 255)
    assert 1 - missing.mean() == pytest.approx(valid, abs=5e-4)
    assert FLAGS["shadow"] & int(np.bitwise_or.reduce(scene["flags"].values, axis=None)) == 0


@pytest.mark.realdata
def test_outlines_of_everest_agree_with_their_raster(samples):
    folder = samples / "glaciers/everest_landsat7"
    frame = frame_of(folder / "label_3class_30m.tif")
    truth = Truth(str(folder / "15_rgi60_glacier_outlines.gpkg"), "glacier", burn=1)
    codes = read_truth(truth, frame, whole(frame))
    assert (codes == 1).sum() * 900e-6 == pytest.approx(254.5, rel=0.01)
