"""A granule: one file of a swath, or a table of footprints, as the catalogue tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Granule:
    """One swath before it is harmonized.

    `label_source` says where its rain rates come from, '' where it has none; `begin` and `end` are ISO 8601 (UTC), or None when
    nobody knows; `footprint` is GeoJSON in EPSG:4326; `counts` tells what its reader dropped or masked; `sha256` is that of the
    file.
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
    begin: str | None = None
    end: str | None = None
    region: str = ""
    licence: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    sha256: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries and lists, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Granule:
        """Read back what `to_dict` wrote.

        Examples
        --------
        >>> granule = Granule("a", "/a.nc", "GMI", "GPM", "1C", ("89.00V",), 3, 1, {"type": "Point", "coordinates": [0, 0]})
        >>> Granule.from_dict(granule.to_dict()) == granule
        True
        """
        return cls(**{**record, "channels": tuple(record["channels"])})
