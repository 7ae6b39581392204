"""Calibration: a temperature and biases a sensor, so that probabilities are as sure as they should be and favour no class.

softmax(logits / T + b), with T and b the minimum of the negative log-likelihood on scenes that were not learnt from:
bias-corrected temperature scaling (Guo et al. 2017, On Calibration of Modern Neural Networks; Alexandari et al. 2020,
arXiv:1901.06852). Overlap losses favour rare classes; the bias takes that back. Labels may be partial: the probability of a
label is the sum of its leaf classes'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, log
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import optimize
from torch import Tensor

from vigie.core.errors import VigieError

BOUNDS = (0.05, 20.0)
"""Temperatures that are looked at: beyond them probabilities are 0 and 1, or all alike."""

EVERY_SENSOR = "*"
"""Key of the calibration of sensors that have none of their own."""

SHRINKAGE = 1e-3
"""Penalty on squared biases: what labels say nothing of stays at 0."""
UNBIASED = 1e6
"""A penalty that leaves temperature alone: for so few scenes that their biases would be taken for the model's."""
FOLDS_FOR_BIAS = 3
"""Fewer held-out folds than this say how sure a model is, but not which classes it favours everywhere."""
FEWEST_PIXELS = 1000
"""Fewer labelled pixels of a sensor, or in one fold of it, say too little to count."""

Logits = tuple[Tensor, Tensor]
"""Logits (M, P, C) of M members at P pixels, and the leaf classes (P, C) bool that each pixel's label stands for."""


@dataclass(frozen=True)
class Calibration:
    """What is done to logits before the softmax: logits / temperature + bias, with one bias a class (none: all 0).

    Examples
    --------
    >>> Calibration(2.0, (0.0, 1.0))(torch.tensor([[4.0, 2.0]]), dim=1)
    tensor([[2., 2.]])
    """

    temperature: float = 1.0
    bias: tuple[float, ...] = ()

    def __call__(self, logits: Tensor, dim: int) -> Tensor:
        """Calibrate logits whose classes lie along `dim`."""
        scaled = logits / self.temperature
        if not self.bias:
            return scaled
        shape = [1] * logits.ndim
        shape[dim] = -1
        return scaled + torch.tensor(self.bias, dtype=scaled.dtype, device=scaled.device).view(shape)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any], classes: int) -> Calibration:
        """Read back what `dataclasses.asdict` and JSON made of it; ValueError where it does not fit the number of classes."""
        found = cls(float(record["temperature"]), tuple(map(float, record["bias"])))
        if not found.temperature > 0 or len(found.bias) not in (0, classes):
            raise ValueError(f"no calibration of {classes} classes: {dict(record)}")
        return found


def negative_log_likelihood(logits: Tensor, allowed: Tensor) -> Tensor:
    """Mean negative log-likelihood of partial labels.

    Parameters
    ----------
    logits: (P, C), or (M, P, C) of M members whose probabilities are averaged.
    allowed: (P, C) bool, the leaf classes that a pixel's label stands for.

    Examples
    --------
    >>> allowed = torch.tensor([[True, False]])
    >>> negative_log_likelihood(torch.tensor([[0.0, 0.0]]), allowed)
    tensor(0.6931)
    """
    members = logits if logits.ndim == 3 else logits[None]
    inside = members.masked_fill(~allowed, float("-inf")).logsumexp(-1) - members.logsumexp(-1)
    return log(len(members)) - inside.logsumexp(0).mean()


def fit_calibration(logits: Tensor, rows: Tensor, matrix: Tensor, shrinkage: float = SHRINKAGE) -> Calibration:
    """Find the temperature and the biases that make partial labels most likely.

    Parameters
    ----------
    logits: (P, C), or (M, P, C) for an ensemble.
    rows: (P,) rows of `matrix`, -1 where unknown.
    matrix: (K, C) of 0 and 1.
    shrinkage: penalty on squared biases.

    Raises
    ------
    VigieError: no pixel is labelled.

    Examples
    --------
    >>> sure = torch.tensor([[8.0, 0.0], [0.0, 8.0]]).repeat(4, 1)
    >>> truth = torch.tensor([0, 1, 0, 1, 0, 1, 1, 0])  # says 99.97 %, is right in 75 %
    >>> found = fit_calibration(sure, truth, torch.eye(2))
    >>> [round(float(p), 3) for p in found(sure[:2], dim=1).softmax(1)[:, 0]], [round(abs(b), 3) for b in found.bias]
    ([0.75, 0.25], [0.0, 0.0])
    """
    known = rows >= 0
    if not known.any():
        raise VigieError(
            "there is no labelled pixel to calibrate on",
            expected="labels in the calibration fold",
            do="choose another fold, or label a part of it",
        )
    return _most_likely([(logits[..., known, :], matrix[rows[known]] > 0)], shrinkage)


