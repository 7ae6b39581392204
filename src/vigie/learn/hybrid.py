"""Learning from observed and simulated labels together: which source a row has, how much it counts, what its label would be.

Observed labels (radar) are few, simulated ones (reanalysis) many and biased. A network can be told the source of each row and
be asked as if all were observed (`flagged`, `SourceChannels`), rows can weigh by source (`source_weights`), simulated labels
can be given the observed distribution (`LabelMap`), and training can start on one source and end on another
(`pretrain_finetune`; Subedi, Garshasbi & Ebtehaj 2025).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vigie.core.errors import VigieError
from vigie.learn.fit import FitSettings

LEVELS = 200
"""Quantiles at which two label distributions are matched."""


def flagged(inputs: Tensor, observed: Tensor) -> Tensor:
    """Append to inputs (N, C, ...) a channel that is 1 where a row (N,) is observed and 0 where it is simulated.

    Examples
    --------
    >>> flagged(torch.zeros(2, 1), torch.tensor([True, False])).tolist()
    [[0.0, 1.0], [0.0, 0.0]]
    """
    return torch.cat([inputs, _spread(observed.to(inputs.dtype)[:, None], inputs)], dim=1)


class SourceChannels(nn.Module):
    """Append to inputs what a network learns of each source: `width` numbers a source, the same at all pixels.

    Examples
    --------
    >>> SourceChannels(sources=3, width=2)(torch.zeros(4, 13, 8, 8), torch.tensor([0, 0, 1, 2])).shape
    torch.Size([4, 15, 8, 8])
    """

    def __init__(self, sources: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(sources, width)

    def forward(self, inputs: Tensor, source: Tensor) -> Tensor:
        """Turn inputs (N, C, ...) of sources (N,) int64 into (N, C + width, ...)."""
        return torch.cat([inputs, _spread(self.embedding(source).to(inputs.dtype), inputs)], dim=1)


def _spread(values: Tensor, like: Tensor) -> Tensor:
    """Repeat (N, K) over the pixels of (N, C, ...)."""
    shape = (*values.shape, *[1] * (like.ndim - 2))
    return values.view(shape).expand(*values.shape, *like.shape[2:])


def source_weights(source: Sequence[str] | NDArray[np.str_], shares: Mapping[str, float]) -> NDArray[np.float64]:
    """Weigh rows so that each source has its share of the whole weight, however many rows it has; the mean weight is 1.

    Raises
    ------
    VigieError: a source has no share, or no share is positive.

    Examples
    --------
    >>> source_weights(["dpr", "era5", "era5", "era5"], {"dpr": 0.5, "era5": 0.5}).round(3).tolist()
    [2.0, 0.667, 0.667, 0.667]
    """
    names, rows, counts = np.unique(np.asarray(source, dtype=np.str_), return_inverse=True, return_counts=True)
    missing = sorted(set(map(str, names)) - set(shares))
    if missing:
        raise VigieError("rows of some sources have no weight", found=missing, expected="a share for each source")
    share = np.array([shares[str(name)] for name in names], dtype=np.float64)
    if (share < 0).any() or share.sum() <= 0:
        raise VigieError("shares of sources cannot be weights", found=dict(shares), expected="numbers from 0, one above it")
    weights: NDArray[np.float64] = (share / share.sum() / counts)[rows] * len(rows)
    return weights


@dataclass(frozen=True)
class LabelMap:
    """A monotone map of one source's labels onto another's, in mm h-1: linear between knots, proportional outside them.

    Zero stays zero. All are numbers, so that `dataclasses.asdict` and JSON keep it.

    Examples
    --------
    >>> doubled = LabelMap(source=(1.0, 2.0), target=(2.0, 4.0))
    >>> doubled(np.array([0.0, 0.5, 1.5, 4.0, np.nan])).tolist()
    [0.0, 1.0, 3.0, 8.0, nan]
    """

    source: tuple[float, ...]
    target: tuple[float, ...]

    def __call__(self, labels: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Map labels of any shape; NaN stays NaN."""
        inside = np.interp(labels, (0.0, *self.source), (0.0, *self.target))
        beyond = np.asarray(labels, dtype=np.float64) * (self.target[-1] / self.source[-1])
        return np.where(np.asarray(labels) > self.source[-1], beyond, inside)


def fit_label_map(source: NDArray[np.floating[Any]], target: NDArray[np.floating[Any]], levels: int = LEVELS) -> LabelMap:
    """Match the quantiles of two sources' labels, those of training rows.

    Quantiles are numpy's, of labels above 0, at the middles of `levels` equal parts of (0, 1). Both sets must stand for the
    same weather: rain rates of raining footprints, for instance, of the same regions and seasons.

    Raises
    ------
    VigieError: a set has no positive label, or one is negative.
    """
    middles = (np.arange(levels) + 0.5) / levels
    found, wanted = (np.quantile(_positive(labels), middles) for labels in (source, target))
    # Where many labels are alike, several quantiles are: one knot must have one value.
    knots, row = np.unique(found, return_inverse=True)
    values = np.bincount(row, weights=wanted) / np.bincount(row)
    return LabelMap(tuple(knots.tolist()), tuple(values.tolist()))


def _positive(labels: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    known = np.asarray(labels, dtype=np.float64)
    known = known[np.isfinite(known)]
    if (known < 0).any() or not (known > 0).any():
        raise VigieError(
            "labels cannot be matched by their quantiles",
            found=f"{len(known)} known, {int((known < 0).sum())} below 0, {int((known > 0).sum())} above it",
            expected="rain rates from 0, some above it",
        )
    return known[known > 0]


@dataclass(frozen=True)
class Phase:
    """One part of a training: each source's share of the weight (none: it takes no part), and how the network is fitted.

    Phases are trained one after another, each from the weights of the one before.
    """

    name: str
    shares: Mapping[str, float]
    settings: FitSettings


def pretrain_finetune(
    settings: FitSettings, simulated: str, observed: str, pretrain_share: float = 0.5, gentler: float = 0.1
) -> tuple[Phase, Phase]:
    """Split a training: first on simulated labels alone, then on observed ones with a lower learning rate.

    Parameters
    ----------
    settings: of the whole training, whose steps are split.
    simulated, observed: names of the sources.
    pretrain_share: of the steps, above 0 and below 1.
    gentler: factor of the learning rate while fine-tuning.

    Raises
    ------
    VigieError: a phase would have no steps.

    Examples
    --------
    >>> [(p.name, p.shares, p.settings.steps) for p in pretrain_finetune(FitSettings(steps=1000), "era5", "dpr", 0.7)]
    [('pretrain', {'era5': 1.0}, 700), ('finetune', {'dpr': 1.0}, 300)]
    """
    first = round(settings.steps * pretrain_share)
    if not 0 < first < settings.steps:
        raise VigieError(
            "a training cannot be split so",
            found=f"{first} of {settings.steps} steps on simulated labels",
            expected="two parts",
        )
    pretrain = settings.model_copy(update={"steps": first})
    finetune = {"steps": settings.steps - first, "learning_rate": settings.learning_rate * gentler}
    return (
        Phase("pretrain", {simulated: 1.0}, pretrain),
        Phase("finetune", {observed: 1.0}, settings.model_copy(update=finetune)),
    )
