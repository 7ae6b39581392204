"""Where a retrieval fails, in words: from its scores, its scores by regime, and what it flagged itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import xarray as xr

from vigie.apps.precipitation.shown import Shown
from vigie.predict.quality import QUALITY
from vigie.publish.report import Estimate, Measure, ScoreTable
from vigie.verify.scores import OURS

ENOUGH = 50
"""A regime of fewer footprints is not spoken of."""
COVERED = 0.02
"""Coverage that departs from its level by less is called right."""
TAIL = 0.1
"""A ratio of tails this near to 1 is called right."""


def failures(scores: xr.Dataset, regimes: xr.Dataset | None) -> Iterator[str]:
    """Say what the scores of this model show, the worst first: a sentence each.

    Parameters
    ----------
    scores, regimes: a source's groups of `scores.nc`; regimes may be missing.
    """
    ours = scores.sel(model=OURS)
    yield bias_told(ours)
    if regimes is not None:
        yield from regimes_told(regimes)
    yield from coverage_told(ours)
    yield tails_told(ours)


def beaten(table: ScoreTable) -> str:
    """Say which reference methods are better than this model, and in what; as the table reads, intervals aside.

    Examples
    --------
    >>> measures = (Measure("crps", "lower", title="CRPS"), Measure("mae", "lower", title="MAE"))
    >>> rows = {OURS: {"crps": Estimate(0.1), "mae": Estimate(0.3)}, "trees": {"crps": Estimate(0.2), "mae": Estimate(0.2)}}
    >>> beaten(ScoreTable("Rain", measures, rows, ours=(OURS,)))
    'Better than this model: trees in MAE.'
    """
    told = []
    for name, row in table.scores.items():
        if name not in table.ours:
            better = [m.title for m in table.measures if m.name in row and _better(m, row, table.scores[OURS])]
            told += [f"{table.titles.get(name, name)} in {', '.join(better)}"] if better else []
    return f"Better than this model: {'; '.join(told)}." if told else "No reference method is better in any score of the table."


def _better(measure: Measure, theirs: Mapping[str, Estimate], ours: Mapping[str, Estimate]) -> bool:
    """Say whether others are better as a table reads."""
    if measure.name not in ours:
        return True
    one, other = (float(format(row[measure.name].value, measure.format)) for row in (theirs, ours))
    return one > other if measure.better == "higher" else one < other


def bias_told(ours: xr.Dataset) -> str:
    """Say the overall bias."""
    bias = float(ours["bias_percent"])
    told = f"Over all footprints that were held out the mean is {abs(bias):.1f} % too {_way(bias)}"
    if "bias_percent_interval" not in ours:
        return told + "."
    low, high = (float(ours["bias_percent_interval"].sel(bound=bound)) for bound in ("low", "high"))
    unsure = ", which the interval does not tell from none" if low <= 0 <= high else ""
    return f"{told} ({low:+.1f} to {high:+.1f} %){unsure}."


def regimes_told(regimes: xr.Dataset) -> Iterator[str]:
    """Name the regimes of the worst bias and the worst coverage of the 95 % quantile."""
    spoken = regimes.where(regimes["footprints"] >= ENOUGH, drop=True)
    biases = spoken["bias_percent"].dropna("regime")
    if biases.size:
        worst = biases.isel(regime=int(np.abs(biases.values).argmax()))
        count = int(spoken["footprints"].sel(regime=worst["regime"]))
        name, bias = str(worst["regime"].values), float(worst)
        yield f"The worst regime is {name}: there the mean is {abs(bias):.0f} % too {_way(bias)} ({count:,} footprints)."
    if "coverage" in spoken and 0.95 in spoken["level"]:
        gaps = (spoken["coverage"].sel(level=0.95) - 0.95).dropna("regime")
        if gaps.size and float(np.abs(gaps).max()) > COVERED:
            worst = gaps.isel(regime=int(np.abs(gaps.values).argmax()))
            share = 100 * (0.95 + float(worst))
            yield f"The 95 % quantile fails most in the regime {worst['regime'].values}: it holds {share:.1f} % of what came."


def coverage_told(ours: xr.Dataset) -> Iterator[str]:
    """Name the levels whose quantiles do not hold as often as they say; where many footprints are dry, only the upper ones."""
    if "coverage" not in ours:
        return
    wrong = [
        f"{100 * level:g} % holds {100 * share:.1f} %"
        for level, share in zip(ours["level"].values.tolist(), ours["coverage"].values.tolist(), strict=True)
        if level >= 0.9 and abs(share - level) > COVERED / 2
    ]
    if wrong:
        yield f"Upper quantiles are not calibrated to a point: {'; '.join(wrong)}."
    else:
        yield "Upper quantiles hold as often as they say, within a point."


def tails_told(ours: xr.Dataset) -> str:
    """Say whether extremes of samples are as strong as observed."""
    ratios = {title: float(ours[f"tail_{name}"]) for title, name in (("p99", "p99_ratio"), ("p99.9", "p999_ratio"))}
    told = " and ".join(f"{title} {ratio:.2f} times" for title, ratio in ratios.items() if np.isfinite(ratio))
    wet = float(ours["tail_wet_ratio"])
    known = [ratio for ratio in ratios.values() if np.isfinite(ratio)]
    if not known:
        return "There was too little rain to judge extremes."
    flat, steep = min(known) < 1 - TAIL, max(known) > 1 + TAIL
    verdict = "some too weak, some too strong" if flat and steep else "too weak" if flat else "too strong" if steep else "right"
    return f"Extremes of samples are {verdict}: {told} what was observed; it is wet {wet:.2f} times as often."


def doubts(shown: Sequence[Shown]) -> Iterator[str]:
    """Say how much is out of distribution, and in which swath most."""
    made = sum(item.flags[: QUALITY["no_retrieval"]].sum() for item in shown)
    if not made:
        yield "Nothing was retrieved."
        return
    share = sum(item.flags[QUALITY["out_of_distribution"]] for item in shown) / made
    lacking = sum(item.flags[QUALITY["missing_channel"]] for item in shown) / made
    told = f"{100 * share:.1f} % of the retrievals are out of distribution: nobody knows how good they are."
    shares = {
        item.granule.id: item.flags[QUALITY["out_of_distribution"]] / max(item.flags[: QUALITY["no_retrieval"]].sum(), 1)
        for item in shown
    }
    worst = max(shares, key=lambda name: float(shares[name]))
    if len(shown) > 1 and shares[worst] > 2 * share:
        told += f" Most of them lie in {worst}, with {100 * shares[worst]:.1f} %."
    yield told
    if lacking > 0:
        yield f"{100 * lacking:.1f} % lack a channel that was learnt from."


def _way(bias: float) -> str:
    return "high" if bias > 0 else "low"
