"""The page of an assessment: one table of all products, where each fails, and the figures behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from vigie.apps.precipitation.assess import page_climate
from vigie.apps.precipitation.assess.protocol import Assessed, Assessment
from vigie.apps.precipitation.assess.settings import AssessmentSettings
from vigie.apps.precipitation.assess.tables import estimate, ratio_text, reasons
from vigie.apps.precipitation.assess.words import paragraph, same_samples
from vigie.apps.precipitation.charts import chart, coverage_figure, pit_figure, quantile_figure, reliability_figure
from vigie.publish.curves import Curve, Frame, curve_chart
from vigie.publish.report import (
    Cell,
    Column,
    Measure,
    Note,
    Number,
    Report,
    ReportFigure,
    ScoreTable,
    Section,
    Table,
)
from vigie.publish.sections import provenance_section, reproduce_section

MEASURES = (
    ("rates", Measure("rmse", "lower", title="RMSE")),
    ("rates", Measure("mae", "lower", title="MAE")),
    ("rates", Measure("smape_percent", "lower", ".1f", title="SMAPE, %")),
    ("rates", Measure("correlation", title="correlation")),
    ("crps", Measure("crps", "lower", title="CRPS")),
    ("crps", Measure("twcrps_5", "lower", title="CRPS beyond 5")),
)
"""Columns of the table of all products; of products without a distribution the CRPS is their absolute error."""
RATIOS = ("wet_ratio", "p99_ratio", "p999_ratio")


def report_of(assessment: Assessment, settings: AssessmentSettings, toml: str, record: Mapping[str, Any]) -> Report:
    """Assemble the page; `toml` is the assessment as it was read, `record` its provenance."""
    products = assessment.products
    told = [make(products) for kind, make in SECTIONS.items() if any(kind in one.figures for one in products)]
    untold = [kind for kind in SECTIONS if not any(kind in one.figures for one in products)]
    sections = [
        words_section(products),
        scores_section(products),
        *told,
        *page_climate.sections(assessment, untold),
        compared_section(assessment),
        provenance_section(record, toml),
        reproduce_section((f"vigie assess {settings.name}.toml --out FOLDER",), {}, "Save the assessment above as a file."),
    ]
    return Report(
        settings.name, settings.summary, sections, numbers=headlines(assessment), created=str(record.get("created", ""))
    )


def headlines(assessment: Assessment) -> tuple[Number, ...]:
    """What was compared, in a few numbers."""
    counts = [int(one.figures["spread"]["rows"].sum()) if "spread" in one.figures else 0 for one in assessment.products]
    units = sorted({one.pairing.units for one in assessment.products})
    numbers = [
        Number("products", str(len(assessment.products)), ", ".join(one.name for one in assessment.products)),
        Number("reference", assessment.reference.name, assessment.reference.geometry),
        Number("rates in", " and ".join(units), "days" if units == ["mm day-1"] else "instants or intervals"),
    ]
    return (*numbers, Number("samples with a distribution", f"{max(counts):,}")) if max(counts, default=0) else tuple(numbers)


def words_section(products: Sequence[Assessed]) -> Section:
    """Say where each product fails."""
    return Section("Where each product fails", "\n\n".join(paragraph(one, products) for one in products))


def scores_section(products: Sequence[Assessed]) -> Section:
    """Tabulate every product with intervals; and its bias, whose best is nought."""
    rows = {one.name: {m.name: e for kind, m in MEASURES if (e := estimate(one, kind, m.name)) is not None} for one in products}
    measures = tuple(m for _, m in MEASURES if any(m.name in row for row in rows.values()))
    columns = (Column("product"), *map(Column, ("bias, %", "p99 of samples", "p99.9 of samples", "wet fraction")))
    lines = tuple(
        (one.name, ratio_text(one, "rates", "bias_percent", ".1f"), *(ratio_text(one, "intensity", n) for n in ORDER))
        for one in products
    )
    units = " and ".join(dict.fromkeys(one.pairing.units for one in products))
    note = "Extremes are of samples, over those of the reference: 1 is right. A mean has no tail."
    grouped = ", ".join(dict.fromkeys(one.pairing.grouped for one in products))
    return Section(
        "All products",
        f"Rates in {units}; 95 % intervals resample {grouped}, and there are none where all samples are of one. "
        "A product that gives one number is taken at its word: its CRPS is its absolute error.",
        scores=(ScoreTable("Scores", measures, rows),) if measures else (),
        tables=(Table("Bias and extremes", columns, lines, note=note),),
        notes=(*_different_samples(products), *reasons(products, "rates")),
    )


def _different_samples(products: Sequence[Assessed]) -> Iterator[Note]:
    scored = [one for one in products if "rates" in one.figures]
    if any(not same_samples(scored[0], one) for one in scored[1:]):
        counts = ", ".join(f"{one.name} {float(one.figures['rates']['pairs']):,.0f}" for one in scored)
        yield Note(
            f"Products were paired with the reference on different samples ({counts}): scores differ by that, too.", "warning"
        )


ORDER = ("p99_ratio", "p999_ratio", "wet_ratio")


def detection_section(products: Sequence[Assessed]) -> Section:
    """Tabulate detections at thresholds."""
    names = ("pod", "far", "csi", "hss")
    rows: list[tuple[Cell, ...]] = []
    for one in products:
        if "detections" in one.figures:
            scores = one.figures["detections"]
            for t in scores["threshold_mm_h"].values:
                rows.append((one.name, f"{t:g} {one.pairing.units}", *(float(scores[n].sel(threshold_mm_h=t)) for n in names)))
    columns = (Column("product"), Column("from"), *(Column(name.upper(), ".3f") for name in names))
    text = "Hits over what came (POD), false alarms over what was said (FAR), CSI and Heidke's score, by threshold."
    tables = (Table("Detection", columns, tuple(rows)),)
    return Section("Detection", text, tables=tables, notes=tuple(reasons(products, "detections")))


def scale_section(products: Sequence[Assessed]) -> Section:
    """Tell at which scales images are right."""
    tables, figures = [_fractions([one for one in products if "fractions" in one.figures])], []
    coherent = [one for one in products if "coherence" in one.figures]
    if coherent:
        rows = tuple(
            (one.name, _finite(one, "effective_resolution_km"), _finite(one, "effective_resolution_px")) for one in coherent
        )
        tables.append(Table("Effective resolution", (Column("product"), Column("km", ".0f"), Column("pixels", ".1f")), rows))
        figures.append(_coherence_chart(coherent))
    text = (
        "Fractions skill scores (FSS) ask whether rain is as frequent in a neighbourhood; above 0.5 plus half the observed "
        "frequency a scale is skilful. Coherence asks which waves are right; the effective resolution is the shortest wave "
        "that is coherent together with all longer ones."
    )
    return Section(
        "Scales",
        text,
        figures=tuple(figures),
        tables=tuple(tables),
        notes=tuple(reasons(products, "fractions", "coherence")),
    )


def _finite(one: Assessed, name: str) -> Cell:
    value = float(one.figures["coherence"][name])
    return value if np.isfinite(value) else "none"


def _fractions(products: Sequence[Assessed]) -> Table:
    sizes = products[0].figures["fractions"]["size_px"].values
    rows: list[tuple[Cell, ...]] = []
    for one in products:
        fss = one.figures["fractions"]["fss"]
        for t in fss["threshold_mm_h"].values:
            rows.append((one.name, f"{t:g} {one.pairing.units}", *(float(fss.sel(threshold_mm_h=t, size_px=s)) for s in sizes)))
    widths = [_width(products[0], int(size)) for size in sizes]
    return Table(
        "FSS by width of the neighbourhood",
        (Column("product"), Column("from"), *(Column(w, ".3f") for w in widths)),
        tuple(rows),
    )


def _width(one: Assessed, pixels: int) -> str:
    km = one.pairing.cell_km
    return f"{pixels} px ({pixels * km:.3g} km)" if np.isfinite(km) else f"{pixels} px"


def _coherence_chart(products: Sequence[Assessed]) -> ReportFigure:
    in_km = all(np.isfinite(one.pairing.cell_km) for one in products)
    curves = {}
    for one in products:
        coherence = one.figures["coherence"]["coherence"]
        size = one.pairing.cell_km if in_km else 1.0
        curves[one.name] = Curve(coherence["wavelength_px"].values * size, coherence.values)
    frame = Frame("Coherence", (f"wavelength, {'km' if in_km else 'pixels'}", "coherence"), ("log", "linear"), 0.5**0.5)
    return chart(partial(curve_chart, curves, frame), "Above the dashed line a scale is resolved.", "coherence by wavelength")


def distribution_section(products: Sequence[Assessed]) -> Section:
    """Tell whether predicted distributions come true."""
    shown = [one for one in products if "coverage" in one.figures]
    figures = tuple(_distribution_charts(shown))
    columns = (
        Column("product"),
        Column("spread over error", ".2f"),
        *(Column(f"{100 * p:.0f} % quantile", ".3f") for p in COVERED),
    )
    rows = tuple(
        (one.name, float(one.figures["spread"]["spread_over_error"]), *(_covered(one, level) for level in COVERED))
        for one in shown
    )
    tables = (Table("Spread, and share of the truth below quantiles", columns, rows),)
    text = (
        "A distribution is honest where the truth lies below each quantile as often as its level says, and spread equals error."
    )
    return Section("Distributions", text, figures=figures, tables=tables, notes=tuple(reasons(products, "coverage")))


COVERED = (0.05, 0.5, 0.9, 0.95, 0.99)


def _covered(one: Assessed, level: float) -> Cell:
    coverage = one.figures["coverage"]["coverage"]
    return float(coverage.sel(level=level)) if level in coverage["level"].values else None


def _distribution_charts(products: Sequence[Assessed]) -> Iterator[ReportFigure]:
    def curves(kind: str, take: Callable[[xr.Dataset], Curve]) -> dict[str, Curve]:
        return {one.name: take(one.figures[kind]) for one in products}

    yield coverage_figure(curves("coverage", lambda f: Curve(f["level"].values, f["coverage"].values)))
    yield pit_figure(curves("coverage", lambda f: Curve(f["bin"].values, f["pit"].values)))
    spread = curves("spread", lambda f: Curve(f["spread"].values, f["error"].values))
    frame = Frame("Spread and error", ("root mean predicted variance", "root mean squared error"), ("log", "log"), "diagonal")
    yield chart(partial(curve_chart, spread, frame), "On the dashed line errors are as large as announced.", "spread and error")
    for event in products[0].figures["reliability"]["event"].values:
        known = curves("reliability", partial(_reliable, str(event)))
        if any(np.isfinite(curve.y).sum() > 1 for curve in known.values()):
            yield reliability_figure(str(event), known)


def _reliable(event: str, figures: xr.Dataset) -> Curve:
    part = figures.sel(event=event)
    return Curve(part["said"].values, part["came"].values)


def intensity_section(products: Sequence[Assessed]) -> Section:
    """Hold distributions of intensity against each other."""
    curves = {
        one.name: Curve(one.figures["intensity"]["reference_quantile"].values, one.figures["intensity"]["quantile"].values)
        for one in products
    }
    units = products[0].pairing.units
    caption = "From the median to 99.99 %; on the dashed line extremes are as strong as in the reference."
    drawn = quantile_figure(curves, (f"reference, {units}", f"product, {units}"), caption)
    columns = (
        Column("product"),
        Column("wet fraction", ".3f"),
        Column("of the reference", ".3f"),
        *map(Column, ("ratio", "p99", "p99.9")),
    )
    rows = tuple(
        (
            one.name,
            *(float(one.figures["intensity"][n]) for n in ("wet_fraction", "reference_wet_fraction")),
            *(ratio_text(one, "intensity", n) for n in RATIOS),
        )
        for one in products
    )
    note = "Wet is 0.1 mm/h, of days 1 mm. Ratios are product over reference, with 95 % intervals."
    return Section("Intensities", figures=(drawn,), tables=(Table("Distribution of intensity", columns, rows, note=note),))


def compared_section(assessment: Assessment) -> Section:
    """Say how products and reference came together."""
    columns = (Column("product"), Column("how it was paired"), Column("files", ","), Column("intervals resample"))
    rows = tuple(
        (one.name, one.pairing.how, len(one.pairing.product.parts), one.pairing.grouped) for one in assessment.products
    )
    told = [f"{assessment.reference.name}: {note}" for note in assessment.reference.notes]
    for one in assessment.products:
        told += [f"{one.name}: {note}" for note in (*one.pairing.notes, *one.pairing.product.notes)]
    return Section("What was compared", tables=(Table("Pairs", columns, rows),), notes=tuple(map(Note, told)))


SECTIONS: dict[str, Callable[[Sequence[Assessed]], Section]] = {
    "detections": detection_section,
    "fractions": scale_section,
    "coverage": distribution_section,
    "intensity": intensity_section,
}
"""Sections on matches, by the figures that they need."""
