"""The sea-ice `train`: what is usual, and networks that learn what comes of every day."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import nn

from vigie.apps.seaice.fields import days_in, opened, settings_of
from vigie.apps.seaice.usual import Maps, write_usual
from vigie.core import store
from vigie.core.errors import VigieError, counted
from vigie.learn.fit import Task, connect
from vigie.learn.forecast.inputs import column_count
from vigie.learn.forecast.loss import forecast_loss
from vigie.learn.forecast.model import ForecastModel
from vigie.learn.forecast.network import ForecastNetwork
from vigie.learn.forecast.samples import ForecastSource, starts_of
from vigie.story.run import Run
from vigie.story.training import fit_shown

USUAL = "usual.zarr"
"""The climatology, in the model's folder."""
WRITTEN = "written"

LIMIT = "Ice is learnt from few years: what these did not show, the networks do not know."


def train(run: Run) -> None:
    """Write the climatology, fit every network, and leave them in `model/`."""
    settings, reader, folder = settings_of(run).train, opened(run), run.artefact("train")
    days = days_in(reader, settings.periods, "train.periods")
    usual = folder / USUAL
    if not store.marked(usual, WRITTEN):
        write_usual(reader, days, usual)
        store.mark(usual, WRITTEN)
    maps = Maps(reader, usual)
    check_size(run, maps)
    fabric = connect(settings.fit)
    networks = [fitted(run, maps, days, number, fabric) for number in range(settings.members)]
    if fabric.global_rank > 0:
        # With several devices every process has come here by itself. The first goes on; the others were there to learn.
        raise SystemExit(0)
    ForecastModel(networks, settings.network, facts=facts(run, days)).save(folder / "all")


def maps_of(run: Run) -> Maps:
    """Open the maps with what is usual."""
    return Maps(opened(run), run.artefact("train") / USUAL)


def fitted(run: Run, maps: Maps, days: Sequence[np.datetime64], number: int, fabric: Fabric) -> nn.Module:
    """Train one network; what was finished before is read back."""
    settings, seed = settings_of(run).train, 1000 * run.experiment.seed + number
    whole = {"y": slice(None), "x": slice(None)}
    scored = maps.scored(whole)
    shape = scored.shape[0], scored.shape[1]
    starts = starts_of(days, range(1, settings.leads_days + 1))
    source = ForecastSource(maps, starts, np.argwhere(scored), shape, settings.windows, seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = ForecastNetwork(column_count(), settings.network)
    where = run.artefact("train") / ".training" / f"member-{number:02d}"
    fit_shown(run, Task(network, forecast_loss, source.batch, None, seed), settings.fit, where, fabric)
    return network.cpu().eval()


def check_size(run: Run, maps: Maps) -> None:
    """Refuse crops that are larger than the grid, or that the network cannot halve.

    Raises
    ------
    VigieError: see above; or ice was nowhere seen.
    """
    settings = settings_of(run).train
    whole = {"y": slice(None), "x": slice(None)}
    scored, multiple = maps.scored(whole), 2 ** (len(settings.network.widths) - 1)
    if settings.windows.size > min(scored.shape) or settings.windows.size % multiple:
        raise VigieError(
            "train.windows.size does not fit",
            found=settings.windows.size,
            expected=f"a multiple of {multiple} up to {min(scored.shape)}, the side of the grid",
            do="correct train.windows.size, or train.network.widths",
        )
    if not scored.any():
        raise VigieError(
            "no cell had ice in train.periods", found=counted(0, "cell"), do="look at the maps, or choose other periods"
        )


def facts(run: Run, days: Sequence[np.datetime64]) -> dict[str, Any]:
    """What the model card tells of the training."""
    settings = settings_of(run).train
    return {
        "experiment": run.experiment.name,
        "learnt_from": f"{len(days)} days from {days[0]} to {days[-1]}",
        "leads_days": settings.leads_days,
        "climatology": "means over 7 days of the year before and after; in training without the year of the sample",
        "seed": run.experiment.seed,
        "limits": [LIMIT],
    }
