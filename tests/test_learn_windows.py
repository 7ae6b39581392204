"""Windows: a function of seed and step, inside the training regions, of one band set, the same from memory and from disk."""

import threading
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from vigie.core.cube import FLAGS, band_coordinates
from vigie.core.errors import VigieError
from vigie.core.legend import LabelLegend, Legend, LegendClass
from vigie.core.scene import Band
from vigie.learn.folds import FoldSettings, Region, SceneInfo, assign, check_classes, split
from vigie.learn.patches import LabelledScene, labels_shown
from vigie.learn.scaling import RobustScaling, measure
from vigie.learn.windows import WindowSettings, WindowSource, edge_weights, prefetch

LEAVES = Legend("g", (LegendClass(0, "land", "#888888"), LegendClass(1, "ice", "#00aaff"), LegendClass(2, "lake", "#0000ff")))
THREE = LabelLegend("three", {0: ("land", ("land",)), 1: ("ice", ("ice",)), 2: ("lake", ("lake",))})
ICE = LabelLegend("ice or not", {0: ("not ice", ("land", "lake")), 1: ("ice", ("ice",))})
BANDS = {
    "s2": [
        Band("red", "reflectance", "", 1, 10.0, "1", 0.665, 0.03),
        Band("nir", "reflectance", "", 2, 10.0, "1", 0.842, 0.1),
        Band("elevation", "terrain", "", 3, 30.0, "m"),
    ],
    "film": [Band("pan", "pan", "", 1, 6.0, "1", 0.6, 0.3)],
}
SCALING = RobustScaling()


def made(name, sensor="s2", shape=(90, 70), labels=THREE, lake=4, truth=None):
    """A scene whose first band tells row and column apart, with a small lake in one corner."""
    height, width = shape
    y, x = np.mgrid[:height, :width].astype(np.float64)
    observation = np.stack([1000 * y + x, np.sin(x / 5), y][: len(BANDS[sensor])])
    codes = (x > width / 2).astype(np.uint8)
    codes[:lake, :lake] = 2 if labels is THREE else 1
    flags = np.zeros(shape, np.uint8)
    flags[-3:] = FLAGS["cloud"]
    codes[:, -2:] = 255
    data = xr.Dataset(
        {
            "observation": (("band", "y", "x"), observation),
            "flags": (("y", "x"), flags),
            "truth": (("y", "x"), codes if truth is None else truth),
        },
        coords=band_coordinates(BANDS[sensor]),
        attrs={"scene": name},
    )

    def read(window):
        return data.isel({d: window[d] for d in ("y", "x")}).copy(deep=True)

    sizes = {"y": height, "x": width}
    return LabelledScene(name, read, sizes, measure(read, sizes, SCALING), labels, sensor)


def whole(scene):
    return Region(scene.id, {"y": slice(0, scene.sizes["y"]), "x": slice(0, scene.sizes["x"])}, 0)


def source(scenes, regions=None, seed=0, **wanted):
    wanted = {"size": 16, "batch": 4, "cache_gb": 1.0} | wanted
    return WindowSource(scenes, regions or [whole(s) for s in scenes], LEAVES, SCALING, WindowSettings(**wanted), seed)


def same(a, b):
    return a.scenes == b.scenes and all(
        torch.equal(getattr(a, n), getattr(b, n)) for n in ("x", "mask", "bands", "rows", "matrix", "weight")
    )


def corner(batch, scene):
    """Row and column of each window's corner, read back from the first band."""
    low, middle, high = (float(scene.statistics[n][0]) for n in SCALING.names)
    first = batch.x[:, 0, 0, 0].double() * (high - low) + middle
    row = ((first + 0.5) // 1000).long()
    return row.tolist(), (first - 1000 * row).round().long().tolist()


def test_a_batch_has_the_shapes_types_and_numbers_that_it_says():
    scene = made("a")
    batch = source([scene], edge_px=1).batch(0)
    assert batch.x.shape == (4, 2, 16, 16) and batch.x.dtype == torch.float32  # elevation is no input
    assert batch.mask.shape == (4, 2, 16, 16) and batch.bands.shape[0] == 2 and batch.rows.dtype == torch.int64
    assert batch.matrix.tolist() == np.eye(3).tolist() and batch.weight.shape == batch.rows.shape == (4, 16, 16)
    assert ((batch.weight > 0) == (batch.rows >= 0)).all() and batch.scenes == ("a",) * 4
    truth = scene.read(whole(scene).window)["truth"].values
    for i, (y, x) in enumerate(zip(*corner(batch, scene), strict=True)):
        expected = np.where(truth[y : y + 16, x : x + 16] == 255, -1, truth[y : y + 16, x : x + 16].astype(int))
        expected[max(0, 87 - y) :] = -1  # what is under a cloud is not learnt
        np.testing.assert_array_equal(batch.rows[i].numpy(), expected)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 10**9))
