"""The page that a person reads: rain where it was seen, scores beside reference methods, tails, the model and its limits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from vigie.apps.precipitation.charts import chart, coverage_figure, pit_figure, quantile_figure, reliability_figure
from vigie.apps.precipitation.climatology import MAPPED, WET_MM_H, map_of
from vigie.apps.precipitation.failures import beaten, doubts, failures
from vigie.apps.precipitation.shown import Maps, Shown
from vigie.core.vocabulary import named
from vigie.learn.retrieval_model import read_card
from vigie.predict.quality import QUALITY
from vigie.publish.curves import Curve, Frame, curve_chart
from vigie.publish.look import Theme
from vigie.publish.report import (
    Cell,
    Column,
    Estimate,
    Measure,
    Note,
    Number,
    Report,
    ReportFigure,
    ScoreTable,
    Section,
    Table,
)
from vigie.publish.sections import model_section as card_section
from vigie.publish.sections import provenance_section as record_section
from vigie.publish.sections import reproduce_section
from vigie.publish.swath_maps import SwathPanel, swath_chart
from vigie.story.apply import given_command, used_tables
from vigie.story.compare import groups, opened, read_group
from vigie.story.experiment import to_toml
from vigie.story.run import Run
from vigie.verify.scores import OURS

PANELS = (
    ("rainfall_rate", "rainfall_rate", "mean rain"),
    ("truth", "rainfall_rate", "rain held against"),
    ("ood_score", "ood_score", "distance"),
)
"""Maps of a swath: variable, whose colours, title."""
TITLES = {
    OURS: "this model",
    "generated": "generated members",
    "climatology": "climatology",
    "ridge": "ridge regression",
    "gradient-boosting": "gradient boosting",
}
MEASURES = (
    Measure("crps", "lower", title="CRPS, mm/h"),
    Measure("twcrps_5", "lower", title="CRPS beyond 5 mm/h"),
    Measure("rmse", "lower", title="RMSE, mm/h"),
    Measure("mae", "lower", title="MAE, mm/h"),
    Measure("correlation", title="correlation"),
    Measure("csi_1", title="CSI at 1 mm/h"),
    Measure("csi_5", title="CSI at 5 mm/h"),
)
"""Columns of the report's table; those along thresholds are named by them."""

SHOWN_MM_H = (1.0, 5.0)
"""Thresholds whose reliability is drawn."""


def report_of(run: Run, shown: Sequence[Shown], record: Mapping[str, Any], began: float) -> Report:
    """Assemble the report of a run whose `publish` began at `began` (time.monotonic); `record`: its provenance."""
    sections = [
        rain_section(shown),
        failure_section(run, shown),
        *score_sections(run),
        *climatology_sections(run),
        model_section(run),
        record_section(record, to_toml(run.experiment, used_tables(run))),
        how_to_repeat(run, began),
    ]
    return Report(run.experiment.name, run.experiment.summary, sections, numbers=headlines(shown))


def how_to_repeat(run: Run, began: float) -> Section:
    """Tell how to get the same again."""
    seconds, command = run.seconds() | {"publish": time.monotonic() - began}, given_command(run)
    if command is None:
        return reproduce_section((f"vigie run {run.experiment.name}.toml",), seconds)
    text = "Run this command where it was first run; with the same model and swaths it gives the same numbers."
    return reproduce_section((command,), seconds, text)


def headlines(shown: Sequence[Shown]) -> tuple[Number, ...]:
    """What was retrieved, in four numbers."""
    flags = np.sum([item.flags for item in shown], axis=0)
    made = int(flags[: QUALITY["no_retrieval"]].sum())
    doubtful = flags[QUALITY["out_of_distribution"]] / max(made, 1)
    sensors = sorted({item.granule.sensor for item in shown})
    count = sum(item.rain_count for item in shown)
    mean = sum(item.rain_sum for item in shown) / count if count else float("nan")
    return (
        Number("swaths", str(len(shown)), ", ".join(sensors)),
        Number("retrievals", f"{made:,}", f"of {int(flags.sum()):,} footprints"),
        Number("mean rain", f"{mean:.2f} mm/h", "of retrieved footprints"),
        Number("out of distribution", f"{100 * doubtful:.1f} %", "flagged: unlike what was learnt from"),
    )


def rain_section(shown: Sequence[Shown]) -> Section:
    """Draw the first swaths: mean rain, the rain it is held against, and where the model doubts that it has seen the like."""
    figures = []
    for item in shown:
        if item.overview is not None:
            figures.append(map_figure(item.granule.id, item.overview))
        if item.rainiest is not None:
            last = item.begins + len(item.rainiest["latitude"]) - 1
            figures.append(map_figure(f"{item.granule.id}, where it rained most, scans {item.begins} to {last}", item.rainiest))
    text = (
        "Each footprint where it was seen; what folds hold out is retrieved by the model that did not learn from it, "
        "swaths of which nothing is held out by the final model, and the rest of what folds learnt from by none. "
        "Where it is dry the map is left blank, grey was not observed. "
        "Maps of whole orbits show every so many scans and pixels; the files hold all. "
        "Distances are those from what was learnt from; few familiar footprints are further away than 1."
    )
    return Section("Rain", text, figures=tuple(figures))


