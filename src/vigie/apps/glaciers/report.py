"""The page that a person reads: maps, scores beside baselines, inventories, histories, and where everything comes from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vigie.apps.glaciers.baselines import TITLES
from vigie.apps.glaciers.classes import LEGEND
from vigie.apps.glaciers.histories import Epochs
from vigie.apps.glaciers.history.build import History
from vigie.apps.glaciers.inventories import Surface
from vigie.apps.glaciers.inventory.build import Inventory
from vigie.apps.glaciers.inventory.deviation import summarise
from vigie.apps.glaciers.inventory.strips import held
from vigie.apps.glaciers.inventory.termini import TERMINI
from vigie.core.tiles import Window
from vigie.core.vocabulary import named
from vigie.publish.charts import series_chart
from vigie.publish.look import Theme
from vigie.publish.maps import map_figure
from vigie.publish.panels import Panel, class_panel, observation_panel, variable_panel, with_outlines
from vigie.publish.picture import Picture, centre, mean, shrink
from vigie.publish.report import Cell, Column, Note, Number, Report, ReportFigure, Section, Table
from vigie.story.report import how_to_repeat, model_section, provenance_section, score_sections, unseen_notes
from vigie.story.run import Run
from vigie.story.scenes import Cropped, opened

MAPS = 6
"""Parts drawn in full; the others are in the products."""
LARGEST = 12
"""Rows of the inventory tables."""
COMPOSITES = (("red", "green", "blue"), ("swir16", "nir", "green"), ("pan",))
"""Bands shown of an image: the first set that it has."""


@dataclass(frozen=True)
class Findings:
    """Everything that was found: surfaces, their inventories and deviations, in the same order, and areas followed in time."""

    surfaces: Sequence[Surface]
    inventories: Sequence[Inventory]
    deviations: Sequence[pd.DataFrame | None]
    epochs: Sequence[Epochs]


def report_of(run: Run, found: Findings, began: float) -> Report:
    """Assemble the report of a run whose `publish` began at `began` (time.monotonic)."""
    parts = [surface.part for surface in found.surfaces]
    sections = [
        maps_section(run, found),
        *score_sections(run, TITLES),
        glaciers_section(found),
        *outlines_sections(found),
        lakes_section(found),
        *map(history_section, found.epochs),
        model_section(run, parts),
        provenance_section(run, parts),
        how_to_repeat(run, began),
    ]
    return Report(run.experiment.name, run.experiment.summary, sections, numbers=headlines(found))


def headlines(found: Findings) -> tuple[Number, ...]:
    """What was mapped, in four numbers: of maps on one grid the latest counts."""
    latest = latest_surfaces(found.surfaces)
    when = told_dates(sorted({(surface.scene.datetime or "")[:10] for surface in latest}))
    names = {surface.part.name for surface in latest}
    newest = [inventory for surface, inventory in _pairs(found) if surface.part.name in names]
    glaciers, lakes = [i.glaciers["area_km2"] for i in newest], [i.lakes["area_km2"] for i in newest]
    return (
        Number("maps", str(len(found.surfaces)), _counted(len({s.scene.sensor for s in found.surfaces}), "sensor")),
        Number("glaciers", str(sum(map(len, glaciers))), f"{sum(areas.sum() for areas in glaciers):.1f} km² {when}"),
        Number("lakes", str(sum(map(len, lakes))), f"{sum(areas.sum() for areas in lakes):.2f} km² {when}"),
        Number("areas followed", str(len(found.epochs)), "several dates on one grid"),
    )


def latest_surfaces(surfaces: Sequence[Surface]) -> list[Surface]:
    """Keep the latest of the surfaces that lie on the same grid, as histories do; an undated one is not the latest."""
    by_date = sorted(surfaces, key=lambda surface: (surface.scene.datetime or "", surface.scene.id))
    return list({surface.grid: surface for surface in by_date}.values())


def told_dates(days: Sequence[str]) -> str:
    """Say of which dates a sum is: one day, or the years of the latest dates; an empty day is unknown.

    Examples
    --------
    >>> told_dates(["2021-08-21"]), told_dates(["2019-08-25", "2021-08-21"]), told_dates([""])
    ('on 2021-08-21', 'at the latest date of each area (2019 to 2021)', 'at an unknown date')
    >>> told_dates(["", "2021-08-21"])
    'at the latest date of each area (2021, or unknown)'
    """
    known = [day for day in days if day]
    if len(days) == 1:
        return f"on {known[0]}" if known else "at an unknown date"
    years = " to ".join(dict.fromkeys(day[:4] for day in (known[0], known[-1])))
    return f"at the latest date of each area ({years}{', or unknown' if len(known) < len(days) else ''})"


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def maps_section(run: Run, found: Findings) -> Section:
    """Show the maps beside the images they were made from, one of every sensor first."""
    pairs = list(_pairs(found))
    shown = [pairs[number] for number in drawn_first([surface.scene.sensor for surface, _ in pairs])]
    left = len(pairs) - len(shown)
    return Section(
        "Maps",
        f"Image, {named('map').long_name} with glacier outlines, and doubt: {named('doubt').long_name}.",
        figures=tuple(map_of(run, surface, inventory) for surface, inventory in shown),
        notes=(
            *unseen_notes(run, [surface.part for surface in found.surfaces]),
            *cloudiness(found.surfaces),
            *((Note(f"{_counted(left, 'more map')} in products/."),) if left else ()),
        ),
    )


def drawn_first(sensors: Sequence[str], most: int = MAPS) -> list[int]:
    """Choose the maps to draw: the first of every sensor, then others in their order up to `most`.

    Examples
    --------
    >>> drawn_first(["landsat", "landsat", "landsat", "film"], most=3)
    [0, 3, 1]
    """
    first = [sensors.index(sensor) for sensor in dict.fromkeys(sensors)]
    others = [number for number in range(len(sensors)) if number not in first]
    return [*first, *others][: max(most, len(first))]


def cloudiness(surfaces: Sequence[Surface]) -> tuple[Note, ...]:
    """Say how much of the maps cloud hides; nothing where there is none."""
    cloudy = [f"{surface.part.name} ({surface.cloud:.1%})" for surface in surfaces if surface.cloud > 0]
    text = f"Cloud hides ground of {', '.join(cloudy)}: nothing is inventoried there, and what it cuts is marked `truncated`."
    return (Note(text, "warning"),) if cloudy else ()


def map_of(run: Run, surface: Surface, inventory: Inventory) -> ReportFigure:
    """Draw one part."""
    panels = [
        image_panel(run, surface),
        with_outlines(class_panel("Classes", class_picture_of(surface), LEGEND), inventory.glaciers),
        variable_panel("Doubt", doubt_picture_of(surface), "doubt"),
    ]
    date = surface.scene.datetime[:10] if surface.scene.datetime else "date unknown"
    return ReportFigure(
        lambda theme: map_figure(panels, theme),
        f"{surface.part.name}, {surface.scene.sensor}, {date}.",
        f"Image, class map and doubt of {surface.part.name}",
    )


def image_panel(run: Run, surface: Surface) -> Panel:
    """Draw the image that a part was mapped from."""
    reader = Cropped(opened(run, surface.scene), surface.part.window)
    names = {band.name for band in surface.scene.bands}
    bands = next((list(choice) for choice in COMPOSITES if set(choice) <= names), [surface.scene.bands[0].name])

    def read(window: Window) -> np.ndarray:
        return np.asarray(reader(window)["observation"].sel(band=bands).values)

    return observation_panel(f"Image ({', '.join(bands)})", shrink(read, surface.grid, mean))


def class_picture_of(surface: Surface) -> Picture:
    """Thin a part's classes."""
    return shrink(held(surface.codes[np.newaxis]), surface.grid, centre)


