"""What a scene needs to have measured once, on one lattice of windows, before any tile is made."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.io import DatasetReader

from vigie.core.cube import flagged
from vigie.core.raster import opened
from vigie.core.scene import Band, Cross, Reseau
from vigie.harmonize.crosses import LONGEST, Span
from vigie.harmonize.grids import bounds_in
from vigie.harmonize.lattice import lattice
from vigie.harmonize.reader import Levels, SceneReader
from vigie.harmonize.reseau import find_crosses, too_thin
from vigie.harmonize.saturation import saturation_level
from vigie.harmonize.shadow import near_infrared, shadow_threshold
from vigie.harmonize.source import grid_of, look_at
from vigie.harmonize.terrain import DERIVED
from vigie.harmonize.thermal import Trend, fit_trend
from vigie.harmonize.warp import read_bands

Float = NDArray[np.float32]

log = logging.getLogger("vigie")


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
    reader = replace(reader, levels=Levels(shadow, saturated, crosses=tuple(_crosses(reader))))
    return replace(reader, levels=replace(reader.levels, thermal=tuple(_trends(reader))))


def sample(reader: SceneReader, band: Band) -> Float:
    """Read one band on the lattice of windows of a scene: a fair sample, or all of a small scene."""
    grid, refine = reader.image_grid, reader.settings.refine
    return np.concatenate([read_bands([band], grid, window, refine).values.ravel() for window in lattice(reader.sizes)])


def _crosses(reader: SceneReader) -> Iterator[tuple[str, tuple[Cross, ...]]]:
    """Find the reseau crosses of every film, where the grid shows it; say why none is looked for."""
    for band in reader.scene.bands:
        reseau = band.reseau
        if reseau is None or reader.settings.reseau == "none":
            continue
        told = f"harmonize: {reader.scene.id}, reseau crosses on {band.name}"
        with opened(band.href) as dataset:
            if dataset.crs is not None and dataset.crs.is_geographic:
                log.info("%s stay: the scan counts in degrees, in which a cross is none", told)
            elif too_thin(reseau, band.gsd_m):
                log.info("%s stay: their lines are %.2f px wide at %g m", told, reseau.width_m / band.gsd_m, band.gsd_m)
            else:
                found = _found(dataset, band, reseau, reader.image_grid)
                log.info("%s: %d found and filled", told, len(found))
                yield band.name, found


def _found(dataset: DatasetReader, band: Band, reseau: Reseau, grid: GeoBox) -> tuple[Cross, ...]:
    """Find crosses on the part of a scan that a grid shows, and an arm around it."""
    scan = grid_of(dataset)
    west, south, east, north = bounds_in(grid, str(scan.crs))
    (x0, y0), (x1, y1) = (~scan.affine @ corner for corner in ((west, north), (east, south)))
    arm = LONGEST * reseau.arm_m / band.gsd_m
    rows, columns = (_span(a - arm, b + arm, n) for a, b, n in ((y0, y1, scan.shape[0]), (x0, x1, scan.shape[1])))
    whole = look_at(dataset, band)

    def look(part_rows: Span, part_columns: Span) -> Float:
        (a, b), (c, d) = part_rows, part_columns
        return whole((a + rows[0], b + rows[0]), (c + columns[0], d + columns[0]))

    shape = rows[1] - rows[0], columns[1] - columns[0]
    crosses = find_crosses(look, shape, reseau, band.gsd_m)
    return tuple(replace(c, row=c.row + rows[0], column=c.column + columns[0]) for c in crosses)


def _span(start: float, stop: float, size: int) -> Span:
    return max(0, floor(start)), min(size, ceil(stop))


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
