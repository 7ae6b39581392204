"""Scenes from STAC catalogues: ours exactly, foreign ones by their assets' names; filters; a closed network."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pystac
import pytest
import rasterio
from pydantic import ValidationError
from rasterio.transform import Affine

from vigie.acquire.catalog import catalog_hash, scene_to_item
from vigie.acquire.search import StacSettings, find_items, item_scene, search_scenes
from vigie.acquire.sensor import all_sensors, load_sensor
from vigie.acquire.sources import SourceSettings, gather
from vigie.core.errors import VigieError

S2_ASSETS = {
    "blue": "B02", "green": "B03", "red": "B04", "rededge1": "B05", "rededge2": "B06", "rededge3": "B07", "nir": "B08",
    "nir08": "B8A", "swir16": "B11", "swir22": "B12", "scl": "SCL",
}  # fmt: skip


def tiff(path: Path, value: int, gsd: float = 20.0) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    layout = {"transform": Affine(gsd, 0, 500000, 0, -gsd, 3100000), "crs": "EPSG:32645", "dtype": "uint16"}
    with rasterio.open(path, "w", driver="GTiff", count=1, height=6, width=6, **layout) as target:
        target.write(np.full((1, 6, 6), value, "uint16"))
    return path.as_posix()


def s2_item(folder: Path, day: date, cloud: float = 10.0, remote: str = "") -> pystac.Item:
    name = f"S2B_45RVL_{day:%Y%m%d}_0_L2A"
    item = pystac.Item(
        id=name,
        geometry={"type": "Polygon", "coordinates": [[[87, 27.9], [87.1, 27.9], [87.1, 28], [87, 28], [87, 27.9]]]},
        bbox=[87, 27.9, 87.1, 28],
        datetime=datetime(day.year, day.month, day.day, 4, 55, 1, tzinfo=UTC),
        properties={"eo:cloud_cover": cloud, "earthsearch:boa_offset_applied": True, "s2:processing_baseline": "05.00"},
    )
    grid = {"proj:code": "EPSG:32645", "proj:shape": [6, 6], "proj:transform": [20, 0, 500000, 0, -20, 3100000]}
    for key, layer in S2_ASSETS.items():
        where = f"{remote}/{name}/{layer}.tif?sig=abc" if remote else tiff(folder / name / f"{layer}.tif", 400)
        item.add_asset(key, pystac.Asset(where, extra_fields={**grid, "raster:bands": [{"nodata": 0}]} if remote else {}))
    return item


@pytest.fixture
def static(tmp_path):
    """A static catalogue on disk: one collection, three days."""
    days = [date(2020, 1, 6), date(2020, 7, 6), date(2021, 1, 6)]
    items = [s2_item(tmp_path / "data", day, cloud) for day, cloud in zip(days, (5.0, 60.0, 15.0), strict=True)]
    extent = pystac.Extent(pystac.SpatialExtent([[87, 27.9, 87.1, 28]]), pystac.TemporalExtent([[items[0].datetime, None]]))
    collection = pystac.Collection("sentinel-2-l2a", "Sentinel-2", extent)
    collection.add_items(items)
    catalog = pystac.Catalog("local", "a catalogue on disk")
    catalog.add_child(collection)
    catalog.normalize_hrefs((tmp_path / "stac").as_posix())
    catalog.save(pystac.CatalogType.SELF_CONTAINED)
    return tmp_path / "stac/catalog.json"


def test_static_catalogue_to_scenes(static):
    scenes = gather([SourceSettings(stac=StacSettings(url=str(static)), region="Everest")])
    assert [scene.datetime for scene in scenes] == ["2020-01-06T04:55:01Z", "2020-07-06T04:55:01Z", "2021-01-06T04:55:01Z"]
    scene = scenes[0]
    assert (scene.sensor, scene.region, scene.crs, scene.shape) == ("sentinel-2", "Everest", "EPSG:32645", (6, 6))
    assert {(b.scale, b.offset) for b in scene.bands} == {(1e-4, 0.0)}
    assert len(scene.sha256) == 11
    assert {s.group for s in scenes} == {scene.id}


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({"cloud_cover": 20}, 2),
        ({"period": (date(2020, 1, 6), date(2020, 12, 31))}, 2),
        ({"period": (date(2020, 1, 7), date(2020, 7, 6))}, 1),
        ({"bbox": (87.05, 27.95, 88, 29)}, 3),
        ({"collections": ("sentinel-2-l2a",), "limit": 2}, 2),
    ],
)
def test_filters(static, filters, count):
    assert len(list(find_items(StacSettings(url=str(static), **filters)))) == count


def test_nothing_found_and_unknown_collection(static):
    with pytest.raises(VigieError, match="has no such scenes"):
        search_scenes(StacSettings(url=str(static), bbox=(0, 0, 1, 1)), [load_sensor("sentinel-2")])
    with pytest.raises(VigieError, match="did you mean 'sentinel-2-l2a'"):
        list(find_items(StacSettings(url=str(static), collections=("sentinel-2-l2",))))


def test_remote_items_are_not_opened(tmp_path):
    item = s2_item(tmp_path, date(2020, 1, 6), remote="https://example.org/cogs")
    scene = item_scene(item, all_sensors(), bands=("red", "swir16"))
    assert [b.name for b in scene.bands] == ["red", "swir16"]
    assert scene.bands[0].href == "https://example.org/cogs/S2B_45RVL_20200106_0_L2A/B04.tif?sig=abc"
    assert (scene.bands[0].nodata, scene.shape, scene.transform[:3]) == (0, (6, 6), (20, 0, 500000))
    assert scene.sha256 == {}


def test_our_own_items_come_back_exactly(static, tmp_path):
    (scene, *_) = search_scenes(StacSettings(url=str(static)), [load_sensor("sentinel-2")])
    catalog = pystac.Catalog("ours", "written by us")
    catalog.add_item(pystac.Item.from_dict(scene_to_item(scene)))
    catalog.normalize_hrefs((tmp_path / "ours").as_posix())
    catalog.save(pystac.CatalogType.SELF_CONTAINED)
    assert search_scenes(StacSettings(url="ours/catalog.json"), [], tmp_path) == [scene]


def test_checksums_of_the_catalogue_are_kept(tmp_path):
    item = s2_item(tmp_path, date(2020, 1, 6), remote="https://example.org/cogs")
    item.assets["red"].extra_fields["file:checksum"] = "1220" + "ab" * 32
    scene = item_scene(item, [load_sensor("sentinel-2")])
    assert list(scene.sha256.values()) == ["ab" * 32]
    resigned = replace(
        scene, bands=tuple(replace(b, href=b.href.replace("sig=abc", "sig=xyz")) for b in scene.bands), sha256={}
    )
    assert catalog_hash([replace(scene, sha256={})]) == catalog_hash([resigned])


class Api(BaseHTTPRequestHandler):
    """The least a STAC API says: a landing page and a search that gives one page."""

    items: ClassVar[list[dict[str, Any]]] = []
    asked: ClassVar[list[dict[str, Any]]] = []

    def do_GET(self):
        root = f"http://127.0.0.1:{self.server.server_port}/"
        conforms = ["https://api.stacspec.org/v1.0.0/core", "https://api.stacspec.org/v1.0.0/item-search"]
        conforms.append("https://api.stacspec.org/v1.0.0/item-search#query")
        links = [{"rel": "self", "href": root}, {"rel": "search", "href": root + "search", "method": "POST"}]
        self.answer(
            {"type": "Catalog", "id": "api", "description": "x", "stac_version": "1.0.0", "conformsTo": conforms}
            | {"links": links}
        )

    def do_POST(self):
        self.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.answer({"type": "FeatureCollection", "features": self.items, "links": []})

    def answer(self, body):
        raw = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, format, *args):
        pass


@contextmanager
def served(handler):
    """The address of a server that runs for a while."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_port}/"
        finally:
            http.shutdown()
            thread.join()


