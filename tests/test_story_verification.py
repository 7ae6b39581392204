"""Reference methods are asked about whole scenes, within the memory, and truth under clouds does not count."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import xarray as xr

from vigie.core.cube import FLAGS
from vigie.core.errors import VigieError
from vigie.core.legend import LabelLegend
from vigie.core.tiles import Window
from vigie.story import baselines
from vigie.story.scenes import Part
from vigie.story.verification import Trial, baseline_tiles, whole_scene

ICE = LabelLegend("ice", {0: ("not ice", ("land",)), 1: ("ice", ("ice",))})
LEFT: Window = {"y": slice(0, 4), "x": slice(0, 3)}


@dataclass(frozen=True)
class Reader:
    """A scene in memory, as what is read of a cube."""

    dataset: xr.Dataset
    group: str = "grid/made"

    @property
    def sizes(self) -> dict[str, int]:
        return {"y": self.dataset.sizes["y"], "x": self.dataset.sizes["x"]}

    def __call__(self, window: Window) -> xr.Dataset:
        return self.dataset.isel(window)


@dataclass(frozen=True)
class Column:
    """A method that says where it is asked, by the column of the whole scene."""

    def probability(self, scene: xr.Dataset) -> np.ndarray:
        column = np.broadcast_to(np.arange(scene.sizes["x"]) / 10, scene["flags"].shape)
        return np.where(scene["asked"].values, np.stack([1 - column, column]), np.nan)


@pytest.fixture
def reader() -> Reader:
    flags = np.zeros((4, 6), np.uint8)
    flags[0, 0], flags[1, 1], flags[2, 2] = FLAGS["cloud"], FLAGS["nodata"], FLAGS["shadow"]
    return Reader(
        xr.Dataset({"flags": (("y", "x"), flags), "truth": (("y", "x"), np.ones((4, 6), np.uint8))}, attrs={"scene": "made"})
    )


def test_a_part_is_predicted_in_its_scene_and_its_hidden_truth_does_not_count(reader: Reader) -> None:
    trial = Trial(Part("made.1", "made", {"y": slice(0, 4), "x": slice(1, 3)}, 0), ICE, reader, 10.0, "made")  # type: ignore[arg-type]
    (tile,) = baseline_tiles(trial, Column())
    np.testing.assert_allclose(tile.probability[1], np.broadcast_to([0.1, 0.2], (4, 2)), rtol=1e-6)
    assert tile.rows.tolist() == [[1, 1], [-1, 1], [1, 1], [1, 1]]


def test_scenes_are_read_whole_and_once_with_all_their_windows(reader: Reader) -> None:
    scene = whole_scene(reader, [LEFT, {"y": slice(0, 1), "x": slice(5, 6)}])  # type: ignore[arg-type]
    assert scene.sizes == reader.dataset.sizes
    assert scene["asked"].values.tolist()[:2] == [[True] * 3 + [False, False, True], [True] * 3 + [False] * 3]


def test_scenes_too_large_to_learn_from_are_refused(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "WHOLE_SCENE_PIXELS", 23)
    with pytest.raises(VigieError, match="baselines need 'made' in memory"):
        whole_scene(reader, [LEFT])  # type: ignore[arg-type]
