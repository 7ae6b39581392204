"""Generative models: samplers follow closed forms, both models learn a known mixture, and rain goes there and back."""

from dataclasses import asdict, replace
from math import sqrt

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance
from torch import nn

from vigie.core.errors import VigieError
from vigie.learn.generative.denoiser import FootprintDenoiser, UNetDenoiser
from vigie.learn.generative.diffusion import Diffusion, ddim, ddpm
from vigie.learn.generative.flow import FlowMatching, euler, flow_loss, heun, integrate
from vigie.learn.generative.generator import masked
from vigie.learn.generative.rain import RainTransform, Residual, dequantised, fit_rain_transform, fit_residual
from vigie.learn.unet import ChannelNorm, GroupNorm

MEAN, DEVIATION = 1.5, 0.4
"""A normal target, whose velocity field and noise are known."""


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def velocity(x, t):
    """E[x1 - x0 | x_t] where x1 ~ N(MEAN, DEVIATION^2): carries x0 to MEAN + DEVIATION x0 exactly."""
    variance = (1 - t) ** 2 + (t * DEVIATION) ** 2
    return MEAN + (t * DEVIATION**2 - (1 - t)) / variance * (x - t * MEAN)


def prediction(noisy, condition, time, levels=1000):
    """E[v | x_t] of the same target at the levels of a cosine schedule, written out (Nichol & Dhariwal 2021, eq. 17)."""
    level = torch.arange(levels + 1, dtype=torch.float64) / levels
    course = torch.cos((level + 0.008) / 1.008 * torch.pi / 2) ** 2
    kept = torch.cumprod(1 - (1 - course[1:] / course[:-1]).clamp(max=0.999), 0)[round(float(time[0]) * levels)]
    alpha, sigma = float(kept.sqrt()), float((1 - kept).sqrt())
    variance = (alpha * DEVIATION) ** 2 + sigma**2
    clean = MEAN + alpha * DEVIATION**2 / variance * (noisy - alpha * MEAN)
    return alpha * (noisy - alpha * clean) / sigma - sigma * clean


@pytest.mark.parametrize(("step", "order", "error"), [(euler, 1, 0.1), (heun, 2, 0.006)])
def test_the_exact_velocity_carries_noise_to_the_normal_target(step, order, error):
    noise = torch.linspace(-3, 3, 61, dtype=torch.float64)
    wanted = MEAN + DEVIATION * noise
    errors = [float((integrate(velocity, noise, steps, step) - wanted).abs().max()) for steps in (20, 40)]
    assert errors[0] < error
    assert errors[0] / errors[1] == pytest.approx(2**order, rel=0.25)


def test_members_of_the_exact_flow_have_the_targets_moments():
    flow = FlowMatching(steps=20, batch=1000)
    drawn = flow.sample(lambda x, c, t: velocity(x, float(t[0])), torch.zeros(4, 1, 1, 1), 5000, seeded())
    assert float(drawn.mean()) == pytest.approx(MEAN, abs=4 * DEVIATION / sqrt(20_000))
    assert float(drawn.std()) == pytest.approx(DEVIATION, rel=0.02)


@pytest.mark.parametrize(("scheduler", "steps"), [(ddim, 100), (ddpm, 200)])
def test_members_of_the_exact_diffusion_have_the_targets_moments(scheduler, steps):
    diffusion = Diffusion(steps=steps, scheduler=scheduler, batch=20_000)
    drawn = diffusion.sample(prediction, torch.zeros(4, 1, 1, 1), 5000, seeded())
    assert float(drawn.mean()) == pytest.approx(MEAN, abs=0.015)
    assert float(drawn.std()) == pytest.approx(DEVIATION, rel=0.03)


def test_deterministic_diffusion_is_a_function_of_its_noise():
    noise = torch.randn(64, 1, 1, 1, generator=seeded(5))
    drawn = Diffusion(steps=200).sample(prediction, torch.zeros(64, 1, 1, 1), 1, seeded(5))[0]
    assert torch.allclose(drawn, MEAN + DEVIATION * noise, atol=0.02)


