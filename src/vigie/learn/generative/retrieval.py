"""A generative retrieval: what turns channels and noise into members of rain, alone or around a reference, in one folder.

model/
    member-00.safetensors ...   weights of the networks, one file each
    reference/                  the retrieval around which members are generated, where there is one
    card.json, card.md          settings, transform, residual, inputs and their scaling, facts of the training

Where there is a reference the networks are told its mean and spread; with a residual (`rain.Residual`) they generate what it
leaves.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from math import lcm
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
from vigie.learn.retrieval_inputs import Inputs
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
    inputs: what is shown of a swath, `columns` its names in the order that the networks know; any of them may be missing.
    scaling: how columns are standardised.
    reference: the retrieval whose mean and spread the networks are told; it sees the same inputs, scaled alike.
    residual: how what the reference leaves is standardised, where members are generated around it.
    facts: what the model card tells of the training, JSON values.
    """

    networks: Sequence[nn.Module]
    settings: GenerativeSettings
    transform: RainTransform
    inputs: Inputs
    columns: tuple[str, ...]
    scaling: ChannelScaling
    reference: RetrievalModel | None = None
    residual: Residual | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a residual of nothing, and a reference that sees something else."""
        if self.reference and (self.reference.inputs, self.reference.scaling) != (self.inputs, self.scaling):
            raise VigieError(
                "reference and generative model do not see the same",
                found=f"reference: {', '.join(self.reference.inputs.channels)}",
                expected=f"{', '.join(self.inputs.channels)}, and the same layers and fields, scaled alike",
            )
        if self.residual and not self.reference:
            raise VigieError("a residual needs the reference that leaves it", expected="a reference, or no residual")

    @property
    def conditions(self) -> int:
        """How many maps the networks are told."""
        return 2 * len(self.columns) + (2 if self.reference else 0)

    @cached_property
    def generator(self) -> Generator:
        """How noise becomes members."""
        return build_generator(self.settings)

    @property
    def multiple(self) -> int:
        """What H and W must be multiples of, and the origins of tiles for their members to agree."""
        return lcm(*(int(network.multiple) for network in self.networks), self.reference.multiple if self.reference else 1)  # type: ignore[arg-type]

    @property
    def reach(self) -> int:
        """How many pixels away something can change a member: what the network sees in one look, as often as it looks.

        A halo of so many makes members of tiles equal to those of the whole. Much less is felt: what one look does not see
        reaches a member only by way of the noisy field beside it. Of a U-Net of three levels and 12 looks, trained on synthetic
        orbits, members with a halo of 8 pixels differed by less than 0.001 mm/h, with 16 by less than 0.00005.
        """
        known = max(_radius(member.network) for member in self.reference.members) if self.reference else 0
        return self.settings.looks * max((_radius(network) for network in self.networks), default=0) + known

    def blank(self) -> Denoiser:
        """Make a network to be trained (`vigie.learn.generative.teaching`), with weights from torch's own generator."""
        return build_denoiser(self.settings, self.conditions)

    def condition(self, x: Tensor, names: Sequence[str], bands: Tensor) -> Tensor:
        """Put together what the networks are told (N, conditions, H, W): columns, which are there, mean and spread."""
        seen = masked(self.arranged(x, names))
        return seen if self.reference is None else torch.cat([seen, self.known(self.reference, x, names, bands)], dim=1)

    def arranged(self, x: Tensor, names: Sequence[str]) -> Tensor:
        """Take the columns of x (N, B, H, W) that the networks know, in their order, NaN where there is none of that name.

        Raises
        ------
        VigieError: there is none at all.
        """
        there = [name for name in self.columns if name in names]
        if not there or len(names) != x.shape[1]:
            raise VigieError(
                "the generative model cannot find what it was taught",
                found=f"{x.shape[1]} columns: {', '.join(names)}",
                expected=", ".join(self.columns),
                do="show it some of these, each with its name",
            )
        missing = torch.full_like(x[:, :1], torch.nan)
        return torch.cat([x[:, [names.index(name)]] if name in there else missing for name in self.columns], dim=1)

    @torch.no_grad()
    def known(self, reference: RetrievalModel, x: Tensor, names: Sequence[str], bands: Tensor) -> Tensor:
        """Mean and standard deviation (N, 2, H, W) of the reference's transformed rain."""
        quantiles, _ = reference.distribution(x, names, bands, REFERENCE_LEVELS)
        rain = self.transform.standardised(quantiles)
        return torch.stack([rain.mean(dim=1), rain.std(dim=1, correction=0)], dim=1)

    @torch.inference_mode()
    def members(self, x: Tensor, names: Sequence[str], bands: Tensor, noise: Tensor) -> Tensor:
        """Generate rain (M, N, H, W) mm h-1 from noise (M, N, H, W): a member is a function of its noise and of what is seen.

        Parameters
        ----------
        x: standardised columns (N, B, H, W), NaN where missing; single footprints have H = W = 1.
        names, bands: of the columns, see `vigie.learn.retrieval_inputs.Table`.
        noise: standard normal, see `vigie.learn.generative.noise.noise_at`.

        Raises
        ------
        VigieError: there is no network, x does not hold what it was taught, or the noise does not fit.
        """
        if not self.networks:
            raise VigieError("the generative model has no network", do="train one with vigie.learn.generative.teaching")
        condition, count = self.condition(x, names, bands), len(self.networks)
        drawn = torch.empty_like(noise)
        for number, network in enumerate(self.networks[: len(noise)]):
            start = noise[number::count, :, None]
            drawn[number::count] = self.generator.carry(network, condition, start, None)[:, :, 0]
        if self.residual:
            drawn = self.residual.back(drawn, condition[:, -2])
        return self.transform.back(drawn).clamp(min=0)

    def distribution(
        self, x: Tensor, names: Sequence[str], bands: Tensor, levels: Sequence[float], noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Estimate quantiles (N, K, H, W) and mean (N, H, W), mm h-1, from the members that noise (M, N, H, W) makes."""
        members = self.members(x, names, bands, noise)
        return quantiles_of(members, levels), members.mean(dim=0)

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
            "inputs": self.inputs.to_json(),
            "columns": list(self.columns),
            "scaling": self.scaling.model_dump(mode="json"),
            "facts": dict(self.facts),
        }


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
        inputs, columns = Inputs.from_json(card["inputs"]), tuple(card["columns"])
    except (ValidationError, KeyError, TypeError, ValueError) as error:
        raise cards.no_card(folder / "card.json", error) from error
    cards.check_files(folder, card)
    reference = retrieval_model.load(folder / "reference", device) if card["reference"] else None
    model = GenerativeRetrieval((), settings, transform, inputs, columns, scaling, reference, residual, card["facts"])
    return replace(model, networks=[_read(folder / name, model).to(device) for name in card["members"]])


def _radius(network: nn.Module) -> int:
    """Pixels that a network sees to each side."""
    field: int = network.receptive_field  # type: ignore[assignment]
    return field // 2


def read_card(folder: Path) -> dict[str, Any]:
    """Read a model's card.json."""
    needed = ("transform", "residual", "reference", "inputs", "columns", "scaling", "facts")
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
        "## Columns",
        "",
        *(
            f"- {name}: mean {card['scaling']['mean'][name]:.4g}, deviation {card['scaling']['deviation'][name]:.4g}"
            for name in card["columns"]
        ),
        "",
    ]
    for title, value in card["facts"].items():
        lines += [f"## {title.replace('_', ' ').capitalize()}", "", *cards.told(value), ""]
    lines += ["## Weights", "", *(f"- `{name}` sha256 {member['sha256']}" for name, member in card["members"].items()), ""]
    return "\n".join(lines)
