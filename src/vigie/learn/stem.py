"""The band-agnostic input layer: kernels are generated from what each band is, so any set of bands enters one network.

The idea of wavelength-conditioned dynamic weights is DOFA's (Xiong et al. 2024, arXiv:2403.15356); ours is a small
hypernetwork over richer descriptors (`vigie.learn.bands`), at full resolution, with validity and saturation beside the bands.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vigie.learn import bands as descriptors

MASKS = 2
"""Mask channels: 0 valid (1/0), 1 saturated fraction."""


class Stem(nn.Module):
    """A first layer: bands, their masks and descriptors into feature maps.

    Attributes
    ----------
    reduction: how much coarser the feature maps are.
    kernel: side of what it sees of an image.
    """

    reduction: int
    kernel: int

    def context(self, bands: Tensor) -> Tensor:
        """Describe an image by what its bands (B, described) are, for norms that are told."""
        raise NotImplementedError


class BandStem(Stem):
    """Turn any number and order of bands into `channels` feature maps.

    y = (1/sqrt(B)) sum_b K(d_b) * x_b + mean_b c(d_b) + M * mask

    where d_b describes band b, K and c come from one small hypernetwork, and * is a convolution. It is one `conv2d` with
    generated weights. With unit-variance inputs the output variance is about 1 at the start, whatever B is.

    Parameters
    ----------
    channels
        Feature maps out.
    hidden
        Width of the hypernetwork.
    reduction
        1: full resolution. r = 2 or 4: a 2r x 2r kernel with stride r (overlapping, and centred on the r x r block it stands
        for), output (H/r, W/r).
    kernel
        Side of the kernel at full resolution, odd; 1 looks at each pixel alone.
    described
        Width of a descriptor: that of `vigie.learn.bands`, or of who else describes bands.

    Examples
    --------
    >>> stem = BandStem(8)
    >>> x, mask = torch.zeros(1, 5, 16, 16), torch.ones(1, 2, 16, 16)
    >>> stem(x, mask, torch.zeros(5, descriptors.WIDTH)).shape
    torch.Size([1, 8, 16, 16])
    """

    def __init__(
        self, channels: int, hidden: int = 64, reduction: int = 1, kernel: int = 3, described: int = descriptors.WIDTH
    ) -> None:
        super().__init__()
        self.channels, self.hidden, self.reduction = channels, hidden, reduction
        self.kernel = kernel if reduction == 1 else 2 * reduction
        self.padding = kernel // 2 if reduction == 1 else reduction // 2
        taps = channels * self.kernel**2
        self.trunk = nn.Sequential(nn.Linear(described, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU())
        self.kernels = nn.Linear(hidden, taps)
        self.biases = nn.Linear(hidden, channels)
        self.mask_kernels = nn.Parameter(torch.empty(channels, MASKS, self.kernel, self.kernel))
        self._initialise()

    def _initialise(self) -> None:
        """Give generated kernels a variance of 1/k^2 per tap, and biases of 0."""
        for layer in (self.trunk[0], self.trunk[2]):
            assert isinstance(layer, nn.Linear)
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        # The trunk's output is normalised to unit mean square in `_features`, so each tap has exactly this variance.
        hidden = self.kernels.in_features
        nn.init.normal_(self.kernels.weight, std=1.0 / (self.kernel * math.sqrt(hidden)))
        nn.init.zeros_(self.kernels.bias)
        nn.init.zeros_(self.biases.weight)
        nn.init.zeros_(self.biases.bias)
        nn.init.normal_(self.mask_kernels, std=0.1 / self.kernel)

    def _features(self, bands: Tensor) -> Tensor:
        """Hidden features of each band (B, hidden), centred and scaled so that they differ between bands."""
        features: Tensor = self.trunk(bands)
        return F.layer_norm(features, features.shape[-1:])

    def context(self, bands: Tensor) -> Tensor:
        """Describe an image by the mean (hidden,) of what its bands (B, described) are."""
        return self._features(bands).mean(dim=0)

    def forward(self, x: Tensor, mask: Tensor, bands: Tensor) -> Tensor:
        """Combine bands.

        Parameters
        ----------
        x
            (N, B, H, W) standardised bands, 0 where missing.
        mask
            (N, 2, H, W) validity and saturated fraction.
        bands
            (B, described) descriptors, for instance from `vigie.learn.bands.describe`.

        Returns
        -------
        Tensor
            (N, channels, H / reduction, W / reduction).
        """
        count, k = bands.shape[0], self.kernel
        features = self._features(bands)
        generated = self.kernels(features).view(count, self.channels, k, k).transpose(0, 1) / math.sqrt(count)
        weight = torch.cat([generated, self.mask_kernels], dim=1).contiguous(memory_format=torch.channels_last)
        stacked = torch.cat([x, mask.to(x.dtype)], dim=1).contiguous(memory_format=torch.channels_last)
        bias = self.biases(features).mean(dim=0)
        return F.conv2d(stacked, weight.to(stacked.dtype), bias.to(stacked.dtype), self.reduction, self.padding)
