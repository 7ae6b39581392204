"""Folds without leakage: scenes, blocks, regions or sensors are held out, with a buffer around them; never random pixels."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from vigie.core.errors import VigieError, nearest
from vigie.core.tiles import Window

NEVER = -1
"""Fold of what is never held out."""


@dataclass(frozen=True)
class SceneInfo:
    """What folds must know of a scene; `group` names scenes that stay on the same side ('' when a scene stands alone)."""

    id: str
    sizes: Mapping[str, int]
    sensor: str = ""
    region: str = ""
    group: str = ""

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.sizes["y"] * self.sizes["x"]


@dataclass(frozen=True)
class Region:
    """A rectangle of a scene and the fold that tests on it."""

    scene: str
    window: Window
    fold: int


Labels = Callable[[Region], Collection[frozenset[str]]]
"""The labels shown in a region, each as the leaf classes that it stands for: see `patches.labels_shown`."""


class FoldSettings(BaseModel):
    """What is held out together."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by: Literal["scene", "block", "region", "sensor", "none"] = Field(
        default="scene",
        description="what is held out together: scenes of one ground, blocks, a region, a sensor; 'none': nothing is",
    )
    count: int | None = Field(
        default=None, ge=2, description="number of folds; left out, one for each scene, block, region or sensor"
    )
    blocks: tuple[int, int] = Field(default=(2, 2), description="rows and columns of blocks that scenes are cut into")
    always: tuple[str, ...] = Field(
        default=(), description="sensors or regions whose scenes every fold learns from and none is tested on"
    )
    buffer_px: int = Field(
        default=64, ge=0, description="training stays this far from what is held out in the same scene, pixels"
    )


def assign(scenes: Sequence[SceneInfo], settings: FoldSettings) -> list[Region]:
    """Give every part of every scene to the fold that will test on it.

    Scenes of one group are always held out together; under 'block' a group of several scenes, whose blocks could overlap on the
    ground, is one block. Scenes of `settings.always` are in fold -1: never held out.

    Examples
    --------
    >>> scenes = [SceneInfo(name, {"y": 4, "x": 4}, group=group) for name, group in [("a", ""), ("b", "g"), ("c", "g")]]
    >>> [(region.scene, region.fold) for region in assign(scenes, FoldSettings(by="scene"))]
    [('a', 0), ('b', 1), ('c', 1)]
    """
    _check(scenes, settings)
    kept = [scene for scene in scenes if settings.by == "none" or _is_always(scene, settings)]
    learnt = [Region(scene.id, _whole(scene), NEVER) for scene in kept]
    if settings.by == "none":
        return learnt
    units = _units([scene for scene in scenes if scene not in kept], settings)
    parts = [part for unit in units for part in _parts(unit, settings)]
    count = settings.count or (len(units) if settings.by != "block" else max(settings.blocks[0] * settings.blocks[1], 2))
    if len(parts) < max(2, count):
        raise VigieError(
            f"cannot make {max(2, count)} folds by {settings.by}",
            found=f"{len(parts)} part(s) that may be held out: {sorted({unit[0].id for unit in units})}",
            expected="at least as many parts as folds, and two",
            do="hold out by 'block', lower folds.count, or use folds.by = 'none' to learn from everything",
        )
    load = [0] * count
    folds: dict[int, int] = {}
    for number in sorted(range(len(parts)), key=lambda n: (-_pixels(parts[n]), n)):
        folds[number] = load.index(min(load))
        load[folds[number]] += _pixels(parts[number])
    return _renumber([replace(region, fold=folds[n]) for n, part in enumerate(parts) for region in part]) + learnt


def folds_of(regions: Sequence[Region]) -> list[int]:
    """List the folds that something is tested in, in order; none when nothing is ever held out."""
    return sorted({region.fold for region in regions} - {NEVER})


