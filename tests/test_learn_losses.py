"""Partial-label losses against torch, segmentation-models-pytorch and brute force."""

from __future__ import annotations

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch.nn import functional as F

from vigie.learn.losses import (
    LossSettings,
    boundary,
    build_loss,
    coarse_log_probability,
    cross_entropy,
    dice,
    signed_distance,
    tversky,
)

C = 4
EYE = torch.eye(C, dtype=torch.float64)
DEBRIS = torch.tensor([[1.0, 1, 0, 1], [0, 0, 1, 0]], dtype=torch.float64)


def case(labels: int = C, unknown: bool = True, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, C, 5, 6, generator=g, dtype=torch.float64)
    rows = torch.randint(-1 if unknown else 0, labels, (2, 5, 6), generator=g)
    return logits, rows, torch.rand(2, 5, 6, generator=g, dtype=torch.float64)


ALL = {
    "cross-entropy": lambda z, r, m, w: cross_entropy(z, r, m, w),
    "smoothed": lambda z, r, m, w: cross_entropy(z, r, m, w, smoothing=0.05),
    "focal": lambda z, r, m, w: cross_entropy(z, r, m, w, gamma=2.0),
    "dice": dice,
    "tversky": lambda z, r, m, w: tversky(z, r, m, w, (0.3, 0.7)),
    "boundary": boundary,
    "sum": build_loss(LossSettings(focal=0.5, tversky=0.2, boundary=0.3, smoothing=0.05)),
}
each_loss = pytest.mark.parametrize("loss", ALL.values(), ids=ALL.keys())


class TestIdentityMatrixIsTheTextbook:
    def test_cross_entropy_is_torchs(self):
        z, rows, _ = case()
        assert torch.equal(coarse_log_probability(z, EYE), F.log_softmax(z, 1))
        expected = F.cross_entropy(z, rows, ignore_index=-1)
        torch.testing.assert_close(cross_entropy(z, rows, EYE, torch.ones_like(rows)), expected, rtol=1e-14, atol=0)

    def test_label_smoothing_is_torchs(self):
        z, rows, _ = case()
        expected = F.cross_entropy(z, rows, ignore_index=-1, label_smoothing=0.1)
        torch.testing.assert_close(cross_entropy(z, rows, EYE, torch.ones_like(rows), smoothing=0.1), expected)

    def test_weights_are_a_weighted_mean(self):
        z, rows, weight = case(unknown=False)
        each = F.cross_entropy(z, rows, reduction="none")
        torch.testing.assert_close(cross_entropy(z, rows, EYE, weight), (weight * each).sum() / weight.sum())

    def test_focal_is_the_formula(self):
        z, rows, weight = case(unknown=False)
        p = F.softmax(z, 1).gather(1, rows[:, None])[:, 0]
        expected = (weight * -((1 - p) ** 2) * p.log()).sum() / weight.sum()
        torch.testing.assert_close(cross_entropy(z, rows, EYE, weight, gamma=2.0), expected)

    def test_dice_is_smps(self):
        z, rows, _ = case()
        # smp adds its `smooth` to the intersection, the textbook (and we) to twice the intersection.
        expected = smp.losses.DiceLoss("multiclass", smooth=0.5, ignore_index=-1)(z, rows)
        torch.testing.assert_close(dice(z, rows, EYE, torch.ones_like(rows), smooth=1.0), expected)

    def test_tversky_is_smps(self):
        z, rows, _ = case(unknown=False)
        expected = smp.losses.TverskyLoss("multiclass", smooth=1.0, alpha=0.3, beta=0.7)(z, rows)
        torch.testing.assert_close(tversky(z, rows, EYE, torch.ones_like(rows), (0.3, 0.7), smooth=1.0), expected)

    def test_absent_labels_are_left_out_of_dice(self):
        z, rows, weight = case(labels=2, unknown=False)
        p = F.softmax(z, 1)
        scores = []
        for k in range(2):
            truth = (rows == k).double()
            scores.append((2 * (weight * p[:, k] * truth).sum() + 1) / ((weight * p[:, k]).sum() + (weight * truth).sum() + 1))
        torch.testing.assert_close(dice(z, rows, EYE, weight), 1 - sum(scores) / 2)


class TestCoarseLabels:
    @given(seed=st.integers(0, 99), scale=st.sampled_from([1.0, 30.0, 1e4]))
    @settings(max_examples=25, deadline=None)
    def test_probability_is_the_sum_of_its_leaves_and_stays_finite(self, seed, scale):
        z = scale * case(seed=seed)[0]
        log_q = coarse_log_probability(z, DEBRIS)
        assert torch.isfinite(log_q).all()
        torch.testing.assert_close(log_q.exp(), torch.einsum("kc,nchw->nkhw", DEBRIS, F.softmax(z, 1)))

    def test_binary_labels_are_a_sigmoid_against_all_the_rest(self):
        z, rows, weight = case(labels=2)
        against = z[:, 2] - torch.logsumexp(z[:, [0, 1, 3]], 1)
        each = F.binary_cross_entropy_with_logits(against, (rows == 1).double(), reduction="none")
        known = weight * (rows >= 0)
        torch.testing.assert_close(cross_entropy(z, rows, DEBRIS, weight), (known * each).sum() / known.sum())

    def test_leaves_of_one_label_stay_free(self):
        z, rows, weight = case(labels=2)
        z.requires_grad_()
        loss = cross_entropy(z, rows, DEBRIS, weight)
        (gradient,) = torch.autograd.grad(loss, z)
        shares = F.softmax(z.detach()[:, [0, 1, 3]], 1)
        total = gradient[:, [0, 1, 3]].sum(1, keepdim=True)
        torch.testing.assert_close(gradient[:, [0, 1, 3]], shares * total)

    def test_half_precision_logits_are_summed_in_single(self):
        z, rows, weight = case()
        half = z.bfloat16()
        found = cross_entropy(half, rows, EYE.float(), weight.float())
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, cross_entropy(half.float(), rows, EYE.float(), weight.float()))


