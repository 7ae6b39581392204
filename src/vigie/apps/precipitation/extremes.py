"""How much rain one footprint in a thousand has: observed, as a fitted tail says it, and as samples of retrievals have it.

Footprints are no series of one place, so levels are told per number of footprints and not per year. Neighbours rain together:
intervals of the fit, which takes footprints for independent, are too narrow.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.core.errors import VigieError
from vigie.verify.extremes import LEAST_EXCESSES, fit_gpd, return_interval
from vigie.verify.tail_counts import largest, quantiles
from vigie.verify.tally import Tally

SHARE = 0.05
"""Share of the footprints that the tail is fitted to, the largest ones."""
MOST_EXCESSES = 2000
"""No more than so many of them."""
LEVEL = 0.9
"""Of the fit's interval."""
PER_DECADE = 3
"""Levels that are told between one footprint in ten and one in a hundred."""


def return_levels(tails: Mapping[str, Tally], seed: int) -> xr.Dataset:
    """Tell the rain, mm/h, that one in `return_period` footprints reaches.

    Parameters
    ----------
    tails: counts of `vigie.verify.tail_counts` by method, all of the same footprints.
    seed: of the bootstrap.

    Returns
    -------
    `return_level_observed` (return_period), `return_level_fit` and `return_level_fit_interval` (bound, return_period), of a
    generalised Pareto tail fitted to what was observed; `return_level` (model, return_period) of samples, the mean over draws.
    Nothing but the attribute `no_return_levels`, which says why, where there is too little rain.
    """
    observed = next(iter(tails.values())).total["truth"].values
    footprints = int(observed.sum())
    count = min(MOST_EXCESSES, int(SHARE * footprints))
    values = largest(observed, count + 1)
    threshold = float(values[-1]) if values.size else 0.0
    try:
        fit = fit_gpd(values, threshold, years=float(footprints))
    except VigieError as error:
        return xr.Dataset(attrs={"no_return_levels": f"{error.problem}: {error.found} of at least {LEAST_EXCESSES}"})
    if threshold <= 0:
        return xr.Dataset(attrs={"no_return_levels": f"fewer than {100 * SHARE:.0f} % of the footprints have rain"})
    periods = return_periods(footprints, fit.per_year)
    levels = tuple((1 - 1 / periods).tolist())
    ours = [np.mean([quantiles(drawn, levels) for drawn in tally.total["sample"].values], axis=0) for tally in tails.values()]
    return xr.Dataset(
        {
            "return_level_observed": ("return_period", quantiles(observed, levels)),
            "return_level_fit": ("return_period", fit.return_level(periods)),
            "return_level_fit_interval": (("bound", "return_period"), return_interval(fit, periods, LEVEL, seed=seed)),
            "return_level": (("model", "return_period"), np.stack(ours)),
        },
        coords={"return_period": periods, "bound": ["low", "high"], "model": list(tails)},
        attrs={"tail_threshold_mm_h": threshold, "tail_shape": fit.shape, "tail_excesses": fit.excesses},
    )


def return_periods(footprints: int, per_footprint: float) -> NDArray[np.float64]:
    """Choose numbers of footprints, evenly on a logarithmic scale, from where the tail begins to all that were observed.

    Examples
    --------
    >>> return_periods(2000, 0.05).round().tolist()
    [46.0, 100.0, 215.0, 464.0, 1000.0]
    """
    exponents = np.arange(np.ceil(PER_DECADE * np.log10(2 / per_footprint)), np.floor(PER_DECADE * np.log10(footprints)) + 1)
    return np.asarray(10 ** (exponents / PER_DECADE), dtype=np.float64)
