"""Training windows: drawn from labelled scenes as a function of seed and step, so that a resumed run sees the same batches."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat
from torch import Tensor
from torch.nn import functional as F

from vigie.core.errors import VigieError, nearest
from vigie.core.legend import Legend
from vigie.core.tiles import Window, window_sizes
from vigie.learn import bands
from vigie.learn.folds import Region, merge
from vigie.learn.inputs import inputs_of
from vigie.learn.patches import Census, LabelledScene, Patch, census, load_patch, read_patch, whole_bytes
from vigie.learn.scaling import RobustScaling

T = TypeVar("T")


@dataclass(frozen=True)
class Batch:
    """Windows of one band set and one label legend.

    x (N, B, H, W) standardised bands; mask (N, 2, H, W) valid and saturated; bands (B, D) descriptors; rows (N, H, W) int64,
    the row of `matrix` that is true, -1 where unknown; matrix (K, C), which leaf classes a label stands for; weight (N, H, W)
    of each pixel in the loss; scenes: where each window comes from.
    """

    x: Tensor
    mask: Tensor
    bands: Tensor
    rows: Tensor
    matrix: Tensor
    weight: Tensor
    scenes: tuple[str, ...]

    def to(self, device: torch.device | str) -> Batch:
        """Copy the tensors to a device, images channels-last."""
        moved = self._each(lambda tensor: tensor.to(device, non_blocking=True))
        x, mask = (tensor.contiguous(memory_format=torch.channels_last) for tensor in (moved.x, moved.mask))
        return replace(moved, x=x, mask=mask)

    def pinned(self) -> Batch:
        """Page-lock the tensors, so that copies to a GPU overlap with its work."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        x, mask, rows, weight = (change(tensor) for tensor in (self.x, self.mask, self.rows, self.weight))
        return replace(self, x=x, mask=mask, rows=rows, weight=weight, bands=change(self.bands), matrix=change(self.matrix))


class WindowSettings(BaseModel):
    """How windows are drawn; band sets are film, four bands, nine bands and the like."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int = Field(default=128, ge=8, description="side of a training window, pixels")
    batch: int = Field(default=8, ge=1, description="windows a step")
    rare_share: float = Field(
        default=0.5, ge=0, le=1, description="share of windows that hold a class with less than its fair share of the labels"
    )
    balance: float = Field(
        default=0.5, ge=0, le=1, description="band sets are drawn as their pixels to this power; 1: as they come, 0: all alike"
    )
    shares: dict[str, PositiveFloat] = Field(
        default_factory=dict,
        description="weights of the windows of sensors, by the sensor's name, on top of balance; 1: of sensors not named",
    )
    edge_px: int = Field(default=0, ge=0, description="labels so near to another label weigh edge_weight, pixels")
    edge_weight: float = Field(default=0.3, ge=0, le=1, description="weight of those labels in the loss")
    cache_gb: float = Field(
        default=4.0, ge=0, description="memory for whole scenes, GB; those that do not fit are read window by window"
    )


@dataclass(frozen=True)
class Place:
    """A rectangle of a scene where training windows may lie, its labels, and its scene's pixels where they fit into memory."""

    scene: LabelledScene
    window: Window
    bands: Tensor
    labels: Census
    whole: Patch | None

    def corners(self, size: int) -> int:
        """Number of windows of a size that fit."""
        y, x = (self.window[d].stop - self.window[d].start - size + 1 for d in ("y", "x"))
        return int(y * x)

    def anywhere(self, random: np.random.Generator, size: int) -> Window:
        """Draw a window, each as likely as another."""
        corner = {d: int(random.integers(self.window[d].start, self.window[d].stop - size + 1)) for d in ("y", "x")}
        return {d: slice(at, at + size) for d, at in corner.items()}

    def around(self, name: str, random: np.random.Generator, size: int) -> Window:
        """Draw a window whose middle half holds a pixel of a label, as far as the rectangle allows."""
        found = self.labels.positions[name]
        window = {}
        for d, pixel in zip(("y", "x"), found[random.integers(len(found))].tolist(), strict=True):
            wish = pixel - size // 2 + int(random.integers(-(size // 4), size // 4 + 1))
            corner = min(max(wish, self.window[d].start), self.window[d].stop - size)
            window[d] = slice(corner, corner + size)
        return window


