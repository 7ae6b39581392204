"""A learnt map of brightness temperatures of one domain onto another's, without pairs: simulated to observed, sensor to sensor.

Conditional flow matching whose starts are rows of the source domain instead of noise, and whose ends are rows of the target
domain of the same class of rain, paired by minibatch optimal transport so that rows move as little as they must (Tong et al.
2024, arXiv:2302.00482). Within a class the two domains must stand for the same weather: the map would take a difference of
weather for one of sensors.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from vigie.core.errors import VigieError
from vigie.learn.generative.denoiser import FootprintDenoiser
from vigie.learn.generative.flow import flow_loss, integrate
from vigie.learn.generative.generator import Network, evaluated


@dataclass(frozen=True)
class Domain:
    """Rows of one domain: standardised inputs (n, d), and the class of rain (n,) int64 of each."""

    inputs: Tensor
    classes: Tensor


def rain_classes(rain: Tensor, edges_mm_h: tuple[float, ...]) -> Tensor:
    """Class of each rain rate: the number of edges that it reaches. One edge makes the classes dry and wet.

    Raises
    ------
    VigieError: a rate is unknown.

    Examples
    --------
    >>> rain_classes(torch.tensor([0.0, 0.1, 3.0, 30.0]), (0.1, 1.0, 10.0)).tolist()
    [0, 1, 2, 3]
    """
    if torch.isnan(rain).any():
        raise VigieError("rows without a rain rate have no class", found=f"{int(torch.isnan(rain).sum())} NaN", do="drop them")
    return torch.bucketize(rain, torch.tensor(edges_mm_h, dtype=rain.dtype, device=rain.device), right=True)


def wet_edges(rain: Tensor, wet_mm_h: float, bins: int) -> tuple[float, ...]:
    """Edges for `rain_classes`: the smallest rain rate, and quantiles that cut wet rows into `bins` of equal count.

    Examples
    --------
    >>> wet_edges(torch.tensor([0.0, 0.0, 1.0, 2.0, 3.0]), wet_mm_h=0.1, bins=2)
    (0.1..., 2.0)
    """
    wet = rain[rain >= wet_mm_h].double()
    levels = torch.arange(1, bins, dtype=torch.float64) / bins
    return (wet_mm_h, *torch.quantile(wet, levels.to(wet.device)).tolist())


def optimal_pairs(source: Tensor, target: Tensor) -> Tensor:
    """Rows of the target (n, d) that are paired with the rows of the source (n, d): least sum of squared distances.

    Examples
    --------
    >>> optimal_pairs(torch.tensor([[0.0], [5.0]]), torch.tensor([[6.0], [1.0]])).tolist()
    [1, 0]
    """
    from scipy.optimize import linear_sum_assignment

    cost = torch.cdist(source.double(), target.double()) ** 2
    return torch.from_numpy(linear_sum_assignment(cost.cpu().numpy())[1]).to(source.device)


def drawn_pairs(source: Domain, target: Domain, count: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor, Tensor]:
    """Draw rows of the source, and for each one of the target of its class: starts, ends (count, d), classes (count,).

    Raises
    ------
    VigieError: the target has no row of some class of the source.
    """
    missing = sorted(set(source.classes.tolist()) - set(target.classes.tolist()))
    if missing:
        raise VigieError(
            "the target domain has no rows of some classes",
            found=f"none of {missing}",
            expected="both domains in each class",
            do="take fewer classes of rain",
        )
    rows = torch.randint(len(source.inputs), (count,), generator=generator)
    starts, classes = source.inputs[rows], source.classes[rows]
    ends = torch.empty_like(starts)
    for code in sorted(set(classes.tolist())):
        here = torch.nonzero(classes == code).flatten()
        there = torch.nonzero(target.classes == code).flatten()
        drawn = target.inputs[there[torch.randint(len(there), (len(here),), generator=generator)]]
        ends[here] = drawn[optimal_pairs(starts[here], drawn)]
    return starts, ends, classes


def translation_loss(network: Network, source: Domain, target: Domain, count: int, generator: torch.Generator | None) -> Tensor:
    """Flow matching loss of `count` drawn pairs.

    `network` is a footprint denoiser whose target has d channels and whose condition is one channel a class of the source.
    """
    starts, ends, classes = drawn_pairs(source, target, count, generator)
    condition = _condition(classes, int(source.classes.max()) + 1, starts)
    return flow_loss(network, _footprints(starts), _footprints(ends), condition, generator)


def fit_translation(source: Domain, target: Domain, steps: int = 500, batch: int = 256, seed: int = 0) -> FootprintDenoiser:
    """Learn the map of rows of the source domain onto those of the target, class by class; the same seed, the same map.

    A minute's work on tables of footprints, so that no checkpoint is kept.
    """
    classes, channels = int(source.classes.max()) + 1, source.inputs.shape[1]
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        network = FootprintDenoiser(conditions=classes, channels=channels)
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        loss = translation_loss(network, source, target, batch, generator)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    return network.eval()


@torch.no_grad()
def translate(network: Network, rows: Domain, classes: int, steps: int = 20, batch: int = 4096) -> Tensor:
    """Carry rows of the source domain to the target domain: (n, d), standardised. No chance takes part.

    `classes` is how many the network was trained with.
    """
    condition = _condition(rows.classes, classes, rows.inputs)
    moved = integrate(lambda x, t: evaluated(network, x, condition, t, batch), _footprints(rows.inputs), steps)
    return moved.flatten(1)


def _footprints(rows: Tensor) -> Tensor:
    return rows[..., None, None]


def _condition(classes: Tensor, count: int, like: Tensor) -> Tensor:
    return _footprints(F.one_hot(classes, count).to(like.dtype))
