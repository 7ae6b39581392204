"""Precipitation: the whole story on small synthetic orbits, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from vigie.apps.precipitation import app
from vigie.apps.precipitation.demo import experiment as demo_experiment
from vigie.apps.precipitation.prediction import shown_of, tiling
from vigie.apps.precipitation.swaths import catalogued
from vigie.cli import main
from vigie.core.errors import VigieError
from vigie.core.store import create
from vigie.harmonize.swath import SwathReader
from vigie.learn.rain_heads.settings import RainHeadSettings
from vigie.learn.retrieval import RetrievalSettings, build
from vigie.learn.retrieval_inputs import Inputs
from vigie.learn.retrieval_model import Member, RetrievalModel, load
from vigie.learn.swaths import ChannelScaling
from vigie.physics.antenna import observe
from vigie.predict.quality import QUALITY
from vigie.predict.swath import THRESHOLDS_MM_H, Kept, SwathPrediction, retrieved, template
from vigie.story.app import perform
from vigie.story.experiment import to_toml
from vigie.story.run import ARTEFACTS, STAGES, Run
from vigie.synthetic.orbit import Granule, make_swath, save_swath
from vigie.synthetic.rain import Climate
from vigie.verify.quantile_scores import crps
from vigie.verify.quantiles import exceedance, mean_of_quantiles

SCANS, PIXELS = 30, 24


@pytest.fixture(scope="module")
def orbits(tmp_path_factory):
    """Three rainy granules with labels, and one whose rain nobody told."""
    folder = tmp_path_factory.mktemp("orbits")
    for number in range(4):
        granule = Granule(f"orbit-{number}", number, f"2020-01-0{number + 1}T06:00:00", 10.0 + number, 10.0, SCANS, PIXELS)
        swath = make_swath(replace(granule, climate=Climate(wet_fraction=0.4)), observe)
        if number == 3:
            swath = swath.drop_vars(["truth", "phase"])
            del swath.attrs["label_source"]
        save_swath(folder / f"orbit-{number}.nc", swath)
    return folder


def settings(orbits, **changes):
    content = demo_experiment(orbits)
    content["name"] = "small"
    content["train"] |= {
        "folds": {"by": "orbit", "count": 3},
        "final": True,
        "network": {"name": "pixel", "hidden": [16]},
        "head": {"levels": [k / 20 for k in range(1, 20)]},
        "windows": {"size": 1, "batch": 64},
        "fit": {"steps": 60, "learning_rate": 1e-2, "warmup_steps": 5},
    }
    content["predict"] = {"scans": 16, "levels": [k / 20 for k in range(1, 20)]}
    content["verify"] = {"baselines": ["climatology", "ridge"], "bootstrap": 20, "draws": 5}
    for key, value in changes.items():
        table, _, name = key.partition("_")
        content[table] |= {name: value}
    return app.settings.model_validate(content)


@pytest.fixture(scope="module")
def run(orbits, tmp_path_factory):
    made = Run(settings(orbits), tmp_path_factory.mktemp("runs") / "small")
    perform(app, made)
    return made


def bytes_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_stage_leaves_its_artefact_and_is_done_once(run):
    assert all((run.folder / ARTEFACTS[stage]).exists() for stage in STAGES)
    assert all(run.done(stage) for stage in STAGES)


def test_an_orbit_without_rain_rates_is_retrieved_by_the_final_model(run):
    product = xr.load_dataset(run.artefact("publish") / "orbit-3" / "rain.nc", engine="h5netcdf")
    assert product.attrs["model"] == "all"
    assert "truth" not in product
    made = product["quality_flag"].values != QUALITY["no_retrieval"]
    assert np.isfinite(product["rainfall_rate"].values[made]).all()
    assert np.isnan(product["rainfall_rate"].values[~made]).all()
    assert (~made).any(), "a lost scan has no retrieval"


def test_products_hold_a_distribution_that_is_one(run):
    for number in range(4):
        product = xr.load_dataset(run.artefact("publish") / f"orbit-{number}" / "rain.nc", engine="h5netcdf")
        quantiles = product["rainfall_rate_quantile"].values
        made = np.isfinite(quantiles).all(axis=0)
        assert made.any()
        assert (np.diff(quantiles[:, made], axis=0) >= -1e-6).all()
        assert (quantiles[:, made] >= 0).all()
        beyond = product["probability_exceeding"].values[:, made]
        assert (np.diff(beyond, axis=0) <= 1e-6).all()
        assert product["rainfall_rate"].attrs["units"] == "mm h-1"
        assert product.attrs["Conventions"] == "CF-1.11"


def test_scores_are_those_of_what_was_held_out(run, orbits):
    scores = xr.load_dataset(run.artefact("verify"), group="simulated", engine="h5netcdf")
    assert scores["model"].values.tolist() == ["model", "climatology", "ridge"]
    said, truth, beyond = [], [], []
    for number in range(3):
        product = xr.load_dataset(run.artefact("publish") / f"orbit-{number}" / "rain.nc", engine="h5netcdf")
        known = np.isfinite(product["rainfall_rate"].values) & np.isfinite(product["truth"].values)
        said.append(product["rainfall_rate_quantile"].values[:, known].astype(np.float64))
        truth.append(product["truth"].values[known].astype(np.float64))
        beyond.append(product["probability_exceeding"].sel(threshold=1.0).values[known].astype(np.float64))
    by_hand = crps(np.concatenate(said, axis=1), product["quantile"].values, np.concatenate(truth)).mean()
    assert float(scores["crps"].sel(model="model")) == pytest.approx(by_hand, rel=1e-6)
    reached, probability = np.concatenate(truth) >= 1.0, np.concatenate(beyond)
    at_1 = scores.sel(model="model", threshold_mm_h=1.0)
    assert float(at_1["brier"]) == pytest.approx(((probability - reached) ** 2).mean(), rel=1e-6)
    likely = (probability >= 0.3) & (probability < 0.4)
    assert float(at_1["reliability_came"].sel(probability_bin=0.35)) == pytest.approx(reached[likely].mean())
    assert float(at_1["reliability_rows"].sel(probability_bin=0.35)) == likely.sum() > 0
    ridge = scores.sel(model="ridge")
    assert float(ridge["crps"]) == pytest.approx(float(ridge["mae"])), "a mean alone claims to be certain"


def test_a_pixel_network_beats_the_climatology(run):
    scores = xr.load_dataset(run.artefact("verify"), group="simulated", engine="h5netcdf")["crps"]
    assert float(scores.sel(model="model")) < 0.9 * float(scores.sel(model="climatology"))


def test_the_climatology_counts_every_retrieval_and_tells_which_are_doubtful(run):
    found = xr.load_dataset(run.artefact("publish") / "climatology" / "all.nc", engine="h5netcdf")
    made = doubtful = 0
    for number in range(4):
        flags = xr.load_dataset(run.artefact("publish") / f"orbit-{number}" / "rain.nc", engine="h5netcdf")["quality_flag"]
        made += int((flags.values < QUALITY["no_retrieval"]).sum())
        doubtful += int((flags.values == QUALITY["out_of_distribution"]).sum())
    assert int(found["count"].sum()) == made
    assert float((found["doubtful_fraction"] * found["count"]).sum()) == pytest.approx(doubtful, rel=1e-5) and doubtful


def retrievals(run):
    """Mean rain of every swath by every model that retrieved it."""
    nodes = sorted(path.parent for path in run.artefact("predict").glob("swath/*/*/zarr.json"))
    return {
        f"{node.parent.name}/{node.name}": xr.open_zarr(node, consolidated=False)["rainfall_rate"].load().values
        for node in nodes
    }


def test_cube_and_prediction_are_the_same_bytes_for_another_engine(run, orbits, tmp_path):
    content = settings(orbits).model_dump(mode="json", exclude_none=True) | {"engine": {"kind": "threads", "workers": 2}}
    other = Run(app.settings.model_validate(content), tmp_path / "small")
    perform(app, other, STAGES[:4])
    for stage in ("harmonize", "predict"):
        assert bytes_of(run.artefact(stage)) == bytes_of(other.artefact(stage))


def test_retrievals_do_not_depend_on_tiles(run, orbits, tmp_path):
    narrow = Run(settings(orbits, predict_scans=7), tmp_path / "narrow")
    perform(app, narrow, STAGES[:4])
    ours, theirs = retrievals(run), retrievals(narrow)
    assert sorted(ours) == sorted(theirs) and len(ours) == 4
    for name, values in ours.items():
        np.testing.assert_allclose(values, theirs[name], rtol=1e-5, atol=1e-6)


def test_a_network_of_images_retrieves_the_same_however_an_orbit_is_cut(run, tmp_path):
    network = RetrievalSettings(name="unet", widths=(4, 8))
    head = RainHeadSettings(levels=(0.1, 0.5, 0.9))
    made = build(network, 3).eval()
    reader = SwathReader(run.artefact("harmonize"), "swath/orbit-0")
    names = tuple(map(str, reader.dataset["channel"].values))
    scaling = ChannelScaling(mean=dict.fromkeys(names, 250.0), deviation=dict.fromkeys(names, 30.0))
    RetrievalModel([Member(made, network, head)], Inputs(names), scaling).save(tmp_path / "model")
    found = []
    for wanted in (SCANS, 5):
        scans, halo = tiling([network], wanted)
        group = f"swath/{wanted}"
        work = SwathPrediction(
            tmp_path / "model", "card", reader, names, Kept((0.1, 0.5, 0.9), 2, 7), tmp_path / "store.zarr", group, scans, halo
        )
        create(work.path, template(reader.dataset, work.kept, (), {}), {"scan": scans}, group)
        work(work.tiles())
        found.append(xr.open_zarr(work.path, group=group, consolidated=False).load())
    for name in ("rainfall_rate_quantile", "rainfall_rate_member"):
        assert np.isfinite(found[0][name].values).any()
        np.testing.assert_allclose(found[0][name].values, found[1][name].values, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("network", [RetrievalSettings(hidden=(8,)), RetrievalSettings(name="unet", widths=(4, 8))])
def test_a_halo_is_seen_and_not_kept(run, network):
    swath = SwathReader(run.artefact("harmonize"), "swath/orbit-1")({})
    names, levels = tuple(map(str, swath["channel"].values)), (0.1, 0.5, 0.9)
    scaling = ChannelScaling(mean=dict.fromkeys(names, 250.0), deviation=dict.fromkeys(names, 30.0))
    member = Member(build(network, 3).eval(), network, RainHeadSettings(levels=levels))
    model, kept = RetrievalModel([member], Inputs(names), scaling), Kept(levels)
    whole, inner = retrieved(model, swath, names, kept), retrieved(model, swath, names, kept, slice(4, 20))
    xr.testing.assert_allclose(inner, whole.isel(scan=slice(4, 20)), rtol=1e-6)
    made = np.isfinite(whole["rainfall_rate"].values)
    quantiles = whole["rainfall_rate_quantile"].values[:, made].astype(np.float64)
    expected = mean_of_quantiles(quantiles, np.array(levels)), exceedance(quantiles, np.array(levels), THRESHOLDS_MM_H)
    np.testing.assert_allclose(whole["rainfall_rate"].values[made], expected[0], rtol=1e-6)
    np.testing.assert_allclose(whole["probability_exceeding"].values[:, made], expected[1], atol=1e-6)


def test_channels_are_matched_by_name_or_nearness_and_told_apart(run):
    card = json.loads((run.artefact("train") / "all" / "card.json").read_text())
    granule = next(one for one in catalogued(run) if one.id == "orbit-3")
    learnt = tuple(card["inputs"]["channels"])
    assert shown_of(granule, learnt[::-1], card) == learnt
    assert shown_of(granule, ("85.50V", "10.65H", "21.30V", "150.00H"), card) == ("10.65H", "85.50V", "21.30V", "150.00H")
    with pytest.raises(VigieError, match="knows no channel of swath"):
        shown_of(granule, ("6.93V", "50.30"), card)


def test_a_pixel_without_a_channel_that_was_learnt_from_is_flagged(run):
    model = load(run.artefact("train") / "all")
    swath = SwathReader(run.artefact("harmonize"), "swath/orbit-0")({})
    fewer = retrieved(model, swath, model.inputs.channels[:-1], Kept((0.1, 0.5)))
    flags = fewer["quality_flag"].values
    assert set(np.unique(flags)) == {QUALITY["missing_channel"], QUALITY["no_retrieval"]}
    assert np.isnan(fewer["ood_score"].values).all(), "without a channel nothing is compared"


def test_a_prediction_that_lost_a_tile_goes_on_to_the_same_bytes(orbits, run, tmp_path):
    again = Run(settings(orbits), tmp_path / "small")
    perform(app, again, STAGES[:4])
    markers = sorted((again.folder / ".prediction.zarr.done").rglob("scan*"))
    assert len(markers) > 4
    for marker in markers[::2]:
        marker.unlink()
    (again.folder / ".stages" / "predict.json").unlink()
    perform(app, again, STAGES[:4])
    assert bytes_of(again.artefact("predict")) == bytes_of(run.artefact("predict"))


def test_the_report_says_what_was_retrieved_and_how_good_it_is(run):
    page = (run.artefact("publish") / "report.html").read_text(encoding="utf-8")
    for words in ("Scores against simulated", "CRPS", "climatology", "Q-Q plot", "out of distribution"):
        assert words in page


def test_models_tell_their_labels_and_limits(run):
    card = json.loads((run.artefact("train") / "all" / "card.json").read_text())
    assert "labels of simulated" in card["facts"]["learnt_from"]["orbit-0"]
    assert card["facts"]["loss"]["quantile"]["proper"] is True
    assert 0.5 < card["familiar"]["threshold"] < 2


def test_explain_tells_the_work(run):
    told = "\n".join(app.explain(run))
    assert "4 swaths" in told
    assert f"{4 * SCANS * PIXELS:,} footprints" in told


def written(tmp_path, orbits, text=""):
    path = tmp_path / "experiment.toml"
    path.write_text(to_toml(settings(orbits)) + text)
    return path


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("verify.baselines=['ridgee']", "did you mean 'ridge'"),
        ("train.channels=['89.00X']", "channels 89.00X are not there"),
        ("train.head.levels=[0.5,0.4]", "levels"),
        ("train.folds.count=9", "cannot make 9 folds by orbit"),
        ("predict.levels=[0.9,0.1]", "levels"),
        ("publish.grid_deg=0.7", "whole number of cells"),
        ("train.network.name='unet'", "set windows.size"),
        ("train.fold.by='orbit'", "did you mean"),
    ],
)
def test_mistakes_are_one_line(orbits, tmp_path, override, words, capsys):
    arguments = ["run", str(written(tmp_path, orbits)), "--out", str(tmp_path), "--quiet", "--set", override]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    told = capsys.readouterr().err
    assert ended.value.code == 2
    assert words in told
    assert len(told.strip().splitlines()) == 1


def test_files_that_are_no_swaths_are_refused(orbits, tmp_path):
    (tmp_path / "rain.txt").write_text("1 2 3")
    content = settings(orbits).model_dump(mode="json", exclude_none=True)
    content["acquire"]["sources"] = [{"files": [str(tmp_path / "rain.txt")]}]
    with pytest.raises(VigieError, match="no swath that vigie reads"):
        perform(app, Run(app.settings.model_validate(content), tmp_path / "run"))


@pytest.mark.parametrize(
    ("change", "words"),
    [({"final": False}, "no model would retrieve some swaths"), ({"ancillary": ["elevation"]}, "lacks ancillary fields")],
)
def test_what_could_not_be_retrieved_is_refused_before_networks_learn(orbits, tmp_path, change, words):
    content = settings(orbits).model_dump(mode="json", exclude_none=True)
    content["train"] |= change
    made = Run(app.settings.model_validate(content), tmp_path / "run")
    with pytest.raises(VigieError, match=words):
        perform(app, made)
    assert not (made.artefact("train") / ".training").exists()


def test_swaths_without_rain_rates_teach_nothing(orbits, tmp_path):
    content = settings(orbits).model_dump(mode="json", exclude_none=True)
    content["acquire"]["sources"] = [{"files": [str(orbits / "orbit-3.nc")]}]
    with pytest.raises(VigieError, match="no swath has rain rates"):
        perform(app, Run(app.settings.model_validate(content), tmp_path / "run"))
