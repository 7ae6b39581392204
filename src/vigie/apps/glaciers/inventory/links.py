"""Which outlines of an inventory overlap which outlines of an earlier one, as in the RGI's -rgi6_links.csv."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from vigie.apps.glaciers.inventory import earth, schema

SMALLEST_OVERLAP_KM2 = 200e-6


def links(glaciers: gpd.GeoDataFrame, earlier: gpd.GeoDataFrame) -> pd.DataFrame:
    """List the overlaps larger than 200 m2 between an inventory and an earlier one (RGI 6, or this inventory's last epoch).

    Parameters
    ----------
    glaciers, earlier: polygons with `rgi_id`, in any CRS; `o1region` is used where it is there.

    Returns
    -------
    A row per pair, with the fraction of either outline, the number of partners of each, and the cluster both belong to.

    Examples
    --------
    >>> one = gpd.GeoDataFrame({"rgi_id": ["a"]}, geometry=[shapely.box(0, 0, 2, 1)], crs="EPSG:4326")
    >>> two = gpd.GeoDataFrame({"rgi_id": ["b"]}, geometry=[shapely.box(1, 0, 3, 1)], crs="EPSG:4326")
    >>> links(one, two)["rgi7_area_fraction"].round(6).tolist()
    [0.5]
    """
    new, old = (earth.cut(earth.lonlat(table).geometry.to_numpy()) for table in (glaciers, earlier))
    a, b = shapely.STRtree(old).query(new, predicate="intersects")
    common = earth.area_km2(shapely.intersection(new[a], old[b]))
    large = common > SMALLEST_OVERLAP_KM2
    a, b, common = a[large], b[large], common[large]
    table = pd.DataFrame({"rgi7_id": glaciers["rgi_id"].to_numpy(dtype=object)[a]})
    table["rgi6_id"] = earlier["rgi_id"].to_numpy(dtype=object)[b]
    table["rgi7_reg"], table["rgi6_reg"] = _region(glaciers)[a], _region(earlier)[b]
    table["overlap_area_km2"] = common
    table["rgi7_area_fraction"] = common / earth.area_km2(new)[a]
    table["rgi6_area_fraction"] = common / earth.area_km2(old)[b]
    table["n_rgi7"] = np.bincount(b, minlength=len(old))[b]
    table["n_rgi6"] = np.bincount(a, minlength=len(new))[a]
    graph = coo_array((np.ones(len(a)), (a, b + len(new))), shape=(len(new) + len(old),) * 2)
    table["cluster_id"] = np.unique(connected_components(graph, directed=False)[1][a], return_inverse=True)[1]
    return schema.conform(table, schema.fields("rgi6_links"))


def _region(table: gpd.GeoDataFrame) -> np.ndarray:
    return np.asarray(table["o1region"] if "o1region" in table else [""] * len(table), dtype=object)
