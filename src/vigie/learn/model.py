"""A trained model: all that is needed to predict, in a folder that can be sent to a colleague.

model/
    member-00.safetensors ...   weights, one file an ensemble member
    card.json                   legend, scaling, calibration, network and sha256 of every member, facts of the training
    card.md                     the same for people
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import ValidationError
from torch import Tensor, nn

import vigie
from vigie.core.errors import VigieError
from vigie.core.legend import Legend, LegendClass
from vigie.core.store import whole_folder
from vigie.learn import cards, networks
from vigie.learn.calibration import EVERY_SENSOR, Calibration
from vigie.learn.cards import check_files, no_card, told, write_members
from vigie.learn.checkpoint import copy_into, read_tensors
from vigie.learn.heads import ClassHead, Head
from vigie.learn.networks import NetworkSettings
from vigie.learn.scaling import RobustScaling

Build = Callable[[NetworkSettings, int], nn.Module]
FORMAT = 5


@dataclass
class Model:
    """Networks that predict together, and what they were trained for.

    Attributes
    ----------
    members: networks whose probabilities are averaged.
    networks: settings of each member.
    calibration: by sensor; '*' is that of every sensor without its own.
    facts: what the model card tells of the training: JSON values, for instance data, folds, bands, scores, weights, limits.
    precision: '32-true', or 'bf16-mixed' to predict with 16-bit products.
    """

    members: Sequence[nn.Module]
    networks: Sequence[NetworkSettings]
    legend: Legend
    scaling: RobustScaling
    calibration: Mapping[str, Calibration] = field(default_factory=lambda: {EVERY_SENSOR: Calibration()})
    facts: Mapping[str, Any] = field(default_factory=dict)
    precision: Literal["32-true", "bf16-mixed"] = "32-true"

    @property
    def head(self) -> Head:
        """What the raw output of the members means."""
        return ClassHead(self.legend)

    @property
    def device(self) -> torch.device:
        """Where the members are."""
        tensors: dict[str, Tensor] = self.members[0].state_dict()
        return next(iter(tensors.values())).device

    @torch.inference_mode()
    def estimate(self, x: Tensor, mask: Tensor, bands: Tensor, sensor: str) -> Tensor:
        """Predict what the head makes of all members' calibrated output, (N, layers, H, W) float32; see `probabilities`."""
        return self.head.estimate(self._calibrated(x, mask, bands, sensor))

    @torch.inference_mode()
    def probabilities(self, x: Tensor, mask: Tensor, bands: Tensor, sensor: str) -> Tensor:
        """Predict class probabilities, member by member.

        Parameters
        ----------
        x (N, B, H, W), mask (N, 2, H, W), bands (B, D): see `scaling.standardise` and `bands.describe`.
        sensor: whose calibration to use.

        Returns
        -------
        (members, N, C, H, W) float32: softmax(logits / T + b), see `vigie.learn.calibration`.
        """
        return self._calibrated(x, mask, bands, sensor).softmax(dim=2)

    @torch.inference_mode()
    def logits(self, x: Tensor, mask: Tensor, bands: Tensor) -> Tensor:
        """Predict raw logits (members, N, C, H, W) float32, for calibration."""
        device = self.device
        x, mask = (t.to(device).contiguous(memory_format=torch.channels_last) for t in (x, mask))
        bands = bands.to(device)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16-mixed"):
            return torch.stack([member(x, mask, bands).float() for member in self.members])

    def _calibrated(self, x: Tensor, mask: Tensor, bands: Tensor, sensor: str) -> Tensor:
        return self.calibration_of(sensor)(self.logits(x, mask, bands), dim=2)

    def calibration_of(self, sensor: str) -> Calibration:
        """Calibration of a sensor, or that of every sensor."""
        if sensor not in self.calibration and EVERY_SENSOR not in self.calibration:
            raise VigieError(
                f"the model has no calibration for sensor '{sensor}'",
                found=sorted(self.calibration),
                expected=f"'{sensor}' or '{EVERY_SENSOR}'",
                do="calibrate on this sensor",
            )
        return self.calibration.get(sensor, self.calibration.get(EVERY_SENSOR, Calibration()))

    def save(self, folder: Path) -> None:
        """Write the model to a folder, whole or not at all."""
        with whole_folder(folder) as draft:
            record = self.card(write_members(draft, self.members))
            (draft / "card.json").write_text(json.dumps(record, indent=1, allow_nan=False), encoding="utf-8")
            (draft / "card.md").write_text(card_text(record), encoding="utf-8")

    def card(self, files: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """Put everything but the weights, whose files are told, into JSON values."""
        return {
            "format": FORMAT,
            "vigie": vigie.__version__,
            "members": {
                name: {**file, "network": network.model_dump(mode="json")}
                for (name, file), network in zip(files.items(), self.networks, strict=True)
            },
            "legend": asdict(self.legend),
            "scaling": self.scaling.model_dump(mode="json"),
            "calibration": {sensor: asdict(found) for sensor, found in self.calibration.items()},
            "facts": dict(self.facts),
        }


def load(
    folder: Path,
    device: torch.device | str = "cpu",
    legend: Legend | None = None,
    precision: Literal["32-true", "bf16-mixed"] = "32-true",
    build: Build = networks.build,
) -> Model:
    """Read a model, ready to predict.

    Parameters
    ----------
    legend: the legend that predictions are wanted in; the model must have been trained for it.

    Raises
    ------
    VigieError: a file is missing, truncated or changed, or the model is for another legend.
    """
    card = read_card(folder)
    own, declared, scaling, calibration = _declared(folder, card)
    if legend is not None and legend != own:
        raise VigieError(
            f"{folder} was trained for another legend",
            found=f"'{own.name}': {', '.join(own.names)}",
            expected=f"'{legend.name}': {', '.join(legend.names)}",
            do="train a model for this legend, or predict with the model's own",
        )
    check_files(folder, card)
    members = []
    for name, settings in zip(card["members"], declared, strict=True):
        with torch.random.fork_rng([]):
            # The member's weights follow: the encoder's initial ones need not be fetched.
            network = build(settings.model_copy(update={"weights": "none"}), ClassHead(own).channels)
        copy_into(network.state_dict(), read_tensors(folder / name), f"weights {name}")
        network = network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        members.append(network.eval().requires_grad_(False))
    return Model(members, declared, own, scaling, calibration, card["facts"], precision)


def read_card(folder: Path) -> dict[str, Any]:
    """Read a model's card.json."""
    return cards.read_card(folder, FORMAT, ("legend", "scaling", "calibration", "facts"))


def _declared(
    folder: Path, card: Mapping[str, Any]
) -> tuple[Legend, list[NetworkSettings], RobustScaling, dict[str, Calibration]]:
    """The legend, networks, scaling and calibration that a card declares."""
    try:
        record = card["legend"]
        legend = Legend(record["name"], tuple(LegendClass(**c) for c in record["classes"]), record["unknown"])
        networks = [NetworkSettings.model_validate(member["network"]) for member in card["members"].values()]
        scaling = RobustScaling.model_validate(card["scaling"])
        calibration = {sensor: Calibration.from_dict(r, len(legend.classes)) for sensor, r in card["calibration"].items()}
        return legend, networks, scaling, calibration
    except (ValidationError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise no_card(folder / "card.json", error) from error


def _calibrated(record: Mapping[str, Any]) -> str:
    """Say what is done to logits."""
    biases = ", ".join(f"{b:+.2f}" for b in record["bias"])
    return f"are divided by {record['temperature']:.3f}" + (f", then {biases} is added to the classes" if biases else "")


def card_text(card: Mapping[str, Any]) -> str:
    """Tell what a model is, for people (Mitchell et al. 2019, Model Cards for Model Reporting)."""
    members, facts = card["members"], card["facts"]
    kinds = Counter((member["network"]["name"], member["parameters"]) for member in members.values())
    made = " and ".join(f"{n} member(s) of `{name}`, {size:,} parameters each" for (name, size), n in kinds.items())
    classes = [f"| {c['code']} | {c['name']} | {c['color']} |" for c in card["legend"]["classes"]]
    lines = [
        f"# Model card: {card['legend']['name']}",
        "",
        f"{made}, made with vigie {card['vigie']}. A member sees standardised bands and gives a logit for each class.",
        "",
        "## Legend",
        "",
        "| code | class | colour |",
        "|---|---|---|",
        *classes,
        "",
        "## Calibration",
        "",
        *(f"- {sensor}: logits {_calibrated(record)}" for sensor, record in sorted(card["calibration"].items())),
        "",
        "## Scaling",
        "",
        *(f"- {name}: {value}" for name, value in sorted(card["scaling"].items())),
        "",
    ]
    for title, value in facts.items():
        lines += [f"## {title.replace('_', ' ').capitalize()}", "", *told(value), ""]
    if "limits" not in facts:
        lines += ["## Limits", "", "Not stated by who trained the model: test it on your own region first.", ""]
    lines += ["## Weights", "", *(f"- `{name}` sha256 {member['sha256']}" for name, member in members.items()), ""]
    return "\n".join(lines)