@pytest.mark.parametrize("steps", [1, 3, 50])
def test_a_target_that_is_one_value_is_reached_in_any_number_of_steps(steps):
    """DDIM identity: with the true v of x1 = 0.7 each step lands on alpha x1 + sigma noise, and the last one on x1."""
    noising = Diffusion().noising

    def true_v(noisy, condition, time):
        kept = noising.alphas_cumprod[round(float(time[0]) * 1000)]
        alpha, sigma = kept.sqrt(), (1 - kept).sqrt()
        return alpha * (noisy - alpha * 0.7) / sigma - sigma * 0.7

    drawn = Diffusion(steps=steps).sample(true_v, torch.zeros(3, 1, 4, 4), 2, seeded())
    assert torch.allclose(drawn, torch.full_like(drawn, 0.7), atol=1e-4)


def mixture(c, generator):
    """Given c: with 30 % about (c - 1, -1), with 70 % about (c + 1, 1), deviation 0.25 and correlation 0.8."""
    count = len(c)
    sign = torch.where(torch.rand(count, generator=generator) < 0.3, -1.0, 1.0)
    a, b = 0.25 * torch.randn(2, count, generator=generator)
    x1 = torch.stack([c + sign + a, sign + 0.8 * a + 0.6 * b], dim=1)
    return x1[..., None, None]


def pairs(count, generator):
    c = 2 * torch.rand(count, generator=generator) - 1
    return mixture(c, generator), c[:, None, None, None]


@pytest.mark.parametrize("model", [FlowMatching(channels=2, batch=4000), Diffusion(channels=2, batch=4000)])
def test_a_known_conditional_mixture_is_learnt(model):
    generator = seeded()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = FootprintDenoiser(conditions=1, channels=2, widths=(64, 64))
    optimiser = torch.optim.AdamW(network.parameters(), lr=4e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 500)
    for _ in range(500):
        loss = model.loss(network, *pairs(256, generator), generator)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    for c in (-0.5, 0.8):
        drawn = model.sample(network, torch.full((1, 1, 1, 1), c), 2000, generator)[:, 0, :, 0, 0]
        truth = mixture(torch.full((20_000,), c), generator)[:, :, 0, 0]
        low, wanted = drawn[:, 1] < 0, truth[:, 1] < 0
        assert float(low.float().mean()) == pytest.approx(0.3, abs=0.05)
        for axis in range(2):
            assert wasserstein_distance(drawn[:, axis], truth[:, axis]) < 0.12
            for side, other in ((low, wanted), (~low, ~wanted)):
                assert float(drawn[side, axis].mean()) == pytest.approx(float(truth[other, axis].mean()), abs=0.06)
                assert float(drawn[side, axis].std()) == pytest.approx(0.25, abs=0.06)
        assert float(torch.corrcoef(drawn[~low].T)[0, 1]) == pytest.approx(0.8, abs=0.12)


@pytest.mark.parametrize("model", [FlowMatching(steps=3), Diffusion(steps=3), Diffusion(steps=3, scheduler=ddpm)])
def test_members_depend_on_the_seed_and_not_on_the_batch(model):
    condition = torch.randn(3, 2, 4, 4, generator=seeded(1))
    wave = lambda x, c, t: torch.sin(x + c[:, :1]) * (1 + t.view(-1, 1, 1, 1))  # noqa: E731
    whole = model.sample(wave, condition, 5, seeded())
    pieces = replace(model, batch=4).sample(wave, condition, 5, seeded())
    assert whole.shape == (5, 3, 1, 4, 4)
    assert torch.allclose(whole, pieces)
    assert not torch.allclose(whole, model.sample(wave, condition, 5, seeded(1)))
    assert not torch.allclose(whole[0], whole[1])


