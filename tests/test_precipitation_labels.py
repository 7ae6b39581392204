"""Precipitation learnt from labels of others: synthetic orbits without rain rates, and a radar that sees their middle."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tomli_w
import xarray as xr
from scipy.ndimage import gaussian_filter

from vigie.apps.precipitation import app
from vigie.apps.precipitation.swaths import catalogued
from vigie.cli import main
from vigie.core.errors import VigieError
from vigie.core.swath import LABEL_STATUS
from vigie.harmonize.swath import SwathReader
from vigie.physics.antenna import observe
from vigie.physics.footprint import SIGMA_PER_WIDTH
from vigie.story.app import perform
from vigie.story.run import STAGES, Run
from vigie.synthetic.orbit import CELL_KM, LINES_PER_SCAN, SCAN_SECONDS, Granule, ground, make_swath, save_swath
from vigie.synthetic.rain import Climate, draw_weather

SCANS, PIXELS, RAYS = 30, 40, 21
LATER_S = 60


def weather_below(granule):
    """The weather that `make_swath` draws below a granule, on every cell."""
    latitude, _ = ground(granule)
    return draw_weather(latitude, CELL_KM, granule.climate, np.random.default_rng([granule.seed, 61]))


def radar_of(granule):
    """A radar on the same track, a minute behind: a ray every 4.5 km, half of the width, every line."""
    rays = slice((PIXELS - RAYS) // 2, (PIXELS + RAYS) // 2)
    latitude, longitude = (positions[:, rays] for positions in ground(granule))
    weather = weather_below(granule)
    rate, liquid = weather.rain_rate[:, rays], weather.liquid[:, rays]
    seconds = np.arange(len(latitude)) / LINES_PER_SCAN * SCAN_SECONDS + LATER_S
    dims = ("scan", "pixel")
    return xr.Dataset(
        {
            "truth": (dims, rate.astype(np.float32), {"units": "mm h-1"}),
            "phase": (dims, np.where(rate > 0, np.where(liquid >= 0.5, 1, 2), 0).astype(np.uint8)),
            "latitude": (dims, latitude),
            "longitude": (dims, longitude),
        },
        {
            "time": ("scan", np.datetime64(granule.time, "ns") + (1e9 * seconds).astype("timedelta64[ns]")),
            "group": ("scan", np.full(len(latitude), granule.name)),
        },
        {"swath": granule.name, "sensor": "KuPR", "platform": "synthetic", "product": "radar", "label_source": "simulated"},
    )


@pytest.fixture(scope="module")
def granules():
    rainy = Climate(wet_fraction=0.4)
    return [
        Granule(f"orbit-{n}", n, f"2020-01-0{n + 1}T06:00:00", 10.0 + n, 178.0 - 10 * n, SCANS, PIXELS, rainy) for n in range(3)
    ]


@pytest.fixture(scope="module")
def folder(granules, tmp_path_factory):
    """Three granules whose rain nobody told, and files of a radar that saw the middle of each."""
    made = tmp_path_factory.mktemp("labels")
    for kind in ("orbits", "radar"):
        (made / kind).mkdir()
    for granule in granules:
        swath = make_swath(granule, observe).drop_vars(["truth", "phase"])
        del swath.attrs["label_source"]
        save_swath(made / "orbits" / f"{granule.name}.nc", swath)
        save_swath(made / "radar" / f"radar-{granule.name}.nc", radar_of(granule))
    return made


def content(folder, **labels):
    return {
        "app": "precipitation",
        "name": "labelled",
        "acquire": {
            "sources": [{"files": str(folder / "orbits" / "*.nc")}],
            "labels": [{"files": str(folder / "radar" / "*.nc"), "channel": "36.64V", "minutes": 3.0, **labels}],
        },
        "train": {
            "folds": {"by": "orbit", "count": 3},
            "final": False,
            "network": {"name": "pixel", "hidden": [16]},
            "head": {"levels": [k / 20 for k in range(1, 20)]},
            "windows": {"size": 1, "batch": 64},
            "fit": {"steps": 60, "learning_rate": 1e-2, "warmup_steps": 5},
        },
        "predict": {"scans": 16, "levels": [k / 20 for k in range(1, 20)]},
        "verify": {"baselines": ["climatology"], "bootstrap": 20, "draws": 5},
    }


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    made = Run(app.settings.model_validate(content(folder)), tmp_path_factory.mktemp("runs") / "labelled")
    perform(app, made, STAGES[:5])
    return made


def test_every_swath_knows_the_files_it_is_labelled_from(run):
    found = catalogued(run)
    assert [[file.href.rsplit("/", 1)[1] for file in granule.labels] for granule in found] == [
        [f"radar-orbit-{number}.nc"] for number in range(3)
    ]
    assert {granule.label_source for granule in found} == {"simulated"}


def test_footprints_hold_what_an_antenna_sees_of_the_true_rain(run, granules):
    for granule in granules:
        swath = SwathReader(run.artefact("harmonize"), f"swath/{granule.name}")({})
        labelled = swath["label_status"].values == LABEL_STATUS["labelled"]
        assert labelled[1:-1, 11:29].all() and not labelled[:, :7].any() and not labelled[:, 33:].any()
        sigma = 12.1 * SIGMA_PER_WIDTH / CELL_KM
        smoothed = gaussian_filter(weather_below(granule).rain_rate, sigma, mode="nearest")[1::LINES_PER_SCAN]
        inner = np.s_[3:-3, 14:26]
        error = swath["truth"].values[inner] - smoothed[inner]
        assert (
            np.abs(error).max() < 0.05 * smoothed[inner].max()
            and np.corrcoef(error.ravel() + smoothed[inner].ravel(), smoothed[inner].ravel())[0, 1] > 0.999
        )
        np.testing.assert_allclose(swath["label_minutes"].values[inner], LATER_S / 60, atol=0.05)
        assert (swath["label_share"].values[inner] > 0.999).all() and (swath["label_distance_km"].values[inner] < 0.5).all()
        wet = labelled & (swath["truth"].values > 0.1)
        assert set(np.unique(swath["phase"].values[wet])) <= {1, 2, 255}
        assert np.isnan(swath["truth"].values[~labelled]).all() and swath.attrs["label_source"] == "simulated"


def test_what_is_learnt_from_labels_of_others_beats_the_climatology(run):
    scores = xr.load_dataset(run.artefact("verify"), group="simulated", engine="h5netcdf")
    labelled = sum(
        int(np.isfinite(SwathReader(run.artefact("harmonize"), f"swath/orbit-{n}")({})["truth"].values).sum()) for n in range(3)
    )
    assert 0.9 * labelled < scores.attrs["footprints"] <= labelled
    assert float(scores["crps"].sel(model="model")) < 0.9 * float(scores["crps"].sel(model="climatology"))


def test_cubes_are_the_same_bytes_whatever_the_engine_and_after_lost_tiles(run, folder, tmp_path, monkeypatch):
    other = Run(
        app.settings.model_validate(content(folder) | {"engine": {"kind": "threads", "workers": 2}}), tmp_path / "labelled"
    )
    perform(app, other, STAGES[:2])
    first, second = (
        {path.relative_to(one).as_posix(): path.read_bytes() for path in one.rglob("*") if path.is_file()}
        for one in (run.artefact("harmonize"), other.artefact("harmonize"))
    )
    assert first == second and len(first) > 20


def test_labels_near_no_footprint_in_place_and_time_at_once_are_refused(folder, tmp_path):
    """The radar comes a minute later, when the radiometer is at the other end of the granule."""
    late = Run(app.settings.model_validate(content(folder, minutes=0.1)), tmp_path / "late")
    with pytest.raises(VigieError, match=r"no footprint got a label.*found too far \d+, too late \d+"):
        perform(app, late, STAGES[:2])


def test_a_radar_that_saw_nothing_valid_is_refused_with_the_reasons(folder, granules, tmp_path):
    (tmp_path / "radar").mkdir()
    (tmp_path / "orbits").symlink_to(folder / "orbits")
    for granule in granules:
        save_swath(
            tmp_path / "radar" / f"radar-{granule.name}.nc",
            radar_of(granule).map(lambda v: v * np.nan if v.name == "truth" else v, keep_attrs=True),
        )
    made = Run(app.settings.model_validate(content(tmp_path)), tmp_path / "run")
    with pytest.raises(VigieError, match=r"no footprint got a label.*found not valid \d+, too far \d+"):
        perform(app, made, STAGES[:2])


def gauges(folder, path, hours=0):
    """A gauge in the middle of the first orbit."""
    swath = xr.load_dataset(folder / "orbits" / "orbit-0.nc", engine="h5netcdf")
    row = {"station": "a", "time": swath["time"].values[15] + np.timedelta64(hours, "h")}
    row |= {"lat": float(swath["latitude"][15, 20]), "lon": float(swath["longitude"][15, 20]), "rain_mm_h": 2.5}
    pd.DataFrame([row]).to_csv(path, index=False)
    return str(path)


def test_a_gauge_labels_the_footprints_around_it(folder, tmp_path):
    settings = content(folder, files=gauges(folder, tmp_path / "gauge.csv"), label_source="gauge", distance_km=6.0)
    made = Run(app.settings.model_validate(settings), tmp_path / "run")
    perform(app, made, STAGES[:2])
    swath = SwathReader(made.artefact("harmonize"), "swath/orbit-0")({})
    labelled = np.argwhere(swath["label_status"].values == 0).tolist()
    assert [15, 20] in labelled and len(labelled) == 3, "neighbours in a scan are 4.5 km apart, scans 13.5 km"
    assert set(swath["truth"].values[np.isfinite(swath["truth"].values)].tolist()) == {2.5}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hours": 30}, "do not overlap in time"),
        ({"label_source": ""}, "nobody says where its labels come from"),
        ({"label_source": "gauges"}, "did you mean 'gauge'"),
        ({"column": "snow"}, "expected columns station, time, lat, lon, rain_mm_h"),
        ({"latitude": 80.0}, "do not overlap in place"),
        ({"channel": "37V"}, "has no channel '37V'"),
        ({"distance_km": -1}, "distance_km"),
        ({"minute": 3}, "did you mean"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(folder, tmp_path, change, words, capsys):
    path = gauges(folder, tmp_path / "gauge.csv", change.get("hours", 0))
    table = pd.read_csv(path)
    table = table.assign(lat=change.get("latitude", table["lat"])).rename(
        columns={"rain_mm_h": change.get("column", "rain_mm_h")}
    )
    table.to_csv(path, index=False)
    labels = {"files": path, "label_source": "gauge"} | {
        k: v for k, v in change.items() if k not in ("hours", "column", "latitude")
    }
    experiment = tmp_path / "experiment.toml"
    experiment.write_text(tomli_w.dumps(content(folder, **labels)))
    with pytest.raises(SystemExit) as ended:
        main(["run", str(experiment), "--out", str(tmp_path / "out"), "--quiet"])
    told = capsys.readouterr().err
    assert ended.value.code == 2 and words in told and len(told.strip().splitlines()) == 1
    assert not list((tmp_path / "out").rglob("*.zarr")) and not list((tmp_path / "out").rglob("*.parquet"))


def test_a_swath_that_has_rain_rates_keeps_them(folder, granules, tmp_path):
    (tmp_path / "orbits").mkdir()
    (tmp_path / "radar").symlink_to(folder / "radar")
    for granule in granules[:2]:
        swath = make_swath(granule, observe)
        if granule.name == "orbit-1":
            swath = swath.drop_vars(["truth", "phase"])
            del swath.attrs["label_source"]
        save_swath(tmp_path / "orbits" / f"{granule.name}.nc", swath)
    made = Run(app.settings.model_validate(content(tmp_path)), tmp_path / "run")
    perform(app, made, STAGES[:2])
    own, others = (SwathReader(made.artefact("harmonize"), f"swath/orbit-{number}")({}) for number in (0, 1))
    assert "label_status" not in own and np.isfinite(own["truth"].values).all()
    assert "label_status" in others and np.isnan(others["truth"].values).any()
    assert replace(catalogued(made)[0], labels=()) == catalogued(made)[0]
