"""Distributions behind rain heads against scipy, scoringrules, mpmath and numerical integration."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from vigie.learn.rain_heads import generalised_pareto as gpd
from vigie.learn.rain_heads.censored_gamma import CensoredShiftedGammaHead, crps
from vigie.learn.rain_heads.extended_gpd import ExtendedGpd
from vigie.learn.rain_heads.positive import Gamma, Lognormal
from vigie.learn.rain_heads.special import expm1_ratio, log1mexp, log1p_ratio, lower_gamma, upper_gamma

INF = torch.tensor(torch.inf, dtype=torch.float64)
Y = np.array([1e-3, 0.05, 0.4, 1.0, 3.0, 9.0])
P = np.array([0.999, 0.9, 0.5, 0.1, 1e-3, 1e-6])


def double(*values):
    return tuple(torch.as_tensor(value, dtype=torch.float64) for value in values)


def softplus(z):
    return np.logaddexp(0.0, z) + 1e-3


class TestPositiveRain:
    @pytest.mark.parametrize("raw", [(0.0, 0.0), (1.5, -2.0), (-1.0, 3.0)])
    @pytest.mark.parametrize(
        ("rain", "oracle"),
        [
            (Gamma(), lambda a, b: stats.gamma(softplus(b), scale=softplus(a) / softplus(b))),
            (Lognormal(), lambda a, b: stats.lognorm(1e-3 + 2.999 / (1 + np.exp(-b)), scale=np.exp(10 * np.tanh(a / 10)))),
        ],
        ids=["gamma", "lognormal"],
    )
    def test_gamma_and_lognormal_are_scipys(self, rain, oracle, raw):
        tensor, law = torch.tensor(raw, dtype=torch.float64).reshape(1, 2), oracle(*raw)
        y, p = double(Y[None], P[None])
        np.testing.assert_allclose(rain.log_density(tensor, y)[0], law.logpdf(Y), rtol=1e-10)
        np.testing.assert_allclose(rain.survival(tensor, y)[0], law.sf(Y), rtol=1e-8, atol=1e-300)
        np.testing.assert_allclose(rain.exceeded(tensor, p)[0], law.isf(P), rtol=1e-8)
        assert rain.mean(tensor).item() == pytest.approx(law.mean())

    @pytest.mark.parametrize("raw", [(0.0, 0.0, 0.0), (1.0, -30.0, 1.0), (-1.0, 2.0, -1.0)])
    def test_the_extended_gpd_is_a_power_of_scipys_gpd(self, raw):
        sigma, xi, kappa = softplus(raw[0]), 1e-3 + 0.499 / (1 + np.exp(-raw[1])), softplus(raw[2])
        law, rain, tensor = (
            stats.genpareto(xi, scale=sigma),
            ExtendedGpd(),
            torch.tensor(raw, dtype=torch.float64).reshape(1, 3),
        )
        y, p = double(Y[None], P[None])
        np.testing.assert_allclose(rain.survival(tensor, y)[0], 1 - law.cdf(Y) ** kappa, rtol=1e-9, atol=1e-14)
        density = np.log(kappa) + law.logpdf(Y) + (kappa - 1) * law.logcdf(Y)
        np.testing.assert_allclose(rain.log_density(tensor, y)[0], density, rtol=1e-9)
        np.testing.assert_allclose(rain.survival(tensor, rain.exceeded(tensor, p))[0], P, rtol=1e-9)
        mean, error = integrate.quad(lambda u: law.ppf(u ** (1 / kappa)), 0, 1, limit=500)
        assert rain.mean(tensor).item() == pytest.approx(mean, rel=1e-6, abs=10 * error)

    def test_rain_that_is_exceeded_for_sure_is_none(self):
        for rain in (Gamma(), Lognormal(), ExtendedGpd()):
            raw = torch.zeros(1, rain.channels)
            assert rain.exceeded(raw, torch.ones(1, 1)).item() == 0 and rain.survival(raw, torch.zeros(1, 1)).item() == 1


class TestGeneralisedPareto:
    @pytest.mark.parametrize("xi", [-0.1, -1e-4, 0.0, 1e-9, 1e-3, 0.019, 0.021, 0.194, 0.5])
    def test_is_scipys(self, xi):
        z, sigma, shape = double(Y, 1.7, xi)
        law = stats.genpareto(xi, scale=1.7)
        np.testing.assert_allclose(gpd.survival(z, sigma, shape), law.sf(Y), rtol=1e-9)
        np.testing.assert_allclose(gpd.log_score(z, INF, sigma, shape), -law.logpdf(Y), rtol=1e-9)
        np.testing.assert_allclose(gpd.excess(double(P)[0], sigma, shape), law.isf(P), rtol=1e-9)

    @pytest.mark.parametrize("xi", [-0.1, 0.01, 0.2, 0.5])
    def test_the_crps_is_that_of_scoringrules(self, xi):
        import scoringrules

        found = gpd.crps(*double(Y, np.inf, 1.7, xi))
        np.testing.assert_allclose(found, scoringrules.crps_gpd(Y, xi, scale=1.7), rtol=1e-10)

    def test_the_crps_of_an_exponential_tail_is_that_of_scoringrules(self):
        import scoringrules

        found = gpd.crps(*double(Y, np.inf, 1.7, 0.0))
        np.testing.assert_allclose(found, scoringrules.crps_exponential(Y, 1 / 1.7), rtol=1e-10)

    @pytest.mark.parametrize(("xi", "limit"), [(-0.1, 2.0), (0.0, 5.0), (0.3, 20.0), (0.3, np.inf)])
    def test_the_crps_up_to_a_limit_is_an_integral(self, xi, limit):
        law = stats.genpareto(xi, scale=1.7)
        for y in Y:
            seen = min(y, limit)
            below, _ = integrate.quad(lambda t: law.cdf(t) ** 2, 0, seen)
            above, _ = integrate.quad(lambda t: law.sf(t) ** 2, seen, limit)
            assert gpd.crps(*double(y, limit, 1.7, xi)).item() == pytest.approx(below + above, rel=1e-6)

    def test_the_orthogonal_likelihood_is_pasche_and_engelkes(self):
        z, nu, xi = double(Y, 2.3, 0.15)
        expected = (1 + 1 / xi) * torch.log(1 + xi * (xi + 1) * z / nu) + torch.log(nu) - torch.log(xi + 1)
        torch.testing.assert_close(gpd.log_score(z, INF, nu / (1 + xi), xi), expected)

    def test_labels_that_are_cut_say_only_that_there_is_more(self):
        z, sigma, xi = double(4.0, 1.7, 0.2)
        assert gpd.log_score(z, z, sigma, xi).item() == pytest.approx(-stats.genpareto(0.2, scale=1.7).logsf(4.0))
        assert gpd.log_score(z, z - 1, sigma, xi).item() == pytest.approx(-stats.genpareto(0.2, scale=1.7).logsf(3.0))

    def test_goes_on_smoothly_beyond_a_bounded_support(self):
        z = torch.linspace(9, 12, 301, dtype=torch.float64, requires_grad=True)
        score = gpd.hazard(z, *double(1.0, -0.1))
        (slope,) = torch.autograd.grad(score.sum(), z)
        assert torch.isfinite(score).all() and (slope > 0).all()
        assert (slope.diff() >= -1e-9).all() and slope.diff().max() < 1.0
        sigma = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
        (pull,) = torch.autograd.grad(gpd.log_score(*double(15.0, 1e9), sigma, double(-0.1)[0]), sigma)
        assert pull < 0

    @pytest.mark.parametrize("score", [gpd.log_score, gpd.crps])
    @pytest.mark.parametrize("xi", [-0.08, 0.0, 1e-3, 0.3])
    def test_gradients_are_right(self, score, xi):
        inputs = tuple(t.clone().requires_grad_() for t in double(Y, 1.7, xi))
        assert torch.autograd.gradcheck(lambda z, sigma, shape: score(z, double(5.0)[0], sigma, shape), inputs)
        assert torch.autograd.gradcheck(lambda z, sigma, shape: score(z, INF, sigma, shape), inputs)


class TestCensoredShiftedGamma:
    @pytest.mark.parametrize(("k", "theta", "delta"), [(0.5, 2.0, 0.3), (1.0, 1.0, 1.0), (4.0, 0.7, 0.05), (0.2, 5.0, 2.0)])
    def test_the_crps_is_that_of_scoringrules_and_of_the_integral(self, k, theta, delta):
        import scoringrules

        y = np.array([0.0, *Y])
        found = crps(*double(y, k, theta, delta)).numpy()
        np.testing.assert_allclose(found, scoringrules.crps_csg0(y, shape=k, rate=1 / theta, shift=delta), rtol=1e-10)
        law = stats.gamma(k, loc=-delta, scale=theta)
        for one, value in zip(y, found, strict=True):
            below, _ = integrate.quad(lambda t: law.cdf(t) ** 2, 0, one)
            above, _ = integrate.quad(lambda t: law.sf(t) ** 2, one, np.inf)
            assert value == pytest.approx(below + above, rel=1e-6)

    def test_quantiles_mean_and_exceedance_are_those_of_a_cut_gamma(self):
        raw = torch.tensor([[0.2, 1.0, 0.3]], dtype=torch.float64)
        k, theta, delta = softplus(np.array([0.2, 1.0, 0.3]))
        law, head = stats.gamma(k, loc=-delta, scale=theta), CensoredShiftedGammaHead()
        np.testing.assert_allclose(head.quantiles(raw, 1 - P)[0], np.maximum(law.ppf(1 - P), 0), rtol=1e-8)
        np.testing.assert_allclose(head.exceedance(raw, [0.0, *Y])[0], law.sf([0.0, *Y]), rtol=1e-10)
        assert head.mean(raw).item() == pytest.approx(law.expect(lambda t: t, lb=0), rel=1e-7)


class TestSpecial:
    @pytest.mark.parametrize("a", [0.02, 0.3, 1.0, 15.0, 400.0])
    @pytest.mark.parametrize("ratio", [1e-3, 0.2, 1.0, 1.3, 5.0])
    def test_the_incomplete_gamma_function_and_its_slopes_are_mpmaths(self, a, ratio):
        with mpmath.workdps(40):
            value = mpmath.gammainc(a, 0, a * ratio, regularized=True)
            in_a = mpmath.diff(lambda s: mpmath.gammainc(s, 0, a * ratio, regularized=True), a)
            in_x = mpmath.diff(lambda x: mpmath.gammainc(a, 0, x, regularized=True), a * ratio)
        shape, x = (t.requires_grad_() for t in double(a, a * ratio))
        found = lower_gamma(shape, x)
        found.backward()
        assert found.item() == pytest.approx(float(value), abs=1e-9)
        assert upper_gamma(shape.detach(), x.detach()).item() == pytest.approx(1 - float(value), abs=1e-9)
        assert shape.grad.item() == pytest.approx(float(in_a), abs=1e-9)
        assert x.grad.item() == pytest.approx(float(in_x), rel=1e-9, abs=1e-300)

    @given(st.floats(-0.9, 20.0))
    @settings(max_examples=200, deadline=None)
    def test_ratios_have_no_step_at_zero(self, x):
        with mpmath.workdps(40):
            one = mpmath.log1p(x) / x if x else 1.0
            two = mpmath.expm1(x) / x if x else 1.0
        value = torch.tensor(x, dtype=torch.float64)
        assert log1p_ratio(value).item() == pytest.approx(float(one), rel=1e-10)
        assert expm1_ratio(value).item() == pytest.approx(float(two), rel=1e-10)

    @pytest.mark.parametrize("x", [0.0, 1e-12, 0.0199, 0.0201, -0.02, 0.5])
    def test_ratios_have_gradients(self, x):
        value = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        for ratio in (log1p_ratio, expm1_ratio):
            assert torch.autograd.gradcheck(ratio, (value,))

    @given(st.floats(1e-12, 700.0))
    @settings(max_examples=100, deadline=None)
    def test_log1mexp_keeps_its_digits(self, x):
        with mpmath.workdps(400):
            expected = float(mpmath.log(1 - mpmath.exp(-mpmath.mpf(x))))
        assert log1mexp(torch.tensor(x, dtype=torch.float64)).item() == pytest.approx(expected, rel=1e-12)
