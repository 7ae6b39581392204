"""Temperature scaling: one number a sensor that makes probabilities as sure as they should be.

softmax(logits / T), with T the minimum of the negative log-likelihood on scenes that were not learnt from (Guo et al. 2017, On
Calibration of Modern Neural Networks). Labels may be partial: the probability of a label is the sum of its leaf classes'.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import exp, log, sqrt

import torch
from torch import Tensor

from vigie.core.errors import VigieError

BOUNDS = (0.05, 20.0)
"""Temperatures that are looked at: beyond them probabilities are 0 and 1, or all alike."""

GRID = 25


def negative_log_likelihood(logits: Tensor, allowed: Tensor, temperature: float) -> float:
    """Mean negative log-likelihood of partial labels.

    Parameters
    ----------
    logits: (P, C), or (M, P, C) of M members whose probabilities are averaged.
    allowed: (P, C) bool, the leaf classes that a pixel's label stands for.

    Examples
    --------
    >>> allowed = torch.tensor([[True, False]])
    >>> round(negative_log_likelihood(torch.tensor([[0.0, 0.0]]), allowed, 1.0), 4)
    0.6931
    """
    scaled = (logits if logits.ndim == 3 else logits[None]).double() / temperature
    inside = scaled.masked_fill(~allowed, float("-inf")).logsumexp(-1) - scaled.logsumexp(-1)
    members = log(len(scaled))
    return float((members - inside.logsumexp(0)).mean())


def fit_temperature(logits: Tensor, rows: Tensor, matrix: Tensor) -> float:
    """Find the temperature that makes partial labels most likely.

    Parameters
    ----------
    logits: (P, C), or (M, P, C) for an ensemble.
    rows: (P,) rows of `matrix`, -1 where unknown.
    matrix: (K, C) of 0 and 1.

    Raises
    ------
    VigieError: no pixel is labelled.

    Examples
    --------
    >>> sure = torch.tensor([[8.0, 0.0]]).repeat(4, 1)
    >>> T = fit_temperature(sure, torch.tensor([0, 0, 0, 1]), torch.eye(2))  # says 99.97 %, is right in 75 %
    >>> round(float((sure[0] / T).softmax(0)[0]), 3)
    0.75
    """
    known = rows >= 0
    return _minimum(logits[..., known, :], matrix[rows[known]] > 0)


def _nothing() -> VigieError:
    return VigieError(
        "there is no labelled pixel to calibrate on",
        expected="labels in the calibration fold",
        do="choose another fold, or label a part of it",
    )


def _minimum(logits: Tensor, allowed: Tensor) -> float:
    """Minimise over ln T: a grid finds the valley, golden sections its floor."""
    if not len(allowed):
        raise _nothing()

    def at(x: float) -> float:
        return negative_log_likelihood(logits, allowed, exp(x))

    low, high = log(BOUNDS[0]), log(BOUNDS[1])
    grid = [low + (high - low) * i / (GRID - 1) for i in range(GRID)]
    values = [at(x) for x in grid]
    best = values.index(min(values))
    a, b = grid[max(0, best - 1)], grid[min(GRID - 1, best + 1)]
    golden = (sqrt(5) - 1) / 2
    left, right = b - golden * (b - a), a + golden * (b - a)
    f_left, f_right = at(left), at(right)
    while b - a > 1e-4:
        if f_left <= f_right:
            b, right, f_right = right, left, f_left
            left = b - golden * (b - a)
            f_left = at(left)
        else:
            a, left, f_left = left, right, f_right
            right = a + golden * (b - a)
            f_right = at(right)
    return exp((a + b) / 2)


@dataclass
class LogitSample:
    """A bounded sample of labelled logits for every sensor, taken as windows stream by.

    Every labelled pixel is equally likely to be in it, and which ones are depends on `seed` and the order of the windows alone:
    each draws a key, and the `limit` smallest keys stay.

    Examples
    --------
    >>> sample = LogitSample(limit=100)
    >>> sample.add("s2", torch.tensor([8.0, 0.0]).reshape(1, 1, 2, 1, 1).expand(1, 1, 2, 20, 20),
    ...            torch.zeros(1, 20, 20, dtype=torch.int64), torch.eye(2))
    >>> sample.pixels("s2"), sorted(sample.temperatures())
    (100, ['*', 's2'])
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

    def __add__(self, other: LogitSample) -> LogitSample:
        """Join the samples of two folds; ensembles of different size are cut to the smaller."""
        joined = LogitSample(self.limit + other.limit, self.seed, dict(self.kept))
        for sensor, (keys, logits, allowed) in other.kept.items():
            old = joined.kept.get(sensor)
            if old is None:
                joined.kept[sensor] = (keys, logits, allowed)
                continue
            members = min(len(old[1]), len(logits))
            both = torch.cat([old[1][:members], logits[:members]], 1)
            joined.kept[sensor] = (torch.cat([old[0], keys]), both, torch.cat([old[2], allowed]))
        return joined

    def pixels(self, sensor: str) -> int:
        """Number of pixels kept of a sensor."""
        return len(self.kept[sensor][0])

    def temperatures(self) -> dict[str, float]:
        """Temperature of every sensor, and under '*' that of all of them together, each sensor with as many pixels."""
        if not self.kept:
            raise _nothing()
        found = {sensor: _minimum(logits, allowed) for sensor, (_, logits, allowed) in self.kept.items()}
        share, members = (min(part[1].shape[d] for part in self.kept.values()) for d in (1, 0))
        first = {sensor: torch.topk(part[0], share, largest=False).indices for sensor, part in self.kept.items()}
        logits = torch.cat([part[1][:members, first[sensor]] for sensor, part in self.kept.items()], 1)
        return found | {"*": _minimum(logits, torch.cat([part[2][first[sensor]] for sensor, part in self.kept.items()]))}
