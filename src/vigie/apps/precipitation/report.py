"""The page that a person reads: rain where it was seen, scores beside reference methods, tails, the model and its limits."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vigie.core.granule import Granule
from vigie.core.vocabulary import named
from vigie.learn.retrieval_model import read_card
from vigie.predict.swath import QUALITY
from vigie.publish.look import Theme
from vigie.publish.rain_charts import SwathPanel, coverage_chart, quantile_quantile_chart, swath_chart
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
from vigie.story.compare import groups, read_group
from vigie.story.experiment import to_toml
from vigie.story.run import Run
from vigie.verify.scores import OURS

PANELS = (
    ("rainfall_rate", "rainfall_rate", "mean rain"),
    ("truth", "rainfall_rate", "rain held against"),
    ("ood_score", "ood_score", "distance"),
)
"""Maps of a swath: variable, whose colours, title."""
MAPS = 6
"""Swaths drawn; the others are in the products."""
TITLES = {
    OURS: "this model",
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


@dataclass(frozen=True)
class Retrieval:
    """A swath and what was retrieved of it."""

    granule: Granule
    swath: xr.Dataset


def report_of(
    run: Run, shown: Sequence[Retrieval], climatology: xr.Dataset | None, record: Mapping[str, Any], began: float
) -> Report:
    """Assemble the report of a run whose `publish` began at `began` (time.monotonic); `record`: its provenance."""
    sections = [
        rain_section(shown),
        *score_sections(run),
        *([climatology_section(climatology)] if climatology is not None else []),
        model_section(run),
        record_section(record, to_toml(run.experiment)),
        reproduce_section((f"vigie run {run.experiment.name}.toml",), run.seconds() | {"publish": time.monotonic() - began}),
    ]
    return Report(run.experiment.name, run.experiment.summary, sections, numbers=headlines(shown))


def headlines(shown: Sequence[Retrieval]) -> tuple[Number, ...]:
    """What was retrieved, in four numbers."""
    flags = np.concatenate([item.swath["quality_flag"].values.ravel() for item in shown])
    rain = np.concatenate([item.swath["rainfall_rate"].values.ravel() for item in shown])
    made = flags < QUALITY["no_retrieval"]
    doubtful = (flags == QUALITY["out_of_distribution"]).sum() / max(made.sum(), 1)
    sensors = sorted({item.granule.sensor for item in shown})
    mean = float(np.nanmean(rain)) if made.any() else float("nan")
    return (
        Number("swaths", str(len(shown)), ", ".join(sensors)),
        Number("retrievals", f"{int(made.sum()):,}", f"of {flags.size:,} footprints"),
        Number("mean rain", f"{mean:.2f} mm/h", "of retrieved footprints"),
        Number("out of distribution", f"{100 * doubtful:.1f} %", "flagged: unlike what was learnt from"),
    )


def rain_section(shown: Sequence[Retrieval]) -> Section:
    """Draw the first swaths: mean rain, the rain it is held against, and where the model doubts that it has seen the like."""
    figures = []
    for item in shown[:MAPS]:
        longitude, latitude = (item.swath[name].values for name in ("longitude", "latitude"))
        panels = [
            SwathPanel(title, named(name), item.swath[variable].values)
            for variable, name, title in PANELS
            if variable in item.swath and np.isfinite(item.swath[variable].values).any()
        ]
        title = f"{item.granule.id}: {', '.join(panel.title for panel in panels)}"
        figures.append(ReportFigure(partial(_themed, partial(swath_chart, longitude, latitude, panels)), f"{title}.", title))
    text = (
        "Each footprint where it was seen; what folds hold out is retrieved by the model that did not learn from it, "
        "everything else by the final model. White is dry, "
        "grey was not observed. Distances are squared Mahalanobis distances of what was observed from what was learnt from."
    )
    return Section("Rain", text, figures=tuple(figures))


def score_sections(run: Run) -> Iterator[Section]:
    """Tell how good the retrievals are, one section for each source of rain rates."""
    for source in groups(run.folder):
        scores = read_group(run.artefact("verify"), source)
        text = (
            f"{scores.attrs['footprints']:,} footprints that were held out; reference methods learnt from what the "
            f"model learnt from. Intervals: {scores.attrs['intervals']}."
        )
        yield Section(
            f"Scores against {source}",
            text,
            figures=tuple(tail_figures(scores)),
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
    """Draw quantiles of samples against those observed, and the coverage of predicted levels."""
    names = list(map(str, scores["model"].values))
    truth = scores["tail_truth_quantile"].sel(model=names[0]).values
    samples = {TITLES.get(name, name): scores["tail_sample_quantile"].sel(model=name).values for name in names}
    draw = partial(quantile_quantile_chart, truth, samples, "Quantiles of samples")
    yield ReportFigure(partial(_themed, draw), "On the dashed line extremes are as strong as observed.", "Q-Q plot", kind="svg")
    if "coverage" in scores:
        sure = {TITLES.get(n, n): v for n in names if np.isfinite(v := scores["coverage"].sel(model=n).values).all()}
        levels: NDArray[np.float64] = scores["level"].values
        draw = partial(coverage_chart, levels, sure, "Coverage of quantiles")
        caption = "On the dashed line the truth lies below a quantile as often as its level says."
        yield ReportFigure(partial(_themed, draw), caption, "coverage of predicted levels", kind="svg")


def climatology_section(found: xr.Dataset) -> Section:
    """Tell the climatology over all cells."""
    count = found["count"].values
    weights = np.where(count > 0, count, 0)
    mean = float(np.nansum(found["mean"].values * weights) / max(weights.sum(), 1))
    wet = float(np.nansum(found["wet_fraction"].values * weights) / max(weights.sum(), 1))
    rows = (
        ("cells with retrievals", f"{int((count > 0).sum()):,}"),
        ("retrievals that count", f"{int(count.sum()):,}"),
        ("mean rain, mm/h", f"{mean:.3f}"),
        ("wet fraction", f"{wet:.3f}"),
    )
    text = "One sample of every distribution is counted; footprints flagged as out of distribution are left out."
    return Section("Climatology", text, tables=(Table("All cells", (Column(""), Column("")), rows),))


def model_section(run: Run) -> Section:
    """Tell what the models are, their limits first."""
    cards = [read_card(folder) for folder in sorted(run.artefact("train").iterdir()) if (folder / "card.json").is_file()]
    first = cards[0]
    member = next(iter(first["members"].values()))
    told = {
        "network": member["network"]["name"],
        "members": len(first["members"]),
        "parameters of each": member["parameters"],
        "heads": ", ".join(dict.fromkeys(told["head"]["name"] for told in first["members"].values())),
        "channels": ", ".join(first["inputs"]["channels"]),
        "layers": ", ".join(first["inputs"]["layers"]),
        "ancillary fields": ", ".join(first["inputs"]["ancillary"]) or "none",
        "models": len(cards),
    }
    limits = dict.fromkeys(limit for card in cards for limit in card["facts"].get("limits", ()))
    return card_section(told, [Note(limit, "warning") for limit in limits])


def _themed(draw: partial[Figure], theme: Theme) -> Figure:
    return draw(theme=theme)
