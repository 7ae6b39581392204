"""What raw network output means: the loss it is trained with, the estimate it becomes, and the variables that are stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log
from typing import Protocol

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from vigie.core import store
from vigie.core.errors import VigieError
from vigie.core.legend import Legend
from vigie.core.vocabulary import named
from vigie.learn.losses import Loss, LossSettings, build_loss
from vigie.learn.windows import Batch


class Head(Protocol):
    """One meaning of raw network output.

    Training asks for `loss`. Prediction asks for an `estimate`, whose layers are blended where patches overlap, and for the
    `variables` that blended layers are stored as, with their uncertainty.
    """

    @property
    def channels(self) -> int:
        """Channels of raw output."""
        ...

    @property
    def layers(self) -> int:
        """Layers of an estimate."""
        ...

    def loss(self, raw: Tensor, batch: Batch, progress: float) -> Tensor:
        """Compare raw output (N, channels, H, W) with a batch's truth; progress goes from 0 to 1 while training."""
        ...

    def estimate(self, raw: Tensor) -> Tensor:
        """Turn the calibrated raw output of all members (M, N, channels, H, W) into layers (N, layers, H, W)."""
        ...

    def template(self, sizes: tuple[int, int]) -> xr.Dataset:
        """Make the empty variables (..., y, x) of a store."""
        ...

    def variables(self, estimate: NDArray[np.float32], missing: NDArray[np.bool_]) -> dict[str, xr.Variable]:
        """Turn blended layers (layers, y, x) into those variables, as they are stored; no data where `missing` (y, x)."""
        ...


@dataclass(frozen=True)
class ClassHead:
    """Raw output as class logits of a legend: trained on labels that may be coarser, stored as probabilities and a map.

    An estimate is the members' mean class probabilities, and their spread.

    Examples
    --------
    >>> from vigie.core.legend import LegendClass
    >>> head = ClassHead(Legend("ice", (LegendClass(0, "land", "#8c8c8c"), LegendClass(1, "clean ice", "#3fa9f5"))))
    >>> estimate = head.estimate(torch.tensor([0.0, 9.0]).reshape(1, 1, 2, 1, 1)).numpy()[0]
    >>> stored = head.variables(estimate, np.array([[False]]))
    >>> {name: values.values.ravel().tolist() for name, values in stored.items()}
    {'probability': [1, 9999], 'spread': [0], 'map': [1]}
    """

    legend: Legend
    objective: Loss = field(default_factory=lambda: build_loss(LossSettings()))

    @property
    def channels(self) -> int:
        """Number of leaf classes."""
        return len(self.legend.classes)

    @property
    def layers(self) -> int:
        """Leaf classes, and the spread."""
        return self.channels + 1

    def loss(self, raw: Tensor, batch: Batch, progress: float = 1.0) -> Tensor:
        """Compare logits with the labels of a batch, whose matrix says which leaves each stands for."""
        return self.objective.at(progress)(raw, batch.rows, batch.matrix, batch.weight)

    def estimate(self, raw: Tensor) -> Tensor:
        """Average the members' probabilities and append their normalised mutual information.

        Mutual information H[mean p] - mean H[p] is 0 when members agree and log(classes) at most (Depeweg et al. 2018).
        """
        members = raw.softmax(dim=2)
        mean = members.mean(dim=0)
        if members.shape[0] == 1:
            return torch.cat([mean, torch.zeros_like(mean[:, :1])], dim=1)
        information = entropy(mean, dim=1) - entropy(members, dim=2).mean(dim=0)
        return torch.cat([mean, (information / log(self.channels)).clamp(0, 1).unsqueeze(1)], dim=1)

    def template(self, sizes: tuple[int, int]) -> xr.Dataset:
        """Make `probability` (class, y, x), `spread` (y, x) and `map` (y, x), which holds the legend's codes."""
        maps = ("y", "x")
        made = xr.Dataset(coords={"class_name": ("class", np.array(self.legend.names, dtype=np.str_))})
        made["probability"] = named("probability").empty(("class", *maps), (self.channels, *sizes))
        made["spread"] = named("spread").empty(maps, sizes)
        made["map"] = store.empty(maps, sizes, "uint8", named("map").attributes | self.legend.attributes)
        made["map"].encoding["_FillValue"] = np.uint8(self.legend.unknown)
        return made

    def variables(self, estimate: NDArray[np.float32], missing: NDArray[np.bool_]) -> dict[str, xr.Variable]:
        """Pack probabilities and spread, and name the most probable class.

        Raises
        ------
        VigieError: an estimate is no number where there is data.
        """
        broken = int((~(np.isfinite(estimate).all(axis=0) | missing)).sum())
        if broken:
            raise VigieError(
                "the network's answer is not a number",
                found=f"{broken} of {missing.size} pixels",
                expected="finite probabilities wherever there is data",
                do="train it again with a lower train.fit.learning_rate: its weights are not sound",
            )
        estimate = np.where(missing, np.float32(0.0), estimate)
        probability, spread = named("probability").pack(estimate[:-1]), named("spread").pack(estimate[-1])
        winner = self.legend.codes[estimate[:-1].argmax(axis=0)]
        probability[:, missing], spread[missing] = (store.fill_value(packed.dtype) for packed in (probability, spread))
        winner[missing] = self.legend.unknown
        maps = ("y", "x")
        return {
            "probability": xr.Variable(("class", *maps), probability),
            "spread": xr.Variable(maps, spread),
            "map": xr.Variable(maps, winner),
        }


def entropy(probability: Tensor, dim: int) -> Tensor:
    """Shannon entropy in nats along a dimension, 0 log 0 = 0."""
    return -torch.xlogy(probability, probability).sum(dim=dim)
