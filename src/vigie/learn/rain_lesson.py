"""What a retrieval network is taught besides its head's loss: to do well in every regime, and not to see the domain.

A lesson is the network as the training loop has it: it sees the network's last features on the way, weighs the losses of
regimes (`vigie.learn.robust`), and adds the loss of an adaptation to samples whose rain nobody knows
(`vigie.learn.adaptation`). The network alone is what is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from vigie.learn.adaptation import DomainDiscriminator, coral_loss, domain_loss, reversal_strength
from vigie.learn.rain_heads.head import RainHead
from vigie.learn.retrieval import RetrievalNetwork
from vigie.learn.robust import GroupRobust
from vigie.learn.swaths import RainBatch

PIXELS = 2048
"""Pixels of a batch whose features are compared between domains: more say little more, and cost their square."""


class RobustSettings(BaseModel):
    """Whether regimes count by how badly they are learnt."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Literal["none", "group-dro"] = Field(
        default="none", description="'group-dro': the regime of train.regimes that is learnt worst is minded most"
    )
    rate: float = Field(default=0.01, gt=0, description="how fast the weight of a badly learnt regime rises")


class AdaptSettings(BaseModel):
    """How a network is adapted to swaths whose rain nobody knows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Literal["none", "coral", "deep-coral", "adversarial"] = Field(
        default="none",
        description="'coral': temperatures that are learnt from get mean and covariance of those adapted to; 'deep-coral', "
        "'adversarial': features must not tell the two apart",
    )
    to: Literal["unlabelled", "held-out"] = Field(
        default="unlabelled",
        description="what is adapted to: swaths without rain rates, or what the fold holds out, whose rain is not looked at",
    )
    weight: float = Field(default=1.0, gt=0, description="weight of the loss of 'deep-coral' and 'adversarial'")
    ridge: float = Field(default=1.0, ge=0, description="added to all variances of standardised inputs by 'coral'")

    @property
    def deep(self) -> bool:
        """Whether features are adapted, which needs both domains in a batch."""
        return self.method in ("deep-coral", "adversarial")


NOT_ADAPTED = AdaptSettings()


class Lesson(nn.Module):
    """A network, the head that says what its output means, and what else it is taught.

    Examples
    --------
    >>> from vigie.learn import channels
    >>> from vigie.learn.rain_heads.quantile import QuantileHead
    >>> from vigie.learn.retrieval import PixelNetwork
    >>> lesson = Lesson(PixelNetwork(99), QuantileHead())
    >>> lesson(torch.zeros(2, 3, 1, 1), torch.ones(2, 2, 1, 1), torch.zeros(3, channels.WIDTH)).shape
    torch.Size([2, 99, 1, 1])
    """

    def __init__(
        self,
        network: RetrievalNetwork,
        head: RainHead,
        robust: GroupRobust | None = None,
        adapt: AdaptSettings = NOT_ADAPTED,
    ) -> None:
        super().__init__()
        self.network, self.head, self.robust, self.adapt = network, head, robust, adapt
        self.discriminator = DomainDiscriminator(network.last.in_channels) if adapt.method == "adversarial" else None
        self.features: Tensor | None = None
        if adapt.deep:
            network.last.register_forward_pre_hook(self._watch)

    def _watch(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.features = inputs[0]

    def forward(self, x: Tensor, mask: Tensor, bands: Tensor) -> Tensor:
        """Give the network's raw output."""
        raw: Tensor = self.network(x, mask, bands)
        return raw

    def loss(self, raw: Tensor, batch: RainBatch, progress: float) -> Tensor:
        """Compare raw output with rain rates, regime by regime where they are minded, and adapt."""
        loss = self._rain_loss(raw, batch)
        if not self.adapt.deep:
            return loss
        source, target = self._features(batch)
        return loss + self.adapt.weight * DEEP[self.adapt.method](self, source, target, progress)

    def _rain_loss(self, raw: Tensor, batch: RainBatch) -> Tensor:
        if self.robust is None:
            return self.head.loss(raw, batch.y, batch.weight)
        present = sorted(set(batch.group[batch.weight > 0].tolist()))
        losses = [self.head.loss(raw, batch.y, batch.weight * (batch.group == number)) for number in present]
        return self.robust(torch.stack(losses), torch.tensor(present, device=raw.device))  # type: ignore[no-any-return]

    def _features(self, batch: RainBatch) -> tuple[Tensor, Tensor]:
        """Last features of pixels (n, F) with data, of what is learnt from and of what is adapted to."""
        assert self.features is not None, "the network has run"
        rows = self.features.movedim(1, -1)
        seen = batch.mask[:, 0] > 0
        found = []
        for chosen in (~batch.target, batch.target):
            pixels = rows[chosen][seen[chosen]].float()
            found.append(pixels[:: max(1, len(pixels) // PIXELS)])
        return found[0], found[1]


def _adversarial(lesson: Lesson, source: Tensor, target: Tensor, progress: float) -> Tensor:
    assert lesson.discriminator is not None
    return domain_loss(lesson.discriminator, source, target, reversal_strength(progress))


DEEP: Mapping[str, Callable[[Lesson, Tensor, Tensor, float], Tensor]] = {
    "deep-coral": lambda lesson, source, target, progress: coral_loss(source, target),
    "adversarial": _adversarial,
}
"""Losses of an adaptation of features."""
