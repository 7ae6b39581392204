"""The precipitation `train`: an ensemble for every fold and one on everything, and what is familiar to each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from vigie.apps.precipitation.swaths import LabelledSwath, catalogued, labelled, opened, settings_of
from vigie.core.errors import VigieError
from vigie.learn import retrieval
from vigie.learn.fit import Task, connect
from vigie.learn.folds import NEVER
from vigie.learn.rain_heads.head import RainHead
from vigie.learn.rain_heads.settings import build as head_of
from vigie.learn.retrieval_model import Familiar, RetrievalModel, chosen_channels
from vigie.learn.swath_folds import folds_in
from vigie.learn.swaths import (
    Footprints,
    RainBatch,
    SwathSource,
    footprints,
    learnt_from,
    measure,
    standardised,
)
from vigie.story.run import Run, log
from vigie.story.scenes import fold_name
from vigie.story.training import fit_shown
from vigie.verify.drift import alarm_threshold, fit_mahalanobis

CALIBRATION_SHARE = 5
"""One group in so many calibrates the distance beyond which pixels are flagged; the others tell what is familiar."""
LIMIT = "Scores hold for climates, surfaces and sensors like those of the training swaths: look at quality_flag elsewhere."


def train(run: Run) -> None:
    """Fit the models of all folds and leave them in `model/`."""
    settings = settings_of(run).train
    swaths = labelled(run)
    check_retrievable(run, swaths)
    parts = footprints_of(run, swaths)
    folds = folds_in([part.fold for part in parts])
    fabric = connect(settings.fit)
    for fold in [*folds, *([NEVER] if settings.final or not folds else [])]:
        model = fitted(run, parts, fold, fabric)
        if fabric.global_rank == 0:
            model.save(run.artefact("train") / fold_name(fold))
    if fabric.global_rank > 0:
        # With several devices every process has come here by itself. The first goes on; the others were there to learn.
        raise SystemExit(0)


def check_retrievable(run: Run, swaths: Sequence[LabelledSwath]) -> None:
    """Refuse swaths that no model would retrieve, and those that lack ancillary fields.

    Raises
    ------
    VigieError: see above.
    """
    settings = settings_of(run).train
    folds = {swath.granule.id: folds_in([swath.fold]) for swath in swaths}
    left = [granule.id for granule in catalogued(run) if not folds.get(granule.id)]
    if left and not settings.final and any(folds.values()):
        raise VigieError(
            "no model would retrieve some swaths",
            found=f"train.final = false, and no fold holds out {', '.join(left)}",
            expected="folds that hold out a part of every swath, or a model trained on everything",
            do="set train.final = true, or leave these swaths out",
        )
    for granule in catalogued(run):
        lacking = [name for name in settings.ancillary if name not in opened(run, granule).dataset]
        if lacking:
            raise VigieError(
                f"swath '{granule.id}' lacks ancillary fields",
                found=f"no {', '.join(lacking)}",
                expected=f"all of train.ancillary: {', '.join(settings.ancillary)}",
                do="correct train.ancillary, or leave the swath out",
            )


def footprints_of(run: Run, swaths: Sequence[LabelledSwath]) -> list[Footprints]:
    """Take of labelled swaths what is learnt from: the chosen channels and ancillary fields."""
    settings = settings_of(run).train
    names = channels_of(swaths, settings.channels)
    return [footprints(swath.data, names, settings.ancillary, swath.fold) for swath in swaths]


def channels_of(swaths: Sequence[LabelledSwath], wanted: Sequence[str]) -> tuple[str, ...]:
    """Name the channels that are learnt from: those that every labelled swath has."""
    first, *others = [tuple(map(str, swath.data["channel"].values)) for swath in swaths]
    there = tuple(name for name in first if all(name in other for other in others))
    return chosen_channels(there, wanted)


def fitted(run: Run, parts: Sequence[Footprints], fold: int, fabric: Fabric) -> RetrievalModel:
    """Train the ensemble of one fold; what was finished before is read back."""
    settings = settings_of(run).train
    scaling = measure(parts, lambda part: learnt_from(part, fold))
    head = head_of(settings.head)
    source = SwathSource(parts, fold, scaling, settings.windows, run.experiment.seed)
    members: list[nn.Module] = []
    for number in range(settings.members):
        seed = 1000 * run.experiment.seed + number
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = retrieval.build(settings.network, head.channels)
        folder = run.artefact("train") / ".training" / fold_name(fold) / f"member-{number:02d}"
        task = Task(network, loss_of(head), Drawn(source, seed, settings.fit.steps), None, seed)
        fit_shown(run, task, settings.fit, folder, fabric)
        members.append(network.cpu().eval())
    names = parts[0].names[: len(parts[0].names) - len(settings.ancillary)]
    model = RetrievalModel(members, settings.network, settings.head, names, settings.ancillary, scaling)
    model.familiar = familiar(run, parts, fold, model)
    model.facts = facts(run, parts, fold, head)
    return model


class Drawn:
    """Batches of one member: every seed has its own."""

    def __init__(self, source: SwathSource, seed: int, steps: int) -> None:
        self.source, self.first = source, seed * steps

    def __call__(self, step: int) -> RainBatch:
        """Draw the batch of a step."""
        return self.source.batch(self.first + step)


def loss_of(head: RainHead) -> Callable[[Tensor, RainBatch, float], Tensor]:
    """Give the loss of a head as the training loop asks for it."""

    def loss(raw: Tensor, batch: RainBatch, progress: float) -> Tensor:
        return head.loss(raw, batch.y, batch.weight)

    return loss


def familiar(run: Run, parts: Sequence[Footprints], fold: int, model: RetrievalModel) -> Familiar | None:
    """Measure what was learnt from: mean and covariance on most groups of pixels, the threshold on the others.

    None, and told, where too few pixels have all channels.
    """
    settings = settings_of(run).train.familiar
    rows = np.concatenate([standardised(part.x[learnt_from(part, fold)], part.names, model.scaling).numpy() for part in parts])
    rows = rows[np.isfinite(rows).all(axis=1)]
    # Rows of one place lie together: every fifth stretch of a hundred calibrates.
    calibrating = (np.arange(len(rows)) // 100) % CALIBRATION_SHARE == 0
    try:
        known = fit_mahalanobis(rows[~calibrating], settings.shrinkage)
        threshold = alarm_threshold(known.score(rows[calibrating]), settings.false_alarm_rate)
    except VigieError as error:
        log.warning("train %s: nothing will be flagged as out of distribution: %s", fold_name(fold), error)
        return None
    return Familiar(
        mean=tuple(known.mean.tolist()),
        precision=tuple(map(tuple, known.precision.tolist())),
        threshold=threshold,
        false_alarm_rate=settings.false_alarm_rate,
    )


def facts(run: Run, parts: Sequence[Footprints], fold: int, head: RainHead) -> dict[str, object]:
    """What the model card tells of the training."""
    learnt = {part.id: int(learnt_from(part, fold).sum()) for part in parts}
    sources = {swath.granule.id: swath.granule.label_source for swath in labelled(run)}
    return {
        "experiment": run.experiment.name,
        "learnt_from": {name: f"{count} footprints, labels of {sources[name]}" for name, count in learnt.items() if count},
        "held_out": settings_of(run).train.folds.model_dump(mode="json") if fold != NEVER else "nothing",
        "loss": {"proper": head.proper, "why": head.why},
        "seed": run.experiment.seed,
        "limits": [LIMIT],
    }
