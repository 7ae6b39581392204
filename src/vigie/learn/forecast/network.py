"""The network of forecasts: maps of now and of before, a lead and a season in; a latent mean and quantiles out."""

from __future__ import annotations

from itertools import pairwise

import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from vigie.learn.forecast.inputs import CONTEXT
from vigie.learn.unet import ChannelNorm, UNet

LEVELS = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""Levels of the quantiles that are learnt."""
MIDDLE = LEVELS.index(0.5)
EMBEDDED = 16
"""Width of what lead and season become."""
NARROW = 4.0
"""Taken from raw steps between quantiles, so that the first ones are narrow: 0.018 of the error's scale each."""


class ForecastNetworkSettings(BaseModel):
    """A U-Net.

    Examples
    --------
    >>> ForecastNetworkSettings(widths=(8, 16)).widths
    (8, 16)
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    widths: tuple[PositiveInt, ...] = Field(
        default=(24, 48, 96, 96), min_length=1, description="channels of each level of the U-Net, finest first"
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description="probability of dropping a feature map before the last layer")


class ForecastNetwork(nn.Module):
    """Forecast one quantity for any lead: its mean, and its quantiles at `LEVELS`, both latent (see `bounds`).

    What is learnt is the change since now, in units that grow with the root of the lead.

    Parameters
    ----------
    columns
        Maps that are shown.
    settings
        Its size.

    Examples
    --------
    >>> network = ForecastNetwork(3, ForecastNetworkSettings(widths=(8, 16)))
    >>> network(torch.zeros(2, 3, 8, 8), torch.ones(2, 1, 8, 8), torch.zeros(2, CONTEXT)).shape
    torch.Size([2, 14, 8, 8])
    """

    def __init__(self, columns: int, settings: ForecastNetworkSettings) -> None:
        super().__init__()
        first = settings.widths[0]
        self.stem = nn.Conv2d(columns + 1, first, 3, padding=1)
        self.embedding = nn.Sequential(nn.Linear(CONTEXT, 2 * EMBEDDED), nn.SiLU(), nn.Linear(2 * EMBEDDED, EMBEDDED))
        self.body = UNet(first, 1 + len(LEVELS), settings.widths, ChannelNorm, EMBEDDED, settings.dropout)
        self.multiple = 2 ** (len(settings.widths) - 1)

    def forward(self, x: Tensor, mask: Tensor, context: Tensor) -> Tensor:
        """Give raw output (N, 1 + levels, H, W) of maps (N, C, H, W), where there is sea (N, 1, H, W), and contexts (N, E)."""
        seen: Tensor = self.body(self.stem(torch.cat([x * mask, mask], dim=1)), self.embedding(context))
        return seen


def latent(raw: Tensor, now: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Turn raw output (N, 1 + L, H, W) into a latent mean (N, H, W) and latent quantiles (N, L, H, W), which never cross.

    Parameters
    ----------
    now: (N, H, W), what changes are counted from.
    scale: (N,), the size of a usual change at each lead.

    Examples
    --------
    >>> mean, quantiles = latent(torch.zeros(1, 14, 1, 1), torch.full((1, 1, 1), 0.5), torch.tensor([0.1]))
    >>> mean.item(), round(quantiles[0, MIDDLE].item(), 3), bool((quantiles.diff(dim=1) > 0).all())
    (0.5, 0.5, True)
    """
    unit = scale.view(-1, 1, 1)
    middle = raw[:, 1 + MIDDLE : 2 + MIDDLE]
    steps = F.softplus(torch.cat([raw[:, 1 : 1 + MIDDLE], raw[:, 2 + MIDDLE :]], dim=1) - NARROW)
    below, above = steps[:, :MIDDLE], steps[:, MIDDLE:]
    lower = middle - below.flip(1).cumsum(1).flip(1)
    upper = middle + above.cumsum(1)
    quantiles = now[:, None] + unit[:, None] * torch.cat([lower, middle, upper], dim=1)
    return now + unit * raw[:, 0], quantiles


def weights_of_levels() -> Tensor:
    """Weights of the quantiles in an integral over levels, which makes twice the mean pinball loss a CRPS.

    Examples
    --------
    >>> round(weights_of_levels().sum().item(), 6)
    1.0
    """
    edges = [0.0, *((a + b) / 2 for a, b in pairwise(LEVELS)), 1.0]
    return torch.tensor([b - a for a, b in pairwise(edges)])
