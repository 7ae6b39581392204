"""Charts of predicted rain that the report of a run and the page of an assessment share: do distributions come true?"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from matplotlib.figure import Figure

from vigie.publish.curves import Curve, Frame, curve_chart
from vigie.publish.look import Theme
from vigie.publish.report import ReportFigure

Curves = Mapping[str, Curve]
"""By product or method."""


def chart(draw: partial[Figure], caption: str, alt: str) -> ReportFigure:
    """Make a chart of a report, drawn on both papers."""
    return ReportFigure(partial(_themed, draw), caption, alt, kind="svg")


def coverage_figure(curves: Curves) -> ReportFigure:
    """Draw how often the truth lies at or below predicted quantiles, by their level."""
    labels = ("level of the predicted quantile", "share of the truth at or below it")
    caption = "On the dashed line quantiles hold as often as they say; above it where many are dry."
    return chart(partial(curve_chart, curves, Frame("Coverage", labels, guide="diagonal")), caption, "coverage")


def pit_figure(curves: Curves) -> ReportFigure:
    """Draw the density of the probability integral transform."""
    frame = Frame("Probability integral transform", ("F(truth)", "density"), guide=1.0)
    caption = "Flat at 1 is reliable; a valley is too sure, a hill not sure enough, a slope biased."
    return chart(partial(curve_chart, curves, frame), caption, "PIT")


def reliability_figure(event: str, curves: Curves) -> ReportFigure:
    """Draw how often an event came, by the probability that was said."""
    frame = Frame(f"Reliability of rates {event}", ("probability that was said", "share that came"), guide="diagonal")
    caption = "On the dashed line rain comes as often as announced."
    return chart(partial(curve_chart, curves, frame), caption, f"reliability {event}")


def quantile_figure(curves: Curves, labels: tuple[str, str], caption: str) -> ReportFigure:
    """Draw quantiles of samples against those of the truth."""
    frame = Frame("Quantiles of samples", labels, ("log", "log"), "diagonal")
    return chart(partial(curve_chart, curves, frame), caption, "Q-Q plot")


def _themed(draw: partial[Figure], theme: Theme) -> Figure:
    return draw(theme=theme)
