"""What was held out, read and counted block by block: footprints, what methods say of them, and counts that add."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.apps.precipitation.baselines import Estimates
from vigie.apps.precipitation.composed import MEMBER
from vigie.apps.precipitation.samples import drawn
from vigie.apps.precipitation.swaths import LabelledSwath, settings_of
from vigie.core.tiles import tiles
from vigie.learn.regimes import UNKNOWN, RegimeSettings, regime_names, regimes
from vigie.learn.retrieval_inputs import OBSERVED, Inputs
from vigie.learn.retrieval_model import read_card
from vigie.learn.swaths import Footprints, footprints, learnt_from, scored_on
from vigie.predict.swath import THRESHOLDS_MM_H
from vigie.story.run import Run
from vigie.story.scenes import fold_name
from vigie.verify.events import EventSample, count_events
from vigie.verify.groups import count_by_group
from vigie.verify.quantile_scores import COVERAGE_LEVELS, count_quantiles
from vigie.verify.quantiles import QuantileSample, exceedance
from vigie.verify.rain import RainSample, count_detections, count_rates
from vigie.verify.tail_counts import count_tails
from vigie.verify.tally import Tally, add_all

Floats = NDArray[np.float64]
ROWS = 2**15
"""Footprints that are read and scored together: 99 quantiles of them take 25 MB."""
LEARNT_ROWS = 200_000
"""Most footprints that a reference method is fitted to, evenly chosen: boosted trees gain little from more, and hold all."""


@dataclass(frozen=True)
class Block:
    """Some scans of a swath that one fold tests on: its data, what is learnt from, and where it is scored (scan, pixel)."""

    swath: LabelledSwath
    scans: slice
    data: xr.Dataset
    part: Footprints
    mine: NDArray[np.bool_]

    @property
    def truth(self) -> Floats:
        """Rain rates that were held out (row,), mm/h."""
        return self.part.y[self.mine].astype(np.float64)

    @property
    def groups(self) -> NDArray[np.str_]:
        """The group of each row: what errs alike."""
        named = np.broadcast_to(self.data["group"].values.astype(np.str_)[:, None], self.mine.shape)
        return named[self.mine]

    def samples(self, said: Estimates, draws: int, seed: int) -> Floats:
        """Draw (draw, row) from what a method says of the rows."""
        quantiles = np.full((len(said.levels), *self.mine.shape), np.nan)
        quantiles[:, self.mine] = said.quantiles
        return drawn(quantiles, said.levels, self.swath.granule.id, self.scans.start, draws, seed)[:, self.mine]


def blocks(run: Run, swath: LabelledSwath, fold: int) -> Iterator[Block]:
    """Read a swath some scans at a time: the channels and ancillary fields that a fold's model learnt from, as they are."""
    told = read_card(run.artefact("train") / fold_name(fold))["inputs"]
    inputs = Inputs(tuple(told["channels"]), tuple(name for name in told["ancillary"] if name != OBSERVED))
    data, owners = swath.data, swath.fold
    scans = max(1, ROWS // data.sizes["pixel"])
    for tile in tiles({"scan": data.sizes["scan"]}, {"scan": scans}):
        at = tile.keep["scan"]
        loaded = data.isel(tile.keep).load()
        part = footprints(loaded, inputs, np.asarray(owners[at]))
        yield Block(swath, at, loaded, part, scored_on(part, fold))


def held_out_blocks(run: Run, swath: LabelledSwath, fold: int) -> Iterator[Block]:
    """Keep the blocks in which something is scored."""
    return (block for block in blocks(run, swath, fold) if block.mine.any())


def taught(run: Run, swaths: Sequence[LabelledSwath], fold: int) -> tuple[Floats, Floats]:
    """Take what a fold's reference methods learn from: temperatures (row, channel) and rain rates (row,).

    It is what the fold's model learnt from, every n-th row of it where there are more than `LEARNT_ROWS`; of hybrid training
    what was observed alone, which is what they are held against.
    """
    hybrid = settings_of(run).train.hybrid
    swaths = [swath for swath in swaths if not hybrid.simulates(swath.granule.label_source)]
    count = sum(int(learnt_from(block.part, fold).sum()) for swath in swaths for block in blocks(run, swath, fold))
    step, seen, x, y = max(1, -(-count // LEARNT_ROWS)), 0, [], []
    for swath in swaths:
        for block in blocks(run, swath, fold):
            learnt = learnt_from(block.part, fold)
            kept = slice(-seen % step, None, step)
            seen += int(learnt.sum())
            x.append(block.part.x[learnt][kept].astype(np.float64))
            y.append(block.part.y[learnt][kept].astype(np.float64))
    return np.concatenate(x), np.concatenate(y)


def ours(node: xr.Dataset) -> Callable[[Block], Estimates]:
    """Give what tells of a block what was retrieved of its rows, from a node of the prediction."""
    levels = node["quantile"].values

    def said(block: Block) -> Estimates:
        kept = node[["rainfall_rate", "rainfall_rate_quantile", "probability_exceeding"]].isel(scan=block.scans)
        mean, quantiles, probability = (data.values[..., block.mine].astype(np.float64) for data in kept.data_vars.values())
        return Estimates(mean, quantiles, levels, probability)

    return said


def members(node: xr.Dataset, block: Block) -> Floats:
    """Read the members (member, row) that were drawn of the rows of a block."""
    return node[MEMBER].isel(scan=block.scans).values[:, block.mine].astype(np.float64)


def of_members(drawn: Floats, levels: Floats) -> Estimates:
    """Take members (member, row) for what they say: the m-th of M is the quantile of (m - 0.5) / M (Hazen 1914)."""
    return Estimates(drawn.mean(axis=0), np.quantile(drawn, levels, axis=0, method="hazen"), levels)


@dataclass(frozen=True)
class Counts:
    """Counts of one method, which add: errors, detections, quantiles (by group of footprints), events, tails of samples."""

    rates: Tally
    detections: Tally
    distribution: Tally
    events: Tally
    tails: Tally

    def __add__(self, other: Counts) -> Counts:
        """Add the counts of other footprints."""
        return Counts(
            self.rates + other.rates,
            self.detections + other.detections,
            self.distribution + other.distribution,
            self.events + other.events,
            self.tails + other.tails,
        )


def count(block: Block, said: Estimates, samples: Floats) -> Counts:
    """Count what a method says of the rows of a block, and samples (draw, row) of it."""
    truth, groups = block.truth, block.groups

    def rates(where: NDArray[np.bool_]) -> Tally:
        return count_rates(RainSample(said.mean[where], truth[where]))

    def detections(where: NDArray[np.bool_]) -> Tally:
        return count_detections(RainSample(said.mean[where], truth[where]))

    def distribution(where: NDArray[np.bool_]) -> Tally:
        return count_distribution(said, truth, where)

    by_group = [count_by_group(counting, groups) for counting in (rates, detections, distribution)]
    return Counts(by_group[0], by_group[1], by_group[2], count_reached(said, truth), count_tails(samples, truth))


def count_distribution(said: Estimates, truth: Floats, where: NDArray[np.bool_]) -> Tally:
    """Count scores of quantiles over some rows, coverage at the levels that quantiles reach."""
    reached = tuple(level for level in COVERAGE_LEVELS if said.levels[0] <= level <= said.levels[-1])
    return count_quantiles(QuantileSample(said.quantiles[:, where], said.levels, truth[where]), coverage_levels=reached)


def count_reached(said: Estimates, truth: Floats) -> Tally:
    """Count how often thresholds are reached, by the probability that was said."""
    probability = said.probability
    if probability is None:
        probability = exceedance(said.quantiles, said.levels, THRESHOLDS_MM_H)
    reached = np.stack([truth >= threshold for threshold in THRESHOLDS_MM_H]).astype(np.float64)
    return count_events(EventSample(probability, reached, tuple(f"{threshold:g}" for threshold in THRESHOLDS_MM_H)))


def count_regimes(run: Run, block: Block, said: Estimates) -> Mapping[str, Tally]:
    """Count errors and quantiles of the rows of a block by regime, {"rates": ..., "distribution": ...}.

    Nothing where no regime is known. They are by surface, vapour and latitude, each alone, with the edges of `train.regimes`.
    """
    counts = [
        {
            "rates": count_rates(RainSample(said.mean[rows], block.truth[rows])).at(regime=name),
            "distribution": count_distribution(said, block.truth, rows).at(regime=name),
        }
        for name, rows in regimes_of(block, settings_of(run).train.regimes)
    ]
    return {name: add_all(one[name] for one in counts) for name in ("rates", "distribution") if counts}


def regimes_of(block: Block, settings: RegimeSettings) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Name the regimes of a block, and their rows."""
    for part, title in (("surface", ""), ("vapour", "water vapour "), ("latitude", "latitude ")):
        alone = settings.model_copy(update={"by": (part,)})
        names, code = regime_names(alone), regimes(block.data, alone)[block.mine]
        for number in np.unique(code).tolist():
            if names[number] != UNKNOWN:
                yield f"{title}{names[number]}", code == number
