"""Sampling error: zero for steady rain, a closed form for one shower, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from vigie.core.errors import VigieError
from vigie.verify.sampling import sampling_error


def hourly(values):
    time = np.datetime64("2022-10-18T00:50") + np.arange(len(values)) * np.timedelta64(1, "h")
    return xr.DataArray(values, dims=("time", "place"), coords={"time": time.astype("datetime64[ns]")})


def test_one_shower_is_seen_once_in_n_phases():
    rain = np.zeros((24, 1))
    rain[7] = 5.0
    found = sampling_error(hourly(rain), [1, 2, 4, 12], wet=1.0)
    n = np.array([1, 2, 4, 12])
    # total n times too high in one phase, zero in n - 1 of them
    np.testing.assert_allclose(found["relative_rmse"], ((n - 1) + (n - 1)) / n)
    np.testing.assert_allclose(found["quantile_ratio"], 1.0)


def test_places_that_are_dry_or_not_always_seen_take_no_part():
    rain = np.ones((24, 4))
    rain[3, 0], rain[:, 1] = np.nan, 0.01
    assert int(sampling_error(hourly(rain), [3], wet=1.0)["places"]) == 2
    with pytest.raises(VigieError, match="no place"):
        sampling_error(hourly(rain), [3], wet=100.0)


def test_uneven_records_and_odd_revisits_are_refused():
    rain = hourly(np.ones((24, 1)))
    with pytest.raises(VigieError, match="regular"):
        sampling_error(rain.isel(time=[0, 1, 3]), [1], wet=1.0)
    for revisit in (5, 1.5, 0.5):
        with pytest.raises(VigieError, match="does not fit"):
            sampling_error(rain, [revisit], wet=1.0)
