"""Every TOML file of the repository is loaded by what reads it; examples name only what exists."""

from __future__ import annotations

import tomllib
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from vigie.acquire.granules.instruments import instrument
from vigie.acquire.samples import SCHEME, registry
from vigie.acquire.sensor import known_sensors, load_sensor
from vigie.apps.glaciers.baselines import BASELINES
from vigie.apps.glaciers.classes import CLASSES
from vigie.apps.glaciers.inventory.schema import fields
from vigie.apps.glaciers.settings import GlacierExperiment
from vigie.apps.precipitation.assess.settings import AssessmentSettings
from vigie.apps.precipitation.baselines import BASELINES as RAIN_BASELINES
from vigie.apps.precipitation.settings import PrecipitationExperiment
from vigie.core.vocabulary import variables
from vigie.story.app import app_names, find_app
from vigie.story.experiment import Experiment, to_json
from vigie.story.reading import load, load_assessment, override, validate
from vigie.story.run import Run

ROOT = Path(__file__).resolve().parents[1]
FILES = [*sorted(ROOT.glob("*.toml")), *(f for top in ("examples", "src") for f in sorted((ROOT / top).rglob("*.toml")))]
SETTINGS = [file for file in FILES if "app" in tomllib.loads(file.read_text(encoding="utf-8"))]
ASSESSMENTS = [file for file in SETTINGS if "reference" in tomllib.loads(file.read_text(encoding="utf-8"))]
EXPERIMENTS = [file for file in SETTINGS if file not in ASSESSMENTS]
SENSORS = [file for file in FILES if "products" in tomllib.loads(file.read_text(encoding="utf-8")) and file not in ASSESSMENTS]
SCHEMA = ROOT / "src/vigie/apps/glaciers/inventory/schema.toml"
VOCABULARY = ROOT / "src/vigie/core/vocabulary.toml"
RADIOMETERS = ROOT / "src/vigie/acquire/granules/radiometers.toml"


def name_of(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def app_of(file: Path) -> str:
    return str(tomllib.loads(file.read_text(encoding="utf-8"))["app"])


def is_sampled(pattern: str) -> bool:
    wanted = pattern.removeprefix(SCHEME).replace("{scene}", "*")
    return not pattern.startswith(SCHEME) or any(fnmatchcase(sample, wanted) for sample in registry())


each_experiment = pytest.mark.parametrize("file", EXPERIMENTS, ids=name_of)


def test_every_file_has_a_reader() -> None:
    read = {*EXPERIMENTS, *ASSESSMENTS, *SENSORS, SCHEMA, VOCABULARY, RADIOMETERS, ROOT / "pyproject.toml"}
    assert [name_of(file) for file in FILES if file not in read] == []
    assert EXPERIMENTS
    assert SENSORS


@pytest.mark.parametrize("file", SENSORS, ids=name_of)
def test_sensor_is_valid_and_called_like_its_file(file: Path) -> None:
    assert load_sensor(file).name == file.stem


def test_schema_of_inventories_is_read() -> None:
    for table in tomllib.loads(SCHEMA.read_text(encoding="utf-8")):
        assert fields(table)


def test_vocabulary_is_read_whole() -> None:
    assert set(variables()) == set(tomllib.loads(VOCABULARY.read_text(encoding="utf-8")))


def test_radiometers_are_read_whole() -> None:
    for name in tomllib.loads(RADIOMETERS.read_text(encoding="utf-8")):
        assert instrument(name).channels()


@each_experiment
def test_experiment_is_valid(file: Path) -> None:
    _, experiment = load(file)
    assert experiment.name == file.stem
    assert experiment.summary.endswith(".")


@each_experiment
def test_networks_of_an_experiment_take_its_windows_and_patches(file: Path, tmp_path: Path) -> None:
    app, experiment = load(file)
    app.check(Run(experiment, tmp_path, base=file.parent))


@pytest.mark.parametrize("file", [file for file in EXPERIMENTS if app_of(file) == "glaciers"], ids=name_of)
def test_experiment_on_glaciers_names_what_exists(file: Path) -> None:
    _, experiment = load(file)
    assert isinstance(experiment, GlacierExperiment)
    for source in experiment.acquire.sources:
        assert source.sensor in (*known_sensors(), "auto") or (file.parent / source.sensor).is_file()
        assert source.legend is None or CLASSES.label(source.legend)
        assert all(map(is_sampled, (*source.images, source.truth or "", source.dem or "")))
    assert set(experiment.verify.baselines) <= set(BASELINES)


@pytest.mark.parametrize("file", [file for file in EXPERIMENTS if app_of(file) == "precipitation"], ids=name_of)
def test_experiment_on_precipitation_names_what_exists(file: Path) -> None:
    _, experiment = load(file)
    assert isinstance(experiment, PrecipitationExperiment)
    assert all(is_sampled(pattern) for source in experiment.acquire.sources for pattern in source.files)
    assert set(experiment.verify.baselines) <= set(RAIN_BASELINES)


@pytest.mark.parametrize("file", ASSESSMENTS, ids=name_of)
def test_assessment_is_valid_and_names_what_exists(file: Path) -> None:
    _, assessment = load_assessment(file)
    assert isinstance(assessment, AssessmentSettings)
    assert assessment.name == file.stem
    assert assessment.summary.endswith(".")
    models = assessment.sensitivity
    files = [name for record in (assessment.reference, *assessment.products) for name in record.files]
    assert all(map(is_sampled, [*files, *([models.pr, models.tas] if models else [])]))


@each_experiment
def test_experiment_travels_whole(file: Path) -> None:
    app, experiment = load(file)
    again = app.settings.model_validate_json(to_json(experiment))
    assert again == experiment


@pytest.mark.parametrize("name", app_names())
def test_demo_is_a_valid_experiment(name: str, tmp_path: Path) -> None:
    app, experiment = validate(find_app(name).demo(tmp_path), f"demo of {name}")
    assert app.name == name
    assert isinstance(experiment, Experiment)


def test_engine_in_toml_becomes_the_engine() -> None:
    content: dict[str, object] = {"app": "glaciers", "name": "x", "acquire": {"sources": [{"images": "x.tif"}]}}
    override(content, "engine.kind=dask")
    override(content, "engine.slurm.queue=gpu")
    _, experiment = validate(content, "here")
    engine = experiment.engine.start()
    assert "#SBATCH -p gpu" in engine.slurm.job_script()  # type: ignore[attr-defined]
