"""The benchmark's scenes: what is seen loosely tells less of rain, and says nothing of places where nothing is."""

from __future__ import annotations

import numpy as np
import pytest

from vigie.core.swath import Channel
from vigie.synthetic.orbit import GMI

SPACING_KM, QUIET = (4.5, 4.5), [0.0]
EIGHTY_NINE: list[Channel] = [channel for channel in GMI if channel.name == "89.00V"]


@pytest.fixture
def scenes(load_benchmark):
    return load_benchmark("precipitation_scenes")


def state(rain: np.ndarray) -> dict[str, np.ndarray]:
    same = {"water_vapour": 40.0, "skin_temperature": 298.0, "wind_speed": 7.0, "land_fraction": 0.0}
    fields = {name: np.full(rain.shape, value) for name, value in same.items()}
    return fields | {"rain_rate": rain, "cloud_liquid": 0.1 * rain**0.5, "ice_water_path": 0.28 * rain**0.6}


def test_clear_sky_looks_the_same(scenes):
    clear = state(np.zeros((20, 20)))
    seen = [look(clear, EIGHTY_NINE, SPACING_KM, QUIET, 3) for look in (scenes.observe, scenes.observe_loosely)]
    np.testing.assert_array_equal(*seen)


def test_rain_is_told_less_of_and_the_same_seed_sees_the_same(scenes):
    rain = np.random.default_rng(0).gamma(1.0, 2.0, (60, 60))
    tight = scenes.observe(state(rain), EIGHTY_NINE, SPACING_KM, QUIET, 3)[..., 0]
    loose = scenes.observe_loosely(state(rain), EIGHTY_NINE, SPACING_KM, QUIET, 3)[..., 0]
    told = [abs(np.corrcoef(np.log(rain).ravel(), seen.ravel())[0, 1]) for seen in (tight, loose)]
    assert told[1] < told[0] - 0.1
    np.testing.assert_array_equal(loose, scenes.observe_loosely(state(rain), EIGHTY_NINE, SPACING_KM, QUIET, 3)[..., 0])


def test_trees_are_told_what_they_learn_from_and_scored_on_the_rest(scenes, capsys):
    rng = np.random.default_rng(0)
    rain = rng.gamma(1.0, 2.0, 400)
    temperature = np.column_stack([rain, rain + rng.normal(0, 1, 400)])
    rows = scenes.Rows(temperature, ("36.64V", "183.31+-7V"), rain, np.zeros((400, 1)), np.arange(400) < 300)
    scenes.told("known", rows)
    out = capsys.readouterr().out
    assert "300 footprints to learn from, 100 others" in out and "left open, K: 36.64V" in out
    found = scenes.predicted(temperature[:, :1], rain, rows.learnt)
    assert np.corrcoef(found, rain[300:])[0, 1] > 0.98
