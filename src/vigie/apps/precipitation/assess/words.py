"""Where a product fails, in words: its worst figures against the reference, and against the other products."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from vigie.apps.precipitation.assess.climate import SOURCES
from vigie.apps.precipitation.assess.protocol import Assessed
from vigie.core.errors import counted

RIGHT = 0.1
"""A ratio that is no further from 1 is right: labels, and one draw of samples, scatter as much."""
COVERED = 0.02
"""Coverage that is no further from its level is right."""
COVERAGE_TOLD = (0.05, 0.5, 0.95, 0.99)
BEHIND = 0.02
"""A score that is worse than the best product's by more than this share is told."""
NATURAL_PIXELS = 4.0
"""A product that resolves waves of so many of its pixels is as sharp as its grid can be."""
RATIOS = {
    "wet_ratio": "the share of wet samples is {} times that of the reference",
    "p99_ratio": "p99 of its samples is {} of the reference's",
    "p999_ratio": "p99.9 of its samples is {} of the reference's",
}
INDICES = {
    "rx1day_ratio": "the highest day of a year has {} of the reference's rain",
    "rx5day_ratio": "the highest five days of a year have {} of the reference's rain",
    "prcptot_ratio": "a year brings {} times the reference's rain",
    "sdii_ratio": "a wet day brings {} times the reference's rain",
    "cdd_ratio": "dry spells are {} times as long",
    "cwd_ratio": "wet spells are {} times as long",
}
MOST = 6
"""Failings told of one product; the figures tell the rest."""


@dataclass(frozen=True)
class Failing:
    """One thing that is wrong, and how far: 1 is twice or half of what it should be."""

    severity: float
    text: str


def paragraph(one: Assessed, others: Sequence[Assessed]) -> str:
    """Say where a product fails, the worst first."""
    found = sorted((f for f in failings(one, others) if np.isfinite(f.severity)), key=lambda f: -f.severity)
    told = "; ".join(f.text for f in found[:MOST])
    rest = f"; and {counted(len(found) - MOST, 'lesser failing')}, see the tables" if len(found) > MOST else ""
    worst = f"{told}{rest}." if told else "nothing that could be measured is off by more than a tenth."
    remarks = " ".join(remark for remark in (_trend(one), _hooks(one), _sensitivity(one)) if remark)
    return f"{one.name}: {worst}{' ' + remarks if remarks else ''}"


def failings(one: Assessed, others: Sequence[Assessed]) -> Iterator[Failing]:
    """Find what is wrong with a product, in any order."""
    figures = one.figures
    if "rates" in figures:
        yield from _bias(figures["rates"])
    for name, text in RATIOS.items():
        yield from _ratio(figures["intensity"], name, text)
    if "indices" in figures:
        for name, text in INDICES.items():
            yield from _ratio(figures["indices"], name, text)
    if "coherence" in figures:
        yield from _resolution(figures["coherence"])
    if "coverage" in figures:
        yield from _coverage(figures["coverage"], 1 - float(figures["intensity"]["reference_wet_fraction"]))
        yield from _spread(float(figures["spread"]["spread_over_error"]))
    if "extremes" in figures:
        yield from _levels(figures["extremes"])
    for kind, name, what in (("crps", "crps", "CRPS"), ("rates", "rmse", "RMSE")):
        yield from _behind(one, others, kind, name, what)


def _bias(rates: xr.Dataset) -> Iterator[Failing]:
    percent = float(rates["bias_percent"])
    if abs(percent) > 100 * RIGHT and _sure(rates, "bias_percent", 0.0):
        word = "too much" if percent > 0 else "too little"
        yield Failing(
            _off(1 + percent / 100), f"it rains {abs(percent):.0f} % {word}{_interval(rates, 'bias_percent', '.0f', ' %')}"
        )


def _ratio(figures: xr.Dataset, name: str, text: str) -> Iterator[Failing]:
    value = float(figures[name])
    if np.isfinite(value) and abs(value - 1) > RIGHT and _sure(figures, name, 1.0):
        yield Failing(_off(value), text.format(f"{value:.2f}") + _interval(figures, name, ".2f"))


def _resolution(coherence: xr.Dataset) -> Iterator[Failing]:
    pixels, km = (float(coherence[f"effective_resolution_{unit}"]) for unit in ("px", "km"))
    if not np.isfinite(pixels):
        yield Failing(5.0, "no scale of its images is coherent with the reference")
    elif pixels > NATURAL_PIXELS:
        size = f"{km:.0f} km" if np.isfinite(km) else f"{pixels:.1f} pixels"
        yield Failing(np.log2(pixels / NATURAL_PIXELS) / 2, f"its effective resolution is {size}, {pixels:.1f} of its pixels")


def _coverage(coverage: xr.Dataset, dry: float) -> Iterator[Failing]:
    """Levels below the share of dry samples are left out: where it is dry, the truth is at or below any quantile."""
    for level in COVERAGE_TOLD:
        if level in coverage["level"].values:
            share = float(coverage["coverage"].sel(level=level))
            if abs(share - level) > COVERED and (level > dry + COVERED or share < level):
                yield Failing(
                    abs(share - level) * 5, f"{100 * share:.1f} % of the truth lies below its {100 * level:.0f} % quantile"
                )


