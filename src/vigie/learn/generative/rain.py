"""Rain rates as a generative model sees them: logarithmic, without a spike at zero, standardised, or as a residual.

A density cannot have all its dry pixels at one value, so rates that nobody can tell from zero are spread log-uniformly
(Pfreundschuh et al. 2022, AMT 15, 5033) before s = log(1 + y / scale), and are zero again afterwards. A small scale tells light
rain apart, a large one makes errors of heavy rain count.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import torch
from torch import Tensor

from vigie.core.errors import VigieError

SPREAD = 100.0
"""Zeros are spread over two decades below the smallest rain rate."""


@dataclass(frozen=True)
class RainTransform:
    """Rain rate in mm h-1 to standardised s = log(1 + y / scale), and back.

    Rates below `wet_mm_h` count as zero; `scale_mm_h` is where the transform turns from linear to logarithmic. All
    are numbers, so that `dataclasses.asdict` and JSON keep it.

    Examples
    --------
    >>> transform = RainTransform(mean=2.0, deviation=1.0, wet_mm_h=1e-4)
    >>> seen = transform.forward(torch.tensor([0.0, 5.0, float("nan")]), torch.Generator().manual_seed(0))
    >>> transform.back(seen)
    tensor([0., 5., nan])
    """

    mean: float
    deviation: float
    wet_mm_h: float = 1e-4
    scale_mm_h: float = 0.1

    def forward(self, rain: Tensor, generator: torch.Generator | None) -> Tensor:
        """Transform rates of any shape; NaN stays NaN.

        Raises
        ------
        VigieError: a rate is negative.
        """
        return self.standardised(dequantised(rain, self.wet_mm_h, generator))

    def standardised(self, rain: Tensor) -> Tensor:
        """Transform rates as they are, zeros too: what is known for certain, like a reference, has no density."""
        return (logarithmic(rain, self.scale_mm_h) - self.mean) / self.deviation

    def back(self, standardised: Tensor) -> Tensor:
        """Rates in mm h-1, 0 below `wet_mm_h`."""
        rain = self.scale_mm_h * torch.expm1(standardised * self.deviation + self.mean)
        # Not `rain >= wet`: NaN must stay.
        return torch.where(rain < self.wet_mm_h, 0.0, rain)


def fit_rain_transform(
    rain: Tensor, generator: torch.Generator | None, wet_mm_h: float = 1e-4, scale_mm_h: float = 0.1
) -> RainTransform:
    """Measure mean and deviation of transformed rates, those that are known.

    Raises
    ------
    VigieError: a rate is negative, or they are all alike.
    """
    seen = logarithmic(dequantised(rain, wet_mm_h, generator), scale_mm_h)
    return RainTransform(*_moments(seen, "rain rates"), wet_mm_h, scale_mm_h)


@dataclass(frozen=True)
class Residual:
    """What a deterministic reference leaves to be generated: (target - reference - mean) / deviation, and back.

    The idea of CorrDiff (Mardani et al. 2025, arXiv:2309.15214): a regression gives the mean, a generative model the rest.
    Target and reference are of one kind, for instance both standardised by one `RainTransform`.

    Examples
    --------
    >>> residual = Residual(mean=0.5, deviation=2.0)
    >>> seen = residual.forward(torch.tensor([3.5]), torch.tensor([1.0]))
    >>> seen, residual.back(seen, torch.tensor([1.0]))
    (tensor([1.]), tensor([3.5000]))
    """

    mean: float
    deviation: float

    def forward(self, target: Tensor, reference: Tensor) -> Tensor:
        """Standardise what the reference leaves."""
        return (target - reference - self.mean) / self.deviation

    def back(self, residual: Tensor, reference: Tensor) -> Tensor:
        """Add generated residuals, for instance (members, N, K, H, W), to their reference (N, K, H, W)."""
        return residual * self.deviation + self.mean + reference


def fit_residual(target: Tensor, reference: Tensor) -> Residual:
    """Measure mean and deviation of what a reference leaves, on rows that the reference did not learn from.

    Raises
    ------
    VigieError: the residuals are all alike.
    """
    return Residual(*_moments(target - reference, "residuals"))


def dequantised(rain: Tensor, wet_mm_h: float, generator: torch.Generator | None) -> Tensor:
    """Replace rates below `wet_mm_h` by log-uniform ones from wet / 100 to wet.

    Raises
    ------
    VigieError: a rate is negative.
    """
    if (rain < 0).any():
        raise VigieError(
            "rain rates are negative", found=f"{float(rain[rain < 0].min()):g} mm h-1", expected="0 and more, NaN where missing"
        )
    device = rain.device if generator is None else generator.device
    uniform = torch.rand(rain.shape, generator=generator, device=device, dtype=rain.dtype).to(rain.device)
    return torch.where(rain < wet_mm_h, wet_mm_h * torch.exp(-log(SPREAD) * uniform), rain)


def logarithmic(rain: Tensor, scale_mm_h: float) -> Tensor:
    """s = log(1 + y / scale)."""
    return torch.log1p(rain / scale_mm_h)


def _moments(values: Tensor, what: str) -> tuple[float, float]:
    known = values[torch.isfinite(values)].double()
    if len(known) < 2 or float(known.std()) == 0:
        raise VigieError(
            f"{what} cannot be standardised", found=f"{len(known)} known, all alike", expected="values that differ"
        )
    return float(known.mean()), float(known.std())
