"""One call from a class map to an inventory: glaciers, complexes, shared borders, centrelines, hypsometry, lakes."""

from __future__ import annotations

from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from scipy import ndimage

from vigie.apps.glaciers.inventory import attributes, divides, earth, lakes, schema, termini, uncertainty
from vigie.apps.glaciers.inventory.polygons import Labels, Mask, cut_corners, patches, polygonise, simplify, stairs
from vigie.apps.glaciers.inventory.settings import InventorySettings
from vigie.apps.glaciers.inventory.strips import Read, held, pixel_counts, strips
from vigie.apps.glaciers.inventory.topography import Dem
from vigie.core.errors import VigieError
from vigie.core.legend import Legend
from vigie.core.tiles import Window

OUTLINES = {"cut corners": cut_corners, "stairs": stairs}
LINES, POLYGONS = {"LineString", "MultiLineString"}, {"Polygon", "MultiPolygon"}


@dataclass(frozen=True)
class Inventory:
    """An inventory of one epoch, all geometries in EPSG:4326; the tables conform to schema.toml, empty ones too."""

    glaciers: gpd.GeoDataFrame
    complexes: gpd.GeoDataFrame
    intersects: gpd.GeoDataFrame
    centrelines: gpd.GeoDataFrame
    lakes: gpd.GeoDataFrame
    hypsometry: pd.DataFrame
    settings: InventorySettings


@dataclass(frozen=True)
class ClassMap:
    """A class map taken apart into masks on a metric grid.

    `ice` holds the ponds and specks that belong to glaciers; `cut` are pixels on the border or beside (8 neighbours) unknown
    ones.
    """

    grid: GeoBox
    ice: Mask
    debris: Mask
    water: Mask
    ponds: Mask
    unknown: Mask
    cut: Mask


def glacier_inventory(
    classes: NDArray[np.uint8],
    grid: GeoBox,
    legend: Legend,
    dem: NDArray[np.float32] | None = None,
    probability: Read | None = None,
    outlines: gpd.GeoDataFrame | None = None,
    settings: InventorySettings | None = None,
) -> Inventory:
    """Make the glacier and lake inventory of a class map.

    Parameters
    ----------
    classes: (y, x) uint8 codes of `legend`.
    grid: GeoBox of the map; projected in metres, square north-up pixels.
    legend: must hold the classes that `settings` names for clean ice, debris-covered ice and water.
    dem: (y, x) elevations (m) on the same grid, NaN where unknown; without it topography is empty and termini are not assigned.
    probability: reads windows (class, y, x) of calibrated probabilities in the legend's channel order, for expected areas;
        some rows at a time, so that they need not be held in memory (`strips.held` reads an array that is).
    outlines: polygons (RGI or other earlier outlines, see `read_outlines`) or divide lines that cut complexes into glaciers, in
        any CRS. Without them complexes are cut along the watersheds of the DEM, or not at all when there is no DEM.
    settings: the rules; `InventorySettings()` when left out.

    Raises
    ------
    VigieError
        For maps that do not fit the grid, codes the legend does not know, grids without metres, outlines without CRS.

    Examples
    --------
    >>> from odc.geo.geobox import GeoBox
    >>> from vigie.core.legend import LegendClass
    >>> names = ("land", "clean ice", "debris-covered ice", "water")
    >>> legend = Legend("g", tuple(LegendClass(code, name, "#888888") for code, name in enumerate(names)))
    >>> from affine import Affine
    >>> grid = GeoBox((20, 20), Affine(30, 0, 500000, 0, -30, 3100600), "EPSG:32645")
    >>> classes = np.zeros((20, 20), np.uint8)
    >>> classes[5:15, 5:15] = 1
    >>> glacier_inventory(classes, grid, legend).glaciers.area_km2.round(2).tolist()
    [0.09]
    """
    settings = settings or InventorySettings()
    world = read_map(classes, grid, legend, settings)
    _check(classes, dem)
    surface = None if dem is None else Dem(np.asarray(dem, np.float32), grid, settings.dem_source)
    complexes, _ = patches(world.ice, _smallest_px(grid, settings.min_glacier_km2))
    numbers, owner = _cut(complexes, grid, outlines, surface, settings)
    parents = _parents(outlines, owner[1:])
    traced = polygonise(numbers, grid.affine, OUTLINES[settings.outline])[1]
    shapes = simplify(traced, settings.simplify_px * earth.pixel_size_m(grid))
    found = _Found(world, complexes, numbers, shapes, parents, surface, _chances(probability, legend, world, settings))
    return _tables(found, settings)