def test_batches_are_a_function_of_seed_and_step(seed, step):
    scenes = [made("a"), made("b", "film")]
    one, two = source(scenes, seed=seed), source(scenes, seed=seed, cache_gb=0.0)
    for other in range(3):
        two.batch(other)
    assert same(one.batch(step), two.batch(step))
    # Windows drawn for the rare lake all lie in its corner of the scene, and may be alike by chance.
    anywhere = source(scenes, seed=seed, rare_share=0.0)
    assert not same(anywhere.batch(step), anywhere.batch(step + 1))


def test_memory_and_disk_give_the_same_batches(monkeypatch):
    monkeypatch.setattr("vigie.learn.patches.BLOCK", 32)
    scenes = [made("a"), made("b", shape=(61, 83)), made("c", "film", labels=ICE)]
    sources = [source(scenes, cache_gb=room) for room in (1.0, 0.0, 1.2e-4)]
    assert [sum(place.whole is not None for place in s.places) for s in sources] == [3, 0, 1]
    for step in range(6):
        batches = [s.batch(step) for s in sources]
        assert same(batches[0], batches[1]) and same(batches[0], batches[2])


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 3), st.integers(0, 1000), st.sampled_from([0.0, 1.0]))
def test_windows_lie_inside_the_training_regions(fold, step, rare_share):
    scene = made("a", shape=(90, 88))
    regions = assign([SceneInfo("a", scene.sizes)], FoldSettings(by="block"))
    train, test = split(regions, fold, buffer_px=6)
    batch = source([scene], train, rare_share=rare_share, batch=16).batch(step)
    held = test[0].window
    for y, x in zip(*corner(batch, scene), strict=True):
        apart_y = y >= held["y"].stop + 6 or y + 16 <= held["y"].start - 6
        apart_x = x >= held["x"].stop + 6 or x + 16 <= held["x"].start - 6
        assert apart_y or apart_x


def test_every_place_is_drawn_alike_without_a_share_for_the_rare():
    scene = made("a", shape=(24, 40))
    drawn = source([scene], rare_share=0.0, batch=4000).batch(0)
    y, x = corner(drawn, scene)
    counts = np.histogram2d(y, x, bins=[np.arange(10), np.arange(26)])[0]
    assert counts.min() > 0
    # Chi-square over 9 x 25 corners: mean 224, standard deviation 21.
    assert ((counts - 4000 / 225) ** 2 / (4000 / 225)).sum() < 224 + 5 * 21


def test_the_rare_share_holds_the_rare_class():
    scene = made("a", shape=(300, 300))
    shares = {
        share: (source([scene], rare_share=share, batch=400).batch(0).rows == 2).flatten(1).any(1).float().mean().item()
        for share in (0.0, 0.5, 1.0)
    }
    assert shares[0.0] < 0.05 and 0.4 < shares[0.5] < 0.6 and shares[1.0] == 1.0


def test_a_batch_never_mixes_band_sets_or_label_legends():
    scenes = [made("a"), made("b", "film", labels=ICE), made("c", labels=ICE), made("d")]
    drawn = [set(source(scenes, balance=0.0).batch(step).scenes) for step in range(40)]
    assert all(names <= {"a", "d"} or len(names) == 1 for names in drawn)
    assert set().union(*drawn) == {"a", "b", "c", "d"}


def test_balance_gives_small_sensors_their_turn():
    scenes = [made("large", shape=(400, 400)), made("film", "film", shape=(60, 60))]
    share = {}
    for balance in (1.0, 0.0):
        windows = source(scenes, balance=balance, batch=1)
        share[balance] = np.mean([windows.batch(step).scenes[0] == "film" for step in range(200)])
    assert share[1.0] < 0.06 and 0.4 < share[0.0] < 0.6


def test_shares_say_how_often_a_sensor_is_drawn():
    scenes = [made("a"), made("b"), made("film", "film")]

    def film(**wanted):
        windows = source(scenes, balance=0.0, batch=1, **wanted)
        return np.mean([windows.batch(step).scenes[0] == "film" for step in range(400)])

    assert film() == pytest.approx(1 / 2, abs=0.1)
    assert film(shares={"film": 3.0}) == pytest.approx(3 / 4, abs=0.1)
    assert film(shares={"film": 0.2}) == pytest.approx(1 / 6, abs=0.1)


