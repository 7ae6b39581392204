"""Products of small synthetic orbits: swath files, climatologies, catalogue and page, held against a count by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import rasterio
import xarray as xr

from vigie.apps.precipitation import app, composed, counted, swaths, verification
from vigie.apps.precipitation.demo import experiment
from vigie.apps.precipitation.samples import drawn
from vigie.apps.precipitation.swaths import catalogued, fold_folder, labelled
from vigie.learn.swath_folds import fold_of_pixels
from vigie.physics.antenna import observe
from vigie.predict.quality import QUALITY
from vigie.story.app import perform
from vigie.story.run import STAGES, Run
from vigie.synthetic.orbit import Granule, make_swath, save_swath
from vigie.synthetic.rain import Climate
from vigie.verify.climatology import QUANTILE_ERROR

LEVELS = [k / 20 for k in range(1, 20)]
TIMES = ("2020-01-30T06:00:00", "2020-01-31T23:59:40", "2020-02-03T06:00:00")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Three orbits, the second over midnight of a month's end; members and intervals are asked for."""
    folder = tmp_path_factory.mktemp("orbits")
    for number, time in enumerate(TIMES):
        granule = Granule(f"orbit-{number}", number, time, 10.0 + number, 10.0, 30, 24, Climate(wet_fraction=0.4))
        save_swath(folder / f"orbit-{number}.nc", make_swath(granule, observe))
    content = experiment(folder)
    content["train"] |= {
        "folds": {"by": "orbit", "count": 3},
        "network": {"name": "pixel", "hidden": [16]},
        "head": {"levels": LEVELS},
        "windows": {"size": 1, "batch": 64},
        "fit": {"steps": 60, "learning_rate": 1e-2, "warmup_steps": 5},
    }
    content["predict"] = {"scans": 16, "levels": LEVELS}
    content["verify"] = {"baselines": ["climatology", "ridge"], "bootstrap": 20, "draws": 5}
    content["publish"] = {"formats": ["zarr"], "grid_deg": 0.5}
    made = Run(app.settings.model_validate(content), tmp_path_factory.mktemp("runs") / "small")
    perform(app, made)
    return made


def product(run, name):
    return xr.load_dataset(run.artefact("publish") / name, engine="h5netcdf")


def orbits(run):
    return [product(run, f"orbit-{number}/rain.nc") for number in range(3)]


def test_a_swath_file_tells_what_made_it(run):
    rain = product(run, "orbit-0/rain.nc")
    card = json.loads((run.artefact("train") / rain.attrs["model"] / "card.json").read_text())
    assert json.loads(rain.attrs["model_card"]) == {rain.attrs["model"]: card}
    assert rain.attrs["training_label_sources"] == "simulated" and rain.attrs["sensor"] == "GMI"
    assert {"model_sha256", "calibration_set", "mean_definition", "sample_definition"} <= set(rain.attrs)
    np.testing.assert_array_equal(rain.attrs["quantile_levels"], LEVELS)
    assert rain["rainfall_rate_sample"].attrs["sample_seed"] == run.experiment.seed
    assert rain["truth"].attrs["label_source"] == "simulated"
    assert rain["threshold"].attrs["units"] == rain["rainfall_rate"].attrs["units"] == "mm h-1"
    assert rain["latitude"].attrs["units"] == "degrees_north" and "group" not in rain.variables
    assert rain["quality_flag"].attrs["flag_meanings"].split() == list(QUALITY)


def test_a_swath_file_holds_what_was_held_out_as_it_was_retrieved(run):
    for swath in labelled(run):
        rain = product(run, f"{swath.granule.id}/rain.nc")
        node = xr.open_zarr(
            run.artefact("predict"), group=f"swath/{swath.granule.id}/{rain.attrs['model']}", consolidated=False
        )
        for name in ("rainfall_rate_quantile", "rainfall_rate", "probability_exceeding", "ood_score"):
            np.testing.assert_array_equal(rain[name], node[name])


