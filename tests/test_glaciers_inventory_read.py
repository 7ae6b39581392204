"""Reading outlines: names, dates, Z, repairs that are told, faults that teach."""

from __future__ import annotations

import logging

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from vigie.apps.glaciers.inventory import earth
from vigie.apps.glaciers.inventory.attributes import identify
from vigie.apps.glaciers.inventory.read import iso_date, read_outlines, rename, repair
from vigie.apps.glaciers.inventory.settings import InventorySettings
from vigie.core.errors import VigieError

SQUARE = shapely.box(10.0, 46.0, 10.1, 46.1)
BOW_TIE = shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)])


def table(*shapes, **columns):
    return gpd.GeoDataFrame(columns or {"n": range(len(shapes))}, geometry=list(shapes), crs="EPSG:4326")


def test_each_kind_of_geometry_is_kept_repaired_or_dropped_and_told():
    nunatak = SQUARE.difference(shapely.box(10.04, 46.04, 10.06, 46.06))
    spike = shapely.Polygon([(0, 0), (2, 0), (1, 0), (1, 1), (0, 1)])
    mixed = shapely.GeometryCollection([SQUARE, shapely.Point(3, 3)])
    high = shapely.force_3d(nunatak, 0.0)
    shapes, report = repair(table(high, BOW_TIE, None, shapely.Polygon(), shapely.Point(1, 1), mixed, spike))
    assert report["action"].tolist() == ["kept", "repaired", "dropped", "dropped", "dropped", "repaired", "repaired"]
    assert shapes.geom_type.isin(["Polygon", "MultiPolygon"]).all() and shapes.is_valid.all() and not shapes.has_z.any()
    assert len(shapes.geometry[0].interiors) == 1
    assert shapes["n"].tolist() == [0, 1, 5, 6]
    assert report["change_km2"].iloc[[0, 2]].tolist() == [0.0, 0.0]
    assert report["reason"].iloc[2] == "no geometry" and "Self-intersection" in report["reason"].iloc[1]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=4, max_size=9))
def test_any_ring_becomes_valid_polygons_or_is_dropped(corners):
    mended, report = repair(table(shapely.Polygon(corners)))
    assert len(report) == 1
    assert mended.is_valid.all() and (shapely.area(mended.geometry.array) > 0).all()
    assert mended.geom_type.isin(["Polygon", "MultiPolygon"]).all()


@pytest.mark.parametrize("name", ["RGIId", "RGIID", "rgi_id", "RGI_ID"])
def test_every_spelling_of_the_identifier_is_one(name):
    assert rename(table(SQUARE, **{name: ["RGI60-11.1"]}))["rgi_id"].tolist() == ["RGI60-11.1"]


def test_columns_of_both_generations_do_not_collide():
    both = rename(table(SQUARE, Area=[1.0], area_km2=[2.0], glacier_colour=["blue"]))
    assert both["area_km2"].tolist() == [2.0] and both["Area"].tolist() == [1.0] and "glacier_colour" in both


def test_outlines_across_the_antimeridian_in_metres_have_their_area(tmp_path):
    path = tmp_path / "outlines.gpkg"
    x, y = Transformer.from_crs(4326, 32660, always_xy=True).transform(180.0, 71.0)
    gpd.GeoDataFrame(geometry=[shapely.box(x - 500, y - 500, x + 500, y + 500)], crs=32660).to_file(path)
    read = read_outlines(path)
    assert read.report["area_after_km2"].tolist() == pytest.approx([1.0], rel=2e-3)
    assert earth.area_km2(earth.cut(read.table.geometry.to_numpy())).tolist() == pytest.approx([1.0], rel=2e-3)


def test_attributes_that_break_the_schema_are_left_empty_and_told(caplog):
    given = table(SQUARE, BOW_TIE, O1REGION=[1, 11], O2REGION=[2.0, 1.0], SURGE_TYPE=["no", "1"], term_type=["land", None])
    given = given.assign(RGI_ID=[7, 8], CONN_LVL=[0, 5], glims_id=["G010050E46050N", "somewhere"], name=["Long", " "])
    with caplog.at_level(logging.WARNING, "vigie"):
        read = rename(given)
    assert read["o1region"].tolist() == ["01", "11"] and read["o2region"].tolist() == ["01-02", "11-01"]
    assert read["rgi_id"].tolist() == ["7", "8"]
    for name, values in {"surge_type": [None, 1], "term_type": [None, None], "conn_lvl": [0, None]}.items():
        assert read[name].astype("object").where(read[name].notna(), None).tolist() == values, name
    assert read["glims_id"].isna().tolist() == [False, True]
    told = [line.split(" is left empty")[0] for line in caplog.messages]
    assert sorted(told) == [f"outlines: {name}" for name in ("conn_lvl", "glims_id", "surge_type", "term_type")]
    caplog.clear()
    assert rename(table(SQUARE, surge_type=[3], o1region=["11"])).iloc[0, :2].tolist() == [3, "11"]
    assert not caplog.messages


