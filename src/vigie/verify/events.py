"""Scores of events: contingency tables, ranking, and probabilities that should come true as often as they say.

An event is a rate that reaches its threshold, or snow that falls. Everything is counted, so tiles add; areas under curves come
from counts in fine bins, and equal those of the values rounded to their bins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.core.errors import VigieError
from vigie.verify.tally import Metric, Tally

Counts = NDArray[np.int64]
Flags = NDArray[np.bool_]

DECIDED = 0.5
"""An event is said to come where its probability reaches this."""

RANKS = 1000
"""Equal bins of probability in which areas under curves are counted."""

RELIABILITY_BINS = 10
"""Bins of the table of reliability."""

TABLE = ("hits", "false_alarms", "misses", "correct_negatives")


@dataclass(frozen=True)
class EventSample:
    """Probabilities of events beside what came.

    Parameters
    ----------
    probability: (event, ...) 0 to 1, NaN where there is none.
    occurred: (event, ...) 1 where the event came, 0 where not, NaN where unknown.
    events: name of each event.
    """

    probability: NDArray[np.floating]
    occurred: NDArray[np.floating]
    events: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit together, and numbers that are no probabilities."""
        if self.probability.shape != self.occurred.shape or self.probability.shape[:1] != (len(self.events),):
            raise VigieError(
                "probabilities and events do not fit together",
                found=f"probability {self.probability.shape}, occurred {self.occurred.shape}",
                expected=f"({len(self.events)}, ...) twice, one row an event",
            )
        if (self.probability < 0).any() or (self.probability > 1).any():
            raise VigieError(
                "these are no probabilities",
                found=f"{np.nanmin(self.probability):g} to {np.nanmax(self.probability):g}",
                expected="0 to 1",
                do="divide per cent by 100",
            )


def count_table(said: Flags, came: Flags, area: NDArray[np.generic] | None = None) -> dict[str, np.generic]:
    """Count hits, false alarms, misses and correct negatives (row,); or sum the area of each.

    Examples
    --------
    >>> [int(n) for n in count_table(np.array([True, True, False]), np.array([True, False, False])).values()]
    [1, 1, 0, 1]
    """
    cells = (said & came, said & ~came, ~said & came, ~said & ~came)
    return dict(zip(TABLE, (np.sum(cell if area is None else area[cell]) for cell in cells), strict=True))


def table_scores(table: Mapping[str, xr.DataArray]) -> dict[str, xr.DataArray]:
    """Turn hits a, false alarms b, misses c and correct negatives d into scores, NaN where a ratio has nothing below it.

    POD = a / (a + c); FAR = b / (a + b); CSI = a / (a + b + c); F1 = 2 a / (2 a + b + c);
    HSS = 2 (a d - b c) / [(a + c)(c + d) + (a + b)(b + d)] (Heidke; Wilks 2011, section 8.2).

    Examples
    --------
    >>> table = {name: xr.DataArray(n) for name, n in zip(TABLE, (28.0, 72.0, 23.0, 2680.0))}  # Finley's tornadoes, 1884
    >>> {name: round(float(score), 3) for name, score in table_scores(table).items()}
    {'pod': 0.549, 'far': 0.72, 'csi': 0.228, 'f1': 0.371, 'hss': 0.355}
    """
    a, b, c, d = (table[name].astype(np.float64) for name in TABLE)
    return {
        "pod": _ratio(a, a + c),
        "far": _ratio(b, a + b),
        "csi": _ratio(a, a + b + c),
        "f1": _ratio(2 * a, 2 * a + b + c),
        "hss": _ratio(2 * (a * d - b * c), (a + c) * (c + d) + (a + b) * (b + d)),
    }


def average_precision(came: xr.DataArray, counted: xr.DataArray) -> xr.DataArray:
    """Compute the area under precision-recall, sum_k (R_k - R_(k-1)) P_k, from events and rows by `bin` of rising rank.

    Precision is held from one recall to the next, not interpolated, which would flatter (Davis & Goadrich 2006). NaN where
    nothing came.

    Examples
    --------
    >>> float(average_precision(xr.DataArray([0, 1, 1], dims="bin"), xr.DataArray([2, 2, 1], dims="bin")).round(4))
    0.8333
    """
    hits, said = (_from_the_top(counts) for counts in (came, counted))
    everything = came.sum("bin")
    recall_step = _ratio(came, everything)
    return (recall_step * _ratio(hits, said)).sum("bin").where(everything > 0)


