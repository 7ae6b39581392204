"""Surface temperature without what height and sunlight explain: what is left tells buried ice from the rock beside it.

Air cools with height, and the sun heats a slope in proportion to the cosine of its angle to the surface normal
n = (sin s sin a, sin s cos a, cos s), with slope s and aspect a. Both are linear, so for any sun, season and calibration

    T = c0 + c1 z + c2 n_east + c3 n_north + c4 n_up + anomaly

with the c fitted by least squares over the clear pixels of the whole scene. Ice under a few decimetres of debris keeps its
surface colder than that (Taschner & Ranzi 2002).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.floating]
Trend = tuple[float, ...]
"""The coefficients c0 to c4, in units of T, the second per kilometre."""

ENOUGH = 100
"""Clear pixels without which no trend is fitted."""


def explained_by(elevation_m: Float, slope_deg: Float, aspect_sin: Float, aspect_cos: Float) -> NDArray[np.float64]:
    """Stack what temperature is explained by: 1, height in km, and the surface normal; (5, ...) like the inputs.

    Examples
    --------
    >>> explained_by(np.array([2000.0]), np.array([30.0]), np.array([1.0]), np.array([0.0])).ravel().round(3).tolist()
    [1.0, 2.0, 0.5, 0.0, 0.866]
    """
    slope = np.radians(np.asarray(slope_deg, dtype=np.float64))
    level = np.sin(slope)
    return np.stack([np.ones_like(level), elevation_m / 1000.0, level * aspect_sin, level * aspect_cos, np.cos(slope)])


def fit_trend(samples: Iterable[tuple[Float, NDArray[np.float64]]]) -> Trend | None:
    """Fit the trend of a scene by least squares, from as many pieces of it as there are.

    Parameters
    ----------
    samples: temperature (n,) and what explains it (5, n), piece by piece; pixels with NaN in either do not count.

    Returns
    -------
    c0 to c4 (the shortest solution where terrain is flat); None where fewer than ENOUGH pixels count.

    Examples
    --------
    >>> z, slope = np.meshgrid(np.linspace(4000.0, 6000.0, 20), np.linspace(0.0, 40.0, 20))
    >>> x = explained_by(z.ravel(), slope.ravel(), np.ones(400), np.zeros(400))
    >>> [round(c, 6) for c in fit_trend([(300 - 6.5 * x[1] + 4 * x[2], x)])[:3]]
    [300.0, -6.5, 4.0]
    """
    moments, products, pixels = np.zeros((5, 5)), np.zeros(5), 0
    for temperature, explaining in samples:
        known = np.isfinite(temperature) & np.isfinite(explaining).all(axis=0)
        t, x = temperature[known].astype(np.float64), explaining[:, known]
        moments, products, pixels = moments + x @ x.T, products + x @ t, pixels + t.size
    if pixels < ENOUGH:
        return None
    return tuple(float(c) for c in np.linalg.lstsq(moments, products, rcond=1e-10)[0])


def anomaly(temperature: Float, explaining: NDArray[np.float64], trend: Trend) -> NDArray[np.float32]:
    """Subtract the trend: what height and sunlight do not explain, in units of the temperature.

    Examples
    --------
    >>> x = explained_by(np.array([5000.0]), np.array([0.0]), np.array([0.0]), np.array([0.0]))
    >>> float(anomaly(np.array([262.5]), x, (300.0, -6.5, 0.0, 0.0, 0.0))[0])
    -5.0
    """
    # Summed term by term: a matrix product may round differently for windows of another shape.
    expected = np.zeros(temperature.shape)
    for coefficient, term in zip(trend, explaining, strict=True):
        expected = expected + coefficient * term
    return np.asarray(temperature - expected, dtype=np.float32)
