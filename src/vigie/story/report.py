"""Sections of a report that all mapping applications share: scores beside baselines, calibration, model, provenance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vigie.learn.model import read_card
from vigie.publish.charts import reliability_chart
from vigie.publish.look import Theme
from vigie.publish.report import Estimate, Measure, Note, ReportFigure, ScoreTable, Section
from vigie.publish.sections import model_section as card_section
from vigie.publish.sections import provenance_section as record_section
from vigie.publish.sections import reproduce_section
from vigie.story.compare import groups, read_group
from vigie.story.experiment import to_toml
from vigie.story.products import part_provenance
from vigie.story.run import ARTEFACTS, Run
from vigie.story.scenes import Part, fold_name
from vigie.verify.scores import OURS

Values = NDArray[np.float64]

BY_CLASS = (
    Measure("iou", title="IoU"),
    Measure("f1", title="F1"),
    Measure("precision"),
    Measure("recall"),
    Measure("label_ece", "lower", title="calibration error"),
)
"""Scores of one class that the report shows."""


def score_sections(run: Run, titles: Mapping[str, str]) -> Iterator[Section]:
    """Tell how good the maps are, one section for each label legend, or why nothing was scored.

    `titles` are what readers call the reference methods.
    """
    path = run.folder / ARTEFACTS["verify"]
    if not path.is_file():
        return
    if why_not := unscored(path):
        yield Section("Scores", f"Nothing was scored: {why_not}.")
    for legend in groups(run.folder):
        scores = read_group(path, legend)
        labels = [str(label) for label in scores["label"].values]
        yield Section(
            f"Scores: {legend}",
            "Every part was mapped by a model that never saw it; the reference methods learnt from what the model "
            f"learnt from. Intervals: {scores.attrs['intervals']}.",
            figures=tuple(reliability_figures(run, legend)),
            scores=tuple(class_table(scores, label, titles) for label in labels),
            notes=(Note(f"{caution[0].upper()}{caution[1:]}."),) if (caution := scores.attrs.get("caution")) else (),
        )


def unscored(path: Path) -> str:
    """Why a `scores.nc` holds no scores; empty where it holds some."""
    with xr.open_dataset(path, engine="h5netcdf") as root:
        return str(root.attrs.get("note", ""))


def class_table(scores: xr.Dataset, label: str, titles: Mapping[str, str]) -> ScoreTable:
    """Tabulate the scores of one class, our model beside the reference methods."""
    rows: dict[str, dict[str, Estimate]] = {}
    for model in scores["model"].values.tolist():
        rows[model] = {}
        for measure in BY_CLASS:
            at = {"model": model, "label": label}
            value = float(scores[measure.name].sel(at))
            low, high = (float(v) for v in scores[f"{measure.name}_interval"].sel(at).values.ravel()[:2])
            if np.isfinite(value):
                rows[model][measure.name] = Estimate(value, *(bound if np.isfinite(bound) else None for bound in (low, high)))
    decided = f"How pixels are decided: {scores.attrs['decision']}."
    return ScoreTable(label, BY_CLASS, rows, ours=(OURS,), note=decided, titles=titles)


def reliability_figures(run: Run, legend: str) -> Iterator[ReportFigure]:
    """Draw how often the model is right when it says it is."""
    table = read_group(run.folder / ARTEFACTS["verify"], f"{legend}/reliability")
    for label in table["label"].values.tolist():
        bins = table.sel(label=label)
        title = f"Reliability: {label}"
        yield ReportFigure(
            partial(_reliability, bins["said"].values, bins["came"].values, bins["pixels"].values, title),
            f"How often '{label}' is true where the model gives it a probability; on the diagonal it is calibrated.",
            f"Reliability diagram of {label}",
            kind="svg",
        )


def _reliability(said: Values, came: Values, pixels: Values, title: str, theme: Theme) -> Figure:
    return reliability_chart(said, came, pixels, title, theme)


def model_section(run: Run, part: Part) -> Section:
    """Tell what the model is."""
    return card_section(read_card(run.artefact("train") / fold_name(part.fold)))


def provenance_section(run: Run, parts: Sequence[Part]) -> Section:
    """Tell what everything comes from."""
    record = part_provenance(run, *parts)
    return record_section(record, to_toml(run.experiment))


def how_to_repeat(run: Run) -> Section:
    """Tell how to get the same again, and how long it took."""
    return reproduce_section((f"vigie run {run.experiment.name}.toml",), run.seconds())
