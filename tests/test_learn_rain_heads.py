"""What every rain head promises: ordered quantiles, probabilities and means that agree, losses that know no unknown pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.metrics import mean_tweedie_deviance
from torch.nn import functional as F

from vigie.core.errors import VigieError
from vigie.learn.rain_heads.head import ordered
from vigie.learn.rain_heads.hurdle import HurdleHead
from vigie.learn.rain_heads.positive import Gamma
from vigie.learn.rain_heads.quantile import QuantileHead
from vigie.learn.rain_heads.quantile_curve import interpolated
from vigie.learn.rain_heads.settings import HEADS, RainHeadSettings, build
from vigie.learn.rain_heads.tail import TailHead
from vigie.learn.rain_heads.tweedie import TweedieHead

LEVELS = (0.01, 0.1, 0.3, 0.5, 0.8, 0.95, 0.999)
HEADS_BY_CASE = {
    **{name: build(RainHeadSettings(name=name)) for name in HEADS},
    "quantile, log-linear": build(RainHeadSettings(scale="log-linear")),
    "quantile, three levels": QuantileHead((0.25, 0.5, 0.75)),
    "quantile, one level": QuantileHead((0.5,)),
    "tail, crps, ceiling": build(RainHeadSettings(name="tail", excess="crps", ceiling_mm_h=3.0)),
}
each = pytest.mark.parametrize("head", HEADS_BY_CASE.values(), ids=HEADS_BY_CASE.keys())


def raw_of(head, *sizes, seed=0, spread=1.5, dtype=torch.float64):
    return spread * torch.randn(sizes[0], head.channels, *sizes[1:], generator=torch.Generator().manual_seed(seed), dtype=dtype)


def rain(*sizes, seed=1):
    """Half dry, half exponential, with a heavy shower."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.empty(sizes, dtype=torch.float64).exponential_(0.5, generator=generator)
    y = y * (torch.rand(sizes, generator=generator) < 0.5)
    y.view(-1)[0] = 40.0
    return y


@each
@given(
    seed=st.integers(0, 10_000), spread=st.sampled_from([0.3, 3.0, 10.0]), dtype=st.sampled_from([torch.float32, torch.float64])
)
@settings(max_examples=15, deadline=None)
def test_quantiles_are_ordered_and_no_rain_is_negative(head, seed, spread, dtype):
    raw = raw_of(head, 3, 2, seed=seed, spread=spread, dtype=dtype)
    found = head.quantiles(raw, LEVELS)
    assert found.shape == (3, len(LEVELS), 2) and found.dtype == dtype
    assert torch.isfinite(found).all()
    assert (found >= 0).all() and (found.diff(dim=1) >= 0).all()
    exceeding = head.exceedance(raw, (0.0, 0.5, 2.0, 30.0))
    assert exceeding.shape == (3, 4, 2)
    assert ((exceeding >= 0) & (exceeding <= 1)).all() and (exceeding.diff(dim=1) <= 0).all()
    assert (head.mean(raw) >= 0).all()


@pytest.mark.parametrize("head", [head for name, head in HEADS_BY_CASE.items() if name != "quantile, one level"])
@pytest.mark.parametrize("seed", range(8))
def test_a_quantile_is_exceeded_as_often_as_its_level_says(head, seed):
    raw = raw_of(head, 1, seed=seed)
    levels = [level for level in (*LEVELS, 0.497, 0.503) if not isinstance(head, QuantileHead) or inside(head, level)]
    levels.sort()
    q = head.quantiles(raw, levels)[0]
    for level, value in zip(levels, q.tolist(), strict=True):
        exceeding = head.exceedance(raw, (value,)).item()
        if value > 0 and q.unique().numel() == len(levels):
            assert exceeding == pytest.approx(1 - level, abs=1e-6)
        else:
            assert exceeding <= 1 - level + 1e-6


def inside(head, level):
    return head.levels[0] < level < head.levels[-1]


@each
@pytest.mark.parametrize("seed", range(2))
def test_the_mean_is_the_integral_of_exceedances(head, seed):
    raw = raw_of(head, 1, seed=seed)
    t = np.concatenate([[0.0], np.geomspace(1e-4, 1e7, 3001)])
    integral = np.trapezoid(head.exceedance(raw, t.tolist())[0].numpy(), t)
    assert head.mean(raw).item() == pytest.approx(integral, rel=5e-3)


