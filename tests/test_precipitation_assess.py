"""Assessments: files become records, records are paired, figures are those of numpy and pandas, faults are one line."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.xr import xr_coords
from scipy.stats import genpareto, kstest, lognorm

from vigie.acquire.granules import radolan
from vigie.acquire.granules.label_gauges import StationTable
from vigie.acquire.granules.labels import open_labels
from vigie.apps.precipitation.assess import record
from vigie.apps.precipitation.assess.areas import cell_areas
from vigie.apps.precipitation.assess.climate import daily as daily_rain
from vigie.apps.precipitation.assess.counters import Protocol, samples
from vigie.apps.precipitation.assess.grid_records import on_the_sphere
from vigie.apps.precipitation.assess.matching import _shared, same_cells
from vigie.apps.precipitation.assess.opening import open_record
from vigie.apps.precipitation.assess.pairing import pair
from vigie.apps.precipitation.assess.record import groups_of, step_length_h
from vigie.apps.precipitation.assess.settings import AssessmentSettings, ProductSettings, RecordSettings
from vigie.cli import main
from vigie.core.errors import VigieError
from vigie.verify.members import crps_fair
from vigie.verify.quantile_scores import crps_integral

HOURS = np.datetime64("2022-06-01T00:30", "ns") + np.arange(48) * np.timedelta64(1, "h")


def rain(shape, seed=0, wet=0.3):
    """Rain in patches, mm/h."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(shape) < wet, rng.gamma(0.6, 4.0, shape), 0.0)


def grid(values, units="mm h-1", y0=50.0, step=0.1, time=HOURS, name="pr", extra=()):
    """A dataset of rain on latitude and longitude; `extra` dimensions come first."""
    lat, lon = y0 - np.arange(values.shape[-2]) * step, 5.0 + np.arange(values.shape[-1]) * step
    coords = {"time": time[: values.shape[-3]], "lat": lat, "lon": lon}
    return xr.Dataset({name: ((*extra, "time", "lat", "lon"), values, {"units": units})}, coords)


def daily(values, first="1990-01-01", names=("A",), units="mm day-1", calendar="standard"):
    """Daily rain at named places."""
    time = xr.date_range(first, periods=len(values), calendar=calendar, use_cftime=calendar != "standard")
    return xr.Dataset({"pr": (("time", "place"), values, {"units": units})}, {"time": time, "place": list(names)})


def swath(values, latitude, longitude, time="2022-06-01T00:40", quantiles=None, levels=None):
    """A retrieval in the layout of rain.nc."""
    shape = ("scan", "pixel")
    made = xr.Dataset(
        {"rainfall_rate": (shape, values, {"units": "mm h-1"})},
        {
            "latitude": (shape, latitude),
            "longitude": (shape, longitude),
            "time": ("scan", np.full(len(values), np.datetime64(time, "ns"))),
        },
    )
    if quantiles is not None:
        made["rainfall_rate_quantile"] = (("quantile", *shape), quantiles, {"units": "mm h-1"})
        made = made.assign_coords(quantile=levels)
    return made


@pytest.fixture
def assess(tmp_path, capsys):
    """A function that writes an assessment and runs it: exit code, what was printed, and the folder."""

    def run(products, reference, keys=""):
        tables = [f"[reference]\n{as_toml({'name': 'truth', **reference})}"]
        tables += [f"[[products]]\n{as_toml({'name': f'product-{n}', **p})}" for n, p in enumerate(products)]
        text = 'app = "precipitation"\nname = "page"\nbootstrap = 50\n' + keys + "\n" + "\n".join(tables)
        (tmp_path / "page.toml").write_text(text)
        with pytest.raises(SystemExit) as left:
            main(["assess", str(tmp_path / "page.toml"), "--out", str(tmp_path / "out"), "--quiet"])
        return left.value.code or 0, capsys.readouterr().err, tmp_path / "out"

    return run


def as_toml(table):
    return "\n".join(f"{key} = {json.dumps(value)}" for key, value in table.items())


def group(out, name):
    return xr.load_dataset(out / "assessment.nc", group=name, engine="h5netcdf")


def weighted(values):
    """Rain of a grid as xarray weighs it: by the cosine of latitude."""
    return values.weighted(np.cos(np.deg2rad(values["lat"])))


