"""What is counted of matches, and how counts become figures: each adds over files and groups, so memory is bounded.

Rates are in the unit of the pairing; the names of thresholds keep `mm_h` only inside `vigie.verify`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.apps.precipitation.assess.chances import chances, drawn
from vigie.apps.precipitation.assess.pairing import Match, Pairing
from vigie.apps.precipitation.assess.settings import AssessmentSettings
from vigie.verify.climatology import count_distribution, quantile_quantile
from vigie.verify.events import count_events, reliability
from vigie.verify.fields import FieldSample, count_fractions, finish_fractions
from vigie.verify.indices import ROUNDING
from vigie.verify.members import MemberSample, crps_fair, spread_of_members
from vigie.verify.quantile_scores import (
    BLOCK_ROWS,
    COVERAGE_LEVELS,
    TAIL_MM_H,
    chained,
    count_quantiles,
    crps_integral,
    finish_quantiles,
)
from vigie.verify.quantiles import QuantileSample, exceedance_sample
from vigie.verify.rain import THRESHOLDS_MM_H, RainSample, count_detections, count_rates, finish_detections, finish_rates
from vigie.verify.spectra import COHERENCE_WINDOW_PX, count_coherence, finish_coherence
from vigie.verify.spread import count_spread, finish_spread, spread_of_quantiles
from vigie.verify.tally import Tally

Floats = NDArray[np.float64]

DAILY_THRESHOLDS_MM = (1.0, 10.0, 20.0, 50.0)
"""Wet, heavy, very heavy and extreme days."""
WET_MM_H, WET_MM_DAY = 0.1, 1.0
"""A sample is wet from here on: an hour or an instant, and a day as ETCCDI has it."""
QQ = (0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9999)
"""Shares at which distributions are held against each other."""
LEAST_SPREAD_MEMBERS = 2


@dataclass(frozen=True)
class Protocol:
    """What the measures of one pairing need to know."""

    thresholds: tuple[float, ...]
    wet: float
    draws: int
    seed: int


@dataclass(frozen=True)
class Counter:
    """One kind of figures: whether a match has it, what is counted, how counts are finished, and where it is told."""

    section: str
    applies: Callable[[Match], bool]
    count: Callable[[Match, Protocol], Tally]
    finish: Callable[[Tally], xr.Dataset]


def protocol_of(pairing: Pairing, settings: AssessmentSettings) -> Protocol:
    """Choose thresholds by the unit, unless they are given."""
    usual = DAILY_THRESHOLDS_MM if pairing.daily else THRESHOLDS_MM_H
    wet = WET_MM_DAY if pairing.daily else WET_MM_H
    return Protocol(settings.thresholds or usual, wet, settings.draws, settings.seed)


def levels_of(match: Match) -> tuple[Floats, Floats] | None:
    """Give what a product says of the distribution as quantiles (level, ...) and levels; members are sorted.

    The i-th of m members stands at the level (i - 1/2) / m. None where a product gives one number.
    """
    if match.quantiles is not None and match.levels is not None:
        return match.quantiles, match.levels
    if match.members is not None and len(match.members) >= LEAST_SPREAD_MEMBERS:
        return np.sort(match.members, axis=0), (np.arange(len(match.members)) + 0.5) / len(match.members)
    return None


def has_distribution(match: Match) -> bool:
    """Say whether a product gives more than one number."""
    return levels_of(match) is not None


def is_image(match: Match) -> bool:
    """Say whether a match holds images."""
    return match.fields and min(match.truth.shape[-2:]) > 1


def images(match: Match) -> Iterator[FieldSample]:
    """Give the images of a match: each step of a grid, or the whole piece of a swath."""
    if match.truth.ndim == 2:
        yield FieldSample(match.estimate, match.truth)
    else:
        yield from (FieldSample(ours, theirs) for ours, theirs in zip(match.estimate, match.truth, strict=True))


def samples(match: Match, protocol: Protocol) -> Iterator[Floats]:
    """Give what a product says could have fallen, NaN where unknown: draws of its quantiles, its members, or its one number."""
    if match.members is not None:
        yield from match.members
    elif match.quantiles is not None and match.levels is not None:
        known = np.isfinite(match.quantiles).all(axis=0) & np.isfinite(match.truth)
        quantiles, cells = match.quantiles[:, known], int(np.prod(known.shape[1:]))
        for number in range(protocol.draws):
            sample = np.full(known.shape, np.nan)
            chance = chances((protocol.seed, number), match.step, cells).reshape(known.shape)
            sample[known] = drawn(quantiles, match.levels, chance[known])
            yield sample
    else:
        yield match.estimate


def count_sampled_rates(match: Match, protocol: Protocol) -> Tally:
    """Sum errors and moments of rates, by area, and count the pairs."""
    sample = RainSample(match.estimate, match.truth, match.area)
    pairs = {"pairs": int(sample.rows.sum())}
    counted = count_rates(sample)
    return Tally(counted.total.assign(pairs), counted.weight.assign(pairs))


def finish_sampled_rates(tally: Tally) -> xr.Dataset:
    """Turn sums into scores of rates, and tell how many pairs of rates there are."""
    return finish_rates(tally).assign(pairs=tally.total["pairs"])


def count_intensity(match: Match, protocol: Protocol) -> Tally:
    """Count the distribution of a product's samples beside that of the reference, by area, where both are known."""
    known = np.isfinite(match.estimate) & np.isfinite(match.truth)
    ours = [one[known] for one in samples(match, protocol)]
    values = {"product": np.concatenate(ours), "reference": match.truth[known]}
    area = np.ones(int(known.sum())) if match.area is None else match.area[known]
    areas = {"product": np.tile(area, len(ours)), "reference": area}
    tallies = {name: count_distribution(rain, None if match.area is None else areas[name]) for name, rain in values.items()}
    total, weight = (
        xr.Dataset({name: getattr(tally, which)["histogram"] for name, tally in tallies.items()})
        for which in ("total", "weight")
    )
    # Not from the histogram: 1 mm that went through 32 bits lies below the edge of its bin.
    wet = {f"{name}_wet": areas[name][rain >= protocol.wet * (1 - ROUNDING)].sum() for name, rain in values.items()}
    seen = {f"{name}_wet": areas[name][np.isfinite(rain)].sum() for name, rain in values.items()}
    return Tally(total.assign(wet), weight.assign(seen))


