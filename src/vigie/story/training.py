"""The default `train`: one model for every fold and one on everything, calibrated on what models had not seen."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from math import lcm, prod
from pathlib import Path

import numpy as np
import torch
from lightning.fabric import Fabric

from vigie.core.errors import counted
from vigie.core.tiles import Window, tiles, window_sizes
from vigie.learn import networks
from vigie.learn.augment import augment, radiometry
from vigie.learn.bands import describe
from vigie.learn.calibration import EVERY_SENSOR, Calibration, LogitSample, fit_calibrations
from vigie.learn.fit import B, FitSettings, Task, connect, fit
from vigie.learn.folds import NEVER, Region, check_classes, folds_of, split
from vigie.learn.forest import Forest
from vigie.learn.heads import ClassHead, Head
from vigie.learn.inputs import inputs_of
from vigie.learn.losses import build_loss
from vigie.learn.model import Model
from vigie.learn.networks import FOREST, NetworkSettings
from vigie.learn.patches import LabelledScene, labels_shown, read_patch
from vigie.learn.windows import Batch, WindowSource
from vigie.story.run import Run, log
from vigie.story.scenes import Classes, catalogued, fold_name, labelled, regions_of, settings_of, weight_files
from vigie.story.settings import TrainSettings

SET_ASIDE = 5
"""One scene of so many is set aside for validation, where training may stop early."""
VALIDATION_BATCHES = 8
"""Batches that a validation looks at."""
GROWING_BATCHES = 32
"""Batches whose pixels a forest grows on."""
LIMIT = "Scores hold for regions, seasons and sensors like those of the training scenes; test elsewhere before use."
"""What every model card says, whatever is mapped."""


@dataclass(frozen=True)
class Lesson:
    """What one fold's model learns from and is held against."""

    fold: int
    learn: Sequence[Region]
    held_out: Sequence[Region]


Teach = Callable[[LabelledScene], list[LabelledScene]]
"""Turns a labelled scene into those that are learnt from, for instance with a second set of labels."""


def as_labelled(scene: LabelledScene) -> list[LabelledScene]:
    """Learn from a scene's own labels."""
    return [scene]


def train(run: Run, classes: Classes, teach: Teach = as_labelled) -> None:
    """Fit the models of all folds, calibrate them, and leave them in `model/`."""
    run.note_files("train", [path for path in weight_files(run) if path.is_file()])
    settings = settings_of(run).train
    scenes = labelled(run, classes, settings.scaling)
    lectures, fabric = [taught for scene in scenes for taught in teach(scene)], connect(settings.fit)
    trained = {lesson.fold: (lesson, fit_members(run, classes, lectures, lesson, fabric)) for lesson in lessons(run, settings)}
    if fabric.global_rank > 0:
        # With several devices every process has come here by itself. The first goes on; the others were there to learn.
        raise SystemExit(0)
    samples = {fold: held_out_logits(run, model, lesson, scenes, fabric.device) for fold, (lesson, model) in trained.items()}
    for fold, (lesson, model) in trained.items():
        model.calibration = calibrations(run, [sample for other, sample in samples.items() if other != fold])
        model.facts = facts(run, classes, scenes, lesson, model)
        model.save(run.artefact("train") / fold_name(fold))


def lessons(run: Run, settings: TrainSettings) -> Iterator[Lesson]:
    """Say for each fold what is learnt from and what is held out."""
    regions = regions_of(run, settings.folds)
    for fold in folds_of(regions):
        learn, held_out = split(regions, fold, settings.folds.buffer_px)
        yield Lesson(fold, learn, held_out)
    if settings.final or not folds_of(regions):
        yield Lesson(NEVER, regions, [])


