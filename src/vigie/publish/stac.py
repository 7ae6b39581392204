"""A STAC 1.1 collection beside the products: one item a scene or epoch, relative links only, so that the folder can move."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import Any

import pystac
import rasterio
from pystac.stac_io import DefaultStacIO
from shapely.geometry import shape

from vigie.core.errors import VigieError
from vigie.core.legend import Legend
from vigie.core.scene import Scene
from vigie.core.store import write_text
from vigie.publish.provenance import sha256

EXTENSIONS = {
    "proj:": "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "raster:": "https://stac-extensions.github.io/raster/v2.0.0/schema.json",
    "file:": "https://stac-extensions.github.io/file/v2.1.0/schema.json",
    "classification:": "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
    "processing:": "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
}
"""Prefix of the fields an item uses -> the extension that defines them."""

MEDIA = {
    ".tif": pystac.MediaType.COG,
    ".gpkg": pystac.MediaType.GEOPACKAGE,
    ".parquet": pystac.MediaType.VND_APACHE_PARQUET,
    ".nc": pystac.MediaType.NETCDF,
    ".qml": pystac.MediaType.XML,
    ".png": pystac.MediaType.PNG,
    ".html": pystac.MediaType.HTML,
    ".json": pystac.MediaType.JSON,
    ".csv": "text/csv",
    ".zarr": "application/vnd.zarr; version=3",
}
"""Media type of each suffix."""


@dataclass(frozen=True)
class Asset:
    """A file of a product, or a Zarr store, which is a folder; a class map names its legend."""

    path: Path
    title: str
    roles: tuple[str, ...] = ("data",)
    legend: Legend | None = None


@dataclass(frozen=True)
class Product:
    """What one item describes: where, when, and the files.

    `footprint` is GeoJSON in EPSG:4326. `datetime` is ISO 8601, or None when only a `period` (begin, end) is known.
    """

    id: str
    title: str
    footprint: Mapping[str, Any]
    assets: Mapping[str, Asset]
    datetime: str | None = None
    period: tuple[str, str] | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)


def scene_product(scene: Scene, title: str, assets: Mapping[str, Asset], period: tuple[str, str] | None = None) -> Product:
    """Make the product of one scene; a scene of unknown date needs a period it lies in."""
    properties = {"instruments": [scene.sensor], "gsd": min(band.gsd_m for band in scene.bands)}
    return Product(scene.id, title, scene.footprint, assets, scene.datetime, period, properties)


def write_collection(folder: Path, title: str, products: Sequence[Product], provenance: Mapping[str, Any]) -> Path:
    """Write `collection.json` and an item for every product; give the collection's path.

    Parameters
    ----------
    folder: where the collection goes; the products' files should lie below it.
    title: one line for a person; it also describes the collection.
    products: at least one.
    provenance: the record made by `vigie.publish.provenance`.

    Raises
    ------
    VigieError: there is no product, an id is used twice, a file is missing, or a product has neither date nor period.
    """
    ids = [product.id for product in products]
    if not ids or len(set(ids)) != len(ids):
        raise VigieError("the products cannot be catalogued", found=ids, expected="at least one product, each id once")
    items = [_item(product, provenance) for product in products]
    collection = pystac.Collection(
        id=str(provenance.get("experiment", {}).get("name", folder.name)),
        title=title,
        description=title,
        extent=pystac.Extent.from_items(items),
        license=_spdx(str(provenance.get("licence", ""))),
    )
    collection.add_items(items)
    collection.normalize_hrefs(str(folder.absolute()))
    for item in items:
        item.make_asset_hrefs_relative()
    collection.save(pystac.CatalogType.SELF_CONTAINED, stac_io=_WholeFiles())
    return folder / "collection.json"


def _item(product: Product, provenance: Mapping[str, Any]) -> pystac.Item:
    moment, begin, end = _times(product)
    properties = {"title": product.title, **product.properties, **_processing(provenance)}
    item = pystac.Item(
        product.id,
        dict(product.footprint),
        _bbox(product.footprint),
        moment,
        properties,
        start_datetime=begin,
        end_datetime=end,
    )
    for key, asset in product.assets.items():
        item.add_asset(key, _asset(asset))
    used = str([properties, *(asset.extra_fields for asset in item.assets.values())])
    item.stac_extensions = [uri for prefix, uri in EXTENSIONS.items() if f"'{prefix}" in used]
    return item


def _times(product: Product) -> tuple[datetime | None, datetime | None, datetime | None]:
    if product.datetime is None and product.period is None:
        raise VigieError(
            f"product '{product.id}' has no date",
            expected="a datetime, or a period (begin, end) it lies in",
            do="give the period of the experiment, or the years the sensor was flying",
        )
    begin, end = (_moment(text) for text in product.period) if product.period else (None, None)
    return _moment(product.datetime) if product.datetime else None, begin, end


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _bbox(footprint: Mapping[str, Any]) -> list[float]:
    """West, south, east, north; west exceeds east where a footprint cut at the antimeridian lies on both sides (RFC 7946)."""
    geometry = shape(dict(footprint))
    west, south, east, north = geometry.bounds
    parts = [part.bounds for part in getattr(geometry, "geoms", [])]
    if west == -180 and east == 180 and len(parts) > 1:
        west = min(part[0] for part in parts if part[0] >= 0)
        east = max(part[2] for part in parts if part[2] <= 0)
    return [west, south, east, north]


def _processing(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Provenance as item properties: the standard's fields where it has them, the hashes and inputs under our name."""
    software = provenance.get("software", {})
    versions = {software["name"]: software["version"]} if software else {}
    ours = {f"vigie:{key}": provenance[key] for key in ("catalogue_sha256", "model_sha256", "inputs") if key in provenance}
    licence = str(provenance.get("licence", ""))
    return {
        "created": provenance.get("created"),
        "license": _spdx(licence),
        "processing:software": {**versions, **provenance.get("libraries", {})},
        **({"vigie:licence": licence} if licence else {}),
        **ours,
    }


