"""Sea ice: the whole story on small synthetic years, what is kept of real maps, and what is refused."""

from __future__ import annotations

import shutil

import geopandas as gpd
import numpy as np
import pytest
import xarray as xr

from vigie.acquire.ice.nsidc import nasateam_series, read_nasateam
from vigie.acquire.series_sources import SeriesSourceSettings, gather_series, read_series
from vigie.apps.seaice import app
from vigie.apps.seaice.demo import experiment
from vigie.apps.seaice.fields import GROUP, opened
from vigie.apps.seaice.prediction import GROUP as FORECASTS
from vigie.apps.seaice.prediction import unpacked
from vigie.apps.seaice.training import maps_of
from vigie.apps.seaice.usual import day_of_year
from vigie.core.errors import VigieError
from vigie.core.sea_ice import STATUS
from vigie.harmonize.series import LOOK_BACK, SeriesFill, filled
from vigie.story.app import perform
from vigie.story.experiment import to_toml
from vigie.story.run import ARTEFACTS, Run
from vigie.synthetic.ice import dataset_of, write_years

SIDE = 24
WHOLE = {"y": slice(0, SIDE), "x": slice(0, SIDE)}


@pytest.fixture(scope="module")
def years(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ice")
    write_years(folder, range(2001, 2004), side=SIDE, seed=4)
    return folder


def settings(years, **changes):
    content = experiment(years)
    content["name"] = "small"
    content["train"] |= {
        "leads_days": 3,
        "network": {"widths": [8, 16]},
        "windows": {"size": 16, "batch": 4},
        "fit": {"steps": 20, "learning_rate": 3e-3, "warmup_steps": 2},
    }
    content["predict"] = {
        "periods": [{"begin": "2003-01-05", "end": "2003-12-31"}],
        "every_days": 60,
        "leads_days": [1, 3],
        "members": 5,
    }
    content["verify"] = {"bootstrap": 20}
    for key, value in changes.items():
        table, _, name = key.partition("_")
        content[table] |= {name: value}
    return app.settings.model_validate(content)


@pytest.fixture(scope="module")
def run(years, tmp_path_factory):
    made = Run(settings(years), tmp_path_factory.mktemp("runs") / "small")
    perform(app, made)
    return made


def test_every_stage_leaves_its_artefact(run):
    assert all((run.folder / name).exists() for name in ARTEFACTS.values())
    assert [one.times for one in read_series(run.artefact("acquire"))] == [365, 365, 365]


def test_the_cube_holds_the_bytes_and_fills_gaps_from_the_day_before(run, years):
    raw = np.concatenate([xr.open_dataset(p, mask_and_scale=False)["sic_raw"].values for p in sorted(years.glob("*.nc"))])
    reader = opened(run)
    missing = np.argwhere(raw == 255)
    assert len(missing)
    for number in (0, 15, 16, 400, len(raw) - 1, int(missing[-1][0])):
        values, status = reader.map(reader.days[number], WHOLE)
        known = raw[number] <= 250
        np.testing.assert_allclose(values[known], raw[number][known] / 250, atol=6e-5)
        assert (status[known] == STATUS["measured"]).all() and (status[raw[number] == 254] == STATUS["land"]).all()
    day, y, x = missing[-1]
    values, status = reader.map(reader.days[day], WHOLE)
    before, _ = reader.map(reader.days[day - 1], WHOLE)
    assert status[y, x] == STATUS["filled"] and values[y, x] == before[y, x]


def test_gaps_are_filled_for_so_long_wherever_tiles_begin():
    values = np.full((LOOK_BACK + 5, 1), np.nan, np.float32)
    values[0] = 0.5
    status = np.where(np.isnan(values), STATUS["missing"], STATUS["measured"]).astype(np.uint8)
    found, flags = filled(values, status)
    assert np.isfinite(found[: LOOK_BACK + 1]).all() and np.isnan(found[LOOK_BACK + 1 :]).all()
    assert (flags[LOOK_BACK + 1 :] == STATUS["missing"]).all()
    # A tile that begins later reads as far back as gaps are filled, and says the same.
    for start in range(1, 5):
        part, _ = filled(values[start:], status[start:])
        assert np.isnan(part).all()


def test_what_is_usual_is_a_mean_of_days_around_without_the_year_that_is_shown(run):
    maps, day = maps_of(run), np.datetime64("2002-03-01")
    reader = opened(run)
    numbers = np.array([day_of_year(d) for d in reader.days])
    years = np.array([str(d)[:4] for d in reader.days])
    near = np.abs(numbers - day_of_year(day)) <= 7
    for unlike, mine in ((None, near & (years != "2003")), (2002, near & (years == "2001"))):
        stack = [np.nan_to_num(reader.map(d, WHOLE)[0]) for d, keep in zip(reader.days, mine, strict=True) if keep]
        np.testing.assert_allclose(maps.usual(day, WHOLE, unlike), np.mean(stack, axis=0), atol=1e-4)


def test_forecasts_are_bounded_and_their_parts_agree(run):
    node = xr.open_zarr(run.artefact("predict"), group=FORECASTS, consolidated=False, mask_and_scale=False)
    sea = maps_of(run).sea(WHOLE)
    names = ("sea_ice_area_fraction", "probability_of_ice", "sea_ice_area_fraction_member")
    mean, probability, members = (unpacked(node[name])[..., sea] for name in names)
    for values in (mean, probability, members):
        assert np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1
    assert np.isnan(unpacked(node["sea_ice_area_fraction"])[..., ~sea]).all()
    share = (members >= 0.15).mean(axis=2)
    assert np.abs(share - probability).max() <= 1 / 5
    assert (np.diff(unpacked(node["sea_ice_area_fraction_quantile"])[..., sea], axis=2) >= 0).all()


def test_scores_of_persistence_are_those_of_a_plain_loop(run, years):
    with xr.open_dataset(run.artefact("verify"), engine="h5netcdf") as file:
        scores = file.load()
    reader, maps = opened(run), maps_of(run)
    node = xr.open_zarr(run.artefact("predict"), group=FORECASTS, consolidated=False)
    area = reader.dataset["cell_area"].values / 1e12
    errors, edges = [], []
    for day in node["forecast_reference_time"].values.astype("datetime64[D]"):
        truth = maps.measured(day + np.timedelta64(3, "D"), WHOLE)
        if truth is None:
            continue
        known = maps.scored(WHOLE) & np.isfinite(truth)
        now = maps.state(day, WHOLE)
        errors.append(np.sqrt(((now - truth)[known] ** 2).mean()))
        edges.append((((now >= 0.15) != (truth >= 0.15)) * area)[known].sum())
    there = scores.sel(model="persistence", lead_days=3)
    assert float(there["rmse"]) == pytest.approx(np.mean(errors), rel=1e-5)
    assert float(there["iiee"]) == pytest.approx(np.mean(edges), rel=1e-5)
    assert float(there["starts"]) == len(errors)
    assert float(there["crps"]) == pytest.approx(float(there["mae"]))


def test_products_open_elsewhere(run):
    start = sorted(path for path in run.artefact("publish").glob("2003-*"))[0]
    with xr.open_dataset(start / "forecast.nc", engine="h5netcdf", decode_timedelta=True) as file:
        assert file["sea_ice_area_fraction"].attrs["standard_name"] == "sea_ice_area_fraction"
        assert float(file["sea_ice_area_fraction"].max()) <= 1
        assert {"realization", "lead_time", "forecast_reference_time", "time"} <= set(file.coords)
    edges = gpd.read_file(start / "edges.gpkg")
    assert edges["lead_days"].tolist() == [1, 3] and not edges.geometry.is_empty.any()
    page = (run.artefact("publish") / "report.html").read_text(encoding="utf-8")
    assert "The last forecast" in page and "persistence" in page


def test_a_killed_run_goes_on_to_the_same_bytes(run, years, tmp_path):
    other = Run(settings(years), tmp_path / "again")
    perform(app, other)
    path = other.artefact("predict")
    first = {p.relative_to(path): p.read_bytes() for p in path.rglob("*") if p.is_file()}
    markers = sorted(path.parent.glob(".prediction.zarr.done/forecast/forecast_reference_time*"))
    for marker in markers[2:]:
        marker.unlink()
    for chunk in (path / FORECASTS / "sea_ice_area_fraction" / "c" / "3").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(b"half")
    (other.folder / ".stages" / "predict.json").unlink()
    perform(app, other)
    assert {p.relative_to(path): p.read_bytes() for p in path.rglob("*") if p.is_file()} == first
    mine = {p.relative_to(run.artefact("predict")): p.read_bytes() for p in run.artefact("predict").rglob("*") if p.is_file()}
    assert mine == first


def test_tiles_are_done_in_any_order_to_the_same_bytes(years, tmp_path):
    from vigie.apps.seaice.fields import fill_of

    series = gather_series([SeriesSourceSettings(files=str(years / "*.nc"))], tmp_path)
    made = []
    for name, order in (("a.zarr", 1), ("b.zarr", -1)):
        fill: SeriesFill = fill_of(series, tmp_path / name)
        fill.begin({})
        for tile in fill.tiles()[::order]:
            fill(tile)
        made.append(
            {p.relative_to(tmp_path / name): p.read_bytes() for p in (tmp_path / name / GROUP).rglob("c/*") if p.is_file()}
        )
    assert made[0] == made[1] and made[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"predict_leads_days": [5]}, "train.leads_days learns 3"),
        ({"predict_leads_days": [3, 1]}, "longer than the one before"),
        ({"predict_periods": [{"begin": "2002-12-01", "end": "2003-02-01"}]}, "keep predict.periods and train.periods apart"),
        ({"train_periods": [{"begin": "2002-01-01", "end": "2001-01-01"}]}, "ends after it begins"),
    ],
)
def test_settings_that_cannot_be(years, changes, words):
    with pytest.raises(ValueError, match=words):
        settings(years, **changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train_periods": [{"begin": "2001-01-01", "end": "2001-12-31"}]}, "needs another year"),
        ({"train_windows": {"size": 48}}, "train.windows.size does not fit"),
        ({"train_windows": {"size": 17}}, "a multiple of 2"),
        ({"predict_periods": [{"begin": "2005-01-01", "end": "2005-12-31"}]}, "predict.periods holds no map"),
        ({"predict_periods": [{"begin": "2003-12-31", "end": "2003-12-31"}]}, "no forecast could be held against anything"),
    ],
)
def test_experiments_that_cannot_be_run(years, tmp_path, changes, words):
    with pytest.raises(VigieError, match=words):
        perform(app, Run(settings(years, **changes), tmp_path / "run"))


