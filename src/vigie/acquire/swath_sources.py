"""What a precipitation experiment says about its files, turned into granules and their catalogue."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from pydantic import BaseModel, ConfigDict, Field, field_validator

from vigie.acquire.catalog import read_items, write_items
from vigie.acquire.files import digests
from vigie.acquire.granules.recognise import open_swath
from vigie.acquire.sources import expand
from vigie.core.errors import VigieError
from vigie.core.granule import Granule
from vigie.core.swath import FLAGS

GRANULE_PROPERTY = "vigie:granule"
"""The property of a STAC item that holds the exact granule, as JSON."""
UNKNOWN_PERIOD = ("1960-01-01T00:00:00Z", "2100-01-01T00:00:00Z")
"""STAC wants a time; no radiometer flew before."""


class GranuleSourceSettings(BaseModel):
    """One source of swaths or tables of footprints."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    files: tuple[str, ...] = Field(min_length=1, description="paths, globs or sample: patterns of granules, tables or images")
    label_source: str = Field(
        default="", description="where rain rates of the files come from: dpr, cmb, era5 ...; tables need it"
    )
    region: str = Field(default="", description="region, for scores by region")

    @field_validator("files", mode="before")
    @classmethod
    def _one_or_many(cls, files: Any) -> Any:
        return (files,) if isinstance(files, str) else files


def gather_granules(sources: Sequence[GranuleSourceSettings], base: Path) -> list[Granule]:
    """Look at the files of every source.

    Raises
    ------
    VigieError: nothing is found, a file is no swath or damaged, or two have the same name.
    """
    found = [granule_of(path, source) for source in sources for pattern in source.files for path in expand(pattern, base)]
    names = [granule.id for granule in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise VigieError("swaths have the same name", found=", ".join(twice), do="give each file once, or rename the files")
    return found


def granule_of(path: Path, source: GranuleSourceSettings) -> Granule:
    """Look at one file."""
    swath = open_swath(path, label_source=source.label_source)
    begin, end = _period(swath)
    return Granule(
        id=path.name.removesuffix(path.suffix) if path.suffix.lower() in (".npz", ".mat", ".nc") else path.stem,
        href=path.absolute().as_posix(),
        sensor=str(swath.attrs["sensor"]),
        platform=str(swath.attrs["platform"]),
        product=str(swath.attrs["product"]),
        channels=tuple(map(str, swath["channel"].values)) if "channel" in swath.coords else (),
        scans=swath.sizes["scan"],
        pixels=swath.sizes["pixel"],
        footprint=_footprint(swath),
        label_source=str(swath.attrs.get("label_source", "")) if "truth" in swath or "phase" in swath else "",
        rain="truth" in swath,
        begin=begin,
        end=end,
        region=source.region,
        counts=counts_of(swath),
        sha256=digests([path.absolute().as_posix()])[path.absolute().as_posix()],
    )


def counts_of(swath: xr.Dataset) -> dict[str, int]:
    """Count the footprints that carry each flag, those whose label is missing, and what the reader dropped or masked.

    Examples
    --------
    >>> swath = xr.Dataset({"flags": (("scan", "pixel"), np.array([[1, 4, 0]], np.uint8))}, attrs={"count_dropped": 3})
    >>> {name: count for name, count in counts_of(swath).items() if count}
    {'count_nodata': 1, 'count_suspect': 1, 'count_dropped': 3}
    """
    flags = swath["flags"].values if "flags" in swath else np.zeros(0, np.uint8)
    counts = {f"count_{name}": int(((flags & np.uint8(bit)) > 0).sum()) for name, bit in FLAGS.items()}
    if "truth" in swath:
        counts["count_no_truth"] = int((~np.isfinite(swath["truth"].values)).sum())
    counts["count_no_position"] = int((~np.isfinite(swath["latitude"].values)).sum()) if "latitude" in swath else 0
    return counts | {str(name): int(value) for name, value in swath.attrs.items() if str(name).startswith("count_")}


def write_granules(granules: Sequence[Granule], path: Path) -> None:
    """Write granules as a GeoParquet file of STAC items, whole or not at all."""
    write_items([_item(granule) for granule in granules], path)


def read_granules(path: Path) -> list[Granule]:
    """Read granules back, in the order they were written.

    Raises
    ------
    VigieError: the file is missing, no Parquet, or not a catalogue of granules.
    """
    return [Granule.from_dict(json.loads(item["properties"][GRANULE_PROPERTY])) for item in read_items(path, GRANULE_PROPERTY)]


def granules_hash(granules: Sequence[Granule]) -> str:
    """Digest what the granules hold, wherever their files lie."""
    placeless = [granule.placeless() for granule in granules]
    return hashlib.sha256(json.dumps(placeless, sort_keys=True).encode()).hexdigest()


def _item(granule: Granule) -> dict[str, Any]:
    """Describe a granule as a STAC 1.0 item."""
    corners = np.array(granule.footprint["coordinates"][0])
    begin, end = granule.begin or UNKNOWN_PERIOD[0], granule.end or UNKNOWN_PERIOD[1]
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": ["https://stac-extensions.github.io/file/v2.1.0/schema.json"],
        "id": granule.id,
        "geometry": dict(granule.footprint),
        "bbox": [*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist()],
        "properties": {
            "datetime": None,
            "start_datetime": begin,
            "end_datetime": end,
            "license": granule.licence or "unknown",
            "vigie:sensor": granule.sensor,
            "vigie:label_source": granule.label_source,
            "vigie:region": granule.region,
            GRANULE_PROPERTY: json.dumps(granule.to_dict(), sort_keys=True),
        },
        "links": [],
        "assets": {"data": {"href": granule.href, "roles": ["data"], "file:checksum": "1220" + granule.sha256}},
    }


def _period(swath: xr.Dataset) -> tuple[str | None, str | None]:
    """First and last known time of a swath."""
    times = swath["time"].values
    known = times[~np.isnat(times)]
    if not known.size:
        return None, None
    first, last = (np.datetime_as_string(moment, unit="s") + "Z" for moment in (known.min(), known.max()))
    return first, last


def _footprint(swath: xr.Dataset) -> dict[str, Any]:
    """Draw the box of longitudes and latitudes that a swath lies in."""
    west, east, south, north = (
        float(function(swath[name].values)) for name in ("longitude", "latitude") for function in (np.nanmin, np.nanmax)
    )
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}
