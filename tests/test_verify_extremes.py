"""Extremes: fits are scipy's, levels invert the distribution, intervals scatter as theory says, clusters are told apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import genextreme, genpareto

from vigie.core.errors import VigieError
from vigie.verify.extremes import Gev, Gpd, fit_exponential, fit_gev, fit_gpd, fit_gpd_with, return_interval
from vigie.verify.peaks import block_maxima, cluster_peaks, excesses_over


@pytest.mark.parametrize("shape", [-0.2, 0.0, 0.3])
def test_a_gpd_fit_is_scipys_and_its_unit_does_not_matter(shape):
    rain = 30 + genpareto.rvs(shape, scale=7, size=400, random_state=1)
    fit = fit_gpd(np.append(rain, [np.nan, 12.0]), 30.0, years=40)
    xi, _, sigma = genpareto.fit(rain - 30, floc=0)
    np.testing.assert_allclose([fit.scale, fit.shape], [sigma, xi], atol=2e-3)
    assert fit.log_score(rain) <= -genpareto.logpdf(rain - 30, xi, scale=sigma).mean() + 1e-9
    assert (fit.excesses, fit.per_year) == (400, 10.0)
    inches = fit_gpd(rain / 25.4, 30 / 25.4, years=40)
    np.testing.assert_allclose([inches.scale * 25.4, inches.shape], [fit.scale, fit.shape], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shape", [-0.2, 0.15])
def test_a_gev_fit_is_scipys_with_the_other_sign(shape):
    maxima = genextreme.rvs(-shape, 40, 9, size=150, random_state=2)
    fit = fit_gev(np.append(maxima, np.nan))
    c, location, scale = genextreme.fit(maxima)
    np.testing.assert_allclose([fit.location, fit.scale, fit.shape], [location, scale, -c], atol=2e-3)
    assert fit.log_score(maxima) == pytest.approx(-genextreme.logpdf(maxima, c, location, scale).mean(), abs=1e-6)
    assert fit.return_level(50) == pytest.approx(genextreme.isf(1 / 50, -fit.shape, fit.location, fit.scale))


@settings(max_examples=50)
@given(st.integers(-40, 40).map(lambda i: i / 100), st.floats(0.5, 30), st.floats(1.1, 1000))
def test_a_return_level_is_exceeded_once_in_its_years(shape, per_year, years):
    fit = Gpd(30.0, 7.0, shape, excesses=round(per_year * 100), years=100.0)
    expected = years * fit.per_year
    if expected > 1.001:
        tail = genpareto.sf(fit.return_level(years) - 30, shape, scale=7.0)
        assert float(tail) * expected == pytest.approx(1, rel=1e-6)
        assert float(fit.quantile(1 - 1 / expected)) == pytest.approx(float(fit.return_level(years)), rel=1e-6)


def test_shapes_near_zero_are_the_limit():
    close, limit = (Gpd(0.0, 2.0, xi, 300, 30.0) for xi in (1e-6, 0.0))
    assert close.return_level(100) == pytest.approx(limit.return_level(100), rel=1e-4)
    assert limit.return_level(100) == pytest.approx(2 * np.log(1000))
    assert Gev(1.0, 2.0, 1e-6, 30).return_level(100) == pytest.approx(Gev(1.0, 2.0, 0.0, 30).return_level(100), rel=1e-4)
    z = np.array([0.5, 3.0])
    assert close.log_score(z) == pytest.approx(limit.log_score(z), rel=1e-5)
    assert Gev(1.0, 2.0, 0.0, 30).log_score(z) == pytest.approx(-genextreme.logpdf(z, 0, 1, 2).mean())


def test_a_level_below_the_threshold_is_unknown():
    assert np.isnan(Gpd(30.0, 7.0, 0.1, excesses=50, years=100.0).return_level([1.0, 3.0])).tolist() == [True, False]


def test_redrawn_fits_scatter_as_theory_says():
    rng, fit = np.random.default_rng(3), Gpd(30.0, 7.0, 0.1, 1000, 100.0)
    drawn = [fit.redraw(rng) for _ in range(60)]
    assert np.std([one.shape for one in drawn]) == pytest.approx(1.1 / np.sqrt(1000), rel=0.25)
    assert np.std([one.excesses for one in drawn]) == pytest.approx(np.sqrt(1000), rel=0.25)
    maxima = [Gev(40.0, 9.0, 0.0, 200).redraw(rng) for _ in range(60)]
    # Gumbel's information: sd(mu) = 1.053 sigma / sqrt(n), a little more where xi is unknown
    assert np.std([one.location for one in maxima]) == pytest.approx(1.053 * 9 / np.sqrt(200), rel=0.25)


def test_the_interval_is_seeded_and_holds_the_level():
    fit = Gpd(30.0, 7.0, 0.1, 100, 20.0)
    low, high = return_interval(fit, [20, 50], draws=40)
    np.testing.assert_array_equal([low, high], return_interval(fit, [20, 50], draws=40))
    assert (low < fit.return_level([20, 50])).all() and (fit.return_level([20, 50]) < high).all()
    wide = return_interval(fit, [20, 50], level=0.98, draws=40)
    assert (wide[0] < low).all() and (high < wide[1]).all()
    low, high = return_interval(Gev(40.0, 9.0, 0.1, 60), 20, draws=20)
    assert low < Gev(40.0, 9.0, 0.1, 60).return_level(20) < high
    with pytest.raises(VigieError, match="share"):
        return_interval(fit, 20, level=90)


def test_a_scale_that_follows_a_covariate_is_found_and_scores_better_out_of_sample():
    rng = np.random.default_rng(4)
    height = rng.uniform(1, 4, 3000)
    rain = 30 + genpareto.rvs(0.1, scale=np.exp(2.8 - 0.5 * height), random_state=rng)
    fit = fit_gpd_with(rain[:2000], height[:2000], 30.0)
    np.testing.assert_allclose([fit.intercept, fit.slope, fit.shape], [2.8, -0.5, 0.1], atol=0.12)
    assert fit.scale(2.0) == pytest.approx(np.exp(1.8), rel=0.05)
    pooled = fit_gpd(rain[:2000], 30.0, years=10)
    exponential = fit_exponential(rain[:2000], 30.0, years=10)
    assert fit.log_score(rain[2000:], height[2000:]) < pooled.log_score(rain[2000:]) < exponential.log_score(rain[2000:])


def test_a_value_beyond_an_upper_end_scores_infinitely_bad():
    assert Gpd(0.0, 1.0, -0.5, 50, 10.0).log_score([2.5]) == np.inf


def test_too_little_is_refused():
    rain = np.arange(29.0) + 31
    with pytest.raises(VigieError, match=r"too few excesses.*found 29.*at least 30"):
        fit_gpd(rain, 30.0, years=5)
    with pytest.raises(VigieError, match="too few excesses"):
        fit_gpd_with(rain, rain, 30.0)
    with pytest.raises(VigieError, match="too few block maxima"):
        fit_gev(np.arange(19.0))
    with pytest.raises(VigieError, match="length of time"):
        fit_gpd(np.arange(100.0), 30.0, years=0)


@settings(max_examples=60)
@given(st.lists(st.integers(0, 9), max_size=60), st.integers(0, 4))
def test_clusters_are_those_of_a_loop(values, run):
    peaks, best, quiet = [], None, run
    for i, value in enumerate(values):
        if value > 5:
            best = i if quiet >= run or best is None or value > values[best] else best
            if quiet >= run:
                peaks.append(best)
            peaks[-1] = best
            quiet = 0
        else:
            quiet += 1
    assert cluster_peaks(values, 5, run).tolist() == peaks


def test_clusters_need_a_run():
    with pytest.raises(VigieError, match="found -1"):
        cluster_peaks([1.0], 0.0, run=-1)


def test_blocks_with_gaps_have_no_maximum():
    years = np.repeat([2001, 2000, 2002], 100)
    rain = np.random.default_rng(5).gamma(1, 5, 300)
    rain[5:10], rain[200:211] = np.nan, np.nan
    np.testing.assert_allclose(block_maxima(rain, years), [rain[100:200].max(), np.nanmax(rain[:100]), np.nan])


def test_excesses_are_strictly_above():
    assert excesses_over([[3.0, 1.0], [np.nan, 2.0]], 2.0).tolist() == [1.0]
