"""Samples to learn forecasts from: crops of a start, a lead, and what came of it; every batch a function of its number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from vigie.core.errors import VigieError
from vigie.core.tiles import Window
from vigie.learn.forecast.inputs import LAGS_DAYS, Floats, Moment, columns

DAY = np.timedelta64(1, "D")


class DailyMaps(Protocol):
    """Maps of one quantity, day by day, and what is usual."""

    def state(self, day: np.datetime64, window: Window) -> Floats | None:
        """Read the map of a day, gaps filled, 0 on land; None where there is none."""
        ...

    def measured(self, day: np.datetime64, window: Window) -> Floats | None:
        """Read what was measured on a day, NaN elsewhere; None where nothing was."""
        ...

    def usual(self, day: np.datetime64, window: Window, unlike: int | None) -> Floats:
        """Read the climatology of a day of the year, without a year where one is named."""
        ...

    def sea(self, window: Window) -> NDArray[np.bool_]:
        """Where the quantity exists."""
        ...

    def scored(self, window: Window) -> NDArray[np.bool_]:
        """Where it is learnt and scored."""
        ...


class ForecastWindowSettings(BaseModel):
    """How training samples are drawn."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int = Field(default=96, ge=16, description="side of the crops, pixels")
    batch: int = Field(default=4, ge=1, description="crops a step")
    turn: bool = Field(default=True, description="also show crops turned and mirrored")


@dataclass(frozen=True)
class ForecastBatch:
    """Crops, as `learn.fit` wants them.

    Attributes
    ----------
    x: (N, C, H, W) maps that are shown; mask: (N, 1, H, W) where there is sea; bands: (N, E) lead and season.
    now, truth: (N, H, W), NaN in the truth where nothing was measured.
    scale: (N,) size of a usual change.
    scenes: the day of each start.
    """

    x: Tensor
    mask: Tensor
    bands: Tensor
    now: Tensor
    truth: Tensor
    scale: Tensor
    scenes: tuple[str, ...]

    def to(self, device: torch.device | str) -> Self:
        """Copy the tensors to a device, images channels-last."""
        images = {n: getattr(self, n).to(device, memory_format=torch.channels_last, non_blocking=True) for n in ("x", "mask")}
        rest = {n: getattr(self, n).to(device, non_blocking=True) for n in ("bands", "now", "truth", "scale")}
        return type(self)(**images, **rest, scenes=self.scenes)

    def pinned(self) -> Self:
        """Page-lock the tensors."""
        names = ("x", "mask", "bands", "now", "truth", "scale")
        return type(self)(**{name: getattr(self, name).pin_memory() for name in names}, scenes=self.scenes)


@dataclass(frozen=True)
class ForecastSource:
    """Batches of crops.

    Parameters
    ----------
    maps: what is learnt from.
    starts: by lead, days from which that lead can be learnt (`starts_of`).
    centres: (P, 2) row and column of places that crops are drawn around.
    shape: of the whole grid.
    windows, seed: how samples are drawn.
    """

    maps: DailyMaps
    starts: Mapping[int, Sequence[np.datetime64]]
    centres: NDArray[np.int64]
    shape: tuple[int, int]
    windows: ForecastWindowSettings
    seed: int = 0

    def batch(self, step: int) -> ForecastBatch:
        """Draw the batch of a step."""
        random = np.random.default_rng((self.seed, step))
        return stacked([self.sample(random) for _ in range(self.windows.batch)])

    def sample(self, random: np.random.Generator) -> dict[str, object]:
        """Draw one crop: a lead, a start, a place, and how it is turned."""
        leads = sorted(self.starts)
        lead = leads[int(random.integers(len(leads)))]
        day = self.starts[lead][int(random.integers(len(self.starts[lead])))]
        window = self.crop(self.centres[random.integers(len(self.centres))], random)
        found = example(self.maps, day, lead, window, unlike=int(day.astype("datetime64[Y]").astype(int)) + 1970)
        truth = self.maps.measured(day + lead * DAY, window)
        assert truth is not None
        found["truth"] = np.where(self.maps.scored(window), truth, np.float32("nan"))
        if self.windows.turn:
            turns, mirrored = int(random.integers(4)), bool(random.integers(2))
            for name in ("x", "mask", "now", "truth"):
                found[name] = turned(np.asarray(found[name]), turns, mirrored)
        return found

    def crop(self, centre: NDArray[np.int64], random: np.random.Generator) -> Window:
        """Draw a window that holds a place, within the grid."""
        size = self.windows.size
        at = [int(np.clip(c - random.integers(size), 0, n - size)) for c, n in zip(centre, self.shape, strict=True)]
        return {"y": slice(at[0], at[0] + size), "x": slice(at[1], at[1] + size)}


