"""Scenes survive the catalogue exactly, other tools read it as STAC, and its hash does not depend on where files lie."""

from __future__ import annotations

from dataclasses import replace

import pyarrow.parquet as pq
import pystac
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import shape
from stac_geoparquet.arrow import stac_table_to_items

from vigie.acquire.catalog import SCENE_PROPERTY, catalog_hash, item_to_scene, read_catalog, scene_to_item, write_catalog
from vigie.core.errors import VigieError
from vigie.core.scene import KINDS, Band, QualityMask, Scene, Truth

number = st.floats(-1e6, 1e6, allow_nan=False).map(float)
maybe = st.none() | number
name = st.text("abcdefghij0123456789-_", min_size=1, max_size=12)
href = st.builds(lambda folder, stem: f"/data/{folder}/{stem} é.tif", name, name)
flags = st.dictionaries(
    st.sampled_from(["cloud", "shadow", "snow"]), st.lists(st.integers(0, 15), max_size=3).map(tuple), max_size=2
)
bands = st.builds(
    Band,
    name=name,
    kind=st.sampled_from(KINDS),
    href=href,
    index=st.integers(1, 20),
    gsd_m=st.floats(0.1, 1000),
    units=st.sampled_from(["1", "DN", "K", "m"]),
    wavelength_um=maybe,
    bandwidth_um=maybe,
    scale=number,
    offset=number,
    nodata=maybe,
    saturated=maybe,
)
truths = st.builds(Truth, href=href, legend=name, burn=st.none() | st.integers(0, 254), epoch=st.none() | st.just("2010-04-09"))
west = st.floats(-170, 160)


@st.composite
def scenes(draw):
    x, y = draw(west), draw(st.floats(-80, 70))
    ring = [[x, y], [x, y + 1.5], [x + 1.25, y + 1.5], [x + 1.25, y], [x, y]]
    some = tuple(draw(st.lists(bands, min_size=1, max_size=4)))
    mask = st.builds(QualityMask, href=href, index=st.integers(1, 3), bits=flags, values=flags)
    return Scene(
        id=draw(name),
        sensor=draw(name),
        datetime=draw(st.sampled_from([None, "1980-08-22", "2022-04-13T15:07:59Z"])),
        bands=some,
        crs=draw(st.sampled_from(["EPSG:32645", 'PROJCS["x"]'])),
        transform=(30.0, 0.0, draw(number), 0.0, -30.0, draw(number)),
        shape=(draw(st.integers(1, 20000)), draw(st.integers(1, 20000))),
        footprint={"type": "Polygon", "coordinates": [ring]},
        masks=tuple(draw(st.lists(mask, max_size=2))),
        truth=draw(st.none() | truths),
        region=draw(st.sampled_from(["", "Everest"])),
        group=draw(name),
        licence=draw(st.sampled_from(["", "public domain"])),
        sha256={band.href: "0f" * 32 for band in some},
    )


@settings(max_examples=60, deadline=None)
@given(scenes())
def test_scene_to_item_and_back(scene):
    item = scene_to_item(scene)
    assert item_to_scene(item) == scene
    parsed = pystac.Item.from_dict(item)
    hrefs = {band.href for band in scene.bands} | {mask.href for mask in scene.masks}
    assert {asset.href for asset in parsed.assets.values()} >= hrefs


@settings(max_examples=15, deadline=None)
@given(st.lists(scenes(), min_size=1, max_size=4, unique_by=lambda scene: scene.id))
def test_parquet_round_trip_keeps_scenes_and_their_order(tmp_path_factory, some):
    path = tmp_path_factory.mktemp("c") / "catalog.parquet"
    write_catalog(some, path)
    assert read_catalog(path) == some


def one(**changes) -> Scene:
    ring = [[86.0, 27.0], [87.0, 27.0], [87.0, 28.0], [86.0, 28.0], [86.0, 27.0]]
    red = Band("red", "reflectance", "/data/a/x.tif", 1, 30.0, "1", 0.66, 0.06, 2.75e-5, -0.2, 0.0, None)
    scene = Scene(
        id="x",
        sensor="landsat-7",
        datetime="2000-10-30",
        bands=(red, replace(red, name="thermal", kind="thermal", href="/data/a/t.tif", units="K")),
        crs="EPSG:32645",
        transform=(30.0, 0.0, 478000.0, 0.0, -30.0, 3108140.0),
        shape=(655, 800),
        footprint={"type": "Polygon", "coordinates": [ring]},
        masks=(QualityMask("/data/a/q.tif", 1, {"cloud": (3,)}),),
        truth=Truth("/data/a/l.gpkg", "three", 1, "2010-04-09"),
        sha256={"/data/a/x.tif": "aa" * 32, "/data/a/t.tif": "bb" * 32, "/data/a/l.gpkg": "cc" * 32},
    )
    return replace(scene, **changes)


def test_other_tools_read_the_catalogue_as_stac(tmp_path):
    path = tmp_path / "catalog.parquet"
    write_catalog([one(), one(id="y", datetime=None)], path)
    dated, dateless = (pystac.Item.from_dict(item) for item in stac_table_to_items(pq.read_table(path)))
    assert dated.datetime is not None and dated.datetime.isoformat() == "2000-10-30T00:00:00+00:00"
    assert dateless.datetime is None and dateless.common_metadata.start_datetime is not None
    assert dated.properties["proj:code"] == "EPSG:32645"
    assert shape(dated.geometry).bounds == (86, 27, 87, 28)
    red = dated.assets["red"].extra_fields
    assert red["raster:bands"][0]["scale"] == 2.75e-5
    assert red["eo:bands"][0]["center_wavelength"] == 0.66
    assert red["file:checksum"] == "1220" + "aa" * 32
    assert dated.assets["labels"].roles == ["labels"]
    assert b"geo" in pq.read_schema(path).metadata


def test_hash_depends_on_content_not_on_place_or_order():
    def moved(href: str) -> str:
        return href.replace("/data/a", "/elsewhere")

    here, other = one(), one(id="z")
    there = replace(
        here,
        bands=tuple(replace(b, href=moved(b.href)) for b in here.bands),
        masks=here.masks,
        truth=replace(here.truth, href=moved(here.truth.href)),
        sha256={moved(h): d for h, d in here.sha256.items()},
    )
    assert catalog_hash([here, other]) == catalog_hash([other, there])
    assert catalog_hash([here]) != catalog_hash([other])
    assert catalog_hash([here]) != catalog_hash([replace(here, sha256={**here.sha256, "/data/a/x.tif": "ab" * 32})])


def test_writing_is_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "catalog.parquet"
    write_catalog([one()], path)

    def fail(*_, **__):
        raise RuntimeError("killed")

    monkeypatch.setattr("vigie.acquire.catalog.to_parquet", fail)
    with pytest.raises(RuntimeError):
        write_catalog([one(id="other")], path)
    assert [scene.id for scene in read_catalog(path)] == ["x"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["catalog.parquet"]


def test_faults_of_the_catalogue(tmp_path):
    path = tmp_path / "catalog.parquet"
    with pytest.raises(VigieError, match="needs scenes"):
        write_catalog([], path)
    with pytest.raises(VigieError, match="a name of its own"):
        write_catalog([one(), one()], path)
    with pytest.raises(VigieError, match="run the acquire stage first"):
        read_catalog(path)
    path.write_bytes(b"PAR1 but not")
    with pytest.raises(VigieError, match="is not Parquet"):
        read_catalog(path)
    import pyarrow as pa

    pq.write_table(pa.table({"id": ["a"]}), path)
    with pytest.raises(VigieError, match=SCENE_PROPERTY):
        read_catalog(path)
