"""The page that a person reads: the last forecast, how good forecasts are beside reference methods, the model's limits."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from vigie.apps.seaice.fields import settings_of
from vigie.apps.seaice.prediction import GROUP, WHOLE, starts, unpacked
from vigie.apps.seaice.training import maps_of
from vigie.core.grid import grid_of
from vigie.harmonize.series import QUANTITY
from vigie.learn.cards import read_card
from vigie.learn.forecast.model import FORMAT
from vigie.learn.forecast.samples import DAY
from vigie.publish.curves import Curve, Frame, curve_chart
from vigie.publish.look import Theme
from vigie.publish.maps import map_figure
from vigie.publish.panels import variable_panel
from vigie.publish.picture import Picture
from vigie.publish.report import Cell, Column, Note, Number, Report, ReportFigure, Section, Table
from vigie.publish.sections import model_section, provenance_section, reproduce_section
from vigie.story.experiment import to_toml
from vigie.story.run import Run
from vigie.verify.scores import OURS

TITLES = {OURS: "this model"}
CHARTS = (
    ("rmse", "RMSE of concentration", "RMSE"),
    ("iiee", "Integrated ice-edge error", "million km2"),
    ("crps", "Fair CRPS of concentration", "CRPS"),
    ("sps", "Spatial probability score", "million km2"),
)


def report_of(run: Run, record: Mapping[str, Any], began: float) -> Report:
    """Assemble the report of a run whose `publish` began at `began` (time.monotonic); `record`: its provenance."""
    with xr.open_dataset(run.artefact("verify"), engine="h5netcdf") as file:
        scores = file.load()
    card = read_card(run.artefact("train") / "all", FORMAT, ("facts",))
    first = next(iter(card["members"].values()))
    told = {
        "networks": len(card["members"]),
        "parameters of each": f"{first['parameters']:,}",
        "widths": ", ".join(map(str, first["network"]["widths"])),
        "learnt from": card["facts"]["learnt_from"],
        "climatology": card["facts"]["climatology"],
    }
    sections = [
        forecast_section(run),
        score_section(scores),
        model_section(told, [Note(limit, "warning") for limit in card["facts"]["limits"]]),
        provenance_section(record, to_toml(run.experiment)),
        reproduce_section([f"vigie run {run.experiment.name}.toml"], {**run.seconds(), "publish": time.monotonic() - began}),
    ]
    return Report(
        title=run.experiment.name,
        summary=run.experiment.summary or "Forecasts of sea ice.",
        sections=sections,
        numbers=numbers(run, scores),
        created=str(record.get("created", "")),
    )


def numbers(run: Run, scores: xr.Dataset) -> tuple[Number, ...]:
    """Tell the headlines: how many forecasts, and how much better than persistence they are at the longest lead."""
    lead = int(scores["lead_days"].max())
    far = scores.sel(lead_days=lead)

    def saved(name: str) -> str:
        ours, theirs = (float(far[name].sel(model=model)) for model in (OURS, "persistence"))
        return f"{100 * (1 - ours / theirs):.0f} %"

    return (
        Number("forecasts", str(len(starts(run))), f"{starts(run)[0]} to {starts(run)[-1]}"),
        Number("members", str(settings_of(run).predict.members), "of each"),
        Number(f"RMSE at {lead} days", f"{float(far['rmse'].sel(model=OURS)):.3f}", f"{saved('rmse')} less than persistence"),
        Number(
            f"edge error at {lead} days",
            f"{float(far['iiee'].sel(model=OURS)):.2f} million km2",
            f"{saved('iiee')} less than persistence",
        ),
    )


def forecast_section(run: Run) -> Section:
    """Draw the last start and its longest lead."""
    node = xr.open_zarr(run.artefact("predict"), group=GROUP, consolidated=False, chunks=None, mask_and_scale=False)
    maps, day = maps_of(run), starts(run)[-1]
    grid, last = grid_of(node), node.isel(forecast_reference_time=-1, lead_time=-1)
    lead = settings_of(run).predict.leads_days[-1]
    now = maps.state(day, WHOLE)
    assert now is not None
    sea = maps.sea(WHOLE)

    def panel(title: str, values: np.ndarray[Any, Any], name: str) -> Any:
        return variable_panel(title, Picture(np.where(sea, values, np.nan)[None].astype(np.float32), grid), name)

    member = unpacked(last[f"{QUANTITY}_member"].isel(realization=0))
    panels = [
        panel(f"{day}, as it was", now, QUANTITY),
        panel(f"{lead} days later, mean", unpacked(last[QUANTITY]), QUANTITY),
        panel("probability of ice", unpacked(last["probability_of_ice"]), "probability_of_ice"),
    ]
    more = [panel("one member", member, QUANTITY)]
    truth = maps.measured(day + lead * DAY, WHOLE)
    if truth is not None:
        more.append(panel("as it came", truth, QUANTITY))
    told = f"forecast from {day} for {day + lead * DAY}"
    figures = [
        ReportFigure(partial(_maps, shown), f"{told.capitalize()}: {what}.", f"maps of the {told}: {what}")
        for shown, what in ((panels, "start, mean and probability of ice"), (more, "a member, and what came where it is known"))
    ]
    text = (
        "The mean is smooth where nobody can know; a member has the texture of ice. The edge of the forecast is where ice, "
        "concentration of 0.15 or more, is as probable as not. Land and the pole hole are left blank."
    )
    return Section("The last forecast", text, figures=tuple(figures))


def score_section(scores: xr.Dataset) -> Section:
    """Draw and tabulate scores by lead, ours beside those of reference methods, and say who is best."""
    leads = scores["lead_days"].values
    figures = []
    for name, title, label in CHARTS:
        curves = {}
        for model in map(str, scores["model"].values):
            one = scores[name].sel(model=model).values
            ends = scores[f"{name}_interval"].sel(model=model)
            interval = (ends.sel(bound="low").values, ends.sel(bound="high").values) if model == OURS else None
            curves[TITLES.get(model, model)] = Curve(leads, one, interval)
        frame = Frame(title, ("lead, days", label))
        figures.append(ReportFigure(partial(_curves, curves, frame), f"{title} by lead, less is better.", title, "svg"))
    ratios = (scores["spread"] / scores["rmse"]).sel(model=OURS).values
    told = ", ".join(f"{ratio:.2f} at {lead} d" for lead, ratio in zip(leads, ratios, strict=True))
    notes = (Note(f"Spread of members over error of the mean: {told}."),)
    text = f"{words(scores)} Scores are means over starts. {scores.attrs['cells'].capitalize()}; {scores.attrs['areas']}."
    text += f" The band around this model: {scores.attrs['intervals']}."
    return Section("How good", text, figures=tuple(figures), tables=(table(scores, "rmse"), table(scores, "iiee")), notes=notes)


def words(scores: xr.Dataset) -> str:
    """Say which method is best, by score and lead, whichever it is.

    Examples
    --------
    >>> made = {name: (("model", "lead_days"), [[0.1, 0.3], [0.2, 0.2]]) for name, *_ in CHARTS}
    >>> words(xr.Dataset(made, {"model": [OURS, "persistence"], "lead_days": [1, 7]})).split(". ")[0]
    'RMSE of concentration: best are this model at 1 d, persistence at 7 d'
    """
    told = []
    for name, title, _ in CHARTS:
        best = [
            str(scores["model"].values[int(np.nanargmin(scores[name].sel(lead_days=lead)))]) for lead in scores["lead_days"]
        ]
        if len(set(best)) == 1:
            told.append(f"{title}: {TITLES.get(best[0], best[0])} is best at every lead.")
        else:
            pairs = zip(best, scores["lead_days"].values, strict=True)
            told.append(f"{title}: best are {', '.join(f'{TITLES.get(who, who)} at {lead} d' for who, lead in pairs)}.")
    return " ".join(told)


def table(scores: xr.Dataset, name: str) -> Table:
    """Tabulate a score, a row a method and a column a lead."""
    title, label = next((title, label) for known, title, label in CHARTS if known == name)
    leads = [int(lead) for lead in scores["lead_days"].values]
    columns = (Column("method"), *(Column(f"{lead} d", ".3f") for lead in leads))
    rows: list[tuple[Cell, ...]] = [
        (TITLES.get(model, model), *(float(v) for v in scores[name].sel(model=model).values))
        for model in map(str, scores["model"].values)
    ]
    starts_ = ", ".join(str(int(n)) for n in scores["starts"].sel(model=OURS).values)
    return Table(f"{title}, {label}", columns, tuple(rows), note=f"Starts: {starts_}.")


def _maps(panels: Sequence[Any], theme: Theme) -> Figure:
    return map_figure(panels, theme)


def _curves(curves: Mapping[str, Curve], frame: Frame, theme: Theme) -> Figure:
    return curve_chart(curves, frame, theme)
