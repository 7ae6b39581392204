"""The benchmark of single pixels: Landsat's offset comes from the sensor's file, and colour crosses from sensor to sensor."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from vigie.verify.baselines import random_forest
from vigie.verify.classes import finish_classes

pytestmark = pytest.mark.realdata
FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def bench(samples, monkeypatch, load_benchmark):
    monkeypatch.setenv("VIGIE_SAMPLES", str(samples))
    return [load_benchmark(name) for name in ("glaciers_data", "glaciers_pixels")][-1]


def test_colour_beats_the_notes_features_from_sentinel_2_to_landsat_at_new_sites(bench):
    rows = {row.title: row for row in bench.rows()}
    stored, mended = (
        rows[title].test["Gulkana"]["observation"].values for title in ("S2 -> Landsat as stored", "S2 -> Landsat")
    )
    np.testing.assert_allclose(stored - mended, 0.2, atol=1e-6)
    assert sum(scene.sizes["x"] for scene in rows["S2 -> Landsat"].learn.values()) == pytest.approx(11_729, abs=10)
    found = {}
    for name in ("notes", "colour"):
        scores = finish_classes(bench.tested(rows[bench.TRANSFER], bench.RECIPES[name], partial(random_forest, 10, 3)))
        found[name] = float(scores["accuracy"]), float(scores["f1"].mean())
    assert found["notes"] == (pytest.approx(0.676, abs=0.04), pytest.approx(0.415, abs=0.03))
    assert found["colour"][0] > bench.BAR_ACCURACY + 0.08 and found["colour"][1] > bench.BAR_F1 + 0.06
