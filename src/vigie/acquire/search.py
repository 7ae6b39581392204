"""Find scenes in a STAC API or a static STAC catalogue, remote or on disk."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, time
from datetime import date as Day
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

import pystac
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pyproj.exceptions import ProjError
from pystac_client import Client
from pystac_client.errors import ClientTypeError
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from shapely.errors import ShapelyError
from shapely.geometry import box, shape

from vigie.acquire.catalog import SCENE_PROPERTY, item_to_scene
from vigie.acquire.files import is_remote
from vigie.acquire.local import build_scene, iso_datetime, recognise
from vigie.acquire.metadata import MALFORMED, Coefficients, parsing, sentinel2_item
from vigie.acquire.offsets import Offsets
from vigie.acquire.raster import Header, check_crs, ground_size_m, read_header
from vigie.acquire.sensor import Sensor
from vigie.core.errors import VigieError, causes, nearest, reason
from vigie.core.scene import Scene

UNREADABLE = (pystac.STACError, pystac.STACTypeError, ClientTypeError, APIError, OSError, *MALFORMED)
"""What pystac raises where a catalogue cannot be fetched, is none, or has links that lead nowhere."""
ITEM_FAULTS = (*MALFORMED, ShapelyError, ProjError)
"""What the fields of an item raise that are not what STAC says."""
MEND = "mend the item, or leave it out with bbox or period"

Target = TypeVar("Target", bound=pystac.STACObject)


class StacSettings(BaseModel):
    """What to ask a STAC catalogue for; both days of `period` belong to it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Annotated[str, Field(description="root of a STAC API, or path or URL of a catalog.json")]
    collections: Annotated[tuple[str, ...], Field(description="collections to search; left out: all")] = ()
    bbox: Annotated[tuple[float, float, float, float] | None, Field(description="west, south, east, north in degrees")] = None
    period: Annotated[tuple[Day, Day] | None, Field(description="first and last day")] = None
    cloud_cover: Annotated[float | None, Field(ge=0, le=100, description="at most, in percent")] = None
    limit: Annotated[int | None, Field(ge=1, description="at most so many scenes")] = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.period and self.period[0] > self.period[1]:
            raise ValueError("a period that ends after it begins")
        if self.bbox and not (-90 <= self.bbox[1] < self.bbox[3] <= 90 and -180 <= self.bbox[0] < self.bbox[2] <= 180):
            raise ValueError("west, south, east, north in degrees, west < east and south < north")
        return self


def search_scenes(
    settings: StacSettings,
    sensors: Sequence[Sensor],
    base: Path = Path(),
    bands: Sequence[str] | None = None,
    offsets: Offsets = "checked",
) -> list[Scene]:
    """Find the scenes of a STAC catalogue, sorted by date and name.

    Items that this library wrote give their scenes back exactly; of others, the assets are recognised by the sensors' products.

    Raises
    ------
    VigieError: the catalogue cannot be reached or read, a collection is unknown, nothing is found, or an item is of no known
    sensor.
    """
    items = list(find_items(settings, base))
    if not items:
        raise VigieError(
            f"the STAC catalogue {settings.url} has no such scenes",
            found="0 items",
            do="widen bbox or period, or check the collections",
        )
    scenes = [item_scene(item, sensors, bands, offsets) for item in items]
    return sorted(scenes, key=lambda scene: (scene.datetime or "", scene.id))


def find_items(settings: StacSettings, base: Path = Path()) -> Iterator[pystac.Item]:
    """Yield the items that match, at most `limit`."""
    found = _from_client(settings) if is_remote(settings.url) else _from_disk(settings, base)
    for count, item in enumerate(found):
        if settings.limit is not None and count >= settings.limit:
            return
        yield item