class WindowSource:
    """Batches of training windows: `source.batch(step)` is a function of the seed and the step alone.

    Parameters
    ----------
    scenes: scenes with labels, in any mixture of sensors; a batch never mixes band sets or label legends.
    regions: where training windows may lie, from `folds.split`.
    legend: leaf classes, the network's channels.
    seed: another one draws other windows.

    Raises
    ------
    VigieError: no window of the asked size fits into the training regions, or no label lies in them; or `settings.shares` names
    a sensor that no scene is of.
    """

    def __init__(
        self,
        scenes: Sequence[LabelledScene],
        regions: Sequence[Region],
        legend: Legend,
        scaling: RobustScaling,
        settings: WindowSettings,
        seed: int = 0,
    ) -> None:
        check_shares(settings.shares, {scene.sensor for scene in scenes})
        self.legend, self.scaling, self.settings, self.seed = legend, scaling, settings, seed
        self.places = _places(scenes, regions, scaling, settings)
        self.groups = _group(place for place in self.places if place.labels.counts)
        if not self.groups:
            raise VigieError(
                "there is nothing to learn from",
                found=f"{len(scenes)} scenes; {len(self.places)} regions with room for a window, none with labels",
                expected=f"labelled pixels in regions of at least {settings.size} x {settings.size} px",
                do="lower windows.size or folds.buffer_px, or add labelled scenes",
            )

    def batch(self, step: int) -> Batch:
        """Draw the batch of a step."""
        random, settings = np.random.default_rng((self.seed, step)), self.settings
        group = self.groups[_choose(random, np.array([self._weight(group) for group in self.groups]))]
        corners, shares = self._corners(group), self._shares(group)
        rare = rare_classes(group[0].scene.labels.names, [place.labels.counts for place in group])
        drawn: list[tuple[Place, Window]] = []
        for _ in range(settings.batch):
            if rare and random.random() < settings.rare_share:
                name = rare[random.integers(len(rare))]
                place = group[_choose(random, np.array([place.labels.counts.get(name, 0.0) for place in group]) * shares)]
                drawn.append((place, place.around(name, random, settings.size)))
            else:
                place = group[_choose(random, corners * shares)]
                drawn.append((place, place.anywhere(random, settings.size)))
        return self._collate(drawn)

    def _weight(self, group: Sequence[Place]) -> float:
        """How often a band set is drawn: its windows to the power of `balance`, times the mean share of a window."""
        corners = self._corners(group)
        return float(corners.sum() ** self.settings.balance * np.average(self._shares(group), weights=corners))

    def _corners(self, group: Sequence[Place]) -> NDArray[np.float64]:
        return np.array([place.corners(self.settings.size) for place in group], dtype=np.float64)

    def _shares(self, group: Sequence[Place]) -> NDArray[np.float64]:
        return np.array([self.settings.shares.get(place.scene.sensor, 1.0) for place in group])

    def _collate(self, drawn: Sequence[tuple[Place, Window]]) -> Batch:
        first, count, size = drawn[0][0], len(drawn), self.settings.size
        x, mask = torch.empty(count, len(first.bands), size, size), torch.empty(count, 2, size, size)
        rows = torch.empty(count, size, size, dtype=torch.int64)
        for i, (place, window) in enumerate(drawn):
            patch = place.whole.cut(window) if place.whole else read_patch(place.scene, window, self.scaling)
            x[i].numpy()[...], mask[i].numpy()[...], rows[i].numpy()[...] = patch.x, patch.mask, patch.rows
        matrix = torch.from_numpy(first.scene.labels.matrix(self.legend))
        weight = edge_weights(rows, self.settings.edge_px, self.settings.edge_weight)
        return Batch(x, mask, first.bands, rows, matrix, weight, tuple(place.scene.id for place, _ in drawn))


def rare_classes(names: Sequence[str], counts: Sequence[Mapping[str, float]]) -> list[str]:
    """Name the classes that hold less than their fair share 1/K of the labelled pixels.

    Examples
    --------
    >>> rare_classes(["land", "ice", "lake"], [{"land": 60, "ice": 39}, {"lake": 1}])
    ['lake']
    """
    total = {name: sum(count.get(name, 0.0) for count in counts) for name in names}
    present = [name for name in names if total[name]]
    return [name for name in present if total[name] * len(present) < sum(total.values())]