@each
def test_spatial_dimensions_are_of_no_concern(head):
    raw, y = raw_of(head, 6), rain(6)
    weight = torch.rand(6, generator=torch.Generator().manual_seed(2))
    square, square_y = raw.T.reshape(head.channels, 1, 2, 3).transpose(0, 1), y.reshape(1, 2, 3)
    torch.testing.assert_close(head.loss(square, square_y, weight.reshape(1, 2, 3)), head.loss(raw, y, weight))
    torch.testing.assert_close(head.mean(square).flatten(), head.mean(raw))
    torch.testing.assert_close(head.quantiles(square, LEVELS)[0].flatten(1).T, head.quantiles(raw, LEVELS))
    torch.testing.assert_close(head.exceedance(square, (1.0,))[0].flatten(1).T, head.exceedance(raw, (1.0,)))


@each
def test_unknown_pixels_change_neither_loss_nor_gradient(head):
    raw, y, weight = raw_of(head, 8).requires_grad_(), rain(8), torch.ones(8)
    expected = head.loss(raw[2:], y[2:], weight[2:])
    (gradient,) = torch.autograd.grad(expected, raw)
    y[:2], weight[:2] = math.nan, 0.0
    found = head.loss(raw, y, weight)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, raw)[0], gradient)
    assert gradient[2:].abs().sum() > 0
    nothing = head.loss(raw, torch.full_like(y, math.nan), torch.zeros(8))
    assert nothing.item() == 0 and not torch.autograd.grad(nothing, raw)[0].any()


@each
@pytest.mark.parametrize("spread", [1.0, 30.0])
def test_losses_and_gradients_stay_finite_in_single_precision(head, spread):
    raw = raw_of(head, 500, spread=spread, dtype=torch.float32).requires_grad_()
    loss = head.loss(raw, rain(500).float(), torch.ones(500))
    (gradient,) = torch.autograd.grad(loss, raw)
    assert torch.isfinite(loss) and torch.isfinite(gradient).all()
    half = head.loss(raw.detach().bfloat16(), rain(500), torch.ones(500))
    assert half.dtype == torch.float32 and torch.isfinite(half)


@pytest.mark.parametrize("name", [*(name for name in HEADS_BY_CASE if not name.startswith("tail"))])
def test_gradients_are_right(name):
    head = HEADS_BY_CASE[name]
    raw, y, weight = raw_of(head, 5).requires_grad_(), rain(5), torch.rand(5, dtype=torch.float64)
    y[1], weight[1] = math.nan, 0.0
    assert torch.autograd.gradcheck(lambda r: head.loss(r, y, weight), (raw,))


@pytest.mark.parametrize("name", [name for name in HEADS_BY_CASE if name.startswith("tail")])
def test_the_tail_is_learnt_from_excesses_and_leaves_the_body_alone(name):
    head = HEADS_BY_CASE[name]
    body, end = raw_of(head, 40)[:, :-2], raw_of(head, 40)[:, -2:].requires_grad_()
    y, weight = 3 * rain(40), torch.rand(40, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda e: head.loss(torch.cat([body, e], dim=1), y, weight), (end,))
    body.requires_grad_()
    together = head.loss(torch.cat([body, end], dim=1), y, weight)
    alone = head.body.loss(body, y, weight)
    torch.testing.assert_close(torch.autograd.grad(together, body), torch.autograd.grad(alone, body))


TRUTH = {"tail": (0.4, -0.3), "hurdle-gamma": (0.3, 0.8, 0.1), "hurdle-lognormal": (-0.4, 0.2, 0.5)}
TRUTH |= {"hurdle-egpd": (0.6, 0.5, -0.5, 0.2), "csgd": (0.2, 1.0, 0.3)}


@pytest.mark.parametrize(("name", "channel"), [(name, -1 - i) for name, values in TRUTH.items() for i in range(len(values))])
def test_a_proper_loss_is_smallest_at_the_truth(name, channel):
    head = build(RainHeadSettings(name=name))
    truth = raw_of(head, 1, spread=0.5)
    truth[0, -len(TRUTH[name]) :] = torch.tensor(TRUTH[name])
    count = 20_000
    y = head.quantiles(truth, ((np.arange(count) + 0.5) / count).tolist())[0]
    losses = []
    for step in (-0.4, -0.2, 0.0, 0.2, 0.4):
        changed = truth.clone()
        changed[0, channel] += step
        losses.append(head.loss(changed.expand(count, -1), y, torch.ones(count)).item())
    assert head.proper and int(np.argmin(losses)) == 2
    assert losses[0] > losses[1] > losses[2] < losses[3] < losses[4]