def test_files_that_are_none_are_refused_in_a_line(years, tmp_path):
    whole = sorted(years.glob("*.nc"))[0]
    cut = tmp_path / "cut.nc"
    cut.write_bytes(whole.read_bytes()[:2000])
    with pytest.raises(VigieError, match="cannot be read"):
        nasateam_series(cut)
    other = tmp_path / "other.nc"
    xr.Dataset({"t2m": ("x", [1.0])}).to_netcdf(other, engine="h5netcdf")
    with pytest.raises(VigieError, match="no map of NASA Team concentration"):
        nasateam_series(other)
    maps = xr.open_dataset(whole, mask_and_scale=False).load()
    for name, changed, words in (
        ("coarse", maps.assign_coords(x=maps["x"] * 2), "another grid"),
        ("repeat", maps.isel(time=[0, 1, 1, 2]), "do not increase"),
    ):
        changed.to_netcdf(tmp_path / f"{name}.nc", engine="h5netcdf")
        with pytest.raises(VigieError, match=words):
            nasateam_series(tmp_path / f"{name}.nc")
    with pytest.raises(VigieError, match="hold the same days"):
        shutil.copy(whole, tmp_path / "twin.nc")
        gather_series([SeriesSourceSettings(files=(str(whole), str(tmp_path / "twin.nc")))], tmp_path)


