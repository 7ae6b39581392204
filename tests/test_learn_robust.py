"""The worst group decides: weights follow the closed form, solutions are minimax; ensembles disagree as they do."""

import numpy as np
import pytest
import torch

from vigie.core.errors import VigieError
from vigie.learn.robust import GroupRobust, disagreement, group_means


def test_weights_are_the_exponentiated_gradient():
    robust, group, random = GroupRobust(3, rate=0.2), torch.tensor([0, 0, 1, 2, 2]), np.random.default_rng(0)
    raised = np.ones(3)
    for _ in range(50):
        losses = random.uniform(0, 4, 5).astype(np.float32)
        means = np.array([losses[:2].mean(), losses[2], losses[3:].mean()])
        raised = raised * np.exp(0.2 * means)
        loss = robust(torch.tensor(losses), group)
        assert robust.weights.numpy() == pytest.approx(raised / raised.sum(), rel=1e-4)
        assert float(loss) == pytest.approx((raised * means).sum() / raised.sum(), rel=1e-4)


def test_the_worst_group_decides_however_few_its_rows_are():
    """95 rows want 0, 5 want 1: the mean loss is least at 0.05, the worse of both groups' at 0.5."""
    wanted, group = torch.cat([torch.zeros(95), torch.ones(5)]), torch.cat([torch.zeros(95), torch.ones(5)]).long()
    found = torch.zeros((), requires_grad=True)
    robust, optimiser = GroupRobust(2, rate=0.1), torch.optim.SGD([found], lr=0.05)
    course = []
    for _ in range(1000):
        optimiser.zero_grad()
        robust((found - wanted) ** 2, group).backward()
        optimiser.step()
        course.append(float(found.detach()))
    assert np.mean(course[-500:]) == pytest.approx(0.5, abs=0.02)


def test_weights_stay_in_evaluation_and_are_part_of_the_state():
    robust = GroupRobust(2, rate=1.0)
    robust(torch.tensor([0.0, 5.0]), torch.tensor([0, 1]))
    robust.eval()
    before = robust.weights.clone()
    robust(torch.tensor([9.0, 0.0]), torch.tensor([0, 1]))
    assert torch.equal(robust.weights, before) and "weights" in robust.state_dict()


def test_gradients_are_those_of_the_weighted_means():
    robust = GroupRobust(2, rate=0.5).eval()
    losses = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    robust(losses, torch.tensor([0, 0, 1])).backward()
    assert losses.grad.tolist() == [0.25, 0.25, 0.5]


def test_groups_without_rows_have_no_loss_and_rows_without_group_are_refused():
    assert group_means(torch.tensor([2.0, 4.0]), torch.tensor([1, 1]), 3).tolist() == [0.0, 3.0, 0.0]
    with pytest.raises(VigieError, match=r"found \[5\]"):
        group_means(torch.zeros(2), torch.tensor([0, 5]), 3)


def test_disagreement_is_the_deviation_of_members_and_of_their_distributions():
    members = torch.randn(6, 20, 1, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(disagreement(members), members[:, :, 0].std(dim=0))
    # Normal members N(m_i, s_i^2): W2^2 to the barycentre is (m_i - m)^2 + (s_i - s)^2.
    levels = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
    normal = torch.special.ndtri(levels)
    mean, deviation = torch.tensor([0.0, 1.0, 3.0]).double(), torch.tensor([1.0, 2.0, 1.5]).double()
    quantiles = (mean[:, None] + deviation[:, None] * normal)[:, None]
    wanted = float((mean.var() + deviation.var()).sqrt())
    assert float(disagreement(quantiles)) == pytest.approx(wanted, rel=1e-3)
    with pytest.raises(VigieError, match="found 1 member"):
        disagreement(quantiles[:1])
