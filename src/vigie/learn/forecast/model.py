"""The model of forecasts: networks whose means and quantiles are averaged, and the card that tells what they are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import vigie
from vigie.core.store import whole_folder
from vigie.learn import cards
from vigie.learn.checkpoint import copy_into, read_tensors
from vigie.learn.forecast.bounds import Bounds
from vigie.learn.forecast.inputs import LAGS_DAYS, column_count
from vigie.learn.forecast.network import LEVELS, ForecastNetwork, ForecastNetworkSettings, latent
from vigie.learn.forecast.samples import ForecastBatch

FORMAT = 1


@dataclass
class ForecastModel:
    """Networks that forecast together.

    Attributes
    ----------
    networks: whose latent values are averaged, quantile by quantile, which keeps distributions as sharp as their own.
    settings: how each is made.
    bounds: of what is forecast.
    facts: what the card tells of the training, JSON values.
    """

    networks: Sequence[nn.Module]
    settings: ForecastNetworkSettings
    bounds: Bounds = field(default_factory=Bounds)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @torch.inference_mode()
    def forecast(self, batch: ForecastBatch) -> tuple[Tensor, Tensor]:
        """Forecast the mean (N, H, W) and quantiles at `LEVELS` (N, L, H, W), within the bounds; sides of any length."""
        multiple = 2 ** (len(self.settings.widths) - 1)
        height, width = batch.x.shape[-2:]
        beyond = (0, -width % multiple, 0, -height % multiple)
        x, mask = (nn.functional.pad(maps, beyond) for maps in (batch.x, batch.mask))
        found = [latent(net(x, mask, batch.bands)[..., :height, :width], batch.now, batch.scale) for net in self.networks]
        mean, quantiles = (torch.stack(parts).mean(dim=0) for parts in zip(*found, strict=True))
        return self.bounds.cut(mean), self.bounds.cut(quantiles)

    def save(self, folder: Path) -> None:
        """Write the model to a folder, whole or not at all."""
        with whole_folder(folder) as draft:
            written = cards.write_members(draft, list(self.networks))
            made = {name: {**file, "network": self.settings.model_dump(mode="json")} for name, file in written.items()}
            record = {
                "format": FORMAT,
                "vigie": vigie.__version__,
                "members": made,
                "levels": LEVELS,
                "lags_days": LAGS_DAYS,
                "bounds": [self.bounds.low, self.bounds.high],
                "facts": dict(self.facts),
            }
            (draft / "card.json").write_text(json.dumps(record, indent=1, allow_nan=False), encoding="utf-8")
            (draft / "card.md").write_text(card_text(record), encoding="utf-8")


def load(folder: Path) -> ForecastModel:
    """Read a model, ready to forecast.

    Raises
    ------
    VigieError: a file is missing, truncated, changed, or of a model that sees or says other things.
    """
    card = cards.read_card(folder, FORMAT, ("levels", "lags_days", "bounds", "facts"))
    if tuple(card["levels"]) != LEVELS or tuple(card["lags_days"]) != LAGS_DAYS:
        raise cards.no_card(folder / "card.json", "other levels of quantiles, or other days that are shown")
    cards.check_files(folder, card)
    networks, settings = [], ForecastNetworkSettings()
    for name, told in card["members"].items():
        settings = ForecastNetworkSettings.model_validate(told["network"])
        with torch.random.fork_rng([]):
            network = ForecastNetwork(column_count(), settings)
        copy_into(network.state_dict(), read_tensors(folder / name), f"weights {name}")
        networks.append(network.eval().requires_grad_(False))
    return ForecastModel(networks, settings, Bounds(*card["bounds"]), card["facts"])


def card_text(card: Mapping[str, Any]) -> str:
    """Tell what a model is, for people (Mitchell et al. 2019, Model Cards for Model Reporting)."""
    first = next(iter(card["members"].values()))
    lines = [
        "# Model card: forecasts of sea-ice concentration",
        "",
        f"{len(card['members'])} network(s) of {first['parameters']:,} parameters, with vigie {card['vigie']}.",
        f"Shown are a map and those of {', '.join(map(str, card['lags_days']))} days before, what is usual on that day and on",
        "the day that is forecast, and the season; told are a mean and quantiles for any lead that was learnt.",
        "",
    ]
    for title, value in card["facts"].items():
        lines += [f"## {title.replace('_', ' ').capitalize()}", "", *cards.told(value), ""]
    return "\n".join(lines)