def _spdx(licence: str) -> str:
    """A licence that looks like an SPDX identifier, else 'other'."""
    return licence if licence and all(c.isalnum() or c in "-.+" for c in licence) else "other"


def _asset(asset: Asset) -> pystac.Asset:
    if not asset.path.exists():
        raise VigieError(f"the catalogue names a file that is not there: {asset.path}", expected="a written product")
    fields: dict[str, Any] = {}
    if asset.path.is_file():
        fields = {"file:size": asset.path.stat().st_size, "file:checksum": "1220" + sha256(asset.path)}
    if asset.path.suffix == ".tif":
        fields |= _raster_fields(asset)
    return pystac.Asset(
        str(asset.path.absolute()),
        title=asset.title,
        media_type=MEDIA.get(asset.path.suffix, "application/octet-stream"),
        roles=list(asset.roles),
        extra_fields=fields,
    )


def _raster_fields(asset: Asset) -> dict[str, Any]:
    """What the file itself says of its grid, bands and classes."""
    with rasterio.open(asset.path) as file:
        code = ":".join(file.crs.to_authority() or ())
        grid = {
            "proj:code": code or None,
            **({} if code else {"proj:wkt2": file.crs.to_wkt()}),
            "proj:shape": list(file.shape),
            "proj:transform": list(file.transform)[:6],
            "proj:bbox": list(file.bounds),
        }
        bands = [_band(file, number) for number in file.indexes]
        tags = file.tags(1)
    classes = {} if asset.legend is None else {"classification:classes": _classes(asset.legend, tags)}
    return {**grid, "bands": bands, **classes}


def _band(file: rasterio.DatasetReader, number: int) -> dict[str, Any]:
    tags, at = file.tags(number), number - 1
    named = {"minimum": "MINIMUM", "maximum": "MAXIMUM", "mean": "MEAN", "stddev": "STDDEV", "valid_percent": "VALID_PERCENT"}
    statistics = {key: float(tags[f"STATISTICS_{name}"]) for key, name in named.items() if f"STATISTICS_{name}" in tags}
    nodata = file.nodatavals[at]
    return {
        "name": file.descriptions[at] or str(number),
        "description": tags.get("DESCRIPTION", file.descriptions[at] or str(number)),
        "data_type": file.dtypes[at],
        **({} if nodata is None else {"nodata": "nan" if math.isnan(nodata) else nodata}),
        "unit": file.units[at] or "1",
        "statistics": statistics,
        "raster:scale": file.scales[at],
        "raster:offset": file.offsets[at],
        "raster:spatial_resolution": file.res[0],
    }


def _classes(legend: Legend, tags: Mapping[str, str]) -> list[dict[str, Any]]:
    known = [
        {
            "value": c.code,
            "name": c.name.replace(" ", "_"),
            "title": c.name,
            "description": c.name,
            "color_hint": c.color.removeprefix("#").upper(),
            **({"count": int(tags[f"CLASS_{c.code}_PIXELS"])} if f"CLASS_{c.code}_PIXELS" in tags else {}),
        }
        for c in legend.classes
    ]
    return [*known, {"value": legend.unknown, "name": "unknown", "title": "unknown", "description": "no data", "nodata": True}]


class _WholeFiles(DefaultStacIO):
    """Writes each file whole or not at all."""

    def write_text_to_href(self, href: str | PathLike[str], txt: str) -> None:
        """Write one JSON file."""
        write_text(Path(href), txt + "\n")
