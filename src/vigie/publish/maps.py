"""Map figures: panels side by side on one line, each a map with coordinates, a scale and its key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyBboxPatch
from matplotlib.textpath import TextPath
from matplotlib.ticker import MaxNLocator

from vigie.core.errors import VigieError
from vigie.publish.cartography import Extent, draw_graticule, draw_north_arrow, draw_scale_bar
from vigie.publish.look import FONT, LIGHT, SMALL_POINTS, TEXT_POINTS, TITLE_POINTS, Theme
from vigie.publish.panels import ClassKey, Panel, RampKey, ramp_colours

WIDTH_IN = {1: 5.8, 2: 9.5, 3: 9.5}
"""Width of a figure by its number of panels, inches: several fill the column of a report."""

TALLEST_IN = 5.8
NARROWEST_IN = 1.7
"""Room that a map is given at least, inches: titles, keys and scale bars of narrower ones need it."""
LEFT_IN, RIGHT_IN, GAP_IN, TOP_IN, BOTTOM_IN = 0.34, 0.08, 0.16, 0.36, 0.26
TITLE_LINE_IN, LINE_IN, SWATCH_IN, SPACE_IN = 0.18, 0.21, 0.15, 0.2
RAMP_IN = 0.46


@dataclass(frozen=True)
class Box:
    """A place on the figure, inches from its lower left corner."""

    left: float
    bottom: float
    width: float
    height: float


def map_figure(panels: Sequence[Panel], theme: Theme = LIGHT) -> Figure:
    """Draw one to three maps side by side, of equal height, with one key for neighbours that share it.

    Parameters
    ----------
    panels: made by the functions of `vigie.publish.panels`.
    theme: colours of paper and ink.

    Raises
    ------
    VigieError: there is no panel, or more than three.

    Examples
    --------
    >>> from odc.geo.geobox import GeoBox
    >>> grid = GeoBox.from_bbox((500000, 3000000, 500300, 3000200), "EPSG:32645", resolution=10)
    >>> figure = map_figure([Panel("Nothing", np.zeros((20, 30, 4), np.uint8), grid)])
    >>> len(figure.axes)
    1
    """
    if not 1 <= len(panels) <= max(WIDTH_IN):
        raise VigieError("a map figure cannot be laid out", found=f"{len(panels)} panels", expected=f"1 to {max(WIDTH_IN)}")
    extents = [Extent.of(panel.grid) for panel in panels]
    boxes, groups, size = _layout(panels, [extent.aspect() for extent in extents])
    figure = Figure(figsize=size, facecolor=theme.paper)
    FigureCanvasAgg(figure)
    for number, (panel, extent, box) in enumerate(zip(panels, extents, boxes, strict=True)):
        axes = _axes(figure, box)
        _draw_map(axes, panel, extent, theme)
        title = "\n".join(_title_lines(panel.title, max(box.width, NARROWEST_IN)))
        axes.set_title(title, loc="left", size=TITLE_POINTS, family=FONT, weight="bold", color=theme.ink, pad=6)
        draw_graticule(axes, extent, theme, latitude_labels=number == 0 or panel.grid != panels[number - 1].grid)
        draw_scale_bar(axes, extent, theme, box.width)
        draw_north_arrow(axes, extent, theme)
    for key, place in groups:
        _draw_key(figure, key, place, theme)
    return figure


def _layout(
    panels: Sequence[Panel], aspects: Sequence[float]
) -> tuple[list[Box], list[tuple[ClassKey | RampKey, Box]], tuple[float, float]]:
    """Place maps and keys: maps on one line, keys below them, each as wide as the room of the maps it explains."""
    gaps = [LEFT_IN if i == 0 or panels[i].grid != panels[i - 1].grid else GAP_IN for i in range(len(panels))]
    room = WIDTH_IN[len(panels)] - sum(gaps) - RIGHT_IN
    height = min(room / sum(aspects), TALLEST_IN)
    widths = [max(a * height, NARROWEST_IN) for a in aspects]
    lefts = (np.cumsum(gaps) + np.concatenate([[0.0], np.cumsum(widths)[:-1]])).tolist()
    spans = _spans(panels, lefts, widths)
    strip = max((_key_height(key, width) for key, _, width in spans), default=0.0)
    boxes = [Box(left, strip + BOTTOM_IN, a * height, height) for left, a in zip(lefts, aspects, strict=True)]
    places = [(key, Box(left, strip - _key_height(key, width), width, _key_height(key, width))) for key, left, width in spans]
    lines = max(len(_title_lines(panel.title, width)) for panel, width in zip(panels, widths, strict=True))
    top = TOP_IN + TITLE_LINE_IN * (lines - 1)
    return boxes, places, (lefts[-1] + widths[-1] + RIGHT_IN, strip + BOTTOM_IN + height + top)


def _spans(
    panels: Sequence[Panel], lefts: Sequence[float], widths: Sequence[float]
) -> list[tuple[ClassKey | RampKey, float, float]]:
    """Neighbours with the same key share it: (key, left, width)."""
    spans = []
    for key, group in groupby(range(len(panels)), key=lambda i: panels[i].key):
        members = list(group)
        if key is not None:
            right = lefts[members[-1]] + widths[members[-1]]
            spans.append((key, lefts[members[0]], right - lefts[members[0]]))
    return spans


def _axes(figure: Figure, box: Box) -> Axes:
    width, height = figure.get_size_inches()
    axes: Axes = figure.add_axes((box.left / width, box.bottom / height, box.width / width, box.height / height))
    return axes


def _draw_map(axes: Axes, panel: Panel, extent: Extent, theme: Theme) -> None:
    limits = (extent.west, extent.east, extent.south, extent.north)
    axes.set_facecolor(theme.void)
    axes.imshow(panel.image, extent=limits, aspect="auto", interpolation="antialiased")
    axes.add_collection(LineCollection(list(panel.outlines), colors=panel.outline_colour, linewidths=0.9, zorder=4))
    axes.set(xlim=limits[:2], ylim=limits[2:], xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color=theme.line, linewidth=0.8)


def _key_height(key: ClassKey | RampKey, width: float) -> float:
    if isinstance(key, RampKey):
        return RAMP_IN
    return LINE_IN * (1 + max(line for line, _ in _flow(key, width))) + 0.06


def _flow(key: ClassKey, width: float) -> list[tuple[int, float]]:
    """Line and left edge (inches) of each entry, wrapped like words."""
    places, line, left = [], 0, 0.0
    for name, _ in key.entries:
        need = SWATCH_IN + 0.07 + _text_width(name) + SPACE_IN
        if left and left + need - SPACE_IN > width:
            line, left = line + 1, 0.0
        places.append((line, left))
        left += need
    return places


def _title_lines(title: str, width: float) -> list[str]:
    """Wrap a title so that it stays over its own map."""
    lines: list[str] = []
    for word in title.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and _text_width(longer, TITLE_POINTS, "bold") <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines or [""]


def _text_width(text: str, points: float = TEXT_POINTS, weight: str = "normal") -> float:
    """Width of a text in inches."""
    font = FontProperties(family=FONT, weight=weight)
    return float(TextPath((0, 0), text, size=points, prop=font).get_extents().width) / 72


def _draw_key(figure: Figure, key: ClassKey | RampKey, box: Box, theme: Theme) -> None:
    if isinstance(key, ClassKey):
        _draw_swatches(_axes(figure, box), key, box, theme)
    else:
        _draw_ramp(figure, key, box, theme)


def _draw_swatches(axes: Axes, key: ClassKey, box: Box, theme: Theme) -> None:
    axes.set(xlim=(0, box.width), ylim=(box.height, 0))
    axes.set_axis_off()
    for (name, colour), (line, left) in zip(key.entries, _flow(key, box.width), strict=True):
        middle = (line + 0.5) * LINE_IN
        shape = "round,pad=0,rounding_size=0.025"
        corner = (left + 0.01, middle - 0.055)
        axes.add_patch(
            FancyBboxPatch(corner, SWATCH_IN, 0.11, boxstyle=shape, facecolor=colour, edgecolor=theme.line, linewidth=0.5)
        )
        axes.text(
            left + SWATCH_IN + 0.07,
            middle,
            name,
            size=TEXT_POINTS,
            family=FONT,
            color=theme.ink,
            va="center_baseline",
            ha="left",
        )


def _draw_ramp(figure: Figure, key: RampKey, box: Box, theme: Theme) -> None:
    """A colour bar with its label on the left of it and five numbers below."""
    label = min(_text_width(key.label) + 0.12, box.width / 2)
    bar = Box(box.left + label, box.bottom + 0.24, min(box.width - label, 3.2) - 0.06, 0.11)
    axes = _axes(figure, bar)
    ramp = ramp_colours(key, np.linspace(key.low, key.high, 256))
    axes.imshow(ramp[np.newaxis], extent=(key.low, key.high, 0, 1), aspect="auto")
    wished = MaxNLocator(5 if bar.width > 1.6 else 3, steps=[1, 2, 2.5, 5, 10]).tick_values(key.low, key.high)
    ticks = [float(tick) for tick in wished if key.low - 1e-9 <= tick <= key.high + 1e-9]
    axes.set(yticks=[], xticks=ticks, xticklabels=[f"{tick:g}" for tick in ticks])
    axes.tick_params(
        axis="x", length=2.5, pad=2, color=theme.line, labelsize=SMALL_POINTS, labelcolor=theme.soft, labelfontfamily=FONT
    )
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.text(-0.1 / bar.width, 0.5, key.label, transform=axes.transAxes, size=TEXT_POINTS, family=FONT, color=theme.ink,
              va="center_baseline", ha="right")  # fmt: skip
