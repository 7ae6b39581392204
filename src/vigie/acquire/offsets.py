"""The pixels' own word on the Sentinel-2 offset: metadata of some archives are wrong about it (earth-search issue 71)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vigie.acquire.files import is_remote
from vigie.acquire.sensor import Metadata
from vigie.core.errors import VigieError
from vigie.core.raster import opened
from vigie.core.scene import Band

log = logging.getLogger("vigie")

Offsets = Literal["checked", "trusted"]
"""Whether a contradiction between metadata and pixels is refused, or only told."""
OFFSET_DN = 1000.0
_LOOK_PIXELS = 256
_DARK_PERCENTILE = 0.5
_MOST_NEGATIVE = -0.05


def check_offset(scene: str, bands: Sequence[Band], metadata: Metadata | None, offsets: Offsets = "checked") -> None:
    """Refuse a Sentinel-2 scene whose pixels contradict the offset that its metadata gave.

    Local files only: remote ones are not read before they are needed. A decimated view of each reflectance band is enough.

    Parameters
    ----------
    scene, bands, metadata: the scene's name, its resolved bands, and what its product says of its metadata.
    offsets: 'checked', or 'trusted' where the user knows the metadata to be right: a contradiction is then only told.

    Raises
    ------
    VigieError: the offset would be taken off twice, or is still in.
    """
    if metadata is None or not metadata.reader.startswith("sentinel-2"):
        return
    seen = [band for band in bands if band.kind == "reflectance" and not is_remote(band.href)]
    dark = {band.name: dark_dn(_look(band)) for band in seen}
    verdict = offset_contradiction([d for d in dark.values() if d is not None], seen[0].offset / seen[0].scale if seen else 0.0)
    if verdict and offsets == "trusted":
        log.info("acquire: scene '%s': %s; its metadata is trusted all the same (offsets = trusted)", scene, verdict)
    elif verdict:
        raise VigieError(
            f"scene '{scene}': metadata and pixels disagree about the Sentinel-2 offset",
            found=f"{verdict}; darkest DN by band {dark}",
            do="correct the offset in the product's metadata (earthsearch:boa_offset_applied, or BOA_ADD_OFFSET), or set "
            "offsets = 'trusted' in the experiment's source where the metadata is right",
        )


def offset_contradiction(dark: Sequence[float], offset_dn: float) -> str:
    """Say how the darkest DN of the bands contradict an offset ('' when they do not).

    With the offset, a band's darkest pixels lie near 1000; without it, near 0. In deep shadow the atmospheric correction leaves
    reflectances below -0.05 in one band or another, not in half of them; and no ground is so bright that the darkest pixels of
    every band, SWIR included, lie at 950-1150.

    Examples
    --------
    >>> offset_contradiction([90.0, 60.0], -1000.0)
    'taking 1000 off would give reflectances below -0.05'
    >>> offset_contradiction([400.0, 980.0, 1020.0], -1000.0)
    ''
    >>> offset_contradiction([1010.0, 1040.0, 1100.0], 0.0)
    'the darkest pixels of all bands lie near 1000, so the offset is still in'
    >>> offset_contradiction([1010.0, 1100.0, 1040.0], -1000.0)
    ''
    """
    if dark and offset_dn <= -OFFSET_DN and np.median(dark) < OFFSET_DN + _MOST_NEGATIVE * 1e4:
        return f"taking {OFFSET_DN:.0f} off would give reflectances below {_MOST_NEGATIVE}"
    if len(dark) >= 3 and offset_dn == 0 and all(950 <= value <= 1150 for value in dark):
        return "the darkest pixels of all bands lie near 1000, so the offset is still in"
    return ""


def dark_dn(view: NDArray[np.uint16]) -> float | None:
    """Take the 0.5th percentile of valid DN (0 is nodata); None where nothing is valid."""
    valid = view[view > 0]
    return float(np.percentile(valid, _DARK_PERCENTILE)) if valid.size else None


def _look(band: Band) -> NDArray[np.uint16]:
    with opened(band.href) as source:
        shape = (min(source.height, _LOOK_PIXELS), min(source.width, _LOOK_PIXELS))
        view: NDArray[np.uint16] = source.read(band.index, out_shape=shape)
    return view
