"""Making two domains alike, for instance dry and moist climates or simulated and observed brightness temperatures.

CORAL gives inputs of one domain the mean and covariance of another's (Sun, Feng & Saenko 2016, arXiv:1511.05547) or punishes
features whose covariances differ (Sun & Saenko 2016, arXiv:1607.01719). DANN learns features from which nobody can tell the
domain (Ganin et al. 2016, arXiv:1505.07818). A learnt map from one domain to the other is in `vigie.learn.translation`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import exp
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from vigie.core.errors import VigieError

Table = NDArray[np.floating[Any]]
"""Rows of inputs (n, d)."""


@dataclass(frozen=True)
class Coral:
    """An affine map of inputs (n, d): whiten with one domain's covariance, recolour with another's."""

    source_mean: NDArray[np.float64]
    target_mean: NDArray[np.float64]
    matrix: NDArray[np.float64]

    def __call__(self, inputs: Table) -> NDArray[np.float64]:
        """Map rows (n, d); NaN in a row makes the whole row NaN."""
        mapped: NDArray[np.float64] = (inputs - self.source_mean) @ self.matrix + self.target_mean
        return mapped


def fit_coral(source: Table, target: Table, ridge: float) -> Coral:
    """Find the map that gives the source rows (n, d) mean and covariance of the target rows (m, d).

    `ridge` is added to all variances of both, in squared units of the inputs: without it, directions in which the source hardly
    varies would be blown up.

    Raises
    ------
    VigieError: a value is no number, or a covariance cannot be inverted.

    Examples
    --------
    >>> random = np.random.default_rng(0)
    >>> source, target = random.normal(size=(50, 2)), random.normal(3.0, 2.0, (60, 2))
    >>> mapped = fit_coral(source, target, ridge=0.0)(source)
    >>> bool(np.allclose(np.cov(mapped.T), np.cov(target.T))), bool(np.allclose(mapped.mean(0), target.mean(0)))
    (True, True)
    """
    for name, table in (("source", source), ("target", target)):
        if not np.isfinite(table).all():
            raise VigieError(f"the {name} domain has gaps", found="NaN", expected="whole rows", do="leave the other rows out")
    eye = ridge * np.eye(source.shape[1])
    before, after = (np.atleast_2d(np.cov(table, rowvar=False)) + eye for table in (source, target))
    least = float(np.linalg.eigvalsh(before).min())
    if least <= 1e-12 * float(np.trace(before)):
        raise VigieError(
            "the source domain does not vary in all directions",
            found=f"least variance {least:.3g}",
            expected="a covariance that can be inverted",
            do="raise the ridge, or leave out inputs that follow from others",
        )
    matrix = _power(before, lambda variance: variance**-0.5) @ _power(after, lambda variance: variance**0.5)
    return Coral(source.mean(axis=0), target.mean(axis=0), matrix)


def _power(
    covariance: NDArray[np.float64], change: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Change the eigenvalues of a symmetric matrix; rounding must not make variances negative."""
    values, vectors = np.linalg.eigh(covariance)
    changed: NDArray[np.float64] = (vectors * change(values.clip(min=0.0))) @ vectors.T
    return changed


def coral_loss(source: Tensor, target: Tensor) -> Tensor:
    """Squared Frobenius distance of two batches' feature covariances over 4 d^2; features are (n, d) and (m, d).

    Examples
    --------
    >>> coral_loss(torch.tensor([[0.0], [2.0]]), torch.tensor([[0.0], [4.0]]))
    tensor(9.)
    """
    difference = torch.cov(source.T) - torch.cov(target.T)
    return (difference**2).sum() / (4 * source.shape[1] ** 2)


class _Reversal(torch.autograd.Function):
    """The identity, with a gradient of the other sign."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        return -ctx.strength * gradients[0], None


def reversed_gradient(x: Tensor, strength: float) -> Tensor:
    """Return x as it is, but send gradients back times -strength: who is before it unlearns what who is behind it learns.

    Examples
    --------
    >>> x = torch.ones(1, requires_grad=True)
    >>> (3 * reversed_gradient(x, 0.5)).sum().backward()
    >>> x.grad
    tensor([-1.5000])
    """
    turned: Tensor = _Reversal.apply(x, strength)
    return turned


def reversal_strength(progress: float) -> float:
    """Strength of the reversal by progress from 0 to 1: 2 / (1 + exp(-10 p)) - 1, from 0 to nearly 1 (Ganin et al. 2016).

    Examples
    --------
    >>> reversal_strength(0.0), round(reversal_strength(1.0), 4)
    (0.0, 0.9999)
    """
    return 2 / (1 + exp(-10 * progress)) - 1


class DomainDiscriminator(nn.Module):
    """Tell from features (N, d) whether a row is of the target domain: one logit each.

    Examples
    --------
    >>> DomainDiscriminator(16)(torch.zeros(5, 16)).shape
    torch.Size([5])
    """

    def __init__(self, features: int, width: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(features, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.head = nn.Linear(width, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Logits (N,) of being of the target domain."""
        logits: Tensor = self.head(self.layers(features))
        return logits.squeeze(1)


def domain_loss(discriminator: nn.Module, source: Tensor, target: Tensor, strength: float) -> Tensor:
    """Cross-entropy of telling domains, a term of the loss: the discriminator learns to, features learn that it cannot.

    `source` (n, d) and `target` (m, d) are features; both domains weigh the same.
    """
    losses = []
    for features, label in ((source, 0.0), (target, 1.0)):
        logits = discriminator(reversed_gradient(features, strength))
        losses.append(F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label)))
    return (losses[0] + losses[1]) / 2