def test_a_ceiling_keeps_cut_labels_from_cutting_the_tail() -> None:
    """Labels cut at 6 mm/h: a likelihood that knows it finds the tail they came from; one that does not, a lighter one."""
    body = QuantileHead((0.5, 0.9))
    truth = torch.tensor([[0.5, 5.0, 1.0, 0.5]], dtype=torch.float64)
    count = 2000
    whole = TailHead(body)
    y = whole.quantiles(truth, ((np.arange(count) + 0.5) / count).tolist())[0].clamp(max=6.0)
    best = {}
    for ceiling in (6.0, math.inf):
        head, grid = TailHead(body, ceiling_mm_h=ceiling), torch.linspace(-3, 3, 13, dtype=torch.float64)
        tries = [(s.item(), x.item()) for s in grid for x in grid]
        losses = []
        for s, x in tries:
            changed = truth.clone()
            changed[0, -2:] = torch.tensor([s, x])
            losses.append(head.loss(changed.expand(count, -1), y, torch.ones(count)).item())
        changed = truth.clone()
        changed[0, -2:] = torch.tensor(tries[int(np.argmin(losses))])
        best[ceiling] = whole.quantiles(changed, (0.999,)).item()
    expected = whole.quantiles(truth, (0.999,)).item()
    assert best[6.0] == pytest.approx(expected, rel=0.1) and best[math.inf] < 0.8 * expected


def test_the_tail_joins_its_body() -> None:
    head = TailHead(QuantileHead((0.2, 0.5, 0.9)))
    raw = raw_of(head, 4) + 3
    joined = head.quantiles(raw, (0.1, 0.4, 0.9))
    torch.testing.assert_close(joined, head.body.quantiles(raw[:, :-2], (0.1, 0.4, 0.9)))
    assert (head.quantiles(raw, (0.9001,)) > joined[:, -1:]).all()
    beyond = head.exceedance(raw[:1], (head.body.knots(raw[:1, :-2])[0, -1].item(),))
    assert beyond.item() == pytest.approx(0.1)


def test_quantiles_at_the_heads_own_levels_are_its_knots() -> None:
    raw = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    levels = (0.1, 0.3, 0.6, 0.9)
    head = QuantileHead(levels)
    torch.testing.assert_close(head.quantiles(raw, levels), interpolated(head.knots(raw), levels, levels), rtol=0, atol=0)


@given(st.integers(0, 1000), st.floats(0, 1))
def test_crossings_are_undone_and_nothing_else_is_touched(seed: int, crossing: float) -> None:
    random = np.random.default_rng(seed)
    quantiles = np.cumsum(random.normal(0.2, 1, (3, 6)) * np.where(random.random((3, 6)) < crossing, 1, [0.5]), axis=1)
    expected = np.maximum.accumulate(np.maximum(quantiles, 0), axis=1)
    np.testing.assert_array_equal(ordered(torch.from_numpy(quantiles)).numpy(), expected)
    np.testing.assert_array_equal(ordered(torch.from_numpy(expected)).numpy(), expected)


def test_the_deviance_of_tweedie_is_scikit_learns_and_is_smallest_at_the_mean() -> None:
    head, y = TweedieHead(1.3), rain(200)
    raw = raw_of(head, 200)
    expected = mean_tweedie_deviance(y.numpy(), head.mean(raw).numpy(), power=1.3)
    assert head.deviance(y, head.mean(raw)).mean().item() == pytest.approx(expected, rel=1e-10)
    grid = torch.linspace(-3, 4, 701, dtype=torch.float64)
    losses = [head.loss(torch.tensor([[z, 0.0]]).expand(200, 2), y, torch.ones(200)).item() for z in grid]
    best = head.mean(torch.tensor([[grid[int(np.argmin(losses))], 0.0]])).item()
    assert best == pytest.approx(y.mean().item(), abs=0.01)


def showers(m: float, phi: float, p: float, count: int) -> np.ndarray:
    """Draw Poisson numbers of gamma showers."""
    random = np.random.default_rng(0)
    number = random.poisson(m ** (2 - p) / (phi * (2 - p)), count)
    return random.gamma(np.maximum(number, 1) * (2 - p) / (p - 1), phi * (p - 1) * m ** (p - 1)) * (number > 0)


@pytest.mark.parametrize(("m", "phi"), [(0.2, 4.0), (1.0, 2.0), (3.0, 1.0)])
def test_tweedie_says_what_showers_give(m: float, phi: float) -> None:
    """Where showers are few the gamma distribution is theirs; where they are many it comes within 3 % of probability."""
    head, y = TweedieHead(1.5), showers(m, phi, 1.5, 400_000)
    raw = torch.log(torch.expm1(torch.tensor([[m, phi]], dtype=torch.float64) - 1e-3))
    assert head.mean(raw).item() == pytest.approx(y.mean(), rel=0.02)
    assert head.exceedance(raw, (0.0,)).item() == pytest.approx((y > 0).mean(), abs=0.002)
    for threshold in (0.1, 1.0, 5.0):
        assert head.exceedance(raw, (threshold,)).item() == pytest.approx((y > threshold).mean(), abs=0.03)


