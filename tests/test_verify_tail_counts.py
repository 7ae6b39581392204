"""Tails from counts: what all rows at once give, to the width of a bin, in whatever blocks rows come."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from vigie.core.errors import VigieError
from vigie.verify.tail_counts import EDGES, VALUE_ERROR, count_tails, finish_tails, largest
from vigie.verify.tails import tail_statistics
from vigie.verify.tally import add_all


def rain(seed: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    truth = random.gamma(0.3, 4.0, rows) * (random.random(rows) < 0.6)
    samples = random.gamma(0.4, 3.0, (4, rows)) * (random.random((4, rows)) < 0.5)
    return samples, truth


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), rows=st.integers(20, 3000))
def test_counts_give_what_all_rows_at_once_give(seed, rows):
    samples, truth = rain(seed, rows)
    found, exact = finish_tails(count_tails(samples, truth)), tail_statistics(samples, truth)
    # Below 0.001 mm/h rain counts as none, and ratios divide two values that are both known to a bin.
    for name in ("sample_quantile", "truth_quantile"):
        np.testing.assert_allclose(found[name], exact[name], rtol=VALUE_ERROR, atol=1e-3)
    np.testing.assert_allclose(found["max_ratio"], exact["max_ratio"], rtol=2.1 * VALUE_ERROR)
    np.testing.assert_allclose(found["wet_ratio"], exact["wet_ratio"], rtol=1e-12)
    scale = max(truth.mean(), samples.mean())
    np.testing.assert_allclose(found["wasserstein"], exact["wasserstein"], atol=2.1 * VALUE_ERROR * scale + 1e-3)


def test_ratios_of_high_quantiles_are_known_to_a_fifth_of_a_per_cent():
    samples, truth = rain(3, 20_000)
    found, exact = finish_tails(count_tails(samples, truth)), tail_statistics(samples, truth)
    for name in ("p99_ratio", "p999_ratio"):
        np.testing.assert_allclose(found[name], exact[name], rtol=0.0024)


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(1, 499), min_size=1, max_size=5, unique=True))
def test_blocks_add_exactly(cuts):
    samples, truth = rain(1, 500)
    rows = np.split(np.arange(500), sorted(cuts))
    parts = add_all(count_tails(samples[:, part], truth[part]) for part in rows)
    whole = count_tails(samples, truth)
    xr.testing.assert_identical(parts.total, whole.total)
    xr.testing.assert_identical(parts.weight, whole.weight)


def test_rows_with_anything_unknown_do_not_count():
    tally = count_tails(np.array([[1.0, np.nan, 3.0]]), np.array([1.0, 2.0, np.nan]))
    assert int(tally.weight["truth"]) == int(tally.total["truth"].sum()) == 1


def test_the_limit_of_wet_samples_is_an_edge():
    assert 0.1 in EDGES
    tails = finish_tails(count_tails(np.array([[0.1, 0.0999]]), np.array([0.1, 0.1])))
    assert float(tails["wet_ratio"][0]) == 0.5


def test_the_largest_values_are_those_of_a_sort():
    _, truth = rain(5, 400)
    found = largest(count_tails(truth[None], truth).total["truth"].values, 30)
    np.testing.assert_allclose(found, np.sort(truth)[::-1][:30], rtol=VALUE_ERROR)


def test_nothing_to_score_is_told():
    with pytest.raises(VigieError, match="nothing to score"):
        finish_tails(count_tails(np.full((1, 2), np.nan), np.zeros(2)))
    with pytest.raises(VigieError, match="do not fit together"):
        count_tails(np.zeros((1, 3)), np.zeros(2))
