"""Area series: which samples are glitches, what stood there instead, and how fast the area really changes (notes M12).

A sample is doubted when it departs from the running median by more than the rule allows. It is a glitch only when the series
comes back: it must depart as much, to the same side, from what was there before and from what came after. So a surge, a lake
that grows or a step that persists is kept, and at either end of a series, where nobody knows what lies beyond, a doubted sample
is called unconfirmed and left as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import theilslopes

from vigie.apps.glaciers.history.rules import Rules
from vigie.apps.glaciers.history.trend import Trend, local_trend
from vigie.core.errors import VigieError

Floats = NDArray[np.float64]

STATUSES = {
    "observed": "taken as it is",
    "glitch": "departs from the running median, from before and from after: repaired",
    "missing": "nothing was mapped although there was before and after: repaired",
    "unconfirmed": "departs at the end of the series, where no later (earlier) date can tell a glitch from a change: kept",
    "gap": "nothing was mapped for more dates than a glitch lasts: gone or missed, not repaired",
    "merged": "inside another object's outline: counted there",
    "inferred": "the map of that date does not show it, other dates say that it was there: kept, but no evidence",
}
"""What can be said of one object on one date."""

FLAGGED = ("glitch", "missing", "unconfirmed", "gap")
"""Statuses that a reader should look at."""
REPAIRED = ("glitch", "missing")
"""Statuses whose area is replaced in the repaired series."""
NORMAL_95 = 1.959964


def median_departure(areas: Floats, samples: int = 5) -> Floats:
    """Relative departure r = (A - med) / med from the centred running median of `samples` (at least 3; fewer: NaN).

    Examples
    --------
    >>> median_departure(np.array([10.0, 10, 4, 10, 10])).round(2)
    array([ 0. ,  0. , -0.6,  0. ,  0. ])
    """
    middle = pd.Series(areas).rolling(samples, center=True, min_periods=3).median().to_numpy()
    return _relative(np.asarray(areas, dtype=np.float64), middle)


def judge(
    years: Floats,
    areas: Floats,
    rules: Rules | None = None,
    merged: NDArray[np.bool_] | None = None,
    trend: Trend | None = None,
    inferred: NDArray[np.bool_] | None = None,
) -> pd.DataFrame:
    """Judge every sample of one object's area series, repair what is a glitch, and give the trend under it.

    Parameters
    ----------
    years: dates in years, ascending (T,).
    areas: areas in km2 (T,), NaN on dates when nothing was mapped.
    rules: thresholds.
    merged: dates on which the object was inside another's outline (T,): neither missing nor judged.
    trend: the trend under the areas that are neither merged nor inferred, if it is known already; fitting many series together
        is much faster (`local_trends`).
    inferred: dates on which the area comes from other dates (T,): kept, but evidence neither of the trend nor against others.

    Returns
    -------
    One row a date: `area_km2`, `departure` (relative, from the running median), `weight` (E[w] of the Student-t trend, near 0
    for wild samples), `status` (see `STATUSES`), `repaired_km2` (linear in time between the nearest good dates where the status
    says so, NaN in gaps), `level_km2` with its 95 % interval `level_low_km2`, `level_high_km2`, and `noise_km2`.

    Raises
    ------
    VigieError
        When dates are not ascending or areas are negative.

    Examples
    --------
    >>> table = judge(np.arange(2000.0, 2007.0), np.array([10.0, 10, 11, 3, 12, 12, 12]))
    >>> table["status"].tolist()[3], float(table["repaired_km2"][3])
    ('glitch', 11.5)
    """
    rules = rules or Rules()
    years, areas = np.asarray(years, dtype=np.float64), np.asarray(areas, dtype=np.float64)
    if len(years) != len(areas) or (np.diff(years) <= 0).any() or (areas < 0).any():
        raise VigieError("an area series is wrong", found=f"{len(years)} dates, {len(areas)} areas", expected=(
            "as many areas as dates, dates ascending, no negative area"))  # fmt: skip
    merged = np.zeros(len(areas), dtype=bool) if merged is None else merged
    areas = np.where(merged, np.nan, areas)
    inferred = np.isfinite(areas) & (False if inferred is None else inferred)
    seen = np.isfinite(areas) & ~inferred
    departure = np.full(len(areas), np.nan)
    departure[seen] = median_departure(areas[seen], rules.median_samples)
    status = _absences(seen | merged | inferred, rules.longest_glitch)
    status[seen] = _verdicts(years[seen], areas[seen], departure[seen], rules)
    status[merged], status[inferred] = "merged", "inferred"
    trend = trend or local_trend(years, np.where(seen, areas, np.nan), rules.freedom)
    reach = NORMAL_95 * trend.level_sd
    return pd.DataFrame(
        {
            "area_km2": areas,
            "departure": departure,
            "weight": trend.weight,
            "status": status.astype(str),
            "repaired_km2": repair(years, areas, status),
            "level_km2": trend.level,
            "level_low_km2": np.maximum(trend.level - reach, 0.0),
            "level_high_km2": trend.level + reach,
            "noise_km2": trend.noise,
        }
    )


def repair(years: Floats, areas: Floats, status: NDArray[np.object_]) -> Floats:
    """Replace glitches and missing dates by what lies, linear in time, between the nearest good dates on both sides.

    Where the nearest date on one side has no area of its own (merged) the repaired area is unknown too: NaN.

    Examples
    --------
    >>> repair(np.array([0.0, 1, 3]), np.array([10.0, 2, 16]), np.array(["observed", "glitch", "observed"], dtype=object))
    array([10., 12., 16.])
    """
    text = status.astype(str)
    mend, good = np.isin(text, REPAIRED), np.isin(text, ("observed", "unconfirmed", "merged"))
    good &= np.isfinite(areas) | (text == "merged")
    repaired = np.array(areas, dtype=np.float64)
    repaired[mend] = np.nan
    if mend.any() and good.any():
        repaired[mend] = np.interp(years[mend], years[good], areas[good], left=np.nan, right=np.nan)
    return repaired


def growth(years: Floats, areas: Floats) -> tuple[float, float, float]:
    """Median growth in km2 a year and its 95 % interval (Theil 1950; Sen 1968), insensitive to a quarter of wild samples.

    Examples
    --------
    >>> growth(np.arange(5.0), np.array([1.0, 2, 3, 90, 5]))[0]
    1.0
    """
    seen = np.isfinite(areas)
    found = theilslopes(areas[seen], years[seen])
    return float(found.slope), float(found.low_slope), float(found.high_slope)


def missing_year_recall(flags: pd.DataFrame, truth: Mapping[str, Iterable[int]]) -> pd.DataFrame:
    """Count how many of the years in which an object is known to be missing or incomplete were flagged.

    Parameters
    ----------
    flags: rows with `name`, `date` and `flagged`, for instance `History.lakes`.
    truth: name -> years.

    Returns
    -------
    One row a name: `known`, `found`, `recall`, and the `overlooked` years as text.

    Examples
    --------
    >>> dates = pd.to_datetime(["1991-08-06", "1992-08-01"])
    >>> rows = pd.DataFrame({"name": ["3", "3"], "date": dates, "flagged": [True, False]})
    >>> missing_year_recall(rows, {"3": [1991, 1992]}).to_dict("records")
    [{'name': '3', 'known': 2, 'found': 1, 'recall': 0.5, 'overlooked': '1992'}]
    """
    rows = []
    for name, years in truth.items():
        mine = flags[(flags["name"] == name) & flags["flagged"]]
        overlooked = sorted(set(years) - set(pd.to_datetime(mine["date"]).dt.year))
        known = len(set(years))
        found = known - len(overlooked)
        rows.append((name, known, found, found / known, ", ".join(map(str, overlooked))))
    return pd.DataFrame(rows, columns=["name", "known", "found", "recall", "overlooked"])


def _relative(areas: Floats, reference: Floats | float) -> Floats:
    """(A - reference) / reference; 0 where both are 0, infinite where only the reference is."""
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = (areas - reference) / reference
    return np.where((areas == 0) & (np.asarray(reference) == 0), 0.0, relative)


def _verdicts(years: Floats, areas: Floats, departure: Floats, rules: Rules) -> list[str]:
    """Judge the samples that are there: observed, glitch or unconfirmed."""
    verdicts = ["observed"] * len(areas)
    doubted = np.where(np.abs(departure) > rules.largest_departure, np.sign(departure), 0.0)
    for i in np.flatnonzero(doubted):
        # What else is doubted to the same side says nothing about where the series was.
        others = np.flatnonzero(doubted != doubted[i])
        before, after = others[others < i][-rules.longest_glitch :], others[others > i][: rules.longest_glitch]
        if len(before) and len(after):
            sides = np.array([_relative(areas[i], float(np.median(areas[side]))) for side in (before, after)])
            verdicts[i] = "glitch" if (doubted[i] * sides > rules.largest_departure).all() else "observed"
        elif not _in_line(years, areas, int(i), rules.largest_departure):
            verdicts[i] = "unconfirmed"
    return verdicts


def _in_line(years: Floats, areas: Floats, i: int, largest: float) -> bool:
    """Whether a sample at an end goes on with the rate of growth of the two next to it (young lakes double in years)."""
    near, far = (i + 1, i + 2) if i < len(areas) // 2 else (i - 1, i - 2)
    if areas[near] <= 0 or areas[far] <= 0:
        return False
    rate = np.log(areas[near] / areas[far]) / (years[near] - years[far])
    expected = areas[near] * np.exp(rate * (years[i] - years[near]))
    return bool(abs(areas[i] / expected - 1) <= largest)


def _absences(seen: NDArray[np.bool_], longest: int) -> NDArray[np.object_]:
    """Name every date without a sample by the length of its run of such dates and by whether the run touches an end."""
    names = np.array(["observed"] * len(seen), dtype=object)
    edges = np.flatnonzero(np.diff(np.concatenate([[True], seen, [True]]).astype(np.int8)))
    for start, stop in edges.reshape(-1, 2):
        at_end = start == 0 or stop == len(seen)
        names[start:stop] = "gap" if stop - start > longest else "unconfirmed" if at_end else "missing"
    return names