def item_scene(
    item: pystac.Item, sensors: Sequence[Sensor], bands: Sequence[str] | None = None, offsets: Offsets = "checked"
) -> Scene:
    """Turn one STAC item into a scene.

    Grids come from the item's projection fields where it has them, else from the files; Sentinel-2 offsets from its properties.
    """
    if SCENE_PROPERTY in item.properties:
        return _chosen(item_to_scene({"properties": item.properties}), bands)
    assets = {asset.get_absolute_href() or asset.href: asset for asset in item.assets.values()}
    signed = {href.split("?")[0]: href for href in assets}
    found = recognise(list(signed), sensors, named=len(sensors) == 1)
    if len(found) != 1:
        raise VigieError(
            f"STAC item '{item.id}' does not give one scene of a known sensor",
            found=f"{len(found)} scene(s) among {', '.join(list(signed)[:3])} ...",
            do="name the sensor, or declare it in a sensor .toml of your own",
        )
    entry = found[0]
    entry.layers.update({layer: signed[href] for layer, href in entry.layers.items()})
    coefficients: Coefficients | None = None
    if entry.product.metadata and entry.product.metadata.reader.startswith("sentinel-2"):
        with parsing(f"STAC item '{item.id}'", MEND):
            coefficients = sentinel2_item(item.to_dict(transform_hrefs=False), item.id)
    date = iso_datetime(item.datetime, True) if item.datetime else None
    scene = build_scene(entry, date, bands, coefficients, lambda href: _header(item, assets[href], href), offsets)
    return replace(scene, sha256={**_checksums(scene, assets), **scene.sha256})


def _chosen(scene: Scene, names: Sequence[str] | None) -> Scene:
    known = [band.name for band in scene.bands]
    for name in names or ():
        if name not in known:
            raise VigieError(f"scene '{scene.id}' has no band '{name}'", expected=", ".join(known), do=nearest(name, known))
    return replace(scene, bands=tuple(band for band in scene.bands if names is None or band.name in names))


def _checksums(scene: Scene, assets: Mapping[str, pystac.Asset]) -> dict[str, str]:
    """The sha256 that the catalogue gives of files the scene uses (multihash code 12, 20 bytes in hexadecimal)."""
    used = [band.href for band in scene.bands] + [mask.href for mask in scene.masks]
    told = {href: str(assets[href].extra_fields.get("file:checksum", "")) for href in used}
    return {href: code[4:] for href, code in told.items() if code.startswith("1220") and len(code) == 68}


def _from_disk(settings: StacSettings, base: Path) -> Iterator[pystac.Item]:
    path = base / settings.url
    if not path.is_file():
        raise VigieError(
            f"there is no STAC catalogue at {path}", expected="a catalog.json or collection.json", do="check the path"
        )
    with _reading(settings.url, f"{path} is not a STAC catalogue"):
        catalog = pystac.read_file(path.absolute().as_posix())
    if not isinstance(catalog, pystac.Catalog):
        raise VigieError(
            f"{path} is not a STAC catalogue",
            found=type(catalog).__name__,
            expected="a catalogue or collection",
            do="give the catalog.json or collection.json that leads to it",
        )
    yield from _walk(catalog, settings)


def _from_client(settings: StacSettings) -> Iterator[pystac.Item]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pystac_client")
        with _reading(settings.url, f"{settings.url} is not a STAC catalogue"):
            client = Client.open(settings.url, stac_io=StacApiIO(max_retries=3, timeout=30))
            searches = client.conforms_to("ITEM_SEARCH")
        yield from _search(client, settings) if searches else _walk(client, settings)


def _search(client: Client, settings: StacSettings) -> Iterator[pystac.Item]:
    """Let a catalogue search that can."""
    with _reading(settings.url, f"the answer of the STAC catalogue {settings.url} is damaged"):
        yield from client.search(
            collections=settings.collections or None,
            bbox=settings.bbox,
            datetime="/".join(day.isoformat() for day in settings.period) if settings.period else None,
            query={"eo:cloud_cover": {"lte": settings.cloud_cover}} if settings.cloud_cover is not None else None,
            max_items=settings.limit,
        ).items()


@contextmanager
def _reading(url: str, problem: str) -> Iterator[None]:
    """Tell what goes wrong while pystac opens a catalogue or follows its links, with the address that failed."""
    try:
        yield
    except UNREADABLE as error:
        first = causes(error)[-1]
        if isinstance(first, APIError) and not isinstance(first.__context__, UnicodeError):
            link = "" if first is error else f"{error}: "
            raise VigieError(
                f"the STAC catalogue {url} cannot be {'reached' if first is error else 'followed'}",
                found=f"{link}{_answer(first)}",
                do="check the address, connect, or give a catalogue on disk",
            ) from error
        raise VigieError(
            problem,
            found=reason(error),
            expected="a STAC catalogue whose links lead to catalogues and dated items",
            do="check the address, or mend the file that is named",
        ) from error


