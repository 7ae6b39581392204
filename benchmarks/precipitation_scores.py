"""Scores of rain: ours beside those of two other libraries, scoringrules and scores, on random input.

    python benchmarks/precipitation_scores.py

Rain that is tied, missing, all dry, or a single footprint; fields that are narrow, missing in part, or dry. A line says what
is compared, in how many places, the largest difference, and the difference that would be too large; where definitions differ it
says how they were brought together. Leaves with exit code 1 when a difference is too large, or a score is undefined in one
library and not in the other.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scoringrules
import xarray as xr
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scores.categorical import ThresholdEventOperator
from scores.probability import crps_for_ensemble, tail_tw_crps_for_ensemble
from scores.spatial import fss_2d_single_field

from vigie.verify.fields import FieldSample, count_fractions, finish_fractions
from vigie.verify.members import MemberSample, count_members
from vigie.verify.quantile_scores import TAIL_MM_H, count_quantiles, crps_integral, finish_quantiles
from vigie.verify.quantiles import QuantileSample, quantile_at
from vigie.verify.rain import THRESHOLDS_MM_H, RainSample, count_detections, finish_detections

Floats = NDArray[np.float64]

LEVELS = np.arange(1, 100) / 100
SIZES_PX = (1, 3, 9)
FINE = 20_000
"""Levels that a numerical integral takes."""
SAME = 1e-9
"""What rounding may do; sums go in different orders."""


@dataclass(frozen=True)
class Comparison:
    """Our scores beside another library's, and what had to be done to compare them."""

    what: str
    against: str
    ours: Floats
    theirs: Floats
    within: float = SAME
    how: str = "the same definition"

    @property
    def difference(self) -> float:
        """The largest difference; infinite where a score is undefined on one side alone."""
        undefined = np.isnan(self.ours), np.isnan(self.theirs)
        if (undefined[0] != undefined[1]).any():
            return float("inf")
        return float(np.abs(self.ours - self.theirs)[~undefined[0]].max(initial=0.0))

    @property
    def met(self) -> bool:
        """Whether they agree."""
        return self.difference <= self.within


def main() -> int:
    """Print every comparison in one table."""
    table = Table("", "score", "against", "values", "largest difference", "within", "how they are compared")
    found = list(comparisons())
    for one in found:
        mark = "met" if one.met else "[bold red]MISS"
        table.add_row(mark, one.what, one.against, str(one.ours.size), f"{one.difference:.1e}", f"{one.within:.0e}", one.how)
    Console(width=180).print(table)
    return 0 if all(one.met for one in found) else 1


def comparisons() -> Iterator[Comparison]:
    """Compare every score on every kind of input."""
    yield from of_quantiles()
    yield from of_members()
    yield from of_detections()
    yield from of_fractions()


def rows(seed: int) -> dict[str, Floats]:
    """Draw rain rates (row,), mm/h, of every awkward kind."""
    rng = np.random.default_rng(seed)
    rain = np.where(rng.random(500) < 0.4, 0.0, rng.gamma(0.7, 4.0, 500))
    holed = rain.copy()
    holed[rng.random(500) < 0.2] = np.nan
    return {"rain": rain, "tied": np.round(2 * rain) / 2, "holed": holed, "dry": np.zeros(50), "single": rain[rain > 5][:1]}


def like(truth: Floats, count: int, seed: int) -> Floats:
    """Draw something (count, row) that resembles the truth, tied where that is; a tenth of the rows misses where some do."""
    rng = np.random.default_rng(seed)
    known = np.nan_to_num(truth)
    made = np.where(rng.random((count, truth.size)) < 0.3, 0.0, rng.gamma(0.8, 0.5 + known, (count, truth.size)))
    made = np.round(2 * made) / 2 if np.array_equal(known, np.round(2 * known) / 2) else made
    made[:, (rng.random(truth.size) < 0.1) & np.isnan(truth).any()] = np.nan
    return made


