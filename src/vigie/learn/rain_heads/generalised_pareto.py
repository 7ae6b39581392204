"""The generalised Pareto distribution (GPD) of excesses over a threshold: what tails are made of, with labels that may end.

S(z) = (1 + xi z / sigma)^(-1/xi), exp(-z / sigma) in the limit xi -> 0, which is reached without a step: ln(1 + x) / x and its
like are taken from their series near 0. All arguments are tensors that broadcast; z is the excess, mm h-1, sigma > 0 its scale,
mm h-1, and xi < 1 its shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from vigie.learn.rain_heads.special import expm1_ratio, log1p_ratio

ExcessScore = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""score(z, limit, sigma, xi): of an excess z, where labels end at an excess of `limit` (inf: nowhere)."""

_EDGE = 0.05
"""Share of a bounded support that is left where the logarithm goes on as its tangent; for xi > -0.1, 1e-13 of all excesses lie
beyond."""


def hazard(z: Tensor, sigma: Tensor, xi: Tensor) -> Tensor:
    """Compute the cumulative hazard -ln S(z) = ln(1 + xi z / sigma) / xi.

    Where xi < 0 ends the support, the logarithm goes on as its tangent: finite, and steep enough to pull sigma up.

    Examples
    --------
    >>> hazard(torch.tensor([2.0, 2.0]), torch.tensor(1.0), torch.tensor([0.0, 0.5]))
    tensor([2.0000, 1.3863])
    """
    x = xi * z / sigma
    inside = x > _EDGE - 1
    beyond = torch.where(inside, -1.0, x)
    tangent = (math.log(_EDGE) + (beyond - (_EDGE - 1)) / _EDGE) / beyond
    return z / sigma * torch.where(inside, log1p_ratio(torch.where(inside, x, 0.0)), tangent)


def survival(z: Tensor, sigma: Tensor, xi: Tensor) -> Tensor:
    """Compute the probability S(z) of a larger excess."""
    return torch.exp(-hazard(z, sigma, xi))


def excess(surviving: Tensor, sigma: Tensor, xi: Tensor) -> Tensor:
    """Invert S: the excess that is exceeded with a probability, sigma (s^-xi - 1) / xi.

    Examples
    --------
    >>> excess(torch.tensor(0.25), torch.tensor(1.0), torch.tensor(0.5))
    tensor(2.)
    """
    decades = -torch.log(surviving)
    return sigma * decades * expm1_ratio(xi * decades)


def log_score(z: Tensor, limit: Tensor, sigma: Tensor, xi: Tensor) -> Tensor:
    """Compute the negative logarithm of the likelihood, ln sigma - (1 + xi) ln S(z); of a label that is cut, -ln S(limit).

    With sigma = nu / (1 + xi) it is Pasche & Engelke's orthogonal likelihood (2024, AOAS1907).

    Examples
    --------
    >>> one, never = torch.tensor(1.0), torch.tensor(torch.inf)
    >>> log_score(one, never, one, 0 * one), log_score(one, one, one, 0 * one)
    (tensor(1.), tensor(1.))
    """
    seen = hazard(torch.minimum(z, limit), sigma, xi)
    return torch.where(z < limit, torch.log(sigma) + (1 + xi) * seen, seen)


def crps(z: Tensor, limit: Tensor, sigma: Tensor, xi: Tensor) -> Tensor:
    """Compute the CRPS in closed form, up to where labels end.

    z - 2 sigma / (1 - xi) (1 - S(z)^(1 - xi)) + sigma / (2 - xi) (1 - S(limit)^(2 - xi)), z cut at the limit: the integral of
    (F - 1{z <= t})^2 from 0 to the limit, a threshold-weighted CRPS (weight 0 beyond). Without a limit it is the CRPS of
    Friederichs & Thorarinsdottir 2012.

    Examples
    --------
    >>> one = torch.tensor(1.0)
    >>> crps(one, torch.tensor(torch.inf), one, 0 * one)
    tensor(0.2358)
    """
    z = torch.minimum(z, limit)
    # S(1e6 mm/h) is 0 to single precision; at infinity the ratio of the hazard has no value.
    beyond = hazard(limit.clamp(max=1e6), sigma, xi)
    above = sigma / (1 - xi) * -torch.expm1(-(1 - xi) * hazard(z, sigma, xi))
    return z - 2 * above + sigma / (2 - xi) * -torch.expm1(-(2 - xi) * beyond)