def doubt_picture_of(surface: Surface) -> Picture:
    """Thin what the most probable class leaves to the others."""

    def doubt(window: Window) -> np.ndarray:
        return np.asarray(1.0 - surface.probability(window).max(axis=0, keepdims=True))

    return shrink(doubt, surface.grid, mean)


GLACIER_COLUMNS = (
    ("rgi_id", Column("glacier")),
    ("area_km2", Column("area, km²", ".3f")),
    ("area_err_km2", Column("±, km²", ".3f")),
    ("debris_area_km2", Column("debris, km²", ".3f")),
    ("zmin_m", Column("zmin, m", ".0f")),
    ("zmax_m", Column("zmax, m", ".0f")),
    ("slope_deg", Column("slope, °", ".1f")),
    ("lmax_m", Column("length, m", ".0f")),
    ("terminus", Column("terminus")),
)
LAKE_COLUMNS = (
    ("lake_id", Column("lake")),
    ("type", Column("type")),
    ("area_km2", Column("area, km²", ".4f")),
    ("area_err_km2", Column("±, km²", ".4f")),
    ("perimeter_km", Column("perimeter, km", ".2f")),
    ("zmean_m", Column("elevation, m", ".0f")),
    ("glacier_id", Column("glacier")),
)


def glaciers_section(found: Findings) -> Section:
    """Tabulate the largest glaciers of each map."""
    named = [(s.part.name, i.glaciers.assign(terminus=i.glaciers["term_type"].map(TERMINI))) for s, i in _pairs(found)]
    tables = tuple(chain.from_iterable(largest(name, table, "area_km2", GLACIER_COLUMNS) for name, table in named))
    text = (
        "The largest glaciers of each map; all of them, with the 28 attributes of RGI 7.0, are in products/*/inventory. "
        "Areas carry the error of the buffer method; borders that glaciers share are not counted."
    )
    return Section("Glaciers", text, tables=tables, notes=truncation(found))


