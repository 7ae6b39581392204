"""Replaced inputs: a stage that read them is done again, and later stages where what they hold has changed."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

import pytest

from vigie.core.errors import VigieError
from vigie.story.app import App, perform, perform_alone
from vigie.story.experiment import Experiment
from vigie.story.run import STAGES, Run
from vigie.story.settings import MapExperiment


def acquire(run: Run) -> None:
    """Read one file, which every later stage works on."""
    content = (run.base / "image.tif").read_bytes()
    run.note_files("acquire", [run.base / "image.tif"])
    run.note_digest(hashlib.sha256(content).hexdigest())
    run.artefact("acquire").write_bytes(content)


def publish(run: Run) -> None:
    """Read one file of its own."""
    run.note_files("publish", [run.base / "outlines.gpkg"])
    run.artefact("publish").mkdir(exist_ok=True)
    name = (run.base / "outlines.gpkg").read_text()
    (run.artefact("publish") / name).touch()


def between(stage: str) -> object:
    return lambda run: run.artefact(stage).write_text(run.artefact("acquire").read_text())


app = App(
    "made",
    "",
    Experiment,
    acquire=acquire,
    publish=publish,
    demo=lambda folder: {},
    **{stage: between(stage) for stage in STAGES[1:-1]},  # type: ignore[arg-type]
)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A finished run."""
    (tmp_path / "image.tif").write_text("ice")
    (tmp_path / "outlines.gpkg").write_text("old")
    (tmp_path / "run").mkdir()
    made = Run(Experiment(app="made", name="run"), tmp_path / "run", base=tmp_path)
    perform(app, made)
    return made


def replaced(file: Path, text: str) -> None:
    """Put another file in the place of one, made a minute later."""
    later = file.stat().st_mtime_ns + 60 * 10**9
    file.write_text(text)
    os.utime(file, ns=(later, later))


def again(run: Run, caplog: pytest.LogCaptureFixture) -> tuple[list[str], list[str]]:
    """Run all stages: those that were done again, and why."""
    caplog.clear()
    with caplog.at_level(logging.INFO, "vigie"):
        perform(app, run)
    begun = [line.split(":")[0] for line in caplog.messages if ": begins in " in line]
    return begun, [line for line in caplog.messages if "changed" in line and "unchanged" not in line]


def test_a_finished_run_is_done(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    assert again(run, caplog) == ([], [])


def test_another_image_of_the_same_name_and_size_runs_everything_again(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    image = run.base / "image.tif"
    replaced(image, "fog")
    assert [run.done(stage) for stage in STAGES] == [False, True, True, True, True, True]
    begun, why = again(run, caplog)
    assert begun == list(STAGES)
    assert why[0] == f"acquire: {image} has changed since it was read"
    assert why[1:] == [f"{stage}: settings or inputs have changed, what was there is removed" for stage in STAGES[1:]]
    assert run.artefact("verify").read_text() == "fog"
    assert again(run, caplog) == ([], [])


def test_a_file_that_is_only_newer_is_read_again_and_nothing_else(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    image = run.base / "image.tif"
    replaced(image, "ice")
    assert again(run, caplog) == (["acquire"], [f"acquire: {image} has changed since it was read"])
    assert again(run, caplog) == ([], [])


def test_a_file_that_is_gone_has_been_read(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    (run.base / "image.tif").unlink()
    assert again(run, caplog) == ([], [])


def test_a_file_of_one_stage_runs_that_stage_anew(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    replaced(run.base / "outlines.gpkg", "new")
    assert again(run, caplog)[0] == ["publish"]
    assert [file.name for file in run.artefact("publish").iterdir()] == ["new"]


def test_a_later_stage_alone_is_refused_on_replaced_inputs(run: Run) -> None:
    replaced(run.base / "image.tif", "fog")
    with pytest.raises(VigieError, match=r"catalog\.parquet of other settings or inputs.*run `vigie acquire` first"):
        perform_alone(app, run, "harmonize")


def test_a_run_begun_before_the_replacement_does_not_go_on_from_it(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    (run.folder / ".stages" / "train.json").unlink()
    replaced(run.base / "image.tif", "fog")
    assert again(run, caplog)[0] == list(STAGES)
    assert run.artefact("train").read_text() == "fog"


def test_a_misspelt_setting_of_a_later_stage_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = {"app": "glaciers", "name": "run", "acquire": {"sources": [{"images": "a.tif"}]}}
    run = Run(MapExperiment.model_validate(content), tmp_path)
    with run.doing("train"):
        run.artefact("train").mkdir()
    assert run.done("train")
    assert {stage for stage, _ in MapExperiment.ahead.values()} < set(STAGES)
    monkeypatch.setattr(MapExperiment, "ahead", {"train": ("predict", "pach")})
    with pytest.raises(AttributeError, match="pach"):
        run.done("train")
