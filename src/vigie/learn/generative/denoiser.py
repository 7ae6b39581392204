"""Networks of generative models: they see a noisy target and what is known, and know how far the noise has gone.

Time modulates features (`vigie.learn.unet.SensorNorm`; Perez et al. 2018, arXiv:1709.07871). Normalisation takes away how large
the noisy target is, so a share of it, which depends on time alone, is added to the output: what c_skip is in EDM (Karras et al.
2022, arXiv:2206.00364), but learnt.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import log

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vigie.core.errors import VigieError
from vigie.learn.unet import ChannelNorm, Norm, UNet

CONTEXT = 64
"""Width of what a network is told of time."""

FASTEST = 1000.0
"""Angular frequency of the fastest wave that time is told by; the slowest is 1."""


class TimeEmbedding(nn.Module):
    """Tell time by waves of geometrically spaced frequencies, then a small network.

    Examples
    --------
    >>> TimeEmbedding(64)(torch.tensor([0.0, 0.5, 1.0])).shape
    torch.Size([3, 64])
    """

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.linspace(0, log(FASTEST), width // 2).exp())
        self.layers = nn.Sequential(nn.Linear(width // 2 * 2, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, time: Tensor) -> Tensor:
        """Turn times (N,) from 0 to 1 into contexts (N, width)."""
        phase = time[:, None] * self.frequencies
        context: Tensor = self.layers(torch.cat([phase.sin(), phase.cos()], dim=1))
        return context


class Denoiser(nn.Module):
    """A body that sees [noisy target, condition] and time, with the way around it.

    Parameters
    ----------
    body
        Turns (N, K + C, H, W) and contexts (N, CONTEXT) into (N, K, H, W).
    channels
        K, those of the target.

    Attributes
    ----------
    multiple: H and W must be multiples of it.
    receptive_field: pixels side to side that can change one answer; None where the whole image can.
    """

    def __init__(self, body: nn.Module, channels: int) -> None:
        super().__init__()
        self.multiple = int(body.multiple)  # type: ignore[arg-type]
        self.receptive_field: int | None = body.receptive_field  # type: ignore[assignment]
        self.body, self.time = body, TimeEmbedding(CONTEXT)
        self.around = nn.Linear(CONTEXT, channels)
        nn.init.zeros_(self.around.weight)
        nn.init.zeros_(self.around.bias)

    def forward(self, noisy: Tensor, condition: Tensor, time: Tensor) -> Tensor:
        """Answer (N, K, H, W) to noisy targets (N, K, H, W), conditions (N, C, H, W) and times (N,)."""
        context = self.time(time)
        seen: Tensor = self.body(torch.cat([noisy, condition], dim=1), context)
        share: Tensor = self.around(context)[..., None, None]
        return seen + share * noisy


class UNetDenoiser(Denoiser):
    """A denoiser of images: our U-Net, whose sides must be multiples of 2^(levels - 1).

    Examples
    --------
    >>> network = UNetDenoiser(conditions=4, widths=(8, 16))
    >>> network(torch.zeros(3, 1, 8, 8), torch.zeros(3, 4, 8, 8), torch.tensor([0.1, 0.5, 0.9])).shape
    torch.Size([3, 1, 8, 8])
    """

    def __init__(
        self, conditions: int, channels: int = 1, widths: Sequence[int] = (32, 64, 128), norm: Norm = ChannelNorm
    ) -> None:
        super().__init__(UNet(channels + conditions, channels, widths, norm, CONTEXT), channels)

    def forward(self, noisy: Tensor, condition: Tensor, time: Tensor) -> Tensor:
        """Answer as `Denoiser` does.

        Raises
        ------
        VigieError: the U-Net cannot halve these images evenly.
        """
        height, width = noisy.shape[-2:]
        if height % self.multiple or width % self.multiple:
            raise VigieError(
                "the network cannot halve these images evenly",
                found=f"{height} x {width} pixels",
                expected=f"multiples of {self.multiple}",
                do="choose another crop, fewer widths, or FootprintDenoiser for single footprints",
            )
        return super().forward(noisy, condition, time)


class FootprintDenoiser(Denoiser):
    """A denoiser of single footprints: each pixel is looked at alone, by a small residual network.

    Examples
    --------
    >>> network = FootprintDenoiser(conditions=13)
    >>> network(torch.zeros(3, 1, 1, 1), torch.zeros(3, 13, 1, 1), torch.zeros(3)).shape
    torch.Size([3, 1, 1, 1])
    """

    def __init__(self, conditions: int, channels: int = 1, widths: Sequence[int] = (128, 128, 128)) -> None:
        super().__init__(_Perceptron(channels + conditions, channels, widths), channels)


class _Perceptron(nn.Module):
    """(linear, modulated layer norm, SiLU) for each width; layers of the same width add to what they see."""

    multiple = 1
    receptive_field = 1

    def __init__(self, inputs: int, outputs: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(a, b) for a, b in pairwise((inputs, *widths))])
        self.norms = nn.ModuleList([ChannelNorm(width, CONTEXT) for width in widths])
        self.head = nn.Linear(widths[-1], outputs)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Turn (N, inputs, H, W) into (N, outputs, H, W)."""
        x = x.movedim(1, -1)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            y = F.silu(norm(layer(x).movedim(-1, 1), context).movedim(1, -1))
            x = x + y if x.shape == y.shape else y
        answer: Tensor = self.head(x)
        return answer.movedim(-1, 1)