def truncation(found: Findings) -> tuple[Note, ...]:
    """Warn of glaciers that the image's edge, cloud or missing pixels cut."""
    cut = sum(int(inventory.glaciers["truncated"].sum()) for inventory in found.inventories)
    text = f"{cut} glaciers touch an image's edge, cloud or missing pixels (column `truncated`): their areas are lower bounds."
    return (Note(text, "warning"),) if cut else ()


DEVIATION_COLUMNS = (
    ("rgi_id", Column("outline")),
    ("glac_name", Column("name")),
    ("src_date", Column("date")),
    ("reference_km2", Column("area, km²", ".3f")),
    ("mapped_km2", Column("mapped, km²", ".3f")),
    ("deviation_percent", Column("deviation, %", "+.1f")),
)
SUMMARY_COLUMNS = (
    *(Column("map"), Column("outlines", "d"), Column("left out", "d"), Column("pooled, %", "+.1f")),
    *(Column("median, %", "+.1f"), Column("5th percentile", "+.1f"), Column("95th percentile", "+.1f")),
)


def outlines_sections(found: Findings) -> Iterator[Section]:
    """Hold mapped areas against known outlines; nothing where none were given."""
    pairs = zip(found.surfaces, found.deviations, strict=True)
    compared = {surface.part.name: table for surface, table in pairs if table is not None}
    if not compared:
        return
    text = (
        "Area deviation of every known outline: mapped area less its own, in percent of its own; 'pooled' is that of the sums. "
        "It holds the errors of both and the change between their dates; analysts differ by about 5 % on clean ice and up to "
        "30 % on debris (Paul et al. 2013). Left out: outlines that cross the map's edge or hold missing pixels or cloud. The "
        "tables show the largest outlines; all of them are in products/*/area_deviation.csv."
    )
    every = {**compared, "all maps": pd.concat(compared.values())} if len(compared) > 1 else compared
    summary = Table("Summary", SUMMARY_COLUMNS, tuple(summary_row(name, table) for name, table in every.items()))
    tables = (largest(name, comparable(table), "reference_km2", DEVIATION_COLUMNS) for name, table in compared.items())
    yield Section("Known outlines", text, tables=(summary, *chain.from_iterable(tables)))


