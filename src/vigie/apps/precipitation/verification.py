"""The precipitation `verify`: retrievals and reference methods against rain rates that they did not learn from, in one table.

`scores.nc` has one group for each source of labels, since rain rates of different origin cannot share a table:

    /<label_source>        scores of every method, with intervals by groups (days or orbits)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.apps.precipitation.baselines import BASELINES, Estimates
from vigie.apps.precipitation.material import footprints_of
from vigie.apps.precipitation.prediction import retrieved
from vigie.apps.precipitation.swaths import LabelledSwath, labelled, settings_of
from vigie.core.errors import VigieError, nearest
from vigie.core.store import whole_file
from vigie.learn.swath_folds import folds_in
from vigie.learn.swaths import Footprints, learnt_from, scored_on
from vigie.story.run import Run, log
from vigie.verify.bootstrap import resample
from vigie.verify.groups import count_by_group
from vigie.verify.quantile_scores import COVERAGE_LEVELS, count_quantiles, finish_quantiles
from vigie.verify.quantiles import QuantileSample, draw
from vigie.verify.rain import RainSample, count_detections, count_rates, finish_detections, finish_rates
from vigie.verify.scores import OURS
from vigie.verify.tails import tail_statistics
from vigie.verify.tally import Tally

Floats = NDArray[np.float64]
LEVEL = 0.95
"""Of the intervals."""


@dataclass(frozen=True)
class HeldOut:
    """Footprints that were held out: the truth, mm/h, the group of each, and what a method says of them."""

    truth: Floats
    groups: NDArray[np.str_]
    said: Estimates


def verify(run: Run) -> None:
    """Score everything and leave it in `scores.nc`."""
    settings = settings_of(run).verify
    swaths = labelled(run)
    parts = footprints_of(run, swaths)
    made: dict[str, xr.Dataset] = {}
    for source in sorted({swath.granule.label_source for swath in swaths}):
        chosen = [number for number, swath in enumerate(swaths) if swath.granule.label_source == source]
        if not any(scored_on(parts[number], fold).any() for number in chosen for fold in folds_in([parts[number].fold])):
            continue
        pairs = [(swaths[number], parts[number]) for number in chosen]
        methods = {OURS: joined(list(ours(run, pairs)))}
        for name in settings.baselines:
            methods[name] = joined(list(baseline(run, pairs, parts, name)))
        made[source] = table(methods, settings.bootstrap, settings.draws, run.experiment.seed)
    with whole_file(run.artefact("verify")) as draft:
        note = {} if made else {"note": "no rain rates were held out: see train.folds"}
        draft.write_bytes(xr.Dataset(attrs=note).to_netcdf(engine="h5netcdf"))
        for source, scores in made.items():
            scores.to_netcdf(draft, mode="a", group=source, engine="h5netcdf")
    for source, scores in made.items():
        told = {name: float(scores["crps"].sel(model=name)) for name in map(str, scores["model"].values)}
        log.info("verify: %s, CRPS %s", source, ", ".join(f"{name} {value:.4f}" for name, value in told.items()))


Pairs = Sequence[tuple[LabelledSwath, Footprints]]


def ours(run: Run, pairs: Pairs) -> Iterator[HeldOut]:
    """Read what the models retrieved where they had not learnt."""
    for swath, part in pairs:
        for fold in folds_in([part.fold]):
            node, mine = retrieved(run, swath.granule, fold), scored_on(part, fold)
            quantiles = node["rainfall_rate_quantile"].values[:, mine].astype(np.float64)
            mean = node["rainfall_rate"].values[mine].astype(np.float64)
            yield HeldOut(*seen(swath, part, mine), Estimates(mean, quantiles, node["quantile"].values))


def baseline(run: Run, pairs: Pairs, parts: Sequence[Footprints], name: str) -> Iterator[HeldOut]:
    """Fit a reference method on what each fold's model learnt from, and let it say what was held out."""
    for fold in folds_in([part.fold for _, part in pairs]):
        x = np.concatenate([part.x[learnt_from(part, fold)] for part in parts]).astype(np.float64)
        y = np.concatenate([part.y[learnt_from(part, fold)] for part in parts]).astype(np.float64)
        method = BASELINES[name](x, y, settings_of(run).predict.levels)
        for swath, part in pairs:
            mine = scored_on(part, fold)
            if mine.any():
                yield HeldOut(*seen(swath, part, mine), method(part.x[mine].astype(np.float64)))


