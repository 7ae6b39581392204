"""Areas seen at several dates: maps made consistent in time, one inventory an epoch, glaciers and lakes followed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import groupby

import geopandas as gpd
import numpy as np
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from vigie.apps.glaciers.classes import CLEAN, DEBRIS, LAND, LEGEND, WATER
from vigie.apps.glaciers.history.build import History, build_history
from vigie.apps.glaciers.history.classes import chain, consistent_classes, snow_chance, snow_confusion
from vigie.apps.glaciers.history.shown import with_shown
from vigie.apps.glaciers.inventories import Surface, inventory_of
from vigie.apps.glaciers.inventory import earth
from vigie.apps.glaciers.inventory.build import Inventory
from vigie.apps.glaciers.inventory.strips import held
from vigie.apps.glaciers.settings import HistorySettings
from vigie.core.cube import flagged
from vigie.core.grid import pixel_m
from vigie.story.products import open_prediction
from vigie.story.run import Run

MADE_OF = {"glaciers": (CLEAN, DEBRIS), "lakes": (WATER,)}
"""Classes that the objects of a history are made of."""

HIDING = ("shadow", "saturated")
"""Flags of pixels whose image says little."""

CLEAREST_DAY = {"north": 235, "south": 52}
"""Day of the year with the least seasonal snow."""


@dataclass(frozen=True)
class Epochs:
    """One area at several dates: consistent maps (time, y, x), inventories by day, and the objects followed through them.

    Several maps of one day, `surfaces` and `consistent` has them all, agree once they are consistent: no time lies between
    them. They share an inventory.

    `histories` holds 'glaciers' and 'lakes', each only where there was one at any date.
    """

    name: str
    surfaces: tuple[Surface, ...]
    consistent: xr.Dataset
    inventories: Mapping[date, Inventory]
    histories: Mapping[str, History]


def areas_of(surfaces: Sequence[Surface]) -> dict[str, list[Surface]]:
    """Gather surfaces that lie on the same grid and have dates: an area needs two different dates to have a history.

    An area is called like the group of its scenes, or like its first part where several areas belong to one group.
    """
    areas: dict[object, list[Surface]] = {}
    for surface in surfaces:
        if surface.scene.datetime is not None:
            areas.setdefault(surface.grid, []).append(surface)
    dated = [sorted(area, key=lambda s: str(s.scene.datetime)) for area in areas.values()]
    several = [area for area in dated if len({day_of(surface) for surface in area}) > 1]
    groups = Counter(area[0].scene.group for area in several)
    alone = {group for group, number in groups.items() if group and number == 1}
    return {area[0].scene.group if area[0].scene.group in alone else area[0].part.name: area for area in several}


def day_of(surface: Surface) -> date:
    """The day a surface was seen."""
    return date.fromisoformat(str(surface.scene.datetime)[:10])


def follow(run: Run, name: str, area: Sequence[Surface], settings: HistorySettings) -> Epochs:
    """Make an area's maps consistent, inventory every day, and follow its glaciers and lakes."""
    consistent = consistent_maps(run, area, settings)
    inventories: dict[date, Inventory] = {}
    tables: dict[str, dict[date, gpd.GeoDataFrame]] = {what: {} for what in MADE_OF}
    high = next((surface for surface in reversed(area) if surface.elevation_m is not None), area[-1])
    for day, of_day in groupby(enumerate(area), key=lambda numbered: day_of(numbered[1])):
        numbers, surfaces = zip(*of_day, strict=True)
        smoothed = replace(
            surfaces[-1],
            codes=consistent["map"].values[numbers[-1]],
            probability=held(consistent["probability"].values[numbers[-1]]),
            elevation_m=high.elevation_m,
            dem_source=high.dem_source,
        )
        inventories[day] = inventory_of(run, smoothed, ", ".join(surface.scene.id for surface in surfaces))
        for what, found in (("glaciers", inventories[day].glaciers), ("lakes", inventories[day].lakes)):
            tables[what][day] = _shown(found, MADE_OF[what], surfaces, consistent["probability"].values[numbers[-1]])
    gsd_m = pixel_m(area[0].grid)
    histories = {what: build_history(epochs, gsd_m) for what, epochs in tables.items() if any(map(len, epochs.values()))}
    return Epochs(name, tuple(area), consistent, inventories, histories)


def consistent_maps(run: Run, area: Sequence[Surface], settings: HistorySettings) -> xr.Dataset:
    """Smooth the class probabilities of all maps with the hidden Markov model, minding season, shadow and saturation.

    Under cloud a map says nothing: the other dates fill it.
    """
    times = xr.DataArray(np.array([day_of(surface) for surface in area], dtype="datetime64[ns]"), dims="time")
    whole = {"y": slice(0, area[0].grid.shape[0]), "x": slice(0, area[0].grid.shape[1])}
    read = np.stack([np.where(surface.codes == LEGEND.unknown, np.nan, surface.probability(whole)) for surface in area])
    probabilities = xr.DataArray(
        read / np.maximum(read.sum(axis=1, keepdims=True), 1e-6),
        dims=("time", "class", "y", "x"),
        coords={"time": times.values},
    )
    hidden = np.stack([flagged(open_prediction(run, surface.part)["flags"], *HIDING).values for surface in area])
    confidence = xr.DataArray(np.where(hidden, settings.hidden_confidence, settings.confidence), dims=("time", "y", "x"))
    chance = snow_chance(times, settings.clearest_day or clearest_day(area[0].grid), *settings.snow)
    snow = snow_confusion(chance, LEGEND, [LAND, WATER], seen_as=CLEAN)
    return consistent_classes(probabilities, chain(LEGEND, settings.dwell_years, settings.prior), confidence, snow)


def clearest_day(grid: GeoBox) -> int:
    """Give the day of the year with the least seasonal snow: late August in the north, late February in the south.

    Examples
    --------
    >>> clearest_day(GeoBox.from_bbox((500_000, 5_000_000, 500_300, 5_000_300), "EPSG:32719", resolution=30))
    52
    """
    return CLEAREST_DAY["north" if earth.centre(grid)[1].item() >= 0 else "south"]


def _shown(
    table: gpd.GeoDataFrame, classes: Sequence[str], surfaces: Sequence[Surface], probability: NDArray[np.float32]
) -> gpd.GeoDataFrame:
    """Outlines on the maps' grid, with areas and errors of the inventory, and how much of each the day's own maps show."""
    grid, channels = surfaces[0].grid, [LEGEND.channel(name) for name in classes]
    own = np.any([np.isin(surface.codes, LEGEND.codes[channels]) for surface in surfaces], axis=0)
    outlines = table[["area_km2", "area_err_km2", "geometry"]].to_crs(grid.crs.to_wkt())
    return with_shown(outlines, grid, own, probability[channels].sum(axis=0).clip(0, 1))
