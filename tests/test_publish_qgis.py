"""QGIS styles: well-formed, and true to the legend."""

from __future__ import annotations

import pytest
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from vigie.core.legend import Legend, LegendClass
from vigie.publish.look import RAMPS
from vigie.publish.qgis import class_style, polygon_style, ramp_style, write_style

ODD = Legend("odd", (LegendClass(0, 'rock & "soil" <bare>', "#8c8c8c"), LegendClass(3, "lake", "#0b3c8c")))


def parse(style: str):
    """Parse without the document type, which names QGIS's own definition."""
    with pytest.raises(DefusedXmlException):
        fromstring(style, forbid_dtd=True)
    return fromstring(style)


def test_classes_have_their_names_and_colours():
    entries = list(parse(class_style(ODD)).iter("paletteEntry"))
    assert [(e.get("value"), e.get("label"), e.get("color")) for e in entries] == [
        ("0", 'rock & "soil" <bare>', "#8c8c8c"),
        ("3", "lake", "#0b3c8c"),
    ]


def test_a_ramp_runs_from_low_to_high():
    root = parse(ramp_style(RAMPS["viridis"], 0.0, 1.0, band=3))
    renderer = root.find("pipe/rasterrenderer")
    assert (renderer.get("type"), renderer.get("band")) == ("singlebandpseudocolor", "3")
    values = [float(item.get("value")) for item in root.iter("item")]
    assert values[0] == 0.0
    assert values[-1] == 1.0
    assert values == sorted(values)


def test_each_category_of_polygons_has_its_symbol():
    root = parse(polygon_style("type", {"a": ("ice & lake", "#0072b2"), "b": ("other", "#d55e00")}))
    symbols = {s.get("name") for s in root.iter("symbol")}
    assert {c.get("symbol") for c in root.iter("category")} == symbols == {"0", "1"}
    assert root.find(".//Option[@name='color']").get("value") == "0,114,178,89"


def test_a_style_lies_beside_its_product(tmp_path):
    path = write_style(tmp_path / "class.tif", class_style(ODD))
    assert path.name == "class.qml"
    assert path.read_text().startswith("<!DOCTYPE qgis")