def test_cell_by_cell_the_figures_are_those_of_xarray_weighted(assess, tmp_path):
    truth = rain((48, 40, 36)).astype(np.float32)
    truth[:, :15] *= 3  # it rains more in the north, where cells are small
    truth = grid(truth, y0=84.0, step=2.0)
    shifted = (1.5 * truth).roll(lon=1)
    truth.to_netcdf(tmp_path / "truth.nc")
    # another unit, the other way round, and a row more
    more = shifted.isel(lat=[0]).assign_coords(lat=[86.0])
    other = xr.concat([more, shifted], "lat", data_vars="all").sortby("lat") / 3600
    other["pr"].attrs["units"] = "kg m-2 s-1"
    other.to_netcdf(tmp_path / "estimate.nc")
    code, error, out = assess([{"files": "estimate.nc"}], {"files": "truth.nc"})
    assert (code, error) == (0, "")
    p, y = (data["pr"].astype(np.float64) for data in (shifted, truth))
    rates = group(out, "rates").isel(product=0)
    bias = 100 * (weighted(p).mean() / weighted(y).mean() - 1)
    means = [weighted(abs(p - y)).mean(), np.sqrt(weighted((p - y) ** 2).mean()), bias]
    np.testing.assert_allclose([rates[name] for name in ("mae", "rmse", "bias_percent")], means, rtol=1e-5, atol=1e-3)
    together = xr.cov(p, y, weights=np.cos(np.deg2rad(y["lat"])), ddof=0)
    np.testing.assert_allclose(rates["correlation"], together / weighted(p).std() / weighted(y).std(), atol=1e-5)
    assert float(rates["pairs"]) == truth["pr"].size and rates["rmse"].attrs["units"] == "mm h-1"
    assert rates["rmse_interval"].sel(bound="low") <= rates["rmse"] <= rates["rmse_interval"].sel(bound="high")
    intensity = group(out, "intensity").isel(product=0)
    exact = [weighted(x).quantile(0.99) for x in (p, y)]
    np.testing.assert_allclose(intensity["p99_ratio"], exact[0] / exact[1], rtol=0.012)
    wet = [weighted((x >= 0.1).astype(float)).mean() for x in (p, y)]
    np.testing.assert_allclose(intensity["wet_fraction"], wet[0], rtol=1e-6)
    np.testing.assert_allclose(intensity["wet_ratio"], wet[0] / wet[1], rtol=1e-6)
    hits = [weighted(x.astype(float)).sum() for x in ((p >= 5) & (y >= 5), y >= 5)]
    np.testing.assert_allclose(group(out, "detections")["pod"].sel(threshold_mm_h=5).squeeze(), hits[0] / hits[1], rtol=1e-6)
    crps = group(out, "crps").isel(product=0)
    np.testing.assert_allclose(crps["crps"], rates["mae"], rtol=1e-12)
    beyond = weighted(abs(np.maximum(p, 5) - np.maximum(y, 5))).mean()
    np.testing.assert_allclose(crps["twcrps"].sel(threshold_mm_h=5), beyond, rtol=1e-5)
    assert "Cells count by their area in scores of rates" in (out / "assessment.html").read_text()
    assert group(out, "fractions")["fss"].sel(size_px=17, threshold_mm_h=1).item() > 0.9
    assert group(out, "coherence")["effective_resolution_km"].item() > 11
    assert set(group(out, "sampling")["revisit_h"].values) == {2, 3, 6, 12}


def test_the_table_is_the_file(assess, tmp_path):
    grid(rain((48, 6, 6))).to_netcdf(tmp_path / "truth.nc")
    grid(rain((48, 6, 6), seed=1)).to_netcdf(tmp_path / "estimate.nc")
    _, _, out = assess([{"files": "estimate.nc"}], {"files": "truth.nc"})
    rows = list(csv.DictReader((out / "assessment.csv").read_text().splitlines()))
    found = {(row["figure"], row["at"]): row for row in rows if row["product"] == "product-0"}
    rates, detections = group(out, "rates").isel(product=0), group(out, "detections").isel(product=0)
    assert float(found["rates.mae", ""]["value"]) == pytest.approx(float(rates["mae"]), rel=1e-5)
    assert float(found["rates.mae", ""]["high"]) == pytest.approx(float(rates["mae_interval"].sel(bound="high")), rel=1e-5)
    assert found["rates.mae", ""]["units"] == "mm h-1"
    csi = float(detections["csi"].sel(threshold_mm_h=1.0))
    assert float(found["detections.csi", "threshold=1"]["value"]) == pytest.approx(csi, rel=1e-5)
    assert not any(row["value"] == "" for row in rows)


@pytest.mark.parametrize("kind", ["member", "quantile"])
def test_the_crps_of_distributions_is_weighted_as_xarray_does(assess, tmp_path, kind):
    truth = grid(rain((30, 8, 5), seed=1), y0=80.0, step=10.0)
    layers = np.sort(np.stack([rain(truth["pr"].shape, seed) for seed in range(2, 12)]), axis=0)
    levels = (np.arange(10) + 0.5) / 10
    product = grid(layers, y0=80.0, step=10.0, extra=(kind,))
    truth.to_netcdf(tmp_path / "truth.nc")
    (product.assign_coords(quantile=levels) if kind == "quantile" else product).to_netcdf(tmp_path / "product.nc")
    code, _, out = assess([{"files": "product.nc"}], {"files": "truth.nc"})
    assert code == 0
    found = group(out, "crps").isel(product=0)
    for threshold, score in ((-np.inf, found["crps"]), (5.0, found["twcrps"].sel(threshold_mm_h=5))):
        q, y = np.maximum(layers.reshape(10, -1), threshold), np.maximum(truth["pr"].values.ravel(), threshold)
        rows = crps_fair(q, y) if kind == "member" else crps_integral(q, levels, y)
        expected = weighted(truth["pr"].copy(data=rows.reshape(truth["pr"].shape))).mean()
        np.testing.assert_allclose(score, expected, rtol=1e-12)


