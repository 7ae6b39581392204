"""Panels of a map figure: what is drawn on each, and the key that says what its colours mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from vigie.core.errors import VigieError
from vigie.core.legend import Legend, LegendClass
from vigie.core.vocabulary import named
from vigie.publish.look import RAMPS
from vigie.publish.picture import Picture


@dataclass(frozen=True)
class ClassKey:
    """Swatches and names."""

    entries: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class RampKey:
    """A colour bar from `low` to `high` with what it measures."""

    label: str
    colours: tuple[str, ...]
    low: float
    high: float


@dataclass(frozen=True)
class Panel:
    """One map: red, green, blue, opacity as uint8 (y, x, 4) on a grid; outlines in map coordinates; a key."""

    title: str
    image: NDArray[np.uint8]
    grid: GeoBox
    key: ClassKey | RampKey | None = None
    outlines: tuple[NDArray[np.float64], ...] = ()
    outline_colour: str = "#ffb000"


def class_panel(title: str, picture: Picture, legend: Legend) -> Panel:
    """Draw class codes in the legend's colours; unknown stays empty.

    Examples
    --------
    >>> ice = Legend("ice", (LegendClass(0, "land", "#8c8c8c"), LegendClass(1, "ice", "#3fa9f5")))
    >>> grid = GeoBox.from_bbox((0, 0, 20, 10), "EPSG:32632", resolution=10)
    >>> class_panel("Ice", Picture(np.array([[[1, 255]]], np.uint8), grid), ice).image.tolist()
    [[[63, 169, 245, 255], [0, 0, 0, 0]]]
    """
    colours = np.zeros((256, 4), dtype=np.uint8)
    for entry in legend.classes:
        colours[entry.code] = (*bytes.fromhex(entry.color.removeprefix("#")), 255)
    key = ClassKey(tuple((c.name, c.color) for c in legend.classes))
    return Panel(title, colours[picture.values[0]], picture.grid, key)


def ramp_panel(title: str, picture: Picture, key: RampKey) -> Panel:
    """Draw a quantity along a colour ramp; NaN stays empty, values beyond the ends take the end colours."""
    values = picture.values[0].astype(np.float64)
    image = np.zeros((*values.shape, 4), dtype=np.uint8)
    image[..., :3] = ramp_colours(key, np.nan_to_num(values, nan=key.low))
    image[..., 3] = np.where(np.isfinite(values), 255, 0)
    image[~np.isfinite(values)] = 0
    return Panel(title, image, picture.grid, key)


def ramp_colours(key: RampKey, values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Find the red, green and blue of values along a ramp, as a last dimension of three.

    Examples
    --------
    >>> ramp_colours(RampKey("share", ("#000000", "#ff0000"), 0.0, 1.0), np.array([0.0, 0.2, 7.0])).tolist()
    [[0, 0, 0], [51, 0, 0], [255, 0, 0]]
    """
    stops = np.linspace(key.low, key.high, len(key.colours))
    levels = np.array([[*bytes.fromhex(colour.removeprefix("#"))] for colour in key.colours])
    return np.stack([np.rint(np.interp(values, stops, level)) for level in levels.T], axis=-1).astype(np.uint8)


def variable_panel(title: str, picture: Picture, name: str) -> Panel:
    """Draw a variable with the colours that the vocabulary gives it."""
    variable = named(name)
    return ramp_panel(title, picture, RampKey(name, RAMPS[variable.ramp], *variable.shown))


def observation_panel(title: str, picture: Picture) -> Panel:
    """Draw an observation of one band in grey, or of three as red, green and blue, with a robust stretch."""
    if picture.values.shape[0] not in (1, 3):
        raise VigieError(
            "an observation cannot be drawn", found=f"{picture.values.shape[0]} bands", expected="one band or three"
        )
    shown = stretch(picture.values)
    seen = np.isfinite(picture.values).all(axis=0)
    image = np.zeros((*seen.shape, 4), dtype=np.uint8)
    image[..., :3] = np.moveaxis(np.broadcast_to(np.rint(255 * shown), (3, *seen.shape)), 0, -1)
    image[..., 3] = np.where(seen, 255, 0)
    image[~seen] = 0
    return Panel(title, image, picture.grid)


def stretch(values: NDArray[np.floating], low: float = 1.0, high: float = 99.0, gamma: float = 0.8) -> NDArray[np.float64]:
    """Stretch each band (band, y, x) from its `low` to its `high` percentile onto 0 to 1; NaN becomes 0.

    A gamma below 1 lifts the shadows. A band of one value becomes 0.5.

    Examples
    --------
    >>> stretch(np.linspace(0, 100, 101).reshape(1, 1, -1), gamma=1.0)[0, 0, [0, 50, 100]].round(2)
    array([0. , 0.5, 1. ])
    """
    out = np.zeros(values.shape, dtype=np.float64)
    for band, target in zip(values, out, strict=True):
        good = np.isfinite(band)
        if good.any():
            bottom, top = np.percentile(band[good], [low, high])
            span = float(top - bottom)
            target[good] = np.clip((band[good] - bottom) / span, 0, 1) ** gamma if span > 0 else 0.5
    return out


def mistakes_panel(title: str, truth: Picture, predicted: Picture, classes: Legend, names: Sequence[str]) -> Panel:
    """Draw where a prediction finds, misses or adds the named classes; pixels of unknown truth or prediction stay empty.

    Both pictures hold codes of `classes`. The colours differ in lightness too, so that they can be told apart without hue.
    """
    codes = [classes.classes[classes.channel(name)].code for name in names]
    there, said = np.isin(truth.values[0], codes), np.isin(predicted.values[0], codes)
    found = np.select([there & said, there, said], [1, 2, 3], 0).astype(np.uint8)
    found[(truth.values[0] == classes.unknown) | (predicted.values[0] == classes.unknown)] = 255
    return class_panel(title, Picture(found[np.newaxis], truth.grid), MISTAKES)


MISTAKES = Legend(
    "mistakes",
    (
        LegendClass(0, "rightly left out", "#c3c9d1"),
        LegendClass(1, "found", "#5aa9d6"),
        LegendClass(2, "missed", "#c2410c"),
        LegendClass(3, "added", "#4a148c"),
    ),
)
"""What a prediction did with the classes of interest."""


def with_outlines(panel: Panel, table: gpd.GeoDataFrame, colour: str = "#ffb000") -> Panel:
    """Draw the boundaries of polygons over a panel."""
    boundaries = table.geometry.to_crs(str(panel.grid.crs)).boundary.explode(index_parts=False)
    lines = tuple(np.asarray(line.coords)[:, :2] for line in boundaries if line is not None and not line.is_empty)
    return replace(panel, outlines=lines, outline_colour=colour)
