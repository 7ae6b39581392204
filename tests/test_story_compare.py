"""Scores that several runs share, and facts that several models do: what is written is what is read."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from vigie.core.errors import VigieError
from vigie.story.compare import cautions_of, compare, figure_of, merged_scores, read_group
from vigie.story.report import shared_facts


def test_a_group_keeps_the_coordinates_it_shares_with_the_group_above(tmp_path):
    names = {"label": ["land", "water"]}
    tree = xr.DataTree.from_dict(
        {
            "/ice": xr.Dataset({"iou": ("label", [0.5, 0.6])}, names | {"model": ["model"]}),
            "/ice/reliability": xr.Dataset({"said": (("label", "bin"), np.ones((2, 3)))}, names),
        }
    )
    path = tmp_path / "scores.nc"
    tree.to_netcdf(path, engine="h5netcdf")
    found = read_group(path, "ice/reliability")
    assert found["label"].values.tolist() == ["land", "water"]
    assert "model" not in found.coords


def test_a_reference_method_appears_again_where_its_scores_differ(tmp_path):
    for run, iou in (("one", 0.5), ("two", 0.5), ("three", 0.7)):
        variables = {
            "iou": (("model", "label"), [[0.8], [iou]]),
            "iou_interval": (("model", "label", "bound"), np.random.default_rng(len(run)).random((2, 1, 2))),
            "iou_by_scene": (("model", "label", "scene"), [[[0.8]], [[iou]]]),
        }
        names = {"label": ["ice"], "model": ["model", "forest"], "scene": ["a"], "bound": ["low", "high"]}
        (tmp_path / run).mkdir()
        xr.DataTree.from_dict({"/ice": xr.Dataset(variables, names)}).to_netcdf(tmp_path / run / "scores.nc", engine="h5netcdf")
    merged = merged_scores([tmp_path / run for run in ("one", "two", "three")], "ice")
    assert merged["model"].values.tolist() == ["one", "forest", "two", "three", "forest of three"]
    assert merged["iou"].sel(label="ice").values.tolist() == [0.8, 0.5, 0.8, 0.8, 0.7]


@pytest.fixture
def scored(tmp_path: Path) -> Path:
    """A run that has scores and nothing else."""
    names = {"label": ["ice"], "model": ["model"], "scene": ["a"]}
    values = {"iou": (("model", "label"), [[0.8]]), "iou_by_scene": (("model", "label", "scene"), [[[0.8]]])}
    (tmp_path / "one").mkdir()
    xr.DataTree.from_dict({"/ice": xr.Dataset(values, names)}).to_netcdf(tmp_path / "one" / "scores.nc", engine="h5netcdf")
    return tmp_path / "one"


@pytest.mark.parametrize("keep", [0, 1000])
def test_what_is_not_the_scores_of_a_run_is_told(scored, keep):
    spoilt = scored.with_name("two")
    spoilt.mkdir()
    (spoilt / "scores.nc").write_bytes((scored / "scores.nc").read_bytes()[:keep] or b"my own notes")
    with pytest.raises(VigieError, match=r"two/scores.nc is not the scores of a run; .*delete it and run `vigie verify` again"):
        compare([scored, spoilt], scored.parent / "comparison")
    assert not (scored.parent / "comparison").exists()


def test_a_run_is_not_compared_with_itself(scored, monkeypatch):
    monkeypatch.chdir(scored.parent)
    with pytest.raises(VigieError, match=r"the same run is named twice; found .*one and one; expected runs that differ"):
        compare([scored, Path("one")], scored.parent / "comparison")


def test_models_share_what_their_cards_agree_on():
    facts = {"experiment": "demo", "sensors": ["film"], "limits": ["test elsewhere"]}
    card = {"vigie": "0.1.0", "legend": {"classes": [{"name": "ice"}]}, "facts": facts}
    card["scaling"] = {"reflectances": "colour", "percentiles": [16.0, 50.0, 84.0], "clip": 10.0}
    alike = shared_facts([card])
    assert alike["sensors"] == "film" and "seed" not in alike and alike["classes"] == "ice"
    other = card | {"facts": facts | {"sensors": ["landsat"]}}
    assert shared_facts([card, other]) == {name: text for name, text in alike.items() if name != "sensors"}


def test_what_to_mind_of_any_runs_intervals_is_said_once(tmp_path):
    names = {"model": ["model"], "label": ["ice"], "bound": ["low", "high"], "scene": ["a"]}
    values = {"iou": (("model", "label"), [[0.8]]), "iou_interval": (("model", "label", "bound"), [[[0.7, 0.9]]])}
    scores = xr.Dataset(values | {"iou_by_scene": (("model", "label", "scene"), [[[0.8]]])}, names)
    for run, caution in (("one", ""), ("two", "few groups"), ("three", "few groups")):
        (tmp_path / run).mkdir()
        content = {"/ice": scores.assign_attrs(caution=caution)}
        xr.DataTree.from_dict(content).to_netcdf(tmp_path / run / "scores.nc", engine="h5netcdf")
    runs = [tmp_path / run for run in ("one", "two", "three")]
    assert cautions_of(runs) == ["few groups"] and cautions_of(runs[:1]) == []
    panels = [("ice", scores, "ice")]
    assert figure_of(panels, {}, ["few groups"]).get_supxlabel().endswith("\nfew groups")
