"""Radiation up and down through layers that absorb, emit and scatter: two streams, and layers added one upon another.

Sources
-------
Schuster (1905), Radiation through a foggy atmosphere, ApJ 21, 1: the two streams. Grant and Hunt (1969), Proc. R. Soc. A 313,
183: adding of layers. Brightness temperatures stand for radiances (Rayleigh-Jeans).
"""

from __future__ import annotations

import torch
from torch import Tensor

SPACE_K = 2.725
"""Brightness temperature of the sky behind the air (Fixsen 2009)."""

THIN = 1e-6
"""Optical depth that every layer absorbs at least: no layer is exactly clear, and the square root stays differentiable."""


def layer(absorbed: Tensor, scattered: Tensor) -> tuple[Tensor, Tensor]:
    """Compute what a layer reflects and what it lets through, 0 to 1.

    The two streams I+ and I- obey dI+/dt = -(a + b) I+ + b I- + a B, with a absorbed and b scattered backwards along the path.

    Parameters
    ----------
    absorbed, scattered: optical depths a and b along the path, 0 or more.

    Examples
    --------
    >>> reflected, passed = layer(torch.tensor(0.5), torch.tensor(0.0))
    >>> float(reflected), round(float(passed), 4)  # exp(-0.5) without scattering
    (0.0, 0.6065)
    """
    a, b = absorbed + THIN, scattered
    k = torch.sqrt(a * (a + 2 * b))
    decay = torch.exp(-k)
    below = (k + a + b) + (k - a - b) * decay**2
    return b * (1 - decay**2) / below, 2 * k * decay / below


def upwelling(emissivity: Tensor, skin_k: Tensor, absorbed: Tensor, scattered: Tensor, temperature_k: Tensor) -> Tensor:
    """Compute the brightness temperature (K) that leaves the top of layers above a surface that reflects like a mirror.

    Layers are added from the ground up: below each of them lies something that emits `up` and reflects `mirror`.

    Parameters
    ----------
    emissivity, skin_k: of the surface, any shape (...).
    absorbed, scattered: optical depths of layers along the path, (..., layer), the lowest first.
    temperature_k: of layers (..., layer).

    Examples
    --------
    >>> opaque = torch.tensor([50.0])
    >>> round(float(upwelling(torch.tensor(0.5), torch.tensor(290.0), opaque, 0 * opaque, torch.tensor([260.0]))), 3)
    260.0
    """
    up, mirror = emissivity * skin_k, 1 - emissivity
    reflected, passed = layer(absorbed, scattered)
    emitted = (1 - reflected - passed) * temperature_k
    for r, t, e in zip(reflected.unbind(-1), passed.unbind(-1), emitted.unbind(-1), strict=True):
        between = t / (1 - r * mirror)
        up = e + between * (up + mirror * e)
        mirror = r + between * t * mirror
    return up + mirror * SPACE_K