def test_indices_and_sensitivity_are_of_all_cells_by_area(assess, tmp_path, monkeypatch):
    """A field whose sensitivity falls to the north: each cell has its own, and no sample of cells that of their mean."""
    days = pd.date_range("1990-01-01", "2000-12-31")
    rng, rows, columns = np.random.default_rng(3), 7, 5
    warmth = rng.normal(0, 1, (len(days), 1, 1)) + np.linspace(0, 3, len(days))[:, None, None] + np.zeros((1, rows, columns))
    percent = np.linspace(0, 20, rows)[:, None] + rng.normal(0, 1, (rows, columns))
    values = rng.gamma(0.5, 8, warmth.shape) * (1 + percent / 100 * warmth).clip(0.1)
    values[:, 3, 2] = np.nan  # a cell of the sea, where no gauge stands
    truth = grid(values, units="mm day-1", y0=85.0, step=9.0, time=days.to_numpy())
    truth["tas"] = (("time", "lat", "lon"), warmth, {"units": "degC"})
    truth.to_netcdf(tmp_path / "truth.nc")
    nothing = {"scenario": ["historical", "rcp45"], "model": ["a", "b"], "run": [0]}
    years = pd.date_range("1981-07-01", "2099-07-01", freq="YS-JUL")
    for name, slope in (("pr", 0.02), ("tas", 1.0)):
        trend = xr.DataArray(np.linspace(0, 3, len(years)) * slope + 3.0, {"time": years}, "time")
        trend.expand_dims(nothing).rename(name).to_netcdf(tmp_path / f"{name}.nc")
    keys = "places = 1\n[extremes]\nbootstrap = 20\n[sensitivity]\npr = 'pr.nc'\ntas = 'tas.nc'\n"
    monkeypatch.setattr(record, "BLOCK_BYTES", 300_000)  # the record is read in pieces
    code, error, out = assess([{"files": "truth.nc", "weather": "own"}], {"files": "truth.nc"}, keys)
    assert (code, error) == (0, "")
    annual = (
        xr.Dataset({name: weighted(truth[name]).mean(["lat", "lon"]) for name in ("pr", "tas")}).groupby("time.year").mean()
    )
    slope = np.polyfit(annual["tas"], annual["pr"], 1)[0]
    found = group(out, "sensitivity").isel(product=0)
    np.testing.assert_allclose(found["sensitivity"], [100 * slope / annual["pr"].mean()] * 2, rtol=1e-9)
    assert found["temperature"].values.tolist() == ["air temperature"] * 2
    highest = truth["pr"].groupby("time.year").max()
    np.testing.assert_allclose(group(out, "indices").isel(product=0)["rx1day"], weighted(highest).mean(), rtol=1e-9)


def test_areas_of_a_projected_grid_are_those_of_its_projection():
    """RADOLAN's polar stereographic grid, true at 60 N: its scale is (1 + sin 60) / (1 + sin latitude)."""
    latitude, longitude = on_the_sphere(xr.Dataset(coords=xr_coords(radolan.grid())))
    areas = cell_areas(latitude, longitude)
    scale = (1 + np.sin(np.deg2rad(60))) / (1 + np.sin(np.deg2rad(latitude)))
    ratio = areas * scale**2
    np.testing.assert_allclose(ratio / ratio.mean(), 1, atol=2e-3)
    assert np.ptp(areas) / areas.mean() > 0.05


def test_areas_of_cells_at_the_poles_and_across_the_date_line_add_to_the_earth():
    north, east = np.meshgrid(np.arange(-90.0, 91, 30), [150.0, -150.0, -90.0, -30.0, 30.0, 90.0], indexing="ij")
    areas = cell_areas(north, east)
    assert areas.sum() == pytest.approx(2 * 360)  # sin 90 - sin -90, times all longitudes
    np.testing.assert_allclose(areas[0] / areas[3], (1 - np.cos(np.deg2rad(15))) / (2 * np.sin(np.deg2rad(15))))
    assert cell_areas(north * np.nan, east) is None


def test_members_are_scored_as_members_and_named_where_they_fail(assess, tmp_path):
    truth = rain((48, 5, 5), seed=1)
    members = 1.6 * np.stack([rain(truth.shape, seed) for seed in range(2, 12)])
    grid(truth).to_netcdf(tmp_path / "truth.nc")
    grid(members, extra=("member",)).to_netcdf(tmp_path / "members.nc")
    code, _, out = assess([{"files": "members.nc"}, {"files": "truth.nc"}], {"files": "truth.nc"})
    assert code == 0
    found = group(out, "crps")
    rows = crps_fair(members.reshape(10, -1), truth.ravel())
    expected = weighted(grid(rows.reshape(truth.shape))["pr"]).mean()
    np.testing.assert_allclose(found["crps"].sel(product="product-0"), expected)
    np.testing.assert_allclose(found["crps"].sel(product="product-1"), 0, atol=1e-12)
    page = (out / "assessment.html").read_text()
    assert re.search(r"product-0: .*it rains \d\d % too much", page)
    assert "product-1: nothing that could be measured is off by more than a tenth." in page
    assert "product-1: not told, because it gives one number, no quantiles or members." in page


