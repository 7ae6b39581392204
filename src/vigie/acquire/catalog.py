"""`catalog.parquet`: the scenes that take part, as STAC items in GeoParquet, read back exactly."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from shapely.geometry import shape
from stac_geoparquet.arrow import parse_stac_items_to_arrow, stac_table_to_items, to_parquet

from vigie.acquire.truth import LAYER
from vigie.core.errors import VigieError
from vigie.core.scene import Band, Scene
from vigie.core.store import whole_file

SCENE_PROPERTY = "vigie:scene"
"""The property that holds the exact scene, as JSON; the item's other fields say the same for other tools."""

UNKNOWN_PERIOD = ("1840-01-01T00:00:00Z", "2100-01-01T00:00:00Z")
"""STAC wants a time; a scene whose date nobody knows gets a period that says nothing."""

EXTENSIONS = (
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/eo/v1.1.0/schema.json",
    "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
)


def write_catalog(scenes: Sequence[Scene], path: Path) -> None:
    """Write scenes as a GeoParquet file of STAC items, whole or not at all.

    Raises
    ------
    VigieError: there is no scene, or two have the same name.
    """
    write_items([scene_to_item(scene) for scene in scenes], path)


def write_items(items: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write STAC items as a GeoParquet file, whole or not at all.

    Raises
    ------
    VigieError: there is no item, or two have the same name.
    """
    names = [item["id"] for item in items]
    if not names or len(set(names)) != len(names):
        raise VigieError("a catalogue needs scenes, each with a name of its own", found=names or "no scene")
    with whole_file(path) as draft:
        to_parquet(parse_stac_items_to_arrow([dict(item) for item in items]), draft)


def read_catalog(path: Path) -> list[Scene]:
    """Read scenes back, in the order they were written.

    Raises
    ------
    VigieError: the file is missing, no Parquet, or not a catalogue of scenes.
    """
    return [item_to_scene(item) for item in read_items(path, SCENE_PROPERTY)]


def read_items(path: Path, needed: str) -> list[dict[str, Any]]:
    """Read STAC items back, in the order they were written; each must have the property `needed`.

    Raises
    ------
    VigieError: the file is missing, no Parquet, or without that property.
    """
    if not path.is_file():
        raise VigieError(f"there is no catalogue at {path}", do="run the acquire stage first")
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise VigieError(f"{path} is not Parquet", found=error, do="delete it and run the acquire stage again") from error
    if needed not in table.column_names:
        raise VigieError(
            f"{path} is not a catalogue of scenes",
            found=table.column_names,
            expected=f"a column {needed}",
            do="delete it and run the acquire stage again",
        )
    return list(stac_table_to_items(table))


def catalog_hash(scenes: Iterable[Scene]) -> str:
    """Digest what the scenes hold, wherever their files lie: paths are replaced by the digests of their files.

    The order of scenes does not count. A file without a digest (a remote one) counts by its address,
    less the signature that some archives add after a question mark.
    """
    lines = sorted(json.dumps(_placeless(scene).to_dict(), sort_keys=True) for scene in scenes)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def scene_to_item(scene: Scene) -> dict[str, Any]:
    """Describe a scene as a STAC 1.0 item (a dictionary)."""
    known = scene.datetime if scene.datetime is None or "T" in scene.datetime else f"{scene.datetime}T00:00:00Z"
    period = {} if known else {"start_datetime": UNKNOWN_PERIOD[0], "end_datetime": UNKNOWN_PERIOD[1]}
    crs = {"proj:code": scene.crs} if scene.crs.startswith("EPSG:") else {"proj:wkt2": scene.crs}
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": list(EXTENSIONS),
        "id": scene.id,
        "geometry": dict(scene.footprint),
        "bbox": list(shape(dict(scene.footprint)).bounds),
        "properties": {
            "datetime": known,
            **period,
            **crs,
            "proj:transform": list(scene.transform),
            "proj:shape": list(scene.shape),
            "gsd": min(band.gsd_m for band in scene.bands),
            "license": scene.licence or "unknown",
            "vigie:sensor": scene.sensor,
            "vigie:region": scene.region,
            "vigie:group": scene.group,
            SCENE_PROPERTY: json.dumps(scene.to_dict(), sort_keys=True),
        },
        "links": [],
        "assets": _assets(scene),
    }


def item_to_scene(item: Mapping[str, Any]) -> Scene:
    """Read the scene back from an item that `scene_to_item` wrote.

    Raises
    ------
    VigieError: another version of vigie wrote it, whose scenes were described otherwise.
    """
    try:
        return Scene.from_dict(json.loads(item["properties"][SCENE_PROPERTY]))
    except (TypeError, KeyError, ValueError) as error:
        raise VigieError(
            f"scene '{item['id']}' of the catalogue cannot be read",
            found=f"{type(error).__name__}: {error}",
            expected="a catalogue that this version of vigie wrote",
            do="run the acquire stage again",
        ) from error


def _assets(scene: Scene) -> dict[str, Any]:
    """One asset a file: its bands in their order in the file, its role, its checksum."""
    assets: dict[str, Any] = {}
    for href in dict.fromkeys(band.href for band in scene.bands):
        bands = sorted((band for band in scene.bands if band.href == href), key=lambda band: band.index)
        name = bands[0].name if len(bands) == 1 else PurePosixPath(href).stem
        assets[_free(assets, name)] = {
            "href": href,
            "roles": ["data"],
            "eo:bands": [_eo_band(band) for band in bands],
            "raster:bands": [_raster_band(band) for band in bands],
        }
    for mask in scene.masks:
        assets[_free(assets, "quality")] = {"href": mask.href, "roles": ["data-mask"]}
    if scene.truth is not None:
        assets[_free(assets, "labels")] = {"href": scene.truth.href.partition(LAYER)[0], "roles": ["labels"]}
    for asset in assets.values():
        if asset["href"] in scene.sha256:
            asset["file:checksum"] = "1220" + scene.sha256[asset["href"]]
    return assets


def _eo_band(band: Band) -> dict[str, Any]:
    return _drop_none(name=band.name, center_wavelength=band.wavelength_um, full_width_half_max=band.bandwidth_um)


def _raster_band(band: Band) -> dict[str, Any]:
    return _drop_none(scale=band.scale, offset=band.offset, nodata=band.nodata, unit=band.units, spatial_resolution=band.gsd_m)


def _drop_none(**fields: object) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}


def _free(taken: Mapping[str, Any], name: str) -> str:
    """A key nobody has yet."""
    number = 1
    key = name
    while key in taken:
        number += 1
        key = f"{name}-{number}"
    return key


def _placeless(scene: Scene) -> Scene:
    def place(href: str) -> str:
        path, mark, layer = href.partition(LAYER)
        return f"sha256:{scene.sha256[path]}{mark}{layer}" if path in scene.sha256 else href.split("?")[0]

    return replace(
        scene,
        bands=tuple(replace(band, href=place(band.href)) for band in scene.bands),
        masks=tuple(replace(mask, href=place(mask.href)) for mask in scene.masks),
        truth=replace(scene.truth, href=place(scene.truth.href)) if scene.truth else None,
        sha256=dict.fromkeys(scene.sha256.values(), ""),
    )
