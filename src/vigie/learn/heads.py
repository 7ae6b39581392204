"""What raw network output means: the loss it is trained with, and the named variables it becomes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from torch.nn import functional as F

from vigie.core.errors import VigieError
from vigie.core.legend import LabelLegend, Legend
from vigie.learn.losses import Term


class Head(Protocol):
    """One meaning of raw network output.

    `channels` is how many channels the network must have; `loss` compares raw output (N, channels, ...) with truth where
    `valid` weighs it; `variables` names what one raw output (channels, *dims) says.
    """

    @property
    def channels(self) -> int:
        """Channels of raw output."""
        ...

    def loss(self, raw: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
        """Compare raw output with truth."""
        ...

    def variables(self, raw: Tensor, dims: tuple[str, ...]) -> dict[str, xr.Variable]:
        """Name what raw output says."""
        ...


class ClassHead:
    """Raw output as class logits of a legend, trained on labels that may be coarser than its classes.

    Parameters
    ----------
    legend
        Leaf classes, one a channel.
    labels
        Label legend of the truth; None: the truth's rows are the leaves themselves.
    objective
        A loss of `vigie.learn.losses`.

    Examples
    --------
    >>> from vigie.core.legend import LegendClass
    >>> from vigie.learn.losses import cross_entropy
    >>> legend = Legend("ice", (LegendClass(0, "land", "#8c8c8c"), LegendClass(1, "clean ice", "#3fa9f5")))
    >>> head = ClassHead(legend, cross_entropy)
    >>> found = head.variables(torch.tensor([[[0.0]], [[9.0]]]), ("y", "x"))
    >>> sorted(found), int(found["class"].values[0, 0])
    (['class', 'confidence', 'entropy', 'prob_clean_ice', 'prob_land'], 1)
    """

    def __init__(self, legend: Legend, objective: Term, labels: LabelLegend | None = None) -> None:
        self.legend, self.objective, self.labels = legend, objective, labels
        matrix = np.eye(len(legend.classes), dtype=np.float32) if labels is None else labels.matrix(legend)
        self.matrix = torch.from_numpy(matrix)
        empty = np.flatnonzero(matrix.sum(axis=1) == 0)
        if labels is not None and empty.size:
            raise VigieError(
                f"label legend '{labels.name}' has labels without any class",
                found=[labels.names[row] for row in empty],
                expected="at least one leaf class a label",
                do="list such codes as unknown",
            )

    @property
    def channels(self) -> int:
        """Number of leaf classes."""
        return len(self.legend.classes)

    def loss(self, raw: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
        """Compare logits (N, channels, H, W) with rows of the label matrix (N, H, W), -1 where unknown; valid weighs pixels."""
        return self.objective(raw, truth, self.matrix.to(raw.device), valid)

    def variables(self, raw: Tensor, dims: tuple[str, ...]) -> dict[str, xr.Variable]:
        """Name what logits (channels, *dims) say.

        Returns
        -------
        dict
            `prob_<class>` float32 0-1, `class` uint8 (the legend's codes, most probable first), `confidence` float32 (the
            probability of that class) and `entropy` float32 (0-1, in units of ln(channels)). Where logits are not finite:
            NaN, and the legend's unknown.
        """
        if raw.shape[0] != self.channels or raw.ndim != len(dims) + 1:
            raise VigieError(
                "raw output does not fit the legend",
                found=tuple(raw.shape),
                expected=f"({self.channels} classes of '{self.legend.name}', {', '.join(dims)})",
            )
        logits = raw.detach().float()
        known = torch.isfinite(logits).all(dim=0).cpu().numpy()
        log_p = F.log_softmax(logits, dim=0)
        p = log_p.exp().cpu().numpy()
        entropy = -(log_p.exp() * log_p).sum(dim=0).cpu().numpy() / np.log(max(2, self.channels))
        return self._named(p, entropy, known, dims)

    def _named(self, p: np.ndarray, entropy: np.ndarray, known: np.ndarray, dims: tuple[str, ...]) -> dict[str, xr.Variable]:
        most = np.where(known, self.legend.codes[np.argmax(p, axis=0)], np.uint8(self.legend.unknown)).astype(np.uint8)
        fractions = {f"prob_{slug(name)}": p[i] for i, name in enumerate(self.legend.names)}
        fractions |= {"confidence": p.max(axis=0), "entropy": entropy}
        named = {
            name: xr.Variable(dims, np.where(known, values, np.nan).astype(np.float32), {"units": "1"})
            for name, values in fractions.items()
        }
        return {"class": xr.Variable(dims, most, self._flags()), **named}

    def _flags(self) -> Mapping[str, object]:
        """CF attributes of the class variable."""
        return {
            "long_name": f"most probable class of '{self.legend.name}'",
            "flag_values": self.legend.codes,
            "flag_meanings": " ".join(slug(name) for name in self.legend.names),
        }


def slug(name: str) -> str:
    """Turn a class name into a variable name.

    Examples
    --------
    >>> slug("debris-covered ice")
    'debris_covered_ice'
    """
    return re.sub(r"[^0-9a-z]+", "_", name.lower()).strip("_")