def fit_members(run: Run, classes: Classes, scenes: Sequence[LabelledScene], lesson: Lesson, fabric: Fabric) -> Model:
    """Train the ensemble of one fold; what was finished before is read back."""
    settings = settings_of(run).train
    learn, held_back = set_aside(run, lesson.learn)
    by_id = {scene.id: scene for scene in reversed(scenes)}
    check_classes(
        [*lesson.learn, *lesson.held_out],
        learn,
        lambda region: labels_shown(by_id[region.scene], region.window, settings.scaling.max_pixels),
    )

    def windows(regions: Sequence[Region]) -> WindowSource:
        return WindowSource(scenes, regions, classes.legend, settings.scaling, settings.windows, run.experiment.seed)

    head, source = ClassHead(classes.legend, build_loss(settings.loss)), windows(learn)
    validate = validation(head, windows(held_back), fabric) if held_back else None
    members: dict[int, torch.nn.Module] = {}
    # Forests first: what they cannot learn from they refuse before networks have learnt for hours.
    for member, kind in sorted(enumerate(settings.networks), key=lambda numbered: numbered[1].name != FOREST):
        seed = 1000 * run.experiment.seed + member
        network = begun(kind, head.channels, seed)
        folder = run.artefact("train") / ".training" / fold_name(lesson.fold) / f"member-{member:02d}"
        if isinstance(network, Forest):
            grow_one(network, source, settings, seed, folder)
        else:
            task = Task(network, head.loss, partial(drawn, settings, source, seed), validate, seed)
            fit_one(run, task, folder, fabric)
        # A GPU holds the one that is trained, not the finished ones of all folds.
        members[member] = network.cpu().eval()
    return Model([members[number] for number in sorted(members)], settings.networks, classes.legend, settings.scaling)


