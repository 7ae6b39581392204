"""A U-Net without batch statistics that can know which sensor it looks at: the workhorse, small enough for a laptop's CPU.

Ronneberger, Fischer & Brox 2015 (arXiv:1505.04597), with normalisation over channels or groups instead of the batch (small
batches of large crops), SiLU, and bilinear upsampling instead of transposed convolutions (no checkerboard).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SensorNorm(nn.Module, ABC):
    """Normalise feature maps, then scale and shift each by what the image is made of; the way to normalise is a subclass's.

    Bright is snow on one sensor's image and a saturated slope on another's: one network has to know which it looks at, however
    normalisation blurs it. Feature-wise linear modulation (Perez et al. 2018, arXiv:1709.07871); at the start it is the same
    for all images.
    """

    def __init__(self, channels: int, context: int) -> None:
        super().__init__()
        self.modulation = nn.Linear(context, 2 * channels)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Normalise (N, C, H, W) of images that are all described by one context (E,), or each by its own (N, E)."""
        # Mixed precision gives the gain 8 bits: enough for it, too few for 1 + gain.
        gain, shift = self.modulation(context).to(self.modulation.weight.dtype).chunk(2, dim=-1)
        if context.ndim == 1:
            return self.normalise(x, 1 + gain, shift)
        plain = self.normalise(x, torch.ones_like(gain[0]), torch.zeros_like(shift[0]))
        modulated: Tensor = plain * (1 + gain)[..., None, None] + shift[..., None, None]
        return modulated

    @abstractmethod
    def normalise(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Normalise (N, C, H, W), times a weight (C,), plus a bias (C,)."""


class GroupNorm(SensorNorm):
    """Normalise over 8 groups of channels and the whole crop (Wu & He 2018): robust, but it sees the whole crop."""

    def normalise(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Normalise groups of channels."""
        return F.group_norm(x, 8 if x.shape[1] % 8 == 0 else 1, weight, bias)


class ChannelNorm(SensorNorm):
    """Normalise over channels at each pixel: output at a pixel does not depend on how far the tile reaches."""

    def normalise(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Normalise each pixel."""
        return F.layer_norm(x.movedim(1, -1), weight.shape, weight, bias).movedim(-1, 1)


Norm = type[SensorNorm]


class DoubleConv(nn.Module):
    """(conv3x3, norm, SiLU) twice."""

    def __init__(self, inputs: int, outputs: int, norm: Norm, context: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(width, outputs, 3, padding=1, bias=False) for width in (inputs, outputs)])
        self.norms = nn.ModuleList([norm(outputs, context) for _ in range(2)])

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Turn (N, inputs, H, W) into (N, outputs, H, W)."""
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.silu(norm(conv(x), context))
        return x


class Up(nn.Module):
    """Project to the width out, upsample bilinearly to the skip's size, join the skip, DoubleConv."""

    def __init__(self, inputs: int, skipped: int, outputs: int, norm: Norm, context: int) -> None:
        super().__init__()
        # A 1x1 convolution and bilinear upsampling commute: projecting first costs a quarter.
        self.project = nn.Conv2d(inputs, outputs, 1)
        self.conv = DoubleConv(skipped + outputs, outputs, norm, context)

    def forward(self, deep: Tensor, skip: Tensor, context: Tensor) -> Tensor:
        """Join what is deep (N, inputs, h, w) with its skip (N, skipped, H, W)."""
        raised = F.interpolate(self.project(deep), size=skip.shape[-2:], mode="bilinear", align_corners=False)
        joined: Tensor = self.conv(torch.cat([skip, raised], dim=1), context)
        return joined


class UNet(nn.Module):
    """A U-Net whose widths say how many levels it has.

    Parameters
    ----------
    channels
        Feature maps in.
    classes
        Logits out.
    widths
        Channels of each level, finest first; each level halves the resolution.
    norm
        `GroupNorm` or `ChannelNorm`.
    context
        Width of what describes the bands of the image, see `SensorNorm`.
    dropout
        Probability of dropping a whole feature map before the last layer.

    Examples
    --------
    >>> UNet(8, 4, (8, 16), ChannelNorm, context=5)(torch.zeros(1, 8, 6, 10), torch.zeros(5)).shape
    torch.Size([1, 4, 6, 10])
    """

    def __init__(
        self, channels: int, classes: int, widths: Sequence[int], norm: Norm, context: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.multiple = 2 ** (len(widths) - 1)
        self.receptive_field = None if norm is GroupNorm else receptive_field(len(widths))
        self.down = nn.ModuleList([DoubleConv(a, b, norm, context) for a, b in zip((channels, *widths), widths)])
        self.up = nn.ModuleList([Up(b, a, a, norm, context) for a, b in reversed(list(pairwise(widths)))])
        self.head = nn.Sequential(nn.Dropout2d(dropout), nn.Conv2d(widths[0], classes, 1))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Turn features (N, channels, H, W), whose sides are multiples of `multiple`, into logits (N, classes, H, W)."""
        skips = [self.down[0](x, context)]
        for block in list(self.down)[1:]:
            skips.append(block(F.max_pool2d(skips[-1], 2), context))
        logits: Tensor = self.head(climb(self.up, skips, context))
        return logits


def climb(ups: nn.ModuleList, skips: Sequence[Tensor], context: Tensor) -> Tensor:
    """Go the way up: from the deepest feature maps, the last of the skips, through the others to the first."""
    *skips, y = skips
    for block, skip in zip(ups, reversed(skips), strict=True):
        y = block(y, skip, context)
    return y


def receptive_field(levels: int) -> int:
    """Bound how many pixels, side to side, can change one output pixel of a U-Net of `levels` levels.

    Examples
    --------
    >>> receptive_field(1)
    5
    """
    downward = sum(2 << i for i in range(levels))
    upward = sum(4 << i for i in range(levels - 1))
    pooling = sum(1 << i for i in range(levels - 1))
    return 2 * (downward + upward + pooling) + 1