def finish_intensity(tally: Tally) -> xr.Dataset:
    """Turn histograms into wet fractions, quantiles (probability) and the ratios of p99, p99.9 and wet fraction."""
    quantile = quantile_quantile(_histogram(tally, "product"), _histogram(tally, "reference"), QQ)
    quantile = quantile.rename(quantile="probability")
    wet = {name: tally.mean()[f"{name}_wet"] for name in ("product", "reference")}
    return xr.Dataset(
        {
            "wet_ratio": wet["product"] / wet["reference"].where(wet["reference"] > 0),
            "p99_ratio": quantile["ratio"].sel(probability=0.99, drop=True),
            "p999_ratio": quantile["ratio"].sel(probability=0.999, drop=True),
            "wet_fraction": wet["product"],
            "reference_wet_fraction": wet["reference"],
            "quantile": quantile["product"],
            "reference_quantile": quantile["reference"],
        }
    )


def _histogram(tally: Tally, name: str) -> Tally:
    total, weight = (data[[name]].rename({name: "histogram"}) for data in (tally.total, tally.weight))
    return Tally(total, weight)


def count_crps(match: Match, protocol: Protocol) -> Tally:
    """Sum the CRPS by area, whole and beyond thresholds; a product that gives one number is taken at its word: |p - y|."""
    rows, score = _crps_of(match)
    truth = match.truth[rows].astype(np.float64)
    area = np.ones(truth.size) if match.area is None else match.area[rows]
    sums = np.zeros(1 + len(TAIL_MM_H))
    for start in range(0, truth.size, BLOCK_ROWS):
        part = slice(start, start + BLOCK_ROWS)
        # v(z) = max(z, threshold) of both makes the CRPS that beyond the threshold; nothing lies below minus infinity
        sums += [score(part, truth[part], threshold) @ area[part] for threshold in (-np.inf, *TAIL_MM_H)]
    total = xr.Dataset({"crps": sums[0], "twcrps": ("threshold_mm_h", sums[1:])}, {"threshold_mm_h": list(TAIL_MM_H)})
    return Tally(total, xr.Dataset(dict.fromkeys(total.data_vars, area.sum())))


