"""ETCCDI indices: equal to xclim's in three calendars, in every unit, with explicit gaps."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from vigie.core.errors import VigieError
from vigie.core.rain_units import MM_PER_DAY
from vigie.verify.indices import daily_amounts, etccdi, longest_run

BASE = (2001, 2003)


def rain(calendar="standard", years=4, seed=0, units="mm/day"):
    """Rain of two places in showers: 60 % of days dry, wet days follow wet days."""
    time = xr.date_range("2001-01-01", f"{2000 + years}-12-{30 if calendar == '360_day' else 31}", calendar=calendar)
    rng = np.random.default_rng(seed)
    wet = np.repeat(rng.random((time.size // 3 + 1, 2)) < 0.4, 3, axis=0)[: time.size]
    amount = np.where(wet, rng.gamma(0.7, 9, wet.shape), 0.0)
    return xr.DataArray(amount, dims=("time", "place"), coords={"time": time}, name="pr", attrs={"units": units})


@pytest.mark.filterwarnings("ignore:The 'name' property is deprecated")  # xclim with pandas 3
@pytest.mark.parametrize("calendar", ["standard", "noleap", "360_day"])
def test_every_index_is_xclims(calendar):
    from xclim import indices as xclim

    pr = rain(calendar)
    limits = {
        share: pr.where((pr >= 1) & (pr["time"].dt.year <= BASE[1])).quantile(share, "time").drop_vars("quantile")
        for share in (0.95, 0.99)
    }
    above = {
        name: xclim.fraction_over_precip_thresh(pr, limits[share].assign_attrs(units="mm/day"))
        for name, share in (("r95p", 0.95), ("r99p", 0.99))
    }
    wet = pr.where(pr >= 1, 0.0).assign_attrs(units="mm/day")
    oracle = {
        "wet_fraction": xclim.wetdays_prop(pr),
        "sdii": xclim.daily_pr_intensity(pr),
        "prcptot": xclim.precip_accumulation(wet),
        "rx1day": xclim.max_1day_precipitation_amount(pr),
        "rx5day": xclim.max_n_day_precipitation_amount(pr, window=5),
        "r10mm": xclim.wetdays(pr, thresh="10 mm/day"),
        "r20mm": xclim.wetdays(pr, thresh="20 mm/day"),
        "cdd": xclim.maximum_consecutive_dry_days(pr),
        "cwd": xclim.maximum_consecutive_wet_days(pr),
        **{name: fraction * xclim.precip_accumulation(wet) for name, fraction in above.items()},
    }
    found = etccdi(pr, BASE)
    assert found.attrs["calendar"] == ("proleptic_gregorian" if calendar == "standard" else calendar)
    assert set(found.data_vars) == set(oracle)
    for name, theirs in oracle.items():
        np.testing.assert_allclose(found[name].transpose("year", "place"), theirs.transpose("time", "place"), err_msg=name)


@pytest.mark.parametrize("unit", sorted(MM_PER_DAY))
def test_the_unit_does_not_matter(unit):
    pr = rain(years=1)
    converted = (pr / MM_PER_DAY[unit]).astype(np.float32).assign_attrs(units=unit)
    xr.testing.assert_allclose(etccdi(converted, (2001, 2001)), etccdi(pr, (2001, 2001)), rtol=1e-5)


def test_units_agree_with_the_unit_registry_of_xclim():
    from xclim.core.units import convert_units_to

    for unit in ("kg m-2 s-1", "mm s-1", "m s-1", "mm h-1", "mm/day", "inch/day"):
        one = xr.DataArray(1.0, attrs={"units": unit, "standard_name": "precipitation_flux"})
        assert float(convert_units_to(one, "mm/day", context="hydro")) == pytest.approx(MM_PER_DAY[unit], rel=1e-4)


def test_a_millimetre_that_went_through_single_precision_is_wet():
    stored = (rain(years=1) * 0 + np.float32(1 / 86400)).astype(np.float32).assign_attrs(units="mm s-1")
    assert daily_amounts(stored).max() < 1.0
    assert (etccdi(stored, (2001, 2001))["wet_fraction"] == 1).all()


def test_a_unit_must_be_said_once():
    pr = rain()
    silent = pr.drop_attrs()
    with pytest.raises(VigieError, match=r"'pr' has no unit.*units='mm day-1'"):
        daily_amounts(silent)
    np.testing.assert_allclose(daily_amounts(silent, units="inch"), 25.4 * pr)
    np.testing.assert_allclose(daily_amounts(pr, units="mm day-1"), pr)
    with pytest.raises(VigieError, match="two units"):
        daily_amounts(pr, units="inch")
    with pytest.raises(VigieError, match="no rain; found 'K'"):
        daily_amounts(pr.assign_attrs(units="K"))


def test_days_must_follow_each_other():
    with pytest.raises(VigieError, match=r"not daily; found a step of 2 days.* after 2001-01-10"):
        daily_amounts(rain().drop_isel(time=10))
    with pytest.raises(VigieError, match="not daily; found a step of 2 days"):
        daily_amounts(rain("noleap").drop_isel(time=10))
    with pytest.raises(VigieError, match="coordinate 'time'"):
        daily_amounts(rain().drop_vars("time"))


def test_negative_rain_is_rounding_or_refused():
    pr = rain()
    pr[3] = -5e-5
    assert float(daily_amounts(pr)[3].max()) == 0
    pr[3] = -9999.9
    with pytest.raises(VigieError, match="fill values into NaN"):
        daily_amounts(pr)


def test_a_year_with_too_many_gaps_has_no_indices():
    pr = rain()
    pr[20:35, 0], pr[20:36, 1] = np.nan, np.nan
    found = etccdi(pr, BASE)
    assert all(np.isfinite(found[name][0, 0]) and np.isnan(found[name][0, 1]) for name in found.data_vars)
    assert np.isfinite(found.to_dataarray()[:, 1:]).all()
    begun = etccdi(rain().isel(time=slice(16, None)), BASE)
    assert np.isnan(begun["prcptot"][0]).all() and np.isfinite(begun["prcptot"][1]).all()


def test_an_unknown_day_ends_a_spell():
    pr = rain(years=1) * 0
    pr.attrs["units"] = "mm"
    pr[100] = np.nan
    assert etccdi(pr, (2001, 2001))["cdd"].values.tolist() == [[264, 264]]


def test_a_place_that_is_never_wet_has_no_intensity():
    found = etccdi((rain(years=1) * 0).assign_attrs(units="mm"), (2001, 2001)).isel(year=0, place=0)
    assert np.isnan([found["sdii"], found["r95p"]]).all() and float(found["prcptot"]) == 0 and float(found["cdd"]) == 365


def test_the_base_must_be_in_the_record():
    with pytest.raises(VigieError, match=r"base period is not in the record; found 2001-2004"):
        etccdi(rain(), (1961, 1990))


def test_runs_are_counted_along_any_axis():
    mask = np.random.default_rng(1).random((40, 3)) < 0.6
    by_text = [max(map(len, "".join("x" if m else " " for m in column).split())) for column in mask.T]
    assert longest_run(mask, axis=0).tolist() == longest_run(mask.T, axis=1).tolist() == by_text