def test_glaciers_take_over_what_is_lawful_of_strange_outlines():
    strange = table(SQUARE, surge_type=["no"], term_type=["land"], O1REGION=[11], o2region=["Alps"])
    known = identify(
        np.array([SQUARE], dtype=object), pd.DataFrame(rename(strange).drop(columns="geometry")), InventorySettings()
    )
    assert known[["surge_type", "o1region", "o2region"]].iloc[0].tolist() == [9, "11", "00-00"]


def test_dates_without_day_or_month_stay_that_vague():
    assert [iso_date(d) for d in ("20020799", "20029999", "-9999999", None)] == ["2002-07", "2002", None, None]
    with pytest.raises(VigieError, match="YYYYMMDD"):
        iso_date("July 2002")


def test_missing_files_layers_crs_and_polygons_are_explained(tmp_path):
    with pytest.raises(VigieError, match="no outlines at"):
        read_outlines(tmp_path / "none.gpkg")
    points = tmp_path / "points.gpkg"
    gpd.GeoDataFrame({"n": [1]}, geometry=[shapely.Point(1, 1)], crs="EPSG:4326").to_file(points)
    with pytest.raises(VigieError, match="no polygon"):
        read_outlines(points)
    with pytest.raises(VigieError, match="no layer 'lakes'"):
        read_outlines(points, layer="lakes")
    (tmp_path / "text.gpkg").write_text("not a database")
    with pytest.raises(VigieError, match="cannot be read as a vector layer"):
        read_outlines(tmp_path / "text.gpkg")
    with pytest.raises(VigieError, match=r"outlines .*outlines\.parquet have no CRS; found .*; to mend it: assign it"):
        read_outlines(_parquet(tmp_path, None))


def _cut_parquet(path):
    table(SQUARE, SQUARE).to_parquet(path)
    path.write_bytes(path.read_bytes()[:-200])


def _broken_parquet(path):
    table(*[SQUARE] * 500).to_parquet(path, compression=None)
    content = bytearray(path.read_bytes())
    content[4:400] = b"\xff" * 396
    path.write_bytes(content)


def _local(path):
    site = 'LOCAL_CS["building site",UNIT["metre",1],AXIS["x",EAST],AXIS["y",NORTH]]'
    gpd.GeoDataFrame({"n": [1]}, geometry=[SQUARE], crs=site).to_file(path)


def _far(path):
    gpd.GeoDataFrame({"n": [1]}, geometry=[shapely.box(1e9, 1e9, 2e9, 2e9)], crs="EPSG:32632").to_parquet(path)


def _cut_shapefile(path):
    table(*[shapely.box(10 + i / 10, 46, 10.05 + i / 10, 46.1) for i in range(20)]).to_file(path)
    path.write_bytes(path.read_bytes()[:1500])


SPIKE = shapely.transform(SQUARE, lambda xy: np.where((xy == (10.1, 46.1)).all(axis=1, keepdims=True), np.nan, xy))
RGI6 = {"BgnDate": ["20001030"], "Zmin": ["abc"]}
SPOILT = {
    "parquet cut off": ("a.parquet", _cut_parquet, r"a\.parquet cannot be read as a vector layer; found .*; expected polygons"),
    "parquet damaged": ("a.parquet", _broken_parquet, r"a\.parquet cannot be read as a vector layer"),
    "parquet without geometry": ("a.parquet", lambda p: pd.DataFrame({"n": [1]}).to_parquet(p), "cannot be read as a vector"),
    "table without geometry": ("a.gpkg", lambda p: pyogrio.write_dataframe(pd.DataFrame({"n": [1]}), p), "no geometry beside"),
    "NaN in a file": ("a.gpkg", lambda p: table(SQUARE, SPIKE).to_file(p), "are no numbers; found 1 of 2 shapes .* number 2"),
    "NaN in parquet": ("a.parquet", lambda p: table(SPIKE).to_parquet(p), "are no numbers; found 1 of 1 shapes"),
    "a building site": ("a.gpkg", _local, "has a CRS without a place on the Earth; found .*building site.*"),
    "outside the CRS": (
        "a.parquet",
        _far,
        "lie where their CRS has no longitude and latitude; found WGS 84 / UTM",
    ),
    "RGI 6 texts": ("a.gpkg", lambda p: table(SQUARE, **RGI6).to_file(p), "'abc' in the outlines is no zmin_m; found 1 of 1"),
    "shapefile cut off": ("a.shp", _cut_shapefile, r"a\.shp is cut off; found 1500 bytes; expected 2820 bytes, as its header"),
}


