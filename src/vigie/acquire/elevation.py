"""Elevation in metres from what a file says of its numbers: scale, offset and unit."""

from __future__ import annotations

from vigie.acquire.raster import Header
from vigie.core.errors import VigieError

FOOT_M = 0.3048
US_SURVEY_FOOT_M = 1200 / 3937
METRES = {
    **dict.fromkeys(("", "m", "metre", "metres", "meter", "meters"), 1.0),
    **dict.fromkeys(("ft", "foot", "feet", "international foot"), FOOT_M),
    **dict.fromkeys(("us survey foot", "us survey feet", "ftus", "us-ft", "foot_us"), US_SURVEY_FOOT_M),
    **dict.fromkeys(("dm", "decimetre", "decimeter"), 0.1),
    **dict.fromkeys(("cm", "centimetre", "centimeter", "centimetres", "centimeters"), 0.01),
}
"""Length of the units of elevation models, metres, by name in lower case; a file that names none holds metres."""


def metres(header: Header, index: int = 1) -> tuple[float, float]:
    """Give scale and offset that turn a band's stored numbers into metres.

    Raises
    ------
    VigieError: the file's unit is unknown.

    Examples
    --------
    >>> frame = {"href": "dem.tif", "crs": "EPSG:32645", "transform": (30, 0, 0, 0, -30, 0), "shape": (2, 2), "count": 1}
    >>> header = Header(**frame, nodata=(None,), tags={}, gsd_m=30.0, scales=((0.1, 0.0),), units=("ft",))
    >>> [round(value, 5) for value in metres(header)]
    [0.03048, 0.0]
    """
    unit = header.units[index - 1] if header.units else ""
    if unit.strip().lower() not in METRES:
        raise VigieError(
            f"the unit of elevations in {header.href} is unknown",
            found=unit,
            expected="metres, feet, US survey feet, decimetres or centimetres",
            do="set it with `gdal_edit.py -units m`, or convert the file",
        )
    scale, offset = header.scale_offset(index) or (1.0, 0.0)
    length = METRES[unit.strip().lower()]
    return scale * length, offset * length
