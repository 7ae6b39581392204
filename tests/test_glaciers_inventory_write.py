"""Writing inventories: exact round trips of the RGI's own table, side files, empty tables, same bytes twice."""

from __future__ import annotations

import errno
import hashlib
import json
from dataclasses import replace

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox

from vigie.apps.glaciers.inventory import attributes, schema
from vigie.apps.glaciers.inventory.build import Inventory, glacier_inventory
from vigie.apps.glaciers.inventory.links import links
from vigie.apps.glaciers.inventory.read import read_outlines
from vigie.apps.glaciers.inventory.settings import InventorySettings
from vigie.apps.glaciers.inventory.write import read_inventory, write_inventory
from vigie.core.errors import VigieError
from vigie.core.legend import Legend, LegendClass

LEGEND = Legend(
    "glaciers",
    tuple(LegendClass(code, name, "#888888") for code, name in enumerate(("land", "clean ice", "debris-covered ice", "water"))),
)


@pytest.fixture(scope="module")
def made() -> Inventory:
    grid = GeoBox((80, 80), Affine(30, 0, 500_000, 0, -30, 3_100_000), "EPSG:32645")
    classes = np.zeros((80, 80), dtype=np.uint8)
    classes[10:50, 10:60], classes[50:60, 20:40] = 1, 3
    dem = np.broadcast_to(5500 - 12 * np.abs(np.arange(80.0) - 35), (80, 80)).astype(np.float32)
    rules = InventorySettings(o1region="15", o2region="15-02", date="2000-10-30", dem_source="ROOF")
    return glacier_inventory(classes, grid, LEGEND, dem=dem, settings=rules)


def test_an_inventory_comes_back_from_every_format_as_it_was(tmp_path, made):
    write_inventory(made, tmp_path)
    back = read_inventory(tmp_path)
    for name in ("glaciers", "complexes", "intersects", "centrelines", "lakes"):
        table = getattr(made, name)
        pd.testing.assert_frame_equal(pd.DataFrame(getattr(back, name)), pd.DataFrame(table), check_exact=True)
        layer = gpd.read_file(tmp_path / "inventory.gpkg", layer=name)
        assert list(layer.columns) == list(table.columns) and len(layer) == len(table)
        assert shapely.equals_exact(layer.geometry.array, table.geometry.array, 0).all()
    pd.testing.assert_frame_equal(back.hypsometry, made.hypsometry)
    assert back.settings == made.settings
    assert len(made.glaciers) == 2 and not made.intersects.empty and not made.lakes.empty


def test_the_shapefile_set_has_the_rgis_files_and_exactly_its_columns(tmp_path, made):
    write_inventory(made, tmp_path, links(made.glaciers, made.glaciers))
    folder = tmp_path / "rgi/VIGIE-v1-G-15"
    sides = ["attributes.csv", "attributes_metadata.json", "submission_info.csv", "hypsometry.csv", "rgi6_links.csv"]
    assert {f"VIGIE-v1-G-15-{side}" for side in sides} <= {path.name for path in folder.iterdir()}
    shapefile = gpd.read_file(folder / "VIGIE-v1-G-15.shp")
    assert list(shapefile.columns) == [*schema.names("glacier"), "geometry"] and len(shapefile.columns) == 29
    assert list(gpd.read_file(folder / "VIGIE-v1-C-15.shp").columns) == [*schema.names("complex"), "geometry"]
    assert list(gpd.read_file(folder / "VIGIE-v1-I-15.shp").columns) == [*schema.names("intersects"), "geometry"]
    lines = gpd.read_file(folder / "VIGIE-v1-L-15.shp")
    wanted = ["rgi_id", "rgi_g_id", "segment_id", "is_main", "outflow_id", "strahler_n", "length_m"]
    assert list(lines.columns) == [*wanted, "geometry"] and schema.names("centrelines") == wanted
    assert list(pd.read_csv(folder / "VIGIE-v1-L-15-attributes.csv").columns) == wanted
    assert list(json.loads((folder / "VIGIE-v1-L-15-attributes_metadata.json").read_text())) == wanted
    bands = pd.read_csv(folder / "VIGIE-v1-G-15-hypsometry.csv")
    assert (bands.iloc[:, 2:].sum(axis=1) == 1000).all() and (bands.columns[2:].astype(int) % 50 == 25).all()
    described = json.loads((folder / "VIGIE-v1-G-15-attributes_metadata.json").read_text())
    assert list(described) == schema.names("glacier") and described["zmed_m"]["units"] == "m"
    submission = pd.read_csv(folder / "VIGIE-v1-G-15-submission_info.csv")
    assert submission["n_outlines"].tolist() == [2]
    assert submission["area_km2"][0] == pytest.approx(made.glaciers["area_km2"].sum())


