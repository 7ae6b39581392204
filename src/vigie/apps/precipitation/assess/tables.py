"""What the sections of an assessment's page share: figures with intervals, reasons, charts in both themes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from vigie.apps.precipitation.assess.protocol import Assessed, Assessment
from vigie.publish.report import Estimate, Note

DRAWN = 3
"""Places whose return levels and scaling are drawn; tables tell the others."""


def having(assessment: Assessment, kind: str) -> list[Assessed]:
    """Take the products that have figures of a kind."""
    return [one for one in assessment.products if kind in one.figures]


def names(one: Assessed, assessment: Assessment) -> tuple[str, str]:
    """Name a product and the reference, in the order of `SOURCES`."""
    return one.name, assessment.reference.name


def estimate(one: Assessed, kind: str, name: str) -> Estimate | None:
    """Take a figure with its interval; 'twcrps_5' is that beyond 5; None where a product has none."""
    score, _, threshold = name.partition("_") if name.startswith("twcrps") else (name, "", "")
    if kind not in one.figures:
        return None
    figures = one.figures[kind]
    values = [figures[score], *(figures[f"{score}_interval"].sel(bound=bound) for bound in ("low", "high"))]
    if threshold:
        values = [value.sel(threshold_mm_h=float(threshold)) for value in values]
    value, low, high = (float(v) for v in values)
    if not np.isfinite(value):
        return None
    return Estimate(value, low, high) if np.isfinite(low) and np.isfinite(high) else Estimate(value)


def ratio_text(one: Assessed, kind: str, name: str, form: str = ".2f") -> str | None:
    """Write a figure with its interval, as '0.71 [0.65, 0.77]'."""
    found = estimate(one, kind, name)
    if found is None:
        return None
    return f"{found.value:{form}}" + ("" if found.low is None else f" [{found.low:{form}}, {found.high:{form}}]")


def reasons(products: Sequence[Assessed], *kinds: str) -> Iterator[Note]:
    """Say why products lack figures, each reason once."""
    told: dict[str, list[str]] = {}
    for one in products:
        for why in dict.fromkeys(one.missing[kind] for kind in kinds if kind in one.missing):
            told.setdefault(why, []).append(one.name)
    yield from (Note(f"{', '.join(names)}: not told, because {why}.") for why, names in told.items())