def test_footprint_by_footprint_with_quantiles(assess, tmp_path):
    rng = np.random.default_rng(3)
    lat, lon = np.mgrid[10:12:0.1, 20:23:0.1]
    levels = np.arange(1, 20) / 20
    centre = rng.gamma(1.0, 2.0, lat.shape)
    truth = centre * rng.lognormal(0, 0.5, lat.shape)
    quantiles = centre * lognorm.ppf(levels, 0.5)[:, None, None]
    swath(centre, lat, lon, quantiles=quantiles, levels=levels).to_netcdf(tmp_path / "rain.nc")
    swath(truth, lat, lon).to_netcdf(tmp_path / "radar.nc")
    code, _, out = assess([{"files": "rain.nc"}], {"files": "radar.nc"})
    assert code == 0
    crps = group(out, "crps")["crps"].item()
    assert crps == pytest.approx(crps_integral(quantiles.reshape(19, -1), levels, truth.ravel()).mean())
    coverage = group(out, "coverage")["coverage"].isel(product=0)
    np.testing.assert_allclose(coverage.sel(level=[0.25, 0.5, 0.75]), [0.25, 0.5, 0.75], atol=0.06)
    assert group(out, "spread")["spread_over_error"].item() == pytest.approx(1, abs=0.25)
    assert json.loads(xr.open_dataset(out / "assessment.nc").attrs["pairing"])["product-0"].startswith("footprint by footprint")


def test_a_swath_and_a_grid_meet_in_averages(assess, tmp_path):
    rng = np.random.default_rng(4)
    lat, lon = rng.uniform(46.1, 49.9, (30, 20)), rng.uniform(5, 8.5, (30, 20))
    seen = rain(lat.shape, seed=5)
    field = rain((2, 40, 36), seed=6)
    swath(seen, lat, lon).to_netcdf(tmp_path / "swath.nc")
    grid(field).to_netcdf(tmp_path / "grid.nc")
    code, _, out = assess([{"files": "swath.nc"}], {"files": "grid.nc"}, "[pairing]\ncell_deg = 0.5\nhours = 1\n")
    assert code == 0
    cells = np.meshgrid(50.0 - np.arange(40) * 0.1, 5.0 + np.arange(36) * 0.1, indexing="ij")

    def table(north, east, values):
        frame = pd.DataFrame(
            {"y": np.floor((north + 90) / 0.5).ravel(), "x": np.floor((east + 180) / 0.5).ravel(), "v": values.ravel()}
        )
        return frame.groupby(["y", "x"])["v"].mean()

    both = pd.concat([table(lat, lon, seen), table(*cells, field[0])], axis=1, join="inner")
    area = np.cos(np.deg2rad((both.index.get_level_values("y") + 0.5) * 0.5 - 90))
    both = both.to_numpy()
    rates = group(out, "rates").isel(product=0)
    assert float(rates["pairs"]) == len(both)
    np.testing.assert_allclose(rates["mae"], np.average(np.abs(both[:, 0] - both[:, 1]), weights=area))
    page = (out / "assessment.html").read_text()
    assert "both are averaged over cells of 0.5 degrees and intervals of 1 h" in page
    assert "distributions are not averaged" in page


def test_steps_of_other_lengths_do_not_meet_as_if_they_were_one(assess, tmp_path):
    months = pd.date_range("2022-06-01", periods=3, freq="MS").to_numpy()
    days = pd.date_range("2022-06-01", periods=90, freq="D").to_numpy()
    grid(rain((3, 5, 5)), time=months).to_netcdf(tmp_path / "months.nc")
    grid(rain((90, 5, 5)), time=days).to_netcdf(tmp_path / "days.nc")
    grid(rain((48, 5, 5)), time=HOURS).to_netcdf(tmp_path / "hours.nc")
    code, error, _ = assess([{"files": "hours.nc"}], {"files": "days.nc"})
    assert code == 2 and "'truth' has steps of 24 h" in error and "set pairing.hours = 24" in error
    code, error, _ = assess([{"files": "months.nc"}], {"files": "days.nc"}, "[pairing]\nhours = 24\n")
    assert code == 2 and "bring both to steps of one length" in error


def test_files_that_say_too_much_or_nothing_are_refused(assess, tmp_path):
    two = daily(rain((800, 1)))
    two.assign(rainfall=two["pr"]).to_netcdf(tmp_path / "two.nc")
    daily(rain((800, 1))).to_netcdf(tmp_path / "truth.nc")
    (tmp_path / "folder").mkdir()
    code, error, _ = assess([{"files": "two.nc"}], {"files": "truth.nc"})
    assert code == 2 and "several rain variables; found pr, rainfall" in error
    once = daily(rain((800, 1)))
    xr.concat([once, once.isel(time=[5])], "time").to_netcdf(tmp_path / "again.nc")
    code, error, _ = assess([{"files": "again.nc"}], {"files": "truth.nc"})
    assert code == 2 and "is there twice; found 1990-01-06 in again.nc; expected each time once" in error
    code, error, _ = assess([{"files": "folder"}], {"files": "truth.nc"})
    assert code == 2 and "is a folder" in error


def test_calendars_meet_day_by_day(assess, tmp_path):
    values = rain((4 * 365, 2), seed=7) * 4
    daily(values, names=("A", "B"), calendar="noleap").to_netcdf(tmp_path / "model.nc")
    daily(np.concatenate([values, values[:1]])[:, ::-1], names=("B", "A")).to_netcdf(tmp_path / "gauge.nc")
    code, error, out = assess([{"files": "model.nc"}], {"files": "gauge.nc"})
    assert (code, error) == (0, "")
    rates = group(out, "rates").isel(product=0)
    assert float(rates["pairs"]) == 2 * 1460 and rates["mae"].attrs["units"] == "mm day-1"
    # up to the leap day of 1992, which the model has not, days agree; then they are one apart
    leap = 365 + 365 + 59
    apart = np.abs(values[leap:] - np.concatenate([values[leap + 1 :], values[:1]])).sum()
    assert float(rates["mae"]) == pytest.approx(apart / (2 * 1460))


