"""A random forest as a module: trees grown by scikit-learn on bands and their surroundings, kept and evaluated as tensors.

Where one labelled scene is all there is, a forest is hard to beat, and its mistakes are not a network's: their mean is better
than either. As a module it is a member like any other, in the same safetensors files; nothing is ever unpickled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from torch import Tensor, nn

from vigie.core.errors import VigieError
from vigie.learn.bands import WIDTH
from vigie.learn.surroundings import surroundings
from vigie.learn.windows import Batch

MOST_BANDS = 64
"""Room for descriptions of bands: tensors in a file need a fixed shape."""
GROWERS = {"best": RandomForestClassifier, "random": ExtraTreesClassifier}
"""Who grows the trees: Breiman's random forest, or extremely randomised trees (Geurts et al. 2006,
doi:10.1007/s10994-006-6226-1), whose thresholds, drawn at random, hold for another scene where the best of one do not."""
PIXELS = 60_000
"""Training pixels: what the published forests of glaciers take."""
LEAST_LEAF = 5
CHUNK = 4096
"""Pixels that go down the trees together: their features stay in the processor's cache."""
FLOOR = 1e-3
"""Least probability of a class: trees say 0 of what they have not met, and a logit cannot."""


def check_room(bands: int, *scenes: str) -> None:
    """Refuse more bands of scenes than a forest has room for.

    Examples
    --------
    >>> check_room(65, "wide")
    Traceback (most recent call last):
    ...
    vigie.core.errors.VigieError: a forest has no room for so many bands; found 65 bands in wide; expected at most 64, with ...
    """
    if bands > MOST_BANDS:
        raise VigieError(
            "a forest has no room for so many bands",
            found=f"{bands} bands in {', '.join(sorted({*scenes}))}",
            expected=f"at most {MOST_BANDS}, with what is derived from elevation and reflectances",
            do="name fewer in `bands` of [[acquire.sources]], or leave the forest out of train.network and train.beside",
        )


