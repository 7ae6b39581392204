"""Charts of rain: a swath on longitude and latitude, quantiles beside quantiles, and how often predicted levels hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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


def swath_chart(
    longitude: Floats, latitude: Floats, values: Floats, variable: Variable, title: str, theme: Theme = LIGHT
) -> Figure:
    """Draw a variable (scan, pixel) where it was seen; rates on a logarithmic ramp, what is below its low end left out.

    Examples
    --------
    >>> from vigie.core.vocabulary import named
    >>> lat, lon = np.mgrid[0:3, 0:4].astype(float)
    >>> figure = swath_chart(lon, lat, lat + 1, named("rainfall_rate"), "Rain")
    >>> figure.axes[0].get_xlabel()
    'longitude, °E'
    """
    figure = Figure(figsize=(5.6, 4.3), facecolor=theme.paper)
    FigureCanvasAgg(figure)
    axes: Axes = figure.add_axes((0.1, 0.11, 0.74, 0.79))
    low, high = variable.shown
    # Rates span orders of magnitude: a range whose low end is above 0 is one of ratios.
    scale: Normalize = LogNorm(low, high) if low > 0 else Normalize(low, high)
    ramp = LinearSegmentedColormap.from_list(variable.ramp, list(RAMPS[variable.ramp]))
    ramp.set_bad(theme.void)
    seen = np.where(values >= low, values, np.nan) if low > 0 else values
    if min(values.shape) >= FEWEST_LINES:
        axes.set_facecolor(theme.void)
        drawn: ScalarMappable = axes.pcolormesh(
            longitude, latitude, seen, norm=scale, cmap=ramp, shading="nearest", rasterized=True
        )
    else:
        axes.set_facecolor(theme.paper)
        order = np.argsort(np.nan_to_num(seen.ravel(), nan=-1.0), kind="stable")
        x, y, colour = (array.ravel()[order] for array in (longitude, latitude, seen))
        drawn = axes.scatter(x, y, c=colour, s=3, norm=scale, cmap=ramp, linewidths=0, rasterized=True)
    bar = figure.colorbar(drawn, cax=figure.add_axes((0.87, 0.11, 0.025, 0.79)), extend="max" if low > 0 else "neither")
    bar.ax.tick_params(length=0, labelsize=SMALL_POINTS, labelcolor=theme.soft, labelfontfamily=FONT)
    bar.outline.set_visible(False)
    bar.set_label(
        f"{variable.long_name}{', ' + variable.units if variable.units not in ('', '1') else ''}",
        size=SMALL_POINTS,
        family=FONT,
        color=theme.soft,
    )
    _style(axes, theme, title, ("longitude, °E", "latitude, °N"))
    return figure


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
    axes.set_facecolor(axes.get_facecolor() if axes.collections else theme.paper)
    axes.grid(color=theme.line, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", length=0, labelsize=SMALL_POINTS, labelcolor=theme.soft, labelfontfamily=FONT, pad=4)
    for spine in axes.spines.values():
        spine.set(visible=False)
    axes.set_xlabel(labels[0], size=TEXT_POINTS, family=FONT, color=theme.soft)
    axes.set_ylabel(labels[1], size=TEXT_POINTS, family=FONT, color=theme.soft)
    axes.set_title(title, loc="left", size=TITLE_POINTS, family=FONT, weight="bold", color=theme.ink, pad=8)