def gauges(time, rain_mm_day, station="A", lat=50.0, lon=8.0):
    """A table of one gauge."""
    return pd.DataFrame({"station": station, "time": time, "lat": lat, "lon": lon, "rain_mm_day": rain_mm_day})


def test_one_table_of_gauges_is_labels_product_and_reference(assess, tmp_path):
    """Two gauges, one of which begins a day later and misses a day; on a grid each stands in its cell."""
    days = pd.date_range("2022-06-01T12:00", periods=4)
    first, second = gauges(days, [0.0, 24.0, 48.0, 12.0]), gauges(days[1:], [24.0, np.nan, 72.0], "B", 49.8, 8.3)
    pd.concat([first, second]).to_parquet(tmp_path / "both.parquet")
    first.to_csv(tmp_path / "first.csv", index=False)
    second.to_csv(tmp_path / "second.csv", index=False)
    assert isinstance(open_labels(str(tmp_path / "both.parquet")), StationTable)
    one, many = (open_record(RecordSettings(name="gauges", files=files), tmp_path) for files in (["both.parquet"], ["*.csv"]))
    for found in (one, many):
        assert found.daily and found.place["name"].values.tolist() == ["A", "B"]
        assert found.place["longitude"].values.tolist() == [8.0, 8.3]
        np.testing.assert_allclose(found.parts[0].read(slice(0, 3))["rain"], [[0, np.nan], [1, 1], [2, np.nan]])
    field = np.full((4, 10, 40), 1.5)
    grid(24 * field, units="mm day-1", time=days.floor("D").to_numpy()).to_netcdf(tmp_path / "grid.nc")
    code, error, out = assess([{"files": "grid.nc"}], {"files": "both.parquet"}, "[pairing]\nhours = 24\n")
    assert (code, error) == (0, "")
    rates = group(out, "rates").isel(product=0)
    area = np.cos(np.deg2rad([50.125, 49.875]))  # of the cells that hold them
    mean = (area @ [3.5, 4.0]) / (area @ [4, 2])
    assert float(rates["pairs"]) == 6 and float(rates["bias_percent"]) == pytest.approx(100 * (1.5 / mean - 1))


@pytest.mark.parametrize(
    ("change", "keys", "words"),
    [
        (lambda table: table.assign(lat=[1.0, 2.0]), {}, "a station of 'truth' has two positions; found A"),
        (lambda table: table, {"units": "inch"}, "found units = 'inch'; expected rain_mm_h or rain_mm_day"),
        (lambda table: table.drop(columns=["station"]), {}, r"write one row a measurement.*melt\('time'"),
        (lambda table: table.assign(rain_mm_h=1.0), {}, "expected columns station, time, lat, lon, rain_mm_h or rain_mm_day"),
    ],
)
def test_tables_of_gauges_are_refused_in_a_line_that_mends_them(assess, tmp_path, change, keys, words):
    change(gauges(["2000-01-01", "2000-01-02"], 1.0)).to_csv(tmp_path / "gauge.csv", index=False)
    code, error, out = assess([{"files": "gauge.csv", **keys}], {"files": "gauge.csv", **keys})
    assert code == 2 and re.search(words, error) and error.count("\n") == 1 and not out.exists()


def test_a_gauge_that_is_in_two_tables_is_refused(assess, tmp_path):
    for name in ("a", "b"):
        gauges(["2000-01-01", "2000-01-02"], 1.0).to_csv(tmp_path / f"{name}.csv", index=False)
    code, error, _ = assess([{"files": "a.csv"}], {"files": "*.csv"})
    assert code == 2 and "a station of 'truth' is there twice at one time; found A, 2000-01-01" in error


def test_gauges_in_csv_and_their_annual_figures(assess, tmp_path):
    days = pd.date_range("1981-01-01", "2002-12-31")
    values = rain((len(days), 1), seed=8)[:, 0] * 6
    for name, scale in (("gauge", 1.0), ("product", 0.7)):
        gauges(days, values * scale).to_csv(tmp_path / f"{name}.csv", index=False)
    code, _, out = assess(
        [{"files": "product.csv"}],
        {"files": "gauge.csv"},
        "places = 1\n[extremes]\nbootstrap = 20\n",
    )
    assert code == 0
    yearly = pd.Series(values, days).groupby(days.year)
    indices = group(out, "indices").isel(product=0)
    assert float(indices["rx1day"].sel(source="reference")) == pytest.approx(yearly.max().mean())
    assert float(indices["rx1day_ratio"]) == pytest.approx(0.7)
    extremes = group(out, "extremes").isel(product=0, cell=0)
    level = extremes["return_level"].sel(fit="gev")
    # a scale factor is a scale factor of every level
    np.testing.assert_allclose(level.sel(source="product") / level.sel(source="reference"), 0.7, rtol=1e-3)
    low, high = (extremes["return_level_interval"].sel(fit="gev", bound=bound) for bound in ("low", "high"))
    assert (low < level).all() and (level < high).all()
    assert "the highest day of a year has 0.70 of the reference" in (out / "assessment.html").read_text()


STORM = (0, 0, 20, 30, 0, 25, 0, 0, 40, 0, np.nan, 35, *[0] * 33)
"""Days, mm. Above 10 are a pair, one a dry day later, one two dry days later, one after a dry and an unknown day."""


