"""Bars of scores, drawn into axes that the caller makes and saves."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from vigie.core.errors import VigieError

BARS_TELL = "bar: pooled; line: 95 % interval; circles: scenes"
"""What `draw_bars` draws."""
INK, ACCENT, QUIET = "#263238", "#0b6e99", "#b0bec5"


def draw_bars(
    axes: Axes, scores: xr.Dataset, name: str, label: str | None = None, highlight: Collection[str | None] = ()
) -> None:
    """Draw one score of every model as bars with 95 % intervals, scenes as circles; the highlighted models stand out.

    Parameters
    ----------
    scores: what `scores.assemble` or `scores.compare` gave.
    name: the score.
    label: its class, where it has classes.
    highlight: the models to draw in colour; the others are their baselines.

    Raises
    ------
    VigieError: the score has more than one value a model, such as one for each class.
    """
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


def _axis_title(score: xr.DataArray, label: str | None) -> str:
    title = str(score.attrs.get("long_name", score.name))
    units = str(score.attrs.get("units", "1"))
    return f"{title}{f' of {label}' if label else ''}{f' ({units})' if units != '1' else ''}"


def _plain(axes: Axes) -> None:
    """Keep only the axes that are read."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
