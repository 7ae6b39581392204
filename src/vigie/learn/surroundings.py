"""A perceptron on each pixel and the squares around it: what a forest on texture features sees, as a network.

Mean and spread in squares of several sizes are the context that pixel-wise classifiers of glaciers live on. Learnt from few
scenes, such a network errs elsewhere than a U-Net does, so that the two make a better ensemble than either alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vigie.learn.unet import ChannelNorm

FLOOR = 1e-4
"""Added to variances of standardised features: the slope of a square root has no bound at 0."""


class Surroundings(nn.Module):
    """Local means and standard deviations of features, then a perceptron a pixel.

    Parameters
    ----------
    channels
        Feature maps in.
    classes
        Logits out.
    sides
        Squares whose mean and standard deviation are taken, pixels side to side, odd.
    widths
        Hidden layers of the perceptron.
    dropout
        Probability of dropping a feature map after each hidden layer.

    Examples
    --------
    >>> network = Surroundings(8, 4, sides=(3, 9), widths=(16, 16))
    >>> network(torch.zeros(1, 8, 6, 10)).shape, network.receptive_field
    (torch.Size([1, 4, 6, 10]), 9)
    """

    multiple = 1

    def __init__(self, channels: int, classes: int, sides: Sequence[int], widths: Sequence[int], dropout: float = 0.0) -> None:
        super().__init__()
        self.sides, self.receptive_field = tuple(sides), max(sides)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((channels * (1 + 2 * len(sides)), *widths)):
            layers += [nn.Conv2d(inputs, outputs, 1, bias=False), ChannelNorm(outputs), nn.SiLU(), nn.Dropout2d(dropout)]
        self.perceptron = nn.Sequential(*layers, nn.Conv2d(widths[-1], classes, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Turn features (N, channels, H, W) into logits (N, classes, H, W)."""
        # A variance is a small difference of large numbers: never in 16 bits.
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(torch.promote_types(x.dtype, torch.float32))
            seen = [x]
            for side in self.sides:
                mean = box_mean(x, side)
                seen += [mean, (box_mean(x.square(), side) - mean.square()).clamp(min=0).add(FLOOR).sqrt()]
        logits: Tensor = self.perceptron(torch.cat(seen, dim=1))
        return logits


def box_mean(x: Tensor, side: int) -> Tensor:
    """Average (N, C, H, W) over the square of `side` pixels around each pixel, over what of it lies inside the image.

    Examples
    --------
    >>> box_mean(torch.tensor([[[[1.0, 2.0, 6.0]]]]), 3)
    tensor([[[[1.5000, 3.0000, 4.0000]]]])
    """
    for kernel, padding in (((side, 1), (side // 2, 0)), ((1, side), (0, side // 2))):
        x = F.avg_pool2d(x, kernel, 1, padding, count_include_pad=False)
    return x