class Forest(nn.Module):
    """Trees on each pixel's bands and saturation, and on their means and spreads in the squares around it.

    A forest knows the bands it was grown on, in their order, and no others. A label that stands for several classes is taken
    for the first of them, the commonest: trees cannot learn from a sum of classes.

    Parameters
    ----------
    classes
        Leaf classes of the legend.
    sides
        Squares whose mean and standard deviation are taken, pixels side to side, odd; none: a pixel is seen alone.
    splits
        Who grows the trees, see `GROWERS`.
    trees, leaves
        Number of trees, and leaves that each may have.
    """

    multiple = 1
    features: Tensor
    thresholds: Tensor
    branches: Tensor
    values: Tensor
    bands: Tensor

    def __init__(self, classes: int, sides: Sequence[int], splits: str, trees: int, leaves: int) -> None:
        super().__init__()
        self.sides, self.splits, self.leaves = tuple(sides), splits, leaves
        self.receptive_field = max(sides, default=1)
        self.provenance = "forest, grown on the training pixels"
        nodes = 2 * leaves - 1
        self.register_buffer("features", torch.zeros(trees, nodes, dtype=torch.int32))
        self.register_buffer("thresholds", torch.zeros(trees, nodes))
        self.register_buffer("branches", torch.zeros(trees, nodes, 2, dtype=torch.int32))
        self.register_buffer("values", torch.zeros(trees, nodes, classes))
        self.register_buffer("bands", torch.full((MOST_BANDS, WIDTH), torch.nan))

    def forward(self, x: Tensor, mask: Tensor, bands: Tensor) -> Tensor:
        """Turn standardised bands (N, B, H, W), described by (B, D), into log-probabilities (N, classes, H, W)."""
        self.check(bands)
        seen = self._seen(x, mask)
        samples, _, height, width = seen.shape
        table = seen.movedim(1, -1).reshape(samples * height * width, -1)
        found = torch.cat([self._probability(part) for part in torch.split(table, CHUNK)])
        return found.clamp(min=FLOOR).log().view(samples, height, width, -1).movedim(-1, 1)

    def _seen(self, x: Tensor, mask: Tensor) -> Tensor:
        """Bands and saturation with their surroundings (N, F, H, W)."""
        # Channels last: squares are averaged several times faster, and a pixel's features lie together.
        seen = torch.cat([x, mask[:, 1:].to(x)], dim=1).contiguous(memory_format=torch.channels_last)
        return surroundings(seen, self.sides)

    def _probability(self, table: Tensor) -> Tensor:
        """Average what the trees say of pixels (P, F): (P, classes)."""
        numbers, line = table.reshape(-1), torch.arange(len(table), device=table.device) * table.shape[1]
        total = torch.zeros(len(table), self.values.shape[-1], device=table.device)
        for features, thresholds, branches, values in zip(self.features, self.thresholds, self.branches, self.values):
            feature, pair = features.long(), branches.long().reshape(-1)
            at, after = torch.full_like(line, -1), torch.zeros_like(line)
            # A leaf is its own child.
            while not torch.equal(at, after):
                at = after
                right = numbers.take(line + feature.take(at)) > thresholds.take(at)
                after = pair.take(2 * at + right)
            total += values.index_select(0, at)
        return total / len(self.values)

    def check(self, bands: Tensor) -> None:
        """Refuse bands (B, D) other than those it was grown on."""
        known = self.bands[: int(torch.isfinite(self.bands[:, 0]).sum())]
        if known.shape != bands.shape or not torch.allclose(known, bands.to(known), atol=1e-3):
            raise VigieError(
                "the forest was grown on other bands",
                found=f"{len(bands)} bands",
                expected=f"the {len(known)} bands of its training, in the same order and of the same resolution",
                do="map images of the sensor it was trained on, or train without a forest for a model of many sensors",
            )

    def accept(self, bands: Tensor) -> None:
        """Take these bands (B, D), and no others, from now on."""
        self.bands[: len(bands)] = bands

    def grow(self, batches: Callable[[int], Batch], steps: int, seed: int) -> None:
        """Grow the trees on labelled pixels of the batches 0, 1 ... steps - 1, the same number of each.

        Raises
        ------
        VigieError: batches differ in bands or have more than there is room for, or only one class is there.
        """
        table, classes, bands = self._drawn(batches, steps, np.random.default_rng(seed))
        if len(np.unique(classes)) < 2:
            raise VigieError("a forest needs pixels of two classes", found=f"class {np.unique(classes)}", do="give more labels")
        grown = GROWERS[self.splits](
            len(self.values),
            max_leaf_nodes=self.leaves,
            min_samples_leaf=LEAST_LEAF,
            bootstrap=True,
            class_weight="balanced_subsample",
            random_state=seed,
            n_jobs=torch.get_num_threads(),
        ).fit(table, classes)
        self.accept(bands)
        for number, estimator in enumerate(grown.estimators_):
            self._keep(number, estimator.tree_, grown.classes_)

    def _drawn(
        self, batches: Callable[[int], Batch], steps: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.int64], Tensor]:
        """Features (P, F) and classes (P,) of labelled pixels, and what their bands are."""
        first, tables, classes = batches(0), [], []
        bands = first.bands
        check_room(len(bands), *first.scenes)
        for batch in map(batches, range(steps)):
            if batch.bands.shape != bands.shape or not torch.allclose(batch.bands, bands):
                raise VigieError(
                    "a forest learns from one sensor",
                    found=f"{len(bands)} bands, and others in {', '.join(sorted({*batch.scenes}))}",
                    do="train the forest in an experiment of its own, or leave it out of train.beside",
                )
            known = np.flatnonzero(batch.rows.numpy() >= 0)
            chosen = rng.choice(known, min(PIXELS // steps, len(known)), replace=False)
            tables.append(self._seen(batch.x, batch.mask).movedim(1, -1).flatten(0, 2).numpy()[chosen])
            classes.append(batch.matrix.argmax(dim=1)[batch.rows.flatten()[chosen]].numpy())
        return np.concatenate(tables), np.concatenate(classes), bands

    def _keep(self, number: int, tree: object, classes: NDArray[np.int64]) -> None:
        """Copy one of scikit-learn's trees into the tensors."""
        left, right, threshold, feature, value = (
            torch.from_numpy(np.ascontiguousarray(getattr(tree, name)))
            for name in ("children_left", "children_right", "threshold", "feature", "value")
        )
        count, leaf = len(left), left < 0
        itself = torch.arange(count)
        self.branches[number, :count] = torch.stack([torch.where(leaf, itself, side) for side in (left, right)], dim=1).int()
        self.features[number, :count] = torch.where(leaf, 0, feature).int()
        # Rounded down: then x <= threshold is the same in 32 bits, which x has, as in the tree's own 64.
        single = threshold.float()
        above = single.double() > threshold
        self.thresholds[number, :count] = torch.where(above, torch.nextafter(single, torch.tensor(-torch.inf)), single)
        share = value[:, 0] / value[:, 0].sum(dim=1, keepdim=True)
        self.values[number, :count] = 0
        self.values[number, :count].index_add_(1, torch.from_numpy(classes), share.float())
