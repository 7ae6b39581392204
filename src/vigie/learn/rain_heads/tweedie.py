"""The mean alone, judged as a compound Poisson-gamma distribution would: zeros and rain in one deviance."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from vigie.core.errors import VigieError
from vigie.learn.rain_heads.head import checked, known, positive, weighted_mean


@dataclass(frozen=True)
class TweedieHead:
    """Raw output as the mean rain rate, trained on the Tweedie deviance; a `PointHead`, for it has no quantiles.

    2 [y^(2-p) / ((1-p) (2-p)) - y m^(1-p) / (1-p) + m^(2-p) / (2-p)], 1 < p < 2 (Jorgensen 1987). The distribution behind it
    is a Poisson number of gamma drops, whose quantiles take a dispersion, which the deviance does not teach, and an infinite
    series.

    Parameters
    ----------
    power
        p: the variance is proportional to mean^p; 1 is Poisson, 2 is gamma.

    Examples
    --------
    >>> import torch
    >>> head = TweedieHead()
    >>> head.mean(torch.tensor([[0.0]]))
    tensor([0.6941])
    """

    power: float = 1.5

    def __post_init__(self) -> None:
        """Refuse powers that are not of zeros and rain."""
        if not 1 < self.power < 2:
            raise VigieError("this is no Tweedie power of rain", found=self.power, expected="a number between 1 and 2")

    @property
    def name(self) -> str:
        """Its name in settings."""
        return "tweedie"

    @property
    def channels(self) -> int:
        """The mean alone."""
        return 1

    @property
    def proper(self) -> bool:
        """For the mean it is."""
        return True

    @property
    def why(self) -> str:
        """One sentence."""
        return "The deviance is strictly consistent for the mean (a Bregman divergence); it says nothing of the rest."

    def loss(self, raw: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        """Average the deviance."""
        m, p = self.mean(raw), self.power
        y = known(y, weight, m)
        deviance = y ** (2 - p) / ((1 - p) * (2 - p)) - y * m ** (1 - p) / (1 - p) + m ** (2 - p) / (2 - p)
        return weighted_mean(2 * deviance, weight)

    def mean(self, raw: Tensor) -> Tensor:
        """Raw output, made positive."""
        return positive(checked(raw, self)[:, 0])
