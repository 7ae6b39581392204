"""The loss of forecasts: squared errors of the mean and the CRPS of the quantiles, both of censored values."""

from __future__ import annotations

import torch
from torch import Tensor

from vigie.learn.forecast.bounds import Bounds
from vigie.learn.forecast.network import LEVELS, latent, weights_of_levels
from vigie.learn.forecast.samples import ForecastBatch

BOUNDS = Bounds()
"""Of a concentration."""


def forecast_loss(raw: Tensor, batch: ForecastBatch, progress: float) -> Tensor:
    """Average over what was measured: squared error of the mean plus CRPS of the quantiles, in sizes of usual changes.

    Squared errors find the mean, pinball losses the quantiles (Koenker & Bassett 1978), and their weighted sum is the CRPS
    (Gneiting & Ranjan 2011); each lead counts alike, because its errors are counted in what usually changes over it.
    """
    mean, quantiles = latent(raw, batch.now, batch.scale)
    known = torch.isfinite(batch.truth)
    truth = torch.where(known, batch.truth, 0.0)
    unit = batch.scale.view(-1, 1, 1)
    squared = (BOUNDS.error(mean, truth) / unit).square()
    error = BOUNDS.error(quantiles, truth[:, None]) / unit[:, None]
    level = torch.tensor(LEVELS, device=raw.device).view(1, -1, 1, 1)
    pinball = torch.maximum(-level * error, (1 - level) * error)
    crps = 2 * (pinball * weights_of_levels().to(raw.device).view(1, -1, 1, 1)).sum(dim=1)
    count = known.sum().clamp(min=1)
    return ((0.15 * squared + crps) * known).sum() / count
