"""Losses for partial labels: a coarse label's probability is the sum of its leaves', and unknown pixels never count.

Every loss has one signature,

    loss(logits (N, C, H, W), rows (N, H, W) int64, matrix (K, C), weight (N, H, W)) -> scalar

where `rows` names the row of `matrix` that is true at a pixel (-1: unknown) and `matrix` says which leaf classes each coarse
label stands for (`LabelLegend.matrix`). So a "debris or not" label trains debris against the sum of all the rest, and clean ice
and lakes stay free to compete. With an identity matrix each loss is its textbook form.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, Field, model_validator
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

Term = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def coarse_log_probability(logits: Tensor, matrix: Tensor) -> Tensor:
    """Sum leaf probabilities into those of coarse labels, in logarithms.

    log q_k = logsumexp_{c in k} log softmax(z)_c: exact where one leaf is alone, stable for logits of any size.

    Parameters
    ----------
    logits
        (N, C, H, W), any floating type; computed in float32 or better.
    matrix
        (K, C) of 0 and 1; every row has at least one 1.

    Returns
    -------
    Tensor
        (N, K, H, W).

    Examples
    --------
    >>> matrix = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
    >>> coarse_log_probability(torch.zeros(1, 3, 1, 1), matrix).exp().flatten()
    tensor([0.3333, 0.6667])
    """
    leaves = F.log_softmax(_precise(logits), dim=1)
    groups = [torch.nonzero(row).flatten() for row in matrix]
    return torch.stack([leaves[:, int(g)] if len(g) == 1 else torch.logsumexp(leaves[:, g], dim=1) for g in groups], dim=1)


def cross_entropy(
    logits: Tensor, rows: Tensor, matrix: Tensor, weight: Tensor, smoothing: float = 0.0, gamma: float = 0.0
) -> Tensor:
    """Cross-entropy of coarse labels, the weighted mean over known pixels; focal when gamma > 0.

    -(1 - q)^gamma [(1 - s) log q + (s / K) sum_k log q_k], with q the probability of the true label, s the smoothing (Szegedy
    et al. 2016) and gamma the focus (Lin et al. 2017, arXiv:1708.02002).

    Examples
    --------
    >>> z, rows = torch.zeros(1, 2, 1, 2), torch.tensor([[[0, -1]]])
    >>> cross_entropy(z, rows, torch.eye(2), torch.ones(1, 1, 2))
    tensor(0.6931)
    """
    log_q = coarse_log_probability(logits, matrix)
    weight = _known(rows, weight, log_q)
    true = log_q.gather(1, rows.clamp(min=0).unsqueeze(1)).squeeze(1)
    surprise = -true
    if smoothing > 0:
        surprise = (1 - smoothing) * surprise - smoothing * log_q.mean(dim=1)
    if gamma > 0:
        # The bound keeps the gradient of x^gamma finite at x = 0 for gamma < 1.
        surprise = surprise * (-torch.expm1(true)).clamp(min=1e-7) ** gamma
    return (weight * surprise).sum() / _at_least_something(weight.sum())


def tversky(
    logits: Tensor, rows: Tensor, matrix: Tensor, weight: Tensor, balance: tuple[float, float] = (0.5, 0.5), smooth: float = 1.0
) -> Tensor:
    """Tversky loss, the mean over the labels that occur in the batch.

    1 - (TP + e) / (TP + alpha FP + beta FN + e) with soft counts over all known pixels of the batch (Salehi et al. 2017,
    arXiv:1706.05721). alpha = beta = 1/2 is soft Dice; alpha 0.3, beta 0.7 favours recall. Labels that do not occur are left
    out: their overlap says nothing, and cross-entropy already pushes them down.

    Parameters
    ----------
    balance
        (alpha, beta): the cost of false alarms and of misses.
    smooth
        e, in pixels.
    """
    q, truth, weight = _soft_masks(logits, rows, matrix, weight)
    over = (0, 2, 3)
    hits = (weight * q * truth).sum(over)
    false_alarms = (weight * q * (1 - truth)).sum(over)
    misses = (weight * (1 - q) * truth).sum(over)
    alpha, beta = balance
    score = (hits + smooth) / (hits + alpha * false_alarms + beta * misses + smooth).clamp(min=1e-7)
    occurs = ((weight * truth).sum(over) > 0).to(score.dtype)
    return ((1 - score) * occurs).sum() / occurs.sum().clamp(min=1.0)


def dice(logits: Tensor, rows: Tensor, matrix: Tensor, weight: Tensor, smooth: float = 1.0) -> Tensor:
    """Soft Dice loss: 1 - (2 sum p q + e) / (sum p + sum q + e), the mean over the labels that occur in the batch."""
    # Tversky with 1/2, 1/2 has TP + e in the numerator: Dice's e is twice that.
    return tversky(logits, rows, matrix, weight, (0.5, 0.5), smooth / 2)


def boundary(logits: Tensor, rows: Tensor, matrix: Tensor, weight: Tensor, clip_px: float = 20.0) -> Tensor:
    """Weigh probability by the signed distance to the label's boundary (Kervadec et al. 2019, arXiv:1812.07032).

    The mean over known pixels and labels of phi q, phi the signed distance (negative inside), here cut at +-`clip_px` and
    divided by it, so that the loss lies in -1..1 whatever the crop. Use it beside a regional loss.
    """
    q, _, weight = _soft_masks(logits, rows, matrix, weight)
    distance = signed_distance(rows.cpu().numpy(), matrix.shape[0])
    phi = torch.from_numpy(np.clip(distance / clip_px, -1.0, 1.0)).to(q)
    return (weight * phi * q).sum() / _at_least_something(weight.sum() * matrix.shape[0])


def signed_distance(rows: NDArray[np.integer], labels: int) -> NDArray[np.float32]:
    """Measure, for every label, the signed distance of every pixel to the label's boundary, pixels.

    Outside a label: distance to its nearest pixel; inside: minus (distance to the nearest pixel of another known label, less
    1), so that both sides of a boundary are at 1 and 0 as in Kervadec's reference code. Unknown pixels bound nothing. Where
    a label is absent, or nothing else is known, there is no boundary and the distance is 0, as it is at unknown pixels.

    Parameters
    ----------
    rows
        (N, H, W), -1 where unknown.
    labels
        K.

    Returns
    -------
    NDArray
        (N, K, H, W) float32.

    Examples
    --------
    >>> signed_distance(np.array([[[0, 0, 1, 1, -1]]]), 2)[0, 1, 0]
    array([ 2.,  1.,  0., -1.,  0.], dtype=float32)
    """
    distance = np.zeros((len(rows), labels, *rows.shape[1:]), dtype=np.float32)
    for sample, truth in enumerate(rows):
        for label in range(labels):
            inside, other = truth == label, (truth >= 0) & (truth != label)
            if inside.any() and other.any():
                to_label = ndimage.distance_transform_edt(~inside)
                to_other = ndimage.distance_transform_edt(~other)
                distance[sample, label] = np.where(inside, 1 - to_other, to_label) * (truth >= 0)
    return distance


class LossSettings(BaseModel, extra="forbid", frozen=True):
    """Weights of the terms of a loss, and their parameters (defaults: cross-entropy + Dice).

    The boundary term grows from 0 to its weight as Kervadec et al. let it: far from the truth its gradient misleads.
    """

    cross_entropy: float = Field(default=1.0, ge=0, description="weight of cross-entropy")
    focal: float = Field(default=0.0, ge=0, description="weight of the focal loss")
    dice: float = Field(default=1.0, ge=0, description="weight of the Dice loss")
    tversky: float = Field(default=0.0, ge=0, description="weight of the Tversky loss")
    boundary: float = Field(default=0.0, ge=0, description="weight of the boundary loss")
    smoothing: float = Field(default=0.0, ge=0, lt=1, description="label smoothing: probability spread over the other labels")
    gamma: float = Field(default=2.0, gt=0, description="exponent of the focal loss")
    false_alarms: float = Field(default=0.3, ge=0, description="weight of false alarms in the Tversky loss")
    misses: float = Field(default=0.7, ge=0, description="weight of misses in the Tversky loss")
    smooth: float = Field(
        default=1.0, ge=0, description="e of the Dice and Tversky losses, pixels: added above and below their fraction"
    )
    clip_px: float = Field(
        default=20.0, gt=0, description="distance from the boundary beyond which its loss no longer grows, pixels"
    )
    boundary_ramp: float = Field(
        default=1.0, ge=0, le=1, description="share of the training over which the boundary term grows to its weight"
    )

    @model_validator(mode="after")
    def _has_a_term(self) -> LossSettings:
        if not any((self.cross_entropy, self.focal, self.dice, self.tversky, self.boundary)):
            raise ValueError("a loss needs at least one term with a weight above 0")
        return self


@dataclass(frozen=True)
class Loss:
    """A weighted sum of terms: call it like any of them; `at(progress)` is the same loss later in the training.

    Examples
    --------
    >>> loss = build_loss(LossSettings(dice=0.0))
    >>> loss(torch.zeros(1, 2, 1, 1), torch.zeros(1, 1, 1, dtype=torch.int64), torch.eye(2), torch.ones(1, 1, 1))
    tensor(0.6931)
    """

    terms: tuple[tuple[str, float, Term], ...]
    boundary_ramp: float = 1.0
    progress: float = 1.0

    def __call__(self, logits: Tensor, rows: Tensor, matrix: Tensor, weight: Tensor) -> Tensor:
        """Sum the terms; a batch without any known pixel gives 0 and a gradient of 0."""
        total = _precise(logits).sum() * 0.0
        for name, factor, term in self.terms:
            total = total + factor * self._ramp(name) * term(logits, rows, matrix, weight)
        return total

    def at(self, progress: float) -> Loss:
        """Say how far the training is: 0 at its start, 1 at its end."""
        return replace(self, progress=progress)

    def _ramp(self, name: str) -> float:
        if name != "boundary" or self.progress >= self.boundary_ramp:
            return 1.0
        return self.progress / self.boundary_ramp


def build_loss(settings: LossSettings) -> Loss:
    """Build the loss that the settings describe."""
    s = settings

    def smoothed(logits: Tensor, rows: Tensor, matrix: Tensor, weight: Tensor) -> Tensor:
        return cross_entropy(logits, rows, matrix, weight, s.smoothing)

    def focal(logits: Tensor, rows: Tensor, matrix: Tensor, weight: Tensor) -> Tensor:
        return cross_entropy(logits, rows, matrix, weight, s.smoothing, s.gamma)

    def overlap(logits: Tensor, rows: Tensor, matrix: Tensor, weight: Tensor) -> Tensor:
        return dice(logits, rows, matrix, weight, s.smooth)

    def skewed(logits: Tensor, rows: Tensor, matrix: Tensor, weight: Tensor) -> Tensor:
        return tversky(logits, rows, matrix, weight, (s.false_alarms, s.misses), s.smooth)

    def contour(logits: Tensor, rows: Tensor, matrix: Tensor, weight: Tensor) -> Tensor:
        return boundary(logits, rows, matrix, weight, s.clip_px)

    terms = (
        ("cross_entropy", s.cross_entropy, smoothed),
        ("focal", s.focal, focal),
        ("dice", s.dice, overlap),
        ("tversky", s.tversky, skewed),
        ("boundary", s.boundary, contour),
    )
    return Loss(tuple(term for term in terms if term[1] > 0), s.boundary_ramp)


def _precise(logits: Tensor) -> Tensor:
    """Half precision loses the tail of a softmax."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


def _known(rows: Tensor, weight: Tensor, like: Tensor) -> Tensor:
    return weight.to(like.dtype) * (rows >= 0)


def _at_least_something(total: Tensor) -> Tensor:
    """Divide by 1 where there is nothing: the sum above it is 0 too."""
    return torch.where(total > 0, total, torch.ones_like(total))


def _soft_masks(logits: Tensor, rows: Tensor, matrix: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Probability and truth of every coarse label (N, K, H, W), and the weight of every pixel (N, 1, H, W), 0 where unknown."""
    q = coarse_log_probability(logits, matrix).exp()
    truth = F.one_hot(rows.clamp(min=0), matrix.shape[0]).movedim(-1, 1).to(q.dtype)
    return q, truth, _known(rows, weight, q).unsqueeze(1)