def _spread(ratio: float) -> Iterator[Failing]:
    if np.isfinite(ratio) and not 0.8 <= ratio <= 1.25:
        word = "too sure" if ratio < 1 else "not sure enough"
        yield Failing(_off(ratio), f"it is {word}: its spread is {ratio:.2f} of its error")


def _levels(extremes: xr.Dataset) -> Iterator[Failing]:
    """The return level that the fits of both sources reach safely: of 20 years, or the highest below."""
    periods = extremes["return_period"].values
    years = float(periods[periods <= 20].max(initial=periods.min()))
    for method, what in (("gev", "annual maxima"), ("gpd", "excesses")):
        level = extremes["return_level"].sel(return_period=years, fit=method)
        ratio = float((level.sel(source=SOURCES[0]) / level.sel(source=SOURCES[1])).median("cell"))
        if np.isfinite(ratio):
            if abs(ratio - 1) > RIGHT:
                where = " (median of places)" if level.sizes["cell"] > 1 else ""
                yield Failing(_off(ratio), f"its {years:.0f}-year level, from {what}, is {ratio:.2f} of the reference's{where}")
            return


def _behind(one: Assessed, others: Sequence[Assessed], kind: str, name: str, what: str) -> Iterator[Failing]:
    """Compare a score with the best product's, where their samples are the same."""
    if kind not in one.figures:
        return
    scores = {
        other.name: float(other.figures[kind][name]) for other in others if kind in other.figures and same_samples(one, other)
    }
    if len(scores) < 2:
        return
    best = min(scores, key=lambda key: scores[key])
    worse = scores[one.name] / scores[best] - 1 if scores[best] > 0 else np.nan
    if worse > BEHIND:
        yield Failing(worse, f"its {what} is {100 * worse:.0f} % above that of {best}")


def same_samples(one: Assessed, other: Assessed) -> bool:
    """Say whether the scores of two products are of as many rates in one unit, so that they may be compared."""
    if "rates" not in one.figures or "rates" not in other.figures:
        return False
    alike = one.pairing.units == other.pairing.units
    return alike and float(one.figures["rates"]["pairs"]) == float(other.figures["rates"]["pairs"])


def _trend(one: Assessed) -> str:
    if "trends" not in one.figures:
        return ""
    found = one.figures["trends"].sel(index="rx1day")
    said = []
    for source, whose in zip(SOURCES, ("its", "the reference's"), strict=True):
        part = found.sel(source=source)
        tested = int(part["p"].notnull().sum())
        if tested:
            shown = int(part["significant"].sum())
            span = f"{part['first_year'].item():.0f}-{part['last_year'].item():.0f}"
            count = f"at {shown} of {tested} places" if tested > 1 else ("" if shown else "not ")
            said.append(
                f"{whose} trend of the highest day {span} is significant {count}"
                if tested > 1
                else f"{whose} trend of the highest day {span} is {count}significant"
            )
    return _sentence("; ".join(said))


def _hooks(one: Assessed) -> str:
    if "scaling" not in one.figures:
        return ""
    hooks = one.figures["scaling"]["hook"].sel(source=SOURCES[0])
    seen, known = int(hooks.sum()), int(hooks.notnull().sum())
    return (
        f"Extremes peak and then fall with temperature at {seen} of {known} places: one scaling does not hold." if seen else ""
    )


def _sensitivity(one: Assessed) -> str:
    if "sensitivity" not in one.figures:
        return ""
    found = one.figures["sensitivity"].sel(source=SOURCES[0])
    value = float(found["sensitivity"])
    if not np.isfinite(value):
        return ""
    inside = [str(s) for s in found["scenario"].values if float(found["inside"].sel(scenario=s)) == 1]
    where = f"inside the models' range of {', '.join(inside)}" if inside else "outside the models' range of every scenario"
    return f"Its rain changes by {value:+.2f} % per kelvin of {found['temperature'].item()}, {where}."


def _off(ratio: float) -> float:
    """How many doublings or halvings a ratio is from 1.

    Examples
    --------
    >>> _off(2.0), _off(0.5)
    (1.0, 1.0)
    """
    return float(abs(np.log2(ratio))) if ratio > 0 else 5.0


def _sure(figures: xr.Dataset, name: str, right: float) -> bool:
    """Say whether the interval leaves out what would be right; without an interval the figure itself counts."""
    low, high = (float(figures[f"{name}_interval"].sel(bound=bound)) for bound in ("low", "high"))
    return not (np.isfinite(low) and low <= right <= high)


def _interval(figures: xr.Dataset, name: str, form: str, unit: str = "") -> str:
    low, high = (float(figures[f"{name}_interval"].sel(bound=bound)) for bound in ("low", "high"))
    return f" [{low:{form}}, {high:{form}}{unit}]" if np.isfinite(low) and np.isfinite(high) else ""


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}." if text else ""
