"""The page that a person reads: maps, scores beside baselines, inventories, histories, and where everything comes from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vigie.apps.glaciers.classes import CLASSES, LEGEND
from vigie.apps.glaciers.histories import Epochs
from vigie.apps.glaciers.history.plot import plot_history
from vigie.apps.glaciers.inventories import Surface
from vigie.apps.glaciers.inventory.build import Inventory
from vigie.publish.maps import map_figure
from vigie.publish.panels import Panel, class_panel, observation_panel, ramp_panel, with_outlines
from vigie.publish.panels import RampKey
from vigie.publish.look import UNCERTAINTY
from vigie.publish.picture import Picture
from vigie.publish.report import Report, Section
from vigie.story.products import part_provenance, write_model_card
from vigie.story.run import Run
from vigie.story.scenes import Cropped, opened
from vigie.story.report import model_section, provenance_section, score_sections

MAPS = 6
"""Parts drawn in full; the others are in the products."""
LARGEST = 12
"""Rows of the inventory tables."""


@dataclass(frozen=True)
class Findings:
    """Everything that was found: surfaces and their inventories, in the same order, and areas followed in time."""

    surfaces: Sequence[Surface]
    inventories: Sequence[Inventory]
    epochs: Sequence[Epochs]


def report_of(run: Run, found: Findings) -> Report:
    """Assemble the report of a run."""
    sections = [
        maps_section(run, found),
        *score_sections(run),
        glaciers_section(found),
        lakes_section(found),
        *history_sections(found),
        model_section(run, found.surfaces[0].part),
        provenance_section(run, [surface.part for surface in found.surfaces]),
    ]
    return Report(run.experiment.name, run.experiment.summary, sections)
