"""Vector files: read back whole, with metadata; what a GIS would refuse is refused first."""

from __future__ import annotations

import errno

import geopandas as gpd
import pyarrow.parquet as pq
import pyogrio
import pytest
from geopandas.testing import assert_geodataframe_equal
from shapely import Polygon, box

from vigie.core.errors import VigieError
from vigie.publish.vector import read_metadata, write_geopackage, write_geoparquet

LAKES = gpd.GeoDataFrame(
    {"lake_id": ["á", "b"], "area_km2": [1.5, 0.01], "glacier_id": ["g", None]},
    geometry=[box(0, 0, 1, 1).difference(box(0.2, 0.2, 0.4, 0.4)), box(2, 2, 3, 3)],
    crs="EPSG:32645",
)


def test_a_geopackage_holds_its_layers_and_metadata(tmp_path):
    path = tmp_path / "inventory.gpkg"
    write_geopackage(path, {"lakes": LAKES, "none": LAKES.iloc[:0]}, {"licence": "CC-BY-4.0"})
    assert_geodataframe_equal(gpd.read_file(path, layer="lakes"), LAKES, check_like=True)
    assert [name for name, _ in pyogrio.list_layers(path)] == ["lakes", "none"]
    assert pyogrio.read_info(path, layer="none")["layer_metadata"] == {"licence": "CC-BY-4.0"}
    assert [p.name for p in tmp_path.iterdir()] == ["inventory.gpkg"]


def test_geoparquet_keeps_columns_crs_metadata_and_boxes(tmp_path):
    path = tmp_path / "lakes.parquet"
    write_geoparquet(path, LAKES, {"licence": "CC-BY-4.0"})
    table = gpd.read_parquet(path)
    assert_geodataframe_equal(table[LAKES.columns], LAKES)
    assert table.crs == LAKES.crs
    assert read_metadata(path) == {"licence": "CC-BY-4.0"}
    assert "bbox" in pq.read_schema(path).names
    assert len(gpd.read_parquet(path, bbox=(2.5, 2.5, 2.6, 2.6))) == 1


@pytest.mark.parametrize("write", [lambda p, t: write_geopackage(p, {"a": t}, {}), lambda p, t: write_geoparquet(p, t, {})])
def test_tables_a_gis_would_refuse_are_refused(tmp_path, write):
    bow = gpd.GeoDataFrame(geometry=[Polygon([(0, 0), (1, 1), (1, 0), (0, 1)])], crs="EPSG:32645")
    for table, problem in ((LAKES.set_crs(None, allow_override=True), "no CRS"), (bow, "invalid")):
        with pytest.raises(VigieError, match=problem):
            write(tmp_path / "a.bin", table)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "failure", [OSError(errno.ENOSPC, "No space left on device"), pyogrio.errors.DataSourceError("disk I/O error")]
)
def test_a_full_disk_leaves_no_geopackage(tmp_path, monkeypatch, failure):
    def full(table, path, **_):
        path.write_text("half")
        raise failure

    monkeypatch.setattr(pyogrio, "write_dataframe", full)
    with pytest.raises(VigieError, match="room"):
        write_geopackage(tmp_path / "a.gpkg", {"lakes": LAKES}, {})
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_no_parquet(tmp_path, monkeypatch):
    original = pq.write_table

    def full(table, where, **options):
        original(table, where, **options)
        if hasattr(where, "is_file"):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(VigieError, match="room"):
        write_geoparquet(tmp_path / "a.parquet", LAKES, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.realdata
def test_an_rgi_table_goes_round(samples, tmp_path):
    glaciers = gpd.read_file(samples / "glaciers/rgi/rgi7g_hef_complex.shp")
    write_geopackage(tmp_path / "g.gpkg", {"glaciers": glaciers}, {})
    write_geoparquet(tmp_path / "g.parquet", glaciers, {})
    for table in (gpd.read_file(tmp_path / "g.gpkg"), gpd.read_parquet(tmp_path / "g.parquet")):
        assert table.geometry.geom_equals_exact(glaciers.geometry, 0).all()
        assert table["area_km2"].tolist() == glaciers["area_km2"].tolist()
