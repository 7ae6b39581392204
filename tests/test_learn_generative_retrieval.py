"""A generative retrieval draws from known distributions, whatever the tile, and comes back from its folder as it was."""

from __future__ import annotations

import json
from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from vigie.core.errors import VigieError
from vigie.learn import channels
from vigie.learn.fit import FitSettings, Task, connect, fit
from vigie.learn.generative.noise import noise_at
from vigie.learn.generative.rain import RainTransform, Residual
from vigie.learn.generative.retrieval import GenerativeRetrieval, load, quantiles_of
from vigie.learn.generative.settings import GenerativeSettings
from vigie.learn.generative.teaching import RainLearner, seen, taught, with_residual
from vigie.learn.rain_heads.settings import RainHeadSettings
from vigie.learn.rain_heads.settings import build as head_of
from vigie.learn.retrieval import RetrievalSettings, build
from vigie.learn.retrieval_inputs import Inputs
from vigie.learn.retrieval_model import Member, RetrievalModel
from vigie.learn.swaths import ChannelScaling, RainBatch, shown_mask

NAMES = ("36.64V", "89.00V")
SCALING = ChannelScaling(mean=dict.fromkeys(NAMES, 250.0), deviation=dict.fromkeys(NAMES, 20.0))
INPUTS = Inputs(NAMES)
BANDS = torch.rand(2, channels.WIDTH, generator=torch.Generator().manual_seed(2))
TRANSFORM = RainTransform(mean=3.0, deviation=0.5)
GAIN, DEVIATION = 0.8, 0.3
"""The standardised target is normal about GAIN times the first channel, with DEVIATION."""


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class Exact(nn.Module):
    """E[x1 - x0 | x_t] of that target: carries noise to GAIN c + DEVIATION noise."""

    multiple, receptive_field = 1, 1

    def forward(self, noisy, condition, time):
        t, mean = time.view(-1, 1, 1, 1), GAIN * condition[:, :1]
        variance = (1 - t) ** 2 + (t * DEVIATION) ** 2
        return mean + (t * DEVIATION**2 - (1 - t)) / variance * (noisy - t * mean)


class Still(nn.Module):
    """No velocity: members are their noise."""

    multiple, receptive_field = 1, 1

    def __init__(self, shift=0.0):
        super().__init__()
        self.shift = shift

    def forward(self, noisy, condition, time):
        return torch.full_like(noisy, self.shift)


def generative(networks, reference=None, residual=None, **settings):
    return GenerativeRetrieval(
        networks, GenerativeSettings(**settings), TRANSFORM, INPUTS, NAMES, SCALING, reference, residual, {"limits": ["few"]}
    )


def quantile_network(name="pixel"):
    network, head = RetrievalSettings(name=name, hidden=(8,), widths=(4, 8)), RainHeadSettings(levels=(0.1, 0.5, 0.9))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        member = build(network, head_of(head).channels).eval()
    return RetrievalModel([Member(member, network, head)], INPUTS, SCALING)


def untrained(model, count=1):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        networks = [model.blank().eval() for _ in range(count)]
        for network in networks:
            for parameter in network.parameters():
                nn.init.normal_(parameter, std=0.2)
    return replace(model, networks=networks)


def shown(count=5, height=1, width=1):
    x = torch.randn(count, 2, height, width, generator=seeded(1))
    return x, NAMES, BANDS


def drawn_batch(number, count=256):
    """Footprints whose transformed rain has the known conditional distribution."""
    x = torch.randn(count, 2, 1, 1, generator=seeded(number))
    z = GAIN * x[:, :1] + DEVIATION * torch.randn(count, 1, 1, 1, generator=seeded(number + 10_000))
    y = TRANSFORM.back(z)[:, 0]
    group, target = torch.zeros(y.shape, dtype=torch.int64), torch.zeros(count, dtype=torch.bool)
    return RainBatch(x, shown_mask(x), BANDS, y, torch.ones_like(y), group, target, ("",) * count)


def check_moments(model, members=4000, within=4.0):
    """Means and deviations of members under three conditions, against the distribution, by its sampling error."""
    x = torch.tensor([[-1.0, 0.3], [0.0, -0.5], [1.2, 0.1]])[:, :, None, None]
    noise = torch.randn(members, 3, 1, 1, generator=seeded(3))
    rain = model.members(x, NAMES, BANDS, noise)
    assert rain.shape == (members, 3, 1, 1)
    z = TRANSFORM.standardised(rain)[..., 0, 0]
    error = within * DEVIATION / sqrt(members)
    np.testing.assert_allclose(z.mean(dim=0), GAIN * x[:, 0, 0, 0], atol=error)
    np.testing.assert_allclose(z.std(dim=0), DEVIATION, atol=error)


def test_members_of_the_exact_flow_have_the_moments_of_the_target():
    check_moments(generative([Exact()], generator="flow", steps=20))


