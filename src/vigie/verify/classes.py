"""Scores of class maps from confusion counts: IoU, F1, precision, recall, accuracy and area deviation.

Truth may be coarser than the map: a label code stands for one or several leaf classes (`vigie.core.legend.LabelLegend`), and a
label's probability is the sum of its leaves'. Unknown pixels never count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.core.errors import VigieError
from vigie.core.legend import LabelLegend, Legend
from vigie.core.tiles import Window
from vigie.verify.tally import Metric, Tally

NONE = "none"
"""What a map says where it says no label: probability missing, or most of it on leaves that no label names."""


@dataclass(frozen=True)
class LabelledTile:
    """What scores are counted on: probabilities of labels beside the truth, on one tile.

    Parameters
    ----------
    probability: (label, y, x), NaN where the map has none.
    rows: (y, x) label number of the truth, -1 where unknown.
    labels: names of the labels.
    gsd_m: pixel size.
    inner: the window that counts, where the tile brings a halo (only boundary distances look into it).
    """

    probability: NDArray[np.float32]
    rows: NDArray[np.int16]
    labels: tuple[str, ...]
    gsd_m: float
    inner: Window = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit together."""
        if self.probability.shape != (len(self.labels), *self.rows.shape):
            raise VigieError(
                "probabilities and truth do not fit together",
                found=f"probability {self.probability.shape}, truth {self.rows.shape}",
                expected=f"({len(self.labels)}, y, x) and (y, x) on the same window",
            )

    @property
    def kept(self) -> tuple[slice, slice]:
        """The window that counts, as an index of (y, x)."""
        return self.inner.get("y", slice(None)), self.inner.get("x", slice(None))

    def decided(self) -> NDArray[np.int16]:
        """Decide for the likeliest label (y, x); `len(labels)` means NONE. Of equals the first wins.

        The probability that no label takes, 1 - sum, competes as NONE.
        """
        present = np.isfinite(self.probability).all(axis=0)
        filled = np.where(present, self.probability, 0.0)
        rest = np.clip(1.0 - filled.sum(axis=0, dtype=np.float64), 0.0, None)[None]
        decided = np.argmax(np.concatenate([filled, rest]), axis=0)
        return np.where(present, decided, len(self.labels)).astype(np.int16)


def label_tile(
    probability: NDArray[np.float32],
    truth: NDArray[np.uint8],
    labels: LabelLegend,
    leaves: Legend,
    gsd_m: float,
) -> LabelledTile:
    """Sum leaf probabilities (leaf, y, x) to the labels of a truth raster (y, x).

    Examples
    --------
    >>> from vigie.core.legend import LegendClass
    >>> leaves = Legend("ice", (LegendClass(0, "land", "#8c8c8c"), LegendClass(1, "ice", "#3fa9f5")))
    >>> labels = LabelLegend("ice or not", {0: ("not ice", ("land",)), 1: ("ice", ("ice",))})
    >>> tile = label_tile(np.full((2, 1, 3), 0.5, np.float32), np.array([[0, 1, 255]], np.uint8), labels, leaves, 10.0)
    >>> tile.rows.tolist()
    [[0, 1, -1]]
    """
    return LabelledTile(label_probability(probability, labels, leaves), labels.rows(truth), labels.names, gsd_m)


def label_probability(probability: NDArray[np.float32], labels: LabelLegend, leaves: Legend) -> NDArray[np.float32]:
    """Sum leaf probabilities (leaf, y, x) to those of labels (label, y, x)."""
    if probability.shape[0] != len(leaves.classes):
        raise VigieError(
            "the map has another number of classes than its legend",
            found=f"{probability.shape[0]} channels",
            expected=f"{len(leaves.classes)}: {', '.join(leaves.names)}",
        )
    summed: NDArray[np.float32] = np.tensordot(labels.matrix(leaves), probability, axes=1).astype(np.float32)
    return summed


