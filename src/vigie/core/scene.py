"""A scene: what one acquisition holds, resolved to files, bands and units, whatever sensor it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

KINDS = ("reflectance", "thermal", "anomaly", "sar", "coherence", "pan", "terrain")
"""What a band measures. 'pan' is film or a panchromatic instrument without absolute calibration; 'anomaly' is what height and
sunlight do not explain of a thermal band (`vigie.harmonize.thermal`)."""


@dataclass(frozen=True)
class Cross:
    """A reseau cross on a scan of film, in its pixels: (0, 0) is the outer corner of the first one.

    `tilt_deg` turns the arms clockwise from rows and columns; `arm_px` is half the length of a line, `width_px` its width.
    """

    row: float
    column: float
    tilt_deg: float
    arm_px: float
    width_px: float


@dataclass(frozen=True)
class Reseau:
    """The lattice of crosses that a mapping camera exposes onto its film, as large as on the ground at its usual height.

    `arm_m` is half the length of a cross, `width_m` the width of its lines, `spacing_m` the distance of neighbours.

    Raises
    ------
    ValueError: crosses would touch, or are no crosses; reading a sensor file, pydantic says so with the file's name.
    """

    arm_m: float
    width_m: float
    spacing_m: float

    def __post_init__(self) -> None:
        """Refuse crosses that do not stand alone."""
        if not 0 < 2 * self.width_m < self.arm_m < self.spacing_m / 3:
            raise ValueError("a cross has 0 < 2 * width_m < arm_m < spacing_m / 3")


@dataclass(frozen=True)
class Band:
    """One band of a scene: where it is stored, what it measures, and how stored numbers become physical units.

    physical = stored * scale + offset, where stored is neither `nodata` nor NaN; stored >= `saturated` is flagged.
    `index` counts from 1, as GDAL does. Wavelength and bandwidth are None for kinds that have none, `reseau` but on film of a
    mapping camera; `crosses` are those that were found on the scan.
    """

    name: str
    kind: str
    href: str
    index: int
    gsd_m: float
    units: str
    wavelength_um: float | None = None
    bandwidth_um: float | None = None
    scale: float = 1.0
    offset: float = 0.0
    nodata: float | None = None
    saturated: float | None = None
    reseau: Reseau | None = None
    crosses: tuple[Cross, ...] = ()


@dataclass(frozen=True)
class QualityMask:
    """A quality raster and what its values mean: flag name -> bit numbers, or flag name -> values."""

    href: str
    index: int = 1
    bits: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    values: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Truth:
    """Labels of a scene: a raster of codes, or a vector layer to burn (`burn` is the code of what lies inside).

    `legend` names a label legend of the application; `epoch` is the date of the labels where it differs from the image's.
    """

    href: str
    legend: str
    burn: int | None = None
    epoch: str | None = None


@dataclass(frozen=True)
class Scene:
    """One acquisition, independent of its sensor's file layout.

    `datetime` is ISO 8601 (UTC) or None when nobody knows; `crs`, `transform` (row-major a b c d e f) and `shape` (rows,
    columns) describe the grid of the finest band; `footprint` is GeoJSON in EPSG:4326; `group` names scenes that must stay on
    the same side of a fold; `sha256` maps hrefs to digests.
    """

    id: str
    sensor: str
    datetime: str | None
    bands: tuple[Band, ...]
    crs: str
    transform: tuple[float, float, float, float, float, float]
    shape: tuple[int, int]
    footprint: Mapping[str, Any]
    masks: tuple[QualityMask, ...] = ()
    truth: Truth | None = None
    region: str = ""
    group: str = ""
    licence: str = ""
    sha256: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries and lists, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Scene:
        """Read back what `to_dict` wrote."""
        fields = dict(record)
        fields["bands"] = tuple(_band(band) for band in record["bands"])
        fields["masks"] = tuple(
            QualityMask(
                href=mask["href"],
                index=mask["index"],
                bits={name: tuple(v) for name, v in mask["bits"].items()},
                values={name: tuple(v) for name, v in mask["values"].items()},
            )
            for mask in record.get("masks", ())
        )
        fields["truth"] = Truth(**record["truth"]) if record.get("truth") else None
        fields["transform"] = tuple(float(v) for v in record["transform"])
        fields["shape"] = tuple(int(v) for v in record["shape"])
        return cls(**fields)


def _band(record: Mapping[str, Any]) -> Band:
    reseau, crosses = record.get("reseau"), tuple(Cross(**cross) for cross in record.get("crosses", ()))
    return Band(**{**record, "reseau": reseau and Reseau(**reseau), "crosses": crosses})