def of_quantiles() -> Iterator[Comparison]:
    """CRPS and threshold-weighted CRPS of 99 quantiles."""
    mean, chained, integral = [], [], []
    for seed, truth in enumerate(rows(1).values()):
        quantiles = np.sort(like(truth, LEVELS.size, seed), axis=0)
        scores = finish_quantiles(count_quantiles(QuantileSample(quantiles, LEVELS, truth)))
        q, y = QuantileSample(quantiles, LEVELS, truth).known()
        mean.append((float(scores["crps"]), scoringrules.crps_quantile(y, q.T, LEVELS).mean()))
        for t in TAIL_MM_H:
            theirs = scoringrules.crps_quantile(np.maximum(y, t), np.maximum(q, t).T, LEVELS).mean()
            chained.append((float(scores["twcrps"].sel(threshold_mm_h=t)), theirs))
        integral += list(zip(crps_integral(q, LEVELS, y), fine_quantiles(q, y), strict=True))
    how = "twice the mean pinball over 99 levels in both: what lies below .01 and above .99 does not count"
    yield Comparison("CRPS of quantiles", "scoringrules", *pair(mean), how=how)
    how = "scoringrules has none of quantiles: its CRPS, truth and quantiles raised to the threshold (Allen et al. 2023)"
    yield Comparison("twCRPS of quantiles", "scoringrules", *pair(chained), how=how)
    how = f"ours is the exact integral over all levels: theirs of {FINE} levels, interpolated, constant beyond .01 and .99"
    yield Comparison("CRPS of quantiles, integral", "scoringrules", *pair(integral), within=1e-6, how=how)