@pytest.mark.parametrize(("name", "spoil", "told"), SPOILT.values(), ids=SPOILT)
def test_spoilt_files_are_explained(tmp_path, name, spoil, told):
    spoil(tmp_path / name)
    with pytest.raises(VigieError, match=told):
        read_outlines(tmp_path / name)


def test_numbers_of_rgi_6_may_be_texts():
    texts = pd.concat([table(SQUARE, BgnDate=["20001030"], Zmin=[text]) for text in ("4200", "-9999", "", None)])
    assert rename(texts)["zmin_m"].fillna(-1).tolist() == [4200, -1, -1, -1]


def test_one_of_several_layers_must_be_named(tmp_path):
    path = tmp_path / "basin.gpkg"
    table(shapely.LineString([(10, 46), (11, 46)])).to_file(path, layer="rivers")
    table(SQUARE, name=["Great Lake"]).to_file(path, layer="lakes")
    assert read_outlines(path).table["glac_name"].tolist() == ["Great Lake"]
    table(SQUARE, name=["Great Glacier"]).to_file(path, layer="glaciers")
    with pytest.raises(VigieError, match=r"several layers; found rivers \(LineString\), lakes .* with publish\.outlines_layer"):
        read_outlines(path)
    assert read_outlines(path, "glaciers").table["glac_name"].tolist() == ["Great Glacier"]
    with pytest.raises(VigieError, match=r"no layer 'glacier'; .*did you mean 'glaciers'"):
        read_outlines(path, "glacier")


def _parquet(folder, crs):
    path = folder / "outlines.parquet"
    gpd.GeoDataFrame({"n": [1]}, geometry=[shapely.box(500_000, 5_000_000, 501_000, 5_001_000)], crs=crs).to_parquet(path)
    return path


def test_geoparquet_in_metres_comes_back_in_degrees(tmp_path):
    read = read_outlines(_parquet(tmp_path, "EPSG:32632")).table
    assert read.crs.to_epsg() == 4326 and 8.9 < read.geometry[0].centroid.x < 9.1


@pytest.mark.realdata
def test_rgi6_subset_has_23_invalid_outlines_before_and_none_after(samples):
    read = read_outlines(samples / "glaciers/rgi/rgi60_hma_large_subset.gpkg")
    assert (~read.report["valid"]).sum() == 23 and (read.report["action"] == "repaired").sum() == 23
    assert read.table.is_valid.all() and read.table.geom_type.isin(["Polygon", "MultiPolygon"]).all()
    assert read.report["change_km2"].abs().max() < 1e-6
    assert read.table["rgi_id"].is_unique and read.table["o2region"].str.fullmatch(r"\d\d-\d\d").all()
    ratio = read.report["area_after_km2"].to_numpy() / read.table["area_km2"].to_numpy()
    assert 0.08 < np.abs(ratio - 1).max() < 0.12


@pytest.mark.realdata
def test_everest_outlines_have_three_epochs(samples):
    read = read_outlines(samples / "glaciers/everest_landsat7/15_rgi60_glacier_outlines.gpkg").table
    dates = read["src_date"].value_counts().to_dict()
    assert dates == {"2010-04-09T00:00:00": 53, "2002-01-05T00:00:00": 23, "2000-10-30T00:00:00": 10}
    assert read["end_date"].isna().all() and len(read) == 86


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("rgi/RGI2000-v7.0-G-14_laketerminating_karakoram.gpkg", 47),
        ("rgi/RGI2000-v7.0-G-06_laketerminating.gpkg", 24),
        ("rgi/rgi7g_hef_complex.shp", 23),
        ("lakes_iceland_annual/glacial_lakes_1985_2026.gpkg", 198),
    ],
)
def test_sample_outlines_are_read_flat_and_valid(samples, name, count):
    read = read_outlines(samples / "glaciers" / name).table
    assert len(read) == count and read.is_valid.all() and not read.has_z.any()
