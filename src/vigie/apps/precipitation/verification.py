"""The precipitation `verify`: retrievals and reference methods against rain rates that they did not learn from, in one table.

`scores.nc` has one group for each source of labels, since rain rates of different origin cannot share a table:

    /<label_source>           scores of every method, with intervals by groups (days or orbits), tails and return levels
    /<label_source>/regimes   errors of this model by latitude, water vapour, land and sea

Swaths are counted block by block: memory holds one block, and counts that add.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from vigie.apps.precipitation.baselines import BASELINES, Fitted
from vigie.apps.precipitation.composed import MEMBER
from vigie.apps.precipitation.counted import (
    Counts,
    count,
    count_regimes,
    held_out_blocks,
    members,
    of_members,
    ours,
    taught,
)
from vigie.apps.precipitation.extremes import return_levels
from vigie.apps.precipitation.prediction import retrieved
from vigie.apps.precipitation.swaths import LabelledSwath, labelled, settings_of
from vigie.core.errors import VigieError, nearest
from vigie.core.store import whole_file
from vigie.story.run import Run, log
from vigie.verify.bootstrap import resample
from vigie.verify.events import reliability
from vigie.verify.quantile_scores import finish_quantiles
from vigie.verify.rain import finish_detections, finish_rates
from vigie.verify.scores import OURS
from vigie.verify.tail_counts import finish_tails
from vigie.verify.tally import Tally

GENERATED = "generated"
"""Name of the generated members among methods."""
LEVEL = 0.95
"""Of the intervals."""


@dataclass
class Judged:
    """Counts of one source of rain rates: by method, and of this model by regime."""

    methods: dict[str, Counts] = field(default_factory=dict)
    regimes: dict[str, Tally] = field(default_factory=dict)

    def add(self, name: str, counts: Counts) -> None:
        """Add the counts of a method on other footprints."""
        self.methods[name] = self.methods[name] + counts if name in self.methods else counts

    def add_regimes(self, counts: Mapping[str, Tally]) -> None:
        """Add counts by regime."""
        for name, tally in counts.items():
            self.regimes[name] = self.regimes[name] + tally if name in self.regimes else tally


def verify(run: Run) -> None:
    """Score everything and leave it in `scores.nc`."""
    settings, found = settings_of(run).verify, judged(run)
    made = {source: table(one.methods, settings.bootstrap, run.experiment.seed) for source, one in sorted(found.items())}
    with whole_file(run.artefact("verify")) as draft:
        note = {} if made else {"note": "no rain rates were held out: see train.folds"}
        draft.write_bytes(xr.Dataset(attrs=note).to_netcdf(engine="h5netcdf"))
        for source, scores in made.items():
            scores.to_netcdf(draft, mode="a", group=source, engine="h5netcdf")
            regimes = found[source].regimes
            if regimes:
                regime_table(regimes).to_netcdf(draft, mode="a", group=f"{source}/regimes", engine="h5netcdf")
    for source, scores in made.items():
        told = {name: float(scores["crps"].sel(model=name)) for name in map(str, scores["model"].values)}
        log.info("verify: %s, CRPS %s", source, ", ".join(f"{name} {value:.4f}" for name, value in told.items()))


def judged(run: Run) -> dict[str, Judged]:
    """Count all that was held out, by source of its rain rates, fold by fold and swath by swath."""
    swaths, found, hybrid = labelled(run), dict[str, Judged](), settings_of(run).train.hybrid
    tested = [(fold, swath) for fold in sorted({fold for one in swaths for fold in one.folds}) for swath in swaths]
    tested = [(f, s) for f, s in tested if f in s.folds and not hybrid.simulates(s.granule.label_source)]
    methods: tuple[int | None, dict[str, Fitted]] = (None, {})
    with run.progress.task("verify", len(tested)) as advance:
        for fold, swath in tested:
            if methods[0] != fold:
                methods = fold, fitted(run, swaths, fold)
            judge(run, swath, fold, methods[1], found.setdefault(swath.granule.label_source, Judged()))
            advance(note=swath.granule.id)
    return {source: one for source, one in found.items() if one.methods}


def fitted(run: Run, swaths: Sequence[LabelledSwath], fold: int) -> dict[str, Fitted]:
    """Fit the reference methods on what a fold's model learnt from."""
    settings = settings_of(run)
    if not settings.verify.baselines:
        return {}
    x, y = taught(run, swaths, fold)
    return {name: BASELINES[name](x, y, settings.predict.levels) for name in settings.verify.baselines}