def area_under_roc(came: xr.DataArray, counted: xr.DataArray) -> xr.DataArray:
    """Compute the chance that an event ranks above a non-event, ties half, from events and rows by `bin` of rising rank.

    Examples
    --------
    >>> float(area_under_roc(xr.DataArray([0, 1, 1], dims="bin"), xr.DataArray([2, 2, 1], dims="bin")).round(4))
    0.9167
    """
    away = counted - came
    below = away.cumsum("bin") - away / 2
    return _ratio((came * below).sum("bin"), came.sum("bin") * away.sum("bin"))


def count_events(sample: EventSample) -> Tally:
    """Count contingency at probability `DECIDED`, squared errors, and events by bin of probability, on known rows.

    `came` (event, bin): how often the event came; its weight is the number of rows in the bin. `said`: sum of probabilities.
    """
    counted = [_count_event(p, came) for p, came in zip(sample.probability, sample.occurred, strict=True)]
    coords = {"event": list(sample.events), "bin": (np.arange(RANKS) + 0.5) / RANKS}

    def gathered(name: str) -> tuple[tuple[str, ...], NDArray[np.generic]]:
        values = np.stack([counts[name] for counts in counted])
        return ("event", "bin")[: values.ndim], values

    total = {name: gathered(name) for name in (*TABLE, "brier", "said", "came")}
    weight = {name: gathered("rows" if values.ndim == 1 else "rows_by_bin") for name, (_, values) in total.items()}
    return Tally(xr.Dataset(total, coords=coords), xr.Dataset(weight, coords=coords))


def finish_events(tally: Tally) -> xr.Dataset:
    """Turn counts into `pod`, `far`, `csi`, `f1`, `hss`, `brier`, `roc_auc` and `pr_auc` of each event.

    Examples
    --------
    >>> sample = EventSample(np.array([[0.9, 0.6, 0.2, 0.1]]), np.array([[1.0, 0.0, 1.0, 0.0]]), ("rain",))
    >>> scores = finish_events(count_events(sample))
    >>> float(scores["pod"][0]), float(scores["roc_auc"][0]), float(scores["brier"][0].round(3))
    (0.5, 0.75, 0.255)
    """
    came, counted = tally.total["came"], tally.weight["came"]
    return xr.Dataset(
        {
            **table_scores({name: tally.total[name] for name in TABLE}),
            "brier": tally.mean()["brier"],
            "roc_auc": area_under_roc(came, counted),
            "pr_auc": average_precision(came, counted),
        }
    )


EVENTS: Metric[EventSample] = Metric(count_events, finish_events)
"""Scores of probabilities of events."""


def reliability(tally: Tally) -> xr.Dataset:
    """Tabulate reliability by event and bin: mean probability `said`, observed frequency `came`, and `rows`."""
    wide = RANKS // RELIABILITY_BINS
    coarse = Tally(*(part[["said", "came"]].coarsen(bin=wide).sum() for part in (tally.total, tally.weight)))
    centres = (np.arange(RELIABILITY_BINS) + 0.5) / RELIABILITY_BINS
    return xr.Dataset({**coarse.mean().data_vars, "rows": coarse.weight["came"]}).assign_coords(bin=centres)


def _count_event(p: NDArray[np.floating], occurred: NDArray[np.floating]) -> dict[str, NDArray[np.generic] | np.generic]:
    known = np.isfinite(p) & np.isfinite(occurred)
    p, came = p[known].astype(np.float64), occurred[known] > 0
    at = np.minimum((p * RANKS).astype(np.int64), RANKS - 1)
    return {
        **count_table(p >= DECIDED, came),
        "brier": ((p - came) ** 2).sum(),
        "said": np.bincount(at, weights=p, minlength=RANKS),
        "came": np.bincount(at[came], minlength=RANKS).astype(np.int64),
        "rows_by_bin": np.bincount(at, minlength=RANKS).astype(np.int64),
        "rows": np.int64(p.size),
    }


def _from_the_top(counts: xr.DataArray) -> xr.DataArray:
    """Cumulate from the highest rank down."""
    return counts.sum("bin") - counts.cumsum("bin") + counts


def _ratio(above: xr.DataArray, below: xr.DataArray) -> xr.DataArray:
    return above / below.where(below > 0)