def test_the_main_centreline_of_each_glacier_has_its_length_and_ends_at_its_terminus(made):
    lines = made.centrelines
    main = lines[lines["is_main"] == 1].set_index("rgi_g_id").loc[made.glaciers["rgi_id"]]
    assert main["length_m"].tolist() == made.glaciers["lmax_m"].tolist()
    ends = [line.coords[-1] for line in main.geometry]
    assert ends == list(zip(made.glaciers["termlon"], made.glaciers["termlat"], strict=True))
    assert ((lines["is_main"] == 1) == (lines["outflow_id"] == -1)).all()
    for _, group in lines.groupby("rgi_g_id", sort=False):
        assert group["segment_id"].tolist() == list(range(len(group)))
        assert group["is_main"].tolist() == [0] * (len(group) - 1) + [1]
    assert lines["rgi_id"].tolist() == [f"VIGIE-v1-L-15-{n:05d}" for n in range(1, len(lines) + 1)]


def test_writing_twice_gives_the_same_bytes_and_leaves_gdal_as_it_was(tmp_path, made):
    def digests(folder):
        write_inventory(made, folder)
        return {p.relative_to(folder): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()}

    before = pyogrio.get_gdal_config_option("OGR_CURRENT_DATE")
    first = digests(tmp_path / "a")
    assert first == digests(tmp_path / "b") and digests(tmp_path / "a") == first
    assert pyogrio.get_gdal_config_option("OGR_CURRENT_DATE") == before
    header = (tmp_path / "a/rgi/VIGIE-v1-G-15/VIGIE-v1-G-15.dbf").read_bytes()[1:4]
    assert tuple(header) == (100, 10, 30)


def test_an_empty_inventory_is_written_with_all_its_columns(tmp_path):
    grid = GeoBox((20, 20), Affine(30, 0, 500_000, 0, -30, 3_100_000), "EPSG:32645")
    nothing = glacier_inventory(np.zeros((20, 20), np.uint8), grid, LEGEND)
    write_inventory(nothing, tmp_path)
    for name, parts in (("glaciers", ("glacier", "glacier_extra")), ("lakes", ("lake",))):
        layer = gpd.read_file(tmp_path / "inventory.gpkg", layer=name)
        assert len(layer) == 0 and list(layer.columns) == [*schema.names(*parts), "geometry"]
    assert len(gpd.read_file(tmp_path / "rgi/VIGIE-v1-G-00/VIGIE-v1-G-00.shp")) == 0
    assert read_inventory(tmp_path).glaciers.empty


def test_a_glacier_without_dem_is_written_with_gaps(tmp_path):
    grid = GeoBox((20, 20), Affine(30, 0, 500_000, 0, -30, 3_100_000), "EPSG:32645")
    classes = np.zeros((20, 20), np.uint8)
    classes[5:15, 5:15] = 1
    write_inventory(glacier_inventory(classes, grid, LEGEND), tmp_path)
    layer = gpd.read_file(tmp_path / "inventory.gpkg", layer="glaciers")
    assert layer[["lmax_m", "zmin_m", "src_date", "lake_cat"]].isna().all(axis=None)
    assert gpd.read_file(tmp_path / "rgi/VIGIE-v1-G-00/VIGIE-v1-G-00.shp")["lmax_m"].isna().all()


