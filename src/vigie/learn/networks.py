"""Segmentation networks behind one interface: any bands in, class logits out at the same resolution.

Each is our band-agnostic stem followed by a body. Bodies are ours (`vigie.learn.unet`), or on timm's encoders, ours and those
of segmentation-models-pytorch (`vigie.learn.encoders`); others come by the entry point group `vigie.networks` (name -> factory,
see `Factory`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Literal

import segmentation_models_pytorch as smp
import torch
from pydantic import BaseModel, Field, PositiveInt, field_validator, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from vigie.core.errors import VigieError, nearest
from vigie.learn.encoders import LITE0, NO_FILE, RANDOM, EncodedUNet, Encoder, Smp
from vigie.learn.forest import Forest
from vigie.learn.stem import BandStem, Stem
from vigie.learn.unet import ChannelNorm, GroupNorm, UNet


class NetworkSettings(BaseModel, extra="forbid", frozen=True):
    """Which network, and how large.

    Only "unet-channelnorm" and "forest" give the same output however an image is cut into tiles; a forest knows one sensor.
    "deeplabv3plus" needs at least two windows a batch to train (its image pooling is batch-normalised).
    """

    name: str = Field(
        default="unet-groupnorm",
        description="'unet-groupnorm', 'unet-channelnorm', 'forest' (ours), 'unet', 'deeplabv3plus', 'segformer', 'dpt-dinov3' "
        "(on timm's encoders), or an entry point of 'vigie.networks'",
    )
    encoder: str = Field(
        default="",
        description="timm name of the encoder; '' takes the network's own (of 'unet': tf_efficientnet_lite0); ours have none",
    )
    weights: str = Field(
        default=RANDOM,
        description="first weights of the encoder: 'none' (random), 'shipped' (tf_efficientnet_lite0's come with vigie), "
        "'hub' (timm's download), or a safetensors file",
    )
    widths: tuple[PositiveInt, ...] = Field(
        default=(32, 64, 128, 256, 512),
        min_length=1,
        description="channels of each level of our U-Nets, and of the way up of 'unet', finest first",
    )
    sides: tuple[int, ...] = Field(
        default=(5, 11, 25),
        description="squares around a pixel that a forest sees, pixels side to side, odd; []: the pixel alone",
    )
    splits: Literal["best", "random"] = Field(
        default="random",
        description="where trees cut: 'random' holds better for other scenes, 'best' (Breiman's) where a pixel is seen alone",
    )
    trees: int = Field(default=60, ge=1, description="trees of a forest")
    leaves: int = Field(default=1024, ge=2, description="leaves that each tree may have")
    stem_channels: int = Field(
        default=32,
        ge=1,
        description="feature maps of the stem that takes any bands; 3 for pretrained encoders, which know three colours",
    )
    norms: Literal["plain", "sensor"] = Field(
        default="plain",
        description="norms of our U-Nets: 'sensor' ones know what the bands are, for networks of several sensors",
    )
    reduction: Literal[1, 2, 4] = Field(default=1, description="the network works at 1/reduction of the resolution")
    dropout: float = Field(
        default=0.0, ge=0.0, lt=1.0, description="probability of dropping a feature map before the last layer"
    )

    @model_validator(mode="after")
    def _ours_have_no_encoder(self) -> NetworkSettings:
        if self.name in _WITHOUT_ENCODER and (self.encoder or self.weights != RANDOM):
            raise ValueError(f"network '{self.name}' has no encoder: leave out 'encoder' and 'weights'")
        return self

    @model_validator(mode="after")
    def _only_our_networks_know_the_sensor(self) -> NetworkSettings:
        if self.norms == "sensor" and self.name not in KNOW_THE_SENSOR:
            raise ValueError(f"norms that know the sensor in {', '.join(KNOW_THE_SENSOR)} only: leave out 'norms'")
        return self

    @property
    def weights_file(self) -> str | None:
        """The user's file of first weights, None where there is none."""
        return None if self.weights in NO_FILE else self.weights

    @field_validator("sides")
    @classmethod
    def _sides_have_a_middle(cls, sides: tuple[int, ...]) -> tuple[int, ...]:
        if any(side < 3 or side % 2 == 0 for side in sides):
            raise ValueError("odd numbers from 3")
        return sides


