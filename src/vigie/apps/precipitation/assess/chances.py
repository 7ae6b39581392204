"""Random levels of the distributions of a product, by when and where they belong: blocks and files do not change them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.verify.quantiles import inverse

Floats = NDArray[np.float64]


def chances(seed: Sequence[int], steps: NDArray[np.int64], cells: int) -> Floats:
    """Draw a level (step, cell), uniform between 0 and 1, for each cell of each step.

    Every step has a generator of its own, seeded with its number, as scans have in `vigie.predict.swath`: a level is
    told by the seed, the number of its step and that of its cell alone.

    Parameters
    ----------
    seed: of the whole record, and of what else must differ, such as the number of the draw.
    steps: number of each step (step,) in the whole record.
    cells: how many cells a step has.

    Examples
    --------
    >>> whole = chances((0,), np.arange(4), 3)
    >>> bool((chances((0,), np.array([2, 3]), 3) == whole[2:]).all()), np.unique(whole).size
    (True, 12)
    """
    return np.stack([np.random.default_rng((*seed, step)).random(cells) for step in steps.tolist()])


def with_chances(data: xr.Dataset, seed: Sequence[int], steps: NDArray[np.int64]) -> xr.Dataset:
    """Give data of a product with quantiles the level `chance` (step, ...) that `realisation` takes; leave others as they are.

    Of all cells of the record, before any are picked: what is drawn for one does not depend on which others are.
    """
    if "rain_quantile" not in data:
        return data
    rain = data["rain"]
    levels = chances(seed, steps, int(np.prod(rain.shape[1:])))
    return data.assign(chance=(rain.dims, levels.reshape(rain.shape)))


def realisation(data: xr.Dataset) -> Floats:
    """Take one thing that could have fallen: the first member, quantiles at `chance`, or the one number there is."""
    if "rain_member" in data:
        return np.asarray(data["rain_member"].isel(member=0).values, np.float64)
    if "rain_quantile" in data:
        return drawn(data["rain_quantile"].values.astype(np.float64), data["quantile"].values, data["chance"].values)
    return np.asarray(data["rain"].values, np.float64)


def drawn(quantiles: Floats, levels: Floats, chance: Floats) -> Floats:
    """Look up quantiles (level, ...) at the levels `chance` (...); those that cross by rounding are put in order.

    Examples
    --------
    >>> drawn(np.array([[0.0], [2.0]]), np.array([0.25, 0.75]), np.array([0.5])).tolist()
    [1.0]
    """
    found: Floats = inverse(np.maximum.accumulate(quantiles, axis=0), levels, chance[None])[0]
    return found
