"""Every published figure of extremes and climate is reproduced, and the traps of these files are as they are told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from vigie.core.errors import VigieError
from vigie.verify.indices import daily_amounts, etccdi
from vigie.verify.scaling import temperature_scaling
from vigie.verify.sensitivity import hydrological_sensitivity, place

pytestmark = pytest.mark.realdata


@pytest.fixture
def bench(load_benchmark):
    return load_benchmark("precipitation_extremes")


@pytest.fixture
def gauges(samples: Path) -> Path:
    return samples / "precipitation/gauges"


@pytest.fixture
def climate(samples: Path) -> Path:
    return samples / "precipitation/climate"


@pytest.mark.parametrize(
    ("section", "folder", "number"),
    [
        ("gauge_tails", "gauges", 29),
        ("out_of_time", "gauges", 12),
        ("colorado", "gauges", 10),
        ("temperature", "gauges", 5),
        ("sensitivity", "climate", 16),
        ("trends", "climate", 4),
        ("indices", "climate", 6),
        ("radar_day", "rain_fields/RW-20221018.tar.gz", 12),
    ],
)
def test_published_figures_are_reproduced(bench, samples, section, folder, number):
    found = list(getattr(bench, section)(samples / "precipitation" / folder))
    assert len(found) == number
    assert [f"{one.source}, {one.what}: {one.ours} for {one.published}" for one in found if not one.met] == []


def test_trap_18_radars_come_and_go(bench, samples):
    rain = bench.radolan_day(samples / "precipitation/rain_fields/RW-20221018.tar.gz")
    gone = rain.isnull().mean(("y", "x"))
    assert (round(float(gone.min()), 3), round(float(gone.max()), 3)) == (0.158, 0.181)
    assert float(rain.notnull().all("time").mean()) == pytest.approx(0.817, abs=5e-4)
    assert set(rain["time"].dt.minute.values) == {50} and float(rain.max()) == 32.2


def test_trap_19_the_fill_of_binary_radar_is_no_rain(samples):
    import gzip

    raw = gzip.decompress((samples / "precipitation/rain_fields/raa01-rw_10000-1408102050-dwd---bin.gz").read_bytes())
    words = np.frombuffer(raw[raw.index(b"\x03") + 1 :], "<u2").reshape(900, 900)
    scaled = (words & 0x0FFF) * 0.1
    assert scaled.max() == pytest.approx(250.0) and set(words[scaled > 200]) == {0x29C4}
    assert np.where(words & 0x2000, np.nan, scaled)[
        np.isfinite(np.where(words & 0x2000, np.nan, scaled))
    ].max() == pytest.approx(38.6)


def test_trap_20_one_station_in_two_units_with_traces(bench, gauges):
    inches, hundredths = bench.gauge(gauges, "Fort"), bench.gauge(gauges, "FCwx")
    traces = hundredths["Prec"] == 1e-16
    assert traces.sum() == 4173
    same = hundredths["Year"] <= 1999
    np.testing.assert_allclose(hundredths["Prec"][same].max() / 100, inches["Prec"].max())
    mean_c = ((hundredths["MxT"] + hundredths["MnT"]).to_numpy(np.float64) / 2 - 32) / 1.8
    found = temperature_scaling(hundredths["Prec"] / 100, mean_c, wet=0.01)
    assert found.count.sum() == 8158 and found.naive_scaling.startswith(
        "does not hold: extremes peak at 5.8 C (+9.9 %/K before"
    )
    assert set(bench.gauge(gauges, "Denversp")["Year"]) <= set(range(49, 91))


def test_trap_21_two_places_of_the_model_are_one(climate):
    with (
        xr.open_dataset(climate / "CanESM2_1950-2100.nc") as model,
        xr.open_dataset(climate / "nrcan_1950-2013.nc") as observed,
    ):
        for name in ("pr", "tasmax"):
            np.testing.assert_array_equal(model[name].sel(location="Vancouver"), model[name].sel(location="Amos"))
        cold = observed["tasmax"].sel(location="Kugluktuk").mean() - 273.15
        warm = model["tasmax"].sel(location="Kugluktuk", time=slice("1950", "2013")).mean() - 273.15
    assert (round(float(warm), 1), round(float(cold), 1)) == (6.5, -6.8)


def test_trap_22_negative_rain_is_clipped_and_units_are_converted(climate):
    with xr.open_dataset(climate / "daily_surface_cancities_1990-1993.nc") as data:
        pr = data["pr"].load()
    assert (pr < 0).sum() == 234 and pr.min() > -1e-9
    rain = daily_amounts(pr)
    assert rain.min() == 0 and rain.attrs["units"] == "mm day-1"
    np.testing.assert_allclose(rain.sum(), 86400 * pr.clip(min=0).astype(np.float64).sum())
    with xr.open_dataset(climate / "nrcan_1950-2013.nc") as data:
        found = etccdi(data["pr"], base=(1961, 1990))
    assert found.attrs["calendar"] == "noleap" and found.sizes == {"year": 64, "location": 3}


def test_trap_22_a_silent_unit_is_refused(climate):
    with xr.open_dataset(climate / "cmip5_pr_global_mon.nc") as data, pytest.raises(VigieError, match="'pr' has no unit"):
        daily_amounts(data["pr"])


def test_trap_23_models_that_know_rain_alone_are_named(bench, climate):
    pr, tas = (bench.open_cmip5(climate, name) for name in ("pr", "tas"))
    found = hydrological_sensitivity(pr, tas)
    assert found.attrs["left_out"] == "CNRM-CM5-2" and found.sizes == {"scenario": 4, "model": 48}
    assert pr.isnull().mean() > 0.5
    assert int(tas.sel(scenario="historical").dropna("time", how="all")["time"].dt.year.max()) == 2005
    assert int(tas.sel(scenario="rcp45").dropna("time", how="all")["time"].dt.year.min()) == 2006
    inside = place(2.0, found)["inside"]
    assert inside.sel(scenario=["rcp26", "rcp45", "rcp60", "rcp85"]).all() and not place(3.5, found)["inside"].any()


def test_a_month_of_the_first_year_makes_no_annual_index(climate):
    with xr.open_dataset(climate / "pr_day_MPI-ESM1-2-HR_dcppA-hindcast_s1960-r2i1p1f1_gn_19601101-19701231.nc") as data:
        found = etccdi(data["pr"], base=(1961, 1970))
    assert np.isnan(found["rx1day"].sel(year=1960)).all() and np.isfinite(found["rx1day"].sel(year=slice(1961, 1970))).all()
