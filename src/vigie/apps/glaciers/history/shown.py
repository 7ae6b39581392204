"""What the map of a date itself shows of an outline: maps made consistent in time also hold what other dates know."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.features import rasterize


def with_shown(
    outlines: gpd.GeoDataFrame, grid: GeoBox, own: NDArray[np.bool_], chance: NDArray[np.floating]
) -> gpd.GeoDataFrame:
    """Add `shown`, the share of each outline that its date's own map shows, and `guess_err_km2`, the doubt of the rest.

    What was not shown is guessed from the same other dates, so errors of its pixels add up: sum of sqrt(p (1 - p)), the largest
    standard deviation that their probabilities p allow.

    Parameters
    ----------
    outlines: polygons on the grid's CRS with `area_km2`.
    own: where the date's own map shows such objects (y, x).
    chance: probability of such objects given all dates (y, x).

    Examples
    --------
    >>> from shapely import box
    >>> lake = gpd.GeoDataFrame({"area_km2": [0.04]}, geometry=[box(0, 0, 200, 200)], crs=32645)
    >>> grid = GeoBox.from_bbox((0, 0, 400, 400), "EPSG:32645", resolution=100)
    >>> with_shown(lake, grid, np.zeros((4, 4), bool), np.full((4, 4), 0.5))[["shown", "guess_err_km2"]].values.tolist()
    [[0.0, 0.02]]
    """
    if outlines.empty:
        return outlines.assign(shown=np.ones(0), guess_err_km2=np.zeros(0))
    pairs = zip(outlines.geometry, range(1, len(outlines) + 1), strict=True)
    labels = rasterize(pairs, out_shape=tuple(grid.shape), transform=grid.affine, dtype="int32")
    doubt = np.where(own, 0.0, np.sqrt(chance * (1.0 - chance)))
    pixels, seen, guessed = (
        np.bincount(labels.ravel(), weights, minlength=len(outlines) + 1)[1:] for weights in (None, own.ravel(), doubt.ravel())
    )
    # Outlines under another, or smaller than a pixel, are as the pixel that they lie in.
    inside = outlines.geometry.representative_point()
    columns, rows = ~grid.affine * (inside.x.to_numpy(), inside.y.to_numpy())
    at = (np.clip(rows.astype(int), 0, labels.shape[0] - 1), np.clip(columns.astype(int), 0, labels.shape[1] - 1))
    whole = np.maximum(pixels, 1)
    shown, guess = np.where(pixels, seen / whole, own[at]), np.where(pixels, guessed / whole, doubt[at])
    return outlines.assign(shown=shown, guess_err_km2=outlines["area_km2"] * guess)