def _crps_of(match: Match) -> tuple[NDArray[np.bool_], Callable[[slice, Floats, float], Floats]]:
    """Say where a product can be scored, and how some of these rows are, beyond a threshold."""
    if match.members is not None and len(match.members) >= LEAST_SPREAD_MEMBERS:
        sample = MemberSample(match.members, match.truth)
        members, _ = sample.known()
        return sample.rows, lambda part, y, t: crps_fair(np.maximum(members[:, part], t), np.maximum(y, t))
    if match.quantiles is not None and match.levels is not None:
        said, levels = QuantileSample(match.quantiles, match.levels, match.truth), match.levels.astype(np.float64)
        quantiles, _ = said.known()
        return said.rows, lambda part, y, t: crps_integral(*chained(quantiles[:, part], levels, y, t))
    known = RainSample(match.estimate, match.truth)
    estimate, _ = known.known()
    return known.rows, lambda part, y, t: np.abs(np.maximum(estimate[part], t) - np.maximum(y, t))


def count_coverage(match: Match, protocol: Protocol) -> Tally:
    """Sum coverage of levels and the PIT."""
    quantiles, levels = _said(match)
    inside = tuple(level for level in COVERAGE_LEVELS if levels[0] <= level <= levels[-1])
    counted = count_quantiles(QuantileSample(quantiles, levels, match.truth), coverage_levels=inside)
    return counted.map(lambda data: data[["crps", "crps_integral", "twcrps", "twcrps_integral", "coverage", "pit"]])


def finish_coverage(tally: Tally) -> xr.Dataset:
    """Turn sums into `coverage` (level), `pit` (bin), and the CRPS that papers on quantile networks print.

    That is twice the mean pinball of the levels there are: it suits many even levels, and no comparison of products.
    """
    scores = finish_quantiles(tally)
    return scores[["coverage", "pit", "crps", "twcrps"]].rename(crps="crps_of_levels", twcrps="twcrps_of_levels")


def count_reliability(match: Match, protocol: Protocol) -> Tally:
    """Count how often thresholds are reached, by the probability that was said."""
    quantiles, levels = _said(match)
    return count_events(exceedance_sample(QuantileSample(quantiles, levels, match.truth), protocol.thresholds))


def finish_reliability(tally: Tally) -> xr.Dataset:
    """Turn counts into the Brier score and the table of reliability (event, bin)."""
    return reliability(tally).assign(brier=tally.mean()["brier"]).rename(bin="probability_bin")


def count_sharpness(match: Match, protocol: Protocol) -> Tally:
    """Sum spread and error."""
    if match.members is not None:
        return count_spread(spread_of_members(MemberSample(match.members, match.truth)))
    quantiles, levels = _said(match)
    return count_spread(spread_of_quantiles(QuantileSample(quantiles, levels, match.truth)))


def _said(match: Match) -> tuple[Floats, Floats]:
    found = levels_of(match)
    if found is None:  # `applies` keeps such matches away
        raise TypeError("a product without a distribution has none to score")
    return found


def count_fraction_images(match: Match, protocol: Protocol) -> Tally:
    """Sum fractions of neighbourhoods of all images."""
    return _summed(count_fractions(image, protocol.thresholds) for image in images(match))


def count_coherent_images(match: Match, protocol: Protocol) -> Tally:
    """Sum cosine coefficients of all images."""
    return _summed(count_coherence(image) for image in images(match))


def _summed(tallies: Iterator[Tally]) -> Tally:
    total = next(tallies)
    for tally in tallies:
        total = total + tally
    return total


COUNTERS: dict[str, Counter] = {
    "rates": Counter("scene", lambda match: True, count_sampled_rates, finish_sampled_rates),
    "detections": Counter(
        "scene",
        lambda match: True,
        lambda m, p: count_detections(RainSample(m.estimate, m.truth, m.area), p.thresholds),
        finish_detections,
    ),
    "fractions": Counter("scene", is_image, count_fraction_images, finish_fractions),
    "coherence": Counter(
        "scene",
        lambda match: is_image(match) and min(match.truth.shape[-2:]) >= COHERENCE_WINDOW_PX,
        count_coherent_images,
        finish_coherence,
    ),
    "crps": Counter("probability", lambda match: True, count_crps, Tally.mean),
    "coverage": Counter("probability", has_distribution, count_coverage, finish_coverage),
    "reliability": Counter("probability", has_distribution, count_reliability, finish_reliability),
    "spread": Counter("probability", has_distribution, count_sharpness, finish_spread),
    "intensity": Counter("climatology", lambda match: True, count_intensity, finish_intensity),
}
"""Every kind of figures that is counted on matches."""
OF_OWN_WEATHER = ("intensity",)
"""What can be said of a product whose days are not those of the reference."""
