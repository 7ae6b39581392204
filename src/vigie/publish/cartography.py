"""What makes a picture a map: meridians and parallels with labels, a scale bar, and an arrow to true north."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.offsetbox import AnchoredOffsetbox, DrawingArea, TextArea, VPacker
from matplotlib.patches import Polygon, Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import Geod, Transformer

from vigie.publish.look import FONT, SMALL_POINTS, Theme

STEPS_DEG = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 45)
NORTH_VARIES_DEG = 20.0
"""Where north turns by more than this across a map, one arrow would lie."""

Floats = NDArray[np.float64]
Line = tuple[str, Floats, Floats]
"""A meridian or parallel: its label, and its points on the map."""


@dataclass(frozen=True)
class Extent:
    """Edges of a map in its own units, with the ways to longitude and latitude and back."""

    west: float
    east: float
    south: float
    north: float
    to_degrees: Callable[[Floats, Floats], tuple[Floats, Floats]]
    from_degrees: Callable[[Floats, Floats], tuple[Floats, Floats]]

    @classmethod
    def of(cls, grid: GeoBox) -> Extent:
        """Take the edges of a north-up grid."""
        left, bottom, right, top = grid.boundingbox
        there = Transformer.from_crs(str(grid.crs), "EPSG:4326", always_xy=True)
        back = Transformer.from_crs("EPSG:4326", str(grid.crs), always_xy=True)
        return cls(left, right, bottom, top, there.transform, back.transform)

    def mesh(self, count: int = 21) -> tuple[Floats, Floats]:
        """Longitudes and latitudes of points spread over the map, edges included, in one piece across the antimeridian."""
        x, y = np.meshgrid(np.linspace(self.west, self.east, count), np.linspace(self.south, self.north, count))
        longitude, latitude = self.to_degrees(x, y)
        good = np.isfinite(longitude) & np.isfinite(latitude)
        longitude, latitude = longitude[good], latitude[good]
        if np.ptp(longitude) > 180 and np.ptp(longitude % 360) < 180:
            longitude = longitude % 360
        return longitude, latitude

    def width_m(self) -> float:
        """Width of the map across its centre, metres on the ellipsoid, from its middle half."""
        quarter, y = (self.east - self.west) / 4, (self.south + self.north) / 2
        middle = (self.west + self.east) / 2
        lon, lat = self.to_degrees(np.array([middle - quarter, middle + quarter]), np.array([y, y]))
        return 2 * float(Geod(ellps="WGS84").inv(lon[0], lat[0], lon[1], lat[1])[2])

    def aspect(self) -> float:
        """Width over height on the ground."""
        quarter, x = (self.north - self.south) / 4, (self.west + self.east) / 2
        middle = (self.south + self.north) / 2
        lon, lat = self.to_degrees(np.array([x, x]), np.array([middle - quarter, middle + quarter]))
        return self.width_m() / (2 * float(Geod(ellps="WGS84").inv(lon[0], lat[0], lon[1], lat[1])[2]))


def nice_step(span: float, lines: int = 4) -> float:
    """Choose the smallest round step in degrees that cuts `span` into at most `lines` parts.

    Examples
    --------
    >>> nice_step(0.24), nice_step(3.0), nice_step(360)
    (0.1, 1, 45)
    """
    return next((step for step in STEPS_DEG if step >= span / lines), STEPS_DEG[-1])


def degrees_label(value: float, step: float, hemispheres: str) -> str:
    """Write a longitude ('EW') or latitude ('NS').

    Examples
    --------
    >>> degrees_label(-16.5, 0.5, "EW"), degrees_label(190, 10, "EW"), degrees_label(0, 1, "NS")
    ('16.5°W', '170°W', '0°')
    """
    if hemispheres == "EW":
        value = (value + 180) % 360 - 180
    decimals = max(0, math.ceil(-math.log10(step) - 1e-9))
    letter = "" if round(value, decimals) in (0, 180, -180) else hemispheres[0] if value > 0 else hemispheres[1]
    return f"{abs(value):.{decimals}f}°{letter}"


def draw_graticule(axes: Axes, extent: Extent, theme: Theme, latitude_labels: bool) -> None:
    """Draw meridians and parallels with their labels: outside, below and on the left, or inside where north turns too much."""
    longitude, latitude = extent.mesh()
    meridians, step_ew = _multiples(longitude)
    parallels, step_ns = _multiples(latitude)
    along = np.linspace(max(-90.0, latitude.min() - 1), min(90.0, latitude.max() + 1), 400)
    around = (
        np.linspace(longitude.min() - 1, longitude.max() + 1, 400) if np.ptp(longitude) < 180 else np.linspace(-180, 180, 721)
    )
    down = [(degrees_label(m, step_ew, "EW"), *_draw_line(axes, extent, np.full_like(along, m), along)) for m in meridians]
    across = [(degrees_label(p, step_ns, "NS"), *_draw_line(axes, extent, around, np.full_like(around, p))) for p in parallels]
    if north_turns(extent):
        _label_inside(axes, extent, down, across)
        return
    for label, x, y in down:
        _label_below(axes, label, _crossing(x, y, extent.south, (extent.west, extent.east)), theme)
    for label, x, y in across if latitude_labels else []:
        _label_left(axes, label, _crossing(y, x, extent.west, (extent.south, extent.north)), theme)


def draw_scale_bar(axes: Axes, extent: Extent, theme: Theme, width_inches: float) -> None:
    """Draw a bar of a round length, at most a quarter of the map, on a light plate at the lower left."""
    width_m = extent.width_m()
    length_m = round_length(width_m / 4)
    points = 72 * width_inches * length_m / width_m
    label = f"{length_m / 1000:g} km" if length_m >= 1000 else f"{length_m:g} m"
    bar = DrawingArea(points, 4, 0, 0)
    bar.add_artist(Rectangle((0, 0), points, 3.2, facecolor=theme.paper, edgecolor=theme.ink, linewidth=0.7))
    bar.add_artist(Rectangle((0, 0), points / 2, 3.2, facecolor=theme.ink, edgecolor=theme.ink, linewidth=0.7))
    text = TextArea(label, textprops={"size": SMALL_POINTS, "family": FONT, "color": theme.ink})
    _plate(axes, VPacker(children=[text, bar], align="center", pad=0, sep=2.5), "lower left", theme)


def round_length(longest_m: float) -> float:
    """Choose the longest of 1, 2, 5, 10, 20, 50 ... metres that is not over `longest_m`.

    Examples
    --------
    >>> round_length(6100.0), round_length(4999.0)
    (5000.0, 2000.0)
    """
    power = 10.0 ** math.floor(math.log10(longest_m))
    return max(power * digit for digit in (0.5, 1, 2, 5) if power * digit <= longest_m)


def draw_north_arrow(axes: Axes, extent: Extent, theme: Theme) -> None:
    """Draw an arrow to true north at the upper right, unless north turns too much across the map."""
    if north_turns(extent):
        return
    mean = float(np.angle(np.exp(1j * north_angles(extent)).mean()))
    area = DrawingArea(15, 16, 0, 0)
    turn = np.array([[math.cos(mean), math.sin(mean)], [-math.sin(mean), math.cos(mean)]])
    for side, filled in ((-1, theme.ink), (1, theme.paper)):
        half = np.array([[0, 8.0], [side * 4.6, -7.0], [0, -3.6]]) @ turn.T + (7.5, 8)
        area.add_artist(Polygon(half, closed=True, facecolor=filled, edgecolor=theme.ink, linewidth=0.7, joinstyle="round"))
    letter = TextArea("N", textprops={"size": SMALL_POINTS, "family": FONT, "weight": "bold", "color": theme.ink})
    _plate(axes, VPacker(children=[letter, area], align="center", pad=0, sep=1.5), "upper right", theme)


def north_angles(extent: Extent) -> Floats:
    """Angle of true north from the map's up direction at points spread over the map, radians, positive to the right."""
    longitude, latitude = extent.mesh(5)
    step = 1e-3
    x0, y0 = extent.from_degrees(longitude, np.clip(latitude - step, -90, 90))
    x1, y1 = extent.from_degrees(longitude, np.clip(latitude + step, -90, 90))
    return np.asarray(np.arctan2(x1 - x0, y1 - y0))


