"""The precipitation `train`: an ensemble for every fold and one on everything, and where each of them doubts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from lightning.fabric import Fabric

from vigie.apps.precipitation.doubt import covering, familiar
from vigie.apps.precipitation.generated import generated
from vigie.apps.precipitation.material import Material, material
from vigie.apps.precipitation.settings import MemberSettings, TrainSettings
from vigie.apps.precipitation.swaths import LabelledSwath, catalogued, labelled, opened, settings_of
from vigie.core.errors import VigieError
from vigie.learn import retrieval
from vigie.learn.fit import FitSettings, Task, connect
from vigie.learn.folds import NEVER
from vigie.learn.hybrid import Phase, pretrain_finetune, source_weights
from vigie.learn.rain_heads.settings import build as head_of
from vigie.learn.rain_lesson import Lesson
from vigie.learn.regimes import regime_names
from vigie.learn.retrieval_inputs import Inputs, View
from vigie.learn.retrieval_model import Member, RetrievalModel
from vigie.learn.robust import GroupRobust
from vigie.learn.swath_folds import folds_in
from vigie.learn.swaths import Footprints, RainBatch, SwathSource, with_target
from vigie.predict.swath import GENERATIVE
from vigie.story.run import Run
from vigie.story.scenes import fold_name
from vigie.story.training import fit_shown

LIMIT = "Scores hold for climates, surfaces and sensors like those of the training swaths: look at quality_flag elsewhere."


def train(run: Run) -> None:
    """Fit the models of all folds and leave them in `model/`."""
    settings = settings_of(run).train
    swaths = labelled(run)
    check_retrievable(run, swaths)
    check_sources(settings, swaths)
    folds = folds_in([swath.fold for swath in swaths])
    fabric = connect(settings.fit)
    for fold in [*folds, *([NEVER] if settings.final or not folds else [])]:
        taught = material(run, swaths, fold)
        model = fitted(run, taught, fabric)
        drawing = generated(run, taught, model, settings.generative, fabric) if settings.generative else None
        if fabric.global_rank == 0:
            model.facts = facts(run, swaths, fold, model)
            model.save(run.artefact("train") / fold_name(fold))
            if drawing:
                drawing.save(run.artefact("train") / fold_name(fold) / GENERATIVE)
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
        compared = [name for group in settings.familiar.compared for name in group]
        needed = dict.fromkeys([*Inputs((), settings.seen.ancillary, settings.seen.layers).needed(), *compared])
        lacking = [name for name in needed if name not in opened(run, granule).dataset]
        if lacking:
            raise VigieError(
                f"swath '{granule.id}' lacks ancillary fields",
                found=f"no {', '.join(lacking)}",
                expected=f"all that layers, ancillary and familiar.compared of [train] need: {', '.join(needed)}",
                do="correct these, or leave the swath out",
            )


def check_sources(settings: TrainSettings, swaths: Sequence[LabelledSwath]) -> None:
    """Refuse hybrid training without labels of both origins.

    Raises
    ------
    VigieError: see above.
    """
    observed, there = set(settings.hybrid.observed), {swath.granule.label_source for swath in swaths}
    if observed and (not observed & there or not there - observed):
        raise VigieError(
            "hybrid training needs observed and simulated labels",
            found=f"labels of {', '.join(sorted(there))}; observed: {', '.join(sorted(observed))}",
            expected="swaths of both",
            do="correct train.hybrid.observed, or add swaths to [[acquire.sources]]",
        )


def fitted(run: Run, learnt: Material, fabric: Fabric) -> RetrievalModel:
    """Train the members of one fold's model; what was finished before is read back."""
    settings = settings_of(run).train
    members: list[Member] = []
    for kind in settings.kinds:
        members += [member_of(run, learnt, kind, number, fabric) for number in range(len(members), len(members) + kind.members)]
    model = RetrievalModel(members, learnt.inputs, learnt.scaling)
    model.familiar, model.rows = familiar(run, learnt, settings.familiar, model)
    model.covering = covering(model, learnt, settings)
    return model


