"""What an instrument makes of the radiation that reaches it: footprints smooth it, noise is added."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from vigie.core.errors import VigieError
from vigie.core.swath import Channel
from vigie.physics.footprint import REACH_SIGMAS, SIGMA_PER_WIDTH
from vigie.physics.microwave import State, brightness_temperature


def smooth(temperature: Tensor, channels: Sequence[Channel], spacing_km: tuple[float, float]) -> Tensor:
    """Average each channel of an image (line, sample, channel) over its footprint.

    The pattern is a Gaussian that is half as high at half a footprint from its centre, one dimension after the other. Beyond
    the edges of the image nothing counts: weights within are made to sum to one.

    Parameters
    ----------
    temperature: K, (line, sample, channel).
    channels: as many as the image has, with footprint_km.
    spacing_km: between lines, and between samples of a line.

    Raises
    ------
    VigieError: a footprint is unknown.

    Examples
    --------
    >>> point = torch.zeros(9, 9, 1)
    >>> point[4, 4] = 100.0
    >>> seen = smooth(point, [Channel(36.64, "V", footprint_km=12.0)], (6.0, 6.0))[..., 0]
    >>> round(float(seen[4, 5] / seen[4, 4]), 3), round(float(seen.sum()))  # half a footprint away: half as bright
    (0.5, 100)
    """
    return torch.stack([_smoothed(image, *pair) for image, *pair in _each(temperature, channels, spacing_km)], dim=-1)


def add_noise(temperature: Tensor, nedt_k: Sequence[float], generator: torch.Generator) -> Tensor:
    """Add white noise with a standard deviation for each channel (..., channel), its NEDT.

    Examples
    --------
    >>> noisy = add_noise(torch.zeros(1000, 2), [0.5, 0.0], torch.Generator().manual_seed(1))
    >>> [round(float(one), 1) for one in noisy.std(0)]
    [0.5, 0.0]
    """
    drawn = torch.randn(temperature.shape, generator=generator, dtype=temperature.dtype)
    return temperature + drawn * temperature.new_tensor(list(nedt_k))


def observe(
    state: Mapping[str, NDArray[np.floating]],
    channels: Sequence[Channel],
    spacing_km: tuple[float, float],
    nedt_k: Sequence[float],
    seed: int,
) -> NDArray[np.float32]:
    """Compute the image (line, sample, channel) in K that an instrument delivers of maps (line, sample) in numpy.

    This is what worlds that do not know torch (`vigie.synthetic`) are handed by those who know both.

    Parameters
    ----------
    state: a map for each field of `vigie.physics.microwave.State`, in its units.
    channels, spacing_km, nedt_k: see `smooth` and `add_noise`.
    seed: of the noise.

    Raises
    ------
    VigieError: a map is missing or unknown, or a channel cannot be simulated.

    Examples
    --------
    >>> sea = {"rain_rate": 0.0, "water_vapour": 30.0, "cloud_liquid": 0.05, "ice_water_path": 0.0}
    >>> sea |= {"skin_temperature": 295.0, "wind_speed": 7.0, "land_fraction": 0.0}
    >>> maps = {name: np.full((4, 5), value) for name, value in sea.items()}
    >>> image = observe(maps, [Channel(36.64, "V", 12.1, 52.8)], (5.0, 5.0), [0.4], seed=1)
    >>> image.shape, image.dtype.name, round(float(image.mean()))
    ((4, 5, 1), 'float32', 218)
    """
    known = set(State.__dataclass_fields__)
    if set(state) != known:
        raise VigieError("the state of sea and air is not complete", found=sorted(state), expected=sorted(known))
    with torch.no_grad():
        maps = State(**{name: torch.as_tensor(np.asarray(field, dtype=np.float32)) for name, field in state.items()})
        seen = smooth(brightness_temperature(maps, channels), channels, spacing_km)
        noisy = add_noise(seen, nedt_k, torch.Generator().manual_seed(seed))
    return np.asarray(noisy.numpy(), dtype=np.float32)


def _each(
    temperature: Tensor, channels: Sequence[Channel], spacing_km: tuple[float, float]
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Pair each channel's image with its weights along lines and samples."""
    for channel in channels:
        if not channel.footprint_km > 0:
            raise VigieError(
                f"channel {channel.name} has no footprint", found=f"{channel.footprint_km} km", do="give its footprint_km"
            )
    return [
        (image, *(_weights(channel.footprint_km / one, temperature) for one in spacing_km))  # type: ignore[misc]
        for image, channel in zip(temperature.unbind(-1), channels, strict=True)
    ]


def _weights(width: float, like: Tensor) -> Tensor:
    """Sample a Gaussian whose full width at half maximum is `width` pixels; the weights sum to one."""
    sigma = width * SIGMA_PER_WIDTH
    reach = math.ceil(REACH_SIGMAS * sigma)
    place = torch.arange(-reach, reach + 1, dtype=like.dtype, device=like.device)
    weights = torch.exp(-0.5 * (place / sigma) ** 2)
    return weights / weights.sum()


def _smoothed(image: Tensor, along_lines: Tensor, along_samples: Tensor) -> Tensor:
    pair = torch.stack([image, torch.ones_like(image)])[:, None]
    pair = functional.conv2d(pair, along_lines[None, None, :, None], padding=(len(along_lines) // 2, 0))
    pair = functional.conv2d(pair, along_samples[None, None, None, :], padding=(0, len(along_samples) // 2))
    return pair[0, 0] / pair[1, 0]
