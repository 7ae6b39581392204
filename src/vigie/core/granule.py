"""A granule: one file of a swath, or a table of footprints, as the catalogue tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class LabelFile:
    """A file of rain rates that is brought onto a granule's footprints, and how.

    Attributes
    ----------
    href: the file, or a member of an archive.
    label_source: where its rain rates come from.
    begin, end: ISO 8601 (UTC) of what it holds.
    distance_km: how far from a footprint the centre of its labels may lie.
    minutes: how far from its time.
    least_share: of the antenna's weight that must fall on valid labels.
    channel: whose footprint it is; '' for the finest.
    variable, units: of rain in files that have several, or do not say; '' where the file tells.
    sha256: of the file.
    """

    href: str
    label_source: str
    begin: str
    end: str
    distance_km: float
    minutes: float
    least_share: float
    channel: str = ""
    variable: str = ""
    units: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class Granule:
    """One swath before it is harmonized.

    `label_source` says where its labels come from, '' where it has none, and `rain` whether they are rain rates and not only
    what falls; `begin` and `end` are ISO 8601 (UTC), or None when
    nobody knows; `footprint` is GeoJSON in EPSG:4326; `counts` tells what its reader dropped or masked; `labels` are the files
    that its rain rates are brought from, none where it has its own; `sha256` is that of the file.
    """

    id: str
    href: str
    sensor: str
    platform: str
    product: str
    channels: tuple[str, ...]
    scans: int
    pixels: int
    footprint: Mapping[str, Any]
    label_source: str = ""
    rain: bool = False
    begin: str | None = None
    end: str | None = None
    region: str = ""
    licence: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    labels: tuple[LabelFile, ...] = ()
    sha256: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries and lists, for JSON."""
        return asdict(self)

    def placeless(self) -> dict[str, Any]:
        """Tell what it holds, wherever its files lie.

        Examples
        --------
        >>> point = {"type": "Point", "coordinates": [0, 0]}
        >>> one, other = (Granule("a", href, "GMI", "GPM", "1C", (), 3, 1, point) for href in ("/a.nc", "/b.nc"))
        >>> one.placeless() == other.placeless()
        True
        """
        return {**self.to_dict(), "href": "", "labels": [{**asdict(file), "href": ""} for file in self.labels]}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Granule:
        """Read back what `to_dict` wrote.

        Examples
        --------
        >>> granule = Granule("a", "/a.nc", "GMI", "GPM", "1C", ("89.00V",), 3, 1, {"type": "Point", "coordinates": [0, 0]})
        >>> Granule.from_dict(granule.to_dict()) == granule
        True
        """
        labels = tuple(LabelFile(**file) for file in record.get("labels", ()))
        return cls(**{**record, "channels": tuple(record["channels"]), "labels": labels})