class TestEveryLoss:
    @each_loss
    @pytest.mark.parametrize("matrix", [EYE, DEBRIS], ids=["leaves", "coarse"])
    def test_gradient_is_right(self, loss, matrix):
        z, rows, weight = case(labels=len(matrix))
        assert torch.autograd.gradcheck(lambda logits: loss(logits, rows, matrix, weight), (z.requires_grad_(),))

    @each_loss
    def test_unknown_pixels_have_no_gradient_and_no_effect(self, loss):
        z, rows, weight = case()
        z.requires_grad_()
        value = loss(z, rows, EYE, weight)
        value.backward()
        unknown = (rows < 0)[:, None].expand_as(z)
        assert unknown.any() and (z.grad[unknown] == 0).all() and (z.grad[~unknown] != 0).any()
        torch.testing.assert_close(loss(torch.where(unknown, 50.0, z.detach()), rows, EYE, weight), value.detach())

    @each_loss
    def test_a_batch_of_unknowns_is_zero_with_a_gradient(self, loss):
        z, rows, weight = case()
        z.requires_grad_()
        value = loss(z, torch.full_like(rows, -1), EYE, weight)
        value.backward()
        assert value.item() == 0 and (z.grad == 0).all()

    @pytest.mark.parametrize("name", sorted(set(ALL) - {"boundary", "sum"}))
    def test_zero_weight_is_unknown(self, name):
        # Not so for the boundary, which is that of all labels, whatever they weigh.
        loss, (z, rows, weight) = ALL[name], case()
        masked = torch.where(weight > 0.5, rows, -1)
        torch.testing.assert_close(loss(z, rows, EYE, weight * (weight > 0.5)), loss(z, masked, EYE, weight))

    @each_loss
    def test_truth_is_better_than_its_opposite(self, loss):
        _, rows, weight = case(labels=2, unknown=False)
        right = F.one_hot(rows, C).movedim(-1, 1).double()
        assert loss(9 * right, rows, EYE, weight) < loss(-9 * right, rows, EYE, weight)


class TestBoundary:
    @given(seed=st.integers(0, 999))
    @settings(max_examples=15, deadline=None)
    def test_distance_is_brute_force(self, seed):
        rows = np.random.default_rng(seed).integers(-1, 3, (2, 5, 6))
        found = signed_distance(rows, 3)
        y, x = np.indices(rows.shape[1:])
        for n, k, i, j in np.ndindex(found.shape):
            inside, other = rows[n] == k, (rows[n] >= 0) & (rows[n] != k)
            if rows[n, i, j] < 0 or not inside.any() or not other.any():
                expected = 0.0
            else:
                gap = np.hypot(y - i, x - j)
                expected = 1 - gap[other].min() if inside[i, j] else gap[inside].min()
            assert found[n, k, i, j] == pytest.approx(expected, abs=1e-5)

    def test_is_the_mean_of_distance_times_probability(self):
        z, rows, weight = case()
        phi = torch.from_numpy(signed_distance(rows.numpy(), C)).double().clamp(-2, 2) / 2
        known = (weight * (rows >= 0))[:, None]
        expected = (known * phi * F.softmax(z, 1)).sum() / (known.sum() * C)
        torch.testing.assert_close(boundary(z, rows, EYE, weight, clip_px=2.0), expected)

    def test_weight_grows_over_the_ramp(self):
        z, rows, weight = case()
        alone = boundary(z, rows, EYE, weight)
        loss = build_loss(LossSettings(cross_entropy=0, dice=0, boundary=0.5, boundary_ramp=0.5))
        for progress, factor in ((0.0, 0.0), (0.25, 0.25), (0.5, 0.5), (1.0, 0.5)):
            torch.testing.assert_close(loss.at(progress)(z, rows, EYE, weight), factor * alone)


class TestSettings:
    def test_sum_is_the_weighted_sum(self):
        z, rows, weight = case()
        loss = build_loss(LossSettings(cross_entropy=2.0, dice=0.5, smoothing=0.1))
        expected = 2 * cross_entropy(z, rows, EYE, weight, 0.1) + 0.5 * dice(z, rows, EYE, weight)
        torch.testing.assert_close(loss(z, rows, EYE, weight), expected)

    def test_nothing_and_nonsense_are_refused(self):
        with pytest.raises(ValidationError, match="at least one term"):
            LossSettings(cross_entropy=0, dice=0)
        with pytest.raises(ValidationError):
            LossSettings(dcie=1.0)