def split(regions: Sequence[Region], fold: int, buffer_px: int = 0) -> tuple[list[Region], list[Region]]:
    """Separate what is learnt from and what is tested on; learning stays `buffer_px` away from testing in the same scene.

    The parts keep their fold, so that a second `split` of the training part makes a validation part. Fold -1 learns from
    everything and tests on nothing.

    Examples
    --------
    >>> halves = [Region("a", {"y": slice(0, 9), "x": slice(0, 9)}, 0), Region("a", {"y": slice(0, 9), "x": slice(9, 18)}, 1)]
    >>> split(halves, 0, buffer_px=2)[0]
    [Region(scene='a', window={'y': slice(0, 9, None), 'x': slice(11, 18, None)}, fold=1)]
    """
    if fold == NEVER:
        return list(regions), []
    test = [region for region in regions if region.fold == fold]
    train = [region for region in regions if region.fold != fold]
    for held in test:
        train = [piece for region in train for piece in _subtract(region, held, buffer_px)]
    if not test or not train:
        raise VigieError(
            f"fold {fold} leaves nothing to {'learn from' if test else 'test on'}",
            found=f"folds {folds_of(regions)}, buffer {buffer_px} px",
            expected="at least one part on either side",
            do="choose another fold, lower folds.buffer_px, or make larger blocks",
        )
    return train, test


def check_classes(regions: Sequence[Region], train: Sequence[Region], labels: Labels) -> None:
    """Refuse a fold whose training part cannot teach to tell classes apart that the scenes tell apart.

    A label stands for one or several leaf classes; two labels that have no leaf in common separate the leaves of one from those
    of the other.

    Parameters
    ----------
    regions, train: all parts, and those that are learnt from.
    labels: the labels shown in a region, each as the leaf classes that it stands for.

    Examples
    --------
    >>> everything = assign([SceneInfo("film", {"y": 9, "x": 9}), SceneInfo("chip", {"y": 9, "x": 9})], FoldSettings())
    >>> shown = {"film": [{"land"}, {"ice", "debris"}], "chip": [{"land", "ice"}, {"debris"}]}
    >>> check_classes(everything, everything[1:], lambda region: [frozenset(leaves) for leaves in shown[region.scene]])
    Traceback (most recent call last):
    ...
    vigie.core.errors.VigieError: a fold's training part lacks a class; found no labels that tell ice from land; ...
    """
    missing = _separated(regions, labels) - _separated(train, labels)
    if missing:
        raise VigieError(
            "a fold's training part lacks a class",
            found=f"no labels that tell {', '.join(sorted(' from '.join(sorted(pair)) for pair in missing))}",
            expected="every two classes that the scenes' labels separate",
            do="hold out smaller parts (folds.by = 'block'), or add a scene that shows the class",
        )


def _separated(regions: Sequence[Region], labels: Labels) -> set[frozenset[str]]:
    shown = {leaves for region in regions for leaves in labels(region)}
    apart = [(one, other) for one in shown for other in shown if not one & other]
    return {frozenset({a, b}) for one, other in apart for a in one for b in other}


def merge(windows: Sequence[Window]) -> list[Window]:
    """Join rectangles that share a whole side, so that training windows may lie across it.

    Examples
    --------
    >>> merge([{"y": slice(0, 4), "x": slice(0, 3)}, {"y": slice(0, 4), "x": slice(3, 9)}])
    [{'y': slice(0, 4, None), 'x': slice(0, 9, None)}]
    """
    left = list(windows)
    for along, across in (("x", "y"), ("y", "x")):
        left.sort(key=lambda w: (w[across].start, w[across].stop, w[along].start))
        joined: list[Window] = []
        for window in left:
            last = joined[-1] if joined else None
            if last is not None and last[across] == window[across] and last[along].stop == window[along].start:
                wider = {along: slice(last[along].start, window[along].stop), across: window[across]}
                joined[-1] = {"y": wider["y"], "x": wider["x"]}
            else:
                joined.append(window)
        left = joined
    return left