def check(run: Run) -> None:
    """Refuse reference methods that nobody knows, before anything is learnt."""
    for name in settings_of(run).verify.baselines:
        if name not in BASELINES:
            raise VigieError(
                f"there is no reference method '{name}'",
                expected=", ".join(BASELINES),
                do=nearest(name, list(BASELINES)) or "correct verify.baselines",
            )


def seen(swath: LabelledSwath, part: Footprints, where: NDArray[np.bool_]) -> tuple[Floats, NDArray[np.str_]]:
    """Take the truth of some footprints, and their groups."""
    groups = np.broadcast_to(swath.data["group"].values.astype(np.str_)[:, None], where.shape)
    return part.y[where].astype(np.float64), groups[where]


def joined(parts: Sequence[HeldOut]) -> HeldOut:
    """Put footprints of several swaths or folds behind each other."""
    said = Estimates(
        np.concatenate([part.said.mean for part in parts]),
        np.concatenate([part.said.quantiles for part in parts], axis=1),
        parts[0].said.levels,
    )
    return HeldOut(np.concatenate([p.truth for p in parts]), np.concatenate([p.groups for p in parts]), said)


def table(methods: Mapping[str, HeldOut], replicates: int, draws: int, seed: int) -> xr.Dataset:
    """Score every method, (model, ...), each score with its interval over resampled groups."""
    scored = [scores_of(held, replicates, draws, seed).expand_dims(model=[name]) for name, held in methods.items()]
    made: xr.Dataset = xr.concat(scored, "model", join="outer", data_vars="all")
    first = next(iter(methods.values()))
    count = len(np.unique(first.groups))
    made.attrs = {
        "footprints": int(np.isfinite(first.truth).sum()),
        "intervals": f"{100 * LEVEL:.0f} % percentile intervals of {replicates} bootstrap resamples of {count} groups",
    }
    return made


def scores_of(held: HeldOut, replicates: int, draws: int, seed: int) -> xr.Dataset:
    """Score one method: errors of its mean, detections, its whole distribution, and the tail of samples of it."""
    said, truth = held.said, held.truth

    def rates(where: NDArray[np.bool_]) -> Tally:
        return count_rates(RainSample(said.mean[where], truth[where]))

    def detections(where: NDArray[np.bool_]) -> Tally:
        return count_detections(RainSample(said.mean[where], truth[where]))

    def distribution(where: NDArray[np.bool_]) -> Tally:
        sample = QuantileSample(said.quantiles[:, where], said.levels, truth[where])
        return count_quantiles(sample, coverage_levels=known_levels)

    known_levels = tuple(level for level in COVERAGE_LEVELS if said.levels[0] <= level <= said.levels[-1])
    counted = ((rates, finish_rates), (detections, finish_detections), (distribution, finish_quantiles))
    scores = [with_intervals(count_by_group(count, held.groups), finish, replicates, seed) for count, finish in counted]
    # Detections are counted at more thresholds than scores of the tail.
    tails = tail_statistics(draw(said.quantiles, said.levels, draws, seed), truth).mean("draw")
    return xr.merge([*scores, tails.rename({name: f"tail_{name}" for name in tails.data_vars})], join="outer")


def with_intervals(tally: Tally, finish: Callable[[Tally], xr.Dataset], replicates: int, seed: int) -> xr.Dataset:
    """Finish a tally by groups, each score with its interval."""
    scores = finish(tally.sum("group"))
    if tally.total.sizes.get("group", 0) < 2:
        return scores
    drawn = finish(resample(tally, "group", replicates, seed))
    bounds = drawn.quantile([(1 - LEVEL) / 2, (1 + LEVEL) / 2], "replicate", skipna=False).rename(quantile="bound")
    bounds = bounds.assign_coords(bound=["low", "high"])
    return xr.merge([scores, bounds.rename({name: f"{name}_interval" for name in bounds.data_vars})])