def check_shares(shares: Mapping[str, float], sensors: Collection[str]) -> None:
    """Refuse shares of a sensor that is not among those of the labelled scenes."""
    known = sorted(sensors)
    for name in shares:
        if name not in known:
            raise VigieError(
                f"train.windows.shares: no labelled scene is of sensor '{name}'",
                expected=f"of {', '.join(known)}",
                do=nearest(name, known) or "take it out, or correct the name",
            )


def edge_weights(rows: Tensor, edge_px: int, edge_weight: float) -> Tensor:
    """Weigh pixels: 0 where unknown, `edge_weight` within `edge_px` pixels of another label, 1 elsewhere.

    Hand-drawn outlines are off by a pixel or two; what lies there says little.

    Examples
    --------
    >>> edge_weights(torch.tensor([[[0, 0, 0, 1, -1]]]), 1, 0.25)
    tensor([[[1.0000, 1.0000, 0.2500, 0.2500, 0.0000]]])
    """
    known = rows >= 0
    if edge_px == 0:
        return known.float()
    values = rows.float()
    highest = _maximum(torch.where(known, values, float("-inf")), edge_px)
    lowest = -_maximum(torch.where(known, -values, float("-inf")), edge_px)
    return torch.where(highest > lowest, edge_weight, 1.0) * known


def _maximum(values: Tensor, reach: int) -> Tensor:
    """Largest value of the square around each pixel: along lines, then along columns."""
    along = F.max_pool2d(values, (1, 2 * reach + 1), 1, (0, reach))
    return F.max_pool2d(along, (2 * reach + 1, 1), 1, (reach, 0))


def prefetch(items: Iterable[T], depth: int) -> Iterator[T]:
    """Make items ahead in a thread, at most `depth` of them; what fails there is raised here.

    Closing the iterator early stops the thread.

    Examples
    --------
    >>> list(prefetch(range(3), depth=2))
    [0, 1, 2]
    """
    if depth < 1:
        yield from items
        return
    room, stop = threading.Semaphore(depth - 1), threading.Event()
    ready: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def produce() -> None:
        try:
            for item in items:
                ready.put((item, None))
                room.acquire()
                if stop.is_set():
                    return
            ready.put((None, StopIteration()))
        except BaseException as error:
            ready.put((None, error))

    thread = threading.Thread(target=produce, daemon=True, name="prefetch")
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            room.release()
            yield item  # type: ignore[misc]
    finally:
        stop.set()
        room.release()
        thread.join()


def _places(
    scenes: Sequence[LabelledScene], regions: Sequence[Region], scaling: RobustScaling, settings: WindowSettings
) -> list[Place]:
    """Look at every region that has room for a window; scenes stay in memory in the order given while the budget lasts."""
    places: list[Place] = []
    room = settings.cache_gb * 2**30
    for scene in scenes:
        fitting = [w for w in merge([r.window for r in regions if r.scene == scene.id]) if _side(w) >= settings.size]
        if not fitting:
            continue
        corner = scene.read({"y": slice(0, 1), "x": slice(0, 1)})
        described = bands.describe(inputs_of(corner, scaling))
        whole = load_patch(scene, scaling) if whole_bytes(scene, len(described)) <= room else None
        room -= whole.nbytes if whole else 0
        for window in fitting:
            places.append(Place(scene, window, described, census(scene, window, scaling.max_pixels, whole), whole))
    return places


def _side(window: Window) -> int:
    return min(window_sizes(window).values())


def _choose(random: np.random.Generator, weights: NDArray[np.float64]) -> int:
    return int(random.choice(len(weights), p=weights / weights.sum()))


def _group(places: Iterable[Place]) -> list[list[Place]]:
    """Put together the places whose windows may share a batch: same band descriptors, same label legend."""
    groups: dict[tuple[object, ...], list[Place]] = {}
    for place in places:
        key = (tuple(place.bands.shape), place.bands.numpy().tobytes(), place.scene.labels.name)
        groups.setdefault(key, []).append(place)
    return list(groups.values())
