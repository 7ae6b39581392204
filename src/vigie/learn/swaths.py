"""Training samples of swaths: single footprints or windows of a scan, as a function of seed and step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, TypeVar

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from vigie.core.errors import VigieError
from vigie.core.swath import FLAGS, PHASES
from vigie.learn.regimes import EVERYWHERE, RegimeSettings, regimes
from vigie.learn.retrieval_inputs import Inputs, View

Floats = NDArray[np.float32]
Choice = Callable[["Footprints"], NDArray[np.bool_]]
"""Chooses pixels (scan, pixel) of a swath."""
NEAREST_OCTAVES = 0.3
"""A channel that was not learnt from is standardised like the nearest one of its polarisation, if it is as near as this:
85.5 GHz like 89 GHz (0.06 octaves), 19.35 GHz like 18.7 GHz (0.05)."""


class ChannelScaling(BaseModel):
    """Means and standard deviations of the channels, K, and ancillary fields that were learnt from, by name.

    Temperatures are absolute: unlike images of unknown calibration they are not standardised scene by scene.

    Examples
    --------
    >>> ChannelScaling(mean={"89.00V": 250.0}, deviation={"89.00V": 20.0}).of(["85.50V"]).tolist()
    [[250.0, 20.0]]
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    mean: Mapping[str, float] = Field(description="mean of each channel, K, and ancillary field")
    deviation: Mapping[str, float] = Field(description="their standard deviations")

    def of(self, names: Sequence[str]) -> NDArray[np.float64]:
        """Find mean and deviation of channels (B, 2), those of the nearest known one where a name is new.

        Raises
        ------
        VigieError: no known channel is near one of them.
        """
        found = [name if name in self.mean else self._nearest(name) for name in names]
        return np.array([(self.mean[name], self.deviation[name]) for name in found])

    def known(self, names: Sequence[str]) -> list[str]:
        """Keep the channels that were learnt from, or that lie near one that was."""
        return [name for name in names if name in self.mean or self._apart(name)[1] <= NEAREST_OCTAVES]

    def _nearest(self, name: str) -> str:
        nearest, octaves = self._apart(name)
        if octaves > NEAREST_OCTAVES:
            raise VigieError(
                f"the model knows no channel like {name}",
                found=f"nearest: {nearest or 'none of its polarisation'}",
                expected=f"one of {', '.join(self.mean)}, or within {NEAREST_OCTAVES} octaves of one",
                do="leave the channel out, or train on a sensor that has it",
            )
        return nearest

    def _apart(self, name: str) -> tuple[str, float]:
        """The nearest channel of the same polarisation, and how far it is, in octaves."""
        frequency, polarisation = _parsed(name)
        known = {other: _parsed(other) for other in self.mean}
        apart = {
            other: abs(np.log2(frequency / f))
            for other, (f, p) in known.items()
            if p == polarisation and isfinite(f) and isfinite(frequency)
        }
        nearest = min(apart, key=lambda other: apart[other], default="")
        return nearest, float(apart.get(nearest, float("inf")))


def _parsed(name: str) -> tuple[float, str]:
    """Frequency and polarisation of a channel's name, NaN for what is no channel."""
    head, polarisation = (name[:-1], name[-1]) if name[-1:] in ("V", "H") else (name, "")
    try:
        return float(head.partition("+-")[0]), polarisation
    except ValueError:
        return float("nan"), polarisation


@dataclass(frozen=True)
class Footprints:
    """A swath as arrays: what is shown of it, and what is known of its rain.

    x (scan, pixel, B), NaN where missing; temperature (scan, pixel, C) K, of the channels alone; y (scan, pixel) mm h-1, NaN
    where unknown; dry (scan, pixel), known to be without rain; trusted (scan, pixel), not what its product calls suspect; fold
    (scan, pixel), what tests on it; names and descriptors (B, D) of what x holds; source, where its labels come from; group
    (scan, pixel), the regime of each pixel (`vigie.learn.regimes`); unit (scan,), the orbit or day that belongs together.
    """

    id: str
    sensor: str
    source: str
    x: Floats
    temperature: Floats
    y: Floats
    dry: NDArray[np.bool_]
    trusted: NDArray[np.bool_]
    fold: NDArray[np.int16]
    group: NDArray[np.int16]
    unit: NDArray[np.str_]
    names: tuple[str, ...]
    bands: Tensor


