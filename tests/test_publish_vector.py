"""Layers read back whole, with their type; a driver that fails is told as a disk that is full."""

from __future__ import annotations

import geopandas as gpd
import pandas as pd
import pyogrio
import pytest
from geopandas.testing import assert_geodataframe_equal
from shapely import MultiPolygon, box

from vigie.core.errors import VigieError
from vigie.core.store import whole_file
from vigie.publish.vector import write_layer

LAKES = gpd.GeoDataFrame(
    {"lake_id": ["á", "b"], "area_km2": [1.5, 0.01], "glacier_id": ["g", None]},
    geometry=[box(0, 0, 1, 1).difference(box(0.2, 0.2, 0.4, 0.4)), box(2, 2, 3, 3)],
    crs="EPSG:32645",
)
SEVERAL = LAKES.set_geometry([LAKES.geometry[0], MultiPolygon([box(2, 2, 3, 3), box(4, 4, 5, 5)])], crs=LAKES.crs)


def test_a_geopackage_holds_its_layers_with_their_types(tmp_path):
    path = tmp_path / "inventory.gpkg"
    for name, table in {"lakes": LAKES, "none": LAKES.iloc[:0], "several": SEVERAL}.items():
        write_layer(table, path, "Polygon", layer=name)
    write_layer(pd.DataFrame({"band": [25]}), path, layer="plain")
    assert_geodataframe_equal(gpd.read_file(path, layer="lakes"), LAKES, check_like=True)
    kinds = [("lakes", "Polygon"), ("none", "Polygon"), ("several", "MultiPolygon"), ("plain", None)]
    assert [tuple(row) for row in pyogrio.list_layers(path)] == kinds


def test_a_shapefile_holds_one_part_and_several(tmp_path):
    write_layer(SEVERAL, tmp_path / "lakes.shp", "Polygon")
    assert gpd.read_file(tmp_path / "lakes.shp").geometry.geom_equals(SEVERAL.geometry).all()


@pytest.mark.parametrize("failure", ["DataSourceError", "DataLayerError", "FeatureError", "FieldError", "GeometryError"])
def test_a_driver_that_fails_leaves_nothing_and_is_told(tmp_path, monkeypatch, failure):
    def full(table, path, **_):
        path.write_text("half")
        raise getattr(pyogrio.errors, failure)('sqlite3_exec(CREATE TABLE "a" ("b" REAL))\nfailed: disk is full')

    monkeypatch.setattr(pyogrio, "write_dataframe", full)
    told = r"cannot write .*/a\.gpkg; found sqlite3_exec\(\.\.\.\) failed: disk is full; expected .* room; to mend it: free"
    with pytest.raises(VigieError, match=told), whole_file(tmp_path / "a.gpkg") as draft:
        write_layer(LAKES, draft, "Polygon", layer="lakes")
    assert list(tmp_path.iterdir()) == []
