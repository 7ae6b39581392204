"""Area series as a figure: observed, inferred (hollow) and flagged (crossed) dates, and the trend with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vigie.apps.glaciers.history.build import History
from vigie.apps.glaciers.history.series import FLAGGED, REPAIRED
from vigie.core.store import whole_file
from vigie.publish.charts import MARKS

SERIES, REPAIR, TREND = "#1b6ca8", "#d1495b", "#7d8597"


def plot_history(history: History, names: Sequence[str] = ()) -> Figure:
    """Draw the total and, below it, the named objects, on one time axis.

    Parameters
    ----------
    history: from `build_history`.
    names: objects to draw, at most a handful.
    """
    panels = [("all outlines", history.total), *((name, history.named(name)) for name in names)]
    figure = Figure(figsize=(9, 2.4 + 2.0 * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), sharex=True, squeeze=False, height_ratios=[1.6] + [1] * (len(panels) - 1))[:, 0]
    for ax, (title, table) in zip(axes, panels, strict=True):
        draw_series(ax, table)
        ax.set_title(title, loc="left", fontsize=10, fontweight="bold")
    key = {label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(list(key.values()), list(key), loc="outside lower center", ncols=5, frameon=False, fontsize=8)
    return figure


def draw_series(ax: Axes, table: pd.DataFrame) -> None:
    """Draw one series: observed filled, inferred hollow, flagged crossed with the year beside it, repaired, trend as a band."""
    table = table.assign(date=pd.to_datetime(table["date"]))
    dates, flagged, inferred = table["date"], table["status"].isin(FLAGGED), table["status"] == "inferred"
    ax.fill_between(dates, table["level_low_km2"], table["level_high_km2"], color=TREND, alpha=0.2, lw=0, label="trend, 95 %")
    ax.plot(dates, table["level_km2"], color=TREND, lw=1)
    ax.plot(dates, table["repaired_km2"], color=SERIES, lw=0.8, alpha=0.6)
    _dots(ax, table[~flagged & ~inferred], "observed", fmt="o", ms=4.5, mfc=SERIES)
    _dots(ax, table[inferred], MARKS["inferred"], fmt="o", ms=4.5, mfc="white")
    _dots(ax, table[flagged], "flagged", fmt="X", ms=6, mfc="black", mec="white")
    mended = table[table["status"].isin(REPAIRED) & table["repaired_km2"].notna()]
    if len(mended):
        values, errors = mended["repaired_km2"], mended["repaired_err_km2"]
        ax.errorbar(mended["date"], values, errors, fmt="x", ms=4.5, lw=0.8, color=REPAIR, label="repaired")
    _mark_years(ax, table[flagged])
    ax.set_ylabel("area (km²)")
    ax.set_ylim(bottom=0)
    ax.grid(alpha=0.25, lw=0.5)
    ax.spines[["top", "right"]].set_visible(False)


def _dots(ax: Axes, rows: pd.DataFrame, label: str, **look: Any) -> None:
    """Draw areas with their one-sigma errors; marks that nothing has are not in the key."""
    shown = rows[rows["area_km2"].notna()]
    if len(shown):
        ax.errorbar(shown["date"], shown["area_km2"], shown["area_err_km2"], lw=1, color=SERIES, label=label, **look)


def _mark_years(ax: Axes, flagged: pd.DataFrame) -> None:
    """Write the year above every flagged sample ('?' where unconfirmed), and a tick where nothing was mapped at all."""
    for status, rows in flagged[flagged["area_km2"].notna()].groupby("status"):
        for at, year, area in zip(rows["date"], rows["date"].dt.year, rows["area_km2"], strict=True):
            text = f"{year}{'?' if status == 'unconfirmed' else ''}"
            ax.annotate(text, (at, area), xytext=(0, 6), textcoords="offset points", ha="center", fontsize=7)
    dates = flagged["date"][flagged["area_km2"].isna()]
    ground = ax.get_xaxis_transform()
    if len(dates):
        ax.scatter(dates, [0.0] * len(dates), s=80, c="black", marker="|", transform=ground, label="not mapped", clip_on=False)


def write_plot(figure: Figure, path: Path, dpi: int) -> None:
    """Write a figure as PNG, whole or not at all."""
    with whole_file(path) as draft:
        figure.savefig(draft, dpi=dpi, format="png")