def _most_likely(parts: Sequence[Logits], shrinkage: float) -> Calibration:
    """Minimise over ln T and b the mean of the parts' negative log-likelihoods.

    Classes that no label stands for keep a bias of 0, and the others' biases have the mean 0: shifting all of them alike would
    cost the labelled pixels nothing, and would decide how likely the classes are that these scenes say nothing of.
    """
    parts = [(logits.double(), allowed) for logits, allowed in parts]
    seen = torch.stack([allowed.any(dim=0) for _, allowed in parts]).any(dim=0).double()

    def centred(x: Tensor) -> Tensor:
        return (x[1:] - (x[1:] * seen).sum() / seen.sum()) * seen

    def cost(numbers: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        x = torch.tensor(numbers, dtype=torch.float64, requires_grad=True)
        scale, bias = x[0].exp(), centred(x)
        likely = [negative_log_likelihood(logits / scale + bias, allowed) for logits, allowed in parts]
        value = torch.stack(likely).mean() + shrinkage * (x[1:] ** 2).sum()
        (slope,) = torch.autograd.grad(value, x)
        return float(value.detach()), slope.numpy()

    bounds = [(log(BOUNDS[0]), log(BOUNDS[1])), *[(-10.0, 10.0)] * len(seen)]
    start = np.zeros(1 + len(seen))
    found = optimize.minimize(cost, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-12})
    return Calibration(exp(float(found.x[0])), tuple(centred(torch.from_numpy(found.x)).tolist()))


@dataclass
class LogitSample:
    """A bounded sample of one fold's labelled logits for every sensor, taken as windows stream by.

    Every labelled pixel is equally likely to be in it, and which ones are depends on `seed` and the order of the windows alone:
    each draws a key, and the `limit` smallest keys stay.

    Examples
    --------
    >>> sample = LogitSample(limit=100)
    >>> sample.add("s2", torch.tensor([8.0, 0.0]).reshape(1, 1, 2, 1, 1).expand(1, 1, 2, 20, 20),
    ...            torch.zeros(1, 20, 20, dtype=torch.int64), torch.eye(2))
    >>> sample.pixels("s2")
    100
    """

    limit: int = 100_000
    seed: int = 0
    kept: dict[str, tuple[Tensor, Tensor, Tensor]] = field(default_factory=dict)
    generator: torch.Generator = field(default_factory=torch.Generator)

    def __post_init__(self) -> None:
        """Start the generator of keys."""
        self.generator.manual_seed(self.seed)

    def add(self, sensor: str, logits: Tensor, rows: Tensor, matrix: Tensor) -> None:
        """Take in windows: logits (M, N, C, H, W), rows (N, H, W) with -1 where unknown, matrix (K, C)."""
        rows, matrix = rows.cpu().flatten(), matrix.cpu()
        known = torch.nonzero(rows >= 0).flatten()
        if not len(known):
            return
        keys = torch.rand(len(known), generator=self.generator, dtype=torch.float64)
        chosen = torch.topk(keys, min(self.limit, len(keys)), largest=False).indices
        pixels = known[chosen]
        members, _, classes = logits.shape[:3]
        flat = logits.permute(0, 1, 3, 4, 2).reshape(members, -1, classes)
        new = (keys[chosen], flat[:, pixels.to(logits.device)].float().cpu(), matrix[rows[pixels]] > 0)
        old = self.kept.get(sensor, (new[0][:0], new[1][:, :0], new[2][:0]))
        keys, flat, allowed = (torch.cat(pair, dim) for pair, dim in zip(zip(old, new), (0, 1, 0), strict=True))
        order = torch.topk(keys, min(self.limit, len(keys)), largest=False).indices
        self.kept[sensor] = (keys[order], flat[:, order], allowed[order])

    def pixels(self, sensor: str) -> int:
        """Number of pixels kept of a sensor."""
        return len(self.kept[sensor][0])


def fit_calibrations(folds: Sequence[LogitSample]) -> dict[str, Calibration]:
    """Calibrate every sensor on the samples of the folds that hold it, and under '*' all of them, each with the same weight.

    Biases need `FOLDS_FOR_BIAS` folds with pixels of the sensor. A sensor with fewer than `FEWEST_PIXELS`, or without two
    labels that exclude each other, is left out: pixels of one class fit best with a bias without bounds. Nothing is returned
    where no sensor is left.

    Examples
    --------
    >>> sample, checker = LogitSample(), torch.arange(3600).reshape(1, 60, 60) % 2
    >>> sample.add("s2", torch.randn(1, 1, 2, 60, 60), checker, torch.eye(2))
    >>> sorted(fit_calibrations([sample])), fit_calibrations([LogitSample()])
    (['*', 's2'], {})
    """
    parts: dict[str, Logits] = {}
    support: dict[str, set[int]] = {}
    for sensor in sorted({sensor for fold in folds for sensor in fold.kept}):
        holding = [(number, fold.kept[sensor]) for number, fold in enumerate(folds) if sensor in fold.kept]
        part = torch.cat([logits for _, (_, logits, _) in holding], 1), torch.cat([allowed for _, (_, _, allowed) in holding])
        if _says_enough(part[1]):
            parts[sensor] = part
            support[sensor] = {number for number, (keys, _, _) in holding if len(keys) >= FEWEST_PIXELS}
    found = {sensor: _most_likely([part], _shrinkage(support[sensor])) for sensor, part in parts.items()}
    if not parts:
        return {}
    return found | {EVERY_SENSOR: _most_likely(list(parts.values()), _shrinkage(set.union(*support.values())))}


def _says_enough(allowed: Tensor) -> bool:
    """Say whether labels (P, C) are many enough, and two of them have no leaf class in common."""
    labels = torch.unique(allowed, dim=0).float()
    return len(allowed) >= FEWEST_PIXELS and bool((labels @ labels.T == 0).any())


def _shrinkage(folds: set[int]) -> float:
    return SHRINKAGE if len(folds) >= FOLDS_FOR_BIAS else UNBIASED