def north_turns(extent: Extent) -> bool:
    """Say whether the direction of north differs too much across a map for one arrow, as around a pole."""
    angles = north_angles(extent)
    away = np.angle(np.exp(1j * angles) / np.exp(1j * angles).mean())
    return bool(np.abs(away).max() > math.radians(NORTH_VARIES_DEG))


def _multiples(values: Floats) -> tuple[list[float], float]:
    """Multiples of a round step inside the range of values, and the step; a full turn is not counted twice."""
    step = nice_step(float(np.ptp(values)))
    first, last = math.ceil(values.min() / step - 1e-9), math.floor(values.max() / step + 1e-9)
    if (last - first) * step >= 360:
        last -= 1
    return [float(k * step) for k in range(first, last + 1)], step


def _draw_line(axes: Axes, extent: Extent, longitude: Floats, latitude: Floats) -> tuple[Floats, Floats]:
    """Draw a line given in degrees, dark on light and light on dark; give its points on the map."""
    x, y = extent.from_degrees(longitude, latitude)
    good = np.isfinite(x) & np.isfinite(y)
    axes.plot(x[good], y[good], color="white", alpha=0.45, linewidth=0.6, zorder=3)
    axes.plot(x[good], y[good], color="black", alpha=0.25, linewidth=0.35, zorder=3)
    return x[good], y[good]


