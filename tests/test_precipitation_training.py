"""What an experiment may name of its training: layers, regimes, hybrid labels, adaptation, further members, intervals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from vigie.apps.precipitation import app
from vigie.apps.precipitation.counted import taught
from vigie.apps.precipitation.material import material
from vigie.apps.precipitation.swaths import catalogued, labelled, opened
from vigie.core.errors import VigieError
from vigie.learn.folds import NEVER
from vigie.learn.retrieval_model import load
from vigie.learn.swaths import learnt_from
from vigie.physics.antenna import observe
from vigie.predict.quality import QUALITY
from vigie.predict.swath import Kept, retrieved
from vigie.story.app import perform
from vigie.story.run import STAGES, Run
from vigie.synthetic.orbit import Granule, make_swath, save_swath
from vigie.synthetic.rain import Climate

SCANS, PIXELS = 20, 16
ORBITS = 6
NONE = {"by": "none"}


@pytest.fixture(scope="module")
def orbits(tmp_path_factory):
    """Observed orbits; one whose labels are simulated: half of the rain, temperatures 5 K too warm; one without labels."""
    folder = tmp_path_factory.mktemp("orbits")
    for number in range(ORBITS + 2):
        seed = 1 if number == ORBITS else number
        granule = Granule(f"orbit-{number}", seed, f"2020-01-0{number + 1}T06:00:00", 10.0 + number, 10.0, SCANS, PIXELS)
        swath = make_swath(replace(granule, climate=Climate(wet_fraction=0.4)), observe)
        swath.attrs["label_source"] = "dpr"
        if number == ORBITS:
            swath["truth"] = swath["truth"] / 2
            swath["brightness_temperature"] = swath["brightness_temperature"] + np.float32(5.0)
            swath.attrs["label_source"] = "era5"
        if number == ORBITS + 1:
            swath = swath.drop_vars(["truth", "phase"])
            del swath.attrs["label_source"]
        save_swath(folder / f"orbit-{number}.nc", swath)
    return folder


def prepared(orbits, folder, files="*.nc", predict=None, **train):
    """A run whose swaths are in the cube."""
    content = {
        "app": "precipitation",
        "name": "taught",
        "acquire": {"sources": [{"files": str(orbits / files)}]},
        "train": {
            "folds": {"by": "orbit", "count": 2},
            "network": {"hidden": [16]},
            "head": {"levels": [k / 20 for k in range(1, 20)]},
            "windows": {"batch": 64},
            "fit": {"steps": 30, "learning_rate": 1e-2, "warmup_steps": 5},
            **train,
        },
        "predict": {"levels": [k / 20 for k in range(1, 20)], **(predict or {})},
    }
    run = Run(app.settings.model_validate(content), folder / "taught")
    perform(app, run, STAGES[:2])
    return run


def trained(run):
    """The run's only or first model."""
    perform(app, run, STAGES[:3])
    return load(sorted(path.parent for path in run.artefact("train").glob("*/card.json"))[0])


def test_members_of_further_kinds_retrieve_with_the_first(orbits, tmp_path):
    more = {"members": 2, "network": {"hidden": [8]}, "head": {"name": "hurdle-gamma"}, "fit": {"steps": 5}}
    model = trained(prepared(orbits, tmp_path, "orbit-[01].nc", more=[more], final=False))
    assert [member.head.name for member in model.members] == ["quantile", "hurdle-gamma", "hurdle-gamma"]


def test_doubt_is_measured_as_the_experiment_says(orbits, tmp_path):
    """By distances in one group of fields or several, and by members who disagree; the largest counts."""
    familiar = {
        "methods": ["neighbours", "mahalanobis", "spread"],
        "compared": [[], ["total_column_water_vapour"]],
        "rows": 100,
    }
    run = prepared(orbits, tmp_path, folds=NONE, familiar=familiar, members=2, channels=["36.64V", "89.00V"])
    model = trained(run)
    told = [(reference.method, len(reference.fields)) for reference in model.familiar.references]
    assert told == [("neighbours", 2), ("neighbours", 1), ("mahalanobis", 2), ("mahalanobis", 1), ("spread", 0)]
    swath = opened(run, catalogued(run)[0])({})
    names = model.inputs.channels
    there = np.isfinite(swath["brightness_temperature"].sel(channel=list(names)).values).any(axis=-1)
    alone = []
    for reference in model.familiar.references:
        part = replace(model, familiar=model.familiar.model_copy(update={"references": (reference,)}), drifts={})
        alone.append(retrieved(part, swath, names, Kept((0.5,)))["ood_score"].values)
    together = retrieved(model, swath, names, Kept((0.5,)))
    np.testing.assert_array_equal(together["ood_score"].values, np.fmax.reduce(alone))
    assert all(np.isfinite(score[there]).all() and (score[there] > 0).any() for score in alone)
    assert sum((score == together["ood_score"].values).any() for score in alone) > 2, "several are the largest somewhere"
    flagged = together["quality_flag"].values[there] == QUALITY["out_of_distribution"]
    np.testing.assert_array_equal(flagged, together["ood_score"].values[there] > model.familiar.threshold)
    card = next(run.artefact("train").glob("*/card.md")).read_text(encoding="utf-8")
    assert "Mahalanobis" in card and "how far members disagree" in card


