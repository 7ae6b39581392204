"""timm's encoders as parts of networks, and the weights that they begin with.

The weights of one small encoder come with the package (`weights/README.md` tells where they are from): a network that has seen
a million photographs needs no internet. First weights are never silently random.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Self

import timm
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from vigie.core.errors import VigieError, nearest
from vigie.learn.unet import GroupNorm, Up, climb

RANDOM: Final = "none"
SHIPPED: Final = "shipped"
HUB: Final = "hub"
NO_FILE = (RANDOM, SHIPPED, HUB)
"""First weights that are no file of the user's: random ones, those that come with the package, those that timm downloads."""

LITE0 = "tf_efficientnet_lite0"
WITH_THE_PACKAGE: Mapping[str, Path] = {LITE0: Path(__file__).parent / "weights" / f"{LITE0}.safetensors"}
"""The encoders whose weights come with the package."""


@dataclass(frozen=True)
class Encoder:
    """An encoder of timm's, and its first weights: "none" (random), "shipped", "hub", or the path of a safetensors file.

    Examples
    --------
    >>> Encoder("resnet18", "hub").provenance()
    "weights of encoder resnet18 from timm's hub, the rest random"
    """

    name: str
    weights: str = RANDOM

    @contextmanager
    def options(self) -> Iterator[dict[str, Any]]:
        """Give timm's options to begin with the first weights; whatever keeps the encoder from having them is told.

        Raises
        ------
        VigieError: timm has no such encoder, or its weights cannot be had.
        """
        path = self.path()
        file = {} if path is None else {"pretrained_cfg_overlay": {"file": str(path)}}
        try:
            yield {"pretrained": self.weights != RANDOM, **file}
        except Exception as error:  # the hub's client has no common base class of errors
            if self.weights == RANDOM:
                raise
            raise VigieError(
                f"weights of encoder '{self.name}' could not be loaded from '{self.weights}'",
                found=f"{type(error).__name__}: {error}",
                do='download them elsewhere and give the path of the safetensors file, or set weights = "none"',
            ) from error

    def path(self) -> Path | None:
        """Find the file with the first weights, and look that it holds them all; None where there is no file.

        Raises
        ------
        VigieError: timm has no such encoder, no weights of it come with the package, or the user's file is not there, cannot
        be read or lacks some.
        """
        if not timm.is_model(self.name):
            raise VigieError(
                f"timm has no encoder '{self.name}'",
                do=nearest(self.name, timm.list_models()) or "correct train.network.encoder",
            )
        if self.weights in (RANDOM, HUB):
            return None
        if self.weights == SHIPPED:
            if self.name not in WITH_THE_PACKAGE:
                raise VigieError(
                    f"no weights of encoder '{self.name}' come with vigie",
                    expected=", ".join(WITH_THE_PACKAGE),
                    do='name that encoder, or set weights = "hub" or the path of a safetensors file',
                )
            return WITH_THE_PACKAGE[self.name]
        path = Path(self.weights)
        # timm would only log that what a file lacks stays random; means and variances are needed too, for layers keep them.
        needed = {name for name in self.bare().state_dict() if not name.endswith("num_batches_tracked")}
        missing = sorted(needed - names_in(path))
        if missing:
            raise VigieError(
                f"'{path}' does not hold all weights of encoder '{self.name}'",
                found=f"{len(missing)} missing, first {missing[0]}",
                expected="timm's names of parameters and statistics",
                do="name the encoder these weights belong to, or convert them with timm",
            )
        return path

    def bare(self) -> Any:
        """Build the encoder without memory for its parameters, to ask for names and widths."""
        with torch.device("meta"):
            return timm.create_model(self.name, pretrained=False, num_classes=0)

    def provenance(self) -> str:
        """Say for the model card where the first weights come from."""
        if self.weights == RANDOM:
            return "random initial weights"
        whose = f"weights of encoder {self.name}" if self.name else "weights of the encoder"
        if self.weights == HUB:
            return f"{whose} from timm's hub, the rest random"
        path = WITH_THE_PACKAGE[self.name] if self.weights == SHIPPED else Path(self.weights)
        place = "vigie" if self.weights == SHIPPED else path.name
        digest = f" (sha256 {sha256(path.read_bytes()).hexdigest()})" if path.is_file() else ""
        return f"{whose} from {place}{digest}, the rest random"


class Encoded(nn.Module, ABC):
    """A body with an encoder of timm's.

    Pretrained layers keep the statistics of batches that they normalise with: those of few windows, all of one sensor, would be
    worse.
    """

    def __init__(self, encoder: Encoder, multiple: int) -> None:
        super().__init__()
        self.pretrained, self.multiple, self.receptive_field = encoder.weights != RANDOM, multiple, None

    @property
    @abstractmethod
    def learnt(self) -> nn.Module:
        """The encoder."""

    def train(self, mode: bool = True) -> Self:
        """Go into training mode, or out of it, but for the statistics of pretrained layers."""
        super().train(mode)
        if self.pretrained:
            for layer in self.learnt.modules():
                if isinstance(layer, nn.BatchNorm2d):
                    layer.eval()
        return self