@pytest.fixture
def api():
    with served(Api) as url:
        yield url


def test_an_api_is_asked_once_with_every_filter(api, tmp_path, monkeypatch):
    item = s2_item(tmp_path, date(2020, 1, 6), remote="https://example.org/cogs")
    monkeypatch.setattr(Api, "items", [item.to_dict()])
    monkeypatch.setattr(Api, "asked", [])
    settings = StacSettings(
        url=api,
        collections=("s2",),
        bbox=(86, 27, 88, 29),
        period=(date(2020, 1, 1), date(2020, 2, 1)),
        cloud_cover=20,
        limit=5,
    )
    (scene,) = search_scenes(settings, [load_sensor("sentinel-2")])
    assert scene.id == item.id
    (asked,) = Api.asked
    assert asked["collections"] == ["s2"] and asked["bbox"] == [86, 27, 88, 29]
    assert asked["datetime"] == "2020-01-01T00:00:00Z/2020-02-01T23:59:59Z"
    assert asked["query"] == {"eo:cloud_cover": {"lte": 20}}


def test_items_of_no_known_sensor(tmp_path):
    item = s2_item(tmp_path, date(2020, 1, 6), remote="https://example.org/cogs")
    item.assets = {"visual": pystac.Asset("https://example.org/visual.tif")}
    with pytest.raises(VigieError, match="does not give one scene"):
        item_scene(item, [load_sensor("sentinel-2")])