@pytest.mark.parametrize(("separation", "peaks"), [(0, (2, 3, 5, 8, 11)), (1, (3, 5, 8, 11)), (2, (3, 8, 11)), (3, (8,))])
def test_days_of_one_storm_are_one_excess(assess, tmp_path, separation, peaks):
    seasons = 150
    growth = np.random.default_rng(0).exponential(1, (seasons, 1)) + 1  # all days of a season alike: orders within it stay
    values = (np.array(STORM) * growth).reshape(-1, 1)
    daily(values).to_netcdf(tmp_path / "truth.nc")
    keys = f"[extremes]\nthreshold_mm = 10\nbootstrap = 20\nseparation_days = {separation}\n"
    code, _, out = assess([{"files": "truth.nc"}], {"files": "truth.nc"}, keys)
    assert code == 0
    found = group(out, "extremes").isel(product=0, cell=0).sel(source="reference")
    assert (found["excess_days"], found["clusters"]) == (5 * seasons, len(peaks) * seasons)
    assert float(found["extremal_index"]) == len(peaks) / 5
    excesses = values.reshape(seasons, -1)[:, list(peaks)].ravel() - 10
    shape, _, scale = genpareto.fit(excesses, floc=0)
    np.testing.assert_allclose(found["parameter"].sel(fit="gpd", name=["scale", "shape"]), [scale, shape], rtol=0.01, atol=2e-3)
    per_year = excesses.size / (44 * seasons / 365.25)  # of known days
    level = 10 + genpareto.isf(1 / (50 * per_year), shape, 0, scale)
    np.testing.assert_allclose(found["return_level"].sel(fit="gpd", return_period=50), level, rtol=0.01)
    page = (out / "assessment.html").read_text()
    told = "Every day above the threshold is fitted" if not separation else "The extremal index is clusters over days"
    assert told in page and f">{len(peaks) / 5:.2f}<" in page


LEVELS = np.linspace(0.005, 0.995, 100)


@pytest.fixture
def uniform_days(tmp_path):
    """A product whose quantiles are their levels, on a grid in two files: what is drawn is what was random."""
    days = np.arange("2001-01-01", "2003-01-01", dtype="datetime64[D]").astype("datetime64[ns]")
    for number, part in enumerate((days[:500], days[500:])):
        values = np.broadcast_to(LEVELS[:, None, None, None], (LEVELS.size, part.size, 4, 6))
        made = grid(values, units="mm day-1", time=part, extra=("quantile",)).assign_coords(quantile=LEVELS)
        made.to_netcdf(tmp_path / f"part{number}.nc")
    said = ProductSettings(name="uniform", files=("part0.nc", "part1.nc"))
    return said, open_record(said, tmp_path)


def with_blocks(monkeypatch, kibibytes, do):
    """Do something while so much rain is held at once."""
    with monkeypatch.context() as patched:
        patched.setattr(record, "BLOCK_BYTES", kibibytes * 2**10)
        return do()


def test_draws_do_not_depend_on_blocks_and_cells_and_do_not_repeat(uniform_days, monkeypatch):
    _, product = uniform_days
    cells = same_cells(product, product, 1.0)
    whole = with_blocks(monkeypatch, 65536, lambda: daily_rain(product, cells, 0)).values
    assert whole.shape == (730, 24) and len(record.blocks(product.parts[0], product.layers + 1)) == 1
    for kibibytes in (512, 20):
        np.testing.assert_array_equal(with_blocks(monkeypatch, kibibytes, lambda: daily_rain(product, cells, 0)), whole)
    pieces = [daily_rain(product, piece, 0).values for piece in cells.pieces(6)]
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), whole)
    points = cells.points(5)
    np.testing.assert_array_equal(daily_rain(product, points, 0), whole[:, [0, 6, 12, 17, 23]])
    # uniform, no row like another, and neither cells nor neighbouring days nor product and reference go together
    inside = whole[(whole > LEVELS[0]) & (whole < LEVELS[-1])]
    assert np.unique(inside).size == inside.size and kstest(whole.ravel(), "uniform").pvalue > 0.01
    for other in (np.roll(whole, 1, axis=0), np.roll(whole, 1, axis=1), daily_rain(product, cells, 1).values):
        assert abs(np.corrcoef(whole.ravel(), other.ravel())[0, 1]) < 4 / np.sqrt(whole.size)


def test_samples_of_a_group_do_not_depend_on_blocks_and_do_not_repeat(uniform_days, monkeypatch):
    said, product = uniform_days
    asked = AssessmentSettings(
        app="precipitation", name="page", reference=said, products=(said.model_copy(update={"name": "b"}),)
    )
    protocol = Protocol((1.0,), 0.1, draws=2, seed=0)

    def drawn():
        matches = pair(product, product, said, asked).matches()
        return np.concatenate([np.stack(list(samples(match, protocol))) for match in matches], axis=1)

    whole, cut = (with_blocks(monkeypatch, kibibytes, drawn) for kibibytes in (65536, 20))
    np.testing.assert_array_equal(whole, cut)
    inside = whole[(whole > LEVELS[0]) & (whole < LEVELS[-1])]
    assert np.unique(inside).size == inside.size