@pytest.mark.parametrize(("m", "phi"), [(0.2, 4.0), (3.0, 1.0), (40.0, 0.1)])
def test_tweedie_is_a_density(m: float, phi: float) -> None:
    """Its integral is the probability of rain, by series and by saddlepoint, and in between."""
    head, y = TweedieHead(1.5), torch.from_numpy(np.geomspace(1e-9, 1e4, 40_001))
    mean, dispersion = (torch.full_like(y, value) for value in (m, phi))
    density = head.log_density(y, mean, dispersion).exp()
    raining = 1 - math.exp(-(m**0.5) / (0.5 * phi))
    assert torch.trapezoid(density, y).item() == pytest.approx(raining, rel=0.01)


def test_tweedie_learns_mean_and_dispersion_of_showers() -> None:
    head, y = TweedieHead(1.5), torch.from_numpy(showers(1.0, 2.0, 1.5, 50_000))
    raw = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([raw], max_iter=50)

    def closure():
        optimiser.zero_grad()
        loss = head.loss(raw.expand(len(y), 2), y, torch.ones(len(y)))
        loss.backward()
        return loss

    optimiser.step(closure)
    found = F.softplus(raw.detach())[0]
    assert found[0].item() == pytest.approx(1.0, rel=0.02) and found[1].item() == pytest.approx(2.0, rel=0.02)


def test_losses_say_whether_they_are_proper() -> None:
    for name, head in HEADS_BY_CASE.items():
        assert head.why.endswith(".") and head.proper, name
    assert not build(RainHeadSettings(objective="rain-weighted")).proper


@pytest.mark.parametrize("levels", [(), (0.0, 0.5), (0.5, 1.0), (0.5, 0.5), (0.6, 0.5), (math.nan,)])
def test_strange_levels_are_refused(levels):
    with pytest.raises(VigieError, match="quantile levels"):
        QuantileHead(levels)
    with pytest.raises(ValidationError, match=r"increasing levels within \(0, 1\), not"):
        RainHeadSettings(levels=levels)
    for head in HEADS_BY_CASE.values():
        with pytest.raises(VigieError, match="quantile levels"):
            head.quantiles(raw_of(head, 1), levels)


@each
@pytest.mark.parametrize("thresholds", [(), (-1.0,), (math.nan,)])
def test_strange_thresholds_are_refused(head, thresholds):
    with pytest.raises(VigieError, match="no thresholds"):
        head.exceedance(raw_of(head, 1), thresholds)


@each
def test_raw_output_of_another_head_is_refused(head):
    with pytest.raises(VigieError, match="does not fit head"):
        head.loss(torch.zeros(2, head.channels + 1), torch.zeros(2), torch.ones(2))


def test_bad_settings_are_refused() -> None:
    for wrong in ({"name": "quantil"}, {"levles": (0.5,)}, {"power": 2.0}, {"objective": "mse"}, {"ceiling_mm_h": 0.0}):
        with pytest.raises(ValidationError):
            RainHeadSettings(**wrong)
    for idle in ({"name": "csgd", "objective": "tail-weighted"}, {"tail_from": 0.8}, {"name": "tail", "power": 1.2}):
        with pytest.raises(ValidationError, match="leave it out"):
            RainHeadSettings(**idle)
    with pytest.raises(ValidationError, match="weighs rain in mm/h"):
        RainHeadSettings(objective="rain-weighted", scale="log-linear")
    with pytest.raises(VigieError, match="Tweedie power"):
        TweedieHead(2.5)
    with pytest.raises(VigieError, match="cannot end"):
        TailHead(QuantileHead((0.5, 0.9)), ceiling_mm_h=0.0)


def test_settings_reach_the_heads() -> None:
    head = build(RainHeadSettings(name="tail", levels=(0.3, 0.6, 0.95), tail_from=0.8, ceiling_mm_h=20.0, scale="log-linear"))
    assert isinstance(head, TailHead)
    assert head.body.levels == (0.3, 0.6, 0.8) and head.ceiling_mm_h == 20.0 and head.body.scale.name == "log-linear"
    assert build(RainHeadSettings(name="tweedie", power=1.2)) == TweedieHead(1.2)
    assert build(RainHeadSettings(name="hurdle-gamma")) == HurdleHead(Gamma())


def test_the_hurdle_is_cross_entropy_and_a_density() -> None:
    head, y = HurdleHead(Gamma()), rain(50)
    raw = raw_of(head, 50)
    mean, k = (F.softplus(raw[:, i]) + 1e-3 for i in (1, 2))
    wet = y > 0
    density = torch.distributions.Gamma(k, k / mean).log_prob(torch.where(wet, y, 1.0))
    score = torch.where(wet, -F.logsigmoid(raw[:, 0]) - density, -F.logsigmoid(-raw[:, 0]))
    torch.testing.assert_close(head.loss(raw, y, torch.ones(50)), score.mean())
