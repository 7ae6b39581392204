"""The benchmark of scores agrees everywhere, and would say so if it did not."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def bench(load_benchmark):
    return load_benchmark("precipitation_scores")


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
@pytest.mark.parametrize(
    ("section", "number"), [("of_quantiles", 3), ("of_members", 8), ("of_detections", 5), ("of_fractions", 3)]
)
def test_every_score_is_that_of_another_library(bench, section, number):
    found = list(getattr(bench, section)())
    assert len(found) == number
    assert [f"{one.what}: {one.difference}" for one in found if not one.met] == []
    assert all(np.isfinite(one.ours).any() for one in found if one.what != "FSS, dry")


def test_a_difference_is_noticed(bench):
    one = np.array([1.0, np.nan])
    assert bench.Comparison("a", "b", one, one).met
    assert not bench.Comparison("a", "b", one, one + 1e-8).met
    assert not bench.Comparison("a", "b", one, np.array([1.0, 2.0])).met
    assert not bench.Comparison("a", "b", np.array([1.0, 2.0]), one).met