def test_only_the_places_that_are_named_are_compared(assess, tmp_path):
    values = rain((400, 3), seed=3) * 9
    daily(values, names=("A", "B", "C")).to_netcdf(tmp_path / "truth.nc")
    daily(2 * values[:, ::-1], names=("C", "B", "A")).to_netcdf(tmp_path / "product.nc")
    code, error, out = assess([{"files": "product.nc"}], {"files": "truth.nc"}, '[pairing]\nonly = ["C", "A"]\n')
    assert (code, error) == (0, "")
    rates = group(out, "rates").isel(product=0)
    assert float(rates["pairs"]) == 800
    np.testing.assert_allclose(rates["mae"], values[:, [0, 2]].mean())
    for only, said in (("D", "found C, B, A; expected D"), ("place A", "did you mean|name places")):
        code, error, _ = assess([{"files": "product.nc"}], {"files": "truth.nc"}, f'[pairing]\nonly = ["{only}"]\n')
        assert code == 2 and re.search(said, error)
    grid(rain((48, 6, 6))).to_netcdf(tmp_path / "grid.nc")
    code, error, _ = assess([{"files": "grid.nc"}], {"files": "grid.nc"}, '[pairing]\nonly = ["A"]\n')
    assert code == 2 and "found no places with names" in error


def test_temperatures_are_called_what_they_are(assess, tmp_path):
    days, rng = 3000, np.random.default_rng(5)
    warmth = 15 + 8 * np.sin(np.arange(days) / 58) + rng.normal(0, 1, days)
    made = daily(rng.gamma(2, 6, (days, 1)))
    made["tasmax"] = (("time", "place"), warmth[:, None], {"units": "degC"})
    made.to_netcdf(tmp_path / "highest.nc")
    made.rename(tasmax="tdps").to_netcdf(tmp_path / "dew.nc")
    keys = "[scaling]\nbins = 5\nquantile = 0.9\n[extremes]\nbootstrap = 20\n"
    code, _, out = assess([{"files": "highest.nc"}], {"files": "dew.nc"}, keys)
    assert code == 0 and group(out, "scaling")["temperature"].values.ravel().tolist() == [
        "daily maximum temperature",
        "dew point",
    ]
    page = (out / "assessment.html").read_text()
    assert page.count("<td>daily maximum temperature</td>") == 1 and page.count("<td>dew point</td>") == 1


def test_weather_of_its_own_is_compared_as_climate_alone(assess, tmp_path):
    daily(rain((1100, 1), seed=1) * 5).to_netcdf(tmp_path / "model.nc")
    daily(rain((1100, 1), seed=2) * 5).to_netcdf(tmp_path / "gauge.nc")
    code, _, out = assess([{"files": "model.nc", "weather": "own"}], {"files": "gauge.nc"})
    assert code == 0
    names = {name.strip("/") for name in xr.open_groups(out / "assessment.nc", engine="h5netcdf")}
    assert {"intensity", "indices"} <= names and not {"rates", "crps", "detections"} & names
    assert "not told, because its days are not those of the reference" in (out / "assessment.html").read_text()


