"""A trained retrieval: networks, the head that says what their output means, and what channels they take, in one folder.

model/
    member-00.safetensors ...   weights, one file an ensemble member
    card.json                   networks, head, channels and their scaling, when to doubt, facts of the training
    card.md                     the same for people
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, reduce
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn

import vigie
from vigie.core.errors import VigieError
from vigie.core.store import whole_folder
from vigie.learn import cards
from vigie.learn.checkpoint import copy_into, read_tensors
from vigie.learn.rain_heads.head import RainHead
from vigie.learn.rain_heads.settings import RainHeadSettings
from vigie.learn.rain_heads.settings import build as head_of
from vigie.learn.retrieval import RetrievalSettings, build
from vigie.learn.swaths import ChannelScaling

FORMAT = 1
BLOCK = 4096
"""Pixels whose quantiles are made together: few enough to stay in a processor's cache, which halves the time."""


class Familiar(BaseModel):
    """What observations looked like where the model learnt: the distance beyond which it says that it extrapolates.

    Distances are Mahalanobis distances of standardised channels, of pixels with all of them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    mean: tuple[float, ...] = Field(description="mean of each standardised channel")
    precision: tuple[tuple[float, ...], ...] = Field(description="inverse of their covariance")
    threshold: float = Field(description="squared distance that few familiar pixels exceed")
    false_alarm_rate: float = Field(description="how few: the share of familiar pixels beyond the threshold")


@dataclass
class RetrievalModel:
    """Networks that retrieve together.

    Attributes
    ----------
    members: networks whose quantiles are averaged, level by level.
    network, head: how each is made, and what its output means.
    channels, ancillary: what was learnt from; any part of the channels is enough.
    scaling: how they are standardised.
    familiar: when a pixel is unlike what was learnt from; None where nobody measured it.
    facts: what the model card tells of the training, JSON values.
    """

    members: Sequence[nn.Module]
    network: RetrievalSettings
    head_settings: RainHeadSettings
    channels: tuple[str, ...]
    ancillary: tuple[str, ...]
    scaling: ChannelScaling
    familiar: Familiar | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def head(self) -> RainHead:
        """What raw output means."""
        return head_of(self.head_settings)

    def quantiles(self, x: Tensor, mask: Tensor, bands: Tensor, levels: Sequence[float]) -> Tensor:
        """Predict quantiles of rain, (N, K, H, W) mm h-1: the mean over members at each level (Vincent 1912).

        Averaging at a level keeps distributions as sharp as those of the members; averaging probabilities would widen them.

        Parameters
        ----------
        x, mask, bands: see `vigie.learn.swaths.RainBatch`.
        """
        return self.quantiles_of(self.raw(x, mask, bands), levels)

    @torch.inference_mode()
    def raw(self, x: Tensor, mask: Tensor, bands: Tensor) -> list[Tensor]:
        """Run the members alone: the raw output (N, C, H, W) of each, which only the head understands."""
        return [member(x, mask, bands) for member in self.members]

    @torch.inference_mode()
    def quantiles_of(self, raw: Sequence[Tensor], levels: Sequence[float]) -> Tensor:
        """Turn the members' raw output, or a part of it, into the quantiles that `quantiles` gives."""
        count, _, height, width = raw[0].shape
        found = torch.empty((len(levels), count, height, width), device=raw[0].device)
        lines = max(1, BLOCK // (count * width))
        for start in range(0, height, lines):
            block = slice(start, start + lines)
            rows = [part[:, :, block].movedim(1, -1).flatten(0, -2).float() for part in raw]
            mean = reduce(torch.add, (self.head.quantiles(each, levels) for each in rows)) / len(rows)
            found[:, :, block] = mean.unflatten(0, (count, -1, width)).movedim(-1, 0)  # type: ignore[no-untyped-call]
        return found.movedim(0, 1)

    def save(self, folder: Path) -> None:
        """Write the model to a folder, whole or not at all."""
        with whole_folder(folder) as draft:
            record = self.card(cards.write_members(draft, self.members))
            (draft / "card.json").write_text(json.dumps(record, indent=1, allow_nan=False), encoding="utf-8")
            (draft / "card.md").write_text(card_text(record, self.head), encoding="utf-8")

    def card(self, files: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """Put everything but the weights, whose files are told, into JSON values."""
        return {
            "format": FORMAT,
            "vigie": vigie.__version__,
            "members": {name: {**file, "network": self.network.model_dump(mode="json")} for name, file in files.items()},
            "head": self.head_settings.model_dump(mode="json"),
            "channels": list(self.channels),
            "ancillary": list(self.ancillary),
            "scaling": self.scaling.model_dump(mode="json"),
            "familiar": self.familiar.model_dump(mode="json") if self.familiar else None,
            "facts": dict(self.facts),
        }


def load(folder: Path, device: torch.device | str = "cpu") -> RetrievalModel:
    """Read a model, ready to retrieve.

    Raises
    ------
    VigieError: a file is missing, truncated or changed.
    """
    card = read_card(folder)
    try:
        network = RetrievalSettings.model_validate(next(iter(card["members"].values()))["network"])
        head = RainHeadSettings.model_validate(card["head"])
        scaling = ChannelScaling.model_validate(card["scaling"])
        familiar = Familiar.model_validate(card["familiar"]) if card["familiar"] else None
    except ValidationError as error:
        raise cards.no_card(folder / "card.json", error) from error
    cards.check_files(folder, card)
    outputs = head_of(head).channels
    members = []
    for name in card["members"]:
        with torch.random.fork_rng([]):
            member = build(network, outputs)
        copy_into(member.state_dict(), read_tensors(folder / name), f"weights {name}")
        members.append(member.to(device).eval().requires_grad_(False))
    parts = tuple(card["channels"]), tuple(card["ancillary"])
    return RetrievalModel(members, network, head, *parts, scaling, familiar, card["facts"])


def read_card(folder: Path) -> dict[str, Any]:
    """Read a model's card.json."""
    return cards.read_card(folder, FORMAT, ("head", "channels", "ancillary", "scaling", "familiar", "facts"))


def chosen_channels(there: Sequence[str], wanted: Sequence[str]) -> tuple[str, ...]:
    """Take the wanted channels of those that are there, all where none is named.

    Raises
    ------
    VigieError: a wanted one is not there.

    Examples
    --------
    >>> chosen_channels(["36.64V", "89.00V"], ["89.00V"])
    ('89.00V',)
    """
    missing = sorted(set(wanted) - set(there))
    if missing:
        raise VigieError(
            f"channels {', '.join(missing)} are not there",
            found=", ".join(there) or "no channel",
            expected="channels that every labelled swath has",
            do="correct train.channels, or leave it out to take all",
        )
    return tuple(name for name in there if not wanted or name in wanted)


def card_text(card: Mapping[str, Any], head: RainHead) -> str:
    """Tell what a model is, for people (Mitchell et al. 2019, Model Cards for Model Reporting)."""
    sizes = {member["parameters"] for member in card["members"].values()}
    kinds = " or ".join(sorted({member["network"]["name"] for member in card["members"].values()}))
    told = " or ".join(f"{size:,}" for size in sorted(sizes))
    familiar = card["familiar"]
    doubt = (
        f"Pixels further than {familiar['threshold']:.1f} (squared Mahalanobis distance) are flagged: "
        f"{100 * familiar['false_alarm_rate']:.0f} % of familiar pixels are, too."
        if familiar
        else "Nobody measured what is familiar: nothing is flagged."
    )
    lines = [
        "# Model card: rain from brightness temperatures",
        "",
        f"{len(card['members'])} member(s) of `{kinds}`, {told} parameters each, with vigie {card['vigie']}.",
        "",
        "## Head",
        "",
        f"`{card['head']['name']}`. {head.why}",
        "",
        "## Channels",
        "",
        *(
            f"- {name}: mean {card['scaling']['mean'][name]:.4g}, deviation {card['scaling']['deviation'][name]:.4g}"
            for name in (*card["channels"], *card["ancillary"])
        ),
        "",
        "## When it extrapolates",
        "",
        doubt,
        "",
    ]
    for title, value in card["facts"].items():
        lines += [f"## {title.replace('_', ' ').capitalize()}", "", *cards.told(value), ""]
    lines += ["## Weights", "", *(f"- `{name}` sha256 {member['sha256']}" for name, member in card["members"].items()), ""]
    return "\n".join(lines)
