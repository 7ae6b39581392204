"""Observed and simulated labels together: quantiles that match, weights that add up, and two phases."""

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mstats

from vigie.core.errors import VigieError
from vigie.learn.fit import FitSettings
from vigie.learn.hybrid import LabelMap, fit_label_map, pretrain_finetune, source_weights


def rain(count, seed, scale=1.0):
    return scale * np.random.default_rng(seed).gamma(0.6, 2.0, count)


def test_mapped_labels_have_the_targets_quantiles():
    source, target = rain(5000, 0, scale=0.3), rain(3000, 1) ** 1.3
    found = fit_label_map(source, target, levels=200)
    middles = (np.arange(200) + 0.5) / 200
    assert np.allclose(found(np.quantile(source, middles)), np.quantile(target, middles), rtol=1e-12)
    # scipy's empirical quantiles (Hazen's) of the whole mapped sample, between knots as well.
    levels = [0.11, 0.21, 0.5, 0.77, 0.9, 0.98]
    theirs = [mstats.mquantiles(values, levels, 0.5, 0.5) for values in (found(source), target)]
    assert np.allclose(*theirs, rtol=0.03)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.integers(1, 50))
def test_maps_are_monotone_and_keep_zero_and_gaps(seed, levels):
    found = fit_label_map(rain(40, seed), rain(30, seed + 1), levels)
    mapped = found(np.linspace(0.0, 100.0, 2001))
    assert mapped[0] == 0 and (np.diff(mapped) >= 0).all() and np.isnan(found(np.array([np.nan])))[0]


def test_a_known_monotone_map_is_found_again():
    truth = rain(20_000, 3)
    found = fit_label_map(truth**2, truth)
    inside = np.quantile(truth, [0.1, 0.5, 0.9])
    assert np.allclose(found(inside**2), inside, rtol=0.02)


def test_beyond_the_last_knot_labels_grow_in_proportion():
    found = LabelMap((1.0, 4.0), (2.0, 20.0))
    assert found(np.array([4.0, 8.0])).tolist() == [20.0, 40.0]
    assert LabelMap(**asdict(found)) == found


def test_labels_that_are_alike_are_one_knot():
    found = fit_label_map(np.repeat([1.0, 2.0], 50), rain(500, 0), levels=10)
    middle = np.quantile(rain(500, 0), (np.arange(10) + 0.5) / 10)
    assert found.source == (1.0, 2.0) and found.target == pytest.approx((middle[:5].mean(), middle[5:].mean()))


def test_labels_that_cannot_be_matched_are_refused():
    with pytest.raises(VigieError, match="1 below 0"):
        fit_label_map(np.array([-1.0, 2.0]), rain(10, 0))
    with pytest.raises(VigieError, match="3 known"):
        fit_label_map(rain(10, 0), np.zeros(3))


@given(st.dictionaries(st.sampled_from(["dpr", "cmb", "era5"]), st.integers(1, 60), min_size=1))
def test_each_source_has_its_share_of_the_weight(rows):
    shares = {"dpr": 3.0, "cmb": 1.0, "era5": 1.0}
    weights, count = source_weights(rows, shares), sum(rows.values())
    assert sum(weights[name] * rows[name] for name in rows) == pytest.approx(count)
    for name in rows:
        assert weights[name] * rows[name] / count == pytest.approx(shares[name] / sum(shares[other] for other in rows))


def test_a_source_without_share_or_rows_takes_no_part():
    assert source_weights({"dpr": 5, "era5": 7, "cmb": 0}, {"dpr": 1.0, "cmb": 1.0}) == {"dpr": 1.0, "era5": 0.0}
    with pytest.raises(VigieError, match="have no weight"):
        source_weights({"dpr": 5}, {"era5": 1.0})


def test_two_phases_share_the_steps_and_the_second_is_gentler():
    whole = FitSettings(steps=1001, learning_rate=4e-3)
    first, second = pretrain_finetune(whole, ["era5"], ["dpr"], pretrain_share=0.4, gentler=0.25)
    assert first.settings.steps + second.settings.steps == 1001 and first.settings.steps == 400
    assert first.settings.rate(399) > 0 and second.settings.learning_rate == pytest.approx(1e-3)
    with pytest.raises(VigieError, match="1001 of 1001"):
        pretrain_finetune(whole, ["era5"], ["dpr"], pretrain_share=1.0)
