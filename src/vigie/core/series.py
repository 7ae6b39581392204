"""A series: one file of maps on one grid, one map a time, as the catalogue tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Series:
    """Maps of one file before they are harmonized.

    Attributes
    ----------
    id, href: its name, and the file.
    product: what it is, such as 'NSIDC-0081'.
    variables: what it holds, by the names of `core/vocabulary.toml`.
    crs, transform, shape: its grid; the transform is that of rasterio, six numbers, row by row.
    begin, end: ISO 8601 (UTC) of the first and the last map.
    times: how many maps.
    footprint: GeoJSON in EPSG:4326.
    counts: what its reader found, such as pixels that are missing.
    """

    id: str
    href: str
    product: str
    variables: tuple[str, ...]
    crs: str
    transform: tuple[float, ...]
    shape: tuple[int, int]
    begin: str
    end: str
    times: int
    footprint: Mapping[str, Any]
    licence: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    sha256: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries and lists, for JSON."""
        return asdict(self)

    def placeless(self) -> dict[str, Any]:
        """Tell what it holds, wherever its file lies."""
        return {**self.to_dict(), "href": ""}

    @property
    def grid(self) -> tuple[str, tuple[float, ...], tuple[int, int]]:
        """What series of one cube share."""
        return self.crs, self.transform, self.shape

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Series:
        """Read back what `to_dict` wrote.

        Examples
        --------
        >>> square = {"type": "Point", "coordinates": [0, 90]}
        >>> one = Series("a", "/a.nc", "NSIDC-0081", ("x",), "EPSG:3411", (1.0,) * 6, (2, 3), "2015", "2016", 9, square)
        >>> Series.from_dict(one.to_dict()) == one
        True
        """
        lists = {name: tuple(record[name]) for name in ("variables", "transform", "shape")}
        return cls(**{**record, **lists})