def test_files_that_are_no_catalogue(tmp_path):
    with pytest.raises(VigieError, match="there is no STAC catalogue"):
        list(find_items(StacSettings(url="nowhere.json"), tmp_path))
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(VigieError, match="is not a STAC catalogue"):
        list(find_items(StacSettings(url="broken.json"), tmp_path))
    (tmp_path / "item.json").write_text(json.dumps(s2_item(tmp_path, date(2020, 1, 6)).to_dict()))
    with pytest.raises(VigieError, match="is not a STAC catalogue"):
        list(find_items(StacSettings(url="item.json"), tmp_path))


CATALOG = {"type": "Catalog", "stac_version": "1.0.0", "id": "root", "description": "x"}
UNDATED = {
    "type": "Feature",
    "stac_version": "1.0.0",
    "id": "undated",
    "geometry": None,
    "properties": {},
    "links": [],
    "assets": {},
}


def linking(rel: str, href: str) -> str:
    return json.dumps({**CATALOG, "links": [{"rel": rel, "href": href}]})


POOR: dict[str, tuple[dict[str, str | bytes], str]] = {
    "a list": ({"catalog.json": "[]"}, r"catalog\.json is not a STAC catalogue; found "),
    "text that is not UTF-8": ({"catalog.json": b'{"id": "\xff"}'}, r"catalog\.json .*; found .*codec can't decode byte 0xff"),
    "a page": ({"catalog.json": "<html>"}, r"catalog\.json is not a STAC catalogue; found .*line 1 column 1"),
    "an item": ({"catalog.json": json.dumps(UNDATED)}, r"catalog\.json is not a STAC catalogue; found "),
    "an unknown type": ({"catalog.json": '{"type": "Song", "stac_version": "1.0.0"}'}, "is not a STAC catalogue; found "),
    "no links": ({"catalog.json": json.dumps(CATALOG)}, "is not a STAC catalogue; found no 'links'; expected"),
    "no child": ({"catalog.json": linking("child", "gone.json")}, r"catalog\.json .*; found HREF: '.*/gone\.json' does not"),
    "child of HTML": (
        {"catalog.json": linking("child", "page.json"), "page.json": "<html>"},
        r"catalog\.json is damaged; found HREF: '.*/page\.json' does not resolve to a STAC object / .*line 1 column 1",
    ),
    "item of HTML": (
        {"catalog.json": linking("item", "page.json"), "page.json": "<html>"},
        r"catalog\.json is damaged; found HREF: '.*/page\.json' does not resolve to a STAC object / .*line 1 column 1",
    ),
    "undated item": (
        {"catalog.json": linking("item", "undated.json"), "undated.json": json.dumps(UNDATED)},
        r"catalog\.json is damaged; found HREF: '.*/undated\.json' does not resolve to a STAC object / .*datetime",
    ),
    "item that is a catalogue": (
        {"catalog.json": linking("item", "other.json"), "other.json": json.dumps({**CATALOG, "links": []})},
        r"is damaged; found .*other\.json of type Catalog behind a link of type item; expected Item; .*catalog\.json",
    ),
    "child of itself": (
        {"catalog.json": linking("child", "catalog.json")},
        r"goes round in a circle; found .*catalog\.json has .*catalog\.json below it and above it",
    ),
    "circle of two": (
        {"catalog.json": linking("child", "other.json"), "other.json": linking("child", "catalog.json")},
        r"goes round in a circle; found .*other\.json has .*catalog\.json below it and above it",
    ),
    "clouds in words": (
        {
            "catalog.json": linking("item", "item.json"),
            "item.json": json.dumps(UNDATED | {"properties": {"datetime": "2020-01-06T00:00:00Z", "eo:cloud_cover": "few"}}),
        },
        "STAC item 'undated' is damaged; found '>' not supported between",
    ),
}