def _check(scenes: Sequence[SceneInfo], settings: FoldSettings) -> None:
    ids = [scene.id for scene in scenes]
    twice = sorted({i for i in ids if ids.count(i) > 1})
    nameless = [s.id for s in scenes if settings.by in ("region", "sensor") and not getattr(s, settings.by)]
    if not scenes or twice or nameless or min(settings.blocks) < 1:
        raise VigieError(
            f"scenes cannot be put into folds by {settings.by}",
            found=f"{len(scenes)} scenes, ids used twice {twice}, without a {settings.by} {nameless}, blocks {settings.blocks}",
            expected=f"scenes with an id of their own{' and a ' + settings.by if nameless else ''}, blocks of at least 1 x 1",
            do=f"give every source a {settings.by}, or choose another train.folds.by"
            if nameless
            else "name scenes differently, or correct train.folds.blocks",
        )
    known = sorted({name for scene in scenes for name in (scene.sensor, scene.region) if name})
    for name in settings.always:
        if name not in known:
            raise VigieError(
                f"folds.always: no labelled scene is of '{name}'",
                expected=f"of {', '.join(known)}",
                do=nearest(name, known) or "correct folds.always",
            )
    always = {scene.group: scene.id for scene in scenes if scene.group and _is_always(scene, settings)}
    for scene in scenes:
        if scene.group in always and not _is_always(scene, settings):
            raise VigieError(
                f"scene '{scene.id}' would be tested on ground that every fold learns from",
                found=f"scene '{always[scene.group]}' of folds.always in the same group '{scene.group}'",
                expected="other ground in what is always learnt from",
                do="leave one of them out, or name other sensors or regions in folds.always",
            )


def _is_always(scene: SceneInfo, settings: FoldSettings) -> bool:
    return scene.sensor in settings.always or scene.region in settings.always


def _units(scenes: Sequence[SceneInfo], settings: FoldSettings) -> list[list[SceneInfo]]:
    """Scenes that must be held out together: those that share a key or, through others, a group."""
    key = {"scene": "id", "block": "id", "region": "region", "sensor": "sensor"}[settings.by]
    units: list[tuple[set[str], list[SceneInfo]]] = []
    for scene in scenes:
        marks = {f"key {getattr(scene, key)}"} | ({f"group {scene.group}"} if scene.group else set())
        near = [unit for unit in units if unit[0] & marks]
        far = [unit for unit in units if not unit[0] & marks]
        units = [*far, (marks.union(*(u[0] for u in near)), [*(s for u in near for s in u[1]), scene])]
    order = {scene.id: n for n, scene in enumerate(scenes)}
    return sorted((unit[1] for unit in units), key=lambda unit: order[unit[0].id])


def _parts(unit: Sequence[SceneInfo], settings: FoldSettings) -> list[list[Region]]:
    """Cut a unit into what may be held out on its own."""
    if settings.by != "block" or len(unit) > 1:
        return [[Region(scene.id, _whole(scene), 0) for scene in unit]]
    (scene,), (rows, columns) = unit, settings.blocks
    ys, xs = _cuts(scene.sizes["y"], rows), _cuts(scene.sizes["x"], columns)
    return [[Region(scene.id, {"y": y, "x": x}, 0)] for y in ys for x in xs]


def _cuts(size: int, count: int) -> list[slice]:
    edges = [i * size // count for i in range(count + 1)]
    return [slice(a, b) for a, b in pairwise(edges) if b > a]


def _whole(scene: SceneInfo) -> Window:
    return {"y": slice(0, scene.sizes["y"]), "x": slice(0, scene.sizes["x"])}


def _pixels(part: Sequence[Region]) -> int:
    return sum((r.window["y"].stop - r.window["y"].start) * (r.window["x"].stop - r.window["x"].start) for r in part)


def _renumber(regions: list[Region]) -> list[Region]:
    """Number folds in the order in which scenes first need them, so that equal scenes keep their order."""
    order = {fold: n for n, fold in enumerate(dict.fromkeys(region.fold for region in regions))}
    return [replace(region, fold=order[region.fold]) for region in regions]


def _subtract(region: Region, held: Region, buffer_px: int) -> list[Region]:
    """Cut a held-out rectangle and its buffer out of another, leaving up to four rectangles."""
    if region.scene != held.scene:
        return [region]
    y, x = region.window["y"], region.window["x"]
    top, bottom = max(y.start, held.window["y"].start - buffer_px), min(y.stop, held.window["y"].stop + buffer_px)
    left, right = max(x.start, held.window["x"].start - buffer_px), min(x.stop, held.window["x"].stop + buffer_px)
    if top >= bottom or left >= right:
        return [region]
    middle = slice(top, bottom)
    pieces = [(slice(y.start, top), x), (slice(bottom, y.stop), x)]
    pieces += [(middle, slice(x.start, left)), (middle, slice(right, x.stop))]
    return [replace(region, window={"y": a, "x": b}) for a, b in pieces if a.start < a.stop and b.start < b.stop]
