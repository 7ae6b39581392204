"""What the report tells and draws of a swath, gathered while its blocks pass by: sums, a thinned map, the rainiest stretch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.core.granule import Granule
from vigie.predict.quality import QUALITY

Maps = Mapping[str, NDArray[np.floating]]
"""Values (scan, pixel) by name, positions among them."""
DRAWN = ("rainfall_rate", "truth", "ood_score")
"""What is drawn of a swath, where it is there."""
MAPS = 6
"""Swaths that are drawn; the others are in the products."""
OVERVIEW = (1200, 110)
"""Most scans and pixels of a map of a whole swath: more could not be seen on a page."""
STRETCH = 128
"""Scans of the stretch where it rained most, which is drawn footprint by footprint beside the map of a long swath."""


@dataclass(frozen=True)
class Shown:
    """A swath as the report knows it.

    `flags` counts footprints by the codes of `quality_flag`; `rain_sum` is over `rain_count` retrieved footprints, mm/h;
    `overview` holds every so many scans and pixels of it; `rainiest` a stretch of a long swath whole, from scan `begins` on.
    """

    granule: Granule
    flags: NDArray[np.int64]
    rain_sum: float
    rain_count: int
    overview: Maps | None = None
    rainiest: Maps | None = None
    begins: int = 0


@dataclass
class Watch:
    """Looks at the blocks of a swath as they are written; `drawn` says whether the swath is drawn."""

    granule: Granule
    template: xr.Dataset
    drawn: bool
    flags: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(QUALITY), dtype=np.int64))
    rain_sum: float = 0.0
    rain_count: int = 0
    parts: list[Maps] = field(default_factory=list)
    most: float = -1.0
    rainiest: Maps | None = None
    begins: int = 0

    def look(self, scans: slice, block: xr.Dataset) -> None:
        """Take from a block what the report needs."""
        rain = block["rainfall_rate"].values
        self.flags += np.bincount(block["quality_flag"].values.ravel(), minlength=len(QUALITY))
        self.rain_sum += float(np.nansum(rain, dtype=np.float64))
        self.rain_count += int(np.isfinite(rain).sum())
        if self.drawn:
            maps = self._maps(scans, block)
            down, across = self._steps
            first = -scans.start % down
            self.parts.append({name: values[first::down, ::across].copy() for name, values in maps.items()})
            if down > 1 and rain.shape[1] > 1:
                self._keep_rainiest(scans.start, maps)

    def shown(self) -> Shown:
        """Put together what was seen."""
        told = self.granule, self.flags, self.rain_sum, self.rain_count
        if not self.drawn:
            return Shown(*told)
        overview = {name: np.concatenate([part[name] for part in self.parts]) for name in self.parts[0]}
        return Shown(*told, overview, self.rainiest, self.begins)

    @property
    def _steps(self) -> tuple[int, int]:
        sizes = self.granule.scans, self.granule.pixels
        down, across = (-(-size // most) for size, most in zip(sizes, OVERVIEW, strict=True))
        # A table one pixel wide is drawn whole: points do not stand in each other's way.
        return (down, across) if self.granule.pixels > 1 else (1, 1)

    def _maps(self, scans: slice, block: xr.Dataset) -> dict[str, NDArray[np.floating]]:
        positions = {name: self.template[name].values[scans] for name in ("longitude", "latitude")}
        return positions | {name: block[name].values for name in DRAWN if name in block}

    def _keep_rainiest(self, start: int, maps: Maps) -> None:
        """Keep the stretch of a block with the most rain, if no block before it had more."""
        by_scan = np.nansum(maps["rainfall_rate"], axis=1)
        length = min(STRETCH, len(by_scan))
        sums = np.convolve(by_scan, np.ones(length), mode="valid")
        at = int(sums.argmax())
        if sums[at] > self.most and length == STRETCH:
            self.most, self.begins = float(sums[at]), start + at
            self.rainiest = {name: values[at : at + length].copy() for name, values in maps.items()}
