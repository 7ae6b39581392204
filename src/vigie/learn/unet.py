"""A U-Net without batch statistics: the expected workhorse, small enough to train on a laptop's CPU.

Ronneberger, Fischer & Brox 2015 (arXiv:1505.04597), with normalisation over channels or groups instead of the batch (small
batches of large crops), SiLU, and bilinear upsampling instead of transposed convolutions (no checkerboard).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Norm = Callable[[int], nn.Module]
"""Build the normalisation layer of a number of channels."""


def group_norm(channels: int) -> nn.Module:
    """Normalise over 8 groups of channels and the whole crop (Wu & He 2018): robust, but it sees the whole crop."""
    return nn.GroupNorm(8 if channels % 8 == 0 else 1, channels)


class ChannelNorm(nn.Module):
    """Normalise over channels at each pixel: output at a pixel does not depend on how far the tile reaches."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, H, W) over C."""
        return F.layer_norm(x.movedim(1, -1), self.weight.shape, self.weight, self.bias).movedim(-1, 1)


class DoubleConv(nn.Sequential):
    """(conv3x3, norm, SiLU) twice."""

    def __init__(self, inputs: int, outputs: int, norm: Norm) -> None:
        layers: list[nn.Module] = []
        for width in (inputs, outputs):
            layers += [nn.Conv2d(width, outputs, 3, padding=1, bias=False), norm(outputs), nn.SiLU()]
        super().__init__(*layers)


class Up(nn.Module):
    """Project to the skip's width, upsample twice bilinearly, join the skip, DoubleConv."""

    def __init__(self, inputs: int, outputs: int, norm: Norm) -> None:
        super().__init__()
        # A 1x1 convolution and bilinear upsampling commute: projecting first costs a quarter.
        self.project = nn.Conv2d(inputs, outputs, 1)
        self.conv = DoubleConv(2 * outputs, outputs, norm)

    def forward(self, deep: Tensor, skip: Tensor) -> Tensor:
        """Join what is deep (N, inputs, h, w) with its skip (N, outputs, 2h, 2w)."""
        raised = F.interpolate(self.project(deep), scale_factor=2.0, mode="bilinear", align_corners=False)
        joined: Tensor = self.conv(torch.cat([skip, raised], dim=1))
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
        `group_norm` or `ChannelNorm`.
    dropout
        Probability of dropping a whole feature map before the last layer.

    Examples
    --------
    >>> UNet(8, 4, (8, 16), ChannelNorm)(torch.zeros(1, 8, 6, 10)).shape
    torch.Size([1, 4, 6, 10])
    """

    def __init__(self, channels: int, classes: int, widths: Sequence[int], norm: Norm, dropout: float = 0.0) -> None:
        super().__init__()
        self.multiple = 2 ** (len(widths) - 1)
        self.receptive_field = None if norm is group_norm else receptive_field(len(widths))
        self.down = nn.ModuleList([DoubleConv(a, b, norm) for a, b in zip((channels, *widths), widths)])
        self.up = nn.ModuleList([Up(b, a, norm) for a, b in reversed(list(pairwise(widths)))])
        self.head = nn.Sequential(nn.Dropout2d(dropout), nn.Conv2d(widths[0], classes, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Turn features (N, channels, H, W) into logits (N, classes, H, W); H and W multiples of `multiple`."""
        skips = [self.down[0](x)]
        for block in list(self.down)[1:]:
            skips.append(block(F.max_pool2d(skips[-1], 2)))
        y = skips.pop()
        for block in self.up:
            y = block(y, skips.pop())
        logits: Tensor = self.head(y)
        return logits


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
