"""Learning from observed and simulated labels together: which source a row has, how much it counts, what its label would be.

Observed labels (radar) are few, simulated ones (reanalysis) many and biased. A network can be told the source of each row
and be asked as if all were observed (the ancillary field "observed_label"), rows can weigh by source (`source_weights`),
simulated labels can be given the observed distribution (`LabelMap`), and training can start on one source and end on another
(`pretrain_finetune`; Subedi, Garshasbi & Ebtehaj 2025).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from vigie.core.errors import VigieError
from vigie.learn.fit import FitSettings


class HybridSettings(BaseModel):
    """How observed and simulated labels are learnt from together."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    observed: tuple[str, ...] = Field(
        default=(),
        description="label sources that count as observed; the others are simulated, are never tested on, and teach as told "
        "here; left out: all labels are alike",
    )
    method: Literal["together", "pretrain"] = Field(
        default="together", description="'together', or simulated labels first and observed ones afterwards ('pretrain')"
    )
    simulated_share: float = Field(default=0.5, gt=0, lt=1, description="share of the weight of 'together' that is simulated")
    pretrain_share: float = Field(
        default=0.5, gt=0, lt=1, description="share of the steps that 'pretrain' gives simulated labels"
    )
    gentler: float = Field(default=0.1, gt=0, le=1, description="factor of the learning rate after 'pretrain'")
    labels: Literal["as-they-are", "matched"] = Field(
        default="as-they-are", description="simulated rain rates: as they are, or with the observed distribution ('matched')"
    )
    temperatures: Literal["as-they-are", "translated"] = Field(
        default="as-they-are",
        description="simulated temperatures: as they are, or carried to the observed ones by a learnt flow ('translated')",
    )

    def simulates(self, source: str) -> bool:
        """Say whether labels of a source count as simulated."""
        return bool(self.observed) and source not in self.observed


LEVELS = 200
"""Quantiles at which two label distributions are matched."""


def source_weights(rows: Mapping[str, int], shares: Mapping[str, float]) -> dict[str, float]:
    """Weigh the rows of each source so that it has its share of the whole weight, however many rows it has; the mean is 1.

    A source without a share takes no part.

    Raises
    ------
    VigieError: no source with a share has rows, or a share is negative.

    Examples
    --------
    >>> {name: round(weight, 3) for name, weight in source_weights({"dpr": 1, "era5": 3}, {"dpr": 0.5, "era5": 0.5}).items()}
    {'dpr': 2.0, 'era5': 0.667}
    """
    taken = {name: shares.get(name, 0.0) for name, count in rows.items() if count}
    if min(taken.values(), default=0.0) < 0 or sum(taken.values()) <= 0:
        raise VigieError(
            "sources of labels have no weight",
            found=f"shares {dict(shares)}, rows {dict(rows)}",
            expected="shares from 0, of which one is above it, of a source that has rows",
        )
    total = sum(count for name, count in rows.items() if taken.get(name))
    return {name: share / sum(taken.values()) * total / rows[name] for name, share in taken.items()}


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
    settings: FitSettings, simulated: Sequence[str], observed: Sequence[str], pretrain_share: float = 0.5, gentler: float = 0.1
) -> tuple[Phase, Phase]:
    """Split a training: first on simulated labels alone, then on observed ones with a lower learning rate.

    Parameters
    ----------
    settings: of the whole training, whose steps are split.
    simulated, observed: names of the sources, which share the weight of a phase evenly.
    pretrain_share: of the steps, above 0 and below 1.
    gentler: factor of the learning rate while fine-tuning.

    Raises
    ------
    VigieError: a phase would have no steps.

    Examples
    --------
    >>> [(p.name, p.shares, p.settings.steps) for p in pretrain_finetune(FitSettings(steps=1000), ["era5"], ["dpr"], 0.7)]
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
    shared = [{name: 1 / len(names) for name in names} for names in (simulated, observed)]
    return (
        Phase("pretrain", shared[0], pretrain),
        Phase("finetune", shared[1], settings.model_copy(update=finetune)),
    )
