"""What a forecast starts from: maps of now and of the days before, what is usual then and there, the lead and the season."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

LAGS_DAYS = (1, 2, 3, 5, 7)
"""Days before now whose maps are shown."""
CONTEXT = 4
"""Numbers that tell lead and season."""
LONGEST_DAYS = 14
"""Lead by which leads are scaled."""
YEAR_DAYS = 365.2425


@dataclass(frozen=True)
class Moment:
    """A forecast's start, and how far it looks.

    Attributes
    ----------
    day: the day of the year that is forecast, from 1.
    lead_days: days from now.
    """

    day: int
    lead_days: int

    @property
    def context(self) -> Floats:
        """The lead, linear and logarithmic, and the season of the day that is forecast, as an angle.

        Examples
        --------
        >>> Moment(1, 14).context.round(2)
        array([1.  , 1.  , 0.02, 1.  ], dtype=float32)
        """
        angle = 2 * np.pi * self.day / YEAR_DAYS
        lead = self.lead_days
        return np.array([lead / LONGEST_DAYS, log(lead) / log(LONGEST_DAYS), np.sin(angle), np.cos(angle)], dtype=np.float32)

    @property
    def scale(self) -> float:
        """The size of a usual change over the lead: what networks and losses count in.

        Examples
        --------
        >>> round(Moment(1, 4).scale, 3)
        0.07
        """
        return 0.01 + 0.03 * float(np.sqrt(self.lead_days))


def columns(
    now: Floats, before: Mapping[int, Floats | None], usual_now: Floats, usual_then: Floats, lags: Sequence[int] = LAGS_DAYS
) -> Floats:
    """Stack what is shown (C, y, x): now, how it came to be, the change that is usual, how unusual now is, what is usual then.

    Parameters
    ----------
    now: the map of today, in 0 to 1.
    before: maps by days before now; where one is None, or is not there, nothing is said to have changed since.
    usual_now, usual_then: climatology of today and of the day that is forecast.

    Examples
    --------
    >>> half = np.full((2, 2), 0.5, np.float32)
    >>> columns(half, {}, half, half).shape[0] == column_count()
    True
    """
    changes = [now - earlier if (earlier := before.get(lag)) is not None else np.zeros_like(now) for lag in lags]
    stacked = [2 * now - 1, *(4 * change for change in changes), 4 * (usual_then - usual_now), 2 * (now - usual_now)]
    return np.stack([*stacked, 2 * usual_then - 1]).astype(np.float32)


def column_count(lags: Sequence[int] = LAGS_DAYS) -> int:
    """How many maps `columns` stacks."""
    return len(lags) + 4
