"""Charts of curves that are held against each other: one a product, with intervals and points, and levels of return."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator
from numpy.typing import ArrayLike, NDArray

from vigie.publish.axes import legend, style
from vigie.publish.look import LIGHT, Theme

Scale = Literal["linear", "log"]
MARKS = ("o", "s", "^", "D", "v", "P")
FINE, ROUND = (1, 1.5, 2, 3, 4, 5, 6, 8), (1, 2, 5)
"""Ticks of logarithmic axes, in every decade."""


@dataclass(frozen=True)
class Curve:
    """One line: where it goes, an interval around it or None, and points beside it or None (as x and y)."""

    x: ArrayLike
    y: ArrayLike
    interval: tuple[ArrayLike, ArrayLike] | None = None
    points: tuple[ArrayLike, ArrayLike] | None = None


@dataclass(frozen=True)
class Frame:
    """What curves are drawn into: title, names of both axes with their units, and scales.

    `guide` is a dashed line to compare with: the diagonal, a level, or none (None).
    """

    title: str
    labels: tuple[str, str]
    scales: tuple[Scale, Scale] = ("linear", "linear")
    guide: Literal["diagonal"] | float | None = None


def curve_chart(curves: Mapping[str, Curve], frame: Frame, theme: Theme = LIGHT) -> Figure:
    """Draw curves by name, the first in the accent colour; points and curves without a value are left out.

    Examples
    --------
    >>> chart = curve_chart({"radar": Curve([1, 10], [2, 20])}, Frame("Q-Q", ("observed", "said"), guide="diagonal"))
    >>> chart.axes[0].get_xlabel()
    'observed'
    """
    figure = Figure(figsize=(5.6, 4.2), facecolor=theme.paper)
    FigureCanvasAgg(figure)
    axes: Axes = figure.add_axes((0.125, 0.125, 0.855, 0.775), facecolor=theme.paper)
    for number, (name, curve) in enumerate(curves.items()):
        _draw(axes, name, curve, (colours(theme)[number % len(colours(theme))], MARKS[number % len(MARKS)]), frame.scales)
    axes.set(xscale=frame.scales[0], yscale=frame.scales[1])
    _guide(axes, curves, frame, theme)
    style(axes, frame.title, frame.labels, theme)
    for axis, scale in ((axes.xaxis, frame.scales[0]), (axes.yaxis, frame.scales[1])):
        if scale == "log":
            low, high = axis.get_view_interval()
            axis.set_ticks(round_ticks(low, high))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_locator(NullLocator())
            axis.set_minor_formatter(NullFormatter())
    if len(curves) > 1 or any(curve.points for curve in curves.values()):
        legend(axes, theme)
    return figure


def colours(theme: Theme) -> Sequence[str]:
    """Colours of curves, told apart by colour-blind readers and on both papers."""
    return (theme.accent, "#d1762a", "#3d9970", "#b04a78", "#7b5ea7", theme.other)


def round_ticks(low: float, high: float, most: int = 8) -> list[float]:
    """Choose round numbers within an axis: more of a decade where there are few decades, powers of ten where there are many.

    Examples
    --------
    >>> round_ticks(22, 47), round_ticks(0.9, 60), round_ticks(0.01, 1e4)
    ([30.0, 40.0], [1.0, 2.0, 5.0, 10.0, 20.0, 50.0], [0.01, 0.1, 1.0, 10.0, 100.0, 1000.0, 10000.0])
    """
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    for steps in (FINE, ROUND, (1,)):
        ticks = [float(f"{step}e{decade}") for decade in decades for step in steps]
        within = [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001]
        if len(within) <= most:
            break
    return within


def _draw(axes: Axes, name: str, curve: Curve, look: tuple[str, str], scales: tuple[Scale, Scale]) -> None:
    x, y = (np.asarray(values, np.float64) for values in (curve.x, curve.y))
    colour, mark = look
    good = np.isfinite(x) & np.isfinite(y)
    for values, scale in zip((x, y), scales, strict=True):
        good &= (values > 0) | (scale == "linear")
    if curve.interval is not None:
        low, high = (np.asarray(end, np.float64) for end in curve.interval)
        sure = good & np.isfinite(low) & np.isfinite(high)
        axes.fill_between(x[sure], low[sure], high[sure], color=colour, alpha=0.16, linewidth=0)
    marker = None if curve.points is not None or good.sum() > 40 else mark
    axes.plot(x[good], y[good], color=colour, linewidth=1.6, marker=marker, markersize=4, label=name)
    if curve.points is not None:
        axes.plot(*curve.points, linestyle="none", marker=mark, markersize=3.2, color=colour, alpha=0.75)


def _guide(axes: Axes, curves: Mapping[str, Curve], frame: Frame, theme: Theme) -> None:
    if frame.guide == "diagonal":
        ends = _ends([values for curve in curves.values() for values in (curve.x, curve.y)], frame.scales[0])
        axes.set(xlim=ends, ylim=ends)
        axes.plot(ends, ends, color=theme.other, linewidth=1, dashes=(4, 3), zorder=1)
    elif frame.guide is not None:
        axes.axhline(frame.guide, color=theme.other, linewidth=1, dashes=(4, 3), zorder=1)


def _ends(values: Sequence[ArrayLike], scale: Scale) -> tuple[float, float]:
    """Both ends of a square plot."""
    together: NDArray[np.float64] = np.concatenate([np.asarray(part, np.float64).ravel() for part in values])
    shown = together[np.isfinite(together) & ((together > 0) | (scale == "linear"))]
    if not shown.size:
        return (0.1, 1.0)
    return (float(shown.min()) * 0.8, float(shown.max()) * 1.25) if scale == "log" else (0.0, max(1.0, float(shown.max())))