class Folder(SimpleHTTPRequestHandler):
    """Files of the working folder."""

    def log_message(self, format, *args):
        pass


@pytest.fixture(params=["disk", "server"])
def place(request, tmp_path, monkeypatch):
    """Where the files of a folder are found: on disk, and by HTTP."""
    if request.param == "disk":
        yield tmp_path.as_posix()
        return
    monkeypatch.chdir(tmp_path)
    with served(Folder) as url:
        yield url.rstrip("/")


@pytest.mark.parametrize(("files", "says"), POOR.values(), ids=POOR)
def test_a_poor_catalogue_is_one_clear_line(place, tmp_path, files, says):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(VigieError, match=says) as caught:
        list(find_items(StacSettings(url=f"{place}/catalog.json", cloud_cover=50)))
    assert "\n" not in str(caught.value) and "to mend it: " in str(caught.value)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, r"catalog\.json cannot be reached; found HTTP status 404; .*to mend it: check the address"),
        (
            {"catalog.json": linking("child", "gone.json")},
            r"catalog\.json cannot be followed; found HREF: '.*/gone\.json' does not resolve .*: HTTP status 404",
        ),
    ],
)
def test_what_a_server_does_not_have_is_told_by_its_status(tmp_path, monkeypatch, files, says):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    monkeypatch.chdir(tmp_path)
    with served(Folder) as url, pytest.raises(VigieError, match=says):
        list(find_items(StacSettings(url=f"{url}catalog.json")))


@pytest.mark.parametrize("answer", [{"id": "x"}, {**UNDATED}, {"type": "Feature"}, "page"])
def test_a_poor_answer_to_a_search_is_one_clear_line(api, monkeypatch, answer):
    monkeypatch.setattr(Api, "items", [answer])
    with pytest.raises(VigieError, match=r"the answer of the STAC catalogue .* is damaged; found "):
        list(find_items(StacSettings(url=api)))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"proj:code": "EPSG:1"}, "has a CRS without a place on the Earth; found EPSG:1"),
        ({"proj:transform": [20, 0]}, "STAC item 'S2B_.*' is damaged; found not enough values"),
        ({"proj:shape": ["many", 6]}, "STAC item 'S2B_.*' is damaged; found "),
        ({"raster:bands": [{"nodata": "none"}]}, "STAC item 'S2B_.*' is damaged; found could not convert"),
    ],
)
def test_items_with_poor_fields_are_refused(tmp_path, fields, says):
    item = s2_item(tmp_path, date(2020, 1, 6), remote="https://example.org/cogs")
    for asset in item.assets.values():
        asset.extra_fields.update(fields)
    with pytest.raises(VigieError, match=says):
        item_scene(item, [load_sensor("sentinel-2")])


def test_a_closed_network_is_one_clear_line():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(VigieError, match="cannot be reached; found no network") as caught:
        list(find_items(StacSettings(url=f"http://127.0.0.1:{port}/")))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [{"bbox": (10, 0, 5, 1)}, {"period": (date(2021, 1, 1), date(2020, 1, 1))}, {"cloud_cover": 120}, {"colections": ["x"]}],
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        StacSettings(url="catalog.json", **wrong)
