"""Bootstrap intervals: seeded, equal to brute-force resampling, and as wide as theory says."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from vigie.core.errors import VigieError
from vigie.verify.bootstrap import interval, resample
from vigie.verify.classes import LabelledTile, count_classes, finish_classes
from vigie.verify.tally import Tally, add_all


def means(values: np.ndarray) -> Tally:
    scenes = {"scene": [str(i) for i in range(len(values))]}
    total = xr.Dataset({"e": ("scene", values)}, coords=scenes)
    return Tally(total, xr.Dataset({"e": ("scene", np.ones(len(values), np.int64))}, coords=scenes))


def test_the_interval_of_a_mean_has_the_width_of_theory() -> None:
    values = np.random.default_rng(0).normal(5.0, 2.0, 400)
    bounds = interval(means(values), Tally.mean, "scene", replicates=4000)["e"]
    half = 1.96 * values.std() / np.sqrt(400)
    np.testing.assert_allclose(bounds.values, [values.mean() - half, values.mean() + half], rtol=0.01)


def test_pooling_draws_equals_adding_tallies() -> None:
    rng = np.random.default_rng(1)
    tallies = [
        count_classes(LabelledTile(rng.dirichlet([1, 1], (5, 5)).transpose(2, 0, 1).astype(np.float32),
                                   rng.integers(-1, 2, (5, 5)).astype(np.int16), ("a", "b"), 10.0)).at(scene=str(i))
        for i in range(4)
    ]  # fmt: skip
    drawn = resample(add_all(tallies), "scene", replicates=5, seed=3)
    counts = np.random.default_rng(3).multinomial(4, np.full(4, 0.25), size=5)
    for replicate, row in enumerate(counts):
        by_hand = add_all([tallies[i].sum("scene") for i in range(4) for _ in range(row[i])])
        xr.testing.assert_allclose(drawn.map(lambda d: d.isel(replicate=replicate)).total, by_hand.total)  # noqa: B023
        np.testing.assert_allclose(finish_classes(drawn)["iou"][replicate], finish_classes(by_hand)["iou"])


def test_the_same_seed_gives_the_same_interval() -> None:
    tally = means(np.arange(9.0))
    first, second, other = (interval(tally, Tally.mean, "scene", seed=seed)["e"].values for seed in (0, 0, 1))
    assert (first == second).all() and (first != other).any()


def test_one_scene_has_no_interval() -> None:
    assert np.isnan(interval(means(np.array([1.0])), Tally.mean, "scene")["e"]).all()


def test_no_replicates_give_no_interval() -> None:
    assert np.isnan(interval(means(np.arange(9.0)), Tally.mean, "scene", replicates=0)["e"]).all()


def test_intervals_of_groups_cover_and_those_of_scenes_do_not() -> None:
    """Thirty places, each seen by four scenes that err alike: the mean error of another thirty places is 0."""
    rng, hits, scenes = np.random.default_rng(5), {"group": 0, "scene": 0}, [str(i) for i in range(120)]
    groups = {scene: str(i // 4) for i, scene in enumerate(scenes)}
    for trial in range(200):
        tally = means(np.repeat(rng.normal(0, 1, 30), 4) + rng.normal(0, 0.2, 120))
        for dim, units in (("group", tally.regroup("scene", "group", groups)), ("scene", tally)):
            low, high = interval(units, Tally.mean, dim, replicates=300, seed=trial)["e"].values
            hits[dim] += low <= 0 <= high
    assert 0.90 <= hits["group"] / 200 <= 0.98
    assert hits["scene"] / 200 < 0.75


def test_faults_are_named() -> None:
    with pytest.raises(VigieError, match="no 'block' to resample"):
        interval(means(np.arange(3.0)), Tally.mean, "block")
    with pytest.raises(VigieError, match="level is a share"):
        interval(means(np.arange(3.0)), Tally.mean, "scene", level=95)