def starts_of(days: Sequence[np.datetime64], leads: Sequence[int]) -> dict[int, list[np.datetime64]]:
    """Find, by lead, the days of a set whose forecast lies in the set too, by date and not by position.

    Raises
    ------
    VigieError: a lead has no start.

    Examples
    --------
    >>> days = [np.datetime64("2017-07-30"), np.datetime64("2017-07-31"), np.datetime64("2017-09-01")]
    >>> {lead: len(starts) for lead, starts in starts_of(days, (1, 32)).items()}
    {1: 1, 32: 1}
    """
    there = set(days)
    found = {lead: [day for day in days if day + lead * DAY in there] for lead in leads}
    empty = [str(lead) for lead, starts in found.items() if not starts]
    if empty:
        raise VigieError(
            "there is nothing to learn some leads from",
            found=f"{len(there)} days, no two of them {', '.join(empty)} days apart",
            expected="periods in which days follow each other",
            do="lengthen train.periods, or shorten the leads",
        )
    return found


def example(maps: DailyMaps, day: np.datetime64, lead: int, window: Window, unlike: int | None = None) -> dict[str, object]:
    """Show what is known on a day, for one lead.

    Raises
    ------
    VigieError: there is no map of that day.
    """
    now = maps.state(day, window)
    if now is None:
        raise VigieError(f"there is no map of {day}", expected="a day that the cube holds", do="start forecasts on other days")
    before = {lag: maps.state(day - lag * DAY, window) for lag in LAGS_DAYS}
    then = day + lead * DAY
    moment = Moment(int((then - then.astype("datetime64[Y]")).astype(int)) + 1, lead)
    x = columns(now, before, maps.usual(day, window, unlike), maps.usual(then, window, unlike))
    mask = maps.sea(window)[None].astype(np.float32)
    return {"x": x, "mask": mask, "bands": moment.context, "now": now, "scale": np.float32(moment.scale), "scene": str(day)}


def stacked(examples: Sequence[Mapping[str, object]]) -> ForecastBatch:
    """Make a batch of examples; without a truth it is NaN."""

    def tensor(name: str) -> Tensor:
        return torch.from_numpy(np.stack([np.asarray(one[name], dtype=np.float32) for one in examples]))

    now = tensor("now")
    truth = tensor("truth") if "truth" in examples[0] else torch.full_like(now, torch.nan)
    named = {name: tensor(name) for name in ("x", "mask", "bands", "scale")}
    return ForecastBatch(**named, now=now, truth=truth, scenes=tuple(str(one["scene"]) for one in examples))


def turned(maps: Floats, turns: int, mirrored: bool) -> Floats:
    """Turn maps (..., y, x) by quarters, and mirror them.

    Examples
    --------
    >>> turned(np.arange(4.0).reshape(2, 2), 1, True)
    array([[3., 1.],
           [2., 0.]])
    """
    found = np.rot90(maps, turns, (-2, -1))
    return np.ascontiguousarray(found[..., ::-1] if mirrored else found)
