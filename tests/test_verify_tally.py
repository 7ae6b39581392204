"""Tallies add in any order and partition, and keep labels apart."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from vigie.core.errors import VigieError
from vigie.verify.classes import LabelledTile, count_classes
from vigie.verify.tally import Tally, add_all, field_tally


def tile_of(rows: np.ndarray, decided: np.ndarray, n: int = 3) -> LabelledTile:
    probability = np.eye(n, dtype=np.float32)[decided].transpose(2, 0, 1)
    return LabelledTile(probability, rows.astype(np.int16), tuple("abcdef"[:n]), 10.0)


maps = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).integers(-1, 3, (2, 8, 6)))


@settings(max_examples=25, deadline=None)
@given(maps, st.lists(st.integers(1, 7), max_size=3, unique=True), st.randoms())
def test_any_partition_in_any_order_adds_to_the_whole(pair: np.ndarray, cuts: list[int], random: object) -> None:
    rows, decided = pair[0], np.maximum(pair[1], 0)
    parts = [
        count_classes(tile_of(r, d)) for r, d in zip(np.split(rows, sorted(cuts)), np.split(decided, sorted(cuts)), strict=True)
    ]
    random.shuffle(parts)  # type: ignore[attr-defined]
    whole = count_classes(tile_of(rows, decided))
    xr.testing.assert_identical(add_all(parts).total["confusion"], whole.total["confusion"])
    xr.testing.assert_allclose(add_all(parts).total, whole.total)
    xr.testing.assert_identical(add_all(parts).weight, whole.weight)


def test_labels_are_kept_apart_and_grouped() -> None:
    tallies = {
        name: Tally(xr.Dataset({"e": value}), xr.Dataset({"e": 1}))
        for name, value in {"3": 1.0, "155": 2.0, "157": 4.0}.items()
    }
    scenes = add_all(tally.at(scene=name) for name, tally in tallies.items())
    assert scenes.total["e"].sel(scene="157").item() == 4.0
    regions = scenes.regroup("scene", "region", {"3": "Sikkim", "155": "Everest", "157": "Everest"})
    assert regions.mean()["e"].sel(region="Everest").item() == 3.0
    assert scenes.sum("scene").total["e"].item() == 7.0
    with pytest.raises(VigieError, match="belong to no region"):
        scenes.regroup("scene", "region", {"3": "Sikkim"})


def test_the_same_scene_counted_in_tiles_adds_up() -> None:
    part = Tally(xr.Dataset({"e": 1}), xr.Dataset({"e": 1})).at(scene="a")
    assert (part + part).total["e"].values.tolist() == [2]


def test_field_tallies_are_nan_aware_means() -> None:
    values = np.array([[1.0, np.nan], [3.0, 5.0]])
    tally = field_tally({"x": xr.DataArray(values, dims=("y", "x"))}, over=("y", "x"))
    assert tally.mean()["x"].item() == np.nanmean(values)


def test_nothing_counted_is_nan_not_zero() -> None:
    tally = field_tally({"x": xr.DataArray([np.nan], dims="x")}, over=["x"])
    assert np.isnan(tally.mean()["x"])


def test_faults_are_named() -> None:
    one = Tally(xr.Dataset({"a": 1}), xr.Dataset({"a": 1}))
    with pytest.raises(VigieError, match="different statistics"):
        _ = one + Tally(xr.Dataset({"b": 1}), xr.Dataset({"b": 1}))
    with pytest.raises(VigieError, match="one weight for each total"):
        Tally(xr.Dataset({"a": 1}), xr.Dataset({"b": 1}))
    with pytest.raises(VigieError, match="nothing to score"):
        add_all([])