CONTEXT = 64
"""Width of what a body is told of the bands, see `BandStem.context`."""

Factory = Callable[[NetworkSettings, int, int], nn.Module]
"""(settings, channels in, classes out) -> a body: a module that turns features (N, channels, h, w) into logits (N, classes, h,
w), told by a context (CONTEXT,) what bands the image has. It has the attributes `multiple` (h and w must be multiples of it)
and `receptive_field` (pixels side to side, or None when unbounded or unknown)."""


class SegmentationNetwork(nn.Module):
    """A stem that takes any bands, and a body that segments.

    Attributes
    ----------
    multiple
        H and W must be multiples of it.
    receptive_field
        Input pixels, side to side, that can change one output pixel; None when unbounded or unknown. A halo of half of it, with
        tile origins at multiples of `multiple`, makes tiled prediction equal to that of the whole image.
    provenance
        One sentence for the model card: where the initial weights come from.
    """

    def __init__(self, stem: Stem, body: nn.Module, provenance: str, norms: str = "plain") -> None:
        super().__init__()
        self.stem, self.body, self.provenance, self.norms = stem, body, provenance, norms
        r = stem.reduction
        self.multiple = int(body.multiple) * r  # type: ignore[arg-type]
        field = body.receptive_field
        # One step more at the coarse resolution for the bilinear upsampling of logits, and the reach of the stem's kernel.
        coarse = None if field is None else int(field) + 2 * (r > 1)  # type: ignore[arg-type]
        self.receptive_field: int | None = None if coarse is None else coarse * r + stem.kernel - 1

    def forward(self, x: Tensor, mask: Tensor, bands: Tensor) -> Tensor:
        """Turn standardised bands into logits.

        Parameters
        ----------
        x, mask, bands
            (N, B, H, W), (N, 2, H, W) and (B, D): see `vigie.learn.stem.BandStem`.

        Returns
        -------
        Tensor
            (N, classes, H, W) logits.
        """
        height, width = x.shape[-2:]
        if height % self.multiple or width % self.multiple:
            raise VigieError(
                "the network cannot halve this crop evenly",
                found=f"{height} x {width} pixels",
                expected=f"multiples of {self.multiple}",
                do="choose another crop or tile size, or pad",
            )
        # Told nothing, norms are plain: all that they learn is one scale and shift.
        context = self.stem.context(bands) if self.norms == "sensor" else bands.new_zeros(CONTEXT)
        logits: Tensor = self.body(self.stem(x, mask, bands), context)
        if self.stem.reduction == 1:
            return logits
        return F.interpolate(logits, scale_factor=float(self.stem.reduction), mode="bilinear", align_corners=False)


def build(settings: NetworkSettings, classes: int) -> SegmentationNetwork | Forest:
    """Build the network that the settings name, in channels-last memory format, or a forest that is still to grow.

    Raises
    ------
    VigieError
        When nobody offers a network of that name, or its weights cannot be had: weights are never silently random.

    Examples
    --------
    >>> network = build(NetworkSettings(widths=(8, 16), stem_channels=8), classes=4)
    >>> network.multiple, network.provenance
    (2, 'unet-groupnorm, random initial weights')
    """
    if settings.name == FOREST:
        return Forest(classes, settings.sides, settings.splits, settings.trees, settings.leaves)
    factory = _factory(settings.name)
    stem = BandStem(settings.stem_channels, CONTEXT, settings.reduction)
    body = factory(settings, settings.stem_channels, classes)
    provenance = f"{settings.name}, {_encoder(settings).provenance()}"
    network = SegmentationNetwork(stem, body, provenance, settings.norms)
    return network.to(memory_format=torch.channels_last)