def map_figure(title: str, maps: Maps) -> ReportFigure:
    """Draw what is known of a swath."""
    panels = [
        SwathPanel(called, named(name), maps[variable])
        for variable, name, called in PANELS
        if variable in maps and np.isfinite(maps[variable]).any()
    ]
    told = f"{title}: {', '.join(panel.title for panel in panels) or 'nothing was retrieved'}"
    draw = partial(swath_chart, maps["longitude"], maps["latitude"], panels)
    return ReportFigure(partial(_themed, draw), f"{told}.", told)


def failure_section(run: Run, shown: Sequence[Shown]) -> Section:
    """Say in words where the model fails, a paragraph for each source of rain rates."""
    paragraphs = [" ".join(doubts(shown))]
    for source in scored_sources(run):
        path = run.artefact("verify")
        with opened(path) as tree:
            has_regimes = "regimes" in tree[source].children
        regimes = read_group(path, f"{source}/regimes") if has_regimes else None
        scores = read_group(path, source)
        told = [*failures(scores, regimes), *([beaten(score_table(scores))] if scores.sizes["model"] > 1 else [])]
        paragraphs.append(f"Against {source}: {' '.join(told)}")
    if len(paragraphs) == 1:
        paragraphs.append("Nothing was scored: no rain rates were held out.")
    return Section("Where it fails", (chr(10) * 2).join(paragraphs))


def scored_sources(run: Run) -> list[str]:
    """Name the sources of rain rates that were scored against; a model that is only applied has none."""
    return groups(run.folder) if run.artefact("verify").is_file() else []


def score_sections(run: Run) -> Iterator[Section]:
    """Tell how good the retrievals are, one section for each source of rain rates."""
    for source in scored_sources(run):
        scores = read_group(run.artefact("verify"), source)
        text = (
            f"{scores.attrs['footprints']:,} footprints that were held out; reference methods learnt from what the "
            f"model learnt from. Intervals: {scores.attrs['intervals']}."
        )
        yield Section(
            f"Scores against {source}",
            text,
            figures=(*tail_figures(scores), *return_level_figures(scores), *distribution_figures(scores)),
            tables=(tail_table(scores),),
            scores=(score_table(scores),),
            notes=(Note("Extremes are judged on samples of the predicted distributions: a mean has no tail."),),
        )


def score_table(scores: xr.Dataset) -> ScoreTable:
    """Tabulate scores of ours beside those of reference methods."""
    rows: dict[str, dict[str, Estimate]] = {}
    for name in map(str, scores["model"].values):
        rows[name] = {m.name: e for m in MEASURES if (e := estimate(scores.sel(model=name), m.name)) is not None}
    return ScoreTable("Rain rate", MEASURES, rows, ours=(OURS,), titles=TITLES)


def estimate(scores: xr.Dataset, name: str) -> Estimate | None:
    """Take a score and its interval; 'csi_5' is that at 5 mm/h; None where a method has none."""
    score, _, threshold = name.partition("_")
    if score not in scores:
        return None
    values = [scores[score]]
    if f"{score}_interval" in scores:
        values += [scores[f"{score}_interval"].sel(bound=bound) for bound in ("low", "high")]
    if threshold:
        values = [value.sel(threshold_mm_h=float(threshold)) for value in values]
    value, *bounds = (float(v) for v in values)
    return Estimate(value, *bounds) if np.isfinite(value) else None


def tail_table(scores: xr.Dataset) -> Table:
    """Tabulate what samples say of wet fraction and extremes, over what was observed; 1 is right."""
    names = ("tail_wet_ratio", "tail_p99_ratio", "tail_p999_ratio", "tail_max_ratio")
    columns = (Column("method"), *(Column(title, ".2f") for title in ("wet fraction", "p99", "p99.9", "maximum")))
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (TITLES.get(name, name), *(float(scores[score].sel(model=name)) for score in names))
        for name in map(str, scores["model"].values)
    )
    note = "Methods that give a mean alone are judged on it."
    return Table("Samples over observations", columns, rows, note=note)


def tail_figures(scores: xr.Dataset) -> Iterator[ReportFigure]:
    """Draw quantiles of samples against those observed."""

    def curve(of: xr.Dataset) -> Curve:
        return Curve(of["tail_truth_quantile"].values, of["tail_sample_quantile"].values)

    caption = "On the dashed line extremes are as strong as observed."
    yield quantile_figure(by_method(scores, curve), ("observed, mm/h", "predicted, mm/h"), caption)


def distribution_figures(scores: xr.Dataset) -> Iterator[ReportFigure]:
    """Draw whether predicted distributions come true: coverage of quantiles, probability integral transform, thresholds.

    Methods that say one number have none: the truth is below all of their quantiles, or above all.
    """
    scores = scores.sel(model=(scores["coverage"].max("level") > scores["coverage"].min("level")).values)
    if not scores.sizes["model"]:
        return
    yield coverage_figure(by_method(scores, lambda of: Curve(of["level"].values, of["coverage"].values)))
    yield pit_figure(by_method(scores, lambda of: Curve(of["bin"].values, of["pit"].values)))
    for threshold in SHOWN_MM_H:

        def curve(of: xr.Dataset, threshold: float = threshold) -> Curve:
            part = of.sel(threshold_mm_h=threshold)
            return Curve(part["reliability_said"].values, part["reliability_came"].values)

        yield reliability_figure(f">= {threshold:g} mm/h", by_method(scores, curve))


