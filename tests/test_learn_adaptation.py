"""Domains made alike: covariances by CORAL, gradients that are turned round, features that hide their domain."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from vigie.core.errors import VigieError
from vigie.learn.adaptation import (
    DomainDiscriminator,
    coral_loss,
    domain_loss,
    fit_coral,
    reversal_strength,
    reversed_gradient,
)


def rows(count, width, seed):
    random = np.random.default_rng(seed)
    return random.normal(size=(count, width)) @ random.normal(size=(width, width)) + random.normal(size=width)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 8), st.integers(0, 10_000))
def test_mapped_rows_have_the_targets_mean_and_covariance(width, seed):
    source, target = rows(200, width, seed), rows(150, width, seed + 1)
    mapped = fit_coral(source, target, ridge=0.0)(source)
    scale = np.abs(np.cov(target.T)).max()
    assert np.allclose(np.cov(mapped.T), np.cov(target.T), atol=1e-6 * scale)
    assert np.allclose(mapped.mean(0), target.mean(0))


def test_a_domain_is_mapped_onto_itself_by_the_identity_whatever_the_ridge():
    table = rows(100, 4, 0)
    assert np.allclose(fit_coral(table, table, ridge=2.0)(table), table)


def test_a_ridge_keeps_directions_without_variance():
    source = np.c_[rows(100, 2, 0), np.zeros(100)]
    with pytest.raises(VigieError, match="does not vary in all directions"):
        fit_coral(source, rows(100, 3, 1), ridge=0.0)
    assert np.isfinite(fit_coral(source, rows(100, 3, 1), ridge=1e-3)(source)).all()


def test_gaps_are_refused_when_fitting_and_kept_when_mapping():
    table = rows(50, 2, 0)
    gaps = table.copy()
    gaps[3, 1] = np.nan
    with pytest.raises(VigieError, match="target domain has gaps"):
        fit_coral(table, gaps, ridge=0.0)
    assert np.isnan(fit_coral(table, table, ridge=0.0)(gaps)).all(axis=1).nonzero()[0].tolist() == [3]


def test_the_coral_loss_is_the_distance_of_covariances_and_vanishes_after_coral():
    source, target = rows(80, 3, 0), rows(90, 3, 1)
    wanted = ((np.cov(source.T) - np.cov(target.T)) ** 2).sum() / 36
    assert float(coral_loss(torch.tensor(source), torch.tensor(target))) == pytest.approx(wanted)
    mapped = fit_coral(source, target, ridge=0.0)(source)
    assert float(coral_loss(torch.tensor(mapped), torch.tensor(target))) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_reversed_gradients_have_the_other_sign(strength):
    x = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.equal(reversed_gradient(x, strength), x)
    (plain,) = torch.autograd.grad((x**3).sum(), x)
    (turned,) = torch.autograd.grad((reversed_gradient(x, strength) ** 3).sum(), x)
    assert torch.allclose(turned, -strength * plain)
    assert [round(reversal_strength(p), 4) for p in (0.0, 0.1, 1.0)] == [0.0, round(np.tanh(0.5), 4), 0.9999]


def test_the_discriminator_learns_and_the_features_unlearn():
    discriminator, features = DomainDiscriminator(2, 8), torch.tensor([[1.0, 0.0], [-1.0, 0.0]], requires_grad=True)
    loss = domain_loss(discriminator, features[:1], features[1:], strength=0.5)
    loss.backward()
    with torch.no_grad():
        for parameter in discriminator.parameters():
            parameter -= 0.01 * parameter.grad
        better = domain_loss(discriminator, features[:1], features[1:], 0.5)
        moved = features - 0.1 * features.grad
        worse = domain_loss(discriminator, moved[:1], moved[1:], 0.5)
    assert better < loss and worse > better


def train_a_filter(strength):
    """Learn y = a from (a, domain + noise): the weight of what tells the domain, beside that of what tells y."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer, discriminator = nn.Linear(2, 1), DomainDiscriminator(1, 16)
        optimiser = torch.optim.Adam([*layer.parameters(), *discriminator.parameters()], lr=0.01)
        for step in range(300):
            a = torch.randn(2, 128)
            source, target = (torch.stack([a[n] + n, a[n].new_full((128,), float(n))], 1) for n in (0, 1))
            features = layer(source), layer(target)
            fitted = ((features[0][:, 0] - source[:, 0]) ** 2).mean()
            loss = fitted + domain_loss(discriminator, *features, strength * reversal_strength(step / 300))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return [float(part.detach()) for part in layer.weight[0]]


def test_features_learn_to_hide_the_domain():
    """The target's inputs are one higher; the second input says which domain it is, and can take that back."""
    signal, domain = train_a_filter(strength=1.0)
    assert signal == pytest.approx(1.0, abs=0.15) and domain == pytest.approx(-signal, abs=0.25)
    _, ignored = train_a_filter(strength=0.0)
    assert abs(ignored + 1.0) > 0.3
