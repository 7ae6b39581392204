"""What lies around a pixel: means and standard deviations in squares of several sizes.

They are the context that pixel-wise classifiers of glaciers live on.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

FLOOR = 1e-4
"""Added to variances of standardised bands, which are at most noise below it."""


def surroundings(x: Tensor, sides: Sequence[int]) -> Tensor:
    """Put beside features (N, C, H, W) their means and standard deviations in squares: (N, C (1 + 2 sides), H, W).

    Examples
    --------
    >>> surroundings(torch.tensor([[[[1.0, 2.0, 6.0]]]]), [3])[0, :, 0].round(decimals=2)
    tensor([[1.0000, 2.0000, 6.0000],
            [1.5000, 3.0000, 4.0000],
            [0.5000, 2.1600, 2.0000]])
    """
    # A variance is a small difference of large numbers: never in 16 bits.
    with torch.autocast(x.device.type, enabled=False):
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        seen = [x]
        for side in sides:
            mean = box_mean(x, side)
            seen += [mean, (box_mean(x.square(), side) - mean.square()).clamp(min=0).add(FLOOR).sqrt()]
    return torch.cat(seen, dim=1)


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
