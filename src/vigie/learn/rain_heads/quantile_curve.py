"""The inverse distribution function through predicted quantiles: linear between levels, constant beyond the outer ones.

Knots (N, K, ...) are non-decreasing along levels (K); all that a head says of them (quantiles, probabilities, mean) is of this
one distribution, so that they agree.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from vigie.learn.rain_heads.head import column


def non_crossing(raw: Tensor) -> Tensor:
    """Turn raw output (N, K, ...) into increasing values: q_1 = z_1, q_k = q_{k-1} + softplus(z_k - 4).

    The 4 makes the first steps small: 0.018, so that 99 levels start within 2 mm h-1.

    Examples
    --------
    >>> non_crossing(torch.tensor([[1.0, 4.0, 4.0]]))
    tensor([[1.0000, 1.6931, 2.3863]])
    """
    return torch.cat([raw[:, :1], F.softplus(raw[:, 1:] - 4)], dim=1).cumsum(dim=1)


def interpolated(knots: Tensor, levels: Sequence[float], wanted: Sequence[float]) -> Tensor:
    """Read the curve at wanted levels (L): (N, L, ...); where all of them are knots, or beyond, those are taken as they are.

    Examples
    --------
    >>> interpolated(torch.tensor([[0.0, 1.0, 4.0]]), (0.25, 0.5, 0.75), (0.1, 0.5, 0.625, 0.9))
    tensor([[0.0000, 1.0000, 2.5000, 4.0000]])
    """
    known = torch.tensor(tuple(levels), dtype=torch.float64)
    asked = torch.tensor(tuple(wanted), dtype=torch.float64).clamp(known[0], known[-1])
    upper = torch.searchsorted(known, asked).clamp(min=1, max=max(len(known) - 1, 1))
    lower = upper - 1
    upper = upper.clamp(max=len(known) - 1)
    part = torch.nan_to_num((asked - known[lower]) / (known[upper] - known[lower]))
    if bool(((part == 0) | (part == 1)).all()):
        return knots.index_select(1, torch.where(part == 1, upper, lower).to(knots.device))
    low, high = (knots.index_select(1, index.to(knots.device)) for index in (lower, upper))
    return torch.lerp(low, high, column(part.tolist(), knots))


def probability_below(knots: Tensor, levels: Sequence[float], thresholds: Sequence[float]) -> Tensor:
    """Compute probabilities (N, T, ...) of at most thresholds (T): 0 below the first knot, 1 from the last on.

    Examples
    --------
    >>> probability_below(torch.tensor([[0.0, 1.0, 4.0]]), (0.25, 0.5, 0.75), (0.0, 0.5, 4.0))
    tensor([[0.2500, 0.3750, 1.0000]])
    """
    tau = column(levels, knots).expand_as(knots)
    found = [_below(knots, tau, float(threshold)) for threshold in thresholds]
    return torch.cat(found, dim=1)


def _below(knots: Tensor, tau: Tensor, threshold: float) -> Tensor:
    last = knots.shape[1] - 1
    reached = (knots <= threshold).sum(dim=1, keepdim=True)
    lower, upper = (reached - 1).clamp(min=0), reached.clamp(max=last)
    low, high = knots.gather(1, lower), knots.gather(1, upper)
    inside = (reached > 0) & (reached <= last)
    # Inside, low <= threshold < high.
    part = (threshold - low) / torch.where(inside, high - low, 1.0)
    between = torch.lerp(tau.gather(1, lower), tau.gather(1, upper), torch.where(inside, part, 0.0))
    return torch.where(inside, between, (reached > 0).to(knots.dtype))


def integral(knots: Tensor, levels: Sequence[float]) -> Tensor:
    """Integrate the curve from level 0 to the last level: (N, ...).

    Examples
    --------
    >>> integral(torch.tensor([[0.0, 1.0, 4.0]]), (0.25, 0.5, 0.75))
    tensor([0.7500])
    """
    tau = torch.tensor(tuple(levels), dtype=torch.float64)
    steps = tau.diff()
    weights = torch.zeros_like(tau)
    weights[0] += tau[0]
    weights[:-1] += steps / 2
    weights[1:] += steps / 2
    return (column(weights.tolist(), knots) * knots).sum(dim=1)