class EncodedUNet(Encoded):
    """A U-Net whose way down is an encoder of timm's: few images are enough for one that has learnt to see elsewhere.

    Parameters
    ----------
    encoder
        The way down.
    channels
        Feature maps in. 3 keep the first layer of a pretrained encoder as it was learnt, on red, green and blue.
    classes
        Logits out.
    widths
        Channels of the way up, finest first, one for each level of the encoder.
    context
        Width of what describes the bands of the image, see `vigie.learn.unet.SensorNorm`.
    dropout
        Probability of dropping a whole feature map before the last layer.

    Raises
    ------
    VigieError: the encoder or its weights cannot be had, it is no pyramid of feature maps, or there are not as many widths as
    levels.

    Examples
    --------
    >>> network = EncodedUNet(Encoder("resnet18"), 8, 4, (8, 8, 8, 16, 16), context=5)
    >>> network(torch.zeros(1, 8, 32, 64), torch.zeros(5)).shape
    torch.Size([1, 4, 32, 64])
    """

    def __init__(
        self, encoder: Encoder, channels: int, classes: int, widths: Sequence[int], context: int, dropout: float = 0.0
    ) -> None:
        with encoder.options() as options:
            down: Any = timm.create_model(encoder.name, features_only=True, in_chans=channels, **options)
        levels, reductions = down.feature_info.channels(), down.feature_info.reduction()
        if list(reductions) != sorted(set(reductions)) or str(getattr(down, "output_fmt", "NCHW")).upper().endswith("NHWC"):
            raise VigieError(
                f"encoder '{encoder.name}' cannot be the way down of a U-Net",
                found=f"feature maps at 1/{', 1/'.join(map(str, reductions))} of the resolution",
                expected="a pyramid of feature maps (channels, rows, columns), each coarser than the one before",
                do="name a convolutional encoder, or another network",
            )
        super().__init__(encoder, multiple=max(reductions))
        if len(widths) != len(levels):
            raise VigieError(
                f"train.network.widths do not fit encoder '{encoder.name}'",
                found=f"{len(widths)} widths",
                expected=f"{len(levels)}, one for each level of the encoder, finest first",
                do="give as many train.network.widths, or leave them out for another encoder",
            )
        self.down = down
        inputs, skipped = (*widths[1:], levels[-1]), (channels, *levels[:-1])
        ups = [Up(deep, skip, width, GroupNorm, context) for deep, skip, width in zip(inputs, skipped, widths, strict=True)]
        self.up = nn.ModuleList(reversed(ups))
        self.head = nn.Sequential(nn.Dropout2d(dropout), nn.Conv2d(widths[0], classes, 1))
        self.train()

    @property
    def learnt(self) -> nn.Module:
        """The way down."""
        down: nn.Module = self.down
        return down

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Turn features (N, channels, H, W), whose sides are multiples of `multiple`, into logits (N, classes, H, W)."""
        logits: Tensor = self.head(climb(self.up, [x, *self.down(x)], context))
        return logits


class Smp(Encoded):
    """An architecture of segmentation-models-pytorch on an encoder of timm's, with dropout before its last layer.

    It knows what bands the image has from the stem alone.

    Raises
    ------
    VigieError: the encoder or its weights cannot be had.
    """

    def __init__(
        self,
        architecture: Callable[..., nn.Module],
        encoder: Encoder,
        channels: int,
        classes: int,
        multiple: int,
        dropout: float = 0.0,
        **special: Any,
    ) -> None:
        super().__init__(encoder, multiple)
        with encoder.options() as options:
            special["encoder_weights"] = True if options.pop("pretrained") else None
            model: Any = architecture(
                encoder_name=f"tu-{encoder.name}", in_channels=channels, classes=classes, **options, **special
            )
        model.segmentation_head = nn.Sequential(nn.Dropout2d(dropout), model.segmentation_head)
        self.model = model
        self.train()

    @property
    def learnt(self) -> nn.Module:
        """The encoder of the architecture."""
        encoder: nn.Module = self.model.encoder
        return encoder

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Turn features (N, channels, h, w) into logits (N, classes, h, w)."""
        logits: Tensor = self.model(x)
        return logits


def names_in(path: Path) -> set[str]:
    """Read the names of the tensors of a safetensors file.

    Raises
    ------
    VigieError: there is no such file, or it is no whole safetensors file.
    """
    if not path.is_file():
        raise VigieError(
            f"no weights at '{path}'",
            expected='"none", "shipped", "hub" or the path of a safetensors file',
            do=nearest(path.name, NO_FILE) or "correct train.network.weights",
        )
    # timm reads files of other suffixes as pickles.
    if path.suffix != ".safetensors":
        raise VigieError(
            f"weights '{path}' are not read",
            found=f"the suffix '{path.suffix}'",
            expected="a .safetensors file: pickles are never loaded",
            do="convert it with the package safetensors",
        )
    try:
        with safe_open(path, framework="pt") as stored:
            return set(stored.keys())
    except SafetensorError as error:
        raise VigieError(
            f"weights '{path}' cannot be read",
            found=str(error),
            expected="a whole safetensors file",
            do="copy or convert it again",
        ) from error
