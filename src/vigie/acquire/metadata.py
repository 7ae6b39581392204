"""Products whose own metadata decides their radiometry: Sentinel-2 offsets, Landsat MTL coefficients. Never the date.

Each reader takes the text of a metadata file and gives (scale, offset) by layer name, in the words of the sensor's TOML.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from vigie.acquire.files import read_text
from vigie.acquire.sensor import MetadataReader
from vigie.core.errors import VigieError, reason

Coefficients = Mapping[str, tuple[float, float]]
"""(scale, offset) by layer name without its resolution: physical = stored * scale + offset."""

MALFORMED = (KeyError, IndexError, ValueError, TypeError, AttributeError, ZeroDivisionError)
"""What taking a document apart raises where it lacks something or has something else in its place."""

AGAIN = "download the product again"

SENTINEL2_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
"""Sentinel-2 bands in the order of `band_id`."""


def read_coefficients(href: str, reader: MetadataReader) -> Coefficients:
    """Read (scale, offset) of every layer from a product's metadata file.

    Raises
    ------
    VigieError: the file is not what the reader reads, is damaged, or decides nothing.
    """
    text = read_text(href)
    with parsing(href, AGAIN):
        return _READERS[reader](text, href)


@contextmanager
def parsing(origin: str, do: str, faults: tuple[type[Exception], ...] = MALFORMED) -> Iterator[None]:
    """Tell as damage what goes wrong while a foreign document is taken apart; nothing else belongs inside.

    Raises
    ------
    VigieError: the document lacks what it should have, or has something else in its place.

    Examples
    --------
    >>> with parsing("item.json", "fetch it again"):
    ...     float({"gain": "NULL"}["gain"])
    Traceback (most recent call last):
    ...
    vigie.core.errors.VigieError: item.json is damaged; found could not convert string to float: 'NULL'; ...
    """
    try:
        yield
    except faults as error:
        raise VigieError(f"{origin} is damaged", found=reason(error), expected="a whole file", do=do) from error


def sentinel2_safe(text: str, origin: str) -> Coefficients:
    """Decide the offsets of an ESA Level-2A product from its MTD_MSIL2A.xml.

    reflectance = (DN + BOA_ADD_OFFSET[band_id]) / BOA_QUANTIFICATION_VALUE; no list of offsets means 0, whatever the date.
    Products before PSD-14 (2018) write L2A_BOA_QUANTIFICATION_VALUE.

    Source: Sentinel-2 Products Specification Document, processing baseline 04.00.
    """
    root = parse_xml(text, origin)
    quantification = root.findtext(".//BOA_QUANTIFICATION_VALUE") or root.findtext(".//L2A_BOA_QUANTIFICATION_VALUE")
    if not quantification:
        raise VigieError(
            f"{origin} is not the metadata of a Level-2A product",
            found="no BOA_QUANTIFICATION_VALUE",
            do="give a Level-2A product",
        )
    scale = 1.0 / _number(quantification)
    offsets = {int(node.attrib["band_id"]): _number(node.text or "") for node in root.iter("BOA_ADD_OFFSET")}
    if offsets and set(offsets) != set(range(len(SENTINEL2_BANDS))):
        raise VigieError(f"{origin} has no offset for some bands", found=sorted(offsets), expected="band_id 0 to 12", do=AGAIN)
    return {name: (scale, offsets.get(i, 0.0) * scale) for i, name in enumerate(SENTINEL2_BANDS)}


def sentinel2_stac(text: str, origin: str) -> Coefficients:
    """Decide the offsets of Sentinel-2 COGs from the STAC item that lies beside them."""
    try:
        item = json.loads(text)
    except json.JSONDecodeError as error:
        raise VigieError(f"{origin} is not JSON", found=error, expected="a STAC item", do=AGAIN) from error
    if not isinstance(item, dict):
        raise VigieError(f"{origin} is not a STAC item", found=f"a JSON {type(item).__name__}", do=AGAIN)
    return sentinel2_item(item, origin)


def sentinel2_item(item: Mapping[str, Any], origin: str) -> Coefficients:
    """Decide the offsets of a STAC item of Sentinel-2 Level 2A.

    Several fields may speak, and providers get one or the other wrong (earth-search issues 66 and 71), so the order is:
    `earthsearch:boa_offset_applied` true -> 0; else the processing baseline (before 04.00 -> 0; from 04.00 on -1000 DN);
    else `raster:bands` scale and offset. Where the item contradicts itself, or says nothing, it is refused.
    """
    properties = item.get("properties", {})
    declared = _declared_offset(item)
    baseline = next((properties[k] for k in _BASELINE_KEYS if k in properties), None)
    applied = next((properties[k] for k in _APPLIED_KEYS if k in properties), None)
    if applied:
        offset = 0.0
    elif baseline is not None:
        offset = -0.1 if _number(baseline) >= 4.0 else 0.0
        if offset and declared == 0.0:
            raise VigieError(
                f"{origin} contradicts itself about the Sentinel-2 offset",
                found=f"processing baseline {baseline} (offset -1000) but raster:bands offset 0",
                expected="one answer",
                do="set earthsearch:boa_offset_applied in the item to what is true of the files",
            )
    elif declared is not None:
        offset = declared
    else:
        raise VigieError(
            f"{origin} does not say whether the Sentinel-2 offset is in the files",
            expected=f"one of {', '.join(_APPLIED_KEYS + _BASELINE_KEYS)}, raster:bands",
            do="add one of them to the item, from the product's MTD_MSIL2A.xml",
        )
    return dict.fromkeys(SENTINEL2_BANDS, (1e-4, offset))


_APPLIED_KEYS = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")
_BASELINE_KEYS = ("s2:processing_baseline", "processing:version", "sentinel:processing_baseline")


def _declared_offset(item: Mapping[str, Any]) -> float | None:
    """The offset that `raster:bands` (or STAC 1.1 `bands`) gives to the reflectance assets, when they agree."""
    found = {
        _number(band["offset"])
        for asset in item.get("assets", {}).values()
        if re.search(r"(?:^|[/_])B(?:0\d|1[12]|8A)(?:_\d+m)?\.(?:tif|jp2)", asset.get("href", ""))
        for band in [asset, *asset.get("raster:bands", []), *asset.get("bands", [])]
        for band in [{k.removeprefix("raster:"): v for k, v in band.items()}]
        if "offset" in band
    }
    return found.pop() if len(found) == 1 else None


def landsat_mtl(text: str, origin: str) -> Coefficients:
    """Read the top-of-atmosphere coefficients of a Landsat Level-1 product from its MTL.txt.

    reflectance = (M * DN + A) / sin(sun elevation); thermal bands become radiance, W m-2 sr-1 um-1 = M * DN + A.

    Source: Landsat 8-9 Collection 2 Level 1 Data Format Control Book; equal for Landsat 4-7.
    """
    values = dict(re.findall(r"^\s*(\w+)\s*=\s*\"?([^\"\n]*?)\"?\s*$", text, re.MULTILINE))
    if "SUN_ELEVATION" not in values:
        raise VigieError(f"{origin} is not a Landsat MTL file", found="no SUN_ELEVATION", do="give the product's _MTL.txt")
    begun, ended = (len(re.findall(rf"^\s*{word}\s*=", text, re.MULTILINE)) for word in ("GROUP", "END_GROUP"))
    if begun != ended:
        raise VigieError(
            f"{origin} is damaged", found=f"{begun} GROUP and {ended} END_GROUP", expected="a whole file", do=AGAIN
        )
    sine = math.sin(math.radians(_number(values["SUN_ELEVATION"])))
    if sine <= 0:
        raise VigieError(f"{origin}: the sun is below the horizon", found=values["SUN_ELEVATION"], do="use another scene")
    coefficients: dict[str, tuple[float, float]] = {}
    for kind, divisor in (("RADIANCE", 1.0), ("REFLECTANCE", sine)):
        for band, gain in re.findall(rf"^\s*{kind}_MULT_BAND_(\w+)\s*=\s*(\S+)", text, re.MULTILINE):
            bias = values[f"{kind}_ADD_BAND_{band}"]
            coefficients[f"B{band}"] = (_number(gain) / divisor, _number(bias) / divisor)
    return coefficients


def _number(text: str | float) -> float:
    """Read a finite number."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} for a number")
    return number


def parse_xml(text: str, origin: str) -> Element:
    """Parse XML, refusing entities and external references."""
    try:
        root: Element = fromstring(text, forbid_dtd=True)
    except DefusedXmlException as error:
        raise VigieError(
            f"{origin} declares entities or a DTD, which product metadata never does",
            found=type(error).__name__,
            do="do not use this product; get it again from its producer",
        ) from error
    except ParseError as error:
        raise VigieError(f"{origin} is not well-formed XML", found=error, do=AGAIN) from error
    return root


_READERS: Mapping[str, Callable[[str, str], Coefficients]] = {
    "sentinel-2-safe": sentinel2_safe,
    "sentinel-2-stac": sentinel2_stac,
    "landsat-mtl": landsat_mtl,
}