@pytest.mark.parametrize("batch", [2, 5, 100])
def test_each_member_is_drawn_under_its_own_condition(batch):
    condition = torch.tensor([0.0, 100.0, 200.0])[:, None, None, None]
    drawn = FlowMatching(steps=4, batch=batch).sample(lambda x, c, t: c - x, condition, 50, seeded())
    assert ((drawn - condition * (1 - 1 / np.e)).abs() < 5).all()


def test_the_network_never_sees_more_images_than_the_batch():
    seen = []

    def watched(noisy, condition, time):
        seen.append(len(noisy))
        return torch.zeros_like(noisy)

    FlowMatching(steps=1, step=euler, batch=4).sample(watched, torch.zeros(3, 1, 2, 2), 3, seeded())
    assert seen == [4, 4, 1]


@pytest.mark.parametrize("model", [FlowMatching(), Diffusion()])
def test_unknown_targets_do_not_count(model):
    network, condition = (lambda x, c, t: c), torch.zeros(4, 1, 2, 2)
    known = torch.randn(4, 1, 2, 2, generator=seeded(2))
    partial = known.clone()
    partial[:, :, 0] = torch.nan
    loss = float(model.loss(network, partial, condition, seeded()))
    guess = condition.clone()
    guess[:, :, 0] = 1e6  # absurd where nothing is known
    assert float(model.loss(network, partial, guess, seeded())) == loss
    assert float(model.loss(network, known, guess, seeded())) > 1e6
    with pytest.raises(VigieError, match="no target of the batch is known"):
        model.loss(network, torch.full_like(known, torch.nan), condition, seeded())


def test_the_flow_loss_of_the_true_velocity_is_what_cannot_be_known():
    """Var(x1 - x0 | x_t) = (1 + s^2) - (t s^2 - (1 - t))^2 / ((1 - t)^2 + t^2 s^2), averaged over t."""
    x1 = MEAN + DEVIATION * torch.randn(200_000, 1, 1, 1, generator=seeded(3))
    x0 = torch.randn(200_000, 1, 1, 1, generator=seeded(4))
    found = float(flow_loss(lambda x, c, t: velocity(x, t.view(-1, 1, 1, 1)), x0, x1, x1, seeded()))
    t, s2 = np.linspace(0, 1, 10_001), DEVIATION**2
    wanted = np.trapezoid(1 + s2 - (t * s2 - (1 - t)) ** 2 / ((1 - t) ** 2 + t**2 * s2), t)
    assert found == pytest.approx(wanted, rel=0.01)


@pytest.mark.parametrize("norm", [GroupNorm, ChannelNorm])
def test_each_image_is_told_its_own_time(norm):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = UNetDenoiser(2, widths=(8, 16), norm=norm)
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=0.3)
    x, condition = torch.randn(2, 1, 8, 8, generator=seeded()), torch.randn(2, 2, 8, 8, generator=seeded(1))
    both = network(x, condition, torch.tensor([0.2, 0.9]))
    for row, time in enumerate((0.2, 0.9)):
        alone = network(x[row : row + 1], condition[row : row + 1], torch.tensor([time]))
        assert torch.allclose(both[row : row + 1], alone, atol=1e-4)
    assert not torch.allclose(both, network(x, condition, torch.tensor([0.9, 0.2])), atol=1e-2)


def test_one_context_for_all_is_the_same_as_one_each():
    for norm in (GroupNorm(16, 5), ChannelNorm(16, 5)):
        nn.init.normal_(norm.modulation.weight)
        x, context = torch.randn(3, 16, 4, 4, generator=seeded()), torch.randn(5, generator=seeded(1))
        assert torch.allclose(norm(x, context), norm(x, context.expand(3, 5)), atol=1e-5)