def test_departures_are_from_the_clear_sky_of_what_is_not_held_out(orbits, tmp_path):
    run = prepared(orbits, tmp_path, "orbit-[0123].nc", layers=["departure", "invariant"], final=False)
    swaths = labelled(run)
    model = trained(run)
    taught = material(run, swaths, 0)
    assert all(name.startswith(("departure ", "difference ")) for name in taught.parts[0].names)
    column = taught.parts[0].names.index("departure 89.00V")
    dry = [part.dry & (part.fold != 0) & part.trusted for part in taught.parts]
    left = np.concatenate([part.x[where][:, column] for part, where in zip(taught.parts, dry, strict=True)])
    assert abs(np.nanmean(left)) < 0.1, "a regression leaves no mean where it was fitted (where no channel was missing)"
    temperature = np.concatenate([part.temperature[where] for part, where in zip(taught.parts, dry, strict=True)])
    assert np.nanstd(left) < 0.5 * np.nanstd(temperature[:, taught.inputs.channels.index("89.00V")])
    other = material(run, swaths, 1)
    assert other.inputs.clear_sky != taught.inputs.clear_sky
    assert model.inputs.clear_sky == taught.inputs.clear_sky
    perform(app, run, STAGES[:4])
    product = xr.open_zarr(run.artefact("predict"), group="swath/orbit-0/fold-0", consolidated=False)
    assert np.isfinite(product["rainfall_rate"].values).any()


def test_simulated_labels_are_matched_and_carried_to_the_observed_ones(orbits, tmp_path):
    hybrid = {"observed": ["dpr"], "labels": "matched", "temperatures": "translated"}
    run = prepared(orbits, tmp_path, hybrid=hybrid, channels=["36.64V", "89.00V", "89.00H"])
    swaths = labelled(run)
    as_it_is = opened(run, next(g for g in catalogued(run) if g.label_source == "era5"))({})
    made = material(run, swaths, NEVER)
    part = next(part for part in made.parts if part.source == "era5")
    observed = [p for p in made.parts if p.source == "dpr"]
    goals = np.concatenate([p.y[p.y > 0] for p in observed])
    np.testing.assert_allclose(np.median(part.y[part.y > 0]), np.median(goals), rtol=0.1)
    assert np.median(as_it_is["truth"].values[as_it_is["truth"].values > 0]) < 0.8 * np.median(goals)
    whole = np.isfinite(part.x).all(axis=-1) & np.isfinite(part.y)
    goal = np.concatenate([p.x[p.dry & np.isfinite(p.x).all(axis=-1)] for p in observed]).mean(axis=0)
    here = whole & part.dry
    before = as_it_is["brightness_temperature"].sel(channel=list(made.inputs.channels)).values[here].mean(axis=0)
    after = part.x[here].mean(axis=0)
    assert np.abs(after - goal).sum() < 0.3 * np.abs(before - goal).sum(), "temperatures come nearer to those observed"


def test_simulated_labels_calibrate_nothing_test_nothing_and_teach_no_reference(orbits, tmp_path):
    intervals = {"levels": [0.1, 0.9]}
    run = prepared(orbits, tmp_path, "orbit-[0-6].nc", hybrid={"observed": ["dpr"]}, intervals=intervals, final=False)
    perform(app, run, STAGES[:5])
    swaths = labelled(run)
    (fold,) = {0, 1} - set(next(swath for swath in swaths if swath.granule.label_source == "era5").folds)
    made = material(run, swaths, fold)
    made_up = next(part for part in made.parts if part.source == "era5")
    assert learnt_from(made_up, fold).any() and not made.aside(made_up).any()
    assert any(made.aside(part).any() for part in made.parts)
    with xr.open_datatree(run.artefact("verify"), engine="h5netcdf") as scores:
        assert list(scores.children) == ["dpr"]
    rows = sum(int(learnt_from(part, fold).sum()) for part in made.parts if part.source == "dpr")
    assert len(taught(run, swaths, fold)[1]) == rows