def footprints(swath: xr.Dataset, inputs: Inputs, fold: NDArray[np.int16], groups: RegimeSettings = EVERYWHERE) -> Footprints:
    """Take of a loaded swath what a network is shown; pixels that its product calls suspect teach nothing."""
    table = inputs.of(swath)
    y = swath["truth"].values.astype(np.float32) if "truth" in swath else np.full(fold.shape, np.nan, dtype=np.float32)
    return Footprints(
        id=str(swath.attrs["swath"]),
        sensor=str(swath.attrs["sensor"]),
        source=str(swath.attrs.get("label_source", "")),
        x=table.x,
        temperature=swath["brightness_temperature"].sel(channel=list(inputs.channels)).values,
        y=y,
        dry=without_rain(swath),
        trusted=trusted(swath),
        fold=fold,
        group=regimes(swath, groups),
        unit=swath["group"].values.astype(np.str_),
        names=table.names,
        bands=table.bands,
    )


def trusted(swath: xr.Dataset) -> NDArray[np.bool_]:
    """Say which pixels (scan, pixel) are not what the product calls suspect."""
    return np.asarray((swath["flags"].values & np.uint8(FLAGS["suspect"])) == 0)


def without_rain(swath: xr.Dataset) -> NDArray[np.bool_]:
    """Say which pixels (scan, pixel) are known to be dry: by their rain rate, or by what falls."""
    dry = np.zeros(swath["latitude"].shape, dtype=bool)
    if "truth" in swath:
        dry |= swath["truth"].values == 0
    if "phase" in swath:
        dry |= (swath["phase"].values == PHASES.index("none")) & ~(swath["truth"].values > 0 if "truth" in swath else dry)
    return dry


def measure(parts: Sequence[Footprints], learnt: Choice) -> ChannelScaling:
    """Measure the means and deviations of all channels over the pixels that are learnt from.

    Raises
    ------
    VigieError: a channel has fewer than two values there, or only one.
    """
    sums: dict[str, NDArray[np.float64]] = {}
    for part in parts:
        chosen = part.x[learnt(part)].astype(np.float64)
        for number, name in enumerate(part.names):
            values = chosen[:, number][np.isfinite(chosen[:, number])]
            sums[name] = sums.get(name, np.zeros(3)) + np.array([values.size, values.sum(), (values**2).sum()])
    mean, deviation = {}, {}
    for name, (count, total, squares) in sums.items():
        spread = squares / count - (total / count) ** 2 if count > 1 else 0.0
        if spread <= 1e-6:
            raise VigieError(
                f"channel {name} says nothing where it is learnt from",
                found=f"{int(count)} values, variance {spread:.2g} K2",
                expected="at least two different temperatures",
                do="leave the channel out of train.channels",
            )
        mean[name], deviation[name] = float(total / count), float(np.sqrt(spread))
    return ChannelScaling(mean=mean, deviation=deviation)


def standardised(x: Floats, names: Sequence[str], scaling: ChannelScaling) -> Tensor:
    """Standardise channels (..., B); NaN stays where they are missing."""
    mean, deviation = scaling.of(names).T
    return torch.from_numpy(((x - mean) / deviation).astype(np.float32))


def shown_mask(x: Tensor) -> Tensor:
    """Say where pixels of x (N, B, H, W) have any channel: mask (N, 2, H, W), whose second layer no radiometer needs."""
    valid = x.isfinite().any(dim=1)
    return torch.stack([valid, torch.zeros_like(valid)], dim=1).to(x.dtype)


TENSORS = ("x", "mask", "bands", "y", "weight", "group", "target")


@dataclass(frozen=True)
class RainBatch:
    """Samples of one set of channels.

    x (N, B, H, W) standardised channels, NaN where missing; mask (N, 2, H, W), see `shown_mask`; bands (B, D) descriptors;
    y (N, H, W) mm h-1, NaN where unknown; weight (N, H, W), 0 where unknown or held out; group (N, H, W), regime of each pixel;
    target (N,), true where a sample is of the domain that is adapted to, whose rain nobody knows; scenes: which swath each
    sample comes from.
    """

    x: Tensor
    mask: Tensor
    bands: Tensor
    y: Tensor
    weight: Tensor
    group: Tensor
    target: Tensor
    scenes: tuple[str, ...]

    def to(self, device: torch.device | str) -> RainBatch:
        """Copy the tensors to a device, images channels-last."""
        moved = self._each(lambda tensor: tensor.to(device, non_blocking=True))
        x, mask = (tensor.contiguous(memory_format=torch.channels_last) for tensor in (moved.x, moved.mask))
        return replace(moved, x=x, mask=mask)

    def pinned(self) -> RainBatch:
        """Page-lock the tensors."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> RainBatch:
        tensors = {name: change(getattr(self, name)) for name in TENSORS}
        return replace(self, **tensors)  # type: ignore[arg-type]


class SwathWindowSettings(BaseModel):
    """How samples are drawn."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int = Field(default=1, ge=1, description="side of a sample, footprints; 1: single footprints")
    batch: int = Field(default=256, ge=1, description="samples a step")
    drop_channels: float = Field(
        default=0.0, ge=0, lt=1, description="probability that a channel is missing from half of the batches"
    )