REFUSED = {
    "no common time": (lambda: grid(rain((4, 5, 5)), time=HOURS + np.timedelta64(900, "D")), "no place and time in common"),
    "no common place": (lambda: grid(rain((48, 5, 5)), y0=-20.0), "no place and time in common"),
    "no unit": (lambda: grid(rain((48, 5, 5)), units=""), "'pr of estimate.nc' has no unit"),
    "a unit of something else": (lambda: grid(rain((48, 5, 5)), units="K"), "has a unit that is no rain"),
    "no rain": (lambda: grid(rain((48, 5, 5)), name="snow"), "holds no rain; found snow"),
    "a fill that is rain": (lambda: grid(np.full((48, 5, 5), -9999.0)), "rain of estimate.nc is negative"),
    "all missing": (lambda: grid(np.full((48, 5, 5), np.nan)), "are never both known"),
    "weather of its own elsewhere": (lambda: grid(rain((48, 5, 5)), y0=-20.0), "has weather of its own"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_compared_is_one_line_and_leaves_nothing(assess, tmp_path, case):
    make, message = REFUSED[case]
    grid(rain((48, 5, 5))).to_netcdf(tmp_path / "truth.nc")
    make().to_netcdf(tmp_path / "estimate.nc")
    own = {"weather": "own"} if case.startswith("weather") else {}
    code, error, out = assess([{"files": "estimate.nc", **own}], {"files": "truth.nc"})
    assert code == 2 and error.startswith("vigie: ") and error.count("\n") == 1
    assert message in error
    assert not out.exists()


def test_of_quantiles_and_members_one_is_judged(assess, tmp_path):
    """Members may be another model's: nothing of one is scored with the other."""
    lat, lon = np.mgrid[0:1.2:0.1, 0:1.2:0.1]
    truth, levels = rain(lat.shape), np.arange(0.05, 1, 0.05)
    centre = rain(lat.shape, seed=1) + 1
    quantiles, members = (
        centre * lognorm.ppf(levels, 0.5)[:, None, None],
        2 + np.stack([rain(lat.shape, n) for n in range(2, 12)]),
    )
    both = swath(centre, lat, lon, quantiles=quantiles, levels=levels)
    both["rainfall_rate_member"] = (("member", "scan", "pixel"), members, {"units": "mm h-1"})
    both.to_netcdf(tmp_path / "rain.nc")
    swath(truth, lat, lon).to_netcdf(tmp_path / "truth.nc")
    code, _, out = assess([{"files": "rain.nc"}, {"files": "rain.nc", "distribution": "members"}], {"files": "truth.nc"})
    assert code == 0
    bias, crps = group(out, "rates")["bias_percent"].values, group(out, "crps")["crps"].values
    np.testing.assert_allclose(bias, [100 * (x.mean() / truth.mean() - 1) for x in (centre, members)], rtol=1e-5)
    assert crps[0] == pytest.approx(crps_integral(quantiles.reshape(19, -1), levels, truth.ravel()).mean())
    assert crps[1] == pytest.approx(crps_fair(members.reshape(10, -1), truth.ravel()).mean())
    assert group(out, "coverage")["coverage"].sel(level=0.95).isel(product=1).item() == pytest.approx(
        (truth <= members.max(axis=0)).mean()
    )


def test_crossing_quantiles_are_refused(assess, tmp_path):
    lat, lon = np.mgrid[10:11:0.1, 20:21:0.1]
    levels = np.array([0.25, 0.5, 0.75])
    swath(lat, lat, lon, quantiles=np.stack([lat, lat - 1, lat]), levels=levels).to_netcdf(tmp_path / "rain.nc")
    swath(lat, lat, lon).to_netcdf(tmp_path / "radar.nc")
    code, error, out = assess([{"files": "rain.nc"}], {"files": "radar.nc"})
    assert code == 2 and "quantiles cross" in error and not out.exists()


def test_damaged_and_foreign_files(assess, tmp_path):
    grid(rain((48, 5, 5))).to_netcdf(tmp_path / "truth.nc", engine="h5netcdf")
    whole = (tmp_path / "truth.nc").read_bytes()
    (tmp_path / "cut.nc").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "page.gif").write_bytes(b"GIF89a")
    (tmp_path / "table.csv").write_text("day,rain\n1,2\n")
    for name, message in {
        "cut.nc": "cannot be read",
        "page.gif": "no swath that vigie reads",
        "table.csv": "no table of gauges",
        "none.nc": "does not exist",
    }.items():
        code, error, out = assess([{"files": name}], {"files": "truth.nc"})
        assert code == 2 and message in error and error.count("\n") == 1, error
        assert not out.exists()
    code, error, _ = assess([{"files": ["truth.nc", "table.csv"]}], {"files": "truth.nc"})
    assert code == 2 and "are of different kinds" in error


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("seeed = 1", "unknown key 'seeed'; to mend it: did you mean 'seed'?"),
        ("thresholds = [5, 1]", "thresholds above 0 that increase"),
        ("[extremes]\nyears = [1]", "'extremes.years' is wrong"),
        ("[scaling]\nbins = 2", "'scaling.bins' is wrong"),
    ],
)
def test_mistakes_in_the_file_are_told(assess, tmp_path, keys, message):
    code, error, _ = assess([{"files": "a.nc"}], {"files": "a.nc"}, keys)
    assert code == 2 and message in error


def test_names_are_told_apart_and_other_applications_assess_nothing(assess, tmp_path, capsys):
    code, error, _ = assess([{"files": "a.nc", "name": "truth"}], {"files": "a.nc"})
    assert code == 2 and "a name for each product and the reference, not truth twice" in error
    (tmp_path / "ice.toml").write_text('app = "glaciers"\nname = "ice"\n')
    with pytest.raises(SystemExit) as left:
        main(["assess", str(tmp_path / "ice.toml")])
    assert (
        left.value.code == 2 and "'glaciers' assesses nothing; expected app = one of precipitation" in capsys.readouterr().err
    )


def test_every_key_is_documented(capsys):
    with pytest.raises(SystemExit):
        main(["schema", "precipitation"])
    told = capsys.readouterr().out
    for key in ("reference.files", "products[].weather", "pairing.cell_deg", "extremes.threshold_mm", "sensitivity.pr"):
        assert re.search(rf"^{re.escape(key)} ", told, re.MULTILINE), key


@settings(max_examples=50)
@given(
    st.integers(2, 30),
    st.integers(-5, 25),
    st.integers(2, 30),
    st.sampled_from([0.05, 0.25, 1.0]),
    st.booleans(),
)
def test_shared_cells_are_those_of_sets(size, offset, other_size, step, falling):
    here = np.arange(size) * step
    there = (np.arange(other_size) + offset) * step
    there = there[::-1] if falling else there
    ours, theirs = _shared(here, there)
    np.testing.assert_allclose(here[ours], there[theirs], atol=0.01 * step)
    assert len(ours) == len(set(range(size)) & set(range(offset, offset + other_size)))


def test_axes_of_other_spacing_share_nothing():
    assert _shared(np.arange(0, 4, 0.25), np.arange(0, 4, 1.0))[0].size == 0


def test_many_days_are_grouped_by_month_and_then_by_year():
    days = np.array([str(day) for day in np.arange("1950-01-01", "1990-01-01", dtype="datetime64[D]")])
    assert groups_of(days)[1] == "years" and groups_of(days[:1000])[1] == "months" and groups_of(days[:300])[1] == "days"


def test_one_time_does_not_tell_how_long_a_step_is():
    with pytest.raises(VigieError, match="step_h = 24"):
        step_length_h([np.array(["2000-01-01T00:00"])], 0, "gauge")
    assert step_length_h([np.array(["2000-01-01T00:00"])], 24, "gauge") == 24
