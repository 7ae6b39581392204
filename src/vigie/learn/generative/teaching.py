"""How a generative retrieval is taught: batches of swaths become targets and conditions on the device that learns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor, nn

from vigie.learn.generative.rain import fit_residual
from vigie.learn.generative.retrieval import GenerativeRetrieval
from vigie.learn.swaths import RainBatch


class RainLearner(nn.Module):
    """A network of a generative retrieval as the training loop calls it (`vigie.learn.fit.Task`): its output is the loss.

    It learns from `taught` batches, whose columns are those of the model. Noise comes from torch's own generator, which the
    loop seeds at each step.
    """

    def __init__(self, model: GenerativeRetrieval, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        # In a tuple, so that the reference's weights are none of this network's.
        self.models = (model,)

    def forward(self, x: Tensor, mask: Tensor, bands: Tensor) -> Tensor:
        """Loss of a taught batch; the columns themselves say where they are missing."""
        (model,) = self.models
        target, condition = seen(model, x, bands)
        return model.generator.loss(self.network, target, condition, None)


def taught(batch: RainBatch) -> RainBatch:
    """Put the rain before the channels, NaN where it does not count, so that a `RainLearner` sees both."""
    rain = torch.where(batch.weight > 0, batch.y, torch.nan)[:, None]
    return replace(batch, x=torch.cat([rain, batch.x], dim=1))


def seen(model: GenerativeRetrieval, x: Tensor, bands: Tensor) -> tuple[Tensor, Tensor]:
    """Turn what is taught (N, 1 + B, H, W) into standardised targets (N, 1, H, W) and conditions (N, conditions, H, W)."""
    condition = model.condition(x[:, 1:], model.columns, bands)
    target = model.transform.forward(x[:, :1], None)
    return model.residual.forward(target, condition[:, -2:-1]) if model.residual else target, condition


def with_residual(model: GenerativeRetrieval, batches: Iterable[RainBatch]) -> GenerativeRetrieval:
    """Generate what the reference leaves, measured on batches of rows that the reference did not learn from.

    Raises
    ------
    VigieError: the reference leaves nothing.
    """
    pairs = [seen(model, batch.x, batch.bands) for batch in map(taught, batches)]
    target = torch.cat([target.flatten() for target, _ in pairs])
    return replace(model, residual=fit_residual(target, torch.cat([known[:, -2].flatten() for _, known in pairs])))
