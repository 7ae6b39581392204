"""QGIS styles: put beside a product under the same name, the product opens with its legend and colours.

Written for QGIS 3; the layout follows what QGIS itself saves with "Save style as QML".
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from pathlib import Path

from vigie.core.legend import Legend
from vigie.core.store import write_text
from vigie.core.vocabulary import named
from vigie.publish.look import RAMPS

OUTLINE_MM = "0.4"


def class_style(legend: Legend) -> str:
    """Style a class map: each code with its name and colour, unknown transparent.

    Examples
    --------
    >>> from vigie.core.legend import LegendClass
    >>> ice = Legend("ice", (LegendClass(0, "land", "#8c8c8c"), LegendClass(1, "ice", "#3fa9f5")))
    >>> [e.get("label") for e in ET.fromstring(class_style(ice)).iter("paletteEntry")]
    ['land', 'ice']
    """
    root, renderer = _raster("paletted", 1)
    palette = ET.SubElement(renderer, "colorPalette")
    for entry in legend.classes:
        ET.SubElement(palette, "paletteEntry", value=str(entry.code), label=entry.name, color=entry.color, alpha="255")
    return _text(root)


def variable_style(name: str) -> str:
    """Style the first band of a variable's raster with the colours that the vocabulary gives it.

    Examples
    --------
    >>> style = ET.fromstring(variable_style("spread"))
    >>> [(e.get("value"), e.get("color")) for e in style.iter("item")][-1]
    ('0.3', '#fcfdbf')
    """
    variable = named(name)
    return ramp_style(RAMPS[variable.ramp], *variable.shown)


def ramp_style(colours: Sequence[str], low: float, high: float, band: int = 1) -> str:
    """Style a band of a quantity: colours evenly spread from `low` to `high`, in physical units, as QGIS reads scaled bands.

    Examples
    --------
    >>> style = ET.fromstring(ramp_style(("#440154", "#fde725"), 0.0, 1.0, band=2))
    >>> [(e.get("value"), e.get("color")) for e in style.iter("item")]
    [('0', '#440154'), ('1', '#fde725')]
    """
    root, renderer = _raster("singlebandpseudocolor", band)
    renderer.attrib |= {"classificationMin": f"{low:g}", "classificationMax": f"{high:g}"}
    shader = ET.SubElement(ET.SubElement(renderer, "rastershader"), "colorrampshader")
    shader.attrib |= {
        "colorRampType": "INTERPOLATED",
        "classificationMode": "1",
        "clip": "0",
        "minimumValue": f"{low:g}",
        "maximumValue": f"{high:g}",
    }
    for number, colour in enumerate(colours):
        value = low + (high - low) * number / (len(colours) - 1)
        ET.SubElement(shader, "item", value=f"{value:.10g}", label=f"{value:.3g}", color=colour, alpha="255")
    return _text(root)


def polygon_style(field: str, classes: Mapping[str, tuple[str, str]], opacity: float = 0.35) -> str:
    """Style polygons by the value of a field: filled thinly, outlined fully.

    Parameters
    ----------
    field: the column that decides.
    classes: value of the field -> (label, colour '#rrggbb').
    opacity: of the fill, 0 to 1.

    Examples
    --------
    >>> style = ET.fromstring(polygon_style("term_type", {"2": ("lake-terminating", "#0072b2")}))
    >>> style.find("renderer-v2").get("attr"), style.find(".//category").get("label")
    ('term_type', 'lake-terminating')
    """
    root = ET.Element("qgis", version="3.28", styleCategories="Symbology")
    renderer = ET.SubElement(root, "renderer-v2", type="categorizedSymbol", attr=field, forceraster="0", symbollevels="0")
    categories, symbols = ET.SubElement(renderer, "categories"), ET.SubElement(renderer, "symbols")
    for number, (value, (label, colour)) in enumerate(classes.items()):
        ET.SubElement(categories, "category", value=value, symbol=str(number), label=label, render="true")
        _fill_symbol(symbols, str(number), colour, opacity)
    ET.SubElement(root, "layerGeometryType").text = "2"
    return _text(root)


def write_style(product: Path, style: str) -> Path:
    """Write a style beside its product, under the product's name with the suffix QGIS looks for."""
    path = product.with_suffix(".qml")
    write_text(path, style)
    return path


def _raster(kind: str, band: int) -> tuple[ET.Element, ET.Element]:
    root = ET.Element("qgis", version="3.28", styleCategories="Symbology")
    pipe = ET.SubElement(root, "pipe")
    renderer = ET.SubElement(pipe, "rasterrenderer", type=kind, band=str(band), opacity="1", alphaBand="-1", nodataColor="")
    ET.SubElement(renderer, "rasterTransparency")
    ET.SubElement(pipe, "brightnesscontrast", brightness="0", contrast="0", gamma="1")
    ET.SubElement(pipe, "rasterresampler", maxOversampling="2")
    ET.SubElement(root, "blendMode").text = "0"
    return root, renderer


def _fill_symbol(symbols: ET.Element, name: str, colour: str, opacity: float) -> None:
    """A simple fill, told both ways: `Option` for QGIS 3.26 and later, `prop` for earlier ones."""
    symbol = ET.SubElement(symbols, "symbol", type="fill", name=name, alpha="1", clip_to_extent="1", force_rhr="0")
    layer = ET.SubElement(symbol, "layer", {"class": "SimpleFill", "enabled": "1", "locked": "0", "pass": "0"})
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    properties = {
        "color": f"{red},{green},{blue},{round(255 * opacity)}",
        "outline_color": f"{red},{green},{blue},255",
        "outline_style": "solid",
        "outline_width": OUTLINE_MM,
        "outline_width_unit": "MM",
        "style": "solid",
    }
    options = ET.SubElement(layer, "Option", type="Map")
    for key, value in properties.items():
        ET.SubElement(options, "Option", type="QString", name=key, value=value)
        ET.SubElement(layer, "prop", k=key, v=value)


def _text(root: ET.Element) -> str:
    ET.indent(root)
    return "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + ET.tostring(root, encoding="unicode") + "\n"
