"""Quantities with bounds: a network says what lies anywhere, and what is beyond a bound means the bound.

Concentration is 0 over most of the sea and 1 over most of the pack: values that are cut there have a part of their distribution
in one point. So the network's output is a latent value, cut to the bounds where it is read, and errors are measured as those of
a censored quantity (Tobin 1958): beyond a bound that the truth lies on there is none.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Bounds:
    """The least and the largest value of a quantity."""

    low: float = 0.0
    high: float = 1.0

    def cut(self, latent: Tensor) -> Tensor:
        """Read latent values.

        Examples
        --------
        >>> import torch
        >>> Bounds().cut(torch.tensor([-0.5, 0.25, 1.5]))
        tensor([0.0000, 0.2500, 1.0000])
        """
        return latent.clamp(self.low, self.high)

    def error(self, latent: Tensor, truth: Tensor) -> Tensor:
        """Give latent - truth, 0 where both lie at or beyond the same bound.

        A latent value beyond a bound is still drawn back where the truth is not on it: a cut would have no gradient there.

        Examples
        --------
        >>> import torch
        >>> Bounds().error(torch.tensor([1.5, 1.5, 0.5]), torch.tensor([1.0, 0.75, 0.75]))
        tensor([ 0.0000,  0.7500, -0.2500])
        """
        error = latent - truth
        beyond = ((truth >= self.high) & (error > 0)) | ((truth <= self.low) & (error < 0))
        return error.masked_fill(beyond, 0.0)
