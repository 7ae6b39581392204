"""Baselines that learn: tree ensembles on features of pixels, behind the one protocol that every baseline keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol
from zlib import crc32

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

from vigie.core.cube import flagged, label_rows
from vigie.core.errors import VigieError
from vigie.core.legend import LabelLegend
from vigie.verify.features import Recipe, asked

BLOCK_PX = 1_000_000
"""Pixels predicted at once, which bounds the memory of a forest's prediction."""


class Fitted(Protocol):
    """A baseline that can predict."""

    def probability(self, scene: xr.Dataset) -> NDArray[np.float32]:
        """Predict class probabilities (class, y, x), classes in the order of the label legend's rows, NaN without data.

        Where a scene has a mask `asked`, only what lies inside has to be right.
        """
        ...


Needs = Literal["nothing", "scenes", "classes"]
"""What a baseline must be shown to learn from: nothing, any scene, or pixels of at least two classes."""


class Baseline(Protocol):
    """A baseline before it saw any scene."""

    @property
    def needs(self) -> Needs:
        """What it learns from."""
        ...

    def check(self, scene: xr.Dataset, labels: LabelLegend) -> None:
        """Refuse bands that it cannot be computed from, whatever a scene's pixels hold, and labels it cannot tell apart."""
        ...

    def fit(self, scenes: Iterable[xr.Dataset]) -> Fitted:
        """Learn from scenes with truth, each given once and whole; those with a mask `asked`, only where it is true."""
        ...


class Classifier(Protocol):
    """What we use of a scikit-learn classifier."""

    classes_: NDArray[np.int16]

    def fit(self, table: NDArray[np.float32], rows: NDArray[np.int16]) -> Classifier:
        """Learn from features (pixel, feature) and classes (pixel)."""
        ...

    def predict_proba(self, table: NDArray[np.float32]) -> NDArray[np.float64]:
        """Predict (pixel, class)."""
        ...


Copies = Callable[[xr.Dataset, np.random.Generator], list[xr.Dataset]]
"""Make the copies of a training scene that pixels are drawn from."""


def as_is(scene: xr.Dataset, rng: np.random.Generator) -> list[xr.Dataset]:
    """Draw pixels from the scene as it is."""
    return [scene]


@dataclass(frozen=True)
class Jitter:
    """Make radiometric copies of a training scene: x gain + offset, drawn once a copy for all bands of a kind.

    `ranges` maps a kind of band to (gain low, gain high, offset low, offset high) in the band's units; the scene itself is
    the first copy.

    Examples
    --------
    >>> Jitter({"reflectance": (0.6, 1.3, -0.02, 0.03)}).copies
    6
    """

    ranges: dict[str, tuple[float, float, float, float]]
    copies: int = 6

    def __call__(self, scene: xr.Dataset, rng: np.random.Generator) -> list[xr.Dataset]:
        """Return the scene and its copies."""
        return [scene, *(self._copy(scene, rng) for _ in range(self.copies))]

    def _copy(self, scene: xr.Dataset, rng: np.random.Generator) -> xr.Dataset:
        pairs = {kind: (rng.uniform(*r[:2]), rng.uniform(*r[2:])) for kind, r in self.ranges.items()}
        table = np.array([pairs.get(kind, (1.0, 0.0)) for kind in scene["kind"].values.tolist()], dtype=np.float32)
        gain, offset = (xr.DataArray(column, dims="band") for column in table.T)
        return scene.assign(observation=scene["observation"] * gain + offset)


def random_forest(trees: int = 60, min_leaf: int = 5, seed: int = 0, jobs: int = 1) -> Classifier:
    """Make the forest of the notes: class weights balanced within each tree's sample, fixed seed."""
    forest: Classifier = RandomForestClassifier(
        n_estimators=trees, min_samples_leaf=min_leaf, class_weight="balanced_subsample", random_state=seed, n_jobs=jobs
    )
    return forest


def gradient_boosting(iterations: int = 150, rate: float = 0.08, seed: int = 0) -> Classifier:
    """Make the histogram gradient boosting of the notes: balanced class weights, fixed seed."""
    boosting: Classifier = HistGradientBoostingClassifier(
        max_iter=iterations, learning_rate=rate, class_weight="balanced", random_state=seed
    )
    return boosting