def comparable(table: pd.DataFrame) -> pd.DataFrame:
    """Keep the outlines that can be compared, with the days of their dates."""
    days = table["src_date"].map(lambda date: str(date)[:10], na_action="ignore")
    return table.assign(src_date=days)[table["complete"].astype(bool)]


def summary_row(name: str, table: pd.DataFrame) -> tuple[Cell, ...]:
    """Write out the summary of one table."""
    summary = summarise(table)
    return (name, summary.outlines, summary.left_out, *map(_cell, (summary.pooled, summary.median, summary.low, summary.high)))


def lakes_section(found: Findings) -> Section:
    """Tabulate the largest lakes of each map."""
    tables = tuple(chain.from_iterable(largest(s.part.name, i.lakes, "area_km2", LAKE_COLUMNS) for s, i in _pairs(found)))
    return Section("Lakes", "The largest lakes of each map, by their place towards the ice.", tables=tables)


def largest(title: str, table: pd.DataFrame, by: str, wanted: Sequence[tuple[str, Column]]) -> Iterator[Table]:
    """Make a folded table of the largest objects; nothing where there are none."""
    columns = [(name, column) for name, column in wanted if name in table]
    rows = table.sort_values(by, ascending=False).head(LARGEST)
    if len(rows):
        cells = tuple(tuple(_cell(row[name]) for name, _ in columns) for _, row in rows.iterrows())
        yield Table(f"{title} ({len(table)} in all)", tuple(c for _, c in columns), cells, folded=True)


def history_section(epochs: Epochs) -> Section:
    """Draw how glaciers and lakes of one area changed."""
    days = sorted(epochs.inventories)
    text = (
        f"{len(epochs.surfaces)} maps of {len(days)} days from {days[0]} to {days[-1]}, made consistent pixel by pixel with a "
        "hidden Markov model that lets ice advance and retreat. Dates that do not fit their neighbours stay, marked. "
        "An area that its own date's map shows less than half of is inferred from the other dates: its mark is hollow."
    )
    figures = tuple(series_of(history, f"Area of {what}") for what, history in epochs.histories.items())
    return Section(f"History: {epochs.name}", text, figures=figures, notes=doubts(epochs))


def series_of(history: History, title: str) -> ReportFigure:
    """Draw the total area through time."""
    total = history.total
    area, error = total["area_km2"].to_numpy(float), total["area_err_km2"].to_numpy(float)
    draw = partial(
        series_chart,
        total["date"].to_numpy("datetime64[D]"),
        area,
        (np.maximum(area - 2 * error, 0.0), area + 2 * error),
        {
            "flagged": np.flatnonzero(total["flagged"].to_numpy(bool)).tolist(),
            "inferred": np.flatnonzero(total["status"] == "inferred").tolist(),
        },
        (title, "area, km²"),
    )
    return ReportFigure(
        lambda theme: _themed(draw, theme), f"{title}, with twice its error.", f"{title} through time", kind="svg"
    )


def _themed(draw: partial[Figure], theme: Theme) -> Figure:
    return draw(theme=theme)


def doubts(epochs: Epochs) -> tuple[Note, ...]:
    """Name the dates that do not fit, and those whose area comes from other dates."""
    found = []
    for what, history in epochs.histories.items():
        total = history.total
        for word, rows in (("doubtful", total["flagged"]), ("inferred, not observed,", total["status"] == "inferred")):
            days = total.loc[rows, "date"].astype(str)
            found += [Note(f"Area of {what} is {word} at {', '.join(days)}.", "warning")] if len(days) else []
    return tuple(found)


def _pairs(found: Findings) -> Iterator[tuple[Surface, Inventory]]:
    return zip(found.surfaces, found.inventories, strict=True)


def _cell(value: Any) -> Cell:
    if pd.isna(value):
        return None
    if isinstance(value, str):
        return value
    return int(value) if isinstance(value, (int, np.integer)) else float(value)