def test_translation_carries_temperatures_and_not_what_tells_labels_apart(orbits, tmp_path):
    hybrid, names = {"observed": ["dpr"], "temperatures": "translated"}, ["36.64V", "89.00V", "89.00H"]
    run = prepared(orbits, tmp_path, "orbit-[0-6].nc", hybrid=hybrid, ancillary=["observed_label"], channels=names)
    swaths = labelled(run)
    made = material(run, swaths, NEVER)
    made_up = next(part for part in made.parts if part.source == "era5")
    assert (made_up.x[..., made_up.names.index("observed_label")] == 0).all()
    (fold,) = next(swath for swath in swaths if swath.granule.label_source == "era5").folds
    for way in ({"temperatures": "translated"}, {"labels": "matched"}):
        other = prepared(
            orbits, tmp_path / "-".join(way), "orbit-[0-6].nc", hybrid={"observed": ["dpr"], **way}, channels=names
        )
        with pytest.raises(VigieError, match="nothing to carry"):
            material(other, labelled(other), fold)


def test_swaths_that_are_adapted_to_have_the_channels_that_are_learnt_from(orbits, tmp_path):
    bare = xr.load_dataset(orbits / f"orbit-{ORBITS + 1}.nc", engine="h5netcdf")
    folder = tmp_path / "other"
    folder.mkdir()
    for number in range(2):
        (folder / f"orbit-{number}.nc").symlink_to(orbits / f"orbit-{number}.nc")
    save_swath(folder / "narrow.nc", bare.isel(channel=slice(0, 3)).assign_attrs(swath="narrow"))
    with pytest.raises(VigieError, match="'narrow' cannot be adapted to: it lacks channels"):
        trained(prepared(folder, tmp_path, adapt={"method": "deep-coral"}, folds=NONE))


def test_hybrid_training_weighs_sources_or_starts_with_simulated_ones(orbits, tmp_path):
    together = prepared(
        orbits, tmp_path, "orbit-[0-6].nc", hybrid={"observed": ["dpr"]}, ancillary=["observed_label"], folds=NONE
    )
    model = trained(together)
    assert model.inputs.ancillary == ("observed_label",)
    assert model.facts["hybrid"]["observed"] == ["dpr"] and model.facts["learnt_from"]["orbit-6"] == "labels of era5"
    first = prepared(
        orbits, tmp_path / "first", "orbit-[0-6].nc", hybrid={"observed": ["dpr"], "method": "pretrain"}, folds=NONE
    )
    trained(first)
    logs = sorted(path.parent.name for path in (first.artefact("train") / ".training").rglob("training.jsonl"))
    assert logs == ["finetune", "pretrain"]
    with pytest.raises(VigieError, match="needs observed and simulated labels"):
        trained(prepared(orbits, tmp_path / "none", "orbit-[0-5].nc", hybrid={"observed": ["dpr"]}, folds=NONE))


@pytest.mark.parametrize("method", ["coral", "deep-coral", "adversarial"])
def test_a_model_adapts_to_swaths_without_rain_rates(orbits, tmp_path, method):
    run = prepared(orbits, tmp_path, "orbit-[0-57].nc", adapt={"method": method}, channels=["36.64V", "89.00V"], folds=NONE)
    trained(run)
    taught = material(run, labelled(run), NEVER)
    assert [part.id for part in taught.others] == [f"orbit-{ORBITS + 1}-adapted-to"]
    if method == "coral":
        rows = np.concatenate([part.x[taught.learnt(part)] for part in taught.parts])
        other = taught.others[0].x.reshape(-1, 2)
        other = other[np.isfinite(other).all(axis=1)]
        np.testing.assert_allclose(rows.mean(axis=0), other.mean(axis=0), atol=0.5)


def test_there_must_be_something_to_adapt_to(orbits, tmp_path):
    run = prepared(orbits, tmp_path, "orbit-[01].nc", adapt={"method": "coral"})
    with pytest.raises(VigieError, match="nothing to adapt to"):
        trained(run)
    held = prepared(orbits, tmp_path / "held", "orbit-[01].nc", adapt={"method": "deep-coral", "to": "held-out"}, final=False)
    trained(held)
    assert len(material(held, labelled(held), 0).others) == 2


