"""Maps of swaths and of grids on longitude and latitude: a piece of an orbit as it lies, a whole one across the world."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vigie.core.vocabulary import Variable
from vigie.publish.axes import style
from vigie.publish.look import FONT, LIGHT, RAMPS, SMALL_POINTS, Theme

Floats = NDArray[np.floating]
FEWEST_LINES = 2
"""Swaths of fewer scans or pixels are drawn as points."""
PANEL_IN = 3.0
"""Width of a small map and the space beside it, inches."""
WIDE_DEG = 60.0
"""Maps that reach over more degrees of longitude are drawn below each other, as wide as the page."""
PAGE_IN = 9.4
"""Width of the page, inches."""


@dataclass(frozen=True)
class SwathPanel:
    """One map of a swath: values (scan, pixel) of a variable of the vocabulary, and what they are called here."""

    title: str
    variable: Variable
    values: Floats


def swath_chart(longitude: Floats, latitude: Floats, panels: Sequence[SwathPanel], theme: Theme = LIGHT) -> Figure:
    """Draw maps of a swath or grid, each footprint or cell (scan, pixel) where it is.

    A variable whose shown range begins above 0 has a logarithmic ramp, and is left in the paper's colour below it; what is
    missing is grey. Scans without positions are left out. An orbit is cut where it crosses the date line.

    Examples
    --------
    >>> from vigie.core.vocabulary import named
    >>> lat, lon = np.mgrid[0:3, 0:4].astype(float)
    >>> figure = swath_chart(lon, lat, [SwathPanel("Rain", named("rainfall_rate"), lat + 1)])
    >>> figure.axes[0].get_xlabel()
    'longitude, °E'
    """
    known = np.isfinite(longitude).all(axis=1) & np.isfinite(latitude).all(axis=1)
    longitude, latitude = longitude[known].astype(np.float64), latitude[known].astype(np.float64)
    panels = [SwathPanel(panel.title, panel.variable, panel.values[known]) for panel in panels]
    if min(longitude.shape) >= FEWEST_LINES:
        longitude = unrolled(longitude)
    if np.ptp(longitude) > WIDE_DEG:
        return _below_each_other(longitude, latitude, panels, theme)
    return _side_by_side(longitude, latitude, panels, theme)


def unrolled(longitude: Floats) -> NDArray[np.float64]:
    """Let longitudes (scan, pixel) go on where they jump at the date line, around the middle of the first scan.

    Examples
    --------
    >>> unrolled(np.array([[178.0, 179.0], [-180.0, -179.0]])).tolist()
    [[178.0, 179.0], [180.0, 181.0]]
    """
    middle = longitude.shape[1] // 2
    across = np.unwrap(longitude.astype(np.float64), period=360, axis=1)
    along = np.unwrap(longitude[:, middle].astype(np.float64), period=360)
    found: NDArray[np.float64] = across + (along - across[:, middle])[:, None]
    return found


def _side_by_side(longitude: Floats, latitude: Floats, panels: Sequence[SwathPanel], theme: Theme) -> Figure:
    figure = _figure(0.6 + PANEL_IN * len(panels), 3.5, theme)
    width = figure.get_figwidth()
    for number, panel in enumerate(panels):
        left = (0.6 + number * PANEL_IN) / width
        axes: Axes = figure.add_axes((left, 0.25, (PANEL_IN - 0.35) / width, 0.65))
        drawn = _footprints(axes, longitude, latitude, panel, theme)
        place = figure.add_axes((left, 0.1, (PANEL_IN - 0.35) / width, 0.025))
        _colour_bar(figure, drawn, place, "horizontal", panel, theme)
        _style(axes, theme, _titled(panel), ("longitude, °E", "" if number else "latitude, °N"))
        if number:
            axes.tick_params(labelleft=False)
    return figure


def _below_each_other(longitude: Floats, latitude: Floats, panels: Sequence[SwathPanel], theme: Theme) -> Figure:
    """Draw maps with a degree of longitude as long as one of latitude; those around the Earth from -180° to 180°."""
    around = bool(np.ptp(longitude) > 180 or longitude.max() > 180 or longitude.min() < -180)
    west, east = (-180.0, 180.0) if around else (float(longitude.min()), float(longitude.max()))
    map_in = PAGE_IN - 1.4
    high_in = max(map_in * float(np.ptp(latitude)) / (east - west), 1.2)
    step_in = high_in + 0.85
    figure = _figure(PAGE_IN, step_in * len(panels) + 0.1, theme)
    height = figure.get_figheight()
    for number, panel in enumerate(panels):
        bottom = (step_in * (len(panels) - 1 - number) + 0.55) / height
        axes: Axes = figure.add_axes((0.6 / PAGE_IN, bottom, map_in / PAGE_IN, high_in / height))
        turns = range(int((longitude.min() + 180) // 360), int((longitude.max() + 180) // 360) + 1) if around else (0,)
        drawn = [_footprints(axes, longitude - 360 * turn, latitude, panel, theme) for turn in turns]
        place = figure.add_axes(((map_in + 0.72) / PAGE_IN, bottom, 0.12 / PAGE_IN, high_in / height))
        _colour_bar(figure, drawn[0], place, "vertical", panel, theme)
        _style(axes, theme, _titled(panel), ("longitude, °E", "latitude, °N"))
        axes.set(xlim=(west, east), ylim=(latitude.min() - 1, latitude.max() + 1))
        if around:
            axes.set_xticks(range(-180, 181, 60))
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
        return axes.pcolormesh(_corners(longitude), _corners(latitude), seen, norm=scale, cmap=ramp, rasterized=True)
    axes.set_facecolor(theme.paper)
    flat = seen.ravel()
    shown = np.flatnonzero(~np.ma.getmaskarray(flat))
    shown = shown[np.argsort(flat.data[shown], kind="stable")]
    x, y = longitude.ravel()[shown], latitude.ravel()[shown]
    return axes.scatter(x, y, c=flat.data[shown], s=3, norm=scale, cmap=ramp, linewidths=0, rasterized=True)


def _corners(centres: Floats) -> Floats:
    """Find the corners (scan + 1, pixel + 1) between centres, straight on beyond the outer ones."""
    wider = np.pad(centres, 1, mode="reflect", reflect_type="odd")
    return (wider[:-1, :-1] + wider[1:, :-1] + wider[:-1, 1:] + wider[1:, 1:]) / 4


def _figure(width_in: float, height_in: float, theme: Theme) -> Figure:
    figure = Figure(figsize=(width_in, height_in), facecolor=theme.paper)
    FigureCanvasAgg(figure)
    return figure


def _colour_bar(figure: Figure, drawn: ScalarMappable, place: Axes, orientation: str, panel: SwathPanel, theme: Theme) -> None:
    extend = "both" if panel.variable.shown[0] > 0 else "neither"
    bar = figure.colorbar(drawn, cax=place, orientation=orientation, extend=extend)
    bar.ax.tick_params(which="both", length=0, labelsize=SMALL_POINTS, labelcolor=theme.soft, labelfontfamily=FONT, pad=1)
    bar.outline.set_visible(False)


def _titled(panel: SwathPanel) -> str:
    return panel.title if panel.variable.units in ("", "1") else f"{panel.title}, {panel.variable.units}"


def _style(axes: Axes, theme: Theme, title: str, labels: tuple[str, str]) -> None:
    style(axes, title, labels, theme)
    axes.xaxis.set_major_formatter(lambda degrees, _: f"{(degrees + 180) % 360 - 180 if abs(degrees) > 180 else degrees:g}")
