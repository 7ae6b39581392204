"""Trends: equal to pymannkendall's, blind to gaps, few false alarms on noise; fields by Benjamini and Hochberg."""

from __future__ import annotations

import numpy as np
import pymannkendall
import pytest
import xarray as xr

from vigie.core.errors import VigieError
from vigie.verify.trends import significant, trend, trend_field

YEARS = np.arange(1950, 2010)


def remembering(rng, n, memory=0.6):
    x = rng.normal(size=n)
    for i in range(1, n):
        x[i] += memory * x[i - 1]
    return x


def test_it_is_pymannkendalls_with_three_lags_and_with_all():
    x = remembering(np.random.default_rng(0), 60) + 0.02 * np.arange(60)
    found, everything = trend(x, YEARS), trend(x, YEARS, lags=59)
    plain, three = pymannkendall.original_test(x), pymannkendall.hamed_rao_modification_test(x, lag=3)
    np.testing.assert_allclose([found.slope, found.p, found.p_corrected], [plain.slope, plain.p, three.p])
    assert everything.p_corrected == pymannkendall.hamed_rao_modification_test(x).p
    assert found.p_corrected > found.p and found.variance_factor > 1.5


def test_three_lags_raise_the_fewest_false_alarms_on_noise_that_remembers():
    rng = np.random.default_rng(12)
    found = [[trend(x, np.arange(100), lags) for lags in (3, 99)] for x in (remembering(rng, 100, 0.5) for _ in range(120))]
    plain, three, everything = np.mean([[a.p < 0.05, a.p_corrected < 0.05, b.p_corrected < 0.05] for a, b in found], axis=0)
    assert three + 0.03 < everything < plain - 0.03 and three < 0.14


def test_a_gap_of_years_does_not_steepen_the_slope():
    x = 0.5 * (YEARS - 1950.0)
    kept = (YEARS < 1970) | (YEARS > 1990)
    assert trend(x[kept], YEARS[kept]).slope == pytest.approx(0.5)
    assert trend(np.where(kept, x, np.nan), YEARS) == trend(x[kept], YEARS[kept])


def test_a_constant_series_has_no_trend_and_a_short_one_no_test():
    found = trend(np.ones(60), YEARS)
    assert (found.slope, found.p, found.p_corrected) == (0.0, 1.0, 1.0)
    short = trend(np.arange(9.0), YEARS[:9])
    assert short.values == 9 and np.isnan([short.slope, short.p, short.p_corrected]).all()


def test_a_negative_corrected_variance_gives_no_p_value():
    swinging = np.tile([1.0, -1.0], 30) + np.linspace(0, 1, 60)
    found = trend(swinging, YEARS, lags=1)
    assert found.variance_factor < 0 and np.isnan(found.p_corrected) and found.p > 0


def test_years_must_ascend():
    with pytest.raises(VigieError, match="ascending"):
        trend(np.arange(60.0), YEARS[::-1])


def test_a_field_is_its_series():
    data = np.random.default_rng(2).gamma(2, 10, (60, 2, 3))
    data[:, 0, 0] = np.nan
    field = trend_field(xr.DataArray(data, dims=("year", "y", "x"), coords={"year": YEARS}, attrs={"units": "mm"}))
    one = trend(data[:, 1, 2], YEARS)
    assert field.isel(y=1, x=2)["p_corrected"] == one.p_corrected and field["slope"].attrs["units"] == "mm year-1"
    assert np.isnan(field["p"][0, 0]) and field["values"].values.min() == 0


def test_false_discoveries_are_held_below_the_level():
    rng = np.random.default_rng(3)
    p = np.concatenate([rng.uniform(size=900), rng.uniform(0, 1e-4, 100), [np.nan]])
    shown = significant(xr.DataArray(p, dims="cell"), level=0.1).values
    ordered = np.sort(p[:1000])
    limit = ordered[np.flatnonzero(ordered <= 0.1 * np.arange(1, 1001) / 1000).max()]
    np.testing.assert_array_equal(shown[:1000], p[:1000] <= limit)
    assert shown[900:1000].all() and shown[:900].mean() < 0.03 and not shown[-1]
    assert not significant(xr.DataArray(rng.uniform(0.2, 1, 50), dims="cell")).any()
