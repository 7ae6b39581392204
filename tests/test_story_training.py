"""What training sets aside to stop early, and what calibration is told of."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray as xr

from vigie.apps.glaciers.classes import CLASSES, LEGEND
from vigie.cli import main
from vigie.core.cube import band_coordinates
from vigie.core.scene import Band
from vigie.learn.bands import describe
from vigie.learn.calibration import EVERY_SENSOR, Calibration, LogitSample
from vigie.learn.fit import connect
from vigie.learn.folds import Region
from vigie.learn.model import Model
from vigie.learn.networks import NetworkSettings
from vigie.learn.patches import LabelledScene, read_patch
from vigie.learn.scaling import RobustScaling, measure
from vigie.learn.windows import Batch
from vigie.predict.settings import PredictSettings
from vigie.story import training
from vigie.story.progress import Silent
from vigie.story.settings import TrainSettings
from vigie.story.training import Lesson, block, calibrations, fit_members, grow_one, held_out_logits, set_aside
from vigie.synthetic.files import sensor_file, write_multispectral
from vigie.synthetic.glaciers import Area

EXPERIMENT = """
app = "glaciers"
name = "early"
summary = "Two areas, one of them to tell when to stop."
[[acquire.sources]]
images = "images/synthetic_*.tif"
sensor = "sensor.toml"
truth = "images/truth_*.tif"
legend = "classes"
[harmonize]
chunk = 64
tile = 64
[train]
folds = { by = "none" }
network = { widths = [8, 16], stem_channels = 8 }
windows = { size = 16, batch = 2 }
fit = { steps = 12, warmup_steps = 1, patience = 1, validate_every = 1, learning_rate = 10.0, average = 0.0 }
"""

PAN = Band("pan", "pan", "", 1, 10.0, "DN", 0.6, 0.2)
HEIGHT = Band("elevation", "terrain", "", 1, 10.0, "m", None, None)


def fake_run(monkeypatch: pytest.MonkeyPatch, groups: dict[str, str], **train: object) -> SimpleNamespace:
    monkeypatch.setattr(training, "catalogued", lambda run: [SimpleNamespace(id=i, group=g) for i, g in groups.items()])
    settings = SimpleNamespace(train=TrainSettings.model_validate(train), seed=0)
    monkeypatch.setattr(training, "settings_of", lambda run: settings)
    return SimpleNamespace(experiment=settings)


def region(scene: str, y: tuple[int, int] = (0, 400), x: tuple[int, int] = (0, 300), fold: int = 3) -> Region:
    return Region(scene, {"y": slice(*y), "x": slice(*x)}, fold)


def test_without_patience_everything_is_learnt_from(monkeypatch):
    learn = [region("a"), region("b")]
    kept, aside = set_aside(fake_run(monkeypatch, {"a": "", "b": ""}), learn)
    assert kept is learn and aside == []


def test_every_fifth_scene_is_set_aside_and_groups_stay_together(monkeypatch):
    groups = {"a": "", "b": "g", "c": "", "d": "g", "e": "", "f": "", "h": ""}
    run = fake_run(monkeypatch, groups, fit={"patience": 1})
    kept, aside = set_aside(run, [region(name) for name in groups])
    assert [r.scene for r in aside] == ["a", "h"] and [r.scene for r in kept] == ["b", "c", "d", "e", "f"]
    kept, aside = set_aside(run, [region("b"), region("d"), region("c")])
    assert [r.scene for r in aside] == ["b", "d"] and [r.scene for r in kept] == ["c"]


def test_of_one_scene_a_block_is_set_aside_with_a_buffer(monkeypatch):
    run = fake_run(monkeypatch, {"a": ""}, fit={"patience": 1}, folds={"buffer_px": 10}, windows={"size": 32})
    kept, aside = set_aside(run, [region("a"), region("a", x=(300, 400))])
    assert [r.window for r in aside] == [{"y": slice(0, 80), "x": slice(0, 300)}]
    assert {"y": slice(90, 400), "x": slice(0, 300)} in [r.window for r in kept]
    assert all(r.window["y"].start >= 90 or r.window["x"].start >= 310 for r in kept)
    assert [r.window["y"] for r in block(region("a"), 128)] == [slice(0, 128), slice(128, 400)]


def test_nothing_to_calibrate_on_is_said(monkeypatch, caplog):
    caplog.set_level("WARNING", logger="vigie")
    run = fake_run(monkeypatch, {})
    assert calibrations(run, [LogitSample()]) == {EVERY_SENSOR: Calibration()}
    assert "not calibrated" in caplog.text
    sample = LogitSample()
    sample.add("s2", torch.randn(1, 1, 2, 60, 60), torch.arange(3600).reshape(1, 60, 60) % 2, torch.eye(2))
    assert sorted(calibrations(run, [sample])) == [EVERY_SENSOR, "s2"]
    assert calibrations(fake_run(monkeypatch, {}, calibrate="none"), [sample]) == {EVERY_SENSOR: Calibration()}


def test_a_forest_learns_half_its_windows_under_another_light(tmp_path):
    """One light a window, on measured bands; the same again, whoever asks first."""
    described = describe(xr.Dataset({"observation": ("band", [0.0, 0.0])}, band_coordinates([PAN, HEIGHT])))

    def drawn(step: int) -> Batch:
        x = torch.randn(2, 2, 24, 24, generator=torch.Generator().manual_seed(step))
        rows, ones = (x[:, 0] > 0).long(), torch.ones(2, 24, 24)
        return Batch(x, torch.stack([ones, 0 * ones], 1), described, rows, torch.eye(2), ones, ("a", "b"))

    class Seen:
        def grow(self, batches, steps: int, seed: int) -> None:
            self.batches = [batches(step) for step in range(steps)]
            assert torch.equal(batches(1).x, self.batches[1].x)

    forest, settings = Seen(), TrainSettings.model_validate({"fit": {"steps": 4}, "augment": {"noise": 1.0, "haze": 1.0}})
    grow_one(forest, SimpleNamespace(batch=drawn), settings, 3, tmp_path)
    assert len(forest.batches) == 4
    for number, found in enumerate(forest.batches):
        as_is = drawn(number + 3 * 4)
        assert torch.equal(found.x[:, 1], as_is.x[:, 1]) and torch.equal(found.rows, as_is.rows)
        assert torch.equal(found.x[:, 0], as_is.x[:, 0]) == (number % 2 == 0)
        # What is brighter stays so: nothing but the light differs, the same over the window.
        for before, after in zip(as_is.x[:, 0], found.x[:, 0]):
            assert torch.equal(before.flatten().argsort(), after.flatten().argsort())


class Probe(torch.nn.Module):
    """A member that notes where it is brought, and the sides of what it looks at."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[object] = []
        self.register_buffer("weight", torch.zeros(1))

    def to(self, device: torch.device) -> Probe:
        self.notes.append(str(device))
        return self

    def cpu(self) -> Probe:
        self.notes.append("cpu")
        return self

    def forward(self, x: torch.Tensor, mask: torch.Tensor, bands: torch.Tensor) -> torch.Tensor:
        if not x.isfinite().all():
            raise ValueError("a member that breaks")
        self.notes.append(tuple(x.shape[-2:]))
        return torch.zeros(len(x), len(LEGEND.classes), *x.shape[-2:])


