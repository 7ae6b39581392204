"""Sentinel-2 offsets and Landsat coefficients come from the product's metadata; hostile XML is refused."""

from __future__ import annotations

import math

import pytest

from vigie.acquire.metadata import SENTINEL2_BANDS, landsat_mtl, parse_xml, read_coefficients, sentinel2_item, sentinel2_safe
from vigie.core.errors import VigieError

MTL = """GROUP = LANDSAT_METADATA_FILE
    SUN_ELEVATION = 30.00000000
    REFLECTANCE_MULT_BAND_3 = 2.0000E-05
    REFLECTANCE_ADD_BAND_3 = -0.100000
    RADIANCE_MULT_BAND_3 = 1.0E-02
    RADIANCE_ADD_BAND_3 = -50.0
    RADIANCE_MULT_BAND_6_VCID_1 = 6.7087E-02
    RADIANCE_ADD_BAND_6_VCID_1 = -0.06709
END_GROUP = LANDSAT_METADATA_FILE
"""


@pytest.mark.realdata
@pytest.mark.parametrize(("baseline", "offset"), [("N0212", 0.0), ("N0400", -0.1), ("N0509", -0.1)])
def test_offset_of_real_products_by_their_metadata(samples, baseline, offset):
    (path,) = (samples / "pivot/product_metadata").glob(f"*_{baseline}_*/MTD_MSIL2A.xml")
    coefficients = read_coefficients(path.as_posix(), "sentinel-2-safe")
    assert set(coefficients) == set(SENTINEL2_BANDS)
    assert set(coefficients.values()) == {(1e-4, offset)}


def test_offset_is_per_band_and_never_by_date():
    offsets = "".join(f'<BOA_ADD_OFFSET band_id="{i}">{-1000 - i}</BOA_ADD_OFFSET>' for i in range(13))
    text = f"<P><START>2016-01-01</START><BOA_QUANTIFICATION_VALUE>10000</BOA_QUANTIFICATION_VALUE>{offsets}</P>"
    coefficients = sentinel2_safe(text, "x.xml")
    assert coefficients["B01"][1] == pytest.approx(-0.1)
    assert coefficients["B8A"][1] == pytest.approx(-0.1008)
    assert coefficients["B12"][1] == pytest.approx(-0.1012)


def test_products_before_2018_name_their_quantification_otherwise():
    text = "<P><L2A_BOA_QUANTIFICATION_VALUE>10000</L2A_BOA_QUANTIFICATION_VALUE></P>"
    assert set(sentinel2_safe(text, "x.xml").values()) == {(1e-4, 0.0)}


def test_an_incomplete_list_of_offsets_is_refused():
    text = '<P><BOA_QUANTIFICATION_VALUE>10000</BOA_QUANTIFICATION_VALUE><BOA_ADD_OFFSET band_id="1">-1000</BOA_ADD_OFFSET></P>'
    with pytest.raises(VigieError, match="no offset for some bands"):
        sentinel2_safe(text, "x.xml")
    with pytest.raises(VigieError, match="not the metadata of a Level-2A product"):
        sentinel2_safe("<P/>", "x.xml")


@pytest.mark.parametrize(
    ("properties", "declared", "offset"),
    [
        ({"earthsearch:boa_offset_applied": True, "s2:processing_baseline": "05.09"}, -0.1, 0.0),
        ({"earthsearch:boa_offset_applied": False, "s2:processing_baseline": "05.09"}, -0.1, -0.1),
        ({"earthsearch:boa_offset_applied": False, "s2:processing_baseline": "02.14"}, -0.1, 0.0),
        ({"s2:processing_baseline": "04.00"}, None, -0.1),
        ({}, -0.1, -0.1),
        ({}, 0.0, 0.0),
    ],
)
def test_stac_items_decide_the_offset(properties, declared, offset):
    band = [] if declared is None else [{"scale": 1e-4, "offset": declared}]
    item = {"properties": properties, "assets": {"red": {"href": "S2B/B04.tif", "raster:bands": band}}}
    assert sentinel2_item(item, "item")["B04"] == (1e-4, offset)


def test_stac_items_that_contradict_themselves_or_say_nothing_are_refused():
    asset = {"red": {"href": "B04.tif", "raster:bands": [{"offset": 0}]}}
    with pytest.raises(VigieError, match="contradicts itself"):
        sentinel2_item({"properties": {"s2:processing_baseline": "05.00"}, "assets": asset}, "item")
    with pytest.raises(VigieError, match="does not say whether"):
        sentinel2_item({"properties": {}, "assets": {}}, "item")