def test_samples_do_not_depend_on_how_a_swath_is_cut(run):
    rain = product(run, "orbit-1/rain.nc")
    quantiles, levels = rain["rainfall_rate_quantile"].values, rain["quantile"].values
    whole = drawn(quantiles, levels, "orbit-1", 0, seed=run.experiment.seed)[0]
    np.testing.assert_array_equal(rain["rainfall_rate_sample"], whole.astype(np.float32))
    cut = [drawn(quantiles[:, s : s + 7], levels, "orbit-1", s, seed=run.experiment.seed)[0] for s in range(0, 30, 7)]
    np.testing.assert_array_equal(np.concatenate(cut), whole)
    assert not np.array_equal(drawn(quantiles, levels, "orbit-2", 0)[0], whole, equal_nan=True)


def test_blocks_of_a_swath_are_the_swath(run):
    granule = catalogued(run)[1]
    whole = composed.composed(run, granule)({"scan": slice(0, 30)})
    parts = [composed.composed(run, granule)({"scan": slice(s, min(s + 8, 30))}) for s in range(0, 30, 8)]
    xr.testing.assert_identical(xr.concat(parts, "scan"), whole)


def test_members_and_intervals_are_published_where_they_are_there(run):
    granule = catalogued(run)[0]
    one = composed.composed(run, granule)
    node = next(iter(one.nodes.values()))
    rain = node["rainfall_rate"].values
    richer = node.assign(
        rainfall_rate_member=(("member", "scan", "pixel"), np.stack([rain, rain + 1]), {"units": "mm h-1", "long_name": "m"}),
        rainfall_rate_interval=(("bound", "scan", "pixel"), np.stack([rain, rain]), {"units": "mm h-1", "long_name": "i"}),
    ).assign_coords(bound=np.array(["low", "high"], dtype=np.dtypes.StringDType()))
    made = replace(one, nodes=dict.fromkeys(one.nodes, richer))
    block, template = made({"scan": slice(0, 8)}), made.template({})
    assert template["rainfall_rate_member"].dims == ("member", "scan", "pixel")
    assert template["bound"].values.tolist() == ["low", "high"] and template["bound"].dtype.kind == "U"
    np.testing.assert_array_equal(block["rainfall_rate_sample"], block["rainfall_rate_member"][0])
    assert set(block.data_vars) == set(template.data_vars)


def test_the_climatology_of_all_is_a_count_by_hand(run):
    found = product(run, "climatology/all.nc").isel(time=0)
    rain, cell = [], []
    for one in orbits(run):
        good = one["quality_flag"].values < QUALITY["no_retrieval"]
        rain.append(one["rainfall_rate_sample"].values[good])
        cell.append(np.stack([np.floor(one[axis].values[good] * 2) / 2 + 0.25 for axis in ("latitude", "longitude")], axis=-1))
    samples, cells = np.concatenate(rain), np.concatenate(cell)
    assert int(found["count"].sum()) == len(samples) > 0
    for latitude, longitude in np.unique(cells, axis=0):
        mine = samples[(cells == (latitude, longitude)).all(axis=1)]
        there = found.sel(latitude=latitude, longitude=longitude)
        assert int(there["count"]) == len(mine)
        assert float(there["mean"]) == pytest.approx(mine.mean(dtype=float), rel=1e-5)
        assert float(there["wet_fraction"]) == pytest.approx((mine >= 0.1).mean(), rel=1e-6)
        if len(mine) >= 100:
            exact = np.quantile(mine, 0.99, method="inverted_cdf")
            assert float(there["rain_quantile"].sel(quantile=0.99)) == pytest.approx(exact, rel=QUANTILE_ERROR, abs=0.01)


def test_days_and_months_add_up_and_know_their_bounds(run):
    day, month, whole = (product(run, f"climatology/{kind}.nc") for kind in ("day", "month", "all"))
    days = day["time_bnds"].values.astype("M8[D]").astype(str).tolist()
    assert days == [
        [f"2020-{a}", f"2020-{b}"] for a, b in (("01-30", "01-31"), ("01-31", "02-01"), ("02-01", "02-02"), ("02-03", "02-04"))
    ]
    assert month["time_bnds"].values.astype("M8[D]").astype(str).tolist() == [
        ["2020-01-01", "2020-02-01"],
        ["2020-02-01", "2020-03-01"],
    ]
    assert int(day["count"].isel(time=2).sum()) > 0, "an orbit over midnight lies in both days"
    for parts in (day, month):
        np.testing.assert_array_equal(parts["count"].sum("time"), whole["count"].isel(time=0))
    assert day["mean"].attrs["cell_methods"] == "time: latitude: longitude: mean"
    np.testing.assert_allclose(day["latitude_bnds"].diff("nv"), 0.5)


