"""Folds: scenes are covered once, groups stay together, learning keeps its distance from testing."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from vigie.core.errors import VigieError
from vigie.learn.folds import FoldSettings, Region, SceneInfo, assign, check_classes, folds_of, merge, split

scene_lists = st.lists(
    st.tuples(
        st.integers(8, 60), st.integers(8, 60), st.sampled_from("AB"), st.sampled_from("NS"), st.sampled_from(["", "g", "h"])
    ),
    min_size=2,
    max_size=7,
).map(
    lambda rows: [
        SceneInfo(f"s{n}", {"y": y, "x": x}, sensor, region, group) for n, (y, x, sensor, region, group) in enumerate(rows)
    ]
)


def pixels(region):
    return {
        (region.scene, y, x)
        for y in range(region.window["y"].start, region.window["y"].stop)
        for x in range(region.window["x"].start, region.window["x"].stop)
    }


def covered(regions):
    return set().union(*(pixels(region) for region in regions))


def total(regions):
    return sum(len(pixels(region)) for region in regions)


def assigned(scenes, **wanted):
    try:
        return assign(scenes, FoldSettings(**wanted))
    except VigieError as error:
        assert "cannot make" in str(error)
        return []


@settings(max_examples=60, deadline=None)
@given(scene_lists, st.sampled_from(["scene", "block", "region", "sensor", "none"]), st.sampled_from([None, 2, 3]))
def test_every_pixel_is_in_one_region_and_groups_in_one_fold(scenes, by, count):
    regions = assigned(scenes, by=by, count=count)
    if not regions:
        return
    assert total(regions) == len(covered(regions)) == sum(scene.pixels for scene in scenes)
    folds = {scene.id: {r.fold for r in regions if r.scene == scene.id} for scene in scenes}
    for group in {scene.group for scene in scenes if scene.group}:
        members = [scene.id for scene in scenes if scene.group == group]
        if len(members) > 1:
            assert len(set().union(*(folds[m] for m in members))) == 1
    if by in ("region", "sensor"):
        for value in "ABNS":
            assert len(set().union(*(folds[s.id] for s in scenes if getattr(s, by) == value), set())) <= 1
    if by != "none" and count:
        assert folds_of(regions) == list(range(count))


@settings(max_examples=40, deadline=None)
@given(scene_lists, st.integers(0, 9), st.tuples(st.integers(1, 3), st.integers(1, 3)))
def test_learning_keeps_its_distance_and_loses_nothing_else(scenes, buffer_px, blocks):
    regions = assigned(scenes, by="block", blocks=blocks, buffer_px=buffer_px)
    for fold in folds_of(regions):
        try:
            train, test = split(regions, fold, buffer_px)
        except VigieError:
            continue
        held = covered(test)
        near = {
            (region.scene, y, x)
            for region in test
            for y in range(region.window["y"].start - buffer_px, region.window["y"].stop + buffer_px)
            for x in range(region.window["x"].start - buffer_px, region.window["x"].stop + buffer_px)
        }
        assert held == covered([r for r in regions if r.fold == fold])
        assert total(train) == len(covered(train))
        assert covered(train) == covered(regions) - near


def test_a_second_split_makes_a_validation_part():
    regions = assign([SceneInfo("a", {"y": 40, "x": 40})], FoldSettings(by="block", blocks=(2, 2)))
    rest, test = split(regions, 0, 4)
    train, validation = split(rest, 1, 4)
    assert not covered(train) & covered(validation) and not covered(validation) & covered(test)
    assert {r.fold for r in train} == {2, 3} and {r.fold for r in validation} == {1}


def test_the_near_chips_of_one_scene_are_held_out_together():
    chips = [SceneInfo(n, {"y": 5, "x": 5}, group="khumbu" if n in ("155", "157") else "") for n in ("3", "126", "155", "157")]
    regions = assign(chips, FoldSettings())
    assert {r.scene for r in split(regions, 2)[1]} == {"155", "157"}
    assert folds_of(regions) == [0, 1, 2]


def test_sensors_and_none():
    scenes = [SceneInfo(f"{sensor}{n}", {"y": 5, "x": 5}, sensor) for n in range(2) for sensor in ("film", "s2")]
    train, test = split(assign(scenes, FoldSettings(by="sensor")), 0)
    assert {r.scene for r in test} == {"film0", "film1"} and {r.scene for r in train} == {"s20", "s21"}
    everything = assign(scenes, FoldSettings(by="none"))
    assert folds_of(everything) == [] and split(everything, -1) == (everything, [])


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(10, 30))
def test_merge_keeps_the_area_and_joins_a_full_grid(rows, columns, size):
    settings_ = FoldSettings(by="block", blocks=(rows, columns))
    regions = assigned([SceneInfo("a", {"y": size, "x": size})], by="block", blocks=(rows, columns))
    if not regions:
        assert rows * columns == 1
        return
    joined = merge([region.window for region in regions])
    assert joined == [{"y": slice(0, size), "x": slice(0, size)}]
    train, _ = split(regions, 0, settings_.buffer_px and 1)
    parts = [Region("a", window, 0) for window in merge([region.window for region in train])]
    assert covered(parts) == covered(train) and total(parts) == total(train)


def test_a_class_that_only_the_test_shows_is_refused():
    regions = assign([SceneInfo(n, {"y": 5, "x": 5}) for n in ("film", "chip", "landsat")], FoldSettings())
    shown = {
        "film": [frozenset({"land"}), frozenset({"ice", "debris"})],
        "chip": [frozenset({"land", "ice"}), frozenset({"debris"})],
        "landsat": [frozenset({"land"}), frozenset({"ice"}), frozenset({"debris"})],
    }
    check_classes(regions, split(regions, 2)[0], lambda region: shown[region.scene])
    with pytest.raises(VigieError, match="debris from ice"):
        check_classes(regions, [r for r in regions if r.scene == "film"], lambda region: shown[region.scene])


@pytest.mark.parametrize("by", ["scene", "block"])
def test_what_is_always_learnt_from_is_never_held_out(by):
    scenes = [SceneInfo(n, {"y": 8, "x": 8}, sensor="s2", region=n) for n in "abc"] + [SceneInfo("f", {"y": 8, "x": 8}, "film")]
    regions = assign(scenes, FoldSettings(by=by, always=("film", "c"), buffer_px=0))
    assert folds_of(regions) == ([0, 1] if by == "scene" else [0, 1, 2, 3])
    for fold in folds_of(regions):
        train, test = split(regions, fold)
        assert {"c", "f"} <= {r.scene for r in train} and {r.scene for r in test} <= {"a", "b"}
    assert total(regions) == 4 * 64


def test_what_is_always_learnt_from_is_known_and_other_ground():
    scenes = [SceneInfo(n, {"y": 8, "x": 8}, sensor, group=g) for n, sensor, g in [("a", "s2", "g"), ("b", "film", "g")]]
    with pytest.raises(VigieError, match=r"no labelled scene is of 'flim'; expected of film, s2; .*did you mean 'film'"):
        assign(scenes, FoldSettings(always=("flim",)))
    with pytest.raises(VigieError, match="scene 'a' would be tested on ground that every fold learns from; found scene 'b'"):
        assign(scenes, FoldSettings(always=("film",)))


def test_errors_teach():
    two = [SceneInfo(n, {"y": 9, "x": 9}) for n in "ab"]
    with pytest.raises(VigieError, match="without a region"):
        assign(two, FoldSettings(by="region"))
    with pytest.raises(VigieError, match="used twice \\['a'\\]"):
        assign([two[0], two[0]], FoldSettings())
    with pytest.raises(VigieError, match="cannot make 3 folds"):
        assign(two, FoldSettings(count=3))
    with pytest.raises(VigieError, match="cannot make 2 folds"):
        assign(two[:1], FoldSettings())
    with pytest.raises(VigieError, match="nothing to test on"):
        split(assign(two, FoldSettings()), 7)
    with pytest.raises(VigieError, match="nothing to learn from"):
        split(assign(two[:1], FoldSettings(by="block")), 0, buffer_px=64)
    for wrong in ({"by": "pixel"}, {"buffer_px": -1}, {"count": 1}, {"random": True}):
        with pytest.raises(ValidationError):
            FoldSettings(**wrong)