def test_the_command_line_refuses_in_one_line(years, tmp_path, capsys):
    from vigie.cli import main

    text = to_toml(settings(years)).replace("leads_days = 3", "leads_days = 99")
    (tmp_path / "bad.toml").write_text(text, encoding="utf-8")
    with pytest.raises(SystemExit) as left:
        main(["run", str(tmp_path / "bad.toml")])
    assert left.value.code == 2
    assert "train.leads_days" in capsys.readouterr().err


def test_bytes_that_are_no_concentration_are_kept_apart(tmp_path):
    raw = np.full((1, 8, 8), 125, np.uint8)
    raw[0, 0, :5] = [250, 251, 253, 254, 255]
    dataset_of(raw, np.array(["2001-01-01"], "datetime64[D]")).to_netcdf(tmp_path / "one.nc", engine="h5netcdf")
    found = read_nasateam(tmp_path / "one.nc", slice(0, 1))
    assert found["sea_ice_area_fraction"].values[0, 0, [0, 5]].tolist() == [1.0, 0.5]
    assert np.isnan(found["sea_ice_area_fraction"].values[0, 0, 1:5]).all()
    names = {code: name for name, code in STATUS.items()}
    said = [names[int(code)] for code in found["status_flag"].values[0, 0, :5]]
    assert said == ["measured", "pole_hole", "coast", "land", "missing"]


@pytest.mark.realdata
def test_real_extents_and_areas(samples):
    """Minima of 2015 to 2017 as notes of these files tell them, and areas of cells of NSIDC's polar grid."""
    from vigie.harmonize.series import positions

    folder = samples / "seaice/sic_daily_nsidc0081"
    least = {2015: ("2015-09-08", 4.16), 2016: ("2016-09-07", 3.90), 2017: ("2017-09-12", 4.41)}
    for year, (day, extent) in least.items():
        path = folder / f"sic_daily_nasateam_nrt_{year}.nc"
        grid, times, _ = nasateam_series(path)
        maps = read_nasateam(path, slice(0, len(times)))
        values, _ = filled(maps["sea_ice_area_fraction"].values, maps["status_flag"].values)
        found = (np.nan_to_num(values) >= 0.15).sum(axis=(1, 2)) * 625e-6
        assert (str(times[found.argmin()])[:10], round(float(found.min()), 2)) == (day, extent)
    _, _, area = positions(grid)
    assert float(area.min()) > 515e6 and float(area.max()) < 666e6