@dataclass(frozen=True)
class _Chances:
    """Calibrated probabilities as they are read, with the channels of clean ice, debris-covered ice and water."""

    read: Read
    legend: Legend
    channels: tuple[int, int, int]
    world: ClassMap

    def _every(self, window: Window) -> NDArray[np.float32]:
        found = self.read(window)
        shape = (len(self.legend.classes), *(part.stop - part.start for part in (window["y"], window["x"])))
        if found.shape != shape:
            raise VigieError("probabilities do not fit the class map", found=found.shape, expected=shape)
        return found

    def ice(self, window: Window) -> NDArray[np.float32]:
        """Chance of ice (y, x): 1 in ponds of glaciers, 0 where the class is unknown."""
        every, at = self._every(window), (window["y"], window["x"])
        ice = every[self.channels[0]] + every[self.channels[1]]
        ice = np.where(self.world.ponds[at], 1, np.where(self.world.unknown[at], 0, ice))
        return np.clip(ice, 0, 1).astype(np.float32)

    def water(self, window: Window) -> NDArray[np.float32]:
        """Chance of water (y, x)."""
        return np.asarray(self._every(window)[self.channels[2]])


@dataclass(frozen=True)
class _Found:
    """Everything found on the grid, before it becomes tables; `shapes` are the glaciers' outlines in the grid's CRS."""

    world: ClassMap
    complexes: Labels
    glaciers: Labels
    shapes: earth.Shapes
    parents: gpd.GeoDataFrame
    dem: Dem | None
    chances: _Chances | None


def read_map(classes: NDArray[np.uint8], grid: GeoBox, legend: Legend, settings: InventorySettings) -> ClassMap:
    """Take a class map apart, after checking that it fits its grid and its legend."""
    earth.pixel_size_m(grid)
    if classes.shape != tuple(grid.shape):
        raise VigieError("the class map does not fit its grid", found=classes.shape, expected=tuple(grid.shape))
    strange = sorted(set(np.unique(classes).tolist()) - set(legend.codes.tolist()) - {legend.unknown})
    if strange:
        raise VigieError("the class map holds codes its legend does not know", found=strange, expected=legend.codes.tolist())
    code = {name: legend.codes[legend.channel(name)] for name in (settings.clean, settings.debris, settings.water)}
    debris, water = classes == code[settings.debris], classes == code[settings.water]
    ice = (classes == code[settings.clean]) | debris
    ponds = lakes.enclosed(water, ice)
    whole = ice | ponds
    ice = whole | _specks(whole, settings.min_nunatak_px)
    unknown = classes == legend.unknown
    edge = np.pad(unknown, 1, constant_values=True)
    cut = ndimage.binary_dilation(edge, np.ones((3, 3)))[1:-1, 1:-1]
    return ClassMap(grid, ice, debris, water, ponds, unknown, np.asarray(cut))


def _specks(glacier: Mask, smallest_px: int) -> Mask:
    """Holes too small to be called nunataks."""
    if smallest_px <= 1:
        return np.zeros_like(glacier)
    holes, _ = ndimage.label(ndimage.binary_fill_holes(glacier) & ~glacier, np.ones((3, 3)))
    sizes = np.bincount(holes.ravel())
    return np.asarray((holes > 0) & (sizes < smallest_px)[holes])


def _check(classes: NDArray[np.uint8], dem: NDArray[np.float32] | None) -> None:
    if dem is not None and dem.shape != classes.shape:
        raise VigieError("the DEM does not fit the class map", found=dem.shape, expected=classes.shape, do="warp it first")


def _smallest_px(grid: GeoBox, area_km2: float) -> int:
    """Pixels that make an area: cut corners cost half a pixel, and pixels vary by up to a thousandth about the middle one."""
    pixel_m = earth.local_pixel_m(grid, *earth.centre(grid)).item()
    return int(np.ceil(1.001 * area_km2 * 1e6 / pixel_m**2 + 0.5))


