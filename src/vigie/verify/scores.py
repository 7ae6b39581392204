"""Assemble `scores.nc`: every score of one or several models, by class and scene, with intervals, and as tables to read.

Variables keep the names that `finish` gave them and gain a leading dimension `model`. Beside each `score` stand
`score_interval` (bound: low, high) and `score_by_scene` (scene).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from vigie.core.errors import VigieError, nearest
from vigie.core.store import whole_file
from vigie.verify.bootstrap import interval
from vigie.verify.boundary import BOUNDARIES
from vigie.verify.calibration import CALIBRATION
from vigie.verify.classes import CLASSES, LabelledTile
from vigie.verify.tally import Metric, Tally

SEGMENTATION: Mapping[str, Metric[LabelledTile]] = {
    "classes": CLASSES,
    "calibration": CALIBRATION,
    "boundaries": BOUNDARIES,
}
"""What is scored of a class map. To score more, pass a larger mapping."""

ATTRIBUTES: Mapping[str, tuple[str, str]] = {
    # name: long name, units
    "iou": ("intersection over union", "1"),
    "f1": ("F1 score", "1"),
    "precision": ("precision", "1"),
    "recall": ("recall", "1"),
    "area_deviation": ("(mapped - reference) / reference area", "1"),
    "accuracy": ("share of known pixels with the right class", "1"),
    "mean_iou": ("mean over classes of intersection over union", "1"),
    "ece": ("expected calibration error of the likeliest class", "1"),
    "label_ece": ("expected calibration error of each class", "1"),
    "brier": ("Brier score summed over classes", "1"),
    "log_loss": ("mean negative log probability of the truth", "nat"),
    "boundary_mean_m": ("mean boundary distance", "m"),
    "boundary_median_m": ("median boundary distance", "m"),
    "boundary_p95_m": ("95th percentile of boundary distance", "m"),
    "boundary_f1": ("F1 of boundary pixels within a tolerance", "1"),
    "boundary_iou": ("intersection over union of bands inside both boundaries", "1"),
    "interior_iou": ("intersection over union away from the reference boundary", "1"),
}
"""Long names and units of the scores."""

OURS = "model"
"""The name of our own model in tables, beside the names of reference methods."""

ENOUGH_GROUPS = 10
"""Groups of scenes below which percentile intervals are no 95 % intervals."""

DECISION = (
    "scores of classes decide each pixel for the label with the largest probability, that of all its leaf classes together; "
    "the map decides for the single leaf class with the largest, so the two may differ where a label has several leaf classes"
)
"""What is decided how; it travels with the scores."""


def count_tile(tile: LabelledTile, metrics: Mapping[str, Metric[LabelledTile]] = SEGMENTATION) -> dict[str, Tally]:
    """Count one tile for every metric."""
    return {name: metric.count(tile) for name, metric in metrics.items()}


def add_counts(counts: Sequence[Mapping[str, Tally]]) -> dict[str, Tally]:
    """Add what `count_tile` gave for many tiles, metric by metric."""
    if not counts:
        raise VigieError("there is nothing to score", found="no tiles", expected="at least one tile with truth")
    total = dict(counts[0])
    for count in counts[1:]:
        total = {name: total[name] + count[name] for name in total}
    return total


def assemble(
    model: str,
    tallies: Mapping[str, Tally],
    metrics: Mapping[str, Metric[LabelledTile]] = SEGMENTATION,
    groups: Mapping[str, str] | None = None,
    replicates: int = 1000,
    seed: int = 0,
) -> xr.Dataset:
    """Turn one model's tallies, counted along `scene`, into pooled scores, intervals and scores by scene.

    The attribute `intervals` says in words what the intervals come from, or why there are none; `caution`, if it is not empty,
    why they are too narrow.

    Parameters
    ----------
    model: the model's name in tables.
    tallies: by metric name; each labelled along `scene` with `Tally.at`.
    metrics: how tallies become scores.
    groups: the group of each scene, which is what is resampled; by default every scene is independent of the others.
    replicates, seed: of the bootstrap; 0 replicates give no intervals.
    """
    parts = []
    for name, tally in tallies.items():
        finish = metrics[name].finish
        units = groups or {str(scene): str(scene) for scene in tally.total["scene"].values}
        grouped = tally.regroup("scene", "group", units)
        bounds = interval(grouped, finish, "group", replicates=replicates, seed=seed)
        single = finish(tally)
        parts += [
            finish(tally.sum("scene")),
            bounds.rename({v: f"{v}_interval" for v in bounds.data_vars}),
            single.rename({v: f"{v}_by_scene" for v in single.data_vars}),
        ]
    merged = xr.merge(parts, join="exact", compat="no_conflicts").expand_dims("model")
    merged = merged.assign_coords(model=("model", np.array([model], dtype=np.str_)))
    count = len({(groups or {}).get(str(scene), str(scene)) for scene in merged["scene"].values})
    told = {"intervals": told_intervals(count, replicates), "caution": told_caution(count, replicates)}
    return _described(merged.assign_attrs(**told, decision=DECISION))


def told_intervals(groups: int, replicates: int) -> str:
    """Say what intervals come from, or why there are none.

    Examples
    --------
    >>> told_intervals(1, 1000)
    'no intervals: all scenes that were scored belong to one group'
    """
    if replicates == 0:
        return "no intervals: verify.bootstrap = 0"
    if groups == 1:
        return "no intervals: all scenes that were scored belong to one group"
    return f"95 % percentile intervals of {replicates} bootstrap resamples of {groups} groups of scenes"


def told_caution(groups: int, replicates: int) -> str:
    """Say that intervals of few groups are too narrow; empty where there are enough groups, or no intervals.

    Examples
    --------
    >>> told_caution(3, 1000)
    'intervals come from 3 groups of scenes: with fewer than 10 they are too narrow for 95 %, and only show how groups differ'
    >>> told_caution(10, 1000), told_caution(1, 1000), told_caution(3, 0)
    ('', '', '')
    """
    if replicates == 0 or groups == 1 or groups >= ENOUGH_GROUPS:
        return ""
    few = f"with fewer than {ENOUGH_GROUPS} they are too narrow for 95 %, and only show how groups differ"
    return f"intervals come from {groups} groups of scenes: {few}"


def _described(scores: xr.Dataset) -> xr.Dataset:
    """Write long names and units."""
    for name in map(str, scores.data_vars):
        score = name.removesuffix("_interval").removesuffix("_by_scene")
        long_name, units = ATTRIBUTES.get(score, (score, "1"))
        suffix = {f"{score}_interval": ", 95 % bootstrap interval", f"{score}_by_scene": ", by scene"}.get(name, "")
        scores[name].attrs = {"long_name": long_name + suffix, "units": units}
    return scores


def compare(runs: Sequence[xr.Dataset]) -> xr.Dataset:
    """Put scores of several models (our own, baselines) into one dataset along `model`.

    Raises
    ------
    VigieError: the runs were not scored on the same scenes and classes, or two models share a name.
    """
    if not runs:
        raise VigieError("there is nothing to compare", found="no scores", do="run `verify` first")
    names = [str(name) for run in runs for name in run["model"].values]
    if len(set(names)) != len(names):
        raise VigieError("models to compare need names of their own", found=names)
    for dim in runs[0].dims:
        expected = [str(v) for v in runs[0][dim].values]
        for run in runs:
            found = [str(v) for v in run[dim].values] if dim in run.dims else []
            if dim != "model" and found != expected:
                raise VigieError(
                    f"scores of '{run['model'].values[0]}' cannot be compared: another '{dim}'",
                    found=found,
                    expected=expected,
                    do="score all models on the same test scenes and labels",
                )
    return xr.concat(runs, "model", join="exact", combine_attrs="override", data_vars="all")


def save(scores: xr.Dataset, path: Path) -> None:
    """Write `scores.nc`, whole or not at all."""
    with whole_file(path) as draft:
        draft.write_bytes(scores.to_netcdf(engine="h5netcdf"))


def table(scores: xr.Dataset, columns: Sequence[str], label: str | None = None) -> pd.DataFrame:
    """Tabulate pooled scores: a row a model, a column a score of one class, as "value [low, high]", or "value" where
    there is no interval.

    Parameters
    ----------
    scores: what `assemble` or `compare` gave.
    columns: names of scores; those along directions or tolerances give a column each. Metres get no decimals, ratios three.
    label: the class that scores by class are taken of; needed where a column has classes.
    """
    rows: dict[str, dict[str, str]] = {}
    for name in columns:
        values = _chosen(scores, name, label)
        bounds = _chosen(scores, f"{name}_interval", label)
        digits = 0 if values.attrs.get("units") == "m" else 3
        for key in _keys(values):
            column = " ".join([name, *map(str, key.values())])
            for model in scores["model"].values.tolist():
                at = {"model": model, **key}
                low, high = bounds.sel(at).values.tolist()
                told = f" [{low:.{digits}f}, {high:.{digits}f}]" if np.isfinite(low) else ""
                rows.setdefault(model, {})[column] = f"{values.sel(at).item():.{digits}f}{told}"
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def _chosen(scores: xr.Dataset, name: str, label: str | None) -> xr.DataArray:
    """Take one score, of one class where it has classes."""
    if name not in scores:
        known = sorted(map(str, scores.data_vars))
        raise VigieError(f"there is no score '{name}'", expected=", ".join(known), do=nearest(name, known))
    values = scores[name]
    if "label" not in values.dims:
        return values
    labels = [str(v) for v in values["label"].values]
    if label not in labels:
        raise VigieError(f"score '{name}' is by class", found=f"label={label}", expected=f"one of {', '.join(labels)}")
    return values.sel(label=label, drop=True)


def _keys(values: xr.DataArray) -> list[dict[str, object]]:
    """List the coordinates of every cell but the model's."""
    others = [dim for dim in values.dims if dim != "model"]
    if not others:
        return [{}]
    cells = values.isel(model=0, drop=True).stack(cell=others)["cell"].values.tolist()
    return [dict(zip(map(str, others), cell, strict=True)) for cell in cells]
