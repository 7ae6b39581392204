"""The classes that glaciers maps, and what the codes of the label files in use mean."""

from __future__ import annotations

from vigie.core.legend import LabelLegend, Legend, LegendClass
from vigie.story.scenes import Classes

LAND, CLEAN, DEBRIS, WATER = "land", "clean ice", "debris-covered ice", "water"

LEGEND = Legend(
    "glaciers",
    (
        LegendClass(0, LAND, "#b9b3a3"),
        LegendClass(1, CLEAN, "#7cc4f0"),
        LegendClass(2, DEBRIS, "#a0622d"),
        LegendClass(3, WATER, "#1f4fa3"),
    ),
)
"""Clean ice includes snow on a glacier; water is told apart by its position when lakes are inventoried. 255 is unknown."""

CLASSES = Classes(
    LEGEND,
    {
        "classes": LabelLegend(
            "classes", {0: (LAND, (LAND,)), 1: (CLEAN, (CLEAN,)), 2: (DEBRIS, (DEBRIS,)), 3: (WATER, (WATER,))}
        ),
        "debris-or-not": LabelLegend("debris-or-not", {0: ("no debris on ice", (LAND, CLEAN, WATER)), 1: (DEBRIS, (DEBRIS,))}),
        "glacier-or-not": LabelLegend("glacier-or-not", {0: ("no glacier", (LAND, WATER)), 1: ("glacier", (CLEAN, DEBRIS))}),
        "ice-and-debris": LabelLegend(
            "ice-and-debris", {0: ("no glacier", (LAND, WATER)), 1: (CLEAN, (CLEAN,)), 2: (DEBRIS, (DEBRIS,))}
        ),
        "lake-or-not": LabelLegend("lake-or-not", {0: ("no lake", (LAND, CLEAN, DEBRIS)), 1: (WATER, (WATER,))}),
    },
    limits=("Debris-covered ice looks like the rock beside it: its outlines carry the largest uncertainty.",),
)
"""Label legends by name: `legend = "debris-or-not"` in a source says how to read its truth."""
