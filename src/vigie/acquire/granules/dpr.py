"""Read radar rain as truth: 2A-DPR, 2A-Ku and 2A-Ka (V05 to V07), and 2B-CMB, radar and radiometer combined.

Both tell the rate near the surface, and differ on the same footprint: `label_source` says which one it is. Swath groups changed
their names with the versions:

    V05, V06   2A NS (Ku, 49 rays), MS (Ka matched), HS (Ka high sensitivity);   2B NS, MS
    V07        2A FS (full swath, 49 rays), HS;                                  2B KuGMI, KuKaGMI

The instrument flies backwards at times: then `orientation_deg` is 180, and rays run the other way across the track.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray
from xarray import Dataset

from vigie.acquire.granules import pps
from vigie.acquire.granules.layout import swath, wrap
from vigie.core.swath import FLAGS, PHASES

UNKNOWN = 255
"""Phase that nobody knows; the code of no phase in the file too."""
Fields = dict[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Product:
    """One product: how AlgorithmID may begin, the source its labels are, its swath groups by preference, and their fields."""

    algorithms: tuple[str, ...]
    label_source: str
    groups: tuple[str, ...]
    fields: Callable[[h5py.File, str, slice], Fields]


def read(path: Path, window: slice = pps.WHOLE, group: str = "") -> Dataset:
    """Read a radar granule as a swath of `truth` (near-surface rain rate) and `phase`.

    Parameters
    ----------
    path: the granule.
    window: which scans.
    group: the swath group; "" takes the widest one: FS or NS, KuGMI or NS.

    Raises
    ------
    VigieError: it is no such granule, or a group or data set is missing.
    """
    with pps.opened(path) as file:
        found, product = _product(file)
        chosen = pps.swath_group(file, (group,) if group else product.groups)
        cut = slice(*pps.scans(file, chosen, window))
        fields = product.fields(file, chosen, cut)
        fields |= {
            "latitude": pps.measured(file, f"{chosen}/Latitude", cut),
            "longitude": wrap(pps.measured(file, f"{chosen}/Longitude", cut)),
            "flags": _flags(file, chosen, cut, np.asarray(fields["truth"], np.float32)),
        }
        time = pps.scan_time(file, chosen, cut)
        orientation = np.unique(pps.stored(file, f"{chosen}/scanStatus/SCorientation", cut))
    attributes = {
        "swath": f"{found.orbit}-{found.algorithm}-{chosen}",
        "sensor": found.sensor,
        "platform": found.platform,
        "product": found.product,
        "label_source": product.label_source,
        "orientation_deg": [int(angle) for angle in orientation],
    }
    return swath(fields, time, found.orbit, attributes)


def scan_times(path: Path) -> NDArray[np.datetime64]:
    """Read nothing but the time of each scan of the widest swath group.

    Raises
    ------
    VigieError: it is no such granule, or a data set is missing.
    """
    with pps.opened(path) as file:
        return pps.scan_time(file, pps.swath_group(file, _product(file)[1].groups))


def phase_of_code(code: NDArray[np.integer], rate: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Read `phaseNearSurface`: below 100 solid, 100 to 199 mixed (here unknown), 200 to 254 liquid; no rate, no phase.

    Source: GPM/DPR Level-2 ATBD, 2021, section on the SLV module.

    Examples
    --------
    >>> code = np.array([90, 150, 216, 255, 255], np.uint8)
    >>> phase_of_code(code, np.array([0.4, 1.0, 2.0, 0.0, np.nan])).tolist()
    [2, 255, 1, 0, 255]
    """
    fallen = np.select([code < 100, (code >= 200) & (code < UNKNOWN)], [PHASES.index("snow"), PHASES.index("rain")], UNKNOWN)
    return _dry(fallen, rate)


def phase_of_share(liquid: NDArray[np.floating], rate: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Take the phase that more than half of a rate [mm h-1] is of; `liquid` is the liquid part of it.

    Examples
    --------
    >>> phase_of_share(np.array([0.0, 0.9, np.nan, 0.0]), np.array([0.6, 1.0, 1.0, 0.0])).tolist()
    [2, 1, 255, 0]
    """
    fallen = np.where(2 * liquid >= rate, PHASES.index("rain"), PHASES.index("snow"))
    return _dry(np.where(np.isfinite(liquid), fallen, UNKNOWN), rate)


def _dry(fallen: NDArray[np.integer], rate: NDArray[np.floating]) -> NDArray[np.uint8]:
    none = np.where(rate == 0, PHASES.index("none"), UNKNOWN)
    return np.asarray(np.where(rate > 0, fallen, none), dtype=np.uint8)


def _product(file: h5py.File) -> tuple[pps.Header, Product]:
    found = pps.expect(file, tuple(name for product in PRODUCTS for name in product.algorithms))
    return found, next(product for product in PRODUCTS if found.algorithm.startswith(product.algorithms))


def _radar(file: h5py.File, group: str, cut: slice) -> Fields:
    rate = pps.measured(file, f"{group}/SLV/precipRateNearSurface", cut)
    return {
        "truth": rate,
        "phase": phase_of_code(pps.stored(file, f"{group}/SLV/phaseNearSurface", cut), rate),
        "elevation": pps.measured(file, f"{group}/PRE/elevation", cut),
    }


def _combined(file: h5py.File, group: str, cut: slice) -> Fields:
    """V07 tells the rate near the surface; V06 and before the rate at the surface alone."""
    old = f"{group}/nearSurfPrecipTotRate" not in file and f"{group}/surfPrecipTotRate" in file
    total, sigma = (
        ("surfPrecipTotRate", "surfPrecipTotRateSigma") if old else ("nearSurfPrecipTotRate", "nearSurfPrecipTotRateSigma")
    )
    rate = pps.measured(file, f"{group}/{total}", cut)
    fields: Fields = {"truth": rate, "rainfall_rate_error": pps.measured(file, f"{group}/{sigma}", cut)}
    if old:
        share = pps.measured(file, f"{group}/surfLiqRateFrac", cut)
        return fields | {"phase": phase_of_share(share * rate, rate)}
    return fields | {"phase": phase_of_share(pps.measured(file, f"{group}/nearSurfPrecipLiqRate", cut), rate)}


PRODUCTS = (
    Product(("2ADPR", "2AKu", "2AKa"), "dpr", ("FS", "NS", "MS", "HS"), _radar),
    Product(("2BCMB",), "cmb", ("KuGMI", "NS", "KuKaGMI", "MS"), _combined),
)


def _flags(file: h5py.File, group: str, cut: slice, rate: NDArray[np.float32]) -> NDArray[np.uint8]:
    quality = pps.stored(file, f"{group}/scanStatus/dataQuality", cut)
    bad = np.any(quality.reshape(len(quality), -1) != 0, axis=1)
    return np.asarray(FLAGS["nodata"] * ~np.isfinite(rate) + FLAGS["suspect"] * bad[:, None], dtype=np.uint8)
