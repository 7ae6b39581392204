"""Charts of rain: quantiles beside quantiles, how often predicted levels hold, and how much rain is how rare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from vigie.publish.axes import legend, style
from vigie.publish.look import LIGHT, Theme

Floats = NDArray[np.floating]


def quantile_quantile_chart(truth: Floats, samples: Mapping[str, Floats], title: str, theme: Theme = LIGHT) -> Figure:
    """Draw quantiles of samples (by method) against those of the truth, mm/h, on logarithmic axes.

    Examples
    --------
    >>> figure = quantile_quantile_chart(np.array([0.1, 1.0, 10.0]), {"model": np.array([0.1, 0.9, 9.0])}, "Tails")
    >>> figure.axes[0].get_ylabel()
    'predicted, mm/h'
    """
    figure = Figure(figsize=(4.4, 4.3), facecolor=theme.paper)
    FigureCanvasAgg(figure)
    axes: Axes = figure.add_axes((0.14, 0.13, 0.82, 0.77), facecolor=theme.paper)
    everything = np.concatenate([truth, *samples.values()])
    positive = everything[everything > 0]
    ends = (float(positive.min()) * 0.8, float(positive.max()) * 1.25) if positive.size else (0.1, 1.0)
    axes.plot(ends, ends, color=theme.other, linewidth=1, dashes=(4, 3), zorder=1)
    colours = _colours(theme)
    for number, (name, values) in enumerate(samples.items()):
        axes.plot(truth, values, color=colours[number % len(colours)], marker="o", markersize=4, linewidth=1.4, label=name)
    axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
    style(axes, title, ("observed, mm/h", "predicted, mm/h"), theme)
    legend(axes, theme, "upper left")
    return figure


def coverage_chart(levels: Floats, coverage: Mapping[str, Floats], title: str, theme: Theme = LIGHT) -> Figure:
    """Draw how often the truth lies at or below predicted quantiles (by method) against their levels.

    Examples
    --------
    >>> figure = coverage_chart(np.array([0.1, 0.9]), {"model": np.array([0.12, 0.88])}, "Levels")
    >>> figure.axes[0].get_xlabel()
    'level of the predicted quantile'
    """
    figure = Figure(figsize=(4.4, 4.3), facecolor=theme.paper)
    FigureCanvasAgg(figure)
    axes: Axes = figure.add_axes((0.14, 0.13, 0.82, 0.77), facecolor=theme.paper)
    axes.plot([0, 1], [0, 1], color=theme.other, linewidth=1, dashes=(4, 3), zorder=1)
    colours = _colours(theme)
    for number, (name, values) in enumerate(coverage.items()):
        axes.plot(levels, values, color=colours[number % len(colours)], marker="o", markersize=4, linewidth=1.4, label=name)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    style(axes, title, ("level of the predicted quantile", "share of footprints at or below it"), theme)
    legend(axes, theme, "lower right")
    return figure


@dataclass(frozen=True)
class ReturnLevels:
    """Rain, mm/h, that one in `periods` footprints reaches: as observed, and by a fitted tail with its interval (low, high)."""

    periods: Floats
    observed: Floats
    fit: Floats
    interval: Floats


def return_level_chart(levels: ReturnLevels, samples: Mapping[str, Floats], title: str, theme: Theme = LIGHT) -> Figure:
    """Draw how much rain is how rare: observed, fitted, and in samples (by method, at the same periods).

    Examples
    --------
    >>> periods, rain = np.array([100.0, 1000.0]), np.array([8.0, 15.0])
    >>> levels = ReturnLevels(periods, rain, rain, np.stack([rain - 1, rain + 2]))
    >>> return_level_chart(levels, {"model": rain}, "Rare rain").axes[0].get_xlabel()
    'one in so many footprints'
    """
    figure = Figure(figsize=(4.4, 4.3), facecolor=theme.paper)
    FigureCanvasAgg(figure)
    axes: Axes = figure.add_axes((0.14, 0.13, 0.82, 0.77), facecolor=theme.paper)
    axes.fill_between(levels.periods, *levels.interval, color=theme.other, alpha=0.3, linewidth=0)
    axes.plot(levels.periods, levels.fit, color=theme.soft, linewidth=1.2, dashes=(4, 3), label="tail fitted to observations")
    axes.plot(levels.periods, levels.observed, color=theme.ink, marker="o", markersize=4, linewidth=0, label="observed")
    for (name, values), colour in zip(samples.items(), _colours(theme)):
        axes.plot(levels.periods, values, color=colour, marker="o", markersize=3, linewidth=1.4, label=name)
    axes.set(xscale="log", ylim=(0, None))
    style(axes, title, ("one in so many footprints", "rain rate reached, mm/h"), theme)
    axes.set_facecolor(theme.paper)
    legend(axes, theme, "upper left")
    return figure


def _colours(theme: Theme) -> Sequence[str]:
    return (theme.accent, "#d1762a", theme.other, "#7b5ea7", "#3d9970")
