"""What a scene needs to have measured once, on one lattice of windows, before any tile is made."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vigie.core.cube import flagged
from vigie.core.scene import Band
from vigie.harmonize.lattice import lattice
from vigie.harmonize.reader import Levels, SceneReader
from vigie.harmonize.saturation import saturation_level
from vigie.harmonize.shadow import near_infrared, shadow_threshold
from vigie.harmonize.terrain import DERIVED
from vigie.harmonize.thermal import Trend, fit_trend
from vigie.harmonize.warp import read_bands

Float = NDArray[np.float32]


def measured(reader: SceneReader) -> SceneReader:
    """Measure the levels that the settings ask for; the same scene on the same grid always gives the same levels.
    Tiles then all use these, so a tile's own content never moves a threshold.
    """
    settings = reader.settings
    saturated = tuple(_saturated(reader)) if settings.saturation == "detect" else ()
    shadow = None
    band = near_infrared(reader.scene.bands)
    if settings.shadow != "none" and band is not None:
        threshold = shadow_threshold(sample(reader, band), settings.shadow)
        shadow = None if threshold is None else (band.name, threshold)
    reader = replace(reader, levels=Levels(shadow, saturated))
    return replace(reader, levels=Levels(shadow, saturated, tuple(_trends(reader))))


def sample(reader: SceneReader, band: Band) -> Float:
    """Read one band on the lattice of windows of a scene: a fair sample, or all of a small scene."""
    grid, refine = reader.image_grid, reader.settings.refine
    return np.concatenate([read_bands([band], grid, window, refine).values.ravel() for window in lattice(reader.sizes)])


def _trends(reader: SceneReader) -> list[tuple[str, Trend]]:
    """Fit what height and sunlight explain of every thermal band over the clear pixels of the scene."""
    thermal = [b.name for b in reader.stored if b.kind == "thermal"]
    if reader.elevation is None or not thermal:
        return []
    pieces: dict[str, list[tuple[Float, NDArray[np.float64]]]] = {name: [] for name in thermal}
    for window in lattice(reader.sizes):
        scene = reader(window)
        clear = ~flagged(scene["flags"], "nodata", "saturated", "shadow", "cloud").values
        explaining = reader.explaining([scene["observation"].sel(band=name).values for name in DERIVED], window)[:, clear]
        for name in thermal:
            pieces[name].append((scene["observation"].sel(band=name).values[clear], explaining))
    trends = [(name, fit_trend(parts)) for name, parts in pieces.items()]
    return [(name, trend) for name, trend in trends if trend is not None]


def _saturated(reader: SceneReader) -> list[tuple[str, float]]:
    """Find levels in stored numbers, which is what `Band.saturated` means; a declared level stays an upper bound."""
    found = []
    for band in reader.scene.bands:
        if band.kind != "terrain":
            level = saturation_level(sample(reader, replace(band, scale=1.0, offset=0.0)))
            if level is not None and (band.saturated is None or level < band.saturated):
                found.append((band.name, level))
    return found
