"""Diffusion: a network learns to tell noise from data at every noise level, and members are drawn by taking noise away.

Denoising diffusion (Ho et al. 2020, arXiv:2006.11239) with the cosine schedule (Nichol & Dhariwal 2021, arXiv:2102.09672) and
v-prediction (Salimans & Ho 2022, arXiv:2202.00512). Schedules and steps are those of `diffusers`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from vigie.core.errors import VigieError
from vigie.learn.generative.generator import Network, check_condition, evaluated, known_targets, mean_square, noise_of, normal

Scheduler = Callable[[int], Any]
"""Number of noise levels -> a scheduler of diffusers, which knows the schedule and how to step down."""


def ddim(levels: int) -> Any:
    """Step down without new noise: a member is a function of the noise it starts from (Song et al. 2021, arXiv:2010.02502)."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(**_schedule(levels))  # type: ignore[no-untyped-call]


def ddpm(levels: int) -> Any:
    """Step down with new noise at each step, as Ho et al. do: needs more steps than `ddim`."""
    from diffusers import DDPMScheduler

    return DDPMScheduler(**_schedule(levels))  # type: ignore[no-untyped-call]


def _schedule(levels: int) -> dict[str, Any]:
    # Targets have no bounds, so nothing is clipped; 'trailing' starts at the highest level (Lin et al. 2024, arXiv:2305.08891).
    return {
        "num_train_timesteps": levels,
        "beta_schedule": "squaredcos_cap_v2",
        "prediction_type": "v_prediction",
        "clip_sample": False,
        "timestep_spacing": "trailing",
    }


@dataclass(frozen=True)
class Diffusion:
    """Generate by diffusion: a `vigie.learn.generative.generator.Generator`.

    The network learns at `levels` noise levels and is told level / levels; a member takes `steps` of them, by `scheduler`. The
    network sees at most `batch` images at once; targets have `channels`.

    Examples
    --------
    >>> nothing = lambda noisy, condition, time: torch.zeros_like(noisy)
    >>> Diffusion(steps=2, batch=3).sample(nothing, torch.zeros(2, 1, 4, 4), members=5, generator=None).shape
    torch.Size([5, 2, 1, 4, 4])
    """

    levels: int = 1000
    steps: int = 50
    scheduler: Scheduler = ddim
    batch: int = 64
    channels: int = 1

    def __post_init__(self) -> None:
        """Refuse steps that there are no levels for."""
        if not 1 <= self.steps <= self.levels:
            raise VigieError("a diffusion cannot take so many steps", found=self.steps, expected=f"1 to {self.levels}")

    @cached_property
    def noising(self) -> Any:
        """The scheduler that noises targets."""
        return self.scheduler(self.levels)

    def loss(self, network: Network, x1: Tensor, condition: Tensor, generator: torch.Generator | None) -> Tensor:
        """Squared error of v = alpha noise - sigma x1 at levels drawn for each target x1 (N, K, H, W), NaN where unknown."""
        clean, known = known_targets(x1)
        noise = normal(tuple(x1.shape), x1, generator)
        device = x1.device if generator is None else generator.device
        level = torch.randint(self.levels, (len(x1),), generator=generator, device=device).to(x1.device)
        noisy = self.noising.add_noise(clean, noise, level)
        found = network(noisy, condition, level.to(x1.dtype) / self.levels)
        return mean_square(found - self.noising.get_velocity(clean, noise, level), known)

    @torch.no_grad()
    def carry(self, network: Network, condition: Tensor, noise: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Take noise (members, N, K, H, W) away step by step; `ddpm` draws new noise from `generator` on the way."""
        check_condition(condition, noise)
        x, scheduler = noise.flatten(0, 1), self.scheduler(self.levels)
        scheduler.set_timesteps(self.steps)
        for level in scheduler.timesteps.tolist():
            v = evaluated(network, x, condition, level / self.levels, self.batch)
            x = scheduler.step(v, level, x, generator=generator).prev_sample
        return x.view_as(noise)

    def sample(self, network: Network, condition: Tensor, members: int, generator: torch.Generator | None) -> Tensor:
        """Draw members (members, N, K, H, W); they depend on the generator's seed, not on `batch`."""
        return self.carry(network, condition, noise_of(condition, members, self.channels, generator), generator)
