"""Scenes that show no ground once they are harmonized take no further part, whatever stage asks, and that is told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr

from vigie.acquire import clear
from vigie.apps.glaciers import app
from vigie.apps.glaciers.settings import GlacierExperiment
from vigie.core.errors import VigieError
from vigie.story.app import perform
from vigie.story.run import STAGES, Run
from vigie.story.scenes import left_out, parts_of, regions_of, settings_of, taking_part
from vigie.synthetic.files import sensor_file, write_multispectral
from vigie.synthetic.glaciers import Area

DATE, SIZE = "2021-08-21", 96
SEEDS = {"almaz": 3, "burhan": 4, "chandra": 5, "dhaula": 8}
CLOUDS = '\nmasks = [{ layer = "clouds", values = { cloud = [1], shadow = [2] } }]\n'


def scene_name(area: str) -> str:
    return f"synthetic_{DATE}_{area}"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Four scenes with quality masks, one of them clouded all over and one without data, as a remote catalogue gives them."""
    for number, (name, seed) in enumerate(SEEDS.items()):
        write_multispectral(tmp_path, Area(name, seed=seed, size=SIZE, west=450_000.0 + 30_000 * number), DATE)
        with rasterio.open(tmp_path / f"{scene_name(name)}.tif", "r+") as image:
            profile = {**image.profile, "count": 1, "dtype": "uint8", "nodata": None}
            if name == "chandra":
                image.write(np.zeros((image.count, *image.shape), image.dtypes[0]))
        hidden = np.full((1, SIZE, SIZE), 1 if name == "burhan" else 0, np.uint8)
        hidden[0, :20] = 2
        with rasterio.open(tmp_path / f"{scene_name(name)}_clouds.tif", "w", **profile) as mask:
            mask.write(hidden)
    declared = sensor_file().read_text().replace("pattern = '{id}", "pattern = '{id}(?:_(?P<layer>clouds))?")
    (tmp_path / "sensor.toml").write_text(declared + CLOUDS)
    # Masks of remote scenes are not read while scenes are only gathered.
    monkeypatch.setattr(clear, "is_remote", lambda href: True)
    files = {"images": f"synthetic_{DATE}_*.tif", "truth": f"truth_{DATE}_*.tif", "sensor": "sensor.toml"}
    experiment = GlacierExperiment.model_validate(
        {
            "app": "glaciers",
            "name": "run",
            "acquire": {"sources": [files | {"legend": "classes", "group": "{scene}"}]},
            "train": {
                "network": {"widths": [8, 16], "stem_channels": 8},
                "windows": {"size": 32, "batch": 2},
                "fit": {"steps": 1, "warmup_steps": 0},
            },
            "verify": {"bootstrap": 0},
        }
    )
    return Run(experiment, tmp_path / "run", base=tmp_path)


@pytest.mark.filterwarnings("ignore:All-NaN slice encountered:RuntimeWarning")  # a network of one step leaves classes out
def test_a_scene_without_a_clear_pixel_is_left_out_everywhere(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    perform(app, run, STAGES)
    burhan, chandra = scene_name("burhan"), scene_name("chandra")
    kept = [scene_name("almaz"), scene_name("dhaula")]
    warned = [record.message for record in caplog.records if record.levelname == "WARNING" and "left out" in record.message]
    assert warned == [
        f"harmonize: scene '{name}' is left out of all that follows: no pixel is free of nodata, saturated, shadow, cloud"
        for name in (burhan, chandra)
    ]
    assert [scene.id for scene in taking_part(run)] == kept and left_out(run) == [burhan, chandra]
    folds = settings_of(run).train.folds
    assert [region.scene for region in regions_of(run, folds)] == kept == [part.scene for part in parts_of(run, folds)]
    card = json.loads((run.artefact("train") / "all" / "card.json").read_text())
    assert card["facts"]["trained_on"] == kept
    mapped = xr.open_datatree(run.artefact("predict"), engine="zarr", consolidated=False)
    assert sorted(mapped["grid"].children) == kept
    scores = xr.open_dataset(run.artefact("verify"), group="classes", engine="h5netcdf")
    assert scores["scene"].values.tolist() == kept
    report = (run.artefact("publish") / "report.html").read_text()
    assert f"scenes left out, without a clear pixel</td><td>{burhan}, {chandra}" in report.replace("\n", "").replace("  ", "")


def test_without_any_scene_that_shows_something_the_run_ends(run: Run) -> None:
    for mask in run.base.glob("*_clouds.tif"):
        with rasterio.open(mask, "r+") as image:
            image.write(np.ones((1, SIZE, SIZE), np.uint8))
    with pytest.raises(
        VigieError, match=rf"no scene has a clear pixel on its grid; found .* in {scene_name('almaz')}, .*dates"
    ):
        perform(app, run, ("acquire", "harmonize"))


def test_what_counts_as_hidden_is_what_the_scaling_leaves_out(run: Run) -> None:
    settings = run.experiment.model_dump(mode="json", exclude_none=True)
    settings["train"]["scaling"]["exclude"] = ["shadow"]
    bold = Run(GlacierExperiment.model_validate(settings), run.folder, base=run.base)
    perform(app, bold, ("acquire", "harmonize"))
    assert left_out(bold) == [scene_name("chandra")]
    assert left_out(run) == [scene_name("burhan"), scene_name("chandra")]
