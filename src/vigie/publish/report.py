"""One page that a person reads: `report.html`, whole in one file, without network, scripts or fonts of others."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import matplotlib
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

import vigie
from vigie.core.errors import VigieError
from vigie.core.store import write_text
from vigie.publish.look import DARK, LIGHT, Theme

Drawing = Callable[[Theme], Figure]
"""Draws a figure in a theme; a report draws each in the light and the dark one."""

Cell = str | int | float | None
"""A table's cell; None is shown as a dash."""

CSS_DPI = 96
DPI = 2 * CSS_DPI
"""Pixels an inch in pictures: two for every CSS pixel, so that they are sharp on fine screens and on paper."""

WEBP_QUALITY = 90


@dataclass(frozen=True)
class Number:
    """A headline: a value already written out, what it is, and a short remark."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class ReportFigure:
    """A picture with its caption; `alt` says in words what it shows. Maps are kept as 'webp' or 'png', charts as 'svg'."""

    draw: Drawing
    caption: str
    alt: str
    kind: Literal["webp", "png", "svg"] = "webp"


@dataclass(frozen=True)
class Column:
    """A column and how its numbers are written, in Python's format language ('.2f')."""

    label: str
    format: str = ""


@dataclass(frozen=True)
class Table:
    """A table of text and numbers; a folded one opens when asked."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    folded: bool = False

    def __post_init__(self) -> None:
        """Refuse rows that are not as wide as the table."""
        widths = {len(row) for row in self.rows} - {len(self.columns)}
        if widths:
            raise VigieError(
                f"table '{self.title}' is ragged", found=f"rows of {sorted(widths)} cells", expected=len(self.columns)
            )


@dataclass(frozen=True)
class Estimate:
    """A score with its confidence interval, where there is one."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Measure:
    """A column of a score table: its name, which direction is good, how it is written, the bar to beat, and its title."""

    name: str
    better: Literal["higher", "lower"] = "higher"
    format: str = ".3f"
    target: float | None = None
    title: str = ""


@dataclass(frozen=True)
class ScoreTable:
    """Scores of ours beside the baselines': name of the method -> name of the measure -> estimate.

    `titles` are what readers call the methods whose names are made for files.
    """

    title: str
    measures: tuple[Measure, ...]
    scores: Mapping[str, Mapping[str, Estimate]]
    ours: tuple[str, ...] = ()
    note: str = ""
    titles: Mapping[str, str] = field(default_factory=dict)

    def best(self, measure: Measure) -> str | None:
        """Find the best value of a measure as it is written: all that read alike are best; None without two to choose from."""
        values = [row[measure.name].value for row in self.scores.values() if measure.name in row]
        return format((max if measure.better == "higher" else min)(values), measure.format) if len(values) > 1 else None

    def scale(self, measure: Measure) -> float:
        """Find the value that fills a bar."""
        ends = [e.high if e.high is not None else e.value for row in self.scores.values() if (e := row.get(measure.name))]
        return max([*ends, measure.target or 0.0], default=1.0) or 1.0


@dataclass(frozen=True)
class Note:
    """Something the reader must know: a 'note', or a 'warning' that limits what the products are good for."""

    text: str
    kind: Literal["note", "warning"] = "note"


@dataclass(frozen=True)
class Listing:
    """Text to be shown as it is, such as the experiment file; a folded one opens when asked."""

    title: str
    text: str
    folded: bool = True


@dataclass(frozen=True)
class Section:
    """A part of the page. A blank line in `text` begins a new paragraph; nothing in it is read as HTML."""

    title: str
    text: str = ""
    figures: tuple[ReportFigure, ...] = ()
    tables: tuple[Table, ...] = ()
    scores: tuple[ScoreTable, ...] = ()
    notes: tuple[Note, ...] = ()
    listings: tuple[Listing, ...] = ()


@dataclass(frozen=True)
class Report:
    """The page: a title, one paragraph that says what was found, headline numbers, sections."""

    title: str
    summary: str
    sections: Sequence[Section]
    numbers: tuple[Number, ...] = ()
    created: str = ""
    language: str = "en"


def write_report(report: Report, path: Path) -> None:
    """Draw every figure, fill the template, and write the page whole or not at all.

    Raises
    ------
    VigieError: two sections have the same title, or the disk is full.

    Examples
    --------
    >>> import tempfile
    >>> page = Path(tempfile.mkdtemp()) / "report.html"
    >>> write_report(Report("Ice & snow", "All is well.", [Section("Maps", "None yet.")]), page)
    >>> "Ice &amp; snow" in page.read_text()
    True
    """
    write_text(path, render(report))


def render(report: Report) -> str:
    """Fill the template; everything in the report is escaped."""
    titles = [section.title for section in report.sections]
    if len(set(titles)) != len(titles):
        raise VigieError("two sections of the report have the same title", found=titles, expected="each title once")
    environment = Environment(
        loader=PackageLoader("vigie.publish", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"picture": drawn, "cell": write_cell, "paragraphs": paragraphs, "written": format}
    template = environment.get_template("report.html.jinja")
    return template.render(report=report, version=vigie.__version__, light=LIGHT, dark=DARK)


@dataclass(frozen=True)
class Drawn:
    """A picture as a data URI, and its size on the page in CSS pixels."""

    uri: str
    width: int
    height: int


def drawn(figure: ReportFigure, theme: Theme) -> Drawn:
    """Draw a figure; the same figure always gives the same bytes."""
    canvas, buffer = figure.draw(theme), io.BytesIO()
    if figure.kind == "svg":
        with matplotlib.rc_context({"svg.hashsalt": "vigie"}):
            canvas.savefig(buffer, format="svg", metadata={"Date": None}, facecolor=theme.paper)
    elif figure.kind == "png":
        canvas.savefig(buffer, format="png", dpi=DPI, facecolor=theme.paper, metadata={"Software": None})
    else:
        canvas.savefig(buffer, format="webp", dpi=DPI, facecolor=theme.paper, pil_kwargs={"quality": WEBP_QUALITY, "method": 4})
    kind = "svg+xml" if figure.kind == "svg" else figure.kind
    width, height = (round(CSS_DPI * float(inches)) for inches in canvas.get_size_inches())
    return Drawn(f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}", width, height)


def write_cell(value: Cell, column: Column) -> str:
    """Write a cell out: numbers in the column's format, None as a dash.

    Examples
    --------
    >>> write_cell(551.923, Column("area", ".1f")), write_cell(None, Column("name")), write_cell(12000, Column("pixels", ","))
    ('551.9', '–', '12,000')
    """
    if value is None or (isinstance(value, float) and value != value):
        return "–"
    return value if isinstance(value, str) else format(value, column.format)


def paragraphs(text: str) -> list[str]:
    """Split a text at its blank lines.

    Examples
    --------
    >>> paragraphs("One." + chr(10) * 2 + "Two.")
    ['One.', 'Two.']
    """
    return [part.strip() for part in text.split("\n\n") if part.strip()]
