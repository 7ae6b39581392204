"""Charts of a report: how far probabilities can be trusted, and how a quantity went over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from vigie.core.errors import VigieError
from vigie.publish.look import FONT, LIGHT, SMALL_POINTS, TEXT_POINTS, TITLE_POINTS, Theme

MARKS = {"observed": "observed", "inferred": "inferred: not on that date's own map", "flagged": "flagged"}
"""What the marks of a series mean: filled, hollow, crossed."""


def reliability_chart(
    confidence: ArrayLike, frequency: ArrayLike, pixels: ArrayLike, title: str, theme: Theme = LIGHT
) -> Figure:
    """Draw how often predictions were right against how sure they said they were, with the share of pixels below.

    Parameters
    ----------
    confidence, frequency: mean confidence and share of right predictions of each bin, 0 to 1; NaN where a bin is empty.
    pixels: number of pixels of each bin.
    title: says what was predicted, and the calibration error if known.
    theme: colours of paper and ink.

    Examples
    --------
    >>> figure = reliability_chart([0.3, 0.7], [0.25, 0.72], [100, 900], "Debris: ECE 0.02")
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['share that was right', 'pixels, %']
    """
    said, right, count = (np.asarray(values, dtype=np.float64) for values in (confidence, frequency, pixels))
    if not said.shape == right.shape == count.shape:
        raise VigieError(
            "a reliability chart needs bins", found=[said.shape, right.shape, count.shape], expected="equal lengths"
        )
    figure = _figure((4.4, 4.9), theme)
    upper, lower = figure.add_axes((0.135, 0.305, 0.83, 0.62)), figure.add_axes((0.135, 0.1, 0.83, 0.15))
    upper.plot([0, 1], [0, 1], color=theme.other, linewidth=1, dashes=(4, 3), zorder=2)
    note = {"size": SMALL_POINTS, "family": FONT, "color": theme.soft}
    upper.text(0.98, 0.03, "dashed: as often right as sure", ha="right", va="bottom", fontdict=note)
    good = np.isfinite(said) & np.isfinite(right)
    upper.plot(said[good], right[good], color=theme.accent, linewidth=1.8, marker="o", markersize=5, zorder=3)
    upper.vlines(said[good], said[good], right[good], color=theme.accent, alpha=0.35, linewidth=3, zorder=1)
    upper.set(xlim=(0, 1), ylim=(0, 1), ylabel="share that was right", xticklabels=[])
    share = 100 * count / max(count.sum(), 1)
    lower.bar(said[good], share[good], width=0.8 / max(len(said), 1), color=theme.other)
    lower.set(xlim=(0, 1), xlabel="predicted probability", ylabel="pixels, %")
    for axes in (upper, lower):
        _style(axes, theme)
    lower.yaxis.set_major_locator(MaxNLocator(2))
    _title(upper, title, theme)
    return figure


def series_chart(
    times: ArrayLike,
    values: ArrayLike,
    interval: tuple[ArrayLike, ArrayLike] | None,
    marks: Mapping[str, Sequence[int]],
    labels: tuple[str, str],
    theme: Theme = LIGHT,
) -> Figure:
    """Draw a quantity over time with its interval; inferred points are hollow, flagged ones crossed and left out of the line.

    Parameters
    ----------
    times, values: the series; NaN where there is no value.
    interval: lower and upper ends at the same times, or None.
    marks: positions of values that are 'inferred' from other dates, or 'flagged' as not to be trusted.
    labels: title, and the name of the quantity with its unit.
    theme: colours of paper and ink.

    Examples
    --------
    >>> figure = series_chart([2020, 2021, 2022], [35.4, 36.8, 10.7], None, {"flagged": [2]}, ("Lakes", "area, km²"))
    >>> figure.axes[0].get_ylabel()
    'area, km²'
    """
    time, value = np.asarray(times), np.asarray(values, dtype=np.float64)
    doubtful, inferred = (np.isin(np.arange(len(value)), list(marks.get(what, ()))) for what in ("flagged", "inferred"))
    good = np.isfinite(value) & ~doubtful
    figure = _figure((7.2, 3.1), theme)
    axes: Axes = figure.add_axes((0.085, 0.125, 0.9, 0.745))
    if interval is not None:
        low, high = (np.asarray(end, dtype=np.float64) for end in interval)
        axes.fill_between(time[good], low[good], high[good], color=theme.accent, alpha=0.2, linewidth=0)
    axes.plot(time[good], value[good], color=theme.accent, linewidth=1.8)
    _draw_marks(axes, (time, value), {"observed": good & ~inferred, "inferred": good & inferred, "flagged": doubtful}, theme)
    axes.set(ylabel=labels[1], ylim=(min(0.0, float(np.nanmin(value))), None))
    _style(axes, theme)
    _title(axes, labels[0], theme)
    return figure


def _draw_marks(
    axes: Axes,
    series: tuple[NDArray[Any], NDArray[np.float64]],
    kinds: Mapping[str, NDArray[np.bool_]],
    theme: Theme,
) -> None:
    """Draw every kind of sample with its mark, and name them above the plot unless all are observed."""
    looks = {
        "observed": ("o", 4.2, theme.accent, theme.accent),
        "inferred": ("o", 5.6, theme.paper, theme.accent),
        "flagged": ("X", 7.0, theme.ink, theme.paper),
    }
    for kind, (marker, size, face, edge) in looks.items():
        if kinds[kind].any():
            times, values = (column[kinds[kind]] for column in series)
            shape: dict[str, Any] = {
                "marker": marker,
                "markersize": size,
                "color": face,
                "markeredgecolor": edge,
                "markeredgewidth": 1.2,
            }
            axes.plot(times, values, linestyle="none", label=MARKS[kind], zorder=3, clip_on=False, **shape)
    if kinds["inferred"].any() or kinds["flagged"].any():
        font = {"family": FONT, "size": SMALL_POINTS}
        legend = axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, borderpad=0, prop=font)
        for text in legend.get_texts():
            text.set_color(theme.soft)


def _figure(size: tuple[float, float], theme: Theme) -> Figure:
    figure = Figure(figsize=size, facecolor=theme.paper)
    FigureCanvasAgg(figure)
    return figure


def _title(axes: Axes, title: str, theme: Theme) -> None:
    axes.set_title(title, loc="left", size=TITLE_POINTS, family=FONT, weight="bold", color=theme.ink, pad=8)


def _style(axes: Axes, theme: Theme) -> None:
    """Thin rules, no box."""
    axes.set_facecolor(theme.paper)
    axes.grid(color=theme.line, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=SMALL_POINTS, labelcolor=theme.soft, labelfontfamily=FONT, pad=5)
    for name, spine in axes.spines.items():
        spine.set_visible(name == "bottom")
        spine.set(color=theme.other, linewidth=0.8)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(size=TEXT_POINTS, family=FONT, color=theme.soft)
