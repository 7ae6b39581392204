"""Scenes that every fold learns from: never tested, mapped by the final model or by none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import xarray as xr

from vigie.apps.glaciers import app
from vigie.apps.glaciers.settings import GlacierExperiment
from vigie.story.app import perform
from vigie.story.run import STAGES, Run
from vigie.synthetic.files import sensor_file, write_film, write_multispectral
from vigie.synthetic.glaciers import Area

SIZE = 96
TESTED = ["synthetic_2021-08-21_almaz", "synthetic_2021-08-21_dhaula"]
FILM = "kh9_1975-08-20_burhan"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for number, (name, seed) in enumerate({"almaz": 3, "dhaula": 8}.items()):
        write_multispectral(tmp_path, Area(name, seed=seed, size=SIZE, west=450_000.0 + 30_000 * number), "2021-08-21")
    write_film(tmp_path, Area("burhan", seed=4, size=SIZE, west=520_000.0), "1975-08-20")
    shutil.copy(sensor_file(), tmp_path / "sensor.toml")
    return tmp_path


def experiment(**train: object) -> GlacierExperiment:
    common = {"legend": "classes", "group": "{scene}"}
    recent = {"images": "synthetic_*.tif", "truth": "truth_*.tif", "sensor": "sensor.toml"}
    film = {"images": "kh9_*.tif", "truth": "truth_*.tif", "region": "film"}
    return GlacierExperiment.model_validate(
        {
            "app": "glaciers",
            "name": "run",
            "acquire": {"sources": [recent | common, film | common]},
            "train": {
                "network": {"widths": [8, 16], "stem_channels": 8},
                "windows": {"size": 32, "batch": 2},
                "fit": {"steps": 1, "warmup_steps": 0},
                **train,
            },
            "verify": {"bootstrap": 0},
        }
    )


def learnt(run: Run, model: str) -> list[str]:
    return list(json.loads((run.artefact("train") / model / "card.json").read_text())["facts"]["trained_on"])


@pytest.mark.filterwarnings("ignore:All-NaN slice encountered:RuntimeWarning")  # a network of one step leaves classes out
@pytest.mark.parametrize("always", ["hexagon-kh9", "film"], ids=["a sensor", "a region"])
def test_every_fold_learns_from_it_and_none_tests_it(data: Path, always: str) -> None:
    run = Run(experiment(folds={"by": "scene", "always": [always]}), data / "run", base=data)
    perform(app, run, STAGES)
    assert learnt(run, "fold-0") == [FILM, TESTED[1]] and learnt(run, "fold-1") == [FILM, TESTED[0]]
    assert learnt(run, "all") == [FILM, *TESTED]
    scores = xr.open_dataset(run.artefact("verify"), group="classes", engine="h5netcdf")
    assert scores["scene"].values.tolist() == TESTED
    mapped = xr.open_datatree(run.artefact("predict"), engine="zarr", consolidated=False)
    assert sorted(mapped["grid"].children) == [FILM, *TESTED]


@pytest.mark.filterwarnings("ignore:All-NaN slice encountered:RuntimeWarning")
def test_without_a_final_model_it_is_not_mapped(data: Path) -> None:
    run = Run(experiment(folds={"by": "scene", "always": ["film"]}, final=False), data / "run", base=data)
    perform(app, run, STAGES)
    assert not (run.artefact("train") / "all").exists()
    mapped = xr.open_datatree(run.artefact("predict"), engine="zarr", consolidated=False)
    assert sorted(mapped["grid"].children) == TESTED