def member_of(run: Run, learnt: Material, kind: MemberSettings, number: int, fabric: Fabric) -> Member:
    """Train one member, in one phase or, first on simulated labels and then on observed ones, in two."""
    settings = settings_of(run).train
    head, seed = head_of(kind.head), 1000 * run.experiment.seed + number
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        seen = learnt.parts[0].bands[kind.view.columns(learnt.parts[0].names)]
        network = retrieval.build(kind.network, head.channels, seen)
        lesson = Lesson(network, head, robust_of(settings), settings.adapt)
    folder = run.artefact("train") / ".training" / fold_name(learnt.fold) / f"member-{number:02d}"
    for phase in phases(settings, learnt, kind.fit):
        taught = phase_source(settings, learnt, phase, kind.view, run.experiment.seed)
        batches = batches_of(taught, other(settings, learnt, kind.view), seed * kind.fit.steps)
        fit_shown(run, Task(lesson, lesson.loss, batches, None, seed), phase.settings, folder / phase.name, fabric)
    return Member(lesson.network.cpu().eval(), kind.network, kind.head, kind.view)


def robust_of(settings: TrainSettings) -> GroupRobust | None:
    """Give what weighs regimes, where they are minded."""
    if settings.robust.method == "none":
        return None
    return GroupRobust(len(regime_names(settings.regimes)), settings.robust.rate)


def phases(settings: TrainSettings, learnt: Material, fit: FitSettings) -> list[Phase]:
    """Split a training into phases, each with the share of weight of every label source; an empty share weighs rows alike."""
    hybrid, sources = settings.hybrid, sorted({part.source for part in learnt.parts})
    made_up = [name for name in sources if name not in hybrid.observed]
    if not hybrid.observed:
        return [Phase("all", {}, fit)]
    if hybrid.method == "pretrain":
        return list(pretrain_finetune(fit, made_up, list(hybrid.observed), hybrid.pretrain_share, hybrid.gentler))
    shares = {name: hybrid.simulated_share / len(made_up) for name in made_up}
    real = [name for name in sources if name in hybrid.observed]
    return [Phase("together", {**shares, **{name: (1 - hybrid.simulated_share) / len(real) for name in real}}, fit)]


def phase_source(settings: TrainSettings, learnt: Material, phase: Phase, view: View, seed: int) -> SwathSource:
    """Draw samples of the sources of a phase, each row weighed so that a source has its share."""
    rows = {name: sum(int(learnt.learnt(p).sum()) for p in learnt.parts if p.source == name) for name in phase.shares}
    weights = source_weights(rows, phase.shares) if phase.shares else {}

    def weigh(part: Footprints) -> float:
        return weights.get(part.source, 0.0) if weights else 1.0

    return SwathSource(learnt.parts, learnt.learnt, learnt.scaling, settings.windows, seed, weigh, view)


def other(settings: TrainSettings, learnt: Material, view: View) -> SwathSource | None:
    """Draw samples of what is adapted to, where features are adapted."""
    if not settings.adapt.deep:
        return None
    return SwathSource(learnt.others, lambda part: np.isfinite(part.y), learnt.scaling, settings.windows, view=view)


def batches_of(source: SwathSource, other: SwathSource | None, first: int) -> Callable[[int], RainBatch]:
    """Give the batches of one member, from a number on: every seed has its own."""

    def batch(step: int) -> RainBatch:
        drawn = source.batch(first + step)
        return with_target(drawn, other.batch(first + step)) if other else drawn

    return batch


def facts(run: Run, swaths: Sequence[LabelledSwath], fold: int, model: RetrievalModel) -> dict[str, object]:
    """What the model card tells of the training."""
    settings = settings_of(run).train
    learnt = [swath for swath in swaths if fold < 0 or (swath.fold != fold).any()]
    heads = {member.head.name: member.head for member in model.members}
    return {
        "experiment": run.experiment.name,
        "origin": {"app": run.experiment.app, "predict": settings_of(run).predict.model_dump(mode="json")},
        "learnt_from": {one.granule.id: f"labels of {one.granule.label_source}" for one in learnt},
        "label_sources": sorted({one.granule.label_source for one in learnt}),
        "calibration": "every fifth orbit or day, not learnt from" if settings.sets_aside else "none",
        "generative": settings.generative.model_dump(mode="json") if settings.generative else "no",
        "held_out": settings.folds.model_dump(mode="json") if fold != NEVER else "nothing",
        "loss": {name: {"proper": head.proper, "why": head.why} for name, head in heads.items()},
        "hybrid": settings.hybrid.model_dump(mode="json") if settings.hybrid.observed else "no",
        "robust": settings.robust.method,
        "adapted": settings.adapt.method,
        "seed": run.experiment.seed,
        "limits": [LIMIT],
    }