def film(side: int) -> LabelledScene:
    """A scene of one band, whose western half is ice."""
    truth = np.zeros((side, side), np.uint8)
    truth[:, : side // 2] = 1
    pixels = np.random.default_rng(0).normal(size=(1, side, side)).astype(np.float32)
    variables = {"observation": (("band", "y", "x"), pixels), "flags": (("y", "x"), 0 * truth), "truth": (("y", "x"), truth)}
    scene = xr.Dataset(variables, band_coordinates([Band("pan", "pan", "", 1, 6.0, "1")]))
    sizes = {"y": side, "x": side}
    return LabelledScene(
        "a", scene.isel, sizes, measure(scene.isel, sizes, RobustScaling()), CLASSES.label("classes"), "made-up"
    )


def calibrated_on(monkeypatch: pytest.MonkeyPatch, scene: LabelledScene, probe: Probe, patch: int = 256) -> LogitSample:
    """Sample the logits of a model whose one member is the probe, on a device that is not there."""
    run, side = fake_run(monkeypatch, {"a": ""}), scene.sizes["y"]
    run.experiment.predict = PredictSettings(patch=patch, overlap=0)
    monkeypatch.setattr(training, "catalogued", lambda run: [SimpleNamespace(id="a", group="", sensor="film")])
    model = Model([probe], [NetworkSettings()], LEGEND, RobustScaling())
    lesson = Lesson(0, [], [region("a", (0, side), (0, side))])
    return held_out_logits(run, model, lesson, [scene], torch.device("cuda:7"))


def test_a_model_is_on_the_device_only_while_its_logits_are_computed(monkeypatch):
    probe = Probe()
    assert calibrated_on(monkeypatch, film(64), probe).pixels("film") == 64**2
    assert probe.notes == ["cuda:7", (64, 64), "cpu"]
    scene = film(64)
    monkeypatch.setattr(training, "read_patch", lambda *given: replace(read_patch(*given), x=np.full((1, 2, 2), np.nan)))
    with pytest.raises(ValueError, match="breaks"):
        calibrated_on(monkeypatch, scene, probe)
    assert probe.notes[-2:] == ["cuda:7", "cpu"]


def test_logits_are_computed_on_patches_like_those_of_prediction(monkeypatch):
    """Of the side that prediction takes, of the whole region where that is smaller, and never of a side that members refuse."""
    for side, patch, multiple, seen in (
        (96, 64, 1, [(64, 64), (64, 32), (32, 64), (32, 32)]),
        (96, 256, 1, [(96, 96)]),
        (300, 300, 1, [(300, 300)]),
        (96, 40, 16, 9 * [(32, 32)]),
        (70, 64, 32, [(64, 64)]),
    ):
        probe = Probe()
        probe.multiple = multiple
        calibrated_on(monkeypatch, film(side), probe, patch)
        assert [note for note in probe.notes if isinstance(note, tuple)] == seen


def test_a_finished_model_waits_on_the_cpu(monkeypatch, tmp_path):
    """Nothing is left on the device, which is not there: the models of all folds together may not fit it."""
    tiny = {"name": "unet-groupnorm", "widths": [4, 8], "stem_channels": 4}
    forest = {"name": "forest", "sides": (3,), "trees": 2, "leaves": 4}
    fit = {"steps": 2, "warmup_steps": 0}
    run = fake_run(monkeypatch, {"a": ""}, network=tiny, beside=[forest], windows={"size": 16, "batch": 2}, fit=fit)
    run.artefact, run.progress = tmp_path.joinpath, Silent()
    trained, brought, learn = [], [], training.fit_one

    def fit_there(run, task, folder, fabric):
        """Train here; the network is said to be on the device until it is brought to the CPU."""
        learn(run, task, folder, connect(run.experiment.train.fit, "cpu"))
        back = task.network.cpu
        monkeypatch.setattr(task.network, "cpu", lambda: brought.append(task.network) or back())
        trained.append(task.network)

    monkeypatch.setattr(training, "fit_one", fit_there)
    lesson = Lesson(0, [region("a", (0, 64), (0, 64))], [])
    model = fit_members(run, CLASSES, [film(64)], lesson, SimpleNamespace(device=torch.device("cuda:7")))
    assert [type(member).__name__ for member in model.members] == ["SegmentationNetwork", "Forest"]
    assert brought == trained == [model.members[0]]
    assert model.device == torch.device("cpu")


def test_a_training_with_patience_stops_early_and_keeps_the_best(tmp_path: Path):
    (tmp_path / "images").mkdir()
    for area in (Area("almaz", seed=3, size=96), Area("burhan", seed=29, size=96, west=480_000.0)):
        write_multispectral(tmp_path / "images", area, "2021-08-21")
    (tmp_path / "sensor.toml").write_bytes(sensor_file().read_bytes())
    (tmp_path / "early.toml").write_text(EXPERIMENT)
    for stage in ("acquire", "harmonize", "train"):
        with pytest.raises(SystemExit) as left:
            main([stage, str(tmp_path / "early.toml"), "--out", str(tmp_path / "runs"), "--quiet"])
        assert left.value.code is None
    told = (tmp_path / "runs/early/model/.training/all/member-00/training.jsonl").read_text().splitlines()
    scores = [json.loads(line)["score"] for line in told]
    assert all(score < 0 for score in scores) and len(scores) == scores.index(max(scores)) + 2 < 12


def test_of_two_processes_that_train_together_one_goes_on(tmp_path: Path):
    (tmp_path / "images").mkdir()
    write_multispectral(tmp_path / "images", Area("almaz", seed=3, size=64), "2021-08-21")
    (tmp_path / "sensor.toml").write_bytes(sensor_file().read_bytes())
    two = EXPERIMENT.replace("patience = 1, validate_every = 1, learning_rate = 10.0, average = 0.0", "devices = 2")
    (tmp_path / "two.toml").write_text(two)
    for stage in ("acquire", "harmonize", "train", "predict"):
        # The program itself: Fabric starts the other process by the words of the first.
        words = [Path(sys.executable).with_name("vigie"), stage, tmp_path / "two.toml", "--out", tmp_path / "runs"]
        done = subprocess.run(words, check=True, capture_output=True, text=True)
        begun = done.stderr.count(f"{stage}: begins in")
        left = done.stderr.count(f"{stage}: left")
        assert (begun, left) == ((2, 1) if stage == "train" else (1, 1)), done.stderr


def test_what_a_forest_cannot_learn_from_is_refused_before_networks_learn(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Simulated film has other bands than the image that it is made of."""
    (tmp_path / "images").mkdir()
    write_multispectral(tmp_path / "images", Area("almaz", seed=3, size=64), "2021-08-21")
    (tmp_path / "sensor.toml").write_bytes(sensor_file().read_bytes())
    beside = EXPERIMENT.replace("windows =", 'beside = [{ name = "forest", sides = [3], trees = 3 }]\nwindows =')
    (tmp_path / "filmed.toml").write_text(beside.replace("patience = 1", "patience = 0") + "[labels]\nfilm_copies = 1\n")
    for stage, status in (("acquire", None), ("harmonize", None), ("train", 2)):
        with pytest.raises(SystemExit) as left:
            main([stage, str(tmp_path / "filmed.toml"), "--out", str(tmp_path / "runs"), "--quiet"])
        assert left.value.code == status
    assert "a forest learns from one sensor" in capsys.readouterr().err
    assert not list((tmp_path / "runs").rglob("training.jsonl"))
