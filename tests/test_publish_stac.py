"""The collection: valid STAC, self-contained, true to the files."""

from __future__ import annotations

import hashlib
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
from odc.geo.geobox import GeoBox

from vigie.core.errors import VigieError
from vigie.core.legend import Legend, LegendClass
from vigie.core.scene import Band, Scene
from vigie.publish.cog import write_cog
from vigie.publish.provenance import provenance
from vigie.publish.raster import class_raster
from vigie.publish.stac import Asset, Product, scene_product, write_collection

ICE = Legend("ice", (LegendClass(0, "other", "#8c8c8c"), LegendClass(1, "clean ice", "#3fa9f5")))
GRID = GeoBox.from_bbox((500000, 3000000, 500300, 3000200), "EPSG:32645", resolution=10)


def scene(name: str, moment: str | None) -> Scene:
    ring = [[87.0, 27.0], [87.01, 27.0], [87.01, 27.01], [87.0, 27.01], [87.0, 27.0]]
    footprint = {"type": "Polygon", "coordinates": [ring]}
    bands = (Band("red", "reflectance", "a.tif", 1, 30.0, "1"),)
    return Scene(
        name, "landsat7", moment, bands, "EPSG:32645", (10, 0, 0, 0, -10, 0), (20, 30), footprint, sha256={"a.tif": "00"}
    )


@pytest.fixture
def collection(tmp_path) -> Path:
    folder = tmp_path / "products"
    products = []
    for record in (scene("2000", "2000-10-30T04:30:00Z"), scene("film", None)):
        path = folder / record.id / "class.tif"
        codes = np.ones((1, 20, 30), np.uint8)
        write_cog(path, class_raster(GRID, ICE, "class"), lambda w, c=codes: c[:, w["y"], w["x"]])
        (path.parent / "lakes.csv").write_text("id\n")
        assets = {"class": Asset(path, "Classes", legend=ICE), "lakes": Asset(path.parent / "lakes.csv", "Lakes")}
        products.append(scene_product(record, f"Glaciers of {record.id}", assets, ("1980-01-01", "1980-12-31")))
    record = provenance('{"name": "demo"}', created=datetime(2026, 1, 2, tzinfo=UTC), scenes=[], licence="CC-BY-4.0")
    return write_collection(folder, "Demo glaciers", products, record)


def test_it_is_valid_stac_without_network(collection):
    """Against the schemas of STAC 1.1 that pystac carries."""
    pytest.importorskip("jsonschema")
    from jsonschema import Draft7Validator
    from pystac.validation.local_validator import get_local_schema_cache
    from referencing import Registry, Resource

    schemas = get_local_schema_cache()
    registry = Registry().with_resources([(uri, Resource.from_contents(schema)) for uri, schema in schemas.items()])
    kinds = {"Collection": "collection", "Feature": "item"}
    for path in collection.parent.rglob("*.json"):
        content = json.loads(path.read_text())
        kind = kinds[content["type"]]
        schema = schemas[f"https://schemas.stacspec.org/v1.1.0/{kind}-spec/json-schema/{kind}.json"]
        assert list(Draft7Validator(schema, registry=registry).iter_errors(content)) == []


def test_the_folder_can_move(collection, tmp_path):
    moved = tmp_path / "elsewhere"
    shutil.move(collection.parent, moved)
    read = pystac.Collection.from_file(str(moved / "collection.json"))
    items = {item.id: item for item in read.get_items()}
    assert set(items) == {"2000", "film"}
    for item in items.values():
        for asset in item.assets.values():
            assert Path(asset.get_absolute_href()).is_file()
            assert not asset.href.startswith("/")
    for path in moved.rglob("*.json"):
        links = [link["href"] for link in json.loads(path.read_text())["links"]]
        assert all(link.startswith(".") for link in links)
    assert read.extent.temporal.intervals[0][0].year == 1980


def test_fields_are_those_of_the_file(collection):
    item = pystac.Item.from_file(str(collection.parent / "2000" / "2000.json"))
    asset = item.assets["class"]
    fields, path = asset.extra_fields, Path(asset.get_absolute_href())
    with rasterio.open(path) as file:
        assert fields["proj:transform"] == list(file.transform)[:6]
    assert (fields["proj:code"], fields["proj:shape"]) == ("EPSG:32645", [20, 30])
    assert fields["file:size"] == path.stat().st_size
    assert fields["file:checksum"] == "1220" + hashlib.sha256(path.read_bytes()).hexdigest()
    assert fields["bands"][0]["data_type"] == "uint8"
    assert fields["bands"][0]["statistics"]["mean"] == 1.0
    classes = {c["value"]: c for c in fields["classification:classes"]}
    assert (classes[1]["name"], classes[1]["color_hint"], classes[1]["count"]) == ("clean_ice", "3FA9F5", 600)
    assert item.properties["license"] == "CC-BY-4.0"
    assert item.properties["processing:software"]["vigie"]
    prefixes = ("projection", "raster", "file", "classification", "processing")
    assert sorted(uri.split("/")[3] for uri in item.stac_extensions) == sorted(prefixes)
    assert item.properties["instruments"] == ["landsat7"]


def test_a_footprint_over_the_antimeridian_gets_a_box_over_it(tmp_path):
    def square(west, east):
        return [[[west, -20], [east, -20], [east, -10], [west, -10], [west, -20]]]

    footprint = {"type": "MultiPolygon", "coordinates": [square(178, 180), square(-180, -179)]}
    (tmp_path / "a.csv").write_text("x\n")
    product = Product("fiji", "Fiji", footprint, {"a": Asset(tmp_path / "a.csv", "A")}, "2020-01-01T00:00:00Z")
    write_collection(tmp_path, "Fiji", [product], {})
    assert json.loads((tmp_path / "fiji" / "fiji.json").read_text())["bbox"] == [178.0, -20.0, -179.0, -10.0]


def test_what_cannot_be_catalogued_is_refused(tmp_path):
    footprint = scene("a", None).footprint
    undated = Product("a", "A", footprint, {})
    with pytest.raises(VigieError, match="no date"):
        write_collection(tmp_path, "T", [undated], {})
    missing = Product("a", "A", footprint, {"x": Asset(tmp_path / "no.tif", "X")}, "2020-01-01")
    with pytest.raises(VigieError, match="not there"):
        write_collection(tmp_path, "T", [missing], {})
    with pytest.raises(VigieError, match="each id once"):
        write_collection(tmp_path, "T", [], {})
