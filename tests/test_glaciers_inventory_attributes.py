"""Attributes: golden numbers of the RGI 7.0 sample and of Baltoro, closed forms on planes and cones."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from odc.geo.geobox import GeoBox
from pyproj import Geod

from vigie.apps.glaciers.inventory import attributes, earth, schema, uncertainty
from vigie.apps.glaciers.inventory.centreline import centrelines
from vigie.apps.glaciers.inventory.read import read_outlines
from vigie.apps.glaciers.inventory.settings import InventorySettings
from vigie.apps.glaciers.inventory.strips import held
from vigie.apps.glaciers.inventory.topography import (
    Dem,
    aspect_sector,
    hypsometry,
    largest_remainder,
    relief,
    spacing_m,
    topography,
)
from vigie.core.errors import VigieError

EAST, NORTH = 500_000.0, 3_100_000.0


def tilted(east_per_m, north_per_m, size=200, pixel_m=30.0):
    """A plane through 5000 m at the centre of a UTM 45N grid; gives the DEM and the centre."""
    grid = GeoBox((size, size), Affine(pixel_m, 0, EAST, 0, -pixel_m, NORTH), "EPSG:32645")
    x = EAST + (np.arange(size) + 0.5) * pixel_m
    y = NORTH - (np.arange(size) + 0.5) * pixel_m
    centre = EAST + size * pixel_m / 2, NORTH - size * pixel_m / 2
    z = 5000 + east_per_m * (x[None] - centre[0]) + north_per_m * (y[:, None] - centre[1])
    return Dem(z.astype(np.float32), grid, "PLANE"), centre


def in_degrees(shape):
    return earth.reproject(np.array([shape], dtype=object), "EPSG:32645", earth.WGS84)[0]


@pytest.mark.parametrize(("east", "north"), [(0.2, 0.3), (-0.5, 0.1), (0.0, -0.4), (0.3, -0.3)])
def test_a_disc_on_a_plane_has_the_planes_slope_aspect_and_heights(east, north):
    dem, centre = tilted(east, north)
    radius = 1500.0
    disc = in_degrees(shapely.Point(centre).buffer(radius, quad_segs=64))
    found = topography(relief(disc, float(earth.area_km2(np.array([disc]))[0]), dem))
    steep = np.hypot(east, north)
    assert found["slope_deg"] == pytest.approx(np.degrees(np.arctan(steep)), abs=0.02)
    assert found["aspect_deg"] == pytest.approx(np.degrees(np.arctan2(-east, -north)) % 360, abs=0.05)
    step = spacing_m(7.07) * steep  # one cell of the local grid, in height
    assert found["zmean_m"] == pytest.approx(5000, abs=1.0) and found["zmed_m"] == pytest.approx(5000, abs=step / 2)
    assert found["zmax_m"] - found["zmin_m"] == pytest.approx(2 * radius * steep, abs=2 * step)


def test_the_centreline_of_a_disc_on_a_plane_is_its_diameter():
    dem, centre = tilted(0.0, 0.3)
    disc = in_degrees(shapely.Point(centre).buffer(1500.0, quad_segs=64))
    line = centrelines(relief(disc, 7.07, dem))[-1]
    assert line.length_m == pytest.approx(3000, rel=0.05)
    end = shapely.Point(line.lonlat.coords[-1])
    assert earth.reproject(np.array([end]), earth.WGS84, "EPSG:32645")[0].y - (centre[1] - 1500) < spacing_m(7.07)
    assert disc.exterior.distance(end) < 1e-6


def test_a_bent_valley_glacier_has_the_length_of_its_axis():
    dem, centre = tilted(0.2, 0.2)
    axis = shapely.LineString([(2000, 2000), (-1500, 1000), (-2000, -2000)])
    valley = shapely.affinity.translate(axis.buffer(300, cap_style="flat"), *centre)
    local = relief(in_degrees(valley), valley.area / 1e6, dem)
    (line,) = centrelines(local)
    assert line.length_m == pytest.approx(axis.length, rel=0.07)
    off_axis_m = shapely.distance(shapely.points(line.xy[8:-8]), shapely.affinity.translate(axis, *centre))
    assert off_axis_m.mean() < 1.5 * local.spacing_m and off_axis_m.max() < 150
    assert (line.outflow, line.strahler_n) == (-1, 0)


def branching(centre, *axes):
    """A glacier 400 m wide along some axes (metres from the centre)."""
    return shapely.affinity.translate(shapely.union_all([shapely.LineString(axis).buffer(200) for axis in axes]), *centre)


Y = [(-1300, 2200), (0, 0), (0, -2400)], [(1000, 1700), (0, 0)]
"""Two heads, one stem: 4955 m through the longer arm, 1972 m along the other."""


def test_a_glacier_with_two_heads_has_a_main_line_and_a_tributary():
    dem, centre = tilted(0.0, 0.25)
    glacier = branching(centre, *Y)
    local = relief(in_degrees(glacier), glacier.area / 1e6, dem)
    tributary, main = centrelines(local)
    assert [(line.outflow, line.strahler_n) for line in (tributary, main)] == [(1, 0), (-1, 1)]
    assert main.length_m == pytest.approx(shapely.LineString(Y[0]).length + 400, rel=0.06)  # round ends
    assert tributary.length_m == pytest.approx(shapely.LineString(Y[1]).length + 200, rel=0.2)
    joint = tributary.xy[-1]
    assert (main.xy == joint).all(axis=1).sum() == 1  # a vertex of the main line, to the last bit
    assert np.hypot(*(joint - centre)) < 400
    # cut where they meet: two arms and a stem, of Strahler's own orders 1, 1 and 2
    segments = shapely.get_parts(shapely.union_all([shapely.LineString(line.xy) for line in (tributary, main)]))
    assert len(segments) == 3
    assert sum(line.length for line in segments) == pytest.approx(main.length_m + tributary.length_m)
    assert sum(line.distance(shapely.Point(joint)) == 0 for line in segments) == 3


def test_centrelines_are_numbered_upwards_and_flow_into_later_ones():
    dem, centre = tilted(0.0, 0.25)
    arms = [[(side * 2600, y + 1370), (0, y)] for side, y in ((-1, -1200), (1, -300), (-1, 600))]
    twig = [(1400, 1900), (1400, 440)]
    glacier = branching(centre, [(0, 2500), (0, -2500)], *arms, twig)
    lines = centrelines(relief(in_degrees(glacier), glacier.area / 1e6, dem))
    assert [line.outflow for line in lines].count(-1) == 1 and lines[-1].outflow == -1
    assert lines[-1].length_m == max(line.length_m for line in lines)
    for number, line in enumerate(lines[:-1]):
        into = lines[line.outflow]
        assert line.outflow > number and into.strahler_n > line.strahler_n
        assert (into.xy == line.xy[-1]).all(axis=1).any()
    for number, line in enumerate(lines):
        below = [other.strahler_n for other in lines if other.outflow == number]
        assert line.strahler_n == (max(below) + 1 if below else 0)
    assert len(lines) == 5 and lines[-1].strahler_n == 2


def test_lines_neither_begin_nor_end_at_a_nunatak():
    dem, centre = tilted(0.0, 0.3)
    hole = shapely.Point(centre).buffer(500)
    ring = shapely.Point(centre).buffer(1500, quad_segs=64).difference(hole)
    lines = centrelines(relief(in_degrees(ring), ring.area / 1e6, dem))
    assert all(hole.distance(shapely.Point(line.xy[end])) > 500 for line in lines for end in (0, -1))
    assert lines[-1].length_m > 3000


def test_a_cone_faces_everywhere_and_so_nowhere():
    dem, centre = tilted(0, 0)
    rows, cols = np.indices(dem.elevation_m.shape)
    cone = 6000 - 0.5 * 30 * np.hypot(rows - 99.5, cols - 99.5)
    disc = in_degrees(shapely.Point(centre).buffer(1500.0, quad_segs=64))
    found = topography(relief(disc, 7.07, Dem(cone.astype(np.float32), dem.grid)))
    assert found["slope_deg"] == pytest.approx(np.degrees(np.arctan(0.5)), abs=0.6)


def test_missing_elevations_are_counted_and_never_invented():
    dem, centre = tilted(0.0, 0.3)
    dem.elevation_m[:, :100] = np.nan
    disc = in_degrees(shapely.Point(centre).buffer(1500.0))
    found = topography(relief(disc, 7.07, dem))
    assert found["dem_coverage"] == pytest.approx(0.5, abs=0.02) and np.isfinite(found["slope_deg"])
    dem.elevation_m[:] = np.nan
    nothing = relief(disc, 7.07, dem)
    assert topography(nothing)["zmean_m"] is None and topography(nothing)["aspect_sec"] == 9
    assert centrelines(nothing) == [] and hypsometry(nothing) == {}


def test_a_glacier_outside_the_dem_has_no_topography():
    dem, _ = tilted(0.0, 0.3)
    assert topography(relief(shapely.box(80, 30, 80.02, 30.02), 4.0, dem))["dem_coverage"] == 0.0


@given(arrays(np.int64, st.integers(1, 40), elements=st.integers(0, 10**6)).filter(lambda counts: counts.sum() > 0))
def test_thousandths_sum_to_1000_and_differ_from_shares_by_less_than_one(counts):
    shares = largest_remainder(counts)
    assert shares.sum() == 1000 and (shares >= 0).all()
    assert (np.abs(shares - counts * 1000 / counts.sum()) < 1).all()


@given(st.floats(0, 359.999))
def test_sectors_follow_the_rgi_formula(azimuth):
    assert aspect_sector(np.array([azimuth]))[0] == int(np.floor((azimuth + 22.5) / 45)) % 8 + 1


def test_spacing_follows_rgi7():
    assert [round(spacing_m(a), 1) for a in (0.01, 8.0, 42.0)] == [11.4, 49.6, 100.0]


def test_two_squares_share_one_border_and_the_buffer_counts_it_once():
    left, right = shapely.box(0, 0, 1000, 1000), shapely.box(1000, 0, 2000, 1000)
    alone = uncertainty.buffer_error_km2(np.array([left, right]), 10.0).sum()
    together = uncertainty.buffer_error_km2(np.array([shapely.union(left, right)]), 10.0)[0]
    assert alone == pytest.approx(0.08, rel=5e-3) and together == pytest.approx(0.06, rel=5e-3)


def test_complex_uncertainty_mixes_clean_and_debris_and_is_shared_by_free_outline():
    glaciers = np.zeros((22, 42), dtype=np.int32)
    glaciers[1:21, 1:21], glaciers[1:21, 21:41] = 1, 2
    edges = uncertainty.rim(glaciers, glaciers == 2)
    shape = np.array([shapely.box(10, 10, 410, 210)])
    total, shares = uncertainty.complex_errors(shape, np.array([0, 0]), edges, 5.0, 10.0)
    assert shares.sum() == pytest.approx(total[0]) and shares[1] == pytest.approx(2 * shares[0])
    assert total[0] == pytest.approx(1200 * 7.5 / 1e6, rel=5e-3)


def test_lake_error_is_a_share_of_the_half_pixel_buffer():
    for lake in (shapely.box(0, 0, 3000, 2000), shapely.Point(0, 0).buffer(1500, quad_segs=64)):
        buffer = uncertainty.buffer_error_km2(np.array([lake]), 15.0)[0]
        assert uncertainty.shore_error_km2(np.array([lake.length]), 30.0)[0] == pytest.approx(0.6872 * buffer, rel=2e-3)


def test_correlated_variance_equals_the_double_sum():
    p = np.random.default_rng(1).random((12, 9)).astype(np.float32)
    zones, length = np.ones((12, 9), dtype=np.int32), 2.0
    mean, std = uncertainty.probable_area_px(held(p), zones, length)
    yx = np.stack(np.indices(p.shape), axis=-1).reshape(-1, 2)
    distance2 = ((yx[:, None] - yx[None]) ** 2).sum(axis=-1)
    s = np.sqrt(p * (1 - p)).ravel()
    assert mean[1] == pytest.approx(p.sum(), rel=1e-6)
    assert std[1] == pytest.approx(np.sqrt(s @ np.exp(-distance2 / (2 * length**2)) @ s), rel=1e-3)
    assert uncertainty.probable_area_px(held(p), zones, 0.0)[1][1] == pytest.approx(np.sqrt((s**2).sum()), rel=1e-5)


def test_members_give_an_interval_that_calibration_widens():
    zones = np.ones((10, 10), dtype=np.int32)
    members = np.stack([np.full((10, 10), v, np.float32) for v in (0.4, 0.5, 0.6)])
    area = uncertainty.member_area_px(members, zones, 2.0)
    assert area.mean[1] == pytest.approx(50) and area.std[1] == pytest.approx(20)
    assert area.high[1] - area.low[1] == pytest.approx(2 * 1.96 * 20, rel=1e-3)
    with pytest.raises(VigieError, match="one member"):
        uncertainty.member_area_px(members[:1], zones, 1.0)
    with pytest.raises(VigieError, match="out of range"):
        uncertainty.probable_area_px(held(np.full((10, 10), 1.5, np.float32)), zones, 1.0)


def test_schema_names_every_fault_of_a_table():
    good = pd.DataFrame({"rgi_id": ["a"], "rgi_g_id_1": ["b"], "rgi_g_id_2": ["c"], "length_m": [1.0]})
    schema.validate(good, "intersects")
    with pytest.raises(VigieError, match=r"repeats 'a'.*is below 0"):
        schema.validate(pd.concat([good, good.assign(length_m=-1.0)]), "intersects")
    with pytest.raises(VigieError, match="'length_m' is missing"):
        schema.validate(good.drop(columns="length_m"), "intersects")
    with pytest.raises(VigieError, match="lacks columns"):
        schema.conform(good.drop(columns="length_m"), schema.fields("intersects"))
    with pytest.raises(VigieError, match="of another type"):
        schema.conform(good.assign(length_m="far"), schema.fields("intersects"))
    with pytest.raises(VigieError, match="did you mean 'glacier'"):
        schema.fields("glaciers")
    with pytest.raises(VigieError, match="sum to 1000"):
        schema.validate_hypsometry(pd.DataFrame({"rgi_id": ["a"], "area_km2": [1.0], "5025": [999]}))


@pytest.fixture(scope="module")
def sample(samples) -> gpd.GeoDataFrame:
    return read_outlines(samples / "glaciers/rgi/rgi7g_hef_complex.shp").table


@pytest.mark.realdata
def test_rgi7_sample_area_point_zone_and_sector_are_reproduced(sample):
    schema.validate(sample, "glacier")
    placed = attributes.place(np.asarray(sample.geometry.array, dtype=object))
    assert np.abs(placed["area_km2"] / sample["area_km2"] - 1).max() < 1e-6
    assert np.abs(placed[["cenlon", "cenlat"]].to_numpy() - sample[["cenlon", "cenlat"]].to_numpy()).max() < 1e-9
    assert (placed["utm_zone"] == sample["utm_zone"]).all()
    assert (aspect_sector(sample["aspect_deg"].to_numpy()) == sample["aspect_sec"]).all()
    made = earth.point_ids(placed["cenlon"].to_numpy(), placed["cenlat"].to_numpy(), "G")
    assert (np.array(made) == sample["glims_id"]).sum() == 19


@pytest.mark.realdata
def test_rgi7_sample_has_31_neighbouring_pairs_and_18_9_km_of_divides(sample):
    lines = attributes.intersects(sample, InventorySettings())
    pairs = lines[["rgi_g_id_1", "rgi_g_id_2"]].drop_duplicates()
    assert len(pairs) == 31 and lines["length_m"].sum() / 1000 == pytest.approx(18.9, abs=0.05)
    assert (lines.geom_type == "LineString").all() and lines["rgi_id"].is_unique
    assert lines["length_m"].iloc[0] == pytest.approx(Geod(ellps="WGS84").geometry_length(lines.geometry[0]))


@pytest.mark.realdata
def test_rgi7_sample_complex_is_the_sum_of_its_glaciers(samples, sample):
    given_ = read_outlines(samples / "glaciers/rgi/rgi7c_hef.shp").table
    made = attributes.complex_table(sample, np.zeros(len(sample), dtype=np.int64), InventorySettings())
    assert made["area_km2"][0] == pytest.approx(sample["area_km2"].sum(), rel=1e-12)
    assert made["area_km2"][0] == pytest.approx(given_["area_km2"][0], rel=1e-9)
    assert made.geometry[0].symmetric_difference(given_.geometry[0]).area < 1e-12


@pytest.mark.realdata
@pytest.mark.parametrize(("distance", "glaciers", "complex_"), [(15.0, 4.88, 4.32), (5.0, 1.66, 1.47)])
def test_rgi7_sample_buffers_count_shared_borders_once(sample, distance, glaciers, complex_):
    shapes = earth.reproject(np.asarray(sample.geometry.array, dtype=object), earth.WGS84, "EPSG:32632")
    assert uncertainty.buffer_error_km2(shapes, distance).sum() == pytest.approx(glaciers, abs=0.01)
    whole = np.array([shapely.coverage_union_all(shapes)])
    assert uncertainty.buffer_error_km2(whole, distance)[0] == pytest.approx(complex_, abs=0.01)


@pytest.mark.realdata
def test_baltoro_agrees_with_its_reference_attributes(samples):
    outline = read_outlines(samples / "glaciers/baltoro/baltoro_wgs84.shp").table.geometry[0]
    with rasterio.open(samples / "glaciers/baltoro/baltoro_srtm_clip.tif") as source:
        dem = Dem(source.read(1).astype(np.float32), GeoBox(source.shape, source.transform, "EPSG:4326"), "SRTM")
    area = float(earth.area_km2(np.array([outline]))[0])
    local = relief(outline, area, dem)
    found, lines, bands = topography(local), centrelines(local), hypsometry(local)
    assert area == pytest.approx(552.12, abs=0.01) and local.spacing_m == 100.0 and local.crs.to_epsg() == 32643
    assert abs(found["zmean_m"] - 5220) < 5 and abs(found["zmed_m"] - 5170) < 10
    assert abs(found["zmin_m"] - 3380) < 10 and abs(found["zmax_m"] - 8000) < 40
    assert 16 < found["slope_deg"] < 17.5 and found["aspect_sec"] == 6 and found["dem_coverage"] == 1
    assert lines[-1].length_m == pytest.approx(63203, rel=0.03)
    assert 100 < len(lines) < 250 and lines[-1].strahler_n == 4
    heads = shapely.points([line.lonlat.coords[0] for line in lines])
    assert shapely.within(heads, outline.buffer(1e-9)).all()
    assert sum(bands.values()) == 1000 and set(np.diff(sorted(bands))) <= {50, 100}
