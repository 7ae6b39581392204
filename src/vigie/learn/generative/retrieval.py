"""A generative retrieval: what turns channels and noise into members of rain, alone or around a reference, in one folder.

model/
    member-00.safetensors ...   weights of the networks, one file each
    reference/                  the retrieval around which members are generated, where there is one
    card.json, card.md          settings, transform, residual, channels and their scaling, facts of the training

Where there is a reference, the network is told its mean and spread, and generates what it leaves (`rain.Residual`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

import vigie
from vigie.core.errors import VigieError
from vigie.core.store import whole_folder
from vigie.learn import cards, retrieval_model
from vigie.learn.checkpoint import copy_into, read_tensors
from vigie.learn.generative.denoiser import Denoiser
from vigie.learn.generative.generator import Generator, masked
from vigie.learn.generative.rain import RainTransform, Residual
from vigie.learn.generative.settings import GenerativeSettings, build_denoiser, build_generator
from vigie.learn.rain_heads.head import check_levels, ordered
from vigie.learn.rain_heads.quantile_curve import interpolated
from vigie.learn.retrieval_model import RetrievalModel
from vigie.learn.swaths import ChannelScaling

FORMAT = 1

REFERENCE_LEVELS = tuple((k + 0.5) / 20 for k in range(20))
"""Levels over which mean and spread of a reference are taken: the middles of twenty equal shares."""


@dataclass
class GenerativeRetrieval:
    """Networks that generate members of rain from brightness temperatures.

    Attributes
    ----------
    networks: member m is drawn by network m modulo their number.
    settings: how members are generated.
    transform: what rain rates are generated on.
    channels, ancillary: what x holds, in this order; any of them may be missing (NaN).
    scaling: how they are standardised.
    reference, residual: the retrieval around which members are generated, and how what it leaves is standardised; both or none.
    facts: what the model card tells of the training, JSON values.
    """

    networks: Sequence[nn.Module]
    settings: GenerativeSettings
    transform: RainTransform
    channels: tuple[str, ...]
    ancillary: tuple[str, ...]
    scaling: ChannelScaling
    reference: RetrievalModel | None = None
    residual: Residual | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a residual of nothing, and a reference that sees something else."""
        seen = self.reference and (*self.reference.channels, *self.reference.ancillary)
        if self.reference and (seen != self.inputs or self.reference.scaling != self.scaling):
            raise VigieError(
                "reference and generative model do not see the same",
                found=f"reference: {', '.join(seen or ())}",
                expected=f"{', '.join(self.inputs)}, scaled alike",
            )
        if self.residual and not self.reference:
            raise VigieError("a residual needs the reference that leaves it", expected="a reference, or no residual")

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of what x holds."""
        return (*self.channels, *self.ancillary)

    @property
    def conditions(self) -> int:
        """How many maps the networks are told."""
        return 2 * len(self.inputs) + (2 if self.reference else 0)

    @cached_property
    def generator(self) -> Generator:
        """How noise becomes members."""
        return build_generator(self.settings)

    @property
    def multiple(self) -> int:
        """What H and W must be multiples of, and the origins of tiles for their members to agree."""
        return max((int(network.multiple) for network in self._all), default=1)  # type: ignore[arg-type]

    @property
    def reach(self) -> int:
        """How many pixels away something can change a member: what the network sees in one look, as often as it looks.

        A halo of so many makes members of tiles equal to those of the whole. Much less is felt in practice: what one look does
        not see reaches a member only by way of the noisy field beside it.
        """
        known = max((_radius(member) for member in self.reference.members), default=0) if self.reference else 0
        return self.settings.looks * max((_radius(network) for network in self.networks), default=0) + known

    @property
    def _all(self) -> tuple[nn.Module, ...]:
        return (*self.networks, *(self.reference.members if self.reference else ()))

    def blank(self) -> Denoiser:
        """Make a network to be trained (`vigie.learn.generative.teaching`), with weights from torch's own generator."""
        return build_denoiser(self.settings, self.conditions)

    def condition(self, x: Tensor, mask: Tensor, bands: Tensor) -> Tensor:
        """Put together what the networks are told (N, conditions, H, W): channels, which are there, mean and spread."""
        self._check(x)
        known = self.known(x, mask, bands)
        return masked(x) if known is None else torch.cat([masked(x), known], dim=1)

    @torch.no_grad()
    def known(self, x: Tensor, mask: Tensor, bands: Tensor) -> Tensor | None:
        """Mean and standard deviation (N, 2, H, W) of the reference's transformed rain; None without a reference."""
        if self.reference is None:
            return None
        seen = self.transform.standardised(self.reference.quantiles(x, mask, bands, REFERENCE_LEVELS))
        return torch.stack([seen.mean(dim=1), seen.std(dim=1, correction=0)], dim=1)

    @torch.inference_mode()
    def members(self, x: Tensor, mask: Tensor, bands: Tensor, noise: Tensor) -> Tensor:
        """Generate rain (M, N, H, W) mm h-1 from noise (M, N, H, W): a member is a function of its noise and of what is seen.

        Parameters
        ----------
        x, mask, bands: see `vigie.learn.swaths.RainBatch`; single footprints have H = W = 1.
        noise: standard normal, see `vigie.learn.generative.noise.noise_at`.

        Raises
        ------
        VigieError: there is no network, x does not hold the channels of the model, or the noise does not fit.
        """
        if not self.networks:
            raise VigieError("the generative model has no network", do="train one with vigie.learn.generative.teaching")
        condition, count = self.condition(x, mask, bands), len(self.networks)
        drawn = torch.empty_like(noise)
        for number, network in enumerate(self.networks[: len(noise)]):
            start = noise[number::count, :, None]
            drawn[number::count] = self.generator.carry(network, condition, start, None)[:, :, 0]
        if self.residual:
            drawn = self.residual.back(drawn, condition[:, -2])
        return self.transform.back(drawn).clamp(min=0)

    def quantiles(self, x: Tensor, mask: Tensor, bands: Tensor, levels: Sequence[float], noise: Tensor) -> Tensor:
        """Estimate quantiles (N, K, H, W) mm h-1 from the members that noise (M, N, H, W) makes."""
        return quantiles_of(self.members(x, mask, bands, noise), levels)

    def save(self, folder: Path) -> None:
        """Write the model to a folder, whole or not at all."""
        with whole_folder(folder) as draft:
            record = self.card(cards.write_members(draft, self.networks))
            if self.reference:
                self.reference.save(draft / "reference")
            (draft / "card.json").write_text(json.dumps(record, indent=1, allow_nan=False), encoding="utf-8")
            (draft / "card.md").write_text(card_text(record), encoding="utf-8")

    def card(self, files: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """Put everything but the weights, whose files are told, into JSON values."""
        return {
            "format": FORMAT,
            "vigie": vigie.__version__,
            "members": {name: {**file, "network": self.settings.model_dump(mode="json")} for name, file in files.items()},
            "transform": asdict(self.transform),
            "residual": asdict(self.residual) if self.residual else None,
            "reference": "reference" if self.reference else None,
            "channels": list(self.channels),
            "ancillary": list(self.ancillary),
            "scaling": self.scaling.model_dump(mode="json"),
            "facts": dict(self.facts),
        }

    def _check(self, x: Tensor) -> None:
        if x.shape[1] != len(self.inputs):
            raise VigieError(
                "these are not the channels of the generative model",
                found=f"{x.shape[1]} channels and fields",
                expected=", ".join(self.inputs),
                do="give all of them in this order, NaN where one is missing",
            )


def quantiles_of(members: Tensor, levels: Sequence[float]) -> Tensor:
    """Read quantiles (N, K, ...) off members (M, N, ...): the m-th of M is the quantile of (m - 0.5) / M (Hazen 1914).

    Between them the curve is linear, beyond the outer ones constant: members say nothing of what is rarer than they are many.

    Raises
    ------
    VigieError: levels do not increase within (0, 1).

    Examples
    --------
    >>> quantiles_of(torch.tensor([[3.0], [1.0]]), (0.25, 0.5, 0.9))
    tensor([[1., 2., 3.]])
    """
    check_levels(levels)
    own = tuple((m + 0.5) / len(members) for m in range(len(members)))
    return ordered(interpolated(members.sort(dim=0).values.movedim(0, 1), own, levels))


def load(folder: Path, device: torch.device | str = "cpu") -> GenerativeRetrieval:
    """Read a model, ready to generate.

    Raises
    ------
    VigieError: a file is missing, truncated or changed.
    """
    card = read_card(folder)
    try:
        settings = GenerativeSettings.model_validate(next(iter(card["members"].values()))["network"])
        scaling = ChannelScaling.model_validate(card["scaling"])
        transform = TypeAdapter(RainTransform).validate_python(card["transform"])
        residual = TypeAdapter(Residual | None).validate_python(card["residual"])
    except ValidationError as error:
        raise cards.no_card(folder / "card.json", error) from error
    cards.check_files(folder, card)
    reference = retrieval_model.load(folder / "reference", device) if card["reference"] else None
    parts = tuple(card["channels"]), tuple(card["ancillary"])
    model = GenerativeRetrieval((), settings, transform, *parts, scaling, reference, residual, card["facts"])
    return replace(model, networks=[_read(folder / name, model).to(device) for name in card["members"]])


def _radius(network: nn.Module) -> int:
    """Pixels that a network sees to each side."""
    field: int = network.receptive_field  # type: ignore[assignment]
    return field // 2


def read_card(folder: Path) -> dict[str, Any]:
    """Read a model's card.json."""
    needed = ("transform", "residual", "reference", "channels", "ancillary", "scaling", "facts")
    return cards.read_card(folder, FORMAT, needed)


def _read(path: Path, model: GenerativeRetrieval) -> Denoiser:
    with torch.random.fork_rng([]):
        network = model.blank()
    copy_into(network.state_dict(), read_tensors(path), f"weights {path.name}")
    return network.eval().requires_grad_(False)


def card_text(card: Mapping[str, Any]) -> str:
    """Tell what a model is, for people (Mitchell et al. 2019, Model Cards for Model Reporting)."""
    first = next(iter(card["members"].values()))
    how = first["network"]
    around = "as what the retrieval in `reference/` leaves" if card["residual"] else "directly"
    told = "It is also told the mean and spread of that in `reference/`." if card["reference"] else ""
    lines = [
        "# Model card: members of rain from brightness temperatures",
        "",
        f"{len(card['members'])} network(s) `{how['name']}`, {first['parameters']:,} parameters each, vigie {card['vigie']}.",
        "",
        f"Members are generated {around} by `{how['generator']}` in {how['steps']} steps. {told}".rstrip(),
        "",
        "## Channels",
        "",
        *(
            f"- {name}: mean {card['scaling']['mean'][name]:.4g}, deviation {card['scaling']['deviation'][name]:.4g}"
            for name in (*card["channels"], *card["ancillary"])
        ),
        "",
    ]
    for title, value in card["facts"].items():
        lines += [f"## {title.replace('_', ' ').capitalize()}", "", *cards.told(value), ""]
    lines += ["## Weights", "", *(f"- `{name}` sha256 {member['sha256']}" for name, member in card["members"].items()), ""]
    return "\n".join(lines)