def test_zarr_and_maps_say_what_the_netcdf_says(run):
    for kind in ("day", "month", "all"):
        file = product(run, f"climatology/{kind}.nc")
        zarr = xr.open_zarr(run.artefact("publish") / "climatology" / f"{kind}.zarr", consolidated=False).load()
        for name in file.variables:
            np.testing.assert_array_equal(zarr[name], file[name])
    file = product(run, "climatology/month.nc")
    with rasterio.open(run.artefact("publish") / "climatology" / "month_wet_fraction.tif") as tif:
        assert tif.crs.to_epsg() == 4326 and tif.count == 2 and tif.transform.e == -0.5
        np.testing.assert_array_equal(tif.read(), file["wet_fraction"].values[:, ::-1])
        assert tif.xy(0, 0) == pytest.approx((float(file["longitude"][0]), float(file["latitude"][-1])))


def test_the_catalogue_holds_swaths_and_climatologies(run):
    folder = run.artefact("publish")
    items = [link["href"] for link in json.loads((folder / "collection.json").read_text())["links"] if link["rel"] == "item"]
    assert sorted(items) == sorted(f"./{name}/{name}.json" for name in (
        "orbit-0", "orbit-1", "orbit-2", "climatology-day", "climatology-month", "climatology-all"))  # fmt: skip
    assets = json.loads((folder / "climatology-all" / "climatology-all.json").read_text())["assets"]
    assert sorted(assets) == ["mean", "netcdf", "p99", "wet_fraction", "zarr"]
    assert assets["zarr"]["type"] == "application/vnd.zarr; version=3"
    assert all((folder / "climatology-all" / asset["href"]).exists() for asset in assets.values())


def test_the_page_says_where_the_model_fails(run):
    page = (run.artefact("publish") / "report.html").read_text(encoding="utf-8")
    for words in (
        "Where it fails",
        "out of distribution: nobody knows",
        "The worst regime is",
        "return levels",
        "wet fraction of cells",
    ):
        assert words in page


def test_scores_do_not_depend_on_blocks(run, monkeypatch):
    whole = verification.judged(run)["simulated"]
    monkeypatch.setattr(counted, "ROWS", 5 * 24)
    cut = verification.judged(run)["simulated"]
    for name, counts in whole.methods.items():
        xr.testing.assert_identical(cut.methods[name].tails.total, counts.tails.total)
        xr.testing.assert_allclose(cut.methods[name].distribution.total, counts.distribution.total, rtol=1e-12)
    xr.testing.assert_allclose(cut.regimes["rates"].total, whole.regimes["rates"].total, rtol=1e-12)


def test_reference_methods_learn_from_every_nth_row_where_there_are_many(run, monkeypatch):
    every = counted.taught(run, labelled(run), 0)
    monkeypatch.setattr(counted, "LEARNT_ROWS", len(every[1]) // 3)
    monkeypatch.setattr(counted, "ROWS", 7 * 24)
    some = counted.taught(run, labelled(run), 0)
    step = -(-len(every[1]) // (len(every[1]) // 3))
    for found, whole in zip(some, every, strict=True):
        np.testing.assert_array_equal(found, whole[::step])


def test_folds_are_made_once_and_nothing_is_loaded_for_them(run, monkeypatch):
    data = [swath.data for swath in labelled(run)]
    expected = fold_of_pixels(data, run.experiment.train.folds)
    for swath, owners in zip(labelled(run), expected, strict=True):
        np.testing.assert_array_equal(swath.fold, owners)
        assert list(swath.folds) == np.unique(owners).tolist()
        assert not swath.data["brightness_temperature"].variable._in_memory
    monkeypatch.setattr(swaths, "fold_of_pixels", None)
    assert len(labelled(run)) == 3


def test_other_folds_are_made_anew(run):
    before = fold_folder(run)
    changed = run.experiment.model_copy(update={"train": run.experiment.train.model_copy(update={"folds": replaced(run)})})
    other = replace(run, experiment=changed)
    assert fold_folder(other) != before and not before.exists()
    assert fold_folder(run) == before and before.exists()


def replaced(run):
    return run.experiment.train.folds.model_copy(update={"count": 2})


def test_every_stage_is_still_done(run):
    assert all(run.done(stage) for stage in STAGES)
