"""Climatologies that add: rain of a gridded product or of swaths, counted into one fixed histogram of intensity.

A `Tally` holds the sum of rain and the histogram, weighted with the number of valid samples; tallies of granules, days and
tiles add, in any order, and only then become means, wet fractions and quantiles. Edges of the histogram are fixed, 40 to a
factor of ten from 0.01 to 10000, so that any two tallies add; a quantile is known to the width of a bin:

    |q - sample quantile| < 5.93 % of the sample quantile, from 0.01 on         (10^(1/40) - 1)

A tally knows no unit, and pooling cells counts samples, not areas. Memory is 242 numbers of 8 bytes a cell: 2 kB, 125 MB for
the Earth at 1 degree. `GridCounts` fills one grid in place, block by block, with half of that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.core.errors import VigieError
from vigie.verify.tally import Tally


def edges(per_decade: int) -> NDArray[np.float64]:
    """Give lower edges of bins from 0.01 to 10000, so many to a factor of ten; those of decades are exact."""
    return np.array([0.0, *(10.0**decade * 10 ** (step / per_decade) for decade in range(-2, 4) for step in range(per_decade))])


PER_DECADE = 40
EDGES = edges(PER_DECADE)
"""Lower edges of the bins, in the unit of the rain. The first holds what is below 0.01."""
FINE_EDGES = edges(400)
"""Bins ten times as fine, for distributions without places: a quantile is known to 0.58 %."""
HIGHEST = 1e4
"""Rain is refused from here on: no unit of rain makes it possible."""
LOWEST = -0.01
"""Rain below zero down to this is rounding and counts as zero; anything lower is refused."""
QUANTILE_ERROR = 10 ** (1 / PER_DECADE) - 1
"""Bound of the relative error of a quantile."""
QUANTILES = (0.95, 0.99, 0.999)


def count_field(rain: xr.DataArray, over: Sequence[str]) -> Tally:
    """Count a gridded product over dimensions, for instance time; NaN are not counted.

    Raises
    ------
    VigieError: a dimension is not there; rain is negative or impossibly high, as fill values are.

    Examples
    --------
    >>> rain = xr.DataArray([[0.0, 2.0], [4.0, np.nan]], dims=("time", "x"))
    >>> finish_climatology(count_field(rain, ["time"]), wet=0.1)["mean"].values.tolist()
    [2.0, 2.0]
    """
    if unknown := [dim for dim in over if dim not in rain.dims]:
        raise VigieError("rain cannot be counted over what it has not", found=rain.dims, expected=f"also {unknown}")
    kept = [dim for dim in rain.dims if dim not in over]
    values = rain.transpose(*kept, *over).values
    shape = tuple(rain.sizes[dim] for dim in kept)
    cells = int(np.prod(shape))
    cell = np.repeat(np.arange(cells), values.size // max(cells, 1))
    coords = {str(dim): rain.coords[dim] for dim in kept if dim in rain.coords}
    return _count(values.ravel(), cell, dict(zip(map(str, kept), shape)), coords)


@dataclass(frozen=True)
class Cells:
    """A regular grid of latitude and longitude: its south-west corner, its size and its cells, all in degrees.

    Examples
    --------
    >>> Cells.around(south=-0.5, west=10.2, north=1.0, east=11.7, cell_deg=1.0)
    Cells(south=-1.0, west=10.0, rows=2, columns=2, cell_deg=1.0)
    """

    south: float
    west: float
    rows: int
    columns: int
    cell_deg: float

    @classmethod
    def around(cls, south: float, west: float, north: float, east: float, cell_deg: float) -> Cells:
        """Take the cells, counted from 90 S 180 W, that hold a box."""
        first = np.array([(south + 90) // cell_deg, (west + 180) // cell_deg])
        last = np.maximum(np.ceil(np.array([north + 90, east + 180]) / cell_deg), first + 1)
        corner = first * cell_deg - np.array([90, 180])
        rows, columns = (int(number) for number in last - first)
        return cls(float(corner[0]), float(corner[1]), rows, columns, cell_deg)

    @property
    def latitude(self) -> NDArray[np.float64]:
        """Centres from south to north, degrees."""
        return np.asarray(self.south + (np.arange(self.rows) + 0.5) * self.cell_deg, np.float64)

    @property
    def longitude(self) -> NDArray[np.float64]:
        """Centres from west to east, degrees."""
        return np.asarray(self.west + (np.arange(self.columns) + 0.5) * self.cell_deg, np.float64)

    @property
    def bytes(self) -> int:
        """Memory that `GridCounts` takes."""
        return self.rows * self.columns * (EDGES.size * COUNT.itemsize + 8)


COUNT = np.dtype(np.uint32)
"""Counts of one bin of one cell stay below four thousand million."""


@dataclass(frozen=True)
class GridCounts:
    """Rain of any number of swaths on one grid, counted in place: a block of scans costs the block, not the grid.

    Examples
    --------
    >>> counts = GridCounts(Cells(0.0, 10.0, rows=1, columns=2, cell_deg=1.0))
    >>> counts.add(np.array([1.0, 3.0]), np.array([0.5, 0.1]), np.array([10.5, 10.9]))
    >>> finish_climatology(counts.tally(), wet=0.1)["mean"].values.tolist()
    [[2.0, nan]]
    """

    cells: Cells
    histogram: NDArray[np.uint32] = field(init=False)
    total: NDArray[np.float64] = field(init=False)
    doubtful: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        """Begin with nothing."""
        cells = self.cells.rows * self.cells.columns
        object.__setattr__(self, "histogram", np.zeros((cells, EDGES.size), COUNT))
        object.__setattr__(self, "total", np.zeros(cells))
        object.__setattr__(self, "doubtful", np.zeros(cells, np.int64))

    def add(
        self,
        rain: NDArray[np.floating],
        latitude: NDArray[np.floating],
        longitude: NDArray[np.floating],
        doubtful: NDArray[np.bool_] | None = None,
    ) -> None:
        """Count samples of one shape, and which are doubtful; those with NaN, or outside the grid, are not counted.

        Raises
        ------
        VigieError: rain is negative or impossibly high, as fill values are.
        """
        valid = np.isfinite(rain) & np.isfinite(latitude) & np.isfinite(longitude)
        grid, values = self.cells, _rain(rain[valid])
        y = np.floor((latitude[valid].astype(np.float64) - grid.south) / grid.cell_deg).astype(np.int64)
        x = np.floor(((longitude[valid].astype(np.float64) - grid.west) % 360) / grid.cell_deg).astype(np.int64)
        # The northern edge, and the eastern one of a grid that does not go around the Earth, belong to the last cells.
        north, east = grid.south + grid.rows * grid.cell_deg, grid.west + grid.columns * grid.cell_deg
        y = np.where(latitude[valid] == north, grid.rows - 1, y)
        x = np.where((longitude[valid] == east) & (east - grid.west < 360), grid.columns - 1, x)
        inside = (y >= 0) & (y < grid.rows) & (x < grid.columns)
        cell, values = y[inside] * grid.columns + x[inside], values[inside]
        np.add.at(self.histogram, (cell, np.searchsorted(EDGES, values, side="right") - 1), 1)
        np.add.at(self.total, cell, values)
        if doubtful is not None:
            np.add.at(self.doubtful, cell, doubtful[valid][inside])

    def tally(self) -> Tally:
        """Give what was counted, (latitude, longitude), as `finish_climatology` takes it."""
        shape, dims = (self.cells.rows, self.cells.columns), ("latitude", "longitude")
        coords = {"latitude": self.cells.latitude, "longitude": self.cells.longitude}
        number = (dims, self.histogram.sum(axis=-1, dtype=np.int64).reshape(shape))
        totals = {
            "rain": (dims, self.total.reshape(shape)),
            "doubtful": (dims, self.doubtful.reshape(shape)),
            "histogram": ((*dims, "intensity"), self.histogram.reshape(*shape, EDGES.size)),
        }
        weights = {"rain": number, "doubtful": number, "histogram": number}
        return Tally(xr.Dataset(totals, coords={**coords, "intensity": EDGES}), xr.Dataset(weights, coords=coords))


def count_distribution(rain: NDArray[np.floating], area: NDArray[np.floating] | None = None) -> Tally:
    """Count samples of any shape, wherever they are, into the fine bins, or sum their area; NaN are not counted.

    Areas are about 1 on average, so that their sum tells how many samples there are: a quantile needs some above it.

    Examples
    --------
    >>> tally = count_distribution(np.array([0.0, 1.0])) + count_distribution(np.array([2.0, np.nan]))
    >>> histogram_quantiles(tally, [0.6]).values.round(2).tolist()
    [1.0]
    """
    if area is None:
        return _count(rain.ravel(), np.zeros(rain.size, np.int64), {}, {}, FINE_EDGES)
    valid = np.isfinite(rain)
    values, weight = _rain(rain[valid]), area[valid].astype(np.float64)
    at = np.searchsorted(FINE_EDGES, values, side="right") - 1
    histogram = np.bincount(at, weights=weight, minlength=FINE_EDGES.size)
    totals = xr.Dataset({"rain": (values * weight).sum(), "histogram": ("intensity", histogram)}, {"intensity": FINE_EDGES})
    return Tally(totals, xr.Dataset(dict.fromkeys(totals.data_vars, weight.sum())))


def finish_climatology(tally: Tally, wet: float, quantiles: Sequence[float] = QUANTILES) -> xr.Dataset:
    """Turn counts into `count`, `mean`, `wet_fraction` and `rain_quantile` of all samples, dry ones included.

    Also `doubtful_fraction`, the share of samples that were called doubtful, where these were counted.

    Parameters
    ----------
    tally: of `count_field` or `GridCounts`, pooled over any dimensions.
    wet: least rain of a wet sample; an edge of the histogram: 0.01, 0.1, 1, 10 and steps between.
    quantiles: shares; NaN where there are fewer samples than 1/(1 - share).

    Raises
    ------
    VigieError: the limit of wet samples is no edge.
    """
    edge = int(np.argmin(np.abs(EDGES - wet)))
    if not np.isclose(EDGES[edge], wet, rtol=1e-9):
        raise VigieError(
            "wet samples begin within a bin", found=wet, expected=f"an edge of the histogram, near {EDGES[edge]:.6g}"
        )
    number, wet_samples = tally.weight["rain"], tally.total["histogram"].isel(intensity=slice(edge, None)).sum("intensity")
    found = xr.Dataset(
        {
            "count": number,
            "mean": tally.total["rain"] / number.where(number > 0),
            "wet_fraction": wet_samples / number.where(number > 0),
            "rain_quantile": histogram_quantiles(tally, quantiles),
        }
    )
    if "doubtful" in tally.total:
        found["doubtful_fraction"] = tally.total["doubtful"] / number.where(number > 0)
    return found.assign_attrs(wet=wet, quantile_relative_error=QUANTILE_ERROR)


def histogram_quantiles(tally: Tally, quantiles: Sequence[float] = QUANTILES) -> xr.DataArray:
    """Read quantiles of all samples from the histogram, log-linear within a bin; 0 where they lie in the first."""
    shares = np.asarray(quantiles, np.float64)
    if shares.size and not (shares.min() > 0 and shares.max() < 1):
        raise VigieError("a quantile's level is a share", found=shares.tolist(), expected="between 0 and 1")
    counts = tally.total["histogram"]
    found: xr.DataArray = xr.apply_ufunc(
        _quantiles,
        counts,
        input_core_dims=[["intensity"]],
        output_core_dims=[["quantile"]],
        kwargs={"lower": counts["intensity"].values, "shares": shares},
    )
    return found.assign_coords(quantile=shares).transpose("quantile", ...)


def quantile_quantile(product: Tally, reference: Tally, quantiles: Sequence[float]) -> xr.Dataset:
    """Put quantiles of a product beside those of a reference: `product`, `reference`, and `ratio` (NaN where the latter is 0).

    Both must count the same places and times; draw members before counting them: a mean over members has no tail.
    """
    ours, theirs = histogram_quantiles(product, quantiles), histogram_quantiles(reference, quantiles)
    return xr.Dataset({"product": ours, "reference": theirs, "ratio": ours / theirs.where(theirs > 0)})


def _count(
    values: NDArray[np.floating],
    cell: NDArray[np.int64],
    sizes: dict[str, int],
    coords: Mapping[str, xr.DataArray | NDArray[np.float64]],
    lower: NDArray[np.float64] = EDGES,
) -> Tally:
    """Sum rain and count bins of intensity by cell; `cell` numbers the cells of `sizes` in C order."""
    valid = np.isfinite(values)
    rain, cell = _rain(values[valid]), cell[valid]
    bins, shape = lower.size, tuple(sizes.values())
    cells = int(np.prod(shape))
    at = cell * bins + np.searchsorted(lower, rain, side="right") - 1
    histogram = np.bincount(at, minlength=cells * bins).reshape(*shape, bins)
    total = np.bincount(cell, weights=rain, minlength=cells).reshape(shape)
    number = histogram.sum(axis=-1)
    dims = tuple(sizes)
    totals = {"rain": (dims, total), "histogram": ((*dims, "intensity"), histogram)}
    weights = {"rain": (dims, number), "histogram": (dims, number)}
    return Tally(xr.Dataset(totals, coords={**coords, "intensity": lower}), xr.Dataset(weights, coords=coords))


def _rain(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Take known rain for what it is: no less than none; what cannot be rain is refused."""
    rain = values.astype(np.float64)
    if rain.size and (rain.min() < LOWEST or rain.max() >= HIGHEST):
        raise VigieError(
            "rain is no rain",
            found=f"{rain.min():g} to {rain.max():g}",
            expected=f"0 to less than {HIGHEST:g}",
            do="turn fill values into NaN, and check the unit",
        )
    return np.maximum(rain, 0.0)


