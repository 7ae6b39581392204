"""What an experiment says about its files of maps, turned into series and their catalogue."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pydantic import BaseModel, ConfigDict, Field, field_validator

from vigie.acquire.catalog import read_items, write_items
from vigie.acquire.files import digests
from vigie.acquire.ice.nsidc import nasateam_series
from vigie.acquire.sources import expand
from vigie.core.errors import VigieError
from vigie.core.series import Series

SERIES_PROPERTY = "vigie:series"
"""The property of a STAC item that holds the exact series, as JSON."""


class SeriesSourceSettings(BaseModel):
    """One source of maps."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    files: tuple[str, ...] = Field(min_length=1, description="paths, globs or sample: patterns of files of daily maps")

    @field_validator("files", mode="before")
    @classmethod
    def _one_or_many(cls, files: Any) -> Any:
        return (files,) if isinstance(files, str) else files


def gather_series(sources: Sequence[SeriesSourceSettings], base: Path) -> list[Series]:
    """Look at the files of every source; give them in the order of time.

    Raises
    ------
    VigieError: nothing is found, a file is damaged or of another kind, two have the same name, lie on different grids, or hold
    the same days.
    """
    found = [series_of(path) for source in sources for pattern in source.files for path in expand(pattern, base)]
    found.sort(key=lambda one: (one.begin, one.id))
    names = [one.id for one in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise VigieError("series have the same name", found=", ".join(twice), do="give each file once, or rename the files")
    for first, second in pairwise(found):
        if first.grid != second.grid:
            raise VigieError(
                f"'{first.id}' and '{second.id}' lie on different grids",
                found=f"{first.shape} of {first.crs} and {second.shape} of {second.crs}",
                expected="all series of an experiment on one grid",
                do="leave one out, or bring it onto the other's grid",
            )
        if second.begin <= first.end:
            raise VigieError(
                f"'{first.id}' and '{second.id}' hold the same days",
                found=f"one ends on {first.end[:10]}, the other begins on {second.begin[:10]}",
                expected="every day once",
                do="leave one out, or cut it",
            )
    return found


def series_of(path: Path) -> Series:
    """Look at one file."""
    grid, times, title = nasateam_series(path)
    href = path.absolute().as_posix()
    begin, end = (f"{np.datetime_as_string(moment, unit='s')}Z" for moment in (times[0], times[-1]))
    return Series(
        id=path.stem,
        href=href,
        product=title,
        variables=("sea_ice_area_fraction",),
        crs=str(grid.crs),
        transform=tuple(map(float, tuple(grid.transform)[:6])),
        shape=(int(grid.shape.y), int(grid.shape.x)),
        begin=begin,
        end=end,
        times=len(times),
        footprint=footprint_of(grid),
        counts={"gaps": gaps_in(times)},
        sha256=digests([href])[href],
    )


def gaps_in(times: NDArray[np.datetime64]) -> int:
    """Count the days between the first and the last that have no map.

    Examples
    --------
    >>> gaps_in(np.array(["2017-07-31", "2017-09-01"], "datetime64[D]"))
    31
    """
    days = times.astype("datetime64[D]")
    return int((days[-1] - days[0]).astype(int)) + 1 - len(days)


def footprint_of(grid: GeoBox) -> dict[str, Any]:
    """Draw the box of longitudes and latitudes that a grid lies in; all longitudes where it holds a pole."""
    bounds = grid.extent.to_crs("EPSG:4326").boundingbox
    west, south, east, north = bounds.left, bounds.bottom, bounds.right, bounds.top
    corner = grid.boundingbox
    if corner.left < 0 < corner.right and corner.bottom < 0 < corner.top and "stere" in grid.crs.proj.to_wkt().lower():
        west, east, south, north = -180.0, 180.0, min(south, north), 90.0
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def write_series(series: Sequence[Series], path: Path) -> None:
    """Write series as a GeoParquet file of STAC items, whole or not at all."""
    write_items([_item(one) for one in series], path)


def read_series(path: Path) -> list[Series]:
    """Read series back, in the order they were written.

    Raises
    ------
    VigieError: the file is missing, no Parquet, or not a catalogue of series.
    """
    return [Series.from_dict(json.loads(item["properties"][SERIES_PROPERTY])) for item in read_items(path, SERIES_PROPERTY)]


def series_hash(series: Sequence[Series]) -> str:
    """Digest what the series hold, wherever their files lie."""
    return hashlib.sha256(json.dumps([one.placeless() for one in series], sort_keys=True).encode()).hexdigest()


def _item(series: Series) -> dict[str, Any]:
    """Describe a series as a STAC 1.0 item."""
    corners = np.array(series.footprint["coordinates"][0])
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": ["https://stac-extensions.github.io/file/v2.1.0/schema.json"],
        "id": series.id,
        "geometry": dict(series.footprint),
        "bbox": [*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist()],
        "properties": {
            "datetime": None,
            "start_datetime": series.begin,
            "end_datetime": series.end,
            "license": series.licence or "unknown",
            "vigie:product": series.product,
            SERIES_PROPERTY: json.dumps(series.to_dict(), sort_keys=True),
        },
        "links": [],
        "assets": {"data": {"href": series.href, "roles": ["data"], "file:checksum": "1220" + series.sha256}},
    }
