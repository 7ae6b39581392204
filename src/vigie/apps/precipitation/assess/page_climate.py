"""Sections of the page on climate: indices, trends, scaling, sensitivity, and what an orbit misses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import xarray as xr

from vigie.apps.precipitation.assess.climate import SOURCES
from vigie.apps.precipitation.assess.figures import FIGURES
from vigie.apps.precipitation.assess.page_levels import extremes_section
from vigie.apps.precipitation.assess.protocol import CLIMATE, Assessment
from vigie.apps.precipitation.assess.tables import DRAWN, having, names, ratio_text, reasons
from vigie.apps.precipitation.charts import chart
from vigie.publish.curves import Curve, Frame, curve_chart
from vigie.publish.report import Cell, Column, Note, Section, Table
from vigie.verify.indices import UNITS as INDICES

INDEX_NAMES = {"wet_fraction": "wet days", "sdii": "SDII", "prcptot": "PRCPTOT", "cdd": "CDD", "cwd": "CWD"}

UNTOLD = {
    "detections": "scores of single rates",
    "fractions": "scales",
    "coverage": "distributions",
    "indices": "ETCCDI indices",
    "extremes": "return levels",
}
"""What sections that are missing would have told."""


def sections(assessment: Assessment, untold: Sequence[str]) -> Iterator[Section]:
    """Give one section for each part of the climate that some product allows, and one with the reasons of all others."""
    products = assessment.products
    makers = (indices_section, extremes_section, trends_section, scaling_section, sensitivity_section)
    without = list(untold)
    for kind, make in zip(CLIMATE, makers, strict=True):
        if any(kind in one.figures for one in products):
            yield make(assessment)
        else:
            without.append(kind)
    if assessment.sampling is not None:
        yield sampling_section(assessment.sampling, assessment.reference.name)
    notes = list(reasons(products, *without))
    if assessment.sampling is None:
        notes.append(Note(f"Sampling error of an orbit: not told, because {assessment.no_sampling}."))
    lacking = [UNTOLD.get(kind, kind) for kind in without]
    if notes:
        text = f"Not told: {', '.join(lacking)}." if lacking else ""
        yield Section("What these data do not tell", text, notes=tuple(notes))


def indices_section(assessment: Assessment) -> Section:
    """Tabulate ETCCDI indices."""
    tables = []
    for one in having(assessment, "indices"):
        found = one.figures["indices"]
        rows = tuple(
            (
                INDEX_NAMES.get(name, name.capitalize()),
                *(float(found[name].sel(source=source)) for source in SOURCES),
                ratio_text(one, "indices", f"{name}_ratio"),
                f"{FIGURES[name][1]}{'' if FIGURES[name][0] == '1' else ', ' + FIGURES[name][0]}",
            )
            for name in INDICES
        )
        columns = (
            Column("index"),
            *(Column(n, ".4g") for n in names(one, assessment)),
            *map(Column, ("ratio", "what it is")),
        )
        first, last = (str(found.attrs[end]) for end in ("first", "last"))
        title = f"{one.name}, {first} to {last}; percentiles of {found.attrs['base']}"
        tables.append(Table(title, columns, rows))
    text = "Means over places, or cells by their area, and years that both have; 95 % intervals of the ratios resample years."
    notes = tuple(reasons(assessment.products, "indices"))
    return Section("Indices of daily rain", text, tables=tuple(tables), notes=notes)


def trends_section(assessment: Assessment) -> Section:
    """Tabulate trends."""
    tables = []
    titles = {"rx1day": "highest day", "prcptot": "annual rain"}
    for one in having(assessment, "trends"):
        found = one.figures["trends"]
        rows: list[tuple[Cell, ...]] = []
        for cell in found["cell"].values:
            for source, name in zip(SOURCES, names(one, assessment), strict=True):
                for index, title in titles.items():
                    part = found.sel(cell=cell, source=source, index=index)
                    span = f"{float(part['first_year']):.0f}-{float(part['last_year']):.0f}"
                    values = (float(part[n]) for n in ("slope", "p", "p_corrected"))
                    rows.append((str(cell), name, span, title, *values, "yes" if float(part["significant"]) == 1 else "no"))
        columns = (
            *map(Column, ("place", "record", "years", "of")),
            Column("mm per year", "+.3f"),
            Column("p", ".2g"),
            Column("p, corrected", ".2g"),
            Column("significant"),
        )
        tables.append(
            Table(f"Trends of {one.name} beside {assessment.reference.name}", columns, tuple(rows), folded=len(rows) > 24)
        )
    text = (
        "Sen's slope and the test of Mann and Kendall over the years of each record, corrected for autocorrelation after Hamed "
        "and Rao. Of all places together no more than a tenth of what is called significant is so by chance."
    )
    return Section("Trends", text, tables=tuple(tables), notes=tuple(reasons(assessment.products, "trends")))


def scaling_section(assessment: Assessment) -> Section:
    """Draw extremes by temperature, and say what may be concluded."""
    figures, lines = [], []
    for one in having(assessment, "scaling"):
        found = one.figures["scaling"]
        known = [c for c in found["cell"].values if bool(found["intensity"].sel(cell=c).notnull().any())]
        for cell in known[:DRAWN]:
            part = found.sel(cell=cell)
            curves = {
                name: Curve(part["temperature_c"].sel(source=source).values, part["intensity"].sel(source=source).values)
                for source, name in zip(SOURCES, names(one, assessment), strict=True)
                if bool(part["intensity"].sel(source=source).notnull().any())
            }
            which = " or ".join(dict.fromkeys(str(name) for name in part["temperature"].values if name))
            frame = Frame(f"{cell}: extremes by temperature", (f"{which}, °C", "mm per day"), ("linear", "log"))
            figures.append(chart(partial(curve_chart, curves, frame), f"{one.name} at {cell}.", f"scaling at {cell}"))
        whose = dict(zip(SOURCES, names(one, assessment), strict=True))
        called = {source: str(found["temperature"].sel(source=source).item()) for source in SOURCES}
        lines += [(whose[source], place, called[source], said) for (source, place), said in one.scaling.items()]
    columns = tuple(map(Column, ("record", "place", "temperature", "scaling with it")))
    rows: tuple[tuple[Cell, ...], ...] = tuple(dict.fromkeys(lines))
    text = (
        "A high quantile of wet days by bins of temperature, beside the 6 to 7 % per kelvin by which air can hold more vapour."
    )
    notes = tuple(reasons(assessment.products, "scaling"))
    return Section(
        "Scaling with temperature", text, figures=tuple(figures), tables=(Table("Scaling", columns, rows),), notes=notes
    )


def sensitivity_section(assessment: Assessment) -> Section:
    """Place products among climate models."""
    shown = having(assessment, "sensitivity")
    bands = shown[0].figures["sensitivity"]
    rows: list[tuple[Cell, ...]] = []
    for one in shown:
        found = one.figures["sensitivity"]
        for source, name in zip(SOURCES, names(one, assessment), strict=True):
            part = found.sel(source=source)
            if np.isfinite(float(part["sensitivity"])):
                verdicts = (_verdict(part, str(s)) for s in part["scenario"].values)
                rows.append((name, _sensitivity(part), str(part["temperature"].item()), *verdicts))
    scenarios = [str(s) for s in bands["scenario"].values]
    columns = (*map(Column, ("record", "% per K", "of")), *map(Column, scenarios))
    band: tuple[tuple[Cell, ...], ...] = tuple(
        (s, *(float(bands[n].sel(scenario=s)) for n in ("mean", "low", "high", "models"))) for s in scenarios
    )
    tables = (
        Table("Sensitivity, and its rank among models", columns, tuple(dict.fromkeys(rows))),
        Table(
            "Climate models",
            (Column("scenario"), *(Column(n, ".2f") for n in ("mean", "5 %", "95 %")), Column("models", ".0f")),
            band,
        ),
    )
    text = (
        "How much more it rains for each kelvin. That of models is of global means between 1981-2005 and 2071-2099. A record "
        "that holds both periods is treated alike; of any other annual rain is regressed on annual temperature, on which the "
        "weather of single years weighs, so that its rank is a hint and no verdict."
    )
    local = Note(
        "The records are means over all common places, or all common cells by their area: only a global product can be "
        "expected to lie within the range, and only with the mean air temperature.",
        "warning",
    )
    notes = (local, *reasons(assessment.products, "sensitivity"))
    return Section("Hydrological sensitivity", text, tables=tables, notes=notes)


def _sensitivity(part: xr.Dataset) -> str:
    error = float(part["standard_error"])
    return f"{float(part['sensitivity']):+.2f}" + (f" ± {error:.2f}" if np.isfinite(error) else "")


def _verdict(part: xr.Dataset, scenario: str) -> str:
    one = part.sel(scenario=scenario)
    inside = "inside" if float(one["inside"]) == 1 else "outside"
    return f"{inside}, {float(one['rank']):.0f} of {float(one['of']):.0f}"


def sampling_section(found: xr.Dataset, reference: str) -> Section:
    """Tabulate what an orbit would miss."""
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (f"{float(hours):g} h", *(float(found[n].sel(revisit_h=hours)) for n in ("relative_rmse", "quantile_ratio")))
        for hours in found["revisit_h"].values
    )
    columns = (Column("seen every"), Column("RMSE over mean", ".2f"), Column("ratio of p99", ".2f"))
    text = (
        f"{reference} seen only now and then, and rescaled, against its own daily totals ({float(found['days']):.0f} days): "
        "the error that an orbit has even if it measures rightly."
    )
    return Section("Sampling error of an orbit", text, tables=(Table("Daily totals", columns, rows),))
