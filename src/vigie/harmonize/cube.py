"""Scenes into `cube.zarr`, tile by tile, and back out again window by window."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from vigie.core import store
from vigie.core.cube import FLAGS, band_coordinates, check, flags_attributes
from vigie.core.engine import Engine, Serial
from vigie.core.errors import VigieError
from vigie.core.grid import coordinates, grid_of
from vigie.core.scene import Scene
from vigie.core.tiles import Tile, Window, tiles
from vigie.core.vocabulary import named
from vigie.harmonize.grids import target_grid
from vigie.harmonize.levels import measured
from vigie.harmonize.reader import Levels, SceneReader
from vigie.harmonize.settings import HarmonizeSettings
from vigie.harmonize.source import ELEVATIONS_M

log = logging.getLogger("vigie")

Progress = Callable[[int, int], object]
"""Called with the number of tiles done and of all tiles."""

STRANGE = ("infinite_values", "impossible_elevations")
"""Numbers in files that are taken as missing, and counted."""

BEGUN = "begun"
"""Marker of a node whose template is written; it carries a fingerprint of what the node is made from, and its levels."""


def harmonize_scene(
    scene: Scene,
    path: Path,
    group: str,
    settings: HarmonizeSettings | None = None,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> dict[str, int]:
    """Bring a scene onto the grid its settings ask for, and keep it as one node of a cube; see `fill`.

    Examples
    --------
    >>> import tempfile
    >>> import rasterio
    >>> from vigie.core.scene import Band
    >>> frame = (10.0, 0.0, 5e5, 0.0, -10.0, 3e6)
    >>> shape = {"driver": "GTiff", "height": 20, "width": 30, "count": 1, "dtype": "uint8", "crs": "EPSG:32645"}
    >>> with rasterio.open("/vsimem/film.tif", "w", transform=frame, **shape) as file:
    ...     file.write((np.arange(600).reshape(1, 20, 30) % 200).astype(np.uint8))
    >>> film = Band("film", "pan", "/vsimem/film.tif", 1, 10.0, "1", nodata=0)
    >>> scene = Scene("film-1980", "kh9", "1980-08-22", (film,), "EPSG:32645", frame, (20, 30), {})
    >>> cube = Path(tempfile.mkdtemp()) / "cube.zarr"
    >>> harmonize_scene(scene, cube, "grid/film-1980")["nodata"]
    3
    >>> open_scene(cube, "grid/film-1980")({"y": slice(0, 1), "x": slice(0, 3)})["observation"].values.tolist()
    [[[nan, 1.0, 2.0]]]
    """
    settings = settings or HarmonizeSettings()
    reader = SceneReader(scene, target_grid([scene], settings.grid), settings=settings)
    return fill(reader, path, group, engine, progress)


def fill(
    reader: SceneReader, path: Path, group: str, engine: Engine | None = None, progress: Progress | None = None
) -> dict[str, int]:
    """Write all tiles of a scene that are not there yet; killed at any moment, it goes on and ends with the same bytes.

    Parameters
    ----------
    reader: the scene on its grid. Its levels are measured here.
    path, group: the cube and the node in it, such as 'grid/<scene>'.
    engine: runs the tiles, default one after the other; the bytes do not depend on it.
    progress: see `Progress`.

    Returns
    -------
    Counts over the scene: 'pixels', each flag, and 'infinite_values' and 'impossible_elevations' met in the files.

    Raises
    ------
    VigieError
        If the node holds another scene or other settings, or if no pixel of the scene is valid on the grid.
    """
    work = Fill(begin(reader, path, group), path, group)
    todo = work.pending()
    first = len(work.tiles()) - len(todo) + 1
    for done, _ in enumerate((engine or Serial()).map(work, todo), start=first):
        if progress is not None:
            progress(done, len(work.tiles()))
    counts = work.counts()
    if counts["nodata"] == counts["pixels"]:
        raise VigieError(
            f"scene '{reader.scene.id}' has no valid pixel on the grid",
            found=f"{counts['pixels']} pixels, all nodata",
            expected="some data",
            do="check nodata and bands of the scene, choose another grid, or leave the scene out",
        )
    return counts


def begin(reader: SceneReader, path: Path, group: str) -> SceneReader:
    """Make the node's template, or recognise the one that is there; give the reader with its levels."""
    known = fingerprint(reader)
    if (path / group / "zarr.json").is_file() and store.marked(path, BEGUN, group):
        begun = store.marker(path, BEGUN, group)
        if begun["fingerprint"] != known:
            raise VigieError(
                f"node '{group}' of {path.name} was made from another scene or with other settings",
                found=begun["fingerprint"],
                expected=known,
                do="choose another cube, or delete this one",
            )
        return replace(reader, levels=Levels.from_dict(begun["levels"]))
    reader = measured(reader)
    store.create(path, template(reader), dict.fromkeys(("y", "x"), reader.settings.chunk), group)
    store.mark(path, BEGUN, group, {"fingerprint": known, "levels": asdict(reader.levels)})
    return reader


def fingerprint(reader: SceneReader) -> str:
    """Hash everything the bytes of a node depend on: scene, grid, DEM, co-registration and settings but for the tile's size."""
    words = {
        "scene": reader.scene.to_dict(),
        "grid": [str(reader.grid.crs), list(reader.grid.affine), list(reader.grid.shape)],
        "dem": asdict(reader.dem) if reader.dem else None,
        "moved_m": reader.moved_m,
        "settings": reader.settings.model_dump(mode="json", exclude={"tile"}),
    }
    return hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()