def test_landsat_coefficients_divide_by_the_sine_of_the_sun():
    coefficients = landsat_mtl(MTL, "MTL.txt")
    sine = math.sin(math.radians(30.0))
    assert coefficients["B3"] == pytest.approx((2e-5 / sine, -0.1 / sine))
    assert coefficients["B6_VCID_1"] == pytest.approx((0.067087, -0.06709))
    with pytest.raises(VigieError, match="sun is below the horizon"):
        landsat_mtl(MTL.replace("30.0", "-3.0"), "MTL.txt")
    with pytest.raises(VigieError, match="not a Landsat MTL"):
        landsat_mtl("GROUP = X", "MTL.txt")


SAFE = "<P><BOA_QUANTIFICATION_VALUE>{}</BOA_QUANTIFICATION_VALUE>{}</P>"
ITEM = '{{"properties": {}, "assets": {}}}'
DAMAGED = {
    "MTL cut amid a group": ("landsat-mtl", MTL[: MTL.index("    REFLECTANCE_ADD")], "found 1 GROUP and 0 END_GROUP"),
    "MTL without a bias": ("landsat-mtl", MTL.replace("REFLECTANCE_ADD_BAND_3", "X"), "found no 'REFLECTANCE_ADD_BAND_3'"),
    "MTL with a gain of NULL": ("landsat-mtl", MTL.replace("1.0E-02", "NULL"), "found could not convert .* 'NULL'"),
    "MTL with a sun nobody knows": ("landsat-mtl", MTL.replace("30.00000000", "abc"), "found could not convert .* 'abc'"),
    "MTL with a sun of no height": ("landsat-mtl", MTL.replace("30.00000000", "nan"), "found nan for a number"),
    "SAFE divided by 0": ("sentinel-2-safe", SAFE.format(0, ""), "found float division by zero"),
    "SAFE divided by x": ("sentinel-2-safe", SAFE.format("x", ""), "found could not convert .* 'x'"),
    "SAFE divided by infinity": ("sentinel-2-safe", SAFE.format("inf", ""), "found inf for a number"),
    "SAFE without band_id": ("sentinel-2-safe", SAFE.format(1, "<BOA_ADD_OFFSET>-1000</BOA_ADD_OFFSET>"), "no 'band_id'"),
    "SAFE with an empty offset": ("sentinel-2-safe", SAFE.format(1, '<BOA_ADD_OFFSET band_id="0"/>'), "could not convert"),
    "STAC list": ("sentinel-2-stac", "[]", "is not a STAC item; found a JSON list"),
    "STAC text": ("sentinel-2-stac", "<html>", "is not JSON"),
    "STAC without properties": ("sentinel-2-stac", ITEM.format("null", "{}"), "is damaged; found"),
    "STAC without assets": ("sentinel-2-stac", ITEM.format("{}", "null"), "is damaged; found"),
    "STAC baseline": (
        "sentinel-2-stac", ITEM.format('{"s2:processing_baseline": "N0510x"}', "{}"), "found could not convert .* 'N0510x'"),
}  # fmt: skip


@pytest.mark.parametrize(("reader", "text", "says"), DAMAGED.values(), ids=DAMAGED)
def test_damaged_metadata_are_told_with_what_was_found(tmp_path, reader, text, says):
    path = tmp_path / "metadata"
    path.write_text(text)
    with pytest.raises(VigieError, match=f"{path} .*{says}.*; to mend it: download the product again") as caught:
        read_coefficients(path.as_posix(), reader)
    assert "\n" not in str(caught.value)


def test_what_a_reader_says_itself_is_not_called_damage(tmp_path):
    path = tmp_path / "metadata"
    path.write_text(ITEM.format("{}", "{}"))
    with pytest.raises(VigieError, match="does not say whether"):
        read_coefficients(path.as_posix(), "sentinel-2-stac")


BOMB = '<!DOCTYPE b [<!ENTITY a "ha"><!ENTITY c "&a;&a;&a;&a;">]><b>&c;</b>'
EXTERNAL = '<!DOCTYPE b [<!ENTITY x SYSTEM "file:///etc/hostname">]><b>&x;</b>'


@pytest.mark.parametrize("text", [BOMB, EXTERNAL])
def test_hostile_xml_is_refused(text):
    with pytest.raises(VigieError, match="declares entities or a DTD"):
        parse_xml(text, "MTD_MSIL2A.xml")


def test_broken_xml_is_named():
    with pytest.raises(VigieError, match="not well-formed"):
        parse_xml("<a><b></a>", "MTD_MSIL2A.xml")


def test_huge_and_binary_metadata_are_refused(tmp_path, monkeypatch):
    from vigie.acquire import files

    path = tmp_path / "MTD_MSIL2A.xml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(VigieError, match="not text"):
        files.read_text(path.as_posix())
    monkeypatch.setattr(files, "TEXT_LIMIT_BYTES", 10)
    path.write_text("<a>too long</a>")
    with pytest.raises(VigieError, match="too large for metadata"):
        files.read_text(path.as_posix())
