"""Figures of scores, each a `matplotlib.figure.Figure` of its own: nothing global, nothing shown, the caller saves."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vigie.core.errors import VigieError

BARS_TELL = "bar: pooled; line: 95 % interval; circles: scenes"
"""What `score_bars` draws."""
INK, ACCENT, QUIET = "#263238", "#0b6e99", "#b0bec5"


def reliability_diagram(table: xr.Dataset, labels: Sequence[str] | None = None) -> Figure:
    """Draw observed frequency against stated probability, one panel a class, with the share of pixels per bin below.

    Parameters
    ----------
    table: what `calibration.reliability` gave for one pooled tally.
    labels: the classes to draw; all by default.
    """
    names = list(labels) if labels else [str(name) for name in table["label"].values]
    figure = Figure(figsize=(0.7 + 2.9 * len(names), 4.0), layout="constrained")
    grid = figure.add_gridspec(2, len(names), height_ratios=(3, 1))
    for column, name in enumerate(names):
        bins = table.sel(label=name)
        top = figure.add_subplot(grid[0, column])
        top.plot([0, 1], [0, 1], color=QUIET, linewidth=1, zorder=1)
        top.plot(bins["said"], bins["came"], "o-", color=ACCENT, markersize=4, linewidth=1.4)
        top.set(xlim=(0, 1), ylim=(0, 1), title=name)
        top.tick_params(labelbottom=False)
        bottom = figure.add_subplot(grid[1, column], sharex=top)
        share = bins["pixels"] / max(float(bins["pixels"].sum()), 1.0)
        bottom.bar(bins["bin"], share, width=0.9 / bins.sizes["bin"], color=QUIET)
        bottom.set(xlabel="stated probability", ylim=(0, 1))
        if column == 0:
            top.set_ylabel("observed frequency")
            bottom.set_ylabel("share of\npixels")
        _plain(top)
        _plain(bottom)
    return figure


def score_bars(scores: xr.Dataset, name: str, label: str | None = None, highlight: str | None = None) -> Figure:
    """Draw one score of every model as bars with 95 % intervals, scenes as dots; the highlighted model stands out.

    Parameters
    ----------
    scores: what `scores.assemble` or `scores.compare` gave.
    name: the score.
    label: its class, where it has classes.
    highlight: the model to draw in colour; the others are its baselines.
    """
    figure = Figure(figsize=(6.4, 0.9 + 0.42 * scores.sizes["model"]), layout="constrained")
    axes = figure.add_subplot()
    draw_bars(axes, scores, name, label, {highlight})
    axes.set_title(BARS_TELL, loc="left", fontsize=8, color=INK)
    return figure


def draw_bars(
    axes: Axes, scores: xr.Dataset, name: str, label: str | None = None, highlight: Collection[str | None] = ()
) -> None:
    """Draw the bars of `score_bars` into axes; several models may stand out."""
    values, bounds, single = (
        scores[f"{name}{suffix}"].sel({"label": label} if label else {}) for suffix in ("", "_interval", "_by_scene")
    )
    if values.dims != ("model",):
        raise VigieError(
            f"score '{name}' has more than one value a model", found=values.dims, expected="('model',)", do="choose a label"
        )
    models = [str(model) for model in values["model"].values]
    rows = np.arange(len(models))
    axes.barh(rows, values, color=[ACCENT if model in highlight else QUIET for model in models], height=0.62)
    arms = abs(bounds.transpose("bound", "model").values - values.values)
    axes.errorbar(values, rows, xerr=arms, fmt="none", ecolor=INK, elinewidth=1.2, capsize=3)
    for row, dots in zip(rows, single.transpose("model", ...).values, strict=True):
        axes.plot(dots, np.full(dots.shape, row + 0.2), "o", color="white", markeredgecolor=INK, markersize=4)
    axes.set(yticks=rows, yticklabels=models, xlabel=_axis_title(scores[name], label))
    axes.invert_yaxis()
    _plain(axes)


def confusion_matrix(confusion: xr.DataArray) -> Figure:
    """Draw confusion counts (truth, predicted) as shares of each true class, counts written inside.

    A column that nothing was put in (usually 'none') is left out.
    """
    shown = confusion.sel(predicted=confusion["predicted"].isin(confusion["truth"]) | (confusion.sum("truth") > 0))
    counts = shown.transpose("truth", "predicted").values
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(1.8 + 1.25 * counts.shape[1], 1.2 + 0.9 * counts.shape[0]), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), count in np.ndenumerate(counts):
        color = "white" if share[row, column] > 0.55 else INK
        text = f"{share[row, column]:.1%}\n{int(count):,}"
        axes.text(column, row, text, ha="center", va="center", color=color, fontsize=8)
    axes.set(
        xticks=range(counts.shape[1]),
        xticklabels=shown["predicted"].values.tolist(),
        yticks=range(counts.shape[0]),
        yticklabels=shown["truth"].values.tolist(),
        xlabel="mapped",
        ylabel="reference",
    )
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return figure


def _axis_title(score: xr.DataArray, label: str | None) -> str:
    title = str(score.attrs.get("long_name", score.name))
    units = str(score.attrs.get("units", "1"))
    return f"{title}{f' of {label}' if label else ''}{f' ({units})' if units != '1' else ''}"


def _plain(axes: Axes) -> None:
    """Keep only the axes that are read."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
