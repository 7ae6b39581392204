"""Charts of rain: a swath on longitude and latitude, quantiles beside quantiles, and how often predicted levels hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from vigie.core.vocabulary import Variable
from vigie.publish.look import FONT, LIGHT, RAMPS, SMALL_POINTS, TEXT_POINTS, TITLE_POINTS, Theme

Floats = NDArray[np.floating]
FEWEST_LINES = 2
"""Swaths of fewer scans or pixels are drawn as points."""
PANEL_IN = 3.0
"""Width of a map and the space beside it, inches."""


@dataclass(frozen=True)
class SwathPanel:
    """One map of a swath: values (scan, pixel) of a variable of the vocabulary, and what they are called here."""

    title: str
    variable: Variable
    values: Floats


def swath_chart(longitude: Floats, latitude: Floats, panels: Sequence[SwathPanel], theme: Theme = LIGHT) -> Figure:
    """Draw maps of a swath side by side, each footprint (scan, pixel) where it was seen.

    A variable whose shown range begins above 0 has a logarithmic ramp, and is left white below it; what is missing is grey.

    Examples
    --------
    >>> from vigie.core.vocabulary import named
    >>> lat, lon = np.mgrid[0:3, 0:4].astype(float)
    >>> figure = swath_chart(lon, lat, [SwathPanel("Rain", named("rainfall_rate"), lat + 1)])
    >>> figure.axes[0].get_xlabel()
    'longitude, °E'
    """
    figure = Figure(figsize=(0.6 + PANEL_IN * len(panels), 3.5), facecolor=theme.paper)
    FigureCanvasAgg(figure)
    width = figure.get_figwidth()
    for number, panel in enumerate(panels):
        left = (0.6 + number * PANEL_IN) / width
        axes: Axes = figure.add_axes((left, 0.25, (PANEL_IN - 0.35) / width, 0.65))
        drawn = _footprints(axes, longitude, latitude, panel, theme)
        low = panel.variable.shown[0]
        place = figure.add_axes((left, 0.1, (PANEL_IN - 0.35) / width, 0.025))
        bar = figure.colorbar(drawn, cax=place, orientation="horizontal", extend="both" if low > 0 else "neither")
        bar.ax.tick_params(which="both", length=0, labelsize=SMALL_POINTS, labelcolor=theme.soft, labelfontfamily=FONT, pad=1)
        bar.outline.set_visible(False)
        units = "" if panel.variable.units in ("", "1") else f", {panel.variable.units}"
        _style(axes, theme, f"{panel.title}{units}", ("longitude, °E", "" if number else "latitude, °N"))
        if number:
            axes.tick_params(labelleft=False)
    return figure


def _footprints(axes: Axes, longitude: Floats, latitude: Floats, panel: SwathPanel, theme: Theme) -> ScalarMappable:
    """Draw the footprints of one panel: as a mesh, or as points where there are too few scans or pixels for one."""
    low, high = panel.variable.shown
    # Rates span orders of magnitude: a range whose low end is above 0 is one of ratios.
    scale: Normalize = LogNorm(low, high) if low > 0 else Normalize(low, high)
    colours = LinearSegmentedColormap.from_list(panel.variable.ramp, list(RAMPS[panel.variable.ramp]))
    ramp = colours.with_extremes(bad=theme.void, under=theme.paper)
    seen = np.ma.masked_invalid(np.maximum(panel.values, low / 10) if low > 0 else panel.values)
    if min(seen.shape) >= FEWEST_LINES:
        axes.set_facecolor(theme.void)
        return axes.pcolormesh(longitude, latitude, seen, norm=scale, cmap=ramp, shading="nearest", rasterized=True)
    axes.set_facecolor(theme.paper)
    flat = seen.ravel()
    shown = np.flatnonzero(~np.ma.getmaskarray(flat))
    shown = shown[np.argsort(flat.data[shown], kind="stable")]
    x, y = longitude.ravel()[shown], latitude.ravel()[shown]
    return axes.scatter(x, y, c=flat.data[shown], s=3, norm=scale, cmap=ramp, linewidths=0, rasterized=True)


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
    axes: Axes = figure.add_axes((0.14, 0.13, 0.82, 0.77))
    everything = np.concatenate([truth, *samples.values()])
    positive = everything[everything > 0]
    ends = (float(positive.min()) * 0.8, float(positive.max()) * 1.25) if positive.size else (0.1, 1.0)
    axes.plot(ends, ends, color=theme.other, linewidth=1, dashes=(4, 3), zorder=1)
    colours = _colours(theme)
    for number, (name, values) in enumerate(samples.items()):
        axes.plot(truth, values, color=colours[number % len(colours)], marker="o", markersize=4, linewidth=1.4, label=name)
    axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
    _style(axes, theme, title, ("observed, mm/h", "predicted, mm/h"))
    _legend(axes, theme)
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
    axes: Axes = figure.add_axes((0.14, 0.13, 0.82, 0.77))
    axes.plot([0, 1], [0, 1], color=theme.other, linewidth=1, dashes=(4, 3), zorder=1)
    colours = _colours(theme)
    for number, (name, values) in enumerate(coverage.items()):
        axes.plot(levels, values, color=colours[number % len(colours)], marker="o", markersize=4, linewidth=1.4, label=name)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    _style(axes, theme, title, ("level of the predicted quantile", "share of footprints at or below it"))
    _legend(axes, theme)
    return figure


def _colours(theme: Theme) -> Sequence[str]:
    return (theme.accent, "#d1762a", theme.other, "#7b5ea7", "#3d9970")


def _legend(axes: Axes, theme: Theme) -> None:
    legend = axes.legend(frameon=False, loc="upper left", prop={"family": FONT, "size": SMALL_POINTS})
    for text in legend.get_texts():
        text.set_color(theme.soft)


def _style(axes: Axes, theme: Theme, title: str, labels: tuple[str, str]) -> None:
    if not axes.collections:
        axes.set_facecolor(theme.paper)
    axes.grid(color=theme.line, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", length=0, labelsize=SMALL_POINTS, labelcolor=theme.soft, labelfontfamily=FONT, pad=4)
    for spine in axes.spines.values():
        spine.set(visible=False)
    axes.set_xlabel(labels[0], size=TEXT_POINTS, family=FONT, color=theme.soft)
    axes.set_ylabel(labels[1], size=TEXT_POINTS, family=FONT, color=theme.soft)
    axes.set_title(title, loc="left", size=TITLE_POINTS, family=FONT, weight="bold", color=theme.ink, pad=8)
