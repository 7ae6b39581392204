"""Members that a network generates: trained beside a fold's model, alone or around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import Tensor

from vigie.apps.precipitation.material import Material
from vigie.apps.precipitation.settings import GeneratedSettings
from vigie.apps.precipitation.swaths import settings_of
from vigie.learn.fit import Task
from vigie.learn.generative.rain import fit_rain_transform
from vigie.learn.generative.retrieval import GenerativeRetrieval
from vigie.learn.generative.teaching import RainLearner, taught, with_residual
from vigie.learn.retrieval_model import RetrievalModel
from vigie.learn.swaths import RainBatch, SwathSource
from vigie.story.run import Run
from vigie.story.scenes import fold_name
from vigie.story.training import fit_shown

RESIDUAL_BATCHES = 40
"""Batches on which is measured what the reference leaves."""


def generated(
    run: Run, learnt: Material, model: RetrievalModel, settings: GeneratedSettings, fabric: Fabric
) -> GenerativeRetrieval:
    """Train what generates members for one fold; what was finished before is read back.

    Around the fold's model it learns from the groups that this has not learnt from, where it errs as it will elsewhere.
    """
    around = settings.how == "around"
    chosen = learnt.aside if around else learnt.learnt
    source = SwathSource(learnt.parts, chosen, learnt.scaling, settings_of(run).train.windows, run.experiment.seed)
    rain = torch.from_numpy(np.concatenate([part.y[chosen(part)] for part in learnt.parts]))
    transform = fit_rain_transform(rain, torch.Generator().manual_seed(run.experiment.seed), scale_mm_h=settings.scale_mm_h)
    columns = learnt.parts[0].names
    made = GenerativeRetrieval(
        (), settings.method, transform, learnt.inputs, columns, learnt.scaling, model if around else None
    )
    if around:
        made = with_residual(made, (source.batch(step) for step in range(RESIDUAL_BATCHES)))
        for member in model.members:
            member.network.to(fabric.device)
    folder = run.artefact("train") / ".training" / fold_name(learnt.fold)
    networks = []
    for number in range(settings.networks):
        seed = 1000 * run.experiment.seed + number
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            learner = RainLearner(made, made.blank())
        task = Task(learner, own_loss, batches_of(source, seed * settings.fit.steps), None, seed)
        fit_shown(run, task, settings.fit, folder / f"generative-{number:02d}", fabric)
        networks.append(learner.network.cpu().eval())
    for member in model.members:
        member.network.cpu()
    facts = {"experiment": run.experiment.name, "how": settings.how, "seed": run.experiment.seed}
    return replace(made, networks=networks, facts=facts)


def batches_of(source: SwathSource, first: int) -> Callable[[int], RainBatch]:
    """Give the batches of one network, from a number on, as it is taught."""
    return lambda step: taught(source.batch(first + step))


def own_loss(raw: Tensor, batch: RainBatch, progress: float) -> Tensor:
    """Take what the learner gives, which is its loss."""
    return raw
