"""Inventories of a run: glaciers and lakes of every part at its date, from its class map, terrain and probabilities."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import cast

import geopandas as gpd
import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from shapely import union_all
from shapely.geometry import shape

from vigie.acquire.sources import expand
from vigie.acquire.vectors import sidecars
from vigie.apps.glaciers.classes import LEGEND
from vigie.apps.glaciers.inventory import earth
from vigie.apps.glaciers.inventory.build import Inventory, glacier_inventory
from vigie.apps.glaciers.inventory.deviation import area_deviations
from vigie.apps.glaciers.inventory.read import read_outlines
from vigie.apps.glaciers.inventory.strips import Read
from vigie.apps.glaciers.settings import GlacierExperiment, PublishSettings
from vigie.core.cube import HIDDEN, flagged
from vigie.core.errors import VigieError
from vigie.core.grid import grid_of
from vigie.core.scene import Scene
from vigie.story.prediction import read_probability
from vigie.story.products import open_prediction, scene_of
from vigie.story.run import Run, log
from vigie.story.scenes import Cropped, Part, catalogued, opened, part_sizes


@dataclass(frozen=True)
class Surface:
    """A part's map at one date: class codes on a grid, and elevation with the name of its DEM where the scene brings it.

    Cloud is unknown, whatever was predicted there; `cloud` is the share of the pixels with data that it hides. `probability`
    reads windows (class, y, x): of many large maps they are never held together.
    """

    part: Part
    scene: Scene
    grid: GeoBox
    codes: NDArray[np.uint8]
    probability: Read
    elevation_m: NDArray[np.float32] | None
    cloud: float = 0.0
    dem_source: str | None = None


def settings_of(run: Run) -> PublishSettings:
    """What the run delivers."""
    return cast(GlacierExperiment, run.experiment).publish


def surface_of(run: Run, part: Part) -> Surface:
    """Read what was predicted for a part, and its elevation."""
    prediction = open_prediction(run, part)
    sizes = dict(zip(("y", "x"), part_sizes(part), strict=True))
    whole = {d: slice(0, n) for d, n in sizes.items()}
    probability = partial(read_probability, run.artefact("predict"), part.name)
    scene = scene_of(run, part)
    elevation_m = elevation_of(Cropped(opened(run, scene), part.window)(whole))
    codes, cloud = seen_classes(prediction["map"].values, prediction["flags"])
    return Surface(part, scene, grid_of(prediction), codes, probability, elevation_m, cloud, dem_source(scene))


def seen_classes(codes: NDArray[np.uint8], flags: xr.DataArray) -> tuple[NDArray[np.uint8], float]:
    """Keep the classes of the ground that the image shows, unknown elsewhere; give the share of data that cloud hides.

    Examples
    --------
    >>> flags = xr.DataArray(np.array([0, 4, 8, 1], np.uint8))
    >>> seen_classes(np.array([1, 2, 1, 255], np.uint8), flags)[0].tolist()
    [1, 2, 255, 255]
    """
    with_data = ~flagged(flags, "nodata").values
    cloud = flagged(flags, "cloud").values & with_data
    seen = np.where(flagged(flags, *HIDDEN).values, np.uint8(LEGEND.unknown), codes)
    return seen, float(cloud.sum() / max(int(with_data.sum()), 1))


def elevation_of(observation: xr.Dataset) -> NDArray[np.float32] | None:
    """Elevation in metres (y, x), where the scene has it."""
    if "elevation" not in observation["band"].values:
        return None
    return np.asarray(observation["observation"].sel(band="elevation").values, dtype=np.float32)


def dem_source(scene: Scene) -> str | None:
    """Name the file of a scene's elevation, without the folder or what an address asks for; None without elevation.

    Examples
    --------
    >>> from vigie.core.scene import Band
    >>> band = Band("elevation", "terrain", "https://example.org/dem/COPDEM30.tif?key=secret", 1, 30.0, "m")
    >>> dem_source(Scene("a", "landsat-8", None, (band,), "EPSG:32645", (30, 0, 0, 0, -30, 0), (2, 2), {}))
    'COPDEM30.tif'
    """
    hrefs = [band.href for band in scene.bands if band.name == "elevation"]
    return PurePosixPath(hrefs[0].partition("?")[0]).name if hrefs else None


def inventory_of(run: Run, surface: Surface, source: str | None = None) -> Inventory:
    """Make the inventory of one part at its date; `source` names the images where there are more than the part's own."""
    settings = settings_of(run)
    date = None if surface.scene.datetime is None else surface.scene.datetime[:10]
    found = {"date": date, "dem_source": surface.dem_source}
    said = {name: getattr(settings.inventory, name) or value for name, value in found.items()}
    rules = settings.inventory.model_copy(update=said | {"source": source or surface.scene.id})
    return glacier_inventory(
        surface.codes,
        surface.grid,
        LEGEND,
        dem=surface.elevation_m,
        probability=surface.probability,
        outlines=known_outlines(run, surface.grid),
        settings=rules,
    )