def _cut(
    complexes: Labels, grid: GeoBox, outlines: gpd.GeoDataFrame | None, dem: Dem | None, settings: InventorySettings
) -> tuple[Labels, NDArray[np.int32]]:
    """Cut complexes by the outlines or lines given, otherwise by the flow of the DEM, otherwise not at all."""
    smallest_px = _smallest_px(grid, settings.min_glacier_km2)
    if outlines is not None:
        metric = earth.lonlat(outlines).to_crs(grid.crs.to_wkt())
        by_shapes = divides.by_lines if _linear(outlines) else divides.by_outlines
        return divides.settle(by_shapes(complexes, np.asarray(metric.geometry.array, dtype=object), grid), smallest_px)
    if dem is not None:
        smoothing_px = settings.divide_smoothing_m / earth.local_pixel_m(grid, *earth.centre(grid)).item()
        basins = divides.by_flow(complexes, dem.elevation_m, smoothing_px, settings.divide_relief_m)
        return divides.settle(basins, max(smallest_px, _smallest_px(grid, settings.divide_area_km2)))
    return divides.settle(divides.whole(complexes), smallest_px)


def _linear(outlines: gpd.GeoDataFrame) -> bool:
    """Tell divide lines from outlines; a mixture, points or missing geometries are neither."""
    kinds = set(outlines.geom_type)
    if not (kinds <= LINES or kinds <= POLYGONS):
        raise VigieError(
            "complexes cannot be cut by these geometries",
            found=sorted(map(str, kinds)),
            expected="polygons, or lines",
            do="read outlines with read_outlines, which repairs them; give divides and outlines apart",
        )
    return bool(kinds) and kinds <= LINES


def _parents(outlines: gpd.GeoDataFrame | None, owner: NDArray[np.int32]) -> gpd.GeoDataFrame:
    """The attributes of each glacier's outline, empty rows where it has none."""
    if outlines is None or _linear(outlines):
        return pd.DataFrame(index=range(len(owner)))
    known = pd.DataFrame(outlines.drop(columns=outlines.geometry.name)).reset_index(drop=True)
    return known.reindex(owner - 1).reset_index(drop=True)


def _chances(probability: Read | None, legend: Legend, world: ClassMap, settings: InventorySettings) -> _Chances | None:
    if probability is None:
        return None
    clean, debris, water = (legend.channel(name) for name in (settings.clean, settings.debris, settings.water))
    return _Chances(probability, legend, (clean, debris, water), world)


def _tables(found: _Found, settings: InventorySettings) -> Inventory:
    world, grid = found.world, found.world.grid
    shapes = earth.reproject(found.shapes, grid.crs.to_wkt(), earth.WGS84)
    ponds_and_lakes = lakes.trace(world.water, grid, settings.min_lake_px)
    glaciers = attributes.identify(shapes, found.parents, settings)
    glaciers, hypsometry, lines = attributes.describe(glaciers, _surroundings(found, ponds_and_lakes, settings))
    near = lakes.nearness(found.glaciers)
    glaciers, complexes = _areas(glaciers, found, near, settings)
    _termini(glaciers, found.parents)
    elevation = held(found.dem.elevation_m) if found.dem else None
    water = found.chances.water if found.chances else None
    beside = lakes.Beside(world.ponds, near, world.cut, elevation, water)
    lake_table = lakes.lake_table(ponds_and_lakes, glaciers, beside, settings)
    order = attributes.west_to_east(shapes)
    ordered = glaciers.iloc[order].reset_index(drop=True)
    return Inventory(
        glaciers=schema.conform(ordered, schema.fields("glacier", "glacier_extra")),
        complexes=complexes.iloc[attributes.west_to_east(complexes.geometry.to_numpy())].reset_index(drop=True),
        intersects=attributes.intersects(_on_grid(ordered, found.shapes[order], grid), settings),
        centrelines=attributes.centreline_table(lines, ordered, settings),
        lakes=lake_table,
        hypsometry=ordered[["rgi_id"]].merge(hypsometry, on="rgi_id"),
        settings=settings,
    )


def _on_grid(table: gpd.GeoDataFrame, shapes: earth.Shapes, grid: GeoBox) -> gpd.GeoDataFrame:
    """Give a table the shapes on the grid, where neighbours share their vertices whatever the antimeridian does to degrees."""
    return table.set_geometry(gpd.GeoSeries(shapes, index=table.index, crs=grid.crs.to_wkt()))


