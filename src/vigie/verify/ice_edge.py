"""Scores of the ice edge: where a forecast has ice and the truth has none, and the other way round, as areas.

With ice where concentration is 0.15 or more, the integrated ice-edge error is the area where forecast and truth disagree
(Goessling et al. 2016, doi:10.1002/2015GL067232), and the spatial probability score is its kin for probabilities (Goessling &
Jung 2018, doi:10.1002/qj.3242). Cells count by their area where both are known; what was not measured never counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class EdgeError:
    """Areas of disagreement, in the units of the cells' areas.

    Attributes
    ----------
    over: ice in the forecast alone.
    under: ice in the truth alone.

    Examples
    --------
    >>> error = EdgeError(over=3.0, under=1.0)
    >>> error.iiee, error.extent_error, error.misplacement
    (4.0, 2.0, 2.0)
    """

    over: float
    under: float

    @property
    def iiee(self) -> float:
        """The integrated ice-edge error."""
        return self.over + self.under

    @property
    def extent_error(self) -> float:
        """What of it is too much or too little ice in all, absolute."""
        return abs(self.over - self.under)

    @property
    def misplacement(self) -> float:
        """What of it is ice in the wrong place."""
        return 2 * min(self.over, self.under)


def edge_error(forecast: Bools, truth: Bools, area: Floats, known: Bools) -> EdgeError:
    """Compare where a forecast has ice (y, x) with where the truth has some, on known cells.

    Examples
    --------
    >>> forecast, truth = np.array([[True, True, False]]), np.array([[True, False, True]])
    >>> edge_error(forecast, truth, np.array([[1.0, 2.0, 4.0]]), np.array([[True, True, True]]))
    EdgeError(over=2.0, under=4.0)
    """
    over, under = forecast & ~truth & known, truth & ~forecast & known
    return EdgeError(float(area[over].sum(dtype=np.float64)), float(area[under].sum(dtype=np.float64)))


def spatial_probability_score(probability: Floats, truth: Bools, area: Floats, known: Bools) -> float:
    """Integrate the squared error of a probability of ice (y, x) over known cells, in the units of areas.

    Of probabilities 0 and 1 it is the integrated ice-edge error.

    Examples
    --------
    >>> spatial_probability_score(np.array([0.5, 1.0]), np.array([True, True]), np.array([4.0, 4.0]), np.array([True, True]))
    1.0
    """
    squared = (probability.astype(np.float64) - truth) ** 2
    return float((squared * area)[known].sum())