def _quantiles(counts: NDArray[np.generic], lower: NDArray[np.float64], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Invert the cumulative histogram (..., bin) at shares -> (..., quantile), row by row to spare memory."""
    if counts.ndim > 2:
        return np.stack([_quantiles(row, lower, shares) for row in counts])
    below = np.cumsum(counts, axis=-1)
    number = below[..., -1:]
    upper = np.append(lower[1:], HIGHEST)
    found = np.empty((*counts.shape[:-1], shares.size))
    for i, share in enumerate(shares):
        # of the sample that is the quantile, from 1; areas have no ranks, and their share itself is what lies below
        whole = np.issubdtype(counts.dtype, np.integer)
        rank = np.maximum(np.ceil(share * number - 1e-9), 1) if whole else share * number * (1 - 1e-12)
        bin_ = np.minimum((below < rank).sum(axis=-1, keepdims=True), lower.size - 1)
        inside = np.take_along_axis(counts, bin_, -1)
        reached = np.take_along_axis(below, bin_, -1) - inside
        part = (rank - reached - 0.5) / np.maximum(inside, 1) if whole else (rank - reached) / np.maximum(inside, 1e-300)
        low = lower[bin_]
        value = np.where(bin_ == 0, 0.0, low * (upper[bin_] / np.where(bin_ == 0, 1.0, low)) ** part)
        found[..., i] = np.where(number * (1 - share) >= 1 - 1e-9, value, np.nan)[..., 0]
    return found