def begun(kind: NetworkSettings, classes: int, seed: int) -> networks.SegmentationNetwork | Forest:
    """Make a network whose first weights depend on the seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return networks.build(kind, classes)


def drawn(settings: TrainSettings, source: WindowSource, seed: int, step: int) -> Batch:
    """Draw and augment the batch of a step; every seed has its own."""
    number = step + seed * settings.fit.steps * settings.fit.devices
    return augment(source.batch(number), settings.augment, torch.Generator().manual_seed(number))


def fit_one(run: Run, task: Task[Batch], folder: Path, fabric: Fabric) -> None:
    """Train one network as the settings say."""
    fit_shown(run, task, settings_of(run).train.fit, folder, fabric)


def fit_shown(run: Run, task: Task[B], settings: FitSettings, folder: Path, fabric: Fabric) -> None:
    """Train one network, showing and logging how it goes."""
    title, started = f"train {folder.parent.name}/{folder.name}", time.monotonic()
    with run.progress.task(title, settings.steps) as advance:
        steps = [0]

        def report(told: Mapping[str, float]) -> None:
            advance(int(told["step"]) - steps[-1], f"loss {told['loss']:.3f}")
            steps.append(int(told["step"]))

        fitted = fit(task, settings, folder, fabric, report)
    log.info("%s: %s, %.1f s, in %s", title, counted(fitted.steps, "step"), time.monotonic() - started, folder)


def grow_one(forest: Forest, source: WindowSource, settings: TrainSettings, seed: int, folder: Path) -> None:
    """Grow a forest on windows half of which are under another light: without these, another season leaves it nothing.

    The other half is as it is: trees cut sharply, and all they know of an unaltered scene they know from there.
    """
    started, steps = time.monotonic(), settings.fit.steps
    # One light a window: what varies across it would blur what the surroundings of a pixel tell.
    light = settings.augment.model_copy(update={"haze": 0.0, "noise": 0.0})

    def grown_on(step: int) -> Batch:
        number = step + seed * steps
        batch = source.batch(number)
        return radiometry(batch, light, torch.Generator().manual_seed(number)) if step % 2 else batch

    forest.grow(grown_on, min(GROWING_BATCHES, steps), seed)
    log.info("train %s/%s: a forest, %.1f s", folder.parent.name, folder.name, time.monotonic() - started)


def set_aside(run: Run, learn: Sequence[Region]) -> tuple[Sequence[Region], Sequence[Region]]:
    """Keep a fifth of what is learnt from to tell when to stop: whole scenes, or a block where there is but one.

    Without `train.fit.patience` everything is learnt from.
    """
    settings = settings_of(run).train
    if not settings.fit.patience:
        return learn, []
    unit = {scene.id: scene.group or scene.id for scene in catalogued(run)}
    order = list(dict.fromkeys(unit[region.scene] for region in learn))
    if len(order) > 1:
        parts = [replace(region, fold=order.index(unit[region.scene]) % SET_ASIDE) for region in learn]
    else:
        largest = max(learn, key=lambda region: prod(window_sizes(region.window).values()))
        rest = [replace(region, fold=1) for region in learn if region is not largest]
        parts = [*block(largest, settings.windows.size), *rest]
    return split(parts, 0, settings.folds.buffer_px)


def block(region: Region, size: int) -> list[Region]:
    """Cut a fifth off the longer side of a region, at least `size` pixels: folds 0 and 1."""
    sizes = window_sizes(region.window)
    side = max(sizes, key=lambda d: sizes[d])
    start, stop = region.window[side].start, region.window[side].stop
    cut = min(stop, start + max(sizes[side] // SET_ASIDE, size))
    pieces = [slice(start, cut), slice(cut, stop)]
    return [replace(region, window={**region.window, side: piece}, fold=n) for n, piece in enumerate(pieces)]


def validation(head: Head, source: WindowSource, fabric: Fabric) -> Callable[[torch.nn.Module], float]:
    """Score networks by their loss on the same windows every time, turned over: higher is better."""
    batches = [source.batch(number).to(fabric.device) for number in range(VALIDATION_BATCHES)]

    def validate(network: torch.nn.Module) -> float:
        losses = [float(head.loss(network(batch.x, batch.mask, batch.bands), batch, 1.0)) for batch in batches]
        return -sum(losses) / len(losses)

    return validate


@contextmanager
def lent(model: Model, device: torch.device) -> Iterator[None]:
    """Have a model on a device while it works, and on the CPU again afterwards."""
    try:
        for member in model.members:
            member.to(device)
        yield
    finally:
        for member in model.members:
            member.cpu()


def held_out_logits(
    run: Run, model: Model, lesson: Lesson, scenes: Sequence[LabelledScene], device: torch.device
) -> LogitSample:
    """Sample the logits of a model where it has not learnt, on patches of the side that it predicts on; it works on `device`.

    Patches lie side by side and are smaller at a region's end: the overlaps that prediction blends are left out.
    """
    side = settings_of(run).predict.patch
    sample = LogitSample(limit=50_000, seed=run.experiment.seed)
    sensors = {scene.id: scene.sensor for scene in catalogued(run)}
    by_id = {scene.id: scene for scene in scenes}
    with lent(model, device):
        for region in lesson.held_out:
            scene = by_id[region.scene]
            for window in calibration_windows(region.window, model, side):
                patch = read_patch(scene, window, model.scaling)
                bands = source_bands(scene, window, model)
                logits = model.logits(torch.from_numpy(patch.x)[None], torch.from_numpy(patch.mask)[None], bands)
                rows = patch.rows.astype(np.int64)
                matrix = torch.from_numpy(scene.labels.matrix(model.legend))
                sample.add(sensors[scene.id], logits, torch.from_numpy(rows)[None], matrix)
    return sample


def calibration_windows(region: Window, model: Model, side: int) -> list[Window]:
    """Cut a region into windows of a side, smaller ones at its end, all of whose sides the members accept."""
    multiple = lcm(*(int(getattr(member, "multiple", 1)) for member in model.members))
    usable = {d: n - n % multiple for d, n in window_sizes(region).items()}
    if not all(usable.values()):
        return []
    step = {d: max(multiple, min(side, n) // multiple * multiple) for d, n in usable.items()}
    return [
        {d: slice(part.start + region[d].start, part.stop + region[d].start) for d, part in tile.keep.items()}
        for tile in tiles(usable, step)
    ]


def source_bands(scene: LabelledScene, window: Window, model: Model) -> torch.Tensor:
    """Describe the bands of a scene for the network."""
    data = scene.read({d: slice(part.start, part.start + 1) for d, part in window.items()})
    return describe(inputs_of(data, model.scaling))


def calibrations(run: Run, samples: Sequence[LogitSample]) -> Mapping[str, Calibration]:
    """Fit calibrations by sensor on the held-out logits of other folds; none where these say too little."""
    if settings_of(run).train.calibrate == "none":
        return {EVERY_SENSOR: Calibration()}
    found = fit_calibrations(samples)
    if not found:
        log.warning("train: too few held-out labels of other folds, or of one class alone: probabilities are not calibrated")
    return found or {EVERY_SENSOR: Calibration()}


def facts(run: Run, classes: Classes, scenes: Sequence[LabelledScene], lesson: Lesson, model: Model) -> dict[str, object]:
    """What the model card tells of the training."""
    learnt = sorted({region.scene for region in lesson.learn})
    held = sorted({region.scene for region in lesson.held_out})
    used = {scene.id: scene for scene in catalogued(run)}
    recipe = run.experiment.model_dump(mode="json")
    return {
        "experiment": run.experiment.name,
        "origin": {key: recipe[key] for key in ("app", "harmonize", "predict")},
        "sensors": sorted({used[name].sensor for name in learnt}),
        "bands": sorted({band.name for name in learnt for band in used[name].bands}),
        "labels": sorted({scene.labels.name for scene in scenes}),
        "trained_on": learnt,
        "held_out": held,
        "encoder_weights": sorted({getattr(member, "provenance", "") for member in model.members}),
        "seed": run.experiment.seed,
        "limits": [LIMIT, *classes.limits],
    }