def fine_quantiles(quantiles: Floats, y: Floats) -> Floats:
    """Integrate numerically: the CRPS (row,) of many quantiles between those that there are."""
    fine = (np.arange(FINE) + 0.5) / FINE
    inside = tuple(np.clip(fine, LEVELS[0], LEVELS[-1]).tolist())
    blocks = np.array_split(np.arange(y.size), max(1, y.size // 50))
    found = [scoringrules.crps_quantile(y[at], quantile_at(quantiles[:, at], LEVELS, inside).T, fine) for at in blocks]
    return np.concatenate(found)


def of_members() -> Iterator[Comparison]:
    """Plain and fair CRPS of members, and their threshold-weighted kin."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for (seed, truth), count in zip(enumerate(rows(2).values()), (2, 7, 32, 5, 3), strict=True):
        sample = MemberSample(like(truth, count, seed), truth)
        ours = count_members(sample).mean()
        x, y = sample.known()
        members, observed = xr.DataArray(x, dims=("member", "row")), xr.DataArray(y, dims="row")
        for name, estimator, method in (("", "nrg", "ecdf"), ("_fair", "fair", "fair")):
            theirs = (
                scoringrules.crps_ensemble(y, x.T, estimator=estimator).mean(),
                crps_for_ensemble(members, observed, "member", method=method),
            )
            for library, value in zip(("scoringrules", "scores"), theirs, strict=True):
                found.setdefault((f"crps{name}", library), []).append((float(ours[f"crps{name}"]), float(value)))
            for t in TAIL_MM_H:
                value = float(ours[f"twcrps{name}"].sel(threshold_mm_h=t))
                other = scoringrules.twcrps_ensemble(y, x.T, a=t, estimator=estimator).mean()
                found.setdefault((f"twcrps{name}", "scoringrules"), []).append((value, float(other)))
                other = tail_tw_crps_for_ensemble(members, observed, "member", threshold=t, method=method)
                found.setdefault((f"twcrps{name}", "scores"), []).append((value, float(other)))
    for (name, library), values in found.items():
        kind = "fair, pairs by m (m - 1)" if name.endswith("fair") else "plain, pairs by m^2, the step function of the members"
        title = "twCRPS" if name.startswith("tw") else "CRPS"
        fair = ", fair" if name.endswith("fair") else ""
        yield Comparison(f"{title} of members{fair}", library, *pair(values), how=kind)


def of_detections() -> Iterator[Comparison]:
    """POD, FAR, CSI, F1 and HSS at every threshold; undefined ratios must be undefined in both."""
    theirs_by_name = {
        "pod": "probability_of_detection",
        "far": "false_alarm_ratio",
        "csi": "critical_success_index",
        "f1": "f1_score",
        "hss": "heidke_skill_score",
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in theirs_by_name}
    for seed, truth in enumerate(rows(3).values()):
        estimate = like(truth, 1, seed)[0]
        ours = finish_detections(count_detections(RainSample(estimate, truth)))
        for t in THRESHOLDS_MM_H:
            operator = ThresholdEventOperator(default_event_threshold=t)
            table = operator.make_contingency_manager(xr.DataArray(estimate, dims="row"), xr.DataArray(truth, dims="row"))
            for name, method in theirs_by_name.items():
                found[name].append((float(ours[name].sel(threshold_mm_h=t)), float(getattr(table, method)())))
    for name, values in found.items():
        yield Comparison(
            name.upper(), "scores", *pair(values), how="rate >= threshold; rows with a missing side count in neither"
        )


def of_fractions() -> Iterator[Comparison]:
    """FSS of fields; only windows that lie wholly inside are compared."""
    inside, padded, dry = [], [], []
    for seed, (height, width) in enumerate(((40, 40), (17, 60), (9, 9))):
        rng = np.random.default_rng(seed)
        truth, estimate = (np.where(rng.random((height, width)) < 0.5, 0.0, rng.gamma(0.7, 4.0, (height, width))) for _ in "te")
        for t in THRESHOLDS_MM_H:
            for n in SIZES_PX:
                inside.append((fss_inside(estimate, truth, t, n), theirs_fss(estimate, truth, t, n)))
                padded.append((fss_inside(beside_nothing(estimate), beside_nothing(truth), t, n), inside[-1][1]))
                dry.append((fss_inside(0 * estimate, 0 * truth, t, n), theirs_fss(0 * estimate, 0 * truth, t, n) or np.nan))
    how = "rate >= threshold; ours also takes windows cut by the border, by their pixels: here only whole ones, as theirs"
    yield Comparison("FSS", "scores", *pair(inside), how=how)
    how = "theirs takes missing pixels for dry, ours leaves them out: a field beside missing columns scores as without them"
    yield Comparison("FSS, missing columns", "scores", *pair(padded), how=how)
    how = "neither field reaches the threshold: theirs is 0; ours is undefined, for nothing was missed"
    yield Comparison("FSS, dry", "scores", *pair(dry), how=how)


def fss_inside(estimate: Floats, truth: Floats, threshold: float, size_px: int) -> float:
    """Our FSS over the windows that lie wholly inside the known field."""
    known = np.isfinite(truth)
    height, width = int(known.any(axis=1).sum()), int(known.any(axis=0).sum())
    half = size_px // 2
    inner = {"y": slice(half, height - half), "x": slice(half, width - half)}
    counted = count_fractions(FieldSample(estimate, truth, inner), (threshold,), (size_px,))
    return float(finish_fractions(counted)["fss"].item())


def theirs_fss(estimate: Floats, truth: Floats, threshold: float, size_px: int) -> float:
    """FSS of scores."""
    window: Any = {"event_threshold": threshold, "window_size": (size_px, size_px), "threshold_operator": np.greater_equal}
    return float(fss_2d_single_field(estimate, truth, **window))


def beside_nothing(field: Floats) -> Floats:
    """Put missing columns beside a field."""
    return np.pad(field, ((0, 0), (0, 12)), constant_values=np.nan)


def pair(values: list[tuple[float, float]]) -> tuple[Floats, Floats]:
    """Our values, and theirs."""
    both = np.array(values, dtype=np.float64)
    return both[:, 0], both[:, 1]


if __name__ == "__main__":
    warnings.filterwarnings("ignore", "invalid value encountered", RuntimeWarning)
    sys.exit(main())