def judge(run: Run, swath: LabelledSwath, fold: int, methods: Mapping[str, Fitted], judged: Judged) -> None:
    """Count what the model and reference methods say of all that a fold holds out of a swath."""
    draws, seed = settings_of(run).verify.draws, run.experiment.seed
    node = retrieved(run, swath.granule, fold)
    tell = ours(node)
    for block in held_out_blocks(run, swath, fold):
        said = tell(block)
        drawn = members(node, block) if MEMBER in node else None
        generated = drawn is not None and settings_of(run).train.generative is not None
        samples = drawn if drawn is not None and not generated else block.samples(said, draws, seed)
        judged.add(OURS, count(block, said, samples))
        if drawn is not None and generated:
            judged.add(GENERATED, count(block, of_members(drawn, said.levels), drawn))
        judged.add_regimes(count_regimes(run, block, said))
        for name, method in methods.items():
            said = method(block.part.x[block.mine].astype(np.float64))
            judged.add(name, count(block, said, block.samples(said, draws, seed)))


def check(run: Run) -> None:
    """Refuse reference methods that nobody knows, before anything is learnt."""
    for name in settings_of(run).verify.baselines:
        if name not in BASELINES:
            raise VigieError(
                f"there is no reference method '{name}'",
                expected=", ".join(BASELINES),
                do=nearest(name, list(BASELINES)) or "correct verify.baselines",
            )


def table(methods: Mapping[str, Counts], replicates: int, seed: int) -> xr.Dataset:
    """Score every method, (model, ...), each score with its interval over resampled groups; and return levels."""
    scored = [scores_of(counts, replicates, seed).expand_dims(model=[name]) for name, counts in methods.items()]
    made: xr.Dataset = xr.concat(scored, "model", join="outer", data_vars="all")
    levels = return_levels({name: counts.tails for name, counts in methods.items()}, seed)
    first = next(iter(methods.values()))
    groups = first.rates.total.sizes["group"]
    made = xr.merge([made, levels], join="outer")
    made.attrs = {
        **levels.attrs,
        "footprints": int(first.rates.weight["truth"].sum()),
        "intervals": f"{100 * LEVEL:.0f} % percentile intervals of {replicates} bootstrap resamples of {groups} groups",
    }
    return made


def scores_of(counts: Counts, replicates: int, seed: int) -> xr.Dataset:
    """Score one method: errors of its mean, detections, its whole distribution, and the tail of samples of it."""
    finished = (
        (counts.rates, finish_rates),
        (counts.detections, finish_detections),
        (counts.distribution, finish_quantiles),
    )
    scores = [with_intervals(tally, finish, replicates, seed) for tally, finish in finished]
    tails = finish_tails(counts.tails).mean("draw")
    reached = reliability(counts.events).assign(brier=counts.events.mean()["brier"])
    reached = reached.rename({"event": "threshold_mm_h", "bin": "probability_bin"})
    reached = reached.assign_coords(threshold_mm_h=reached["threshold_mm_h"].astype(np.float64))
    scores.append(reached.rename({name: f"reliability_{name}" for name in ("said", "came", "rows")}))
    # Detections are counted at more thresholds than scores of the tail.
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


def regime_table(tallies: Mapping[str, Tally]) -> xr.Dataset:
    """Score this model by regime: footprints, bias, RMSE, CRPS and coverage, (regime, ...)."""
    rates, distribution = finish_rates(tallies["rates"]), finish_quantiles(tallies["distribution"])
    made = xr.merge([rates[["bias_percent", "rmse"]], distribution[["crps", "coverage"]]], join="outer")
    return made.assign(footprints=tallies["rates"].weight["truth"], mean_truth=tallies["rates"].mean()["truth"])
