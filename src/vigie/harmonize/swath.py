"""Swaths into `cube.zarr`, some scans at a time, and back out again window by window."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from vigie.core import store
from vigie.core.errors import VigieError
from vigie.core.granule import Granule
from vigie.core.swath import FLAGS, LABEL_STATUS, check
from vigie.core.tiles import Tile, Window, tiles

SCANS = 512
"""Scans of a chunk, and of the tiles that are written."""
BEGUN = "begun"
"""Marker of a node whose template is written; it carries a fingerprint of what the node is made from."""

ReadScans = Callable[[slice], xr.Dataset]
"""Reads some scans of a granule, in the layout of `vigie.core.swath`; it pickles."""
Label = Callable[[xr.Dataset], xr.Dataset]
"""Gives scans the rain rates of others, each footprint by itself, or leaves them as they are; it pickles."""


@dataclass(frozen=True)
class SwathFill:
    """The work of one tile of scans: read, label, check, write, count."""

    granule: Granule
    read: ReadScans
    label: Label
    path: Path
    group: str

    def begin(self) -> None:
        """Make the node's template, unless it is there already, made from the same granule."""
        known = hashlib.sha256(json.dumps(self.granule.placeless(), sort_keys=True).encode()).hexdigest()
        if store.marked(self.path, BEGUN, self.group) and store.marker(self.path, BEGUN, self.group)["granule"] == known:
            return
        whole = self.read(slice(None))
        empty = template(whole, self.label(whole.isel(scan=slice(0, 1))), self.granule)
        store.create(self.path, empty, {"scan": SCANS}, self.group)
        store.mark(self.path, BEGUN, self.group, {"granule": known})

    def tiles(self) -> list[Tile]:
        """All tiles of the swath."""
        return tiles({"scan": self.granule.scans}, {"scan": SCANS})

    def pending(self) -> list[Tile]:
        """Tiles still to be done."""
        return store.pending(self.path, self.tiles(), self.group)

    def counts(self) -> dict[str, int]:
        """Pixels that carry each flag, and what became of labels of others, of all tiles, which must be done."""
        done = [store.marker(self.path, tile.name, self.group) for tile in self.tiles()]
        names = ("pixels", *FLAGS, *(LABEL_STATUS if self.granule.labels else ()))
        return {name: sum(int(tile[name]) for tile in done) for name in names}

    def __call__(self, tile: Tile) -> str:
        """Write one tile; give the granule's name."""
        scans = self.label(self.read(tile.keep["scan"]))
        check(scans)
        flags = scans["flags"].values
        told = {name: int(((flags & np.uint8(bit)) > 0).sum()) for name, bit in FLAGS.items()}
        if self.granule.labels:
            told |= {name: int((scans["label_status"].values == code).sum()) for name, code in LABEL_STATUS.items()}
        store.write(self.path, tile, _stored(scans), self.group, {**told, "pixels": int(flags.size)})
        return self.granule.id


def template(swath: xr.Dataset, written: xr.Dataset, granule: Granule) -> xr.Dataset:
    """Make the empty node of a swath: what is known of scans and channels, and room for what some `written` scans hold."""
    coordinates = {name: c for name, c in swath.coords.items() if c.dims in (("scan",), ("channel",))}
    facts = ("sensor", "platform", "product", "label_source")
    attributes = {name: written.attrs[name] for name in facts if name in written.attrs}
    node = xr.Dataset(coords=coordinates, attrs={**attributes, "swath": granule.id, "region": granule.region})
    for name, variable in _stored(written).data_vars.items():
        shape = [swath.sizes[dim] for dim in variable.dims]
        node[name] = store.empty(list(map(str, variable.dims)), shape, str(variable.dtype), variable.attrs)
        node[name].encoding["_FillValue"] = _fill(str(name), variable.dtype)
    return node


def _stored(swath: xr.Dataset) -> xr.Dataset:
    """Take the variables of a swath that lie on its scans, positions among them."""
    flat = swath.reset_coords([name for name in ("latitude", "longitude") if name in swath.coords])
    return flat[[name for name, variable in flat.data_vars.items() if "scan" in variable.dims]]


def _fill(name: str, dtype: np.dtype[Any]) -> float | int:
    """What a pixel holds that nobody wrote: nothing, and the flag that says so."""
    return FLAGS["nodata"] if name == "flags" else store.fill_value(dtype)


@dataclass(frozen=True)
class SwathReader:
    """Read windows {"scan": ..., "pixel": ...} of a node of a cube; it pickles as its path and group."""

    path: Path
    group: str

    @cached_property
    def dataset(self) -> xr.Dataset:
        """The whole node, nothing loaded but its coordinates."""
        if not (self.path / self.group / "zarr.json").is_file():
            raise VigieError(f"{self.path} has no node '{self.group}'", do="run the harmonize stage first")
        node = xr.open_zarr(self.path, group=self.group, consolidated=False, chunks=None, mask_and_scale=False)
        text = {
            name: (c.dims, np.array(c.values.tolist(), dtype=np.str_))
            for name, c in node.coords.items()
            if c.dtype.kind in "TO"
        }
        described: xr.Dataset = node.assign_coords(text)
        return described

    @property
    def sizes(self) -> dict[str, int]:
        """Scans and pixels of the whole node."""
        return {"scan": self.dataset.sizes["scan"], "pixel": self.dataset.sizes["pixel"]}

    def __call__(self, window: Window) -> xr.Dataset:
        """Load a window."""
        loaded: xr.Dataset = self.dataset.isel(window).load()
        return loaded

    def __getstate__(self) -> dict[str, object]:
        """Leave the open store behind."""
        return {"path": self.path, "group": self.group}
