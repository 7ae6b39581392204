"""What a rain head is: the meaning of raw network output as the predictive distribution of a rain rate.

Heads know nothing of batches or stores: they take raw output (N, C, ...) and rain rates (N, ...) with any spatial dimensions
behind, none included.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from vigie.core.errors import VigieError

FLOOR = 1e-3
"""What parameters that must be positive never fall below, so that densities stay finite."""


class RainHead(Protocol):
    """Raw output as a predictive distribution of the rain rate."""

    @property
    def name(self) -> str:
        """Name in settings and tables."""
        ...

    @property
    def channels(self) -> int:
        """Channels C of raw output."""
        ...

    @property
    def proper(self) -> bool:
        """Whether training comes to rest at the truth: there the expected loss has no slope."""
        ...

    @property
    def why(self) -> str:
        """One sentence: why the loss is proper, or is not."""
        ...

    def loss(self, raw: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        """Compare raw output (N, C, ...) with rain rates (N, ...), mm h-1; pixels of weight (N, ...) 0 may be NaN."""
        ...

    def mean(self, raw: Tensor) -> Tensor:
        """Turn raw output (N, C, ...) into mean rain rates (N, ...), mm h-1."""
        ...

    def quantiles(self, raw: Tensor, levels: Sequence[float]) -> Tensor:
        """Turn raw output (N, C, ...) into quantiles (N, K, ...), mm h-1, >= 0, non-decreasing along increasing levels (K)."""
        ...

    def distribution(self, raw: Tensor, levels: Sequence[float]) -> tuple[Tensor, Tensor]:
        """Turn raw output (N, C, ...) into quantiles (N, K, ...) and the mean (N, ...), at the cost of one where it can."""
        ...

    def exceedance(self, raw: Tensor, thresholds: Sequence[float]) -> Tensor:
        """Turn raw output (N, C, ...) into probabilities (N, T, ...) of more rain than thresholds (T) >= 0, mm h-1."""
        ...


def check_levels(levels: Sequence[float]) -> None:
    """Refuse quantile levels that do not increase within (0, 1).

    Raises
    ------
    VigieError: see above, or there are none.

    Examples
    --------
    >>> check_levels((0.5, 0.5))
    Traceback (most recent call last):
    ...
    vigie.core.errors.VigieError: quantile levels do not increase; found 0.5 after 0.5; expected increasing levels within (0, 1)
    """
    expected = "increasing levels within (0, 1)"
    strange = [level for level in levels if not 0 < level < 1]
    if strange or len(levels) == 0:
        raise VigieError("these are no quantile levels", found=strange or "none", expected=expected)
    for before, level in pairwise(levels):
        if level <= before:
            raise VigieError("quantile levels do not increase", found=f"{level} after {before}", expected=expected)


def check_thresholds(thresholds: Sequence[float]) -> None:
    """Refuse thresholds that no rain rate can lie on either side of.

    Raises
    ------
    VigieError: see above, or there are none.
    """
    strange = [threshold for threshold in thresholds if not threshold >= 0]
    if strange or len(thresholds) == 0:
        raise VigieError("these are no thresholds of rain rate", found=strange or "none", expected="numbers >= 0, mm h-1")


def checked(raw: Tensor, head: RainHead) -> Tensor:
    """Take raw output that has a head's channels, in single precision at least: half precision loses the tails.

    Raises
    ------
    VigieError: it has another number of channels.
    """
    if raw.ndim < 2 or raw.shape[1] != head.channels:
        raise VigieError(
            f"raw output does not fit head '{head.name}'",
            found=f"shape {tuple(raw.shape)}",
            expected=f"(N, {head.channels}, ...)",
            do="build the network with the channels of its head",
        )
    return raw.float() if raw.dtype in (torch.float16, torch.bfloat16) else raw


def column(values: Sequence[float], raw: Tensor) -> Tensor:
    """Lay values (K) along the channels of raw output (N, C, ...): (1, K, ...).

    Examples
    --------
    >>> column((0.1, 0.5), torch.zeros(4, 7, 3, 3)).shape
    torch.Size([1, 2, 1, 1])
    """
    return torch.tensor(tuple(values), dtype=raw.dtype, device=raw.device).reshape(1, -1, *[1] * (raw.ndim - 2))


def positive(raw: Tensor) -> Tensor:
    """Make a positive parameter: softplus(raw) + FLOOR."""
    return F.softplus(raw) + FLOOR


def within(raw: Tensor, limits: tuple[float, float]) -> Tensor:
    """Make a parameter that stays between limits, by a sigmoid."""
    low, high = limits
    return low + (high - low) * raw.sigmoid()


def known(y: Tensor, weight: Tensor, like: Tensor) -> Tensor:
    """Put 1 mm h-1 where the weight is 0, so that the NaN of unknown pixels reaches no gradient."""
    return torch.where(weight > 0, y, 1.0).to(like.dtype)


def weighted_mean(score: Tensor, weight: Tensor) -> Tensor:
    """Average scores (N, ...) by weights (N, ...); without any weight it is 0, and so is its gradient.

    Examples
    --------
    >>> weighted_mean(torch.tensor([1.0, 3.0, 100.0]), torch.tensor([1.0, 1.0, 0.0]))
    tensor(2.)
    """
    weight = weight.to(score.dtype)
    total = weight.sum()
    return (score * weight).sum() / torch.where(total > 0, total, torch.ones_like(total))


def ordered(quantiles: Tensor) -> Tensor:
    """Cut quantiles (N, K, ...) at 0 and undo crossings of a rounding error.

    Looking for a crossing is four times faster than undoing one, and there is hardly ever any.

    Examples
    --------
    >>> ordered(torch.tensor([[-1.0, 2.0, 1.0]]))
    tensor([[0., 2., 2.]])
    """
    rain = quantiles.clamp(min=0)
    return rain if bool((rain[:, 1:] >= rain[:, :-1]).all()) else rain.cummax(dim=1).values