@pytest.mark.parametrize(("suffix", "told"), [(".gpkg", r"inventory\.gpkg"), (".shp", "rgi/VIGIE-v1-G-15")])
def test_a_disk_that_fills_up_is_told_and_leaves_no_draft(tmp_path, made, monkeypatch, suffix, told):
    write = pyogrio.write_dataframe

    def full(table, path, **options):
        write(table, path, **options)
        if path.suffix == suffix:
            raise pyogrio.errors.FeatureError("Could not add feature to layer at index 1: No space left on device")

    monkeypatch.setattr(pyogrio, "write_dataframe", full)
    with pytest.raises(VigieError, match=rf"cannot write .*/{told}; found Could not add feature .*No space left on device"):
        write_inventory(made, tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]


def test_a_disk_without_room_for_parquet_is_told_and_leaves_no_draft(tmp_path, made, monkeypatch):
    def full(table, path, **_):
        path.write_text("half")
        raise OSError(errno.ENOSPC, "Error writing bytes to file")

    monkeypatch.setattr(gpd.GeoDataFrame, "to_parquet", full)
    with pytest.raises(VigieError, match=r"cannot write .*/glaciers\.parquet; found Error writing"):
        write_inventory(made, tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]


def test_a_table_that_breaks_the_schema_is_not_written(tmp_path, made):
    broken = replace(made, glaciers=made.glaciers.assign(term_type=7))
    with pytest.raises(VigieError, match="'term_type' holds values outside"):
        write_inventory(broken, tmp_path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(VigieError, match="no inventory"):
        read_inventory(tmp_path)


def test_links_count_partners_and_group_them():
    boxes = [shapely.box(x, 46, x + 0.02, 46.02) for x in (10.0, 10.02, 10.5)]
    new = gpd.GeoDataFrame({"rgi_id": ["a", "b", "c"]}, geometry=boxes, crs="EPSG:4326")
    old = gpd.GeoDataFrame({"rgi_id": ["old", "far"]}, geometry=[shapely.box(10, 46, 10.04, 46.02), boxes[2]], crs="EPSG:4326")
    found = links(new, old)
    assert found["rgi7_area_fraction"].tolist() == pytest.approx([1, 1, 1])
    assert found["rgi6_area_fraction"].tolist() == pytest.approx([0.5, 0.5, 1])
    assert found["n_rgi7"].tolist() == [2, 2, 1] and found["n_rgi6"].tolist() == [1, 1, 1]
    assert found["cluster_id"].nunique() == 2
    assert links(new.iloc[:0], old).empty


@pytest.mark.realdata
def test_the_rgi7_sample_goes_through_the_writer_unchanged(tmp_path, samples):
    sample = read_outlines(samples / "glaciers/rgi/rgi7g_hef_complex.shp").table
    rules = InventorySettings(collection="RGI2000-v7.0", o1region="11", o2region="11-01")
    whole = attributes.complex_table(sample, np.zeros(len(sample), np.int64), rules).assign(area_err_km2=4.32, truncated=False)
    extra = {"debris_area_km2": 0.0, "area_err_km2": 0.1, "truncated": False, "complex_id": whole["rgi_id"][0]}
    inventory = Inventory(
        glaciers=schema.conform(sample.assign(**extra), schema.fields("glacier", "glacier_extra")),
        complexes=schema.conform(whole, schema.fields("complex", "complex_extra")),
        intersects=attributes.intersects(sample, rules),
        centrelines=schema.empty("centrelines"),
        lakes=schema.empty("lake"),
        hypsometry=attributes.hypsometry_table({}),
        settings=rules,
    )
    write_inventory(inventory, tmp_path)
    expected = gpd.read_file(samples / "glaciers/rgi/rgi7g_hef_complex.shp")
    written = gpd.read_file(tmp_path / "rgi/RGI2000-v7.0-G-11/RGI2000-v7.0-G-11.shp")
    columns = schema.names("glacier")
    assert len(columns) == 28 and list(written.columns) == list(expected.columns)
    pd.testing.assert_frame_equal(pd.DataFrame(written[columns]), pd.DataFrame(expected[columns]), check_exact=True)
    assert shapely.equals_exact(shapely.force_2d(expected.geometry.array), written.geometry.array, 0).all()
    layer = gpd.read_file(tmp_path / "inventory.gpkg", layer="glaciers")
    pd.testing.assert_frame_equal(pd.DataFrame(layer[columns]), pd.DataFrame(expected[columns]), check_exact=True)