class SwathSource:
    """Batches of samples around chosen pixels: `source.batch(step)` is a function of the seed and the step alone.

    Every chosen pixel is the centre of a sample once before any is again.

    Parameters
    ----------
    parts: swaths; those of one set of channels share batches.
    learnt: says which pixels of a part are learnt from: others weigh nothing, and are no centres.
    weigh: weight of a part's pixels.
    view: which columns are shown; left out: all.

    Raises
    ------
    VigieError: no pixel is left to learn from.
    """

    def __init__(
        self,
        parts: Sequence[Footprints],
        learnt: Choice,
        scaling: ChannelScaling,
        settings: SwathWindowSettings,
        seed: int = 0,
        weigh: Callable[[Footprints], float] = lambda part: 1.0,
        view: View | None = None,
    ) -> None:
        self.scaling, self.settings, self.seed, self.view = scaling, settings, seed, view
        self.orders: dict[tuple[int, int], NDArray[np.int64]] = {}
        # Sensors may call channels alike and see them through other footprints.
        sets: dict[tuple[object, ...], list[_Part]] = {}
        for part in parts:
            chosen, weight = learnt(part), weigh(part)
            if chosen.any() and weight > 0:
                made = _Part(part, (chosen * weight).astype(np.float32), np.argwhere(chosen))
                sets.setdefault((part.names, part.bands.numpy().tobytes()), []).append(made)
        self.groups: list[list[_Part]] = list(sets.values())
        if not self.groups:
            raise VigieError(
                "there is nothing to learn from",
                found=f"{len(parts)} labelled swaths, all of whose rain rates are held out or unknown",
                expected="labelled footprints outside the fold",
                do="choose other train.folds, or add labelled swaths",
            )

    def batch(self, step: int) -> RainBatch:
        """Draw the batch of a step."""
        rng = np.random.default_rng((self.seed, step))
        sizes = np.array([sum(len(part.centres) for part in group) for group in self.groups], dtype=np.float64)
        group = self.groups[int(rng.choice(len(self.groups), p=sizes / sizes.sum()))]
        drawn, first = self._drawn(group, step), group[0].part
        cut = [self._cut(part, centres) for part, centres in drawn]
        raw, y, weight, regime = (np.concatenate(arrays) for arrays in zip(*cut, strict=True))
        seen = self.view.columns(first.names) if self.view else list(range(len(first.names)))
        x = standardised(raw, first.names, self.scaling)[..., seen].movedim(-1, 1)
        if self.settings.drop_channels and rng.random() < 0.5:
            dropped = rng.random(x.shape[1]) < self.settings.drop_channels
            dropped[int(rng.integers(len(dropped)))] = False
            x[:, torch.from_numpy(dropped)] = torch.nan
        known = torch.from_numpy(y), torch.from_numpy(weight), torch.from_numpy(regime.astype(np.int64))
        scenes = tuple(part.part.id for part, centres in drawn for _ in centres)
        return RainBatch(x, shown_mask(x), first.bands[seen], *known, torch.zeros(len(x), dtype=torch.bool), scenes)

    def _drawn(self, group: Sequence[_Part], step: int) -> list[tuple[_Part, NDArray[np.int64]]]:
        """Go through all centres of a group in an order that every pass draws anew: parts, and centres (n, 2) of each."""
        total, wanted = sum(len(part.centres) for part in group), self.settings.batch
        ends = np.cumsum([len(part.centres) for part in group])
        turns, places = np.divmod(np.arange(step * wanted, (step + 1) * wanted), total)
        at = np.concatenate([self._order(total, turn)[places[turns == turn]] for turn in np.unique(turns).tolist()])
        which = np.searchsorted(ends, at, side="right")
        starts = np.concatenate([[0], ends[:-1]])
        return [(group[n], group[n].centres[at[which == n] - starts[n]]) for n in np.unique(which).tolist()]

    def _order(self, total: int, turn: int) -> NDArray[np.int64]:
        """Order of the centres in one pass; that of the last passes is kept."""
        if (total, turn) not in self.orders:
            self.orders = {key: order for key, order in self.orders.items() if key[1] == turn - 1}
            self.orders[total, turn] = np.random.default_rng((self.seed, 7, turn)).permutation(total)
        return self.orders[total, turn]

    def _cut(self, part: _Part, centres: NDArray[np.int64]) -> tuple[Floats, Floats, Floats, NDArray[np.int16]]:
        """Cut the windows around centres: x (n, H, W, B), y, weight and group (n, H, W)."""
        here = part.part
        if self.settings.size == 1:
            scan, pixel = centres.T
            fields = (here.x, here.y, part.weight, here.group)
            x, y, weight, group = (np.asarray(values[scan, pixel])[:, None, None] for values in fields)
            return x, y, weight, group
        cut = [self._window(part, centre) for centre in centres]
        x, y, weight, group = (np.stack(arrays) for arrays in zip(*cut, strict=True))
        return x, y, weight, group

    def _window(self, part: _Part, centre: NDArray[np.int64]) -> tuple[Floats, Floats, Floats, NDArray[np.int16]]:
        """Cut the window around a centre, moved inside the swath as far as it allows, missing beyond."""
        size = self.settings.size
        starts = [min(max(int(at) - size // 2, 0), max(n - size, 0)) for at, n in zip(centre, part.weight.shape)]
        rows, columns = (slice(start, start + size) for start in starts)
        here = part.part
        x, y = (_padded(values[rows, columns], size, np.nan) for values in (here.x, here.y))
        return x, y, _padded(part.weight[rows, columns], size, 0), _padded(here.group[rows, columns], size, 0)


def with_target(batch: RainBatch, other: RainBatch) -> RainBatch:
    """Append samples of the domain that is adapted to, whose rain is not learnt from.

    Raises
    ------
    VigieError: it has other channels.
    """
    if batch.bands.shape != other.bands.shape or not torch.equal(batch.bands, other.bands):
        raise VigieError(
            "the domain that is adapted to has other channels",
            found=f"{len(other.bands)} inputs",
            expected=f"the {len(batch.bands)} of what is learnt from",
            do="name channels that all swaths have in train.channels",
        )
    unknown = torch.full_like(other.y, torch.nan)
    other = replace(other, y=unknown, weight=torch.zeros_like(other.weight), target=torch.ones_like(other.target))
    joined: dict[str, Any] = {n: torch.cat([getattr(batch, n), getattr(other, n)]) for n in TENSORS if n != "bands"}
    return replace(batch, **joined, scenes=batch.scenes + other.scenes)


def learnt_from(part: Footprints, fold: int) -> NDArray[np.bool_]:
    """Say which pixels (scan, pixel) a fold's model learns from: labelled ones with data that it does not hold out."""
    learnt: NDArray[np.bool_] = answerable(part) & part.trusted & ((part.fold != fold) | (fold < 0))
    return learnt


def scored_on(part: Footprints, fold: int) -> NDArray[np.bool_]:
    """Say which pixels (scan, pixel) a fold's model and its reference methods are scored on."""
    tested: NDArray[np.bool_] = answerable(part) & (part.fold == fold)
    return tested


def answerable(part: Footprints) -> NDArray[np.bool_]:
    """Say which pixels (scan, pixel) have a rain rate, and anything observed to retrieve it from."""
    found: NDArray[np.bool_] = np.isfinite(part.y) & np.isfinite(part.temperature).any(axis=-1)
    return found


@dataclass(frozen=True)
class _Part:
    part: Footprints
    weight: Floats
    centres: NDArray[np.int64]


Values = TypeVar("Values", bound=np.generic)


def _padded(values: NDArray[Values], size: int, beyond: float) -> NDArray[Values]:
    """Put a value behind rows and columns that a narrow swath lacks."""
    height, width = values.shape[:2]
    if (height, width) == (size, size):
        return values
    margins = [(0, size - height), (0, size - width), *[(0, 0)] * (values.ndim - 2)]
    return np.pad(values, margins, constant_values=beyond)