def by_method(scores: xr.Dataset, curve: Callable[[xr.Dataset], Curve]) -> dict[str, Curve]:
    """Make a curve of the scores of every method, by the name that is shown."""
    return {TITLES.get(name, name): curve(scores.sel(model=name)) for name in map(str, scores["model"].values)}


def return_level_figures(scores: xr.Dataset) -> Iterator[ReportFigure]:
    """Draw how much rain is how rare, where there was enough of it: observed, fitted, and in samples."""
    if "return_level" not in scores:
        return
    periods = scores["return_period"].values
    low, high = scores["return_level_fit_interval"].values
    observed = (periods, scores["return_level_observed"].values)
    fitted = Curve(periods, scores["return_level_fit"].values, (low, high), observed)
    curves = {**by_method(scores, lambda of: Curve(periods, of["return_level"].values)), "observed, and a tail fitted": fitted}
    frame = Frame("Rare rain", ("one in so many footprints", "rain rate reached, mm/h"), ("log", "linear"))
    caption = (
        f"A generalised Pareto tail fitted to the {scores.attrs['tail_excesses']:,} largest observations, with its 90 % "
        "interval, which takes neighbours for independent and is too narrow. Samples below it are too weak."
    )
    yield chart(partial(curve_chart, curves, frame), caption, "return levels")


def climatology_sections(run: Run) -> Iterator[Section]:
    """Draw the climatology of everything that was retrieved, and tell it over all cells."""
    path = run.artefact("publish") / "climatology" / "all.nc"
    if not path.is_file():
        return
    with xr.open_dataset(path, engine="h5netcdf") as file:
        maps = [map_of(file, name).isel(time=0).load() for name in MAPPED]
        names = ("count", "mean", "wet_fraction", "doubtful_fraction")
        count, mean, wet, doubtful = (file[name].isel(time=0).values for name in names)
    # What is drawn is the box of cells that have samples.
    rows, columns = (slice(at.min(initial=0), at.max(initial=1) + 1) for at in np.nonzero(count))
    maps = [one.isel(latitude=rows, longitude=columns) for one in maps]
    longitude, latitude = np.meshgrid(maps[0]["longitude"].values, maps[0]["latitude"].values)
    titles = ("mean", "99th percentile of samples", f"share of samples of {WET_MM_H} mm/h and more")
    known = ("climatology_mean", "climatology_p99", "wet_fraction")
    panels = [SwathPanel(title, named(name), one.values) for title, name, one in zip(titles, known, maps, strict=True)]
    draw, told = partial(swath_chart, longitude, latitude, panels), "mean, 99th percentile and wet fraction of cells"
    weights = np.where(count > 0, count, 0)
    told_rows = (
        ("cells with retrievals", f"{int((count > 0).sum()):,}"),
        ("retrievals that count", f"{int(count.sum()):,}"),
        ("mean rain, mm/h", f"{float(np.nansum(mean * weights) / max(weights.sum(), 1)):.3f}"),
        ("wet fraction", f"{float(np.nansum(wet * weights) / max(weights.sum(), 1)):.3f}"),
        ("share out of distribution", f"{float(np.nansum(doubtful * weights) / max(weights.sum(), 1)):.3f}"),
    )
    text = (
        "One sample of every footprint's distribution is counted, of those flagged as out of distribution, too: without them, "
        "heavy rain would be missing. "
        "A cell has a 99th percentile from a hundred samples on."
    )
    figures = (ReportFigure(partial(_themed, draw), f"{told.capitalize()}.", told),)
    yield Section("Climatology", text, figures, tables=(Table("All cells", (Column(""), Column("")), told_rows),))


def model_section(run: Run) -> Section:
    """Tell what the models are, their limits first."""
    cards = [read_card(folder) for folder in sorted(run.artefact("train").iterdir()) if (folder / "card.json").is_file()]
    first = cards[0]
    members = list(first["members"].values())
    told = {
        "networks": ", ".join(dict.fromkeys(member["network"]["name"] for member in members)),
        "members": len(members),
        "parameters of each": ", ".join(dict.fromkeys(f"{member['parameters']:,}" for member in members)),
        "heads": ", ".join(dict.fromkeys(told["head"]["name"] for told in members)),
        "channels": ", ".join(first["inputs"]["channels"]),
        "layers": ", ".join(first["inputs"]["layers"]),
        "ancillary fields": ", ".join(first["inputs"]["ancillary"]) or "none",
        "models": len(cards),
    }
    limits = dict.fromkeys(limit for card in cards for limit in card["facts"].get("limits", ()))
    return card_section(told, [Note(limit, "warning") for limit in limits])


def _themed(draw: partial[Figure], theme: Theme) -> Figure:
    return draw(theme=theme)
