"""Flow matching: a network learns the velocity that carries noise to data along straight lines, and an ODE draws members.

Lipman et al. 2023 (arXiv:2210.02747), with the straight paths of Liu et al. 2023 (arXiv:2209.03003).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vigie.core.errors import VigieError
from vigie.learn.generative.generator import Network, check_condition, evaluated, known_targets, mean_square, noise_of, normal

Velocity = Callable[[Tensor, float], Tensor]
"""(x, t) -> dx/dt, of the shape of x."""

Step = Callable[[Velocity, Tensor, float, float], Tensor]
"""(velocity, x at t, t, dt) -> x at t + dt."""


def euler(velocity: Velocity, x: Tensor, t: float, dt: float) -> Tensor:
    """Euler's step: one look at the velocity, error of a whole way proportional to dt."""
    return x + dt * velocity(x, t)


def heun(velocity: Velocity, x: Tensor, t: float, dt: float) -> Tensor:
    """Heun's step: two looks at the velocity, error of a whole way proportional to dt^2."""
    slope = velocity(x, t)
    return x + dt / 2 * (slope + velocity(x + dt * slope, t + dt))


def integrate(velocity: Velocity, x: Tensor, steps: int, step: Step = heun) -> Tensor:
    """Carry x from t = 0 to t = 1 in equal steps.

    Raises
    ------
    VigieError: there are no steps.

    Examples
    --------
    >>> [round(float(integrate(lambda x, t: x, torch.ones(()), 100, step)), 4) for step in (euler, heun)]  # e is 2.7183
    [2.7048, 2.7182]
    """
    if steps < 1:
        raise VigieError("a flow needs steps", found=steps, expected="at least 1")
    for number in range(steps):
        x = step(velocity, x, number / steps, 1 / steps)
    return x


def flow_loss(network: Network, x0: Tensor, x1: Tensor, condition: Tensor, generator: torch.Generator | None) -> Tensor:
    """Squared error of the velocity between starts x0 and ends x1, both (N, K, H, W); where x1 is NaN it does not count.

    x_t = (1 - t) x0 + t x1 with t uniform for each image; the velocity to find is x1 - x0.
    """
    ends, known = known_targets(x1)
    device = x1.device if generator is None else generator.device
    time = torch.rand(len(x1), generator=generator, device=device, dtype=x1.dtype).to(x1.device)
    t = time.view(-1, 1, 1, 1)
    return mean_square(network((1 - t) * x0 + t * ends, condition, time) - (ends - x0), known)


@dataclass(frozen=True)
class FlowMatching:
    """Generate by flow matching from normal noise: a `vigie.learn.generative.generator.Generator`.

    `steps` of `step` are taken for a member; the network sees at most `batch` images at once; targets have `channels`.

    Examples
    --------
    >>> known = lambda noisy, condition, time: condition - noisy  # not learnt: any function is a network
    >>> FlowMatching(steps=4, batch=3).sample(known, torch.zeros(2, 1, 8, 8), members=5, generator=None).shape
    torch.Size([5, 2, 1, 8, 8])
    """

    steps: int = 20
    step: Step = heun
    batch: int = 64
    channels: int = 1

    def loss(self, network: Network, x1: Tensor, condition: Tensor, generator: torch.Generator | None) -> Tensor:
        """Squared error of the velocity from noise to targets x1 (N, K, H, W), NaN where unknown."""
        return flow_loss(network, normal(tuple(x1.shape), x1, generator), x1, condition, generator)

    @torch.no_grad()
    def carry(self, network: Network, condition: Tensor, noise: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Carry noise (members, N, K, H, W) along the flow; nothing is drawn on the way."""
        check_condition(condition, noise)
        start = noise.flatten(0, 1)
        return integrate(lambda x, t: evaluated(network, x, condition, t, self.batch), start, self.steps, self.step).view_as(
            noise
        )

    def sample(self, network: Network, condition: Tensor, members: int, generator: torch.Generator | None) -> Tensor:
        """Draw members (members, N, K, H, W); they depend on the generator's seed, not on `batch`."""
        return self.carry(network, condition, noise_of(condition, members, self.channels, generator))