def _label_below(axes: Axes, label: str, at: float | None, theme: Theme) -> None:
    if at is not None:
        style = _label_style(theme)
        axes.annotate(label, (at, 0), (0, -4), axes.get_xaxis_transform(), "offset points", ha="center", va="top", **style)


def _label_left(axes: Axes, label: str, at: float | None, theme: Theme) -> None:
    if at is not None:
        style = _label_style(theme) | {"rotation": 90, "rotation_mode": "default"}
        axes.annotate(label, (0, at), (-4, 0), axes.get_yaxis_transform(), "offset points", ha="right", va="center", **style)


def _label_inside(axes: Axes, extent: Extent, meridians: Sequence[Line], parallels: Sequence[Line]) -> None:
    """Label meridians where they reach the margin of the map, and parallels on the right, a little above the middle."""
    half = np.array([extent.east - extent.west, extent.north - extent.south]) / 2
    middle = np.array([extent.east + extent.west, extent.north + extent.south]) / 2
    for label, x, y in meridians:
        away = (np.stack([x, y], axis=-1) - middle) / half
        reach = np.abs(away).max(axis=-1)
        under_bar = (away[:, 0] < -0.1) & (away[:, 1] < -0.6)
        inside = np.flatnonzero((reach <= 0.94) & ~under_bar)
        if inside.size:
            at = inside[np.argmax(reach[inside])]
            side = "left" if away[at, 0] < -0.5 else "right" if away[at, 0] > 0.5 else "center"
            _halo_text(axes, label, (float(x[at]), float(y[at])), side)
    for label, x, y in parallels:
        away = (np.stack([x, y], axis=-1) - middle) / half
        tilt = np.abs(np.degrees(np.arctan2(away[:, 1], away[:, 0])) - 22.5)
        tilt[np.abs(away).max(axis=-1) > 0.92] = np.inf
        if tilt.size and tilt.min() < 10:
            at = int(np.argmin(tilt))
            _halo_text(axes, label, (float(x[at]), float(y[at])), "center")


def _halo_text(axes: Axes, label: str, place: tuple[float, float], side: str) -> None:
    halo = [withStroke(linewidth=2, foreground="black", alpha=0.55)]
    style: dict[str, Any] = {
        "size": SMALL_POINTS,
        "family": FONT,
        "color": "white",
        "ha": side,
        "va": "center",
        "zorder": 5,
    }
    axes.text(*place, label, path_effects=halo, clip_on=True, **style)


def _label_style(theme: Theme) -> dict[str, Any]:
    return {"size": SMALL_POINTS, "family": FONT, "color": theme.soft, "annotation_clip": False}


def _crossing(along: Floats, across: Floats, level: float, limits: tuple[float, float]) -> float | None:
    """Where a line's `across` passes a level, as `along`, kept a little inside the limits so that labels do not collide."""
    margin = 0.04 * (limits[1] - limits[0])
    for i in np.flatnonzero(np.diff(np.sign(across - level))):
        share = (level - across[i]) / (across[i + 1] - across[i])
        at = float(along[i] + share * (along[i + 1] - along[i]))
        if limits[0] + margin <= at <= limits[1] - margin:
            return at
    return None


def _plate(axes: Axes, content: VPacker, corner: str, theme: Theme) -> None:
    """Put furniture in a corner on a plate of paper, so that it reads on any picture."""
    size = FontProperties(size=SMALL_POINTS)
    box = AnchoredOffsetbox(loc=corner, child=content, pad=0.45, borderpad=0.6, frameon=True, prop=size)
    box.patch.set(facecolor=theme.paper, edgecolor="none", alpha=0.86, boxstyle="round,pad=0,rounding_size=0.35")
    box.set_zorder(6)
    axes.add_artist(box)
