"""Slope, aspect and relief against closed forms, published numbers, and any tiling."""

from __future__ import annotations

import geopandas
import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rasterio.features import geometry_mask

from vigie.core.errors import VigieError
from vigie.core.raster import opened
from vigie.core.scene import Band
from vigie.harmonize.grids import bounds_in, target_grid
from vigie.harmonize.settings import GridSettings, HarmonizeSettings
from vigie.harmonize.source import grid_of
from vigie.harmonize.terrain import box_reach, derive, gradient, slope_and_aspect
from vigie.harmonize.warp import read_band, whole

UTM = "EPSG:32643"


def dem(path, z, box: GeoBox, **more) -> Band:
    profile = {
        "driver": "GTiff",
        "count": 1,
        "dtype": "float32",
        "crs": str(box.crs),
        "transform": box.affine,
        "nodata": np.nan,
    }
    with rasterio.open(path, "w", height=box.shape[0], width=box.shape[1], **(profile | more)) as out:
        out.write(z.astype(np.float32), 1)
    return Band("elevation", "terrain", str(path), 1, 30.0, "m")


def grid_of_file(href) -> GeoBox:
    with opened(href) as dataset:
        return grid_of(dataset)


def places(box: GeoBox):
    columns, rows = np.meshgrid(np.arange(box.shape[1]) + 0.5, np.arange(box.shape[0]) + 0.5)
    return box.affine @ (columns, rows)


def square(n=60, resolution=20.0) -> GeoBox:
    return GeoBox((n, n), Affine(resolution, 0, 500_000, 0, -resolution, 4_000_000), UTM)


@pytest.mark.parametrize(("east", "north"), [(0.3, 0.0), (0.0, 0.5), (-0.2, 0.7), (0.0, 0.0)])
def test_a_plane_has_its_slope_and_aspect_up_to_the_edge(tmp_path, east, north):
    box = square()
    x, y = places(box)
    elevation = dem(tmp_path / "z.tif", 3000 + east * (x - 500_000) + north * (y - 4_000_000), box)
    slope, sine, cosine, relief = derive(elevation, box, whole(box), HarmonizeSettings())[:4]
    rise = np.hypot(east, north)
    np.testing.assert_allclose(slope, np.degrees(np.arctan(rise)), atol=2e-3)
    np.testing.assert_allclose(sine, -east / rise if rise else 0, atol=1e-3)
    np.testing.assert_allclose(cosine, -north / rise if rise else 0, atol=1e-3)
    np.testing.assert_allclose(relief[25:35, 25:35], 0, atol=2e-3)


def test_a_cone_faces_away_from_its_top_with_one_slope():
    box = square(100)
    x, y = places(box)
    x, y = x - x.mean(), y - y.mean()
    z = -0.5 * np.hypot(x, y)
    slope, sine, cosine = slope_and_aspect(*gradient(z, GeoBox((98, 98), box.affine, box.crs)))
    far = np.hypot(x, y)[1:-1, 1:-1] > 400
    np.testing.assert_allclose(slope[far], np.degrees(np.arctan(0.5)), atol=0.02)
    np.testing.assert_allclose(sine[far], (x / np.hypot(x, y))[1:-1, 1:-1][far], atol=2e-3)
    np.testing.assert_allclose(cosine[far], (y / np.hypot(x, y))[1:-1, 1:-1][far], atol=2e-3)


def test_turned_grids_give_the_same_gradient():
    turned = GeoBox((40, 40), Affine.translation(5e5, 4e6) @ Affine.rotation(33) @ Affine.scale(20, -20), UTM)
    x, y = places(turned)
    east, north = gradient(0.3 * (x - 5e5) - 0.1 * (y - 4e6), turned)
    np.testing.assert_allclose(east, 0.3, atol=1e-9)
    np.testing.assert_allclose(north, -0.1, atol=1e-9)


def test_relief_is_elevation_above_the_mean_of_the_valid_box(tmp_path):
    box = square(31, 100.0)
    z = np.random.default_rng(0).integers(0, 3000, box.shape).astype(np.float64)
    z[10:14, 5:20] = np.nan
    relief = derive(dem(tmp_path / "z.tif", z, box), box, whole(box), HarmonizeSettings(relief_box_m=700))[3]
    assert box_reach(box, 700) == 4
    for r, c in ((0, 0), (15, 15), (9, 10), (30, 30)):
        mean = np.nanmean(z[max(0, r - 4) : r + 5, max(0, c - 4) : c + 5])
        assert relief[r, c] == pytest.approx(z[r, c] - mean, abs=1e-3)
    assert np.array_equal(np.isnan(relief), np.isnan(z))


