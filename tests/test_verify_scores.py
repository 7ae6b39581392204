"""scores.nc: dimensions, units, intervals, files and tables; figures draw what the tables say."""

from __future__ import annotations

import io

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure
from rich.console import Console

from vigie.core.errors import VigieError
from vigie.verify import figures
from vigie.verify import scores as scores_
from vigie.verify.calibration import reliability
from vigie.verify.classes import LabelledTile
from vigie.verify.tally import Tally


def tallies(skill: float, scenes: tuple[str, ...] = ("3", "126", "151")) -> dict[str, Tally]:
    rng = np.random.default_rng(0)
    counts = []
    for scene in scenes:
        truth = (np.add.outer(np.arange(20), np.arange(20)) > rng.integers(12, 26)).astype(np.int16)
        p = np.clip(0.5 + skill * (truth - 0.5) + rng.normal(0, 0.25, truth.shape), 0, 1).astype(np.float32)
        tile = LabelledTile(np.stack([1 - p, p]), truth, ("rock", "debris"), 10.0)
        counts.append({name: tally.at(scene=scene) for name, tally in scores_.count_tile(tile).items()})
    return scores_.add_counts(counts)


@pytest.fixture(scope="module")
def two_models() -> xr.Dataset:
    return scores_.compare(
        [scores_.assemble(name, tallies(skill), replicates=50) for name, skill in (("net", 0.9), ("rf", 0.4))]
    )


def test_every_score_has_a_name_units_interval_and_scenes(two_models: xr.Dataset) -> None:
    for name in scores_.ATTRIBUTES:
        assert two_models[name].dims[0] == "model"
        assert set(two_models[f"{name}_interval"].dims) == {"bound", *two_models[name].dims}
        assert set(two_models[f"{name}_by_scene"].dims) == {"scene", *two_models[name].dims}
        assert two_models[name].attrs["units"] and two_models[f"{name}_interval"].attrs["long_name"].endswith("interval")
    low, high = two_models["iou_interval"].transpose("bound", ...).values
    assert (low <= two_models["iou"].values).all() and (two_models["iou"].values <= high).all()
    assert (two_models["iou"].sel(model="net") > two_models["iou"].sel(model="rf")).all()


def test_pooled_is_not_the_mean_of_scenes_but_of_counts(two_models: xr.Dataset) -> None:
    scenes = two_models["accuracy_by_scene"].mean("scene")
    np.testing.assert_allclose(scenes, two_models["accuracy"])  # equal sizes: here they agree


def test_a_file_gives_back_the_same_scores(tmp_path, two_models: xr.Dataset) -> None:
    scores_.save(two_models, tmp_path / "scores.nc")
    xr.testing.assert_identical(scores_.load(tmp_path / "scores.nc"), two_models)
    with pytest.raises(VigieError, match="there are no scores"):
        scores_.load(tmp_path / "nothing.nc")


def test_tables_read_well(two_models: xr.Dataset) -> None:
    frame = scores_.table(two_models, ["iou", "boundary_median_m", "ece"], label="debris")
    assert frame.index.tolist() == ["net", "rf"]
    assert frame.columns.tolist() == [
        "iou", "boundary_median_m mapped to reference", "boundary_median_m reference to mapped", "ece",
    ]  # fmt: skip
    assert frame.loc["net", "iou"].startswith(f"{two_models['iou'].sel(model='net', label='debris').item():.3f} [")
    scenes = scores_.by_scene(two_models, "iou", "debris")
    assert scenes.columns.tolist() == ["126", "151", "3", "pooled"]
    out = Console(file=io.StringIO(), width=120)
    out.print(scores_.rich_table(scenes, "IoU of debris"))
    assert f"{scenes.loc['rf', 'pooled']:.3f}" in out.file.getvalue()  # type: ignore[attr-defined]


def test_runs_on_other_scenes_are_not_compared() -> None:
    one = scores_.assemble("a", tallies(0.5), replicates=5)
    with pytest.raises(VigieError, match="another 'scene'"):
        scores_.compare([one, scores_.assemble("b", tallies(0.5, ("3", "126")), replicates=5)])
    with pytest.raises(VigieError, match="names of their own"):
        scores_.compare([one, one])
    with pytest.raises(VigieError, match="nothing to compare"):
        scores_.compare([])


def test_faults_are_named(two_models: xr.Dataset) -> None:
    with pytest.raises(VigieError, match="did you mean 'iou'"):
        scores_.table(two_models, ["iuo"], "debris")
    with pytest.raises(VigieError, match="is by class"):
        scores_.table(two_models, ["iou"])
    with pytest.raises(VigieError, match="nothing to score"):
        scores_.add_counts([])
    with pytest.raises(VigieError, match="more than one value a model"):
        figures.score_bars(two_models, "iou")


def test_figures_draw_what_the_tables_say(two_models: xr.Dataset) -> None:
    counts = {name: tally.sum("scene") for name, tally in tallies(0.6).items()}
    diagram = figures.reliability_diagram(reliability(counts["calibration"]), ["debris"])
    line = diagram.axes[0].lines[1]
    np.testing.assert_allclose(line.get_ydata(), reliability(counts["calibration"])["came"].sel(label="debris"))
    bars = figures.score_bars(two_models, "iou", "debris", highlight="net")
    widths = [bar.get_width() for bar in bars.axes[0].patches]
    np.testing.assert_allclose(widths, two_models["iou"].sel(label="debris"))
    matrix = figures.confusion_matrix(counts["classes"].total["confusion"])
    assert [text.get_text() for text in matrix.axes[0].get_xticklabels()] == ["rock", "debris"]
    for figure in (diagram, bars, matrix):
        assert isinstance(figure, Figure)
        figure.savefig(io.BytesIO(), dpi=40)
