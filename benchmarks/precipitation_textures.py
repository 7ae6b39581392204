"""Score fields of rain whose truth is known: texture, tails, and what members say together; see `precipitation_images.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from rich.table import Table

from vigie.verify.bootstrap import resample
from vigie.verify.fields import FieldSample, count_fractions, finish_fractions
from vigie.verify.members import MEMBERS, MemberSample, spread_of_members
from vigie.verify.spectra import (
    COHERENCE,
    COHERENCE_WINDOW_PX,
    COHERENT,
    count_member_coherence,
    finish_member_coherence,
    slope,
)
from vigie.verify.spread import SPREAD
from vigie.verify.tails import tail_statistics
from vigie.verify.tally import Tally, add_all

Good = NDArray[np.bool_]

Fields = Sequence[NDArray[np.float32]]
"""Fields (member, scan, pixel) mm h-1 of each orbit; a mean is one member."""

POWER_WITHIN = (0.7, 1.4)
TAIL_WITHIN = (0.9, 1.1)
SLOPE_PX = (4.0, 32.0)
SHOWN_PX = (32.0, 16.0, 8.0, 4.0, 64 / 31)
"""Wavelengths whose power is printed."""

REPLICATES, SURE = 1000, 0.9
"""Resamples of orbits, and the share of them that an interval holds."""

TEXTURE_THRESHOLDS_MM_H = (1.0, 5.0)
NEIGHBOURHOODS_PX = (1, 5)


@dataclass(frozen=True)
class Texture:
    """Scores of single fields, each against the truth, and of all together where they are members.

    products: what `COHERENCE` counts, pooled over members, by orbit; spectra: `coherence` and `power_ratio` by wavenumber, of
    all orbits; tails: `tail_statistics`, mean over members; fss (threshold_mm_h, size_px); slope and truth_slope of power;
    together: CRPS, spread and coherence of members, None for a mean.
    """

    products: Tally
    spectra: xr.Dataset
    tails: xr.Dataset
    fss: xr.DataArray
    slope: float
    truth_slope: float
    together: xr.Dataset | None

    def tail(self, name: str) -> float:
        """A ratio of tails."""
        return float(self.tails[name])


def sharp(spectra: xr.Dataset) -> Good:
    """Whether power is near that of the truth, by wavenumber (last)."""
    low, high = POWER_WITHIN
    ratio = spectra["power_ratio"].transpose(..., "wavenumber").values
    return np.asarray((ratio >= low) & (ratio <= high))


def coherent(spectra: xr.Dataset) -> Good:
    """Whether coherence with the truth exceeds sqrt(1/2), by wavenumber (last)."""
    return np.asarray(spectra["coherence"].transpose(..., "wavenumber").values > COHERENT)


def both(spectra: xr.Dataset) -> Good:
    """Whether fields are sharp and coherent, by wavenumber (last)."""
    return sharp(spectra) & coherent(spectra)


def resolved(good: Good) -> NDArray[np.int64]:
    """The highest wavenumber that is good together with all lower ones; 0 where not even the first is.

    Parameters
    ----------
    good: (..., wavenumber), 1 first.
    """
    return np.asarray(np.cumprod(good, axis=-1).sum(axis=-1))


def shortest_px(good: Good) -> float:
    """The shortest wavelength, pixels, that is good together with all longer ones; infinite where not even the longest is."""
    highest = int(resolved(good))
    return 2 * COHERENCE_WINDOW_PX / highest if highest else float("inf")


def texture(fields: Fields, truth: Sequence[NDArray[np.float32]]) -> Texture:
    """Score fields (member, scan, pixel) of each orbit against its truth (scan, pixel)."""
    orbits = [[FieldSample(one, known) for one in many] for many, known in zip(fields, truth, strict=True)]
    products = add_all(add_all(map(COHERENCE.count, orbit)).at(orbit=f"{k:03d}") for k, orbit in enumerate(orbits))
    tally = products.sum("orbit")
    spectra = COHERENCE.finish(tally)
    power = tally.mean().assign_coords(wavelength_px=spectra["wavelength_px"])
    fractions = add_all(count_fractions(one, TEXTURE_THRESHOLDS_MM_H, NEIGHBOURHOODS_PX) for orbit in orbits for one in orbit)
    stacked, known = np.concatenate(fields, axis=1), np.concatenate(truth)
    return Texture(
        products=products,
        spectra=spectra,
        tails=tail_statistics(stacked, known).mean("draw"),
        fss=finish_fractions(fractions)["fss"],
        slope=float(slope(power["estimate_power"], *SLOPE_PX)),
        truth_slope=float(slope(power["truth_power"], *SLOPE_PX)),
        together=members_together(fields, truth) if len(stacked) > 1 else None,
    )


def members_together(fields: Fields, truth: Sequence[NDArray[np.float32]]) -> xr.Dataset:
    """Score members as draws of one distribution: fair CRPS, spread over error, coherence between them and with the truth."""
    samples = [MemberSample(many, known) for many, known in zip(fields, truth, strict=True)]
    scores = MEMBERS.finish(add_all(map(MEMBERS.count, samples)))
    spread = SPREAD.finish(add_all(SPREAD.count(spread_of_members(one)) for one in samples))
    pairs = add_all(count_member_coherence(many, known) for many, known in zip(fields, truth, strict=True))
    return xr.merge([scores, spread[["spread_over_error"]], finish_member_coherence(pairs)])


def at_shown(scores: xr.Dataset) -> xr.Dataset:
    """Take the wavelengths that are printed."""
    return scores.swap_dims(wavenumber="wavelength_px").sel(wavelength_px=list(SHOWN_PX), method="nearest")


def field_table(found: Mapping[str, Texture], title: str) -> Table:
    """Single fields: texture."""
    heads = [*(f"{px:.3g} px" for px in SHOWN_PX), "slope", "sharp to", "coherent to", "both to"]
    table = Table("field", *heads, title=f"{title}: power over the truth's, and how fine fields are, px")
    table.add_row("truth", *["1"] * len(SHOWN_PX), f"{next(iter(found.values())).truth_slope:.2f}", *["2.06"] * 3)
    for name, one in found.items():
        lengths = [shortest_px(good(one.spectra)) for good in (sharp, coherent, both)]
        ratios = [f"{ratio:.2f}" for ratio in at_shown(one.spectra)["power_ratio"].values]
        table.add_row(name, *ratios, f"{one.slope:.2f}", *[f"{px:.3g}" for px in lengths])
    return table


def coherence_table(found: Mapping[str, Texture], title: str) -> Table:
    """Single fields: coherence with the truth."""
    table = Table("field", *(f"{px:.3g} px" for px in SHOWN_PX), title=f"{title}: coherence with the truth")
    for name, one in found.items():
        table.add_row(name, *[f"{value:.3f}" for value in at_shown(one.spectra)["coherence"].values])
    return table


def tail_table(found: Mapping[str, Texture], title: str) -> Table:
    """Single fields: what is rare, and whether rain is in the right place."""
    cells = [(t, n) for t in TEXTURE_THRESHOLDS_MM_H for n in NEIGHBOURHOODS_PX]
    ratios = {"p99": "p99_ratio", "p99.9": "p999_ratio", "max": "max_ratio", "wet": "wet_ratio"}
    heads = [*ratios, *(f"FSS {t:g} mm/h, {n} px" for t, n in cells)]
    table = Table("field", *heads, title=f"{title}: ratios to the truth, and FSS, means over members")
    for name, one in found.items():
        fss = [float(one.fss.sel(threshold_mm_h=t, size_px=n)) for t, n in cells]
        table.add_row(name, *[f"{one.tail(ratio):.2f}" for ratio in ratios.values()], *[f"{score:.3f}" for score in fss])
    return table


def member_table(found: Mapping[str, Texture], title: str) -> Table:
    """Members together."""
    heads = ["CRPS, mm/h", "beyond 5 mm/h", "spread / error", *(f"{px:.3g} px" for px in SHOWN_PX)]
    table = Table("members", *heads, title=f"{title}: members; coherence between them / with the truth")
    for name, one in found.items():
        if one.together is not None:
            of, shown = one.together, at_shown(one.together)
            crps = [float(of["crps_fair"]), float(of["twcrps_fair"].sel(threshold_mm_h=5.0))]
            pairs = zip(shown["between_members"].values, shown["with_truth"].values, strict=True)
            spread = f"{float(of['spread_over_error']):.2f}"
            table.add_row(name, *[f"{score:.4f}" for score in crps], spread, *[f"{b:.2f} / {w:.2f}" for b, w in pairs])
    return table


def verdicts(way: str, members: Texture, mean: Texture, reference: Texture) -> list[tuple[str, str]]:
    """Hold the members of one way, and their mean, against the reference's mean: what the bar asks, and whether it is so.

    Returns
    -------
    list
        Lines with 'met', 'MISS', or, where orbits are too few to tell, 'LEVEL'.
    """
    theirs = ("the reference's mean", reference)
    return [
        *(spectrum(f"{way}, a member", members, True), spectrum(*theirs, False)),
        *(tail(f"{way}, a member", members, True), tail(*theirs, False)),
        finer(f"{way}, a member is sharp", members, reference, sharp),
        finer(f"{way}, the mean of members is coherent", mean, reference, coherent),
        finer(f"{way}, a member is both", members, reference, both),
    ]


def spectrum(what: str, one: Texture, wanted: bool) -> tuple[str, str]:
    """Whether power is that of the truth at all wavelengths up to 32 pixels, and should be."""
    short = one.spectra["wavelength_px"].values <= SHOWN_PX[0]
    ratio = one.spectra["power_ratio"].values[short]
    asked = f"{'' if wanted else 'not '}within {POWER_WITHIN[0]:g} to {POWER_WITHIN[1]:g}"
    told = f"{what}: power {ratio.min():.2f} to {ratio.max():.2f} of the truth's up to 32 px, asked {asked}"
    return told, "met" if bool(sharp(one.spectra)[short].all()) == wanted else "MISS"


def tail(what: str, one: Texture, wanted: bool) -> tuple[str, str]:
    """Whether p99.9 is that of the truth, and should be."""
    low, high = TAIL_WITHIN
    ratio = one.tail("p999_ratio")
    asked = f"{'' if wanted else 'not '}within {low:g} to {high:g}"
    return f"{what}: p99.9 {ratio:.2f} of the truth's, asked {asked}", "met" if (low <= ratio <= high) == wanted else "MISS"


def finer(what: str, ours: Texture, theirs: Texture, good: Callable[[xr.Dataset], Good]) -> tuple[str, str]:
    """Whether we are good to a shorter wavelength than the reference's mean; orbits are resampled to tell that from chance."""
    here, there = (shortest_px(good(one.spectra)) for one in (ours, theirs))
    many = [resolved(good(COHERENCE.finish(resample(one.products, "orbit", REPLICATES)))) for one in (ours, theirs)]
    low, high = np.quantile(many[0] - many[1], [(1 - SURE) / 2, (1 + SURE) / 2])
    told = f"{what} to {here:.3g} px, the reference's mean to {there:.3g} px, asked shorter"
    sure = f"({low:+.0f} to {high:+.0f} of {COHERENCE_WINDOW_PX - 1} wavenumbers in {SURE:.0%} of resampled orbits)"
    return f"{told} {sure}", "met" if here < there and low > 0 else "MISS" if here > there and high < 0 else "LEVEL"
