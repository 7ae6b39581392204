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

from vigie.core.errors import VigieError
from vigie.learn import channels
from vigie.learn.networks import CONTEXT, SegmentationNetwork
from vigie.learn.stem import BandStem, Stem
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
    stem: Literal["described", "named"] = Field(
        default="described",
        description="first layer: its weights made from what each channel is, so that any sensor is taken ('described'), or of "
        "each channel that is learnt from ('named'): better where all swaths are of one sensor",
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


class NamedStem(Stem):
    """A first layer with weights of its own for each column that is learnt from.

    A column is known by its descriptor: one that is new takes the place of the one most like it, and one that is not there is
    missing. With the generated weights of `BandStem` a network takes any sensor; without that freedom it learns more of one: on
    held-out days of GMI's table of footprints, with differences and ancillary fields, a CRPS of 0.623 instead of 0.632.

    Parameters
    ----------
    channels_out
        Feature maps out.
    known
        Descriptors (B, D) of the columns that are learnt from.
    kernel
        Side of the kernel, odd.

    Examples
    --------
    >>> stem = NamedStem(8, torch.eye(3, channels.WIDTH))
    >>> x, bands = channels.with_missing(torch.zeros(1, 2, 4, 4), torch.eye(3, channels.WIDTH)[1:])
    >>> stem(x, torch.ones(1, 2, 4, 4), bands).shape
    torch.Size([1, 8, 4, 4])
    """

    reduction = 1
    known: Tensor

    def __init__(self, channels_out: int, known: Tensor, kernel: int = 1) -> None:
        super().__init__()
        self.channels, self.kernel = channels_out, kernel
        self.register_buffer("known", known.clone())
        self.layer = nn.Conv2d(len(known), channels_out, kernel, padding=kernel // 2)
        self.missing = nn.Conv2d(len(known), channels_out, kernel, padding=kernel // 2, bias=False)
        nn.init.zeros_(self.missing.weight)

    def context(self, bands: Tensor) -> Tensor:
        """Describe an image by nothing: all are of one kind."""
        return bands.new_zeros(CONTEXT)

    def forward(self, x: Tensor, mask: Tensor, bands: Tensor) -> Tensor:
        """Combine columns (N, 2 B', H, W), which are followed by where each is missing, into (N, channels, H, W)."""
        count = len(bands) // 2
        place = torch.cdist(bands[:count], self.known.to(bands.dtype)).argmin(dim=1)
        values = x.new_zeros(len(x), len(self.known), *x.shape[-2:])
        gone = torch.ones_like(values)
        values[:, place], gone[:, place] = x[:, :count], x[:, count:]
        features: Tensor = self.layer(values) + self.missing(gone)
        return features


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
    known
        Descriptors (B, D) of the columns that have weights of their own (`NamedStem`); None: weights are generated.

    Examples
    --------
    >>> network = PixelNetwork(99)
    >>> network(torch.zeros(2, 13, 3, 5), torch.ones(2, 2, 3, 5), torch.zeros(13, channels.WIDTH)).shape
    torch.Size([2, 99, 3, 5])
    """

    def __init__(
        self, outputs: int, hidden: Sequence[int] = (128, 128), dropout: float = 0.0, known: Tensor | None = None
    ) -> None:
        stem = _stem(hidden[0], 1, known)
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
    known
        Descriptors (B, D) of the columns that have weights of their own (`NamedStem`); None: weights are generated.

    Examples
    --------
    >>> network = ImageNetwork(99, widths=(8, 16))
    >>> network(torch.zeros(1, 4, 6, 8), torch.ones(1, 2, 6, 8), torch.zeros(4, channels.WIDTH)).shape
    torch.Size([1, 99, 6, 8])
    """

    def __init__(
        self,
        outputs: int,
        widths: Sequence[int] = (32, 64, 128, 256),
        norms: str = "plain",
        dropout: float = 0.0,
        known: Tensor | None = None,
    ) -> None:
        stem = _stem(widths[0], 3, known)
        body = UNet(widths[0], outputs, widths, ChannelNorm, CONTEXT, dropout)
        super().__init__(stem, body, "unet, random initial weights", norms)


def build(settings: RetrievalSettings, outputs: int, known: Tensor | None = None) -> RetrievalNetwork:
    """Build the network that the settings name, with the channels of a head as outputs, in channels-last memory format.

    `known` are the descriptors (B, D) of the columns that it will learn from, which a 'named' stem needs.

    Raises
    ------
    VigieError: a 'named' stem is not told its columns.

    Examples
    --------
    >>> build(RetrievalSettings(), outputs=3).receptive_field
    1
    """
    if settings.stem == "named" and known is None:
        raise VigieError("a 'named' stem has weights for columns that are known", expected="their descriptors")
    own = known if settings.stem == "named" else None
    return NETWORKS[settings.name](settings, outputs, own).to(memory_format=torch.channels_last)


def _stem(width: int, kernel: int, known: Tensor | None) -> Stem:
    if known is not None:
        return NamedStem(width, known, kernel)
    return BandStem(width, CONTEXT, kernel=kernel, described=channels.WIDTH)


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


NETWORKS: Mapping[str, Callable[[RetrievalSettings, int, Tensor | None], RetrievalNetwork]] = {
    "pixel": lambda settings, outputs, known: PixelNetwork(outputs, settings.hidden, settings.dropout, known),
    "unet": lambda settings, outputs, known: ImageNetwork(outputs, settings.widths, settings.norms, settings.dropout, known),
}
