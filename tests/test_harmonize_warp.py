"""Bands onto grids: exact copies, GDAL and numpy as oracles, missing pixels, and the same bits for any tiling."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.warp import reproject

from vigie.core.errors import VigieError
from vigie.core.grid import cover
from vigie.core.scene import Band
from vigie.harmonize import warp
from vigie.harmonize.grids import Placement, bounds_in
from vigie.harmonize.warp import read_band, read_bands, read_nearest, whole

UTM = "EPSG:32645"


def grid(shape, resolution, x=500_000.0, y=3_000_000.0, crs=UTM, turn=0.0):
    return GeoBox(shape, Affine.translation(x, y) @ Affine.rotation(turn) @ Affine.scale(resolution, -resolution), crs)


def save(path: Path, values, box: GeoBox, **more) -> str:
    values = np.atleast_3d(values) if values.ndim == 3 else values[None]
    profile = {"driver": "GTiff", "count": len(values), "dtype": values.dtype, "crs": str(box.crs), "transform": box.affine}
    with rasterio.open(path, "w", height=box.shape[0], width=box.shape[1], **(profile | more)) as out:
        out.write(values)
    return str(path)


def band(href: str, index: int = 1, **more) -> Band:
    return Band(f"b{index}", "reflectance", href, index, 10.0, "1", **more)


def terrain_like(shape, seed=0, rough=4.0) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(np.random.default_rng(seed).normal(size=shape), rough)
    return (1000 + 200 * smooth / smooth.std()).astype(np.float32)


def gdal(values, source: GeoBox, target: GeoBox, how: Resampling) -> np.ndarray:
    out = np.full(target.shape, np.nan, dtype=np.float32)
    reproject(
        values.astype(np.float32),
        out,
        src_transform=source.affine,
        src_crs=str(source.crs),
        dst_transform=target.affine,
        dst_crs=str(target.crs),
        src_nodata=np.nan,
        dst_nodata=np.nan,
        resampling=how,
        tolerance=0.0,
    )
    return out


# --- copies -----------------------------------------------------------------------------------------------------------------


def test_coinciding_grids_copy_exactly(tmp_path):
    box = grid((37, 53), 9.999999999998137, 445700.838, 3082129.248609597)
    stored = np.random.default_rng(0).integers(0, 12000, box.shape).astype(np.uint16)
    read = band(save(tmp_path / "a.tif", stored, box), scale=1e-4, offset=-0.1, nodata=0, saturated=11990)
    values, saturated = read_band(read, box)
    expected = stored * np.float32(1e-4) + np.float32(-0.1)
    assert np.array_equal(values, np.where(stored == 0, np.nan, expected), equal_nan=True)
    assert np.array_equal(saturated, stored >= 11990)


def test_a_grid_moved_by_whole_pixels_copies_and_leaves_the_outside_missing(tmp_path):
    box = grid((20, 30), 10)
    stored = np.arange(600, dtype=np.float32).reshape(20, 30)
    target = grid((25, 40), 10, x=500_000 - 50, y=3_000_000 + 30)
    values, _ = read_band(band(save(tmp_path / "a.tif", stored, box)), target)
    assert np.array_equal(values[3:23, 5:35], stored)
    assert np.isnan(values).sum() == 25 * 40 - 600


@pytest.mark.parametrize("tag", ["Area", "Point"])
def test_area_or_point_shifts_nothing_by_half_a_pixel(tmp_path, tag):
    box, stored = grid((8, 9), 30), np.arange(72, dtype=np.uint8).reshape(8, 9)
    href = save(tmp_path / "a.tif", stored, box)
    with rasterio.open(href, "r+") as out:
        out.update_tags(AREA_OR_POINT=tag)
    with rasterio.open(href) as dataset:
        actual = GeoBox(dataset.shape, dataset.transform, str(dataset.crs))
        assert dataset.tags()["AREA_OR_POINT"] == tag
    assert np.array_equal(read_band(band(href), actual)[0], stored)


def test_the_mask_band_of_a_file_counts(tmp_path):
    box, stored = grid((8, 9), 30), np.ones((8, 9), dtype=np.uint8)
    href = save(tmp_path / "a.tif", stored, box)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(href, "r+") as out:
        out.write_mask(np.where(np.arange(9) < 4, 0, 255)[None].repeat(8, 0).astype(np.uint8))
    assert np.array_equal(np.isnan(read_band(band(href), box)[0]), (np.arange(9) < 4)[None].repeat(8, 0))


def test_a_band_without_nodata_takes_the_files(tmp_path):
    box, stored = grid((2, 2), 30), np.array([[0, 1], [2, 3]], dtype=np.uint8)
    href = save(tmp_path / "a.tif", stored, box, nodata=2)
    assert np.isnan(read_band(band(href), box)[0]).tolist() == [[False, False], [True, False]]
    assert np.isnan(read_band(band(href, nodata=0), box)[0]).tolist() == [[True, False], [False, False]]


def test_infinite_numbers_are_missing_and_counted(tmp_path):
    box, stored = grid((2, 2), 30), np.array([[np.inf, 1], [-np.inf, np.nan]], dtype=np.float32)
    read = read_bands([band(save(tmp_path / "a.tif", stored, box))], box, whole(box))
    assert np.isnan(read.values).sum() == 3 and read.infinite == 2


# --- oracles ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [2, 3, 7])
def test_whole_blocks_are_means_of_their_valid_pixels(tmp_path, times):
    fine = terrain_like((times * 11, times * 13))
    fine[np.random.default_rng(1).random(fine.shape) < 0.3] = np.nan
    href = save(tmp_path / "a.tif", fine, grid(fine.shape, 10))
    values, _ = read_band(band(href), grid((11, 13), 10 * times))
    blocks = fine.reshape(11, times, 13, times).swapaxes(1, 2).reshape(11, 13, -1).astype(np.float64)
    valid = np.isfinite(blocks)
    means = np.where(valid, blocks, 0).sum(-1) / np.maximum(valid.sum(-1), 1)
    expected = np.where(valid.mean(-1) >= 0.5, means, np.nan)
    np.testing.assert_allclose(values, expected, rtol=1e-6)


@pytest.mark.parametrize("resolution", [17.0, 25.0, 90.0])
def test_area_average_agrees_with_gdal(tmp_path, resolution):
    fine = terrain_like((97, 113))
    source, target = grid(fine.shape, 10), grid((9, 11), resolution, x=500_013, y=3_000_000 - 27)
    values, _ = read_band(band(save(tmp_path / "a.tif", fine, source)), target)
    inside = np.isfinite(values)
    np.testing.assert_allclose(values[inside], gdal(fine, source, target, Resampling.average)[inside], rtol=2e-5)


def test_average_across_projections_agrees_with_gdal(tmp_path):
    fine = terrain_like((300, 300))
    source = grid(fine.shape, 10)
    target = cover(bounds_in(source, "EPSG:32644"), "EPSG:32644", 40)
    values, _ = read_band(band(save(tmp_path / "a.tif", fine, source)), target)
    oracle = gdal(fine, source, target, Resampling.average)
    both = np.isfinite(values) & np.isfinite(oracle)
    assert both.mean() > 0.8
    assert np.abs(values - oracle)[both].std() < 0.05 * fine.std()


@pytest.mark.parametrize(("refine", "how"), [("bilinear", Resampling.bilinear), ("cubic", Resampling.cubic)])
@pytest.mark.parametrize("crs", [UTM, "EPSG:32644", "EPSG:3413"])
def test_interpolation_agrees_with_gdal(tmp_path, refine, how, crs):
    coarse = terrain_like((61, 47), rough=2)
    source = grid(coarse.shape, 30)
    target = cover(bounds_in(source, crs), crs, 11)
    values, _ = read_band(band(save(tmp_path / "a.tif", coarse, source)), target, refine=refine)
    oracle = gdal(coarse, source, target, how)
    edge = read_band(band(save(tmp_path / "e.tif", np.pad(np.ones((53, 39), np.float32), 4), source)), target)[0] == 1
    assert edge.mean() > 0.3
    # GDAL's places across projections are 1e-4 pixels from where PROJ puts them, whatever the tolerance
    np.testing.assert_allclose(values[edge], oracle[edge], rtol=2e-5 if crs == UTM else 1e-4)


def test_a_turned_source_is_placed_right(tmp_path):
    """A plane is reproduced by bilinear interpolation whatever the grids."""
    source = grid((80, 80), 20, turn=30)
    columns, rows = np.meshgrid(np.arange(80) + 0.5, np.arange(80) + 0.5)
    x, y = source.affine @ (columns, rows)
    plane = (0.001 * (x - 5e5) + 0.002 * (y - 3e6)).astype(np.float32)
    target = grid((30, 40), 10, x=500_000 + 700, y=3_000_000 + 100)
    values, _ = read_band(band(save(tmp_path / "a.tif", plane, source)), target)
    tx, ty = target.affine @ np.meshgrid(np.arange(40) + 0.5, np.arange(30) + 0.5)
    np.testing.assert_allclose(values, 0.001 * (tx - 5e5) + 0.002 * (ty - 3e6), atol=1e-5)


def test_labels_take_the_nearest_pixel(tmp_path):
    codes = np.random.default_rng(0).integers(0, 4, (40, 50)).astype(np.uint8)
    source, target = grid(codes.shape, 30), cover(bounds_in(grid(codes.shape, 30), UTM), UTM, 7)
    read, known = read_nearest(save(tmp_path / "a.tif", codes, source), 1, target, whole(target))
    oracle = np.full(target.shape, 255, dtype=np.uint8)
    reproject(
        codes, oracle, src_transform=source.affine, src_crs=UTM, dst_transform=target.affine, dst_crs=UTM,
        init_dest_nodata=False, resampling=Resampling.nearest, tolerance=0.0,
    )  # fmt: skip
    assert np.array_equal(np.where(known, read, 255), oracle)


# --- missing and saturated pixels -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resolution", [4.0, 10.5, 30.0])
@pytest.mark.parametrize("refine", ["bilinear", "cubic"])
@pytest.mark.parametrize("crs", [UTM, "EPSG:32644"])
def test_nothing_bleeds_between_missing_and_valid(tmp_path, resolution, refine, crs):
    constant = np.full((60, 60), 7, dtype=np.int16)
    constant[20:40, 20:40] = -9999
    source = grid((60, 60), 10)
    target = cover(bounds_in(source, crs), crs, resolution)
    values, _ = read_band(band(save(tmp_path / "a.tif", constant, source), nodata=-9999), target, refine=refine)
    valid = np.isfinite(values)
    np.testing.assert_allclose(values[valid], 7, rtol=1e-6)
    assert valid.sum() * resolution**2 == pytest.approx((3600 - 400) * 100, rel=0.04)


def test_any_saturated_part_saturates_the_whole_but_rounding_does_not(tmp_path):
    stored = np.full((6, 9), 100, dtype=np.uint8)
    stored[1, 4] = 255
    href = save(tmp_path / "a.tif", stored, grid((6, 9), 10))
    _, coarse = read_band(band(href, saturated=255), grid((2, 3), 30, x=500_000 + 1e-3))
    assert coarse.tolist() == [[False, True, False], [False, False, False]]
    _, fine = read_band(band(href, saturated=255), grid((12, 18), 5))
    assert fine[1:5, 7:11].all() and fine.sum() == 16


# --- the same bits for any tiling -------------------------------------------------------------------------------------------

TARGETS = {
    "copy": lambda box: grid((71, 83), 10, x=500_000 - 70, y=3_000_000 + 40),
    "finer": lambda box: grid((120, 110), 5.3, x=500_000.7, y=3_000_000.9),
    "coarser": lambda box: grid((33, 29), 23.7, x=500_000.7, y=3_000_000.9),
    "finer, another zone": lambda box: cover(bounds_in(box, "EPSG:32644"), "EPSG:32644", 8.1),
    "coarser, another zone": lambda box: cover(bounds_in(box, "EPSG:3413"), "EPSG:3413", 27),
}


@pytest.fixture(scope="module")
def holed(tmp_path_factory):
    values = np.stack([terrain_like((63, 71), seed) for seed in (1, 2)])
    values[:, 20:30, 20:30] = np.nan
    values[0][np.random.default_rng(3).random(values[0].shape) < 0.05] = np.nan
    box = grid((63, 71), 9.999999999998137, 500_000.0, 3_000_000.000001)
    href = save(tmp_path_factory.mktemp("holed") / "a.tif", values, box)
    return box, [band(href, 1, saturated=1200, scale=0.1), band(href, 2)]


@pytest.mark.parametrize("case", TARGETS)
@pytest.mark.parametrize("refine", ["bilinear", "cubic"])
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_tiling_gives_the_same_bits(holed, case, refine, data):
    box, bands = holed
    target = TARGETS[case](box)
    everything = read_bands(bands, target, whole(target), refine)
    cuts = [sorted({0, n, *data.draw(st.lists(st.integers(1, n - 1), max_size=3))}) for n in target.shape]
    for top, bottom in zip(cuts[0][:-1], cuts[0][1:], strict=True):
        for left, right in zip(cuts[1][:-1], cuts[1][1:], strict=True):
            part = read_bands(bands, target, {"y": slice(top, bottom), "x": slice(left, right)}, refine)
            at = (slice(None), slice(top, bottom), slice(left, right))
            assert part.values.tobytes() == everything.values[at].tobytes()
            assert part.saturated.tobytes() == everything.saturated[at].tobytes()


@pytest.mark.parametrize("case", ["coarser", "coarser, another zone"])
def test_windows_too_large_for_memory_are_cut_without_changing_a_bit(holed, case, monkeypatch):
    box, bands = holed
    target = TARGETS[case](box)
    at_once = read_bands(bands, target, whole(target))
    monkeypatch.setattr(warp, "SOURCE_PIXELS", 500)
    cut = read_bands(bands, target, whole(target))
    assert cut.values.tobytes() == at_once.values.tobytes() and cut.saturated.tobytes() == at_once.saturated.tobytes()


def test_the_half_rule_holds_for_very_coarse_pixels(tmp_path):
    href = save(tmp_path / "a.tif", np.ones((100, 100), np.float32), grid((100, 100), 10))
    covered = {share: grid((1, 1), 1000, x=500_000 - 1000 * (1 - share)) for share in (0.4, 0.6)}
    assert {share: bool(np.isfinite(read_band(band(href), box)[0][0, 0])) for share, box in covered.items()} == {
        0.4: False,
        0.6: True,
    }


def test_a_grid_far_away_reads_as_missing(holed):
    _, bands = holed
    for crs, x, y in ((UTM, 9e5, 1e6), ("EPSG:3413", -3e6, 3e6), ("EPSG:32621", 5e5, 6e6)):
        values = read_bands(bands, grid((5, 6), 10, x, y, crs), whole(grid((5, 6), 10))).values
        assert np.isnan(values).all()


def test_placement_ratio_is_the_side_of_a_pixel():
    assert Placement(grid((10, 10), 10, turn=20), grid((10, 10), 25)).ratio == pytest.approx(2.5)


# --- what a person can mend -------------------------------------------------------------------------------------------------


def test_errors_teach(tmp_path):
    box = grid((8, 9), 30)
    with pytest.raises(VigieError, match=r"nowhere.tif cannot be read as a raster"):
        read_band(band(str(tmp_path / "nowhere.tif")), box)
    href = save(tmp_path / "a.tif", np.ones((8, 9), np.uint8), box)
    with pytest.raises(VigieError, match="has no band 4; found 1 bands"):
        read_band(band(href, 4), box)
    lost = {"driver": "GTiff", "height": 8, "width": 9, "count": 1, "dtype": "uint8", "crs": UTM}
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning), rasterio.open(tmp_path / "n.tif", "w", **lost) as out:
        out.write(np.ones((1, 8, 9), np.uint8))
    with (
        pytest.warns(rasterio.errors.NotGeoreferencedWarning),
        pytest.raises(VigieError, match=r"lies nowhere on Earth.*gdal_edit"),
    ):
        read_band(band(str(tmp_path / "n.tif")), box)


def test_a_truncated_file_is_an_error_not_a_hole(tmp_path):
    stored = np.random.default_rng(0).integers(0, 255, (512, 512)).astype(np.uint8)
    href = save(tmp_path / "a.tif", stored, grid((512, 512), 10), tiled=True, compress="deflate")
    whole_file = Path(href).read_bytes()
    Path(href).write_bytes(whole_file[: len(whole_file) * 2 // 3])
    with pytest.raises(VigieError, match="cannot be read as a raster"):
        read_band(band(href), grid((512, 512), 10))
