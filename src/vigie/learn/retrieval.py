"""Networks that retrieve rain from any channels of any radiometer, pixel by pixel or from the image around.

One interface: channels x (N, B, H, W), standardised, NaN where missing; mask (N, 2, H, W); descriptors (B, D) of
`vigie.learn.channels`; out comes the raw output (N, C, H, W) of a rain head. A missing channel is 0, and a layer beside it says
so, so that any subset of channels has an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Literal

import torch
from pydantic import BaseModel, Field, PositiveInt
from torch import Tensor, nn

from vigie.learn import channels
from vigie.learn.networks import CONTEXT, SegmentationNetwork
from vigie.learn.stem import BandStem
from vigie.learn.unet import ChannelNorm, UNet


class RetrievalSettings(BaseModel, extra="forbid", frozen=True):
    """Which retrieval network, and how large."""

    name: Literal["pixel", "unet"] = Field(
        default="pixel",
        description="'pixel': each footprint alone (a quantile regression network), or 'unet': the image around",
    )
    hidden: tuple[PositiveInt, ...] = Field(
        default=(128, 128), min_length=1, description="widths of the hidden layers of 'pixel'"
    )
    widths: tuple[PositiveInt, ...] = Field(
        default=(32, 64, 128, 256), min_length=1, description="channels of each level of 'unet', finest first"
    )
    norms: Literal["plain", "sensor"] = Field(
        default="plain",
        description="norms of 'unet': 'sensor' ones know what the channels are, for networks of several sensors",
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description="probability of dropping a feature map before the last layer")


class RetrievalNetwork(SegmentationNetwork):
    """A stem that takes any channels, with any of them missing, and a body; see `SegmentationNetwork` for its attributes."""

    @property
    def last(self) -> nn.Conv2d:
        """The layer that turns the last features into raw output."""
        layers = self.body.head if isinstance(self.body, UNet) else self.body.layers
        last = layers[-1]  # type: ignore[index]
        assert isinstance(last, nn.Conv2d)
        return last

    def forward(self, x: Tensor, mask: Tensor, bands: Tensor) -> Tensor:
        """Turn channels (N, B, H, W), NaN where missing, mask (N, 2, H, W) and descriptors (B, D) into (N, C, H, W)."""
        whole, described = channels.with_missing(x, bands)
        return super().forward(whole, mask, described)


class PixelNetwork(RetrievalNetwork):
    """Each pixel alone: a multilayer perceptron (MLP) of 1x1 convolutions whose first layer takes any channels in any order.

    With 13 channels and 99 outputs it is the quantile regression network of Pfreundschuh et al. 2018 (AMT 11, 4627), its first
    layer's weights generated from what the channels are.

    Parameters
    ----------
    outputs
        C, the channels of a head.
    hidden
        Widths of the hidden layers.
    dropout
        Probability of dropping a feature map before the last layer.

    Examples
    --------
    >>> network = PixelNetwork(99)
    >>> network(torch.zeros(2, 13, 3, 5), torch.ones(2, 2, 3, 5), torch.zeros(13, channels.WIDTH)).shape
    torch.Size([2, 99, 3, 5])
    """

    def __init__(self, outputs: int, hidden: Sequence[int] = (128, 128), dropout: float = 0.0) -> None:
        stem = BandStem(hidden[0], CONTEXT, kernel=1, described=channels.WIDTH)
        super().__init__(stem, _Perceptron(hidden, outputs, dropout), "pixel, random initial weights")


class ImageNetwork(RetrievalNetwork):
    """The image around: a quantile U-Net like DRAIN's (Viltard et al. 2020, hal insu-02894942), of our U-Net.

    Two things differ from the reference, on purpose. Each pixel is normalised over its feature maps instead of over a batch:
    statistics of a batch mix sensors, and swaths with missing channels; and what is retrieved of a pixel does not depend on how
    an orbit is cut, since the network sees no further than its receptive field. Upsampling is bilinear
    instead of a transposed convolution, which prints a checkerboard into fields whose texture is judged by spectra.

    Parameters
    ----------
    outputs
        C, the channels of a head.
    widths
        Channels of each level, finest first; H and W must be multiples of 2^(levels - 1).
    norms
        "plain", or "sensor": norms that know what the channels are (`unet.SensorNorm`).
    dropout
        Probability of dropping a feature map before the last layer.

    Examples
    --------
    >>> network = ImageNetwork(99, widths=(8, 16))
    >>> network(torch.zeros(1, 4, 6, 8), torch.ones(1, 2, 6, 8), torch.zeros(4, channels.WIDTH)).shape
    torch.Size([1, 99, 6, 8])
    """

    def __init__(
        self, outputs: int, widths: Sequence[int] = (32, 64, 128, 256), norms: str = "plain", dropout: float = 0.0
    ) -> None:
        stem = BandStem(widths[0], CONTEXT, described=channels.WIDTH)
        body = UNet(widths[0], outputs, widths, ChannelNorm, CONTEXT, dropout)
        super().__init__(stem, body, "unet, random initial weights", norms)


def build(settings: RetrievalSettings, outputs: int) -> RetrievalNetwork:
    """Build the network that the settings name, with the channels of a head as outputs, in channels-last memory format.

    Examples
    --------
    >>> build(RetrievalSettings(), outputs=3).receptive_field
    1
    """
    return NETWORKS[settings.name](settings, outputs).to(memory_format=torch.channels_last)


class _Perceptron(nn.Module):
    """SiLU and a 1x1 convolution for each hidden layer, after a stem that is the first layer's linear part."""

    multiple = 1
    receptive_field = 1

    def __init__(self, hidden: Sequence[int], outputs: int, dropout: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, width in pairwise(hidden):
            layers += [nn.SiLU(), nn.Conv2d(inputs, width, 1)]
        self.layers = nn.Sequential(*layers, nn.SiLU(), nn.Dropout2d(dropout), nn.Conv2d(hidden[-1], outputs, 1))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Turn features (N, C, H, W) into raw output; what the image is made of is in its features already."""
        raw: Tensor = self.layers(x)
        return raw


NETWORKS: Mapping[str, Callable[[RetrievalSettings, int], RetrievalNetwork]] = {
    "pixel": lambda settings, outputs: PixelNetwork(outputs, settings.hidden, settings.dropout),
    "unet": lambda settings, outputs: ImageNetwork(outputs, settings.widths, settings.norms, settings.dropout),
}