def test_gaps_of_the_condition_are_refused_and_masks_fill_them():
    gaps = torch.zeros(1, 2, 4, 4)
    gaps[0, 0, 0, 0] = torch.nan
    with pytest.raises(VigieError, match="1 values that are no numbers"):
        FlowMatching().sample(lambda x, c, t: x, gaps, 2, seeded())
    filled = masked(gaps)
    assert filled.shape == (1, 4, 4, 4) and float(filled[0, 2].sum()) == 15
    with pytest.raises(VigieError, match="no members"):
        FlowMatching().sample(lambda x, c, t: x, filled, 0, seeded())


def test_impossible_numbers_of_steps_and_sizes_are_refused():
    with pytest.raises(VigieError, match="so many steps"):
        Diffusion(levels=10, steps=11)
    with pytest.raises(VigieError, match="needs steps"):
        integrate(velocity, torch.zeros(1), 0)
    with pytest.raises(VigieError, match="5 x 4 pixels"):
        UNetDenoiser(1, widths=(8, 8))(torch.zeros(1, 1, 5, 4), torch.zeros(1, 1, 5, 4), torch.zeros(1))


@given(st.lists(st.one_of(st.just(0.0), st.floats(1e-4, 200.0)), min_size=1, max_size=30), st.floats(0.05, 5.0))
def test_rain_goes_there_and_back(rates, scale):
    rain = torch.tensor(rates, dtype=torch.float64)
    transform = RainTransform(mean=1.8, deviation=1.2, wet_mm_h=5e-5, scale_mm_h=scale)
    back = transform.back(transform.forward(rain, seeded()))
    assert torch.allclose(back, rain, rtol=1e-9, atol=0) and bool(((rain == 0) == (back == 0)).all())


def test_zeros_are_spread_log_uniformly():
    spread = dequantised(torch.zeros(100_000), 0.05, seeded()).log10()
    assert float(spread.min()) >= np.log10(0.05) - 2 and float(spread.max()) < np.log10(0.05)
    assert float(spread.mean()) == pytest.approx(np.log10(0.05) - 1, abs=0.01)
    assert float(spread.std()) == pytest.approx(2 / sqrt(12), rel=0.01)


def test_transformed_rain_is_standardised_and_its_numbers_are_kept():
    rain = torch.cat([torch.zeros(500), torch.rand(500, generator=seeded()) * 10, torch.tensor([torch.nan])])
    transform = fit_rain_transform(rain, seeded(1), wet_mm_h=0.05)
    seen = transform.forward(rain, seeded(1))
    assert torch.isnan(seen[-1]) and float(seen[:-1].mean()) == pytest.approx(0, abs=1e-5)
    assert float(seen[:-1].std()) == pytest.approx(1, abs=1e-5)
    assert RainTransform(**asdict(transform)) == transform
    coarse = fit_rain_transform(rain, seeded(1), wet_mm_h=0.05, scale_mm_h=2.0)
    assert float(coarse.standardised(torch.tensor(2.0))) == pytest.approx((np.log(2.0) - coarse.mean) / coarse.deviation)
    with pytest.raises(VigieError, match="negative"):
        transform.forward(torch.tensor([-0.1]), seeded())
    with pytest.raises(VigieError, match="cannot be standardised"):
        fit_rain_transform(torch.full((5,), 3.0), seeded())


def test_members_of_residuals_are_added_to_the_reference():
    reference = torch.randn(50, 1, 2, 2, generator=seeded())
    target = 0.7 * reference + 0.3 + torch.randn(50, 1, 2, 2, generator=seeded(1))
    residual = fit_residual(target, reference)
    seen = residual.forward(target, reference)
    assert float(seen.mean()) == pytest.approx(0, abs=1e-6) and float(seen.std()) == pytest.approx(1, abs=1e-6)
    assert torch.allclose(residual.back(seen.expand(3, 50, 1, 2, 2), reference), target.expand(3, 50, 1, 2, 2), atol=1e-6)
    assert Residual(**asdict(residual)) == residual
