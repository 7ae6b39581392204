"""Scales that rain rates are learnt on, and what is done to their zeros: pure functions, and a pair of them as a value."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

TRACE = 1e-4
"""Rain rate below which it is dry, mm h-1 (Pfreundschuh et al. 2022)."""

LOWEST = 1e-6
"""Smallest rain rate that a dequantised zero becomes, mm h-1."""


@dataclass(frozen=True)
class Scale:
    """An increasing function of the rain rate that quantiles are learnt on, and the way back to mm h-1.

    Quantiles go through increasing functions unchanged, so a loss of quantiles that is proper on one scale is proper on all.
    """

    name: str
    to: Callable[[Tensor], Tensor]
    back: Callable[[Tensor], Tensor]


def dequantised(y: Tensor, generator: torch.Generator) -> Tensor:
    """Replace rain rates below TRACE by log-uniform draws from LOWEST to TRACE, so that no quantiles coincide.

    Pfreundschuh et al. 2022 (AMT 15, 5033). `without_trace` undoes it. NaN stays NaN.

    Parameters
    ----------
    y
        Rain rates, mm h-1, any shape.
    generator
        What draws, on the device of `y`: the same one, seeded alike, gives the same.

    Examples
    --------
    >>> y = torch.tensor([0.0, 0.5])
    >>> drawn = dequantised(y, torch.Generator().manual_seed(0))
    >>> bool(LOWEST <= drawn[0] < TRACE), without_trace(drawn)
    (True, tensor([0.0000, 0.5000]))
    """
    uniform = torch.rand(y.shape, generator=generator, dtype=y.dtype, device=y.device)
    drawn = torch.exp(math.log(LOWEST) + uniform * math.log(TRACE / LOWEST))
    return torch.where(y < TRACE, drawn.clamp(max=TRACE * (1 - 1e-6)), y)


def without_trace(y: Tensor) -> Tensor:
    """Set rain rates below TRACE to 0."""
    return torch.where(y < TRACE, 0.0, y)


def to_log_linear(y: Tensor) -> Tensor:
    """Take ln y below 1 mm h-1 and y - 1 above: small rates by their ratio, large ones by their difference.

    Pfreundschuh et al. 2022 (AMT 15, 5033). Rates below LOWEST are taken as LOWEST.

    Examples
    --------
    >>> to_log_linear(torch.tensor([0.1, 1.0, 3.0]))
    tensor([-2.3026,  0.0000,  2.0000])
    """
    y = y.clamp(min=LOWEST)
    return torch.where(y < 1, torch.log(y), y - 1)


def from_log_linear(f: Tensor) -> Tensor:
    """Invert `to_log_linear`.

    Examples
    --------
    >>> from_log_linear(torch.tensor([-2.302585, 0.0, 2.0]))
    tensor([0.1000, 1.0000, 3.0000])
    """
    return torch.where(f < 0, torch.exp(f.clamp(max=0)), f + 1)


def _same(y: Tensor) -> Tensor:
    return y


def _rain_from_log_linear(f: Tensor) -> Tensor:
    return without_trace(from_log_linear(f))


LINEAR = Scale("linear", _same, _same)
LOG_LINEAR = Scale("log-linear", to_log_linear, _rain_from_log_linear)
SCALES = {scale.name: scale for scale in (LINEAR, LOG_LINEAR)}
