"""Reference methods of rain retrieval: what a team would otherwise use, on the same folds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimates:
    """What a method says of footprints: the mean, mm/h (row,), and quantiles (level, row) at levels (level,).

    `probability` that thresholds are reached (threshold, row), where a method knows more than its quantiles; else they tell.
    """

    mean: Floats
    quantiles: Floats
    levels: Floats
    probability: Floats | None = None


def certain(mean: Floats, levels: Sequence[float]) -> Estimates:
    """Take a mean alone for what it claims: that it is certain. Its CRPS is the absolute error, its tail that of means.

    Examples
    --------
    >>> certain(np.array([1.0, -0.5]), (0.1, 0.9)).quantiles.tolist()
    [[1.0, 0.0], [1.0, 0.0]]
    """
    rain = np.maximum(mean, 0.0)
    return Estimates(rain, np.broadcast_to(rain, (len(levels), len(rain))), np.asarray(levels, dtype=np.float64))


Fitted = Callable[[Floats], Estimates]
"""Brightness temperatures (row, channel) -> estimates."""
Method = Callable[[Floats, Floats, Sequence[float]], Fitted]
"""Fits on temperatures (row, channel) and rain rates (row,), and says quantiles at levels."""


def climatology(x: Floats, y: Floats, levels: Sequence[float]) -> Fitted:
    """Say for every footprint what was learnt from, whatever is observed."""
    quantiles, mean = np.quantile(y, levels), float(y.mean())

    def estimate(seen: Floats) -> Estimates:
        table = np.broadcast_to(quantiles[:, None], (len(levels), len(seen)))
        return Estimates(np.full(len(seen), mean), table, np.asarray(levels, dtype=np.float64))

    return estimate


def ridge(x: Floats, y: Floats, levels: Sequence[float]) -> Fitted:
    """Regress rain linearly on standardised temperatures (alpha 1); no less than none."""
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    filled = _filled(x)
    model = make_pipeline(StandardScaler(), Ridge(1.0)).fit(filled(x), y)
    return lambda seen: certain(model.predict(filled(seen)), levels)


def gradient_boosting(x: Floats, y: Floats, levels: Sequence[float]) -> Fitted:
    """Regress rain on temperatures by boosted trees, which take missing channels as they are."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    model = HistGradientBoostingRegressor(max_iter=300, learning_rate=0.05, min_samples_leaf=30, random_state=0).fit(x, y)
    return lambda seen: certain(model.predict(seen), levels)


def _filled(x: Floats) -> Callable[[Floats], Floats]:
    """Put the training mean of a channel where it is missing: a linear method needs all."""
    mean = np.nanmean(x, axis=0)
    return lambda seen: np.where(np.isfinite(seen), seen, mean)


BASELINES: Mapping[str, Method] = {
    "climatology": climatology,
    "ridge": ridge,
    "gradient-boosting": gradient_boosting,
}
"""Reference methods by the name that `verify.baselines` gives."""