def count_classes(tile: LabelledTile) -> Tally:
    """Count truth against decision, in pixels (`confusion`) and in km2 (`area_km2`), both (truth, predicted).

    The weight is the number of known pixels.
    """
    rows, decided = tile.rows[tile.kept], tile.decided()[tile.kept]
    known = rows >= 0
    n = len(tile.labels)
    pairs = np.bincount(rows[known].astype(np.int64) * (n + 1) + decided[known], minlength=n * (n + 1)).reshape(n, n + 1)
    coords = {"truth": list(tile.labels), "predicted": [*tile.labels, NONE]}
    dims = ("truth", "predicted")
    total = xr.Dataset(
        {"confusion": (dims, pairs.astype(np.int64)), "area_km2": (dims, pairs * (tile.gsd_m**2 * 1e-6))}, coords=coords
    )
    pixels = int(known.sum())
    return Tally(total, xr.Dataset({"confusion": pixels, "area_km2": pixels}))


def finish_classes(tally: Tally) -> xr.Dataset:
    """Turn confusion counts into scores per class (dimension `label`), and accuracy and mean IoU over classes.

    IoU = TP / (TP + FP + FN); F1 = 2 TP / (2 TP + FP + FN); precision = TP / (TP + FP); recall = TP / (TP + FN);
    area deviation = (mapped - reference) / reference, over known pixels. NaN where a ratio has nothing below it.

    Examples
    --------
    >>> rows = np.array([[0, 0, 1, 1]], np.int16)
    >>> one_hot = np.array([[[1, 0, 0, 0]], [[0, 1, 1, 1]]], np.float32)
    >>> scores = finish_classes(count_classes(LabelledTile(one_hot, rows, ("land", "ice"), 10.0)))
    >>> scores["iou"].values.round(3).tolist(), float(scores["accuracy"])
    ([0.5, 0.667], 0.75)
    """
    confusion = tally.total["confusion"].astype(np.float64)
    hit, mapped, reference = _margins(confusion)
    _, mapped_km2, reference_km2 = _margins(tally.total["area_km2"])
    iou = _ratio(hit, mapped + reference - hit)
    return xr.Dataset(
        {
            "iou": iou,
            "f1": _ratio(2 * hit, mapped + reference),
            "precision": _ratio(hit, mapped),
            "recall": _ratio(hit, reference),
            "area_deviation": _ratio(mapped_km2 - reference_km2, reference_km2),
            "accuracy": _ratio(hit.sum("label"), confusion.sum(("truth", "predicted"))),
            "mean_iou": iou.mean("label"),
        }
    )


CLASSES: Metric[LabelledTile] = Metric(count_classes, finish_classes)
"""Scores of class maps."""


def merge_labels(tally: Tally, groups: Mapping[str, Sequence[str]]) -> Tally:
    """Merge labels of confusion counts, for a score of what they have in common (clean ice + debris = glacier).

    Examples
    --------
    >>> rows = np.array([[0, 1, 2]], np.int16)
    >>> swapped = np.eye(3, dtype=np.float32)[:, None, [0, 2, 1]]
    >>> tally = count_classes(LabelledTile(swapped, rows, ("land", "clean", "debris"), 10.0))
    >>> merged = merge_labels(tally, {"land": ["land"], "glacier": ["clean", "debris"]})
    >>> finish_classes(merged)["iou"].values.tolist()
    [1.0, 1.0]
    """
    into = {label: group for group, labels in groups.items() for label in labels}
    known = [str(label) for label in tally.total["truth"].values]
    if sorted(into) != sorted(known):
        raise VigieError("every label must go into exactly one group", found=sorted(into), expected=sorted(known))

    def merged(total: xr.Dataset) -> xr.Dataset:
        for dim in ("truth", "predicted"):
            key = xr.DataArray([into.get(str(label), NONE) for label in total[dim].values], dims=dim, name="group")
            total = total.drop_vars(dim).groupby(key).sum().rename(group=dim)
        return total.sel(truth=list(groups), predicted=[*groups, NONE])

    return Tally(merged(tally.total[["confusion", "area_km2"]]), tally.weight[["confusion", "area_km2"]])


def _margins(table: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    """Diagonal, sums over truth and sums over predictions, each along `label`."""
    labels = table["truth"].values
    mapped = table.sum("truth").sel(predicted=labels).rename(predicted="label")
    reference = table.sum("predicted").rename(truth="label")
    diagonal = xr.DataArray(labels, dims="label", coords={"label": labels})
    hit = table.sel(truth=diagonal, predicted=diagonal).drop_vars(["truth", "predicted"])
    return hit, mapped, reference


def _ratio(above: xr.DataArray, below: xr.DataArray) -> xr.DataArray:
    return above / below.where(below > 0)
