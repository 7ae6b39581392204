"""Read surface precipitation of 2A GPROF granules, the reference retrieval of the constellation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from xarray import Dataset

from vigie.acquire.granules import pps
from vigie.acquire.granules.layout import swath, wrap
from vigie.core.swath import FLAGS

ALGORITHM = "2AGPROF"
GROUP = "S1"
QUALITY = ("qualityFlag", "pixelStatus", "L1CqualityFlag")
"""Codes that are 0 where all is well."""


def read(path: Path, window: slice = pps.WHOLE) -> Dataset:
    """Read a 2A GPROF granule: a swath of `rainfall_rate`, `probability_of_rain` (0 to 1) and `raining` (0, 1, 255 unknown).

    `flags` says `nodata` where there is no rain rate, `suspect` where a quality code is not 0.

    Parameters
    ----------
    path: the granule, 2A or 2A-CLIM.
    window: which scans.

    Raises
    ------
    VigieError: it is no such granule, or a data set is missing.
    """
    with pps.opened(path) as file:
        found = pps.expect(file, (ALGORITHM,))
        group = pps.swath_group(file, (GROUP,))
        cut = slice(*pps.scans(file, group, window))
        rate = pps.measured(file, f"{group}/surfacePrecipitation", cut)
        answer = pps.stored(file, f"{group}/precipitationYesNoFlag", cut)
        suspect = np.any([pps.stored(file, f"{group}/{name}", cut) != 0 for name in QUALITY], axis=0)
        fields: dict[str, NDArray[np.generic]] = {
            "rainfall_rate": rate,
            "frozen_precipitation_rate": pps.measured(file, f"{group}/frozenPrecipitation", cut),
            "probability_of_rain": pps.measured(file, f"{group}/probabilityOfPrecip", cut) / np.float32(100),
            "raining": np.where(pps.is_missing(answer), 255, answer).astype(np.uint8),
            "latitude": pps.measured(file, f"{group}/Latitude", cut),
            "longitude": wrap(pps.measured(file, f"{group}/Longitude", cut)),
            "flags": (FLAGS["nodata"] * ~np.isfinite(rate) + FLAGS["suspect"] * suspect).astype(np.uint8),
        }
        time = pps.scan_time(file, group, cut)
    attributes = {
        "swath": f"{found.orbit}-{found.sensor}-GPROF",
        "sensor": found.sensor,
        "platform": found.platform,
        "product": found.product,
    }
    return swath(fields, time, found.orbit, attributes)
