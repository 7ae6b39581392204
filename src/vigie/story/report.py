"""Sections of a report that all mapping applications share: scores beside baselines, calibration, model, provenance."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vigie.learn.model import read_card
from vigie.publish.charts import reliability_chart
from vigie.publish.look import Theme
from vigie.publish.report import Column, Estimate, Measure, Note, ReportFigure, ScoreTable, Section, Table
from vigie.publish.sections import model_section as card_section
from vigie.publish.sections import provenance_section as record_section
from vigie.publish.sections import reproduce_section
from vigie.story.apply import given_command, used_tables
from vigie.story.compare import groups, read_group
from vigie.story.experiment import to_toml
from vigie.story.map_apply import unseen
from vigie.story.products import part_provenance
from vigie.story.run import ARTEFACTS, Run
from vigie.story.scenes import Part, catalogued, fold_name
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
            notes=(Note(_sentence(caution)),) if (caution := scores.attrs.get("caution")) else (),
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


def unseen_notes(run: Run, parts: Sequence[Part]) -> tuple[Note, ...]:
    """Warn of maps of sensors that their model never saw."""
    sensors = {scene.id: scene.sensor for scene in catalogued(run)}
    found = chain.from_iterable(unseen(card, [sensors[p.scene] for p in mapped]) for card, mapped in mappings(run, parts))
    return tuple(Note(_sentence(warning), "warning") for warning in dict.fromkeys(found))


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def mappings(run: Run, parts: Sequence[Part]) -> list[tuple[dict[str, Any], list[Part]]]:
    """Give the card of every model, and the parts that it mapped."""
    folds = sorted({part.fold for part in parts})
    return [
        (read_card(run.artefact("train") / fold_name(fold)), [part for part in parts if part.fold == fold]) for fold in folds
    ]


def model_section(run: Run, parts: Sequence[Part]) -> Section:
    """Tell what the models are: their limits first, then which of them mapped what, then what they share."""
    made = mappings(run, parts)
    limits = dict.fromkeys(chain.from_iterable(card["facts"].get("limits", ()) for card, _ in made))
    columns = tuple(map(Column, ("model", "mapped", "members", "learnt from")))
    models = Table(
        "Which model made which map",
        columns,
        tuple(model_row(card, mapped) for card, mapped in made),
        note="Everything else that is known of each model stands in products/*/model-card.md.",
    )
    return card_section(shared_facts([card for card, _ in made]), [Note(text, "warning") for text in limits], (models,))


def model_row(card: Mapping[str, Any], mapped: Sequence[Part]) -> tuple[str, ...]:
    """Tell of one model what it mapped, what it is made of, and what it learnt from."""
    kinds = Counter((member["network"]["name"], member["parameters"]) for member in card["members"].values())
    members = (f"{count} × {name}, {size:,} parameters" for (name, size), count in kinds.items())
    learnt_from = ", ".join(card["facts"].get("trained_on", ()))
    return fold_name(mapped[0].fold), ", ".join(part.name for part in mapped), "; ".join(members), learnt_from


def shared_facts(cards: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Tell what the models of a run have in common, in words; what differs between them is left to their cards."""
    first, *others = map(facts_of, cards)
    return {name: text for name, text in first.items() if text and all(other[name] == text for other in others)}


def facts_of(card: Mapping[str, Any]) -> dict[str, str]:
    """Tell of one model what its card says, in words."""
    facts, scaling = card["facts"], card["scaling"]
    reflectances = "reflectances as colour and brightness, " if scaling["reflectances"] == "colour" else ""
    percentiles = ", ".join(f"{percentile:g}" for percentile in scaling["percentiles"])
    return {
        "trained in the run": facts.get("experiment", ""),
        "classes": ", ".join(leaf["name"] for leaf in card["legend"]["classes"]),
        "labels": ", ".join(facts.get("labels", ())),
        "sensors": ", ".join(facts.get("sensors", ())),
        "bands": ", ".join(facts.get("bands", ())),
        "scaling": f"{reflectances}other bands by their percentiles {percentiles}, within ±{scaling['clip']:g}",
        "first weights": ", ".join(facts.get("encoder_weights", ())),
        "seed": str(facts.get("seed", "")),
        "made with": f"vigie {card['vigie']}",
    }


def provenance_section(run: Run, parts: Sequence[Part]) -> Section:
    """Tell what everything comes from."""
    record = part_provenance(run, *parts)
    return record_section(record, to_toml(run.experiment, used_tables(run)))


def how_to_repeat(run: Run, began: float) -> Section:
    """Tell how to get the same again, and how long it took; `publish` itself began at `began` (time.monotonic)."""
    seconds = run.seconds() | {"publish, up to this page": time.monotonic() - began}
    command = given_command(run)
    if command is None:
        return reproduce_section((f"vigie run {run.experiment.name}.toml",), seconds)
    text = "Run this command where it was first run; with the same model and images it gives the same numbers."
    return reproduce_section((command,), seconds, text)
