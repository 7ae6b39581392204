"""scores.nc: dimensions, units, intervals, files and tables; figures draw what the tables say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from vigie.core.errors import VigieError
from vigie.verify import figures
from vigie.verify import scores as scores_
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


def test_pooled_is_not_the_mean_of_scenes_but_of_counts() -> None:
    def scene(name: str, width: int, right: bool) -> dict[str, Tally]:
        rows = np.zeros((4, width), np.int16)
        p = np.full((4, width), float(not right), np.float32)
        tile = LabelledTile(np.stack([1 - p, p]), rows, ("rock", "debris"), 10.0)
        return {key: tally.at(scene=name) for key, tally in scores_.count_tile(tile).items()}

    table = scores_.assemble("net", scores_.add_counts([scene("large", 9, True), scene("small", 1, False)]), replicates=5)
    assert table["accuracy_by_scene"].sel(model="net").values.tolist() == [1.0, 0.0]
    assert table["accuracy"].item() == pytest.approx(0.9)


def test_scenes_of_one_group_are_resampled_together() -> None:
    counts, names = tallies(0.5), ("3", "126", "151")
    alone = scores_.assemble("net", counts, replicates=50)
    assert alone["iou_interval"].notnull().all()
    assert alone.attrs["intervals"].endswith("50 bootstrap resamples of 3 groups of scenes")
    pairs = scores_.assemble("net", counts, groups={"3": "a", "126": "a", "151": "b"}, replicates=50)
    assert pairs.attrs["intervals"].endswith("2 groups of scenes")
    assert "fewer than 10" in alone.attrs["caution"] and "2 groups" in pairs.attrs["caution"]
    assert not pairs["iou_interval"].equals(alone["iou_interval"])
    one = scores_.assemble("net", counts, groups=dict.fromkeys(names, "a"), replicates=50)
    none = scores_.assemble("net", counts, replicates=0)
    for scores, why in ((one, "one group"), (none, "verify.bootstrap = 0")):
        assert scores["iou_interval"].isnull().all() and why in scores.attrs["intervals"] and not scores.attrs["caution"]
        xr.testing.assert_identical(scores["iou"], alone["iou"])
        assert "nan" not in scores_.table(scores, ["iou"], "debris").to_string()
    assert "label" in alone.attrs["decision"]


def test_a_file_gives_back_the_same_scores(tmp_path: Path, two_models: xr.Dataset) -> None:
    scores_.save(two_models, tmp_path / "scores.nc")
    xr.testing.assert_equal(xr.load_dataset(tmp_path / "scores.nc"), two_models)


def test_tables_read_well(two_models: xr.Dataset) -> None:
    frame = scores_.table(two_models, ["iou", "boundary_median_m", "ece"], label="debris")
    assert frame.index.tolist() == ["net", "rf"]
    assert frame.columns.tolist() == [
        "iou", "boundary_median_m mapped to reference", "boundary_median_m reference to mapped", "ece",
    ]  # fmt: skip
    assert frame.loc["net", "iou"].startswith(f"{two_models['iou'].sel(model='net', label='debris').item():.3f} [")


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
        figures.draw_bars(Figure().add_subplot(), two_models, "iou")


def test_bars_draw_what_the_tables_say(two_models: xr.Dataset) -> None:
    axes = Figure().add_subplot()
    figures.draw_bars(axes, two_models, "iou", "debris", {"net"})
    np.testing.assert_allclose([bar.get_width() for bar in axes.patches], two_models["iou"].sel(label="debris"))
    figures.draw_bars(Figure().add_subplot(), scores_.assemble("net", tallies(0.5), replicates=0), "iou", "debris")
