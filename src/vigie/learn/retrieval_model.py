"""A trained retrieval: networks, heads that say what their output means, and what they are shown, in one folder.

model/
    member-00.safetensors ...   weights, one file an ensemble member
    familiar.safetensors        pixels that were learnt from, which new ones are compared with
    card.json                   networks and heads, inputs and their scaling, when to doubt, facts of the training
    card.md                     the same for people
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from math import lcm
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn

import vigie
from vigie.core.errors import VigieError
from vigie.core.store import whole_folder
from vigie.learn import cards
from vigie.learn.checkpoint import copy_into, read_tensors, write_tensors
from vigie.learn.rain_heads.head import RainHead
from vigie.learn.rain_heads.settings import RainHeadSettings
from vigie.learn.rain_heads.settings import build as head_of
from vigie.learn.regimes import RegimeSettings
from vigie.learn.retrieval import RetrievalSettings, build
from vigie.learn.retrieval_inputs import TEMPERATURES, Inputs, View
from vigie.learn.robust import disagreement
from vigie.learn.swaths import ChannelScaling, shown_mask

FORMAT = 2
FAMILIAR = "familiar.safetensors"
DoubtMethod = Literal["neighbours", "mahalanobis", "spread"]
SPREAD: DoubtMethod = "spread"
"""The reference by which members doubt themselves: no pixel is compared."""
SPREAD_LEVELS = tuple(k / 10 for k in range(1, 10))
"""Levels of the quantiles whose spread over members is measured."""
BLOCK = 4096
"""Pixels whose quantiles are made together: few enough to stay in a processor's cache, which halves the time."""


class Reference(BaseModel):
    """One way to doubt: pixels that were learnt from, by what is compared of them, or the members' disagreement (`SPREAD`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: DoubtMethod = Field(default="neighbours", description="how doubt is measured")
    fields: tuple[str, ...] = Field(description="channels, K, or ancillary fields that are compared; none for 'spread'")
    rows: str = Field(description="name of the array of their values, one row a pixel; empty for 'spread'")
    scale: float = Field(gt=0, description="score that few familiar pixels exceed: distances, or mm/h of 'spread'")


class Familiar(BaseModel):
    """What was familiar where the model learnt: the score beyond which it says that it extrapolates.

    The score is the largest, over all references, of what each measures over its scale: the distance to one of the nearest
    pixels, in standard deviations; the squared Mahalanobis distance from their mean; how far members are from each other, mm/h.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    references: tuple[Reference, ...] = Field(min_length=1, description="what is compared")
    neighbours: int = Field(default=5, ge=1, description="distances of 'neighbours' are those to this nearest pixel")
    threshold: float = Field(description="score that few familiar pixels exceed")
    false_alarm_rate: float = Field(description="how few: the share of familiar pixels beyond the threshold")


