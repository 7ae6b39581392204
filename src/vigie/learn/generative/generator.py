"""What a generative model is: a way to teach a network from pairs, and a way to draw members from it.

The network is told a noisy target, what is known (the condition), and how far the noise has gone; `vigie.learn.generative.flow`
and `vigie.learn.generative.diffusion` differ in what they ask of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from vigie.core.errors import VigieError

Network = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(noisy target (N, K, H, W), condition (N, C, H, W), time (N,) from 0 to 1) -> (N, K, H, W)."""


class Generator(Protocol):
    """One way to generate targets (N, K, H, W) given conditions (N, C, H, W); single footprints have H = W = 1."""

    def loss(self, network: Network, x1: Tensor, condition: Tensor, generator: torch.Generator | None) -> Tensor:
        """Compare what the network makes of noised targets x1 with what it should; pixels where x1 is NaN do not count.

        Targets are standardised. Noise is drawn from `generator`, or from torch's own where that is None.
        """
        ...

    def carry(self, network: Network, condition: Tensor, noise: Tensor, generator: torch.Generator | None) -> Tensor:
        """Carry standard normal noise (members, N, K, H, W) to as many members, standardised like the targets.

        Only a sampler that draws new noise on the way looks at `generator`.
        """
        ...

    def sample(self, network: Network, condition: Tensor, members: int, generator: torch.Generator | None) -> Tensor:
        """Draw members (members, N, K, H, W) from noise of the generator's."""
        ...


def masked(maps: Tensor) -> Tensor:
    """Make a condition (N, 2 C, H, W) of maps (N, C, H, W): 0 where NaN, and after all maps where each was a number.

    Examples
    --------
    >>> masked(torch.tensor([2.0, float("nan")]).reshape(1, 1, 1, 2)).tolist()
    [[[[2.0, 0.0]], [[1.0, 0.0]]]]
    """
    known = torch.isfinite(maps)
    return torch.cat([torch.where(known, maps, 0.0), known.to(maps.dtype)], dim=1)


def known_targets(x1: Tensor) -> tuple[Tensor, Tensor]:
    """Split targets into numbers and where they are known; unknown ones are 0, the mean of what is standardised.

    Raises
    ------
    VigieError: none is known.
    """
    known = torch.isfinite(x1)
    if not known.any():
        raise VigieError("no target of the batch is known", found="NaN everywhere", expected="crops with some truth")
    return torch.where(known, x1, 0.0), known


def mean_square(error: Tensor, known: Tensor) -> Tensor:
    """Mean of squared errors where targets are known."""
    return (error.float() ** 2 * known).sum() / known.sum()


def noise_of(condition: Tensor, members: int, channels: int, generator: torch.Generator | None) -> Tensor:
    """Draw the noise (members, N, channels, H, W) that members start from, all at once: it does not depend on batches.

    Raises
    ------
    VigieError: there are no members.
    """
    if members < 1:
        raise VigieError("there are no members to draw", found=members, expected="at least 1")
    shape = (members * len(condition), channels, *condition.shape[-2:])
    return normal(shape, condition, generator).view(members, len(condition), *shape[1:])


def check_condition(condition: Tensor, noise: Tensor) -> None:
    """Refuse a condition that is not (N, C, H, W) of numbers, and noise (members, N, K, H, W) that does not fit it.

    Raises
    ------
    VigieError: see above.
    """
    if condition.ndim != 4 or not torch.isfinite(condition).all():
        raise VigieError(
            "the condition of a generative model is not a stack of whole maps",
            found=f"shape {tuple(condition.shape)}, {int((~torch.isfinite(condition)).sum())} values that are no numbers",
            expected="(N, C, H, W) without NaN",
            do="give maps with gaps to vigie.learn.generative.generator.masked",
        )
    if noise.ndim != 5 or (noise.shape[1], *noise.shape[3:]) != (len(condition), *condition.shape[2:]):
        raise VigieError(
            "noise and condition do not fit together",
            found=f"noise {tuple(noise.shape)}, condition {tuple(condition.shape)}",
            expected="(members, N, K, H, W) and (N, C, H, W)",
        )


def normal(shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw standard normal numbers on the generator's device, so that they are the same for all devices of a network."""
    device = like.device if generator is None else generator.device
    return torch.randn(shape, generator=generator, device=device, dtype=like.dtype).to(like.device)


def evaluated(network: Network, noisy: Tensor, condition: Tensor, time: float, batch: int) -> Tensor:
    """Ask the network about all members (members N, K, H, W) at one time, at most `batch` images at once.

    Members of one condition lie N apart. Only the network's own memory is bounded by `batch`: members are held whole.
    """
    count = len(condition)
    parts = []
    for first in range(0, len(noisy), batch):
        part = noisy[first : first + batch]
        rows = torch.arange(first, first + len(part), device=condition.device) % count
        parts.append(network(part, condition[rows], part.new_full((len(part),), time)))
    return torch.cat(parts)
