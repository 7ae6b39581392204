"""Write the figures of an assessment: `assessment.nc` for programs, `assessment.csv` for tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from vigie.apps.precipitation.assess.protocol import Assessed, Assessment
from vigie.core.store import whole_file

COLUMNS = ("product", "figure", "at", "value", "low", "high", "units")
REFERENCE = "the reference"


def together(products: Sequence[Assessed]) -> dict[str, xr.Dataset]:
    """Put the figures of all products along `product`, by kind; what a product lacks is NaN."""
    kinds = list(dict.fromkeys(kind for one in products for kind in one.figures))
    made = {}
    for kind in kinds:
        found = [one.figures[kind].expand_dims(product=[one.name]) for one in products if kind in one.figures]
        joined: xr.Dataset = xr.concat(found, "product", join="outer", data_vars="all", combine_attrs="drop_conflicts")
        made[kind] = joined.assign_coords(units=("product", [one.pairing.units for one in products if kind in one.figures]))
    return made


def write_figures(path: Path, assessment: Assessment, record: Mapping[str, Any]) -> None:
    """Write one group a kind of figures, with the sampling error of the reference in a group of its own.

    Raises
    ------
    VigieError: the disk is full.
    """
    groups = together(assessment.products) | ({} if assessment.sampling is None else {"sampling": assessment.sampling})
    missing = {one.name: dict(one.missing) for one in assessment.products}
    attributes = {
        "title": f"products held against {assessment.reference.name}",
        "reference": assessment.reference.name,
        "pairing": json.dumps({one.name: one.pairing.how for one in assessment.products}, ensure_ascii=False),
        "missing": json.dumps(missing, ensure_ascii=False),
        "provenance": json.dumps(record, sort_keys=True),
    }
    with whole_file(path) as draft:
        draft.write_bytes(xr.Dataset(attrs=attributes).to_netcdf(engine="h5netcdf"))
        for name, figures in groups.items():
            figures.to_netcdf(draft, mode="a", group=name, engine="h5netcdf")


def write_table(path: Path, assessment: Assessment) -> None:
    """Write one line a figure: product, figure, where along thresholds, levels or places, value, interval, unit.

    Raises
    ------
    VigieError: the disk is full.
    """
    rows = [row for kind, figures in together(assessment.products).items() for row in table_rows(kind, figures)]
    if assessment.sampling is not None:
        rows += table_rows("sampling", assessment.sampling.expand_dims(product=[REFERENCE]))
    with whole_file(path) as draft:
        pd.DataFrame(rows, columns=list(COLUMNS)).to_csv(draft, index=False, float_format="%.6g")


def table_rows(kind: str, figures: xr.Dataset) -> Iterator[tuple[object, ...]]:
    """Unfold figures into lines; what is NaN has none.

    Examples
    --------
    >>> scores = xr.Dataset({"csi": (("product", "threshold_mm_h"), [[0.5]])}, {"product": ["a"], "threshold_mm_h": [1.0]})
    >>> list(table_rows("detections", scores))
    [('a', 'detections.csi', 'threshold=1', 0.5, nan, nan, '1')]
    """
    for name in (str(name) for name in figures.data_vars if not str(name).endswith("_interval")):
        values = figures[name].transpose("product", ...)
        bounds = figures.get(f"{name}_interval")
        dims = [str(dim) for dim in values.dims]
        for at in np.argwhere(np.isfinite(values.values)):
            place = dict(zip(dims, at.tolist(), strict=True))
            low, high = (np.nan, np.nan) if bounds is None else _bounds(bounds, place)
            labels = {dim: values[dim].values[k] if dim in values.coords else k for dim, k in place.items()}
            where = "; ".join(f"{dim.removesuffix('_mm_h')}={_label(v)}" for dim, v in labels.items() if dim != "product")
            unit = str(figures[name].attrs.get("units", "1"))
            if unit.startswith("mm ") and "units" in figures.coords and unit in ("mm h-1", "mm day-1") and kind not in DAILY:
                unit = str(figures["units"].values[place["product"]])
            yield (str(labels["product"]), f"{kind}.{name}", where, float(values.values[tuple(at)]), low, high, unit)


DAILY = ("indices", "extremes", "trends", "scaling", "sensitivity", "sampling")
"""Kinds whose units are those of days, whatever the pairing's."""


def _bounds(bounds: xr.DataArray, place: Mapping[str, int]) -> tuple[float, float]:
    found = bounds.isel({dim: k for dim, k in place.items() if dim in bounds.dims})
    return float(found.sel(bound="low")), float(found.sel(bound="high"))


def _label(value: object) -> str:
    return f"{value:g}" if isinstance(value, float | np.floating) else str(value)
