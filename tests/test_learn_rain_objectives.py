"""Objectives of quantiles against scikit-learn, numerical integration and their own minima; scales and dequantised zeros."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from sklearn.metrics import mean_pinball_loss

from vigie.learn.rain_heads.objectives import each_pinball, pinball, rain_weighted, tail_weighted, threshold_weighted
from vigie.learn.rain_heads.quantile import LEVELS, QuantileHead
from vigie.learn.rain_heads.quantile_curve import integral, interpolated, non_crossing, probability_below
from vigie.learn.rain_heads.settings import OBJECTIVES, RainHeadSettings, build
from vigie.learn.rain_heads.transforms import LOWEST, SCALES, TRACE, dequantised, from_log_linear, to_log_linear, without_trace

FINE = torch.from_numpy((np.arange(4000) + 0.5) / 4000)


def test_pinball_is_scikit_learns() -> None:
    generator = torch.Generator().manual_seed(0)
    q, y = torch.randn(50, 3, generator=generator), torch.randn(50, generator=generator)
    levels = torch.tensor([0.1, 0.5, 0.95])
    for i, level in enumerate(levels.tolist()):
        expected = mean_pinball_loss(y, q[:, i], alpha=level)
        assert each_pinball(q, y, levels)[:, i].mean().item() == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(pinball(q, y, levels), each_pinball(q, y, levels).mean(dim=1))


@pytest.mark.parametrize("y", [0.0, 0.7, 6.0, 15.0])
def test_even_levels_give_half_the_crps_and_the_crps_beyond_a_threshold(y):
    law = stats.expon(scale=2.0)
    q, truth = torch.from_numpy(law.ppf(FINE.numpy()))[None], torch.tensor([y], dtype=torch.float64)

    def between(low, high):
        return integrate.quad(lambda t: (law.cdf(t) - (t >= y)) ** 2, low, high, points=[y] if low < y < high else None)[0]

    whole, beyond = between(0, 60), between(5, 60)
    assert 2 * pinball(q, truth, FINE).item() == pytest.approx(whole, rel=1e-3, abs=1e-4)
    together = threshold_weighted(5.0, 3.0)(q, truth, FINE).item()
    assert together == pytest.approx(whole / 2 + 3 * beyond, rel=2e-3, abs=1e-4)
    weights = 3 * FINE**2
    assert tail_weighted(q, truth, FINE).item() == pytest.approx((weights * each_pinball(q, truth, FINE)[0]).mean().item())


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("scale", SCALES)
def test_the_truth_is_at_rest_where_and_only_where_the_objective_is_proper(name, scale):
    """Expected slopes at the true quantiles of an exponential law: none, unless heavier rain weighs more."""
    if (name, scale) == ("rain-weighted", "log-linear"):
        pytest.skip("refused by the settings")
    levels = tuple(np.linspace(0.1, 0.95, 18).tolist())
    head = build(RainHeadSettings(levels=levels, objective=name, scale=scale, threshold_mm_h=2.0))
    law, count = stats.expon(scale=2.0), 100_000
    y = torch.from_numpy(law.ppf((np.arange(count) + 0.5) / count))
    q = head.scale.to(torch.from_numpy(law.ppf(levels)))
    raw = torch.cat([q[:1], torch.log(torch.expm1(q.diff())) + 4]).requires_grad_()
    np.testing.assert_allclose(head.knots(raw[None].detach())[0], law.ppf(levels), rtol=1e-9)
    loss = head.loss(raw.expand(count, -1), y, torch.ones(count))
    (slope,) = torch.autograd.grad(loss, raw)
    assert head.proper == (name != "rain-weighted")
    assert (slope.abs().max() < 1e-4) == head.proper
    if not head.proper:
        assert slope[0] < -0.1  # all quantiles would rise


def test_heavier_rain_weighs_more_up_to_a_cap() -> None:
    q, y, levels = torch.zeros(3, 1), torch.tensor([1.0, 20.0, 50.0]), torch.tensor([0.5])
    torch.testing.assert_close(rain_weighted(2.0, 20.0)(q, y, levels) / pinball(q, y, levels), torch.tensor([1.5, 11.0, 11.0]))


def test_non_crossing_is_the_formula() -> None:
    z = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = [z[:, 0]]
    for k in range(1, 5):
        expected.append(expected[-1] + torch.log1p(torch.exp(z[:, k] - 4)))
    torch.testing.assert_close(non_crossing(z), torch.stack(expected, dim=1))


@given(
    knots=st.lists(st.floats(0, 30), min_size=2, max_size=6).map(sorted),
    seed=st.integers(0, 1000),
)
@settings(deadline=None)
def test_the_curve_is_numpys_interpolation(knots, seed):
    random = np.random.default_rng(seed)
    levels = np.sort(random.choice(np.arange(1, 100), len(knots), replace=False)) / 100
    q = torch.tensor([knots], dtype=torch.float64)
    wanted = np.sort(random.random(7))
    np.testing.assert_allclose(interpolated(q, levels, wanted)[0], np.interp(wanted, levels, knots), atol=1e-12)
    fine = np.linspace(0, levels[-1], 200_001)
    area = np.trapezoid(np.interp(fine, levels, knots), fine)
    assert integral(q, levels.tolist()).item() == pytest.approx(area, rel=1e-6, abs=1e-6)
    for t in random.uniform(0, 31, 5):
        reached = fine[np.interp(fine, levels, knots) <= t]
        expected = 1.0 if t >= knots[-1] else (reached[-1] if len(reached) else 0.0)
        assert probability_below(q, levels.tolist(), [t]).item() == pytest.approx(expected, abs=1e-5)


def test_default_levels_are_percents() -> None:
    assert LEVELS[0] == 0.01 and LEVELS[-1] == 0.99 and len(LEVELS) == QuantileHead().channels == 99


class TestTransforms:
    @given(st.floats(1e-5, 1e3))
    def test_log_linear_comes_back(self, y):
        value = torch.tensor(y, dtype=torch.float64)
        expected = math.log(y) if y < 1 else y - 1
        assert to_log_linear(value).item() == pytest.approx(expected, rel=1e-12, abs=1e-12)
        assert from_log_linear(to_log_linear(value)).item() == pytest.approx(y, rel=1e-12)

    def test_log_linear_joins_smoothly_and_has_a_floor(self):
        y = torch.tensor([0.0, 0.999999, 1.000001], dtype=torch.float64, requires_grad=True)
        f = to_log_linear(y)
        (slope,) = torch.autograd.grad(f[1:].sum(), y)
        assert f[0].item() == pytest.approx(math.log(LOWEST)) and torch.isfinite(slope).all()
        torch.testing.assert_close(slope[1:], torch.ones(2, dtype=torch.float64), atol=1e-5, rtol=0)

    def test_zeros_are_drawn_log_uniformly_and_only_zeros(self):
        y = torch.cat([torch.zeros(20_000), torch.tensor([2e-4, 3.0, math.nan])])
        drawn = dequantised(y, torch.Generator().manual_seed(3))
        torch.testing.assert_close(drawn[:-1], dequantised(y, torch.Generator().manual_seed(3))[:-1], rtol=0, atol=0)
        assert not torch.equal(drawn[:-1], dequantised(y, torch.Generator().manual_seed(4))[:-1])
        torch.testing.assert_close(drawn[-3:], y[-3:], equal_nan=True, rtol=0, atol=0)
        zeros = drawn[:20_000]
        assert (zeros >= LOWEST * 0.999).all() and (zeros < TRACE).all()
        logs = ((zeros.log() - math.log(LOWEST)) / math.log(TRACE / LOWEST)).numpy()
        assert stats.kstest(logs, "uniform").pvalue > 0.01
        torch.testing.assert_close(without_trace(drawn), without_trace(y), equal_nan=True, rtol=0, atol=0)

    def test_a_head_on_the_log_linear_scale_says_zero_below_a_trace(self):
        head = build(RainHeadSettings(levels=(0.5, 0.9), scale="log-linear"))
        raw = torch.tensor([[math.log(1e-5), math.log(math.expm1(math.log(1e4))) + 4]], dtype=torch.float64)
        torch.testing.assert_close(head.knots(raw), torch.tensor([[0.0, 0.1]], dtype=torch.float64))