def _surroundings(found: _Found, traced: lakes.Lakes, settings: InventorySettings) -> attributes.Surroundings | None:
    """The DEM, and the lakes that count at a terminus: no ponds on the ice, and none under the smallest glacier's area."""
    if found.dem is None:
        return None
    pixel_m = earth.pixel_size_m(traced.grid)
    pond = np.bincount(traced.labels[found.world.ponds], minlength=len(traced.shapes) + 1)[1:] > 0
    area_km2 = earth.area_km2(earth.reproject(traced.shapes, traced.grid.crs.to_wkt(), earth.WGS84))
    large = area_km2 >= settings.min_lake_at_terminus_km2
    tree = shapely.STRtree(traced.shapes[large & ~pond])
    reach_m = settings.contact_px * pixel_m
    return attributes.Surroundings(found.dem, tree, traced.grid.crs.to_wkt(), reach_m, settings.terminus_relief_m)


def _areas(
    glaciers: gpd.GeoDataFrame, found: _Found, near: lakes.Nearness, settings: InventorySettings
) -> tuple[gpd.GeoDataFrame, gpd.GeoDataFrame]:
    """Debris, uncertainties and truncation of glaciers, and their complexes."""
    labels, count, grid = found.glaciers, len(glaciers), found.world.grid
    size = pixel_counts(labels, count + 1)[1:]
    debris = np.bincount(labels[found.world.debris], minlength=count + 1)[1:]
    out = glaciers.copy()
    out["debris_area_km2"] = out["area_km2"] * (debris / np.maximum(size, 1))
    out["truncated"] = np.bincount(labels[found.world.cut], minlength=count + 1)[1:] > 0
    out["area_mean_km2"], out["area_std_km2"] = _expected(out, found, near, settings)
    number = _complex_of(labels, found.complexes, count)
    complexes = attributes.complex_table(_on_grid(out, found.shapes, grid), number, settings)
    metric = earth.reproject(complexes.geometry.to_numpy(), earth.WGS84, grid.crs.to_wkt())
    edges, pixel_m = uncertainty.rim(labels, found.world.debris), earth.pixel_size_m(grid)
    buffers = settings.clean_buffer_px * pixel_m, settings.debris_buffer_px * pixel_m
    errors, shares = uncertainty.complex_errors(metric, number, edges, *buffers)
    on_ground = (earth.local_pixel_m(grid, complexes["cenlon"], complexes["cenlat"]) / pixel_m) ** 2
    complexes["area_err_km2"], out["area_err_km2"] = errors * on_ground, shares * on_ground[number]
    complexes["truncated"] = np.bincount(number, out["truncated"], minlength=len(complexes)) > 0
    out["complex_id"] = complexes["rgi_id"].to_numpy(dtype=object)[number]
    return out, schema.conform(complexes, schema.fields("complex", "complex_extra"))


def _complex_of(glaciers: Labels, complexes: Labels, count: int) -> NDArray[np.int64]:
    """Complex of each glacier, counted from 0 without gaps."""
    of = np.zeros(count + 1, dtype=np.int64)
    for strip in strips(glaciers.shape):
        of[glaciers[strip.keep["y"]]] = complexes[strip.keep["y"]]
    return np.unique(of[1:], return_inverse=True)[1]


def _expected(
    glaciers: gpd.GeoDataFrame, found: _Found, near: lakes.Nearness, settings: InventorySettings
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation (km2) of areas under the probabilities; NaN without them, nothing where no glacier is."""
    if found.chances is None or glaciers.empty:
        return (np.full(len(glaciers), np.nan),) * 2
    zones = np.where(near.distance_px <= settings.zone_px, near.glacier, 0)
    mean, std = uncertainty.probable_area_px(found.chances.ice, zones, settings.correlation_px)
    pixel_km2 = earth.local_pixel_m(found.world.grid, glaciers["cenlon"], glaciers["cenlat"]) ** 2 / 1e6
    return mean[1:] * pixel_km2, std[1:] * pixel_km2


def _termini(glaciers: gpd.GeoDataFrame, parents: pd.DataFrame) -> None:
    """Add lake_cat and term_type."""
    contact = [None if pd.isna(value) else float(value) for value in glaciers["lake_contact"]]
    categories = [termini.lake_category(value) for value in contact]
    known = parents["term_type"].fillna(9) if "term_type" in parents else pd.Series([9] * len(glaciers))
    rows = zip(categories, known, glaciers["truncated"], strict=True)
    glaciers["term_type"] = [termini.terminus_type(category, int(old), bool(cut)) for category, old, cut in rows]
    glaciers["lake_cat"] = pd.array(categories, dtype="Int64")