class Covering(BaseModel):
    """Intervals that were calibrated where the model did not learn: quantiles, and how far each end moves outward."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    levels: tuple[float, float] = Field(description="levels of the quantiles between which the interval lies")
    regimes: RegimeSettings = Field(description="what is calibrated apart")
    widening_mm_h: Mapping[str, float] = Field(description="how far both ends move outward in each regime, mm/h")


@dataclass(frozen=True)
class Member:
    """One network, how it is made, what its output means, and what it sees."""

    network: nn.Module
    settings: RetrievalSettings
    head_settings: RainHeadSettings
    view: View = TEMPERATURES

    @cached_property
    def head(self) -> RainHead:
        """What raw output means."""
        return head_of(self.head_settings)


@dataclass
class RetrievalModel:
    """Networks that retrieve together.

    Attributes
    ----------
    members: networks whose distributions are averaged, quantile by quantile; heads and views may differ.
    inputs: all that any of them is shown; any part of the channels is enough.
    scaling: how inputs are standardised.
    familiar: when a pixel is unlike what was learnt from, and `rows`, the arrays that it names; None where nobody measured it.
    covering: intervals that were calibrated; None where nobody did.
    facts: what the model card tells of the training, JSON values.
    drifts: what whoever compares pixels has made of `rows`, kept for the next tile.
    """

    members: Sequence[Member]
    inputs: Inputs
    scaling: ChannelScaling
    familiar: Familiar | None = None
    covering: Covering | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    rows: Mapping[str, Tensor] = field(default_factory=dict)
    drifts: dict[Reference, Any] = field(default_factory=dict, repr=False, compare=False)

    @torch.inference_mode()
    def distribution(self, x: Tensor, names: Sequence[str], bands: Tensor, levels: Sequence[float]) -> tuple[Tensor, Tensor]:
        """Predict quantiles of rain (N, K, H, W) and its mean (N, H, W), mm h-1: those of members are averaged (Vincent 1912).

        Averaging at a level keeps distributions as sharp as those of the members; averaging probabilities would widen them. The
        mean is that of the averaged distribution: an integral of quantiles, whatever lies beyond the outer levels.

        Parameters
        ----------
        x: standardised columns (N, B, H, W), NaN where missing.
        names, bands: of the columns, see `vigie.learn.retrieval_inputs.Table`.
        """
        return self.distribution_of(self.raw(x, names, bands), levels)

    @torch.inference_mode()
    def raw(self, x: Tensor, names: Sequence[str], bands: Tensor) -> list[Tensor]:
        """Run the networks alone: the raw output (N, C, H, W) of each member, which only its head understands."""
        found = []
        for member in self.members:
            seen = member.view.columns(names)
            shown = x if len(seen) == len(names) else x[:, seen]
            found.append(member.network(shown, shown_mask(shown), bands[seen]))
        return found

    @torch.inference_mode()
    def distribution_of(self, raw: Sequence[Tensor], levels: Sequence[float]) -> tuple[Tensor, Tensor]:
        """Turn the members' raw output, or a part of it, into quantiles and mean, as `distribution` gives them."""
        count, _, height, width = raw[0].shape
        quantiles = torch.zeros((len(levels), count, height, width), device=raw[0].device)
        mean = torch.zeros((count, height, width), device=raw[0].device)
        lines = max(1, BLOCK // (count * width))
        for start in range(0, height, lines):
            block = slice(start, start + lines)
            for member, output in zip(self.members, raw, strict=True):
                rows = output[:, :, block].movedim(1, -1).flatten(0, -2).float()
                found, centre = member.head.distribution(rows, levels)
                square = found.unflatten(0, (count, -1, width))  # type: ignore[no-untyped-call]
                quantiles[:, :, block] += square.movedim(-1, 0) / len(raw)
                mean[:, block] += centre.view(count, -1, width) / len(raw)
        return quantiles.movedim(0, 1), mean

    @torch.inference_mode()
    def spread_of(self, raw: Sequence[Tensor]) -> Tensor:
        """Measure from the members' raw output how far their distributions are from each other (N, H, W), mm/h."""
        each = [member.head.quantiles(output.float(), SPREAD_LEVELS) for member, output in zip(self.members, raw, strict=True)]
        return disagreement(torch.stack(each).movedim(2, -1))

    @property
    def doubts_itself(self) -> bool:
        """Whether the members' disagreement takes part in the score."""
        return self.familiar is not None and any(reference.method == SPREAD for reference in self.familiar.references)

    @property
    def image(self) -> bool:
        """Whether a member looks at the pixels around."""
        return any(member.settings.name != "pixel" for member in self.members)

    @property
    def multiple(self) -> int:
        """What both sides of an image must be multiples of."""
        return lcm(*(int(member.network.multiple) for member in self.members))  # type: ignore[arg-type]

    def save(self, folder: Path) -> None:
        """Write the model to a folder, whole or not at all."""
        with whole_folder(folder) as draft:
            record = self.card(cards.write_members(draft, [member.network for member in self.members]))
            if self.familiar:
                write_tensors(draft / FAMILIAR, self.rows)
            (draft / "card.json").write_text(json.dumps(record, indent=1, allow_nan=False), encoding="utf-8")
            (draft / "card.md").write_text(card_text(record), encoding="utf-8")

    def card(self, files: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """Put everything but the weights, whose files are told, into JSON values."""
        made = {
            name: {
                **file,
                "network": member.settings.model_dump(mode="json"),
                "head": member.head_settings.model_dump(mode="json"),
                "view": asdict(member.view),
            }
            for (name, file), member in zip(files.items(), self.members, strict=True)
        }
        return {
            "format": FORMAT,
            "vigie": vigie.__version__,
            "members": made,
            "inputs": self.inputs.to_json(),
            "scaling": self.scaling.model_dump(mode="json"),
            "familiar": self.familiar.model_dump(mode="json") if self.familiar else None,
            "covering": self.covering.model_dump(mode="json") if self.covering else None,
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
        made = [
            (
                name,
                RetrievalSettings.model_validate(told["network"]),
                RainHeadSettings.model_validate(told["head"]),
                View(tuple(told["view"]["layers"]), tuple(told["view"]["ancillary"])),
            )
            for name, told in card["members"].items()
        ]
        inputs = Inputs.from_json(card["inputs"])
        scaling = ChannelScaling.model_validate(card["scaling"])
        familiar = Familiar.model_validate(card["familiar"]) if card["familiar"] else None
        covering = Covering.model_validate(card["covering"]) if card["covering"] else None
    except (ValidationError, KeyError, TypeError, ValueError) as error:
        raise cards.no_card(folder / "card.json", error) from error
    cards.check_files(folder, card)
    members = []
    for name, settings, head, view in made:
        weights = read_tensors(folder / name)
        with torch.random.fork_rng([]):
            network = build(settings, head_of(head).channels, weights.get("stem.known"))
        copy_into(network.state_dict(), weights, f"weights {name}")
        members.append(Member(network.to(device).eval().requires_grad_(False), settings, head, view))
    rows = read_tensors(folder / FAMILIAR) if familiar else {}
    return RetrievalModel(members, inputs, scaling, familiar, covering, card["facts"], rows)


def read_card(folder: Path) -> dict[str, Any]:
    """Read a model's card.json."""
    return cards.read_card(folder, FORMAT, ("inputs", "scaling", "familiar", "covering", "facts"))


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


def card_text(card: Mapping[str, Any]) -> str:
    """Tell what a model is, for people (Mitchell et al. 2019, Model Cards for Model Reporting)."""
    inputs, scaling = card["inputs"], card["scaling"]
    kinds = Counter(
        (m["network"]["name"], m["head"]["name"], ", ".join([*m["view"]["layers"], *m["view"]["ancillary"]]), m["parameters"])
        for m in card["members"].values()
    )
    reasons = {head.name: head.why for head in (head_of(RainHeadSettings(**m["head"])) for m in card["members"].values())}
    lines = [
        "# Model card: rain from brightness temperatures",
        "",
        f"{len(card['members'])} member(s), with vigie {card['vigie']}:",
        "",
        *(
            f"- {count} of `{network}` with head `{head}` on {seen}, {size:,} parameters each"
            for (network, head, seen, size), count in kinds.items()
        ),
        "",
        "## Heads",
        "",
        *(f"- `{name}`: {why}" for name, why in reasons.items()),
        "",
        "## Inputs",
        "",
        f"Layers: {', '.join(inputs['layers'])}, of {', '.join(inputs['channels'])}.",
        "",
        *(f"- {name}: mean {mean:.4g}, deviation {scaling['deviation'][name]:.4g}" for name, mean in scaling["mean"].items()),
        "",
        "## When it extrapolates",
        "",
        _doubt(card["familiar"]),
        "",
        "## Intervals",
        "",
        *_covered(card["covering"]),
        "",
    ]
    for title, value in card["facts"].items():
        lines += [f"## {title.replace('_', ' ').capitalize()}", "", *cards.told(value), ""]
    lines += ["## Weights", "", *(f"- `{name}` sha256 {member['sha256']}" for name, member in card["members"].items()), ""]
    return "\n".join(lines)


def _doubt(familiar: Mapping[str, Any] | None) -> str:
    if familiar is None:
        return "Nobody measured what is familiar: nothing is flagged."
    told = {
        "neighbours": "the distance to the nearest pixels that were learnt from, in {}",
        "mahalanobis": "the Mahalanobis distance from what was learnt from, in {}",
        "spread": "how far members disagree",
    }
    ways = "; or ".join(
        told[reference["method"]].format(", ".join(reference["fields"])) for reference in familiar["references"]
    )
    rate = f"{100 * familiar['false_alarm_rate']:.0f} % of familiar pixels are, too"
    return f"Unfamiliar pixels are flagged ({rate}), by {ways}."


def _covered(covering: Mapping[str, Any] | None) -> list[str]:
    if covering is None:
        return ["Intervals were not calibrated."]
    low, high = (100 * level for level in covering["levels"])
    ends = [f"- {name}: both ends move {by:+.3f} mm/h outward" for name, by in covering["widening_mm_h"].items()]
    return [f"Between the quantiles of {low:g} and {high:g} %, calibrated on groups that were not learnt from:", "", *ends]
