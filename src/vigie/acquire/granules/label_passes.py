"""Rain rates along a pass, as labels for others: scans of a radar, or anyone's swath that holds `truth`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from xarray import Dataset

from vigie.acquire.granules import dpr, stored
from vigie.acquire.granules.colocate import Positions
from vigie.acquire.granules.recognise import kind, open_swath
from vigie.core.errors import VigieError
from vigie.core.label_field import LabelField, Latitudes, Period, within
from vigie.core.swath import FLAGS


@dataclass(frozen=True)
class Pass:
    """A swath with rain rates; only the scans of a period are read."""

    path: Path
    label_source: str

    @cached_property
    def told(self) -> str:
        """Where its product says that its rain rates come from, '' where it does not."""
        return str(self._first.attrs.get("label_source", ""))

    @cached_property
    def times(self) -> NDArray[np.datetime64]:
        """Time of each scan."""
        found = kind(self.path)
        if found == "radar":
            return dpr.scan_times(self.path)
        if found in ("stored", "rain"):
            return stored.scan_times(self.path)
        return np.asarray(open_swath(self.path, label_source=self.label_source)["time"].values, dtype="datetime64[ns]")

    def positions(self) -> Positions:
        """Give latitude and longitude of all that it saw."""
        whole = open_swath(self.path, label_source=self.label_source)
        return whole["latitude"].values, whole["longitude"].values

    def fields(self, period: Period, latitudes: Latitudes) -> Iterator[LabelField]:
        """Read the scans of a period, and one more on either side."""
        inside = within(self.times, period)
        if inside:
            start, stop = max(0, inside[0] - 1), min(len(self.times), inside[-1] + 2)
            yield self._field(open_swath(self.path, slice(start, stop), self.label_source), start)

    @cached_property
    def _first(self) -> Dataset:
        first = open_swath(self.path, slice(0, 1), self.label_source)
        if "truth" not in first:
            raise VigieError(
                f"{self.path.name} holds no rain rates that others could be labelled with",
                found=", ".join(sorted(map(str, first.data_vars))),
                expected="a radar granule, a grid or gauges, or a swath with truth",
                do="leave it out of [[acquire.labels]]",
            )
        return first

    def _field(self, scans: Dataset, start: int) -> LabelField:
        """Suspect scans hold nothing valid."""
        flags = scans["flags"].values if "flags" in scans else np.zeros(scans["truth"].shape, np.uint8)
        trusted = (flags & np.uint8(FLAGS["suspect"])) == 0
        across = scans.sizes["pixel"] > 1
        return LabelField(
            scans["latitude"].values,
            scans["longitude"].values,
            np.where(trusted, scans["truth"].values, np.nan).astype(np.float32),
            scans["time"].values,
            scans["phase"].values if "phase" in scans else None,
            ends=(start == 0, start + scans.sizes["scan"] == len(self.times)),
            sides=(across, across),
        )
