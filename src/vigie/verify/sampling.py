"""Sampling error: what totals lose because an orbit sees a place only now and then, even if it measures without error.

A continuous record (radar, gauges) is seen once in each revisit time, rescaled, and held against its own totals (after Bell &
Kundu 1996; the error of the product itself comes on top).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.core.errors import VigieError


def sampling_error(amounts: xr.DataArray, revisits_h: Sequence[float], wet: float, quantile: float = 0.99) -> xr.Dataset:
    """Compare totals of a record that is seen every few hours with its totals, averaged over all phases of the revisit.

    Parameters
    ----------
    amounts: (time, ...) amounts of regular time steps that all have one length, for instance mm in each hour of a day.
    revisits_h: revisit times, whole multiples of the time step that divide the record.
    wet: places whose total is at least this take part, in the unit of the amounts, if no step is missing.
    quantile: of the totals, whose ratio is told.

    Returns
    -------
    By `revisit_h`: `relative_rmse`, RMSE of the total over the mean total; `quantile_ratio`, quantile of the sampled totals
    over that of the totals; `places`, how many took part.

    Raises
    ------
    VigieError: time is not regular, a revisit does not fit, or no place takes part.

    Examples
    --------
    >>> hours = np.arange("2022-10-18", "2022-10-19", dtype="datetime64[h]").astype("datetime64[ns]")
    >>> steady = xr.DataArray(np.ones((24, 5)), dims=("time", "place"), coords={"time": hours})
    >>> sampling_error(steady, [3, 12], wet=1.0)["relative_rmse"].values.tolist()
    [0.0, 0.0]
    """
    steps = [_steps(amounts["time"], revisit) for revisit in revisits_h]
    record = amounts.transpose("time", ...).values.reshape(amounts.sizes["time"], -1).astype(np.float64)
    total = record.sum(axis=0)
    record = record[:, total >= wet]  # a missing step makes the total NaN, which is not wet
    if record.shape[1] == 0:
        raise VigieError("no place is wet and seen at all times", found="0 places", expected=f"totals of {wet:g} or more")
    errors, ratios = zip(*(_against_total(record, step, quantile) for step in steps), strict=True)
    return xr.Dataset(
        {
            "relative_rmse": ("revisit_h", np.array(errors), {"units": "1"}),
            "quantile_ratio": ("revisit_h", np.array(ratios), {"units": "1", "quantile": quantile}),
            "places": record.shape[1],
        },
        coords={"revisit_h": np.array(revisits_h, np.float64)},
    )


def _steps(time: xr.DataArray, revisit_h: float) -> int:
    """How many time steps a revisit is."""
    gaps = np.unique(np.diff(time.values.astype("datetime64[s]")).astype(np.int64))
    if gaps.size != 1:
        raise VigieError("sampling needs a record with regular time steps", found=f"steps of {gaps.tolist()} s", expected="one")
    steps = revisit_h * 3600 / gaps[0]
    if steps < 1 or steps % 1 or time.size % int(steps):
        raise VigieError(
            f"a revisit of {revisit_h:g} h does not fit this record",
            found=f"{time.size} steps of {gaps[0] / 3600:g} h",
            expected="a whole number of steps that divides the record",
        )
    return int(steps)


def _against_total(record: NDArray[np.float64], step: int, quantile: float) -> tuple[float, float]:
    """Relative RMSE and ratio of quantiles, mean over the phases."""
    total = record.sum(axis=0)
    seen = [record[phase::step].sum(axis=0) * step for phase in range(step)]
    errors = [np.sqrt(np.mean((one - total) ** 2)) / total.mean() for one in seen]
    ratios = [np.quantile(one, quantile) / np.quantile(total, quantile) for one in seen]
    return float(np.mean(errors)), float(np.mean(ratios))