def template(reader: SceneReader) -> xr.Dataset:
    """Make the empty node of a scene."""
    sizes = reader.sizes["y"], reader.sizes["x"]
    node = xr.Dataset(coords={**coordinates(reader.grid), **band_coordinates(reader.bands)}, attrs=reader.attributes)
    georeference: dict[str, object] = {"grid_mapping": "spatial_ref"}
    observation, truth = (named(name).attributes | georeference for name in ("observation", "truth"))
    node["observation"] = store.empty(("band", "y", "x"), (len(reader.bands), *sizes), "float32", observation)
    node["flags"] = store.empty(("y", "x"), sizes, "uint8", {**flags_attributes(), **georeference})
    if reader.scene.truth is not None:
        node["truth"] = store.empty(("y", "x"), sizes, "uint8", truth)
    return node


@dataclass(frozen=True)
class Fill:
    """The work of one tile: read, check, write, count."""

    reader: SceneReader
    path: Path
    group: str

    def tiles(self) -> list[Tile]:
        """All tiles of the scene."""
        return tiles(self.reader.sizes, dict.fromkeys(("y", "x"), self.reader.settings.tile))

    def pending(self) -> list[Tile]:
        """Tiles still to be done."""
        return store.pending(self.path, self.tiles(), self.group)

    def counts(self) -> dict[str, int]:
        """What was counted in all tiles, which must be done; see `fill`."""
        done = [store.marker(self.path, tile.name, self.group) for tile in self.tiles()]
        counts = {name: sum(int(tile[name]) for tile in done) for name in ("pixels", *STRANGE)}
        counts |= {name: _carrying(done, (name,)) for name in FLAGS}
        if counts["impossible_elevations"]:
            told = self.reader.scene.id, counts["impossible_elevations"], *ELEVATIONS_M
            log.info("harmonize: %s, %d elevations outside %g to %g m taken as missing", *told)
        return counts

    def __call__(self, tile: Tile) -> str:
        """Make one tile; give its name."""
        scene = self.reader(tile.keep)
        check(scene)
        together = np.bincount(scene["flags"].values.ravel())
        told: dict[str, object] = {name: int(scene.attrs[name]) for name in STRANGE}
        told["pixels"] = int(together.sum())
        told["flags"] = {str(bits): int(together[bits]) for bits in np.flatnonzero(together)}
        store.write(self.path, tile, scene, self.group, told)
        return tile.name


@dataclass(frozen=True)
class CubeReader:
    """Read windows of a node of a cube: the `Reader` of `vigie.core.cube`, for training and prediction.

    It pickles as its path and group; each process opens the store for itself.
    """

    path: Path
    group: str

    @cached_property
    def dataset(self) -> xr.Dataset:
        """The whole node, nothing loaded but its coordinates."""
        if not (self.path / self.group / "zarr.json").is_file():
            raise VigieError(f"{self.path} has no node '{self.group}'", do="run the harmonize stage first")
        node = xr.open_zarr(self.path, group=self.group, consolidated=False, chunks=None, mask_and_scale=False)
        stored = {name: c for name, c in node.coords.items() if c.dtype.kind in "TO"}
        text = {name: (c.dims, np.array(c.values.tolist(), dtype=np.str_), c.attrs) for name, c in stored.items()}
        described: xr.Dataset = node.assign_coords(text)
        return described

    @cached_property
    def grid(self) -> GeoBox:
        """The grid of the whole node."""
        return grid_of(self.dataset)

    @property
    def sizes(self) -> dict[str, int]:
        """Rows and columns of the whole node."""
        return {"y": self.dataset.sizes["y"], "x": self.dataset.sizes["x"]}

    def __call__(self, window: Window) -> xr.Dataset:
        """Load a window."""
        loaded: xr.Dataset = self.dataset.isel(window).load()
        return loaded

    def __getstate__(self) -> dict[str, object]:
        """Leave the open store behind."""
        return {"path": self.path, "group": self.group}


def open_scene(path: Path, group: str) -> CubeReader:
    """Open a node of a cube that `fill` completed.

    Raises
    ------
    VigieError
        If there is no such node, or a run that fills it was killed and has not gone on.
    """
    reader = CubeReader(Path(path), group)
    counted = pixels_done(path, group)
    if counted != reader.sizes["y"] * reader.sizes["x"]:
        raise VigieError(
            f"node '{group}' of {path.name} is not complete",
            found=f"{counted} pixels",
            expected=f"{reader.sizes['y'] * reader.sizes['x']}",
            do="run the harmonize stage again: it goes on where it was",
        )
    return reader


def pixels_done(path: Path, group: str) -> int:
    """Count the pixels of a node that are written; 0 where there is no such node."""
    return sum(int(tile["pixels"]) for tile in _done(path, group))


def pixels_with(path: Path, group: str, flags: Sequence[str]) -> int:
    """Count the pixels of a node that carry any of the named flags."""
    return _carrying(_done(path, group), flags)


def _carrying(done: Sequence[Mapping[str, Any]], flags: Sequence[str]) -> int:
    bits = sum(FLAGS[name] for name in set(flags))
    return sum(int(number) for tile in done for sums, number in tile["flags"].items() if int(sums) & bits)


def _done(path: Path, group: str) -> list[dict[str, Any]]:
    """What is told of the tiles of a node that are written."""
    return [store.marker(path, marker.name, group) for marker in store.markers(path, group).glob("y*_x*")]