@pytest.fixture(scope="module")
def rough(tmp_path_factory):
    """A rough DEM with holes in another zone, finer than the grid that is asked for."""
    box = GeoBox((90, 100), Affine(30, 0, 300_000, 0, -30, 4_000_000), "EPSG:32644")
    z = 4000 + np.cumsum(np.random.default_rng(0).normal(size=box.shape), axis=0) * 20
    z[40:50, 30:60] = np.nan
    return dem(tmp_path_factory.mktemp("dem") / "z.tif", z, box)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(row=st.integers(1, 39), column=st.integers(1, 39))
def test_any_tiling_gives_the_same_bits(rough, row, column):
    west, south, *_ = bounds_in(grid_of_file(rough.href), UTM)
    box = GeoBox((40, 40), Affine(47.3, 0, west + 300.3, 0, -47.3, south + 2300.7), UTM)
    everything = np.stack(derive(rough, box, whole(box), HarmonizeSettings()))
    assert np.isfinite(everything).mean() > 0.5
    for rows in (slice(0, row), slice(row, 40)):
        for columns in (slice(0, column), slice(column, 40)):
            part = np.stack(derive(rough, box, {"y": rows, "x": columns}, HarmonizeSettings()))
            assert part.tobytes() == everything[:, rows, columns].tobytes()


def test_slopes_refuse_degrees_and_feet(rough):
    geographic = GeoBox((10, 10), Affine(0.001, 0, 76, 0, -0.001, 36), "EPSG:4326")
    with pytest.raises(VigieError, match=r"slopes need a grid in metres.*UTM"):
        derive(rough, geographic, whole(geographic), HarmonizeSettings())
    feet = Band("elevation", "terrain", rough.href, 1, 30.0, "ft")
    with pytest.raises(VigieError, match="not in metres; found 'ft'"):
        derive(feet, square(), whole(square()), HarmonizeSettings())


@pytest.mark.realdata
def test_baltoro_has_its_published_slope_only_on_a_metric_grid(samples):
    """Trap 16: 16.3 degrees on 100 m UTM 43N, zmean 5220.8, zmed 5173, aspect south-west (notes B6)."""
    folder = samples / "glaciers/baltoro"
    outline = geopandas.read_file(folder / "baltoro_wgs84.shp").to_crs(UTM)
    box = target_grid([], GridSettings(crs=UTM, resolution_m=100, bounds=tuple(outline.total_bounds)))
    inside = geometry_mask(outline.geometry, box.shape, box.affine, invert=True)
    elevation = Band("elevation", "terrain", str(folder / "baltoro_srtm_clip.tif"), 1, 90.0, "m")
    slope, sine, cosine, _ = derive(elevation, box, whole(box), HarmonizeSettings())[:4]
    z = read_band(elevation, box)[0][inside]
    assert slope[inside].mean() == pytest.approx(16.3, abs=0.1)
    assert z.mean() == pytest.approx(5220.8, abs=1) and np.median(z) == pytest.approx(5173, abs=2)
    aspect = np.degrees(np.arctan2(sine[inside].mean(), cosine[inside].mean())) % 360
    assert int((aspect + 22.5) // 45) % 8 + 1 == 6


@pytest.mark.realdata
@pytest.mark.parametrize("chip", [3, 126, 151, 155, 157, 163])
def test_stored_slopes_of_the_chips_agree_with_their_elevation(samples, chip):
    """Trap 5: r >= .997."""
    href = str(samples / f"glaciers/s2_debris_chips_everest_sikkim/image{chip}.tif")
    box = grid_of_file(href)
    stored = read_band(Band("slope", "terrain", href, 8, 10.0, "degree"), box)[0]
    slope = derive(Band("elevation", "terrain", href, 9, 10.0, "m"), box, whole(box), HarmonizeSettings())[0]
    assert np.corrcoef(stored.ravel(), slope.ravel())[0, 1] >= 0.997