@pytest.mark.parametrize("rare_share", [0.0, 1.0])
def test_shares_hold_between_sensors_of_the_same_bands(rare_share):
    scenes = [made("a"), replace(made("b"), sensor="s2b"), made("film", "film")]
    windows = source(scenes, balance=0.0, batch=1, rare_share=rare_share, shares={"s2b": 3.0})
    drawn = Counter(windows.batch(step).scenes[0] for step in range(600))
    # The band set of a and b weighs (1 + 3) / 2, film 1; within it b is drawn three times as often as a.
    assert [drawn[name] / 600 for name in ("a", "b", "film")] == pytest.approx([1 / 6, 1 / 2, 1 / 3], abs=0.07)


def test_shares_of_a_sensor_that_no_scene_is_of_are_refused():
    with pytest.raises(VigieError, match=r"no labelled scene is of sensor 'flim'(.|\n)*did you mean 'film'"):
        source([made("a"), made("b", "film")], shares={"flim": 2.0})


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3))
def test_edge_weights_equal_a_plain_search(seed, edge_px):
    rows = torch.from_numpy(np.random.default_rng(seed).choice([-1, 0, 0, 0, 0, 1, 2], (1, 9, 11), p=None))
    found = edge_weights(rows, edge_px, 0.3)[0]
    for y in range(9):
        for x in range(11):
            near = rows[0, max(0, y - edge_px) : y + edge_px + 1, max(0, x - edge_px) : x + edge_px + 1]
            mixed = len(set(near[near >= 0].tolist())) > 1
            expected = 0.0 if rows[0, y, x] < 0 else 0.3 if mixed else 1.0
            assert found[y, x].item() == pytest.approx(expected)


def test_labels_shown_feed_the_check_of_folds():
    lake = made("lake")
    dry = made("dry", truth=np.full((90, 70), 1, np.uint8) - np.eye(90, 70, dtype=np.uint8))
    scenes = {scene.id: scene for scene in (lake, dry)}
    regions = [whole(scene) for scene in scenes.values()]

    def labels(region):
        return labels_shown(scenes[region.scene], region.window, SCALING.max_pixels)

    assert labels(regions[1]) == {frozenset({"land"}), frozenset({"ice"})}
    with pytest.raises(VigieError, match="ice from lake, lake from land"):
        check_classes(regions, regions[1:], labels)


def test_large_scenes_are_counted_on_a_lattice():
    scene = made("a", shape=(600, 600))
    coarse = WindowSource([scene], [whole(scene)], LEAVES, RobustScaling(max_pixels=2**16), WindowSettings(size=16, cache_gb=0))
    fine = source([scene])
    for name in ("land", "ice"):
        estimate, count = (s.places[0].labels.counts[name] for s in (coarse, fine))
        assert estimate == pytest.approx(count, rel=0.15)


def test_errors_teach():
    scene = made("a")
    with pytest.raises(VigieError, match=r"nothing to learn from.*at least 100 x 100"):
        source([scene], size=100)
    with pytest.raises(VigieError, match="nothing to learn from"):
        source([made("b", truth=np.full((90, 70), 255, np.uint8))])
    with pytest.raises(VigieError, match=r"codes that legend 'three' does not know; found \[9\]"):
        source([made("c", truth=np.full((90, 70), 9, np.uint8))])
    bare = LabelledScene("d", lambda w: scene.read(w).drop_vars("truth"), scene.sizes, scene.statistics, THREE, "s2")
    with pytest.raises(VigieError, match="scene 'd' has no labels"):
        source([bare])


def test_prefetch_keeps_the_order_and_stays_within_its_depth():
    made_, taken = [], []

    def items():
        for n in range(50):
            made_.append(n)
            assert n - len(taken) <= 4
            yield n

    for n in prefetch(items(), 3):
        taken.append(n)
    assert taken == made_ == list(range(50))
    assert list(prefetch(iter("abc"), 0)) == list("abc")


def test_prefetch_raises_what_failed_and_stops_when_closed():
    def failing():
        yield 1
        raise VigieError("the disk is gone")

    stream = prefetch(failing(), 2)
    assert next(stream) == 1
    with pytest.raises(VigieError, match="disk is gone"):
        next(stream)
    endless = prefetch(iter(int, 1), 2)
    assert next(endless) == 0
    endless.close()
    assert not [t for t in threading.enumerate() if t.name == "prefetch"]