def _answer(error: APIError) -> str:
    """Say what a server answered; pystac-client gives a status only where there was an answer."""
    status = getattr(error, "status_code", None)
    return f"HTTP status {status}" if status else f"no network or no such server ({type(error).__name__})"


def _nodes(catalog: pystac.Catalog, url: str, above: tuple[str | None, ...] = ()) -> Iterator[pystac.Catalog]:
    """Yield a catalogue and those below it."""
    address = catalog.get_self_href()
    if address in above:
        raise VigieError(
            f"the STAC catalogue {url} goes round in a circle",
            found=f"{above[-1]} has {address} below it and above it",
            expected="links of type child that lead downward only",
            do="take that link out",
        )
    yield catalog
    for child in _linked(catalog, "child", pystac.Catalog, url):
        yield from _nodes(child, url, (*above, address))


def _linked(node: pystac.Catalog, rel: str, kind: type[Target], url: str) -> Iterator[Target]:
    """Follow the links of one kind."""
    with _reading(url, f"the STAC catalogue {url} is damaged"):
        for target in node.get_stac_objects(rel):
            if not isinstance(target, kind):
                raise VigieError(
                    f"the STAC catalogue {url} is damaged",
                    found=f"{target.get_self_href()} of type {target.STAC_OBJECT_TYPE} behind a link of type {rel}",
                    expected=kind.__name__,
                    do=f"correct that link of {node.get_self_href()}",
                )
            yield target


def _walk(catalog: pystac.Catalog, settings: StacSettings) -> Iterator[pystac.Item]:
    """Filter a static catalogue, which cannot search by itself."""
    nodes = list(_nodes(catalog, settings.url))
    known = [node.id for node in nodes if isinstance(node, pystac.Collection)]
    for name in settings.collections:
        if name not in known:
            raise VigieError(
                f"the STAC catalogue {settings.url} has no collection '{name}'",
                expected=", ".join(known) or "none: leave collections out",
                do=nearest(name, known),
            )
    for item in (item for node in nodes for item in _linked(node, "item", pystac.Item, settings.url)):
        with parsing(f"STAC item '{item.id}'", MEND, ITEM_FAULTS):
            matches = _matches(item, settings)
        if matches:
            yield item


def _matches(item: pystac.Item, settings: StacSettings) -> bool:
    if settings.collections and item.collection_id not in settings.collections:
        return False
    if settings.bbox and (item.geometry is None or not shape(item.geometry).intersects(box(*settings.bbox))):
        return False
    if settings.cloud_cover is not None and item.properties.get("eo:cloud_cover", 0.0) > settings.cloud_cover:
        return False
    if settings.period is None:
        return True
    moments = [item.datetime] if item.datetime else [item.common_metadata.start_datetime, item.common_metadata.end_datetime]
    first, last = (datetime.combine(d, t, UTC) for d, t in zip(settings.period, (time.min, time.max), strict=True))
    begin, end = moments[0], moments[-1]
    return begin is not None and end is not None and begin <= last and end >= first


def _header(item: pystac.Item, asset: pystac.Asset, href: str) -> Header:
    """Take the grid from the item where it is fully told, else from the file."""
    fields: Mapping[str, Any] = {**item.properties, **asset.extra_fields}
    code = fields.get("proj:code") or (f"EPSG:{fields['proj:epsg']}" if fields.get("proj:epsg") else None)
    size, transform = fields.get("proj:shape"), fields.get("proj:transform")
    if not is_remote(href) or not (code and size and transform):
        return read_header(href, check_whole=not is_remote(href))
    with parsing(f"STAC item '{item.id}'", MEND, ITEM_FAULTS):
        check_crs(href, code)
        bands = fields.get("raster:bands") or fields.get("bands") or [{}]
        a, b, c, d, e, f = (float(value) for value in transform[:6])
        nodata = tuple(None if band.get("nodata") is None else float(band["nodata"]) for band in bands)
        gsd = ground_size_m(code, (a, b, c, d, e, f), size)
        told = [(float(band.get("scale") or 1.0), float(band.get("offset") or 0.0)) for band in bands]
        scales = tuple(None if pair == (1.0, 0.0) else pair for pair in told)
        units = tuple(str(band.get("unit") or "") for band in bands)
        return Header(href, code, (a, b, c, d, e, f), (int(size[0]), int(size[1])), len(nodata), nodata, {}, gsd, scales, units)