@dataclass(frozen=True)
class Samples:
    """Training pixels: features (pixel, feature) and label rows (pixel)."""

    table: NDArray[np.float32]
    rows: NDArray[np.int16]


@dataclass(frozen=True)
class FittedTrees:
    """A tree ensemble that has learned; `rows` are the label rows of its classes."""

    recipe: Recipe
    classifier: Classifier
    labels: LabelLegend

    def probability(self, scene: xr.Dataset) -> NDArray[np.float32]:
        """Predict (class, y, x) for one scene; a class never seen in training has probability 0."""
        table = self.recipe(scene)
        flat = table.values.reshape(table.sizes["feature"], -1)
        valid = (asked(scene) & usable(scene, table)).ravel()
        probability = np.full((len(self.labels.codes), flat.shape[1]), np.nan, dtype=np.float32)
        for at in np.array_split(np.flatnonzero(valid), max(1, -(-int(valid.sum()) // BLOCK_PX))):
            if at.size:
                probability[:, at] = 0.0
                probability[np.ix_(self.classifier.classes_, at)] = self.classifier.predict_proba(flat[:, at].T).T
        return probability.reshape(-1, scene.sizes["y"], scene.sizes["x"])


@dataclass(frozen=True)
class Trees:
    """A tree ensemble on a recipe of features, trained on random pixels whose truth is known.

    Parameters
    ----------
    recipe: features of a scene.
    classifier: makes an untrained scikit-learn classifier.
    labels: what truth codes mean.
    pixels: pixels drawn from each copy of each scene, wherever in it may be learnt from (all, if there are fewer).
    copies: which copies of a scene are drawn from.
    seed: of the draw.
    """

    recipe: Recipe
    classifier: Callable[[], Classifier]
    labels: LabelLegend
    pixels: int = 10_000
    copies: Copies = as_is
    seed: int = 0
    needs: ClassVar[Needs] = "classes"

    def check(self, scene: xr.Dataset, labels: LabelLegend) -> None:
        """Refuse a scene that lacks bands of the recipe."""
        self.recipe(scene)

    def fit(self, scenes: Iterable[xr.Dataset]) -> FittedTrees:
        """Draw pixels from one scene after another and train."""
        return self.learn([self.draw(scene) for scene in scenes])

    def draw(self, scene: xr.Dataset) -> Samples:
        """Draw training pixels of one scene: the same ones whatever other scenes take part."""
        rng = np.random.default_rng([self.seed, crc32(str(scene.attrs.get("scene", "")).encode())])
        parts = [self._draw(copy, rng) for copy in self.copies(scene, rng)]
        return Samples(np.concatenate([part.table for part in parts]), np.concatenate([part.rows for part in parts]))

    def learn(self, samples: Sequence[Samples]) -> FittedTrees:
        """Train on pixels already drawn, for instance those of a fold's scenes."""
        rows = np.concatenate([part.rows for part in samples]) if samples else np.empty(0, np.int16)
        if np.unique(rows).size < 2:
            raise VigieError(
                "a baseline needs training pixels of at least two classes",
                found=f"{rows.size} pixels, classes {[self.labels.names[r] for r in np.unique(rows)]}",
                do="give more scenes with truth",
            )
        classifier = self.classifier().fit(np.concatenate([part.table for part in samples]), rows)
        return FittedTrees(self.recipe, classifier, self.labels)

    def _draw(self, scene: xr.Dataset, rng: np.random.Generator) -> Samples:
        table = self.recipe(scene)
        rows = label_rows(scene, self.labels).ravel()
        candidates = np.flatnonzero((rows >= 0) & (asked(scene) & usable(scene, table)).ravel())
        chosen = rng.choice(candidates, min(self.pixels, candidates.size), replace=False)
        return Samples(table.values.reshape(table.sizes["feature"], -1)[:, chosen].T, rows[chosen])


def usable(scene: xr.Dataset, table: xr.DataArray) -> NDArray[np.bool_]:
    """Say where a scene has data and every feature is a number."""
    usable_: NDArray[np.bool_] = ~flagged(scene["flags"], "nodata").values & np.isfinite(table.values).all(axis=0)
    return usable_