def deviations_of(run: Run, surface: Surface, inventory: Inventory) -> pd.DataFrame | None:
    """Compare a part's inventory with the known outlines, glacier by glacier; None where none are given or none touch it."""
    known = known_outlines(run, surface.grid)
    if known is None:
        return None
    return area_deviations(inventory.glaciers, known, surface.grid, surface.codes == LEGEND.unknown)


def check_outlines(run: Run) -> None:
    """Refuse known outlines that touch none of the scenes, and say what was repaired in them.

    Raises
    ------
    VigieError: they cannot be read, or lie elsewhere.
    """
    if settings_of(run).outlines is None:
        return
    path, outlines = _path(run), _given(run)
    scenes = [shape(dict(scene.footprint)) for scene in catalogued(run)]
    if not outlines.intersects(union_all(scenes)).any():
        raise VigieError(
            f"the outlines {path} touch none of the images",
            found=f"outlines at lon/lat {_bounds(outlines.total_bounds)}",
            expected=f"images at {_bounds(union_all(scenes).bounds)}",
            do="check publish.outlines (--outlines) and its CRS, or leave it out",
        )


def outline_files(run: Run) -> list[Path]:
    """Files that the known outlines consist of, none where none are given."""
    return sidecars(_path(run)) if settings_of(run).outlines is not None else []


def known_outlines(run: Run, grid: GeoBox) -> gpd.GeoDataFrame | None:
    """Read the given outlines that touch a grid; None where none are given or none touch it."""
    if settings_of(run).outlines is None:
        return None
    outlines = _given(run)
    near = outlines[outlines.intersects(earth.footprint(grid))]
    return None if near.empty else near


def _path(run: Run) -> Path:
    return expand(settings_of(run).outlines or "", run.base)[0]


def _given(run: Run) -> gpd.GeoDataFrame:
    path = _path(run)
    return _read(path, settings_of(run).outlines_layer, path.stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _read(path: Path, layer: str | None, changed_ns: int) -> gpd.GeoDataFrame:
    """Read outlines in EPSG:4326, cut at the antimeridian, once for all parts, and say what had to be repaired."""
    outlines = read_outlines(path, layer)
    changes = outlines.report[outlines.report["action"] != "kept"]
    for (action, reason), group in changes.groupby(["action", changes["reason"].str.split("[").str[0]]):
        change = group["change_km2"].sum()
        log.info("outlines: %d of %d in %s %s (%s), %+.3f km2", len(group), len(outlines.report), path, action, reason, change)
    return outlines.table.set_geometry(gpd.GeoSeries(earth.cut(outlines.table.geometry.to_numpy()), crs=earth.WGS84))


def _bounds(bounds: Iterable[float]) -> str:
    return ", ".join(f"{value:.3f}" for value in bounds)
