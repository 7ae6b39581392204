"""Hydrological sensitivity: what is built in comes back, incomplete runs do not count, products find their place."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from vigie.core.errors import VigieError
from vigie.verify.sensitivity import ensemble_band, hydrological_sensitivity, place, regressed_sensitivity

YEARS = np.arange(1950, 2101)
SCENARIOS = ["historical", "rcp85"]


@pytest.fixture
def ensemble():
    """Models a, b, c with 1, 2, 3 %/K; run r2 of b lacks one year, and rain knows a model d that temperature does not."""
    warming = np.maximum(YEARS - 2005, 0) * 0.04
    tas = np.full((2, YEARS.size, 3, 2), np.nan)
    tas[0, YEARS <= 2005], tas[1, YEARS > 2005] = 287.0, 287.0 + warming[YEARS > 2005, None, None]
    pr = 3 * (1 + 0.01 * np.array([1, 2, 3])[:, None] * (tas - 287.0))
    pr[1, YEARS == 2080, 1, 1] = np.nan
    pr[1, YEARS > 2005, 1, 1] *= 1.5
    time = np.array([f"{year}-12-31" for year in YEARS], "datetime64[ns]")
    coords = {"scenario": SCENARIOS, "time": time, "model": ["a", "b", "c"], "run": ["r1", "r2"]}
    tas, pr = (xr.DataArray(x, dims=("scenario", "time", "model", "run"), coords=coords) for x in (tas, pr))
    return xr.concat([pr, pr.isel(model=[0]).assign_coords(model=["d"])], "model"), tas


def test_the_sensitivity_put_in_comes_out(ensemble):
    found = hydrological_sensitivity(*ensemble)
    np.testing.assert_allclose(found.sel(scenario="rcp85"), [1, 2, 3])
    assert found.attrs["left_out"] == "d" and found.attrs["units"] == "% K-1"


def test_a_model_without_a_whole_run_has_none(ensemble):
    pr, tas = ensemble
    found = hydrological_sensitivity(pr.where(pr["model"] != "c"), tas)
    assert np.isnan(found.sel(scenario="rcp85", model="c"))
    band = ensemble_band(found).sel(scenario="rcp85")
    assert int(band["models"]) == 2 and band["models"].attrs == {} and band["low"].attrs["units"] == "% K-1"


def test_products_find_their_place(ensemble):
    models = hydrological_sensitivity(*ensemble)
    found = place(2.5, models).sel(scenario="rcp85")
    assert (int(found["rank"]), int(found["of"]), bool(found["inside"])) == (3, 4, True)
    above = place(3.1, models).sel(scenario="rcp85")
    assert not above["inside"] and int(above["rank"]) == 4
    with pytest.raises(VigieError, match="no place"):
        place(float("nan"), models)


def test_a_period_outside_the_record_is_refused(ensemble):
    with pytest.raises(VigieError, match=r"years 1940-1960 are not all there.*found 11 years"):
        hydrological_sensitivity(*ensemble, reference=(1940, 1960))
    # years are there, but the historical run ends in 2005: nothing is left
    assert np.isnan(hydrological_sensitivity(*ensemble, reference=(1990, 2010))).all()


def test_an_ensemble_must_be_one(ensemble):
    pr, tas = ensemble
    with pytest.raises(VigieError, match=r"lacks dimensions.*run"):
        hydrological_sensitivity(pr.isel(run=0), tas)
    with pytest.raises(VigieError, match="no historical"):
        hydrological_sensitivity(pr.sel(scenario=["rcp85"]), tas)


def test_a_short_record_is_regressed():
    rng = np.random.default_rng(0)
    tas = 287 + rng.normal(0, 0.3, 40)
    pr = 2.7 * (1 + 0.02 * (tas - 287)) + rng.normal(0, 0.01, 40)
    slope, error = regressed_sensitivity(np.append(pr, np.nan), np.append(tas, 280))
    assert abs(slope - 2) < 3 * error and 0.05 < error < 0.5
    with pytest.raises(VigieError, match="too few years"):
        regressed_sensitivity(pr[:9], tas[:9])
