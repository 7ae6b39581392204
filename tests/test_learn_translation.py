"""A learnt map between domains: rows get the other's distribution, class by class, and move no more than they must."""

import itertools

import pytest
import torch

from vigie.core.errors import VigieError
from vigie.learn.generative.denoiser import FootprintDenoiser
from vigie.learn.translation import (
    Domain,
    drawn_pairs,
    optimal_pairs,
    rain_classes,
    translate,
    translation_loss,
    wet_edges,
)

SHIFT = {0: torch.tensor([2.0, 0.0]), 1: torch.tensor([-1.0, 1.0])}
STRETCH = {0: torch.tensor([1.0, 0.5]), 1: torch.tensor([0.6, 1.4])}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def domains(count=2000):
    """Normal rows whose target is another normal, per class: the optimal map is shift + stretch x."""
    classes = torch.randint(2, (2, count), generator=seeded(1))
    source, other = torch.randn(2, count, 2, generator=seeded(2))
    shift, stretch = (torch.stack([table[0], table[1]])[classes[1]] for table in (SHIFT, STRETCH))
    return Domain(source, classes[0]), Domain(shift + stretch * other, classes[1])


def test_the_map_gives_each_class_the_targets_distribution():
    source, target = domains()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = FootprintDenoiser(conditions=2, channels=2, widths=(64, 64))
    optimiser = torch.optim.AdamW(network.parameters(), lr=4e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 300)
    generator = seeded()
    for _ in range(300):
        loss = translation_loss(network, source, target, 128, generator)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    moved = translate(network, source, classes=2, steps=10, batch=1000)
    for code in (0, 1):
        here, exact = source.classes == code, SHIFT[code] + STRETCH[code] * source.inputs
        assert torch.allclose(moved[here].mean(0), SHIFT[code], atol=0.1)
        assert torch.allclose(moved[here].std(0), STRETCH[code], atol=0.1)
        # Not just any rows of that distribution: each goes where the optimal map sends it.
        assert float((moved - exact)[here].square().mean().sqrt()) < 0.25
    assert torch.equal(moved, translate(network, source, classes=2, steps=10, batch=1000))


def test_pairs_are_those_of_least_distance():
    source, target = torch.randn(2, 6, 3, generator=seeded(), dtype=torch.float64)
    cost = torch.cdist(source, target) ** 2
    least = min(float(sum(cost[row, column] for row, column in enumerate(order))) for order in itertools.permutations(range(6)))
    assert float(cost[torch.arange(6), optimal_pairs(source, target)].sum()) == pytest.approx(least)


def test_pairs_are_of_one_class_and_rows_of_their_domain():
    source, target = domains(200)
    starts, ends, classes = drawn_pairs(source, target, 64, seeded())
    for start, end, code in zip(starts, ends, classes, strict=True):
        assert (source.inputs[source.classes == code] == start).all(1).any()
        assert (target.inputs[target.classes == code] == end).all(1).any()


def test_classes_that_the_target_lacks_are_refused():
    source, target = domains(50)
    with pytest.raises(VigieError, match=r"none of \[1\]"):
        drawn_pairs(source, Domain(target.inputs, torch.zeros_like(target.classes)), 8, seeded())


def test_wet_classes_hold_as_many_rows_each():
    rain = torch.cat([torch.zeros(100), torch.rand(900, generator=seeded()) * 5 + 0.1])
    classes = rain_classes(rain, wet_edges(rain, 0.1, bins=3))
    assert torch.bincount(classes).tolist() == pytest.approx([100, 300, 300, 300], abs=1)
    with pytest.raises(VigieError, match="1 NaN"):
        rain_classes(torch.tensor([torch.nan]), (0.1,))
