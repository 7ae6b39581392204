"""A scene on a grid, window by window, in the layout of `vigie.core.cube`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from vigie.core.cube import FLAGS, band_coordinates, flags_attributes
from vigie.core.errors import VigieError
from vigie.core.scene import Band, Cross, QualityMask, Scene
from vigie.core.tiles import Window
from vigie.harmonize.grids import apart, scene_grid
from vigie.harmonize.labels import BACKGROUND, UNKNOWN, read_truth
from vigie.harmonize.settings import HarmonizeSettings
from vigie.harmonize.terrain import DERIVED, derive
from vigie.harmonize.thermal import Trend, anomaly, explained_by
from vigie.harmonize.warp import Pixelwise, read_bands, read_nearest

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]
Flags = NDArray[np.uint8]


@dataclass(frozen=True)
class Levels:
    """What was measured once for the whole scene (see `vigie.harmonize.levels.measured`).

    `shadow` is (band name, physical value below which a pixel is in shadow); `saturated` pairs of band name and the stored
    number from which it is saturated; `thermal` pairs of band name and the trend that height and sunlight explain; `crosses`
    pairs of band name and the reseau crosses that were found.
    """

    shadow: tuple[str, float] | None = None
    saturated: tuple[tuple[str, float], ...] = ()
    thermal: tuple[tuple[str, Trend], ...] = ()
    crosses: tuple[tuple[str, tuple[Cross, ...]], ...] = ()

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Levels:
        """Read back what `dataclasses.asdict` and JSON made of it."""
        shadow = (str(record["shadow"][0]), float(record["shadow"][1])) if record["shadow"] else None
        saturated = tuple((str(name), float(level)) for name, level in record["saturated"])
        thermal = tuple((str(name), tuple(map(float, trend))) for name, trend in record["thermal"])
        crosses = tuple((str(name), tuple(Cross(**cross) for cross in found)) for name, found in record["crosses"])
        return cls(shadow, saturated, thermal, crosses)


@dataclass(frozen=True)
class SceneReader:
    """Read windows of a scene on a grid: the `Reader` of `vigie.core.cube`.

    Files are opened in each call and closed again, so a reader pickles and is safe in threads and processes. Bands come in the
    order of `scene.bands`; terrain bands derived from the scene's elevation, or else from `dem`, follow, and then what they
    leave unexplained of thermal bands.

    Parameters
    ----------
    scene: what to read.
    grid: the whole grid that windows index.
    dem: an elevation band in metres for scenes without one, from any file in any CRS.
    settings: see `HarmonizeSettings`.
    levels: thresholds of the whole scene.
    moved_m: metres towards (x, y) of the grid by which the image is moved to lie where it should (co-registration).
    """

    scene: Scene
    grid: GeoBox
    dem: Band | None = None
    settings: HarmonizeSettings = field(default_factory=HarmonizeSettings)
    levels: Levels = field(default_factory=Levels)
    moved_m: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        """Refuse scenes that cannot give a pixel."""
        if not self.scene.bands:
            raise VigieError(f"scene '{self.scene.id}' has no band", expected="one band at least")
        if apart(scene_grid(self.scene), self.grid):
            raise VigieError(
                f"scene '{self.scene.id}' does not touch the grid",
                found=f"scene {_told(scene_grid(self.scene))}, grid {_told(self.grid)}",
                expected="some overlap",
                do="choose another grid, or leave the scene out",
            )

    @property
    def sizes(self) -> dict[str, int]:
        """Rows and columns of the whole scene on the grid."""
        return {"y": int(self.grid.shape[0]), "x": int(self.grid.shape[1])}

    @property
    def elevation(self) -> Band | None:
        """The band that terrain is derived from, if any."""
        if self.settings.terrain == "none":
            return None
        own = [b for b in self.scene.bands if b.kind == "terrain" and b.name == "elevation"]
        return own[0] if own else self.dem

    @property
    def stored(self) -> tuple[Band, ...]:
        """Bands taken from files, with what was measured of them; a stored slope gives way to the derived one."""
        derived = DERIVED if self.elevation is not None else ()
        return tuple(self._measured(b) for b in self.scene.bands if not (b.kind == "terrain" and b.name in derived))

    def _measured(self, band: Band) -> Band:
        levels, crosses = dict(self.levels.saturated), dict(self.levels.crosses)
        return replace(band, saturated=levels.get(band.name, band.saturated), crosses=crosses.get(band.name, ()))

    @property
    def bands(self) -> tuple[Band, ...]:
        """All bands of the datasets, in order."""
        trends = dict(self.levels.thermal)
        warm = tuple(replace(b, name=f"{b.name}_anomaly", kind="anomaly") for b in self.stored if b.name in trends)
        return self.stored + terrain_bands(self.elevation, self.grid) + warm

    def __call__(self, window: Window) -> xr.Dataset:
        """Read a window: observation, flags and, where the scene has labels, truth."""
        read = self._read(window)
        observation, layers = read.values, []
        if self.elevation is not None:
            layers = derive(self.elevation, self.grid, window, self.settings)
            layers += self._anomalies(read, layers, window)
            observation = np.concatenate([observation, np.stack(layers)])
        dataset = xr.Dataset(
            {
                "observation": (("band", "y", "x"), observation),
                "flags": (("y", "x"), self._flags(read, window), flags_attributes()),
            },
            coords=band_coordinates(self.bands),
            attrs={**self.attributes, "infinite_values": read.infinite, "impossible_elevations": read.impossible},
        )
        if self.scene.truth is not None:
            beyond = UNKNOWN if self.settings.labels == "layer" else BACKGROUND
            dataset["truth"] = ("y", "x"), read_truth(self.scene.truth, self.grid, window, beyond)
        return dataset

    @property
    def attributes(self) -> dict[str, str]:
        """What says which scene a dataset is."""
        truth = self.scene.truth
        return {
            "scene": self.scene.id,
            "sensor": self.scene.sensor,
            "datetime": self.scene.datetime or "",
            "region": self.scene.region,
            "group": self.scene.group,
            "legend": truth.legend if truth else "",
        }

    @property
    def image_grid(self) -> GeoBox:
        """The grid to read the image on: moving the image by (x, y) is reading it on a grid moved by (-x, -y)."""
        x, y = self.moved_m
        if (x, y) == (0.0, 0.0):
            return self.grid
        return GeoBox(self.grid.shape, Affine.translation(-x, -y) @ self.grid.affine, self.grid.crs)

    def _read(self, window: Window) -> Pixelwise:
        """Read stored bands; the image moves with its co-registration, terrain stays where the map says."""
        image = [i for i, b in enumerate(self.stored) if b.kind != "terrain"]
        ground = [i for i, b in enumerate(self.stored) if b.kind == "terrain"]
        if not ground or self.image_grid is self.grid:
            return read_bands(self.stored, self.image_grid, window, self.settings.refine)
        parts = [
            (at, read_bands([self.stored[i] for i in at], grid, window, self.settings.refine))
            for at, grid in ((image, self.image_grid), (ground, self.grid))
            if at
        ]
        order = np.argsort([i for at, _ in parts for i in at])
        values = np.concatenate([read.values for _, read in parts])[order]
        saturated, filled = (np.concatenate([getattr(r, name) for _, r in parts])[order] for name in ("saturated", "filled"))
        infinite, impossible = (sum(getattr(read, name) for _, read in parts) for name in ("infinite", "impossible"))
        return Pixelwise(values, saturated, filled, infinite, impossible)

    def _anomalies(self, read: Pixelwise, terrain: list[Float], window: Window) -> list[Float]:
        """What terrain does not explain of the thermal bands that have a trend."""
        trends = dict(self.levels.thermal)
        if not trends:
            return []
        explaining = self.explaining(terrain, window)
        return [anomaly(read.values[i], explaining, trends[b.name]) for i, b in enumerate(self.stored) if b.name in trends]

    def explaining(self, terrain: list[Float], window: Window) -> NDArray[np.float64]:
        """What temperature is explained by (5, y, x), from the derived terrain bands of a window and its elevation."""
        if self.elevation is None:
            raise VigieError("thermal anomalies need an elevation band", do="give a DEM (`dem`, --dem)")
        height = read_bands([self.elevation], self.grid, window, self.settings.refine_elevation).values[0]
        return explained_by(height, *(terrain[DERIVED.index(name)] for name in ("slope", "aspect_sin", "aspect_cos")))

    def _flags(self, read: Pixelwise, window: Window) -> Flags:
        """Combine flags. Terrain bands never decide about nodata, unless there is nothing else."""
        image = [i for i, b in enumerate(self.stored) if b.kind != "terrain"] or list(range(len(self.stored)))
        flags = np.zeros(read.values.shape[1:], dtype=np.uint8)
        missing = None
        for i in image:
            gone = np.isnan(read.values[i])
            missing = gone if missing is None else (missing | gone if self.settings.nodata == "any" else missing & gone)
        flags[missing] |= FLAGS["nodata"]
        flags[read.saturated.any(axis=0)] |= FLAGS["saturated"]
        flags[read.filled.any(axis=0)] |= FLAGS["filled"]
        if self.levels.shadow is not None:
            name, threshold = self.levels.shadow
            at = [b.name for b in self.stored].index(name)
            flags[read.values[at] < threshold] |= FLAGS["shadow"]
        for mask in self.scene.masks:
            flags |= quality_flags(mask, self.image_grid, window)
        return flags


def quality_flags(mask: QualityMask, grid: GeoBox, window: Window) -> Flags:
    """Translate a quality raster, nearest pixel, into the flags of `vigie.core.cube`; outside the raster nothing is flagged.

    Raises
    ------
    VigieError
        If the mask speaks of flags that no cube has.
    """
    strange = sorted(({*mask.bits} | {*mask.values}) - {*FLAGS})
    if strange:
        raise VigieError(
            f"quality mask {mask.href} uses unknown flags",
            found=strange,
            expected=", ".join(FLAGS),
            do="correct the sensor's file",
        )
    codes, known = read_nearest(mask.href, mask.index, grid, window)
    flags = np.zeros(codes.shape, dtype=np.uint8)
    for name, bits in mask.bits.items():
        pattern = sum(1 << bit for bit in set(bits))
        flags[(codes.astype(np.int64) & pattern != 0) & known] |= FLAGS[name]
    for name, values in mask.values.items():
        flags[np.isin(codes, values) & known] |= FLAGS[name]
    return flags


def _told(grid: GeoBox) -> str:
    """A grid's bounds, for people."""
    west, south, east, north = grid.boundingbox.bbox
    return f"{west:.12g} to {east:.12g} E, {south:.12g} to {north:.12g} N in {grid.crs}"


def terrain_bands(elevation: Band | None, grid: GeoBox) -> tuple[Band, ...]:
    """Describe the bands that `terrain.derive` makes, in its order."""
    if elevation is None:
        return ()
    units: Mapping[str, str] = {"slope": "degree", "aspect": "1", "relief": "m", "roughness": "m", "height": "m"}
    return tuple(
        Band(name, "terrain", elevation.href, elevation.index, elevation.gsd_m, units[name.split("_")[0]]) for name in DERIVED
    )
