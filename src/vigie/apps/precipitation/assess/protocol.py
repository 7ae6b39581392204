"""The protocol: every product through every measure that its data allow, and a sentence where they do not."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import xarray as xr

from vigie.apps.precipitation.assess import climate, places, return_levels, warming
from vigie.apps.precipitation.assess.counters import COUNTERS, OF_OWN_WEATHER, protocol_of
from vigie.apps.precipitation.assess.counting import counted, finished
from vigie.apps.precipitation.assess.figures import described
from vigie.apps.precipitation.assess.opening import open_record
from vigie.apps.precipitation.assess.pairing import Pairing, pair
from vigie.apps.precipitation.assess.record import Record
from vigie.apps.precipitation.assess.settings import AssessmentSettings
from vigie.core.errors import VigieError
from vigie.verify.spectra import COHERENCE_WINDOW_PX

log = logging.getLogger("vigie")

CLIMATE = ("indices", "extremes", "trends", "scaling", "sensitivity")
"""Figures of daily series, beside those that are counted on matches."""
WHY_NOT = {
    "fractions": "it comes as points or averages, not as images",
    "coherence": f"it has no images of {COHERENCE_WINDOW_PX} x {COHERENCE_WINDOW_PX} pixels or more",
    "coverage": "it gives one number, no quantiles or members",
    "reliability": "it gives one number, no quantiles or members",
    "spread": "it gives one number, no quantiles or members",
}
OWN_WEATHER = "its days are not those of the reference"


@dataclass(frozen=True)
class Assessed:
    """What was found of one product: figures by kind, why others are missing, and what scaling allows to conclude, by place."""

    name: str
    pairing: Pairing
    figures: Mapping[str, xr.Dataset]
    missing: Mapping[str, str]
    scaling: Mapping[tuple[str, str], str]


@dataclass(frozen=True)
class Assessment:
    """What was found of all products; `sampling` of the reference alone, or why not."""

    reference: Record
    products: tuple[Assessed, ...]
    sampling: xr.Dataset | None
    no_sampling: str


def assessed(settings: AssessmentSettings, base: Path) -> Assessment:
    """Open all records, pair each product with the reference, and take every measure.

    Parameters
    ----------
    settings: the assessment.
    base: the folder that relative paths start from.

    Raises
    ------
    VigieError: files are missing or no rain, or a product and the reference have nothing in common.
    """
    reference = open_record(settings.reference, base)
    # All pairs first: what cannot be compared is refused before anything is computed.
    pairings = [pair(open_record(said, base), reference, said, settings) for said in settings.products]
    band = warming.models(settings.sensitivity, base) if settings.sensitivity else None
    products = []
    for pairing in pairings:
        log.info("assess: %s, %s", pairing.product.name, pairing.how)
        products.append(_assess(pairing, settings, band))
    try:
        return Assessment(reference, tuple(products), described(warming.sampling(pairings[0], settings), "mm day-1"), "")
    except VigieError as error:
        return Assessment(reference, tuple(products), None, str(error))


def _assess(pairing: Pairing, settings: AssessmentSettings, band: xr.DataArray | None) -> Assessed:
    protocol = protocol_of(pairing, settings)
    tallies = counted(pairing, protocol)
    if not tallies or not float(tallies["intensity"].weight["product"].sum()) > 0:
        raise VigieError(
            f"'{pairing.product.name}' and '{pairing.reference.name}' are never both known",
            found="no place and time where both have a rain rate",
            expected="at least one",
            do="check the fill values and masks of both",
        )
    figures = finished(tallies, protocol, settings.bootstrap)
    missing = {name: _why_not(name, pairing) for name in COUNTERS if name not in figures}
    if "coherence" in figures:
        resolution = figures["coherence"]["effective_resolution_px"]
        figures["coherence"] = figures["coherence"].assign(effective_resolution_km=resolution * pairing.cell_km)
        if bool(resolution.isnull()):
            del figures["coherence"]
            missing["coherence"] = f"no window of {COHERENCE_WINDOW_PX} x {COHERENCE_WINDOW_PX} pixels is known in both"
    words = _climate(pairing, settings, band, figures, missing)
    return Assessed(
        pairing.product.name, pairing, {name: described(f, pairing.units) for name, f in figures.items()}, missing, words
    )


def _climate(
    pairing: Pairing,
    settings: AssessmentSettings,
    band: xr.DataArray | None,
    figures: dict[str, xr.Dataset],
    missing: dict[str, str],
) -> dict[tuple[str, str], str]:
    """Add figures of daily series; what they do not allow is told in the words of the error that says why."""
    words: dict[tuple[str, str], str] = {}

    def scaled(found: places.Series) -> xr.Dataset:
        table, said = places.scalings(found, settings)
        words.update(said)
        return table

    try:
        figures["indices"] = climate.indices(pairing, settings)
        series = places.series(pairing, settings)
    except VigieError as error:
        missing |= dict.fromkeys(CLIMATE, str(error))
        return words
    steps: dict[str, Callable[[places.Series], xr.Dataset]] = {
        "extremes": lambda found: return_levels.extremes(found, settings),
        "trends": places.trends,
        "scaling": scaled,
    }
    if band is None:
        missing["sensitivity"] = "no climate models are given: [sensitivity]"
    else:
        steps["sensitivity"] = lambda found: warming.sensitivities(pairing, band, settings.seed)
    for name, step in steps.items():
        try:
            figures[name] = step(series)
        except VigieError as error:
            missing[name] = str(error)
    return words


def _why_not(name: str, pairing: Pairing) -> str:
    return OWN_WEATHER if pairing.own_weather and name not in OF_OWN_WEATHER else WHY_NOT[name]