def learnt(folder, steps, **how):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = generative([], name="pixel", hidden=(32, 32), steps=20, batch=20_000, **how)
        network = model.blank()
    settings = FitSettings(steps=steps, warmup_steps=10, learning_rate=1e-2, log_every=10)
    task = Task(RainLearner(model, network), lambda raw, batch, progress: raw, lambda n: taught(drawn_batch(n)))
    fit(task, settings, folder, connect(settings, "cpu"))
    return replace(model, networks=[network.eval()])


@pytest.mark.parametrize("generator", ["flow", "diffusion"])
def test_a_taught_network_draws_from_the_known_distribution(tmp_path, generator):
    check_moments(learnt(tmp_path, 500, generator=generator), within=16.0)


def test_learning_twice_gives_the_same(tmp_path):
    weights = [
        torch.cat([p.flatten() for p in learnt(tmp_path / run, 20).networks[0].parameters()]) for run in ("first", "second")
    ]
    assert torch.equal(*weights)


def test_around_a_reference_members_are_its_mean_and_what_it_leaves():
    reference, residual = quantile_network(), Residual(mean=0.2, deviation=0.4)
    model = generative([Still()], reference, residual, name="pixel")
    noise = torch.randn(7, 5, 1, 1, generator=seeded())
    levels = [(k + 0.5) / 20 for k in range(20)]
    known = TRANSFORM.standardised(reference.distribution(*shown(), levels)[0]).mean(dim=1)
    wanted = TRANSFORM.back(known + 0.2 + 0.4 * noise).clamp(min=0)
    torch.testing.assert_close(model.members(*shown(), noise), wanted)


def test_networks_take_turns():
    model = generative([Still(0.0), Still(1.0), Still(2.0)])
    rain = model.members(*shown(), torch.zeros(5, 5, 1, 1))
    assert TRANSFORM.standardised(rain)[:, 0, 0, 0].round(decimals=4).tolist() == [0.0, 1.0, 2.0, 0.0, 1.0]
    assert model.members(*shown(), torch.zeros(2, 5, 1, 1)).shape == (2, 5, 1, 1)


@pytest.mark.parametrize("halo", ["whole", "half"])
def test_members_of_tiles_with_their_halo_are_those_of_the_whole(halo):
    model = untrained(generative([], quantile_network("unet"), Residual(0.0, 1.0), widths=(4, 8), steps=1))
    model = untrained(model)
    assert model.multiple == 2 and model.reach == 2 * 11 + 12
    x = torch.randn(1, 2, 160, 8, generator=seeded(1))
    whole = model.members(x, NAMES, BANDS, noise_at(5, 3, range(160), range(8))[:, None])
    reach = model.reach if halo == "whole" else 6
    rows = range(80 - reach, 100 + reach)
    tile = x[:, :, rows.start : rows.stop]
    part = model.members(tile, NAMES, BANDS, noise_at(5, 3, rows, range(8))[:, None])[:, :, reach : reach + 20]
    assert torch.allclose(part, whole[:, :, 80:100], rtol=1e-4) == (halo == "whole")


@given(st.integers(0, 2**40), st.integers(0, 30), st.integers(1, 5), st.integers(0, 9), st.integers(1, 4))
def test_noise_is_a_function_of_seed_member_and_place(seed, scan, scans, pixel, pixels):
    whole = noise_at(seed, 3, range(35), range(13))
    part = noise_at(seed, 2, range(scan, scan + scans), range(pixel, pixel + pixels))
    assert torch.equal(part, whole[:2, scan : scan + scans, pixel : pixel + pixels])


def test_noise_is_standard_normal_and_independent():
    one, other = noise_at(0, 4, range(200), range(50)), noise_at(1, 4, range(200), range(50))
    count = one.numel()
    assert abs(float(one.mean())) < 4 / sqrt(count) and abs(float(one.var()) - 1) < 4 * sqrt(2 / count)
    for shifted in (other, one.roll(1, 0), one.roll(1, 1), one.roll(1, 2)):
        assert abs(float((one * shifted).mean())) < 4 / sqrt(count)
    with pytest.raises(VigieError, match="noise cannot be drawn there"):
        noise_at(0, 1, range(-2, 3), range(4))


@given(st.integers(2, 40), st.integers(0, 1000))
def test_quantiles_of_members_are_those_of_hazen(count, seed):
    members, levels = torch.rand(count, 3, 2, generator=seeded(seed)), (0.01, 0.3, 0.5, 0.97)
    wanted = np.quantile(members.double().numpy(), levels, axis=0, method="hazen").swapaxes(0, 1)
    np.testing.assert_allclose(quantiles_of(members, levels), wanted, atol=1e-6)


def test_quantiles_of_the_exact_flow_are_those_of_the_target():
    model, levels = generative([Exact()], steps=20), (0.1, 0.5, 0.9)
    noise = torch.randn(4000, 5, 1, 1, generator=seeded(4))
    quantiles, mean = model.distribution(*shown(), levels, noise)
    torch.testing.assert_close(mean, model.members(*shown(), noise).mean(dim=0))
    found = TRANSFORM.standardised(quantiles)[:, :, 0, 0]
    normal = torch.distributions.Normal(GAIN * shown()[0][:, :1, 0, 0], DEVIATION)
    np.testing.assert_allclose(found, normal.icdf(torch.tensor(levels)), atol=6 * DEVIATION / sqrt(4000))