def check(settings: NetworkSettings, sides: Mapping[str, int]) -> None:
    """Refuse, before any work, first weights that cannot be had and sides of windows that the network cannot halve evenly.

    `sides` are pixels by the key of the experiment that sets them.

    Raises
    ------
    VigieError: see above.
    """
    if settings.name == FOREST:
        return
    if settings.name in ENCODERS:
        _encoder(settings).path()
    with torch.random.fork_rng([]):
        network = build(settings.model_copy(update={"weights": RANDOM}), classes=1)
    for key, side in sides.items():
        if side % int(network.multiple):
            raise VigieError(
                f"network '{settings.name}' cannot halve {key} evenly",
                found=f"{side} px",
                expected=f"a multiple of {network.multiple}",
                do=f"set {key} to one",
            )


def _factory(name: str) -> Factory:
    if name in FACTORIES:
        return FACTORIES[name]
    others = {point.name: point for point in entry_points(group="vigie.networks")}
    if name not in others:
        known = [*FACTORIES, FOREST, *others]
        raise VigieError(
            f"unknown network '{name}'",
            expected=", ".join(known),
            do=nearest(name, known) or "correct train.network.name, or install the package that offers it",
        )
    factory: Factory = others[name].load()
    return factory


def _unet_groupnorm(settings: NetworkSettings, channels: int, classes: int) -> nn.Module:
    return UNet(channels, classes, settings.widths, GroupNorm, CONTEXT, settings.dropout)


def _unet_channelnorm(settings: NetworkSettings, channels: int, classes: int) -> nn.Module:
    return UNet(channels, classes, settings.widths, ChannelNorm, CONTEXT, settings.dropout)


def _unet(settings: NetworkSettings, channels: int, classes: int) -> nn.Module:
    return EncodedUNet(_encoder(settings), channels, classes, settings.widths, CONTEXT, settings.dropout)


def _deeplabv3plus(settings: NetworkSettings, channels: int, classes: int) -> nn.Module:
    # Chen et al. 2018 (arXiv:1802.02611): output stride 16, atrous rates 6, 12, 18.
    return _smp(smp.DeepLabV3Plus, settings, channels, classes, 16, encoder_output_stride=16, decoder_atrous_rates=(6, 12, 18))


def _segformer(settings: NetworkSettings, channels: int, classes: int) -> nn.Module:
    return _smp(smp.Segformer, settings, channels, classes, 32)


def _dpt_dinov3(settings: NetworkSettings, channels: int, classes: int) -> nn.Module:
    # Widths of the decoder follow the encoder's as in Depth Anything (Yang et al. 2024): d/8, d/4, d/2, d.
    width = _encoder(settings).bare().num_features
    widths = (width // 8, width // 4, width // 2, width)
    special = {"decoder_intermediate_channels": widths, "decoder_fusion_channels": width // 4, "dynamic_img_size": True}
    return _smp(smp.DPT, settings, channels, classes, 32, **special)


def _smp(
    architecture: Callable[..., nn.Module],
    settings: NetworkSettings,
    channels: int,
    classes: int,
    multiple: int,
    **special: object,
) -> nn.Module:
    return Smp(architecture, _encoder(settings), channels, classes, multiple, settings.dropout, **special)


def _encoder(settings: NetworkSettings) -> Encoder:
    return Encoder(settings.encoder or ENCODERS.get(settings.name, ""), settings.weights)


ENCODERS: Mapping[str, str] = {
    "unet": LITE0,
    "deeplabv3plus": "resnet50",
    # timm has no MiT; PVTv2 (Wang et al. 2022) is its twin: overlapping patches, linear spatial reduction, four stages.
    "segformer": "pvt_v2_b0",
    "dpt-dinov3": "vit_small_patch16_dinov3",
}
"""The encoders that networks have where none is named."""

FACTORIES: Mapping[str, Factory] = {
    "unet-groupnorm": _unet_groupnorm,
    "unet-channelnorm": _unet_channelnorm,
    "unet": _unet,
    "deeplabv3plus": _deeplabv3plus,
    "segformer": _segformer,
    "dpt-dinov3": _dpt_dinov3,
}
FOREST = "forest"
UNETS = ("unet-groupnorm", "unet-channelnorm")
KNOW_THE_SENSOR = (*UNETS, "unet")
_WITHOUT_ENCODER = (*UNETS, FOREST)
