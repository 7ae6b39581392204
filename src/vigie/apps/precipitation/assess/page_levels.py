"""Section of the page on return levels."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import xarray as xr

from vigie.apps.precipitation.assess.climate import SOURCES
from vigie.apps.precipitation.assess.protocol import Assessed, Assessment
from vigie.apps.precipitation.assess.tables import DRAWN, having, names, reasons
from vigie.apps.precipitation.charts import chart
from vigie.core.errors import counted
from vigie.publish.curves import Curve, Frame, curve_chart
from vigie.publish.report import Cell, Column, Note, ReportFigure, Section, Table


def extremes_section(assessment: Assessment) -> Section:
    """Draw and tabulate return levels."""
    figures, tables = [], []
    notes = list(reasons(assessment.products, "extremes"))
    for one in having(assessment, "extremes"):
        found = one.figures["extremes"]
        notes += [Note(f"{one.name}: {why}.") for why in str(found.attrs["missing"]).split(" | ") if why]
        figures += list(_level_charts(one, found, assessment))
        tables += [_level_table(one, found, assessment), _excess_table(one, found, assessment)]
    text = (
        "Generalised extreme value distributions of annual maxima (GEV), and generalised Pareto distributions of excesses "
        "(GPD), over the years that both have, at single places. 90 % intervals are of a parametric bootstrap. "
        f"Points are annual maxima at their plotting positions. {_clustering(assessment)}"
    )
    return Section(
        "Return levels",
        text,
        figures=tuple(figures),
        tables=tuple(tables),
        notes=tuple(notes),
    )


def _clustering(assessment: Assessment) -> str:
    """Say which excesses count as one."""
    days = int(having(assessment, "extremes")[0].figures["extremes"].attrs["separation_days"])
    if not days:
        return "Every day above the threshold is fitted, though days in a row may be one storm."
    return (
        f"A cluster of days above the threshold ends with {counted(days, 'day')} at or below it, or unknown; the highest is "
        "fitted. The extremal index is clusters over days: 1 where extreme days come alone."
    )


def _excess_table(one: Assessed, found: xr.Dataset, assessment: Assessment) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for cell in found["cell"].values:
        for source, name in zip(SOURCES, names(one, assessment), strict=True):
            part = found.sel(cell=cell, source=source)
            if bool(part["clusters"].notnull()):
                threshold = part["parameter"].sel(fit="gpd", name="location")
                numbers = (float(n) for n in (threshold, part["excess_days"], part["clusters"], part["extremal_index"]))
                rows.append((str(cell), name, *numbers))
    columns = (
        *map(Column, ("place", "record")),
        Column("threshold, mm", ".1f"),
        Column("days above", ".0f"),
        Column("clusters", ".0f"),
        Column("extremal index", ".2f"),
    )
    return Table(f"Excesses of {one.name} beside {assessment.reference.name}", columns, tuple(rows), folded=len(rows) > 24)


def _level_charts(one: Assessed, found: xr.Dataset, assessment: Assessment) -> Iterator[ReportFigure]:
    method = "gev" if bool(found["return_level"].sel(fit="gev").notnull().any()) else "gpd"
    cells = found["return_level"].sel(fit=method).notnull().any(("source", "return_period"))
    for cell in found["cell"].values[cells.values][:DRAWN]:
        part = found.sel(cell=cell, fit=method)
        curves = {}
        for source, name in zip(SOURCES, names(one, assessment), strict=True):
            level, bounds = (part[n].sel(source=source) for n in ("return_level", "return_level_interval"))
            interval = bounds.sel(bound="low").values, bounds.sel(bound="high").values
            curves[name] = Curve(part["return_period"].values, level.values, interval, plotting_positions(part, source))
        frame = Frame(f"{cell}: return levels ({method.upper()})", ("return period, years", "mm per day"), ("log", "linear"))
        yield chart(partial(curve_chart, curves, frame), f"{one.name} at {cell}.", f"return levels at {cell}")


def plotting_positions(part: xr.Dataset, source: str) -> tuple[np.ndarray, np.ndarray]:
    """Give annual maxima the return period of their rank, 1 / (1 - i / (n + 1)), those above one year (Weibull)."""
    maxima = np.sort(part["annual_maximum"].sel(source=source).dropna("year").values)
    period = 1 / (1 - np.arange(1, maxima.size + 1) / (maxima.size + 1))
    shown = period >= 1.2
    return period[shown], maxima[shown]


def _level_table(one: Assessed, found: xr.Dataset, assessment: Assessment) -> Table:
    periods = [p for p in found["return_period"].values if p >= 10][:3] or found["return_period"].values[-1:].tolist()
    rows: list[tuple[Cell, ...]] = []
    for cell in found["cell"].values:
        for source, name in zip(SOURCES, names(one, assessment), strict=True):
            for method in found["fit"].values:
                part = found.sel(cell=cell, source=source, fit=method)
                if bool(part["return_level"].notnull().any()):
                    shape = float(part["parameter"].sel(name="shape"))
                    rows.append((str(cell), name, str(method).upper(), shape, *(_level(part, p) for p in periods)))
    columns = (
        *map(Column, ("place", "record", "fit")),
        Column("shape", ".3f"),
        *(Column(f"{p:.0f} years, mm") for p in periods),
    )
    return Table(f"Return levels of {one.name} beside {assessment.reference.name}", columns, tuple(rows), folded=len(rows) > 24)


def _level(part: xr.Dataset, period: float) -> str:
    value = float(part["return_level"].sel(return_period=period))
    low, high = (float(part["return_level_interval"].sel(return_period=period, bound=b)) for b in ("low", "high"))
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"