def test_missing_columns_are_no_obstacle_and_strange_ones_are():
    x = shown()[0].clone()
    x[:, 1] = torch.nan
    model, noise = untrained(generative([], quantile_network(), Residual(0.0, 1.0), name="pixel")), torch.zeros(2, 5, 1, 1)
    assert torch.isfinite(model.members(x, NAMES, BANDS, noise)).all()
    alone = untrained(generative([], name="pixel"))
    torch.testing.assert_close(
        alone.members(x[:, :1], NAMES[:1], BANDS[:1], noise), alone.members(x[:, [1, 0]], NAMES[::-1], BANDS.flip(0), noise)
    )
    with pytest.raises(VigieError, match="cannot find what it was taught"):
        model.members(x[:, :1], ("10.65V",), BANDS[:1], noise)
    with pytest.raises(VigieError, match=r"2 columns: 36\.64V; expected"):
        model.members(x, NAMES[:1], BANDS, noise)
    with pytest.raises(VigieError, match="noise and condition do not fit"):
        model.members(*shown(), torch.zeros(2, 4, 1, 1))
    with pytest.raises(VigieError, match="has no network"):
        generative([]).members(*shown(), noise)


def test_pixels_that_weigh_nothing_teach_nothing():
    model = generative([])
    batch = drawn_batch(0, count=8)
    weight = batch.weight.clone()
    weight[:4] = 0.0
    losses = []
    for rain in (batch.y, torch.where(weight > 0, batch.y, 1e3)):
        shown_batch = taught(replace(batch, y=rain, weight=weight))
        torch.manual_seed(0)
        losses.append(float(RainLearner(model, Still())(shown_batch.x, shown_batch.mask, shown_batch.bands)))
    assert losses[0] == losses[1]


def test_what_a_reference_leaves_is_standardised_and_its_weights_are_not_learnt():
    model = with_residual(generative([], quantile_network(), name="pixel"), map(drawn_batch, range(4)))
    pairs = [seen(model, batch.x, batch.bands) for batch in (taught(drawn_batch(n)) for n in range(4))]
    target = torch.cat([target for target, _ in pairs])
    assert float(target.mean()) == pytest.approx(0, abs=1e-4) and float(target.std()) == pytest.approx(1, abs=1e-4)
    assert pairs[0][1].shape[1] == model.conditions == 6
    learner = RainLearner(model, model.blank())
    assert {name.split(".")[0] for name, _ in learner.named_parameters()} == {"network"}


@pytest.mark.parametrize("with_reference", [True, False])
def test_a_saved_model_draws_the_same(tmp_path, with_reference):
    around = (quantile_network(), Residual(0.1, 0.9)) if with_reference else (None, None)
    model = untrained(generative([], *around, name="pixel", hidden=(8, 8), generator="diffusion", steps=3), count=2)
    model.save(tmp_path / "model")
    back, noise = load(tmp_path / "model"), torch.randn(3, 5, 1, 1, generator=seeded())
    torch.testing.assert_close(back.members(*shown(), noise), model.members(*shown(), noise), rtol=0, atol=0)
    assert (back.settings, back.transform, back.residual) == (model.settings, model.transform, model.residual)
    assert (back.inputs, back.columns, back.scaling, back.facts) == (INPUTS, NAMES, SCALING, model.facts)
    card = (tmp_path / "model" / "card.md").read_text()
    assert "2 network(s) `pixel`" in card and ("reference/" in card) == with_reference


def test_broken_folders_are_refused(tmp_path):
    model = untrained(generative([], quantile_network(), Residual(0.1, 0.9), name="pixel", hidden=(8,)))
    model.save(tmp_path / "model")
    card = tmp_path / "model" / "card.json"
    written = json.loads(card.read_text())
    for broken in ({"residual": {"mean": "much", "deviation": 1}}, {"transform": {}}, {"scaling": 3}, {"inputs": {}}):
        card.write_text(json.dumps(written | broken))
        with pytest.raises(VigieError, match="is not the card of a model"):
            load(tmp_path / "model")
    card.write_text(json.dumps({key: value for key, value in written.items() if key != "transform"}))
    with pytest.raises(VigieError, match="no transform"):
        load(tmp_path / "model")
    card.write_text(json.dumps(written))
    weights = tmp_path / "model" / "reference" / "member-00.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(VigieError, match="are not those of the card"):
        load(tmp_path / "model")


def test_a_reference_must_see_the_same_and_a_residual_needs_one():
    with pytest.raises(VigieError, match="a residual needs the reference"):
        generative([], residual=Residual(0.0, 1.0))
    with pytest.raises(VigieError, match="do not see the same"):
        generative([], replace(quantile_network(), inputs=Inputs(NAMES[:1])))
    with pytest.raises(ValueError, match="cannot take 20 steps"):
        GenerativeSettings(generator="diffusion", levels=10, steps=20)