def test_regimes_are_minded_and_intervals_are_calibrated_in_each(orbits, tmp_path):
    run = prepared(
        orbits,
        tmp_path,
        "orbit-[0-5].nc",
        regimes={"by": ["surface"]},
        robust={"method": "group-dro"},
        intervals={"levels": [0.1, 0.9]},
        final=False,
    )
    model = trained(run)
    assert model.covering is not None and set(model.covering.widening_mm_h) <= {"sea", "coast", "land", "unknown"}
    swath = opened(run, catalogued(run)[0])({})
    found = retrieved(model, swath, model.inputs.channels, Kept((0.1, 0.5, 0.9)))
    low, high = found["rainfall_rate_interval"].values
    quantile = found["rainfall_rate_quantile"].values
    land = swath["land_fraction"].values
    for name, where in (("sea", land < 0.05), ("land", land > 0.95)):
        where = where & np.isfinite(quantile[0])
        if name in model.covering.widening_mm_h and where.any():
            by = model.covering.widening_mm_h[name]
            np.testing.assert_allclose(high[where], np.maximum(quantile[2][where] + by, low[where]), rtol=1e-4, atol=1e-4)
    taught = material(run, labelled(run), 0)
    units = [set(part.unit) for part in taught.parts if taught.aside(part).any()]
    assert units, "whole orbits are set aside"
    assert not any((taught.learnt(part) & taught.aside(part)).any() for part in taught.parts)


@pytest.mark.parametrize(
    ("train", "words"),
    [
        ({"robust": {"method": "group-dro"}}, "train.regimes.by"),
        ({"hybrid": {"labels": "matched"}}, "train.hybrid.observed"),
        ({"adapt": {"method": "coral", "to": "held-out"}}, "train.final = false"),
        ({"regimes": {"vapour_kg_m2": [30.0, 15.0]}}, "edges increase"),
        ({"intervals": {"levels": [0.9, 0.1]}}, "increasing levels within"),
        ({"more": [{"network": {"name": "unet"}}]}, "windows.size"),
        ({"familiar": {"methods": ["spread"]}}, "set members to 2"),
        ({"intervals": {"levels": [0.001, 0.9]}}, "nothing is said beyond"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(orbits, tmp_path, train, words):
    with pytest.raises((ValueError, VigieError), match=words):
        prepared(orbits, tmp_path, **train)


@pytest.mark.parametrize(
    ("how", "windows", "network"),
    [("alone", {"batch": 64}, "pixel"), ("around", {"size": 8, "batch": 4}, "unet")],
)
def test_generated_members_are_drawn_scored_and_do_not_depend_on_tiles(orbits, tmp_path, how, windows, network):
    method = {"name": network, "hidden": [16], "widths": [4, 8], "steps": 2}
    settings = {"how": how, "method": method, "fit": {"steps": 6, "learning_rate": 1e-3}}
    run = prepared(orbits, tmp_path, "orbit-[0-4].nc", generative=settings, windows=windows, predict={"members": 3})
    perform(app, run, STAGES[:5])
    scores = xr.load_dataset(run.artefact("verify"), group="dpr", engine="h5netcdf")
    assert scores["model"].values.tolist() == ["model", "generated"]
    assert np.isfinite(scores["crps"].values).all()
    node = "swath/orbit-1/" + ("fold-0" if (run.artefact("predict") / "swath/orbit-1/fold-0").is_dir() else "fold-1")
    whole = xr.open_zarr(run.artefact("predict"), group=node, consolidated=False).load()
    members = whole["rainfall_rate_member"].values
    made = np.isfinite(whole["rainfall_rate"].values)
    assert np.isfinite(members[:, made]).all() and np.isnan(members[:, ~made]).all() and (members[:, made] >= 0).all()
    assert not np.allclose(members[0, made], members[1, made])
    if network == "pixel":
        narrow = prepared(
            orbits,
            tmp_path / "narrow",
            "orbit-[0-4].nc",
            generative=settings,
            windows=windows,
            predict={"members": 3, "scans": 7},
        )
        perform(app, narrow, STAGES[:4])
        other = xr.open_zarr(narrow.artefact("predict"), group=node, consolidated=False)["rainfall_rate_member"].values
        np.testing.assert_allclose(members, other, rtol=1e-4, atol=1e-5)
    card = (run.artefact("train") / node.rpartition("/")[2] / "generative" / "card.md").read_text()
    assert ("reference/" in card) is (how == "around")
