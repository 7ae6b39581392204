"""One look for every picture: type, colours of paper and ink in a light and a dark theme, and colour ramps.

The ramps are perceptually uniform and safe for colour-blind readers (viridis and magma of matplotlib, CC0).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Theme:
    """Colours of a picture: `paper` behind it, `ink` for text, `soft` for what explains, `line` for rules, `void` for no data.

    `accent` marks the one thing to look at, `other` what it is compared with.
    """

    name: str
    paper: str
    ink: str
    soft: str
    line: str
    void: str
    accent: str
    other: str


LIGHT = Theme("light", "#ffffff", "#1b2430", "#5b6775", "#d5dbe2", "#e9ecf0", "#0b6fb8", "#9aa5b1")
DARK = Theme("dark", "#151a21", "#e8edf3", "#a3afbc", "#38424e", "#2a323c", "#56b4e9", "#6f7c8a")

FONT = "DejaVu Sans"
"""The one typeface that always comes with matplotlib."""

TITLE_POINTS, TEXT_POINTS, SMALL_POINTS = 10.5, 8.5, 7.5

RAMPS: Mapping[str, tuple[str, ...]] = {
    "viridis": ("#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725"),
    "ice": ("#0b1f3f", "#123a6b", "#1f5a92", "#3f7fb3", "#6fa3c9", "#9fc3dc", "#c7dcea", "#e6f0f6", "#ffffff"),
    "magma": ("#000004", "#1d1147", "#51127c", "#832681", "#b73779", "#e75263", "#fc8961", "#fec488", "#fcfdbf"),
}
"""Colours from low to high; the vocabulary says which ramp shows a variable."""
